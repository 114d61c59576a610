"""What became of each of many fits: a status in words, and a finding where there is no estimate.

The program that fits them all settles nearly everything. What it cannot (a link with a bounded
domain at its end, a likelihood that may or may not rise for ever) is looked at one by one, by the
exact check of separation and by the library's own fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.errors import Finding, InferenceError, SeparationError, Status
from bayesglm.implied import priors_of, target_of
from bayesglm.inference.newton import STILL
from bayesglm.inference.run import run
from bayesglm.segments import dense
from bayesglm.separation import separation

if TYPE_CHECKING:
    from bayesglm.design import Design
    from bayesglm.inference.batched import Found
    from bayesglm.link import Link
    from bayesglm.priors import Priors
    from bayesglm.spec import Spec

__all__ = ["OPEN", "Facts", "Job", "Question", "Settled", "beforehand", "certify", "settle"]

OPEN = ""
NO_ROWS, FEW, ONE, ALIASED = "no rows", "too few rows", "one outcome", "aliased"
NO_ESTIMATE = "no estimate"
# Terms named in a message.
NAMED = 5
# What a direction moves by less than this share of its largest move stands still.
SMALL = 1e-6
WAYS = 'Use method="map", whose prior gives an answer, or a smaller formula.'


@dataclass(frozen=True)
class Facts:
    """Counts of each fit, (s,) each: rows of weight > 0, weighted events, weighted trials."""

    rows: np.ndarray
    events: np.ndarray
    effective: np.ndarray


@dataclass(frozen=True)
class Job:
    """The words of `fit_many`, checked; ``drop`` is whether aliased columns are left out."""

    spec: Spec
    method: str
    level: float
    drop: bool
    seed: int
    progress: bool | None
    context: Mapping[str, Any] | None

    @property
    def likelihood(self) -> bool:
        """Whether there is no prior."""
        return self.method == "mle"


@dataclass(frozen=True)
class Question:
    """What is asked of every fit.

    Attributes
    ----------
    job : Job
    design : Design
        All rows; the priors are learned on them.
    names : tuple of str
        The coefficients, the intercept first.
    label : callable
        From the number of a fit to its name.
    alone : callable
        From the number of a fit to its design.
    ways : str
        What to do where there is no estimate.
    """

    job: Job
    design: Design
    names: tuple[str, ...]
    label: Callable[[int], str]
    alone: Callable[[int], Design]
    ways: str = WAYS

    @property
    def likelihood(self) -> bool:
        """Whether there is no prior."""
        return self.job.likelihood

    @cached_property
    def priors(self) -> Priors:
        """In numbers; maximum likelihood needs them for their centring alone, and seldom."""
        return priors_of(self.job.spec, self.design)


@dataclass
class Settled:
    """Answers, being filled in: (s, k), (s, k, k), (s,), codes of each fit, findings with its number."""

    theta: np.ndarray
    cov: np.ndarray
    loglik: np.ndarray
    status: np.ndarray
    codes: list[list[str]]
    findings: list[tuple[int, Finding]] = field(default_factory=list)

    def note(
        self, place: int, code: str, severity: Any, where: str, told: str, **words: Any
    ) -> None:
        """Add a finding about a fit."""
        self.codes[place].append(code)
        found = Finding(code, severity, f"{where}: {told}", where=where, **words)
        self.findings.append((place, found))


def beforehand(facts: Facts, k: int, *, likelihood: bool, drop: bool) -> np.ndarray:
    """Return the status of fits that have no estimate whatever is done; empty for the others."""
    status = np.full(len(facts.rows), OPEN, dtype=object)
    if likelihood:
        if not drop:
            status[facts.rows < k] = FEW
        status[(facts.events == 0) | (facts.events == facts.effective)] = ONE
    status[facts.rows == 0] = NO_ROWS
    return status


def settle(question: Question, found: Found, facts: Facts, status: np.ndarray) -> Settled:
    """Judge each fit.

    Parameters
    ----------
    question : Question
    found : Found
        Of the program, for all fits.
    facts : Facts
    status : ndarray of str, shape (s,)
        Of `beforehand`.
    """
    begun = status == OPEN
    flat = question.likelihood or any(prior is None for prior in _used(question.priors))
    finite = np.isfinite(found.theta).all(axis=1)
    good = begun & found.ended & finite
    if flat:
        good &= found.moved <= STILL["float64"]
        # Without information there may be no optimum either: the exact check decides.
        good &= np.isfinite(found.cov).all(axis=(1, 2))
    some = found.aliased.any(axis=1) & begun
    aliased = some & (not question.job.drop)
    good &= ~aliased
    rest = begun & ~good & ~aliased
    status = status.copy()
    status[good], status[aliased] = str(Status.CONVERGED), ALIASED
    answers = Settled(
        theta=np.where(good[:, None], found.theta, np.nan),
        cov=np.where(good[:, None, None], found.cov, np.nan),
        loglik=np.where(good, found.loglik, np.nan),
        status=status,
        codes=[[] for _ in status],
    )
    for place in np.flatnonzero(rest):
        _by_itself(question, answers, found, int(place))
    if question.job.drop:
        _leave_out(question, answers, found, np.flatnonzero(some))
    _explain(question, answers, found, facts)
    return answers


def _used(priors: Priors) -> list[Any]:
    return [*([priors.intercept] if priors.has_intercept else []), *priors.beta]


def _separated(
    question: Question, answers: Settled, place: int, told: str, terms: Sequence[str], rows: float
) -> None:
    answers.status[place] = str(Status.SEPARATED)
    answers.note(
        place,
        "separation",
        "error",
        question.label(place),
        f"{told}, so there is no finite estimate of {_listed(list(terms))}.",
        value=rows,
        threshold=0.0,
        advice=question.ways,
    )


def _runs_along(
    design: Design, link: Link, step: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return what Newton's last step moves, if the likelihood never falls along it.

    Then it rises for ever: this proves separation without linear programming. It is said of rows
    (of weight > 0) and of terms.

    Parameters
    ----------
    design : Design
    link : Link
    step : ndarray, shape (k,)
        On columns less their means.
    """
    live = np.flatnonzero(design.weights > 0)
    y, trials = design.y[live], design.trials[live]
    matrix = dense(design.matrix)[live]
    first = int(design.intercept)
    if first:
        mass = design.weights[live] * trials
        matrix = matrix - np.average(matrix, axis=0, weights=mass)
        matrix = np.column_stack([np.ones(len(live)), matrix])
    along = matrix @ step
    size = float(np.abs(along).max(initial=0.0))
    lower, upper = link.domain
    sides = ((y == trials) & np.isposinf(upper)).astype(int)
    sides -= (y == 0) & np.isneginf(lower)
    moved = np.abs(along) > SMALL * size
    wrong = moved & (sides * along <= 0)
    if not np.isfinite(size) or size == 0 or wrong.any():
        return None
    # In units of the columns, so that no scale decides.
    parts = np.abs(step) * np.linalg.norm(matrix, axis=0)
    return moved, parts > SMALL * parts.max()


def _by_itself(question: Question, answers: Settled, found: Found, place: int) -> None:
    """Settle one fit by the exact check, then by the library's own fit."""
    spec, design = question.job.spec, question.alone(place)
    gone = found.aliased[place]
    if gone.any():
        names = [name for name, out in zip(question.names, gone, strict=True) if out]
        design = design.without(names)
    label = question.label(place)
    if question.likelihood:
        proof = _runs_along(design, spec.link, found.step[place][~gone])
        if proof is not None:
            moved, terms = proof
            told = f"the predictors separate the outcome in {moved.sum():,} of {len(moved):,} rows"
            names = [n for n, m in zip(np.array(question.names)[~gone], terms, strict=True) if m]
            _separated(question, answers, place, told, names, float(moved.sum()))
            return
        words = separation(design, spec.link)
        if words is not None:
            _separated(question, answers, place, str(words), words.terms, float(words.rows))
            return
    # A likelihood needs the centring only, which may be that of these rows.
    priors = priors_of(spec, design) if question.likelihood else question.priors
    try:
        target = target_of(spec, design, priors, flat=question.likelihood)
        result = run(target, "mle" if question.likelihood else "map", {})
    except SeparationError as error:
        answers.status[place] = str(Status.SEPARATED)
        answers.note(place, "separation", "error", label, f"{error}.")
        return
    except InferenceError as error:
        answers.status[place] = NO_ESTIMATE
        answers.note(place, "no-estimate", "error", label, f"{error}.")
        return
    kept = np.flatnonzero(~gone)
    answers.theta[place], answers.cov[place] = 0.0, 0.0
    answers.theta[place, kept] = result.theta
    answers.cov[place][np.ix_(kept, kept)] = result.cov
    # The binomial coefficient is added to all fits.
    answers.loglik[place] = result.loglik - target.log_coefficient
    answers.status[place] = str(result.status)
    for finding in result.findings:
        answers.codes[place].append(finding.code)
        told = f"{label}: {finding.message}"
        answers.findings.append((place, replace(finding, message=told, where=label)))


def _leave_out(question: Question, answers: Settled, found: Found, places: np.ndarray) -> None:
    """Say which columns were left out of fits that have an estimate; they have none themselves."""
    for place in places:
        if not np.isfinite(answers.theta[place]).all():
            continue
        gone = found.aliased[place]
        answers.theta[place, gone] = np.nan
        answers.cov[place][gone, :] = answers.cov[place][:, gone] = np.nan
        names = [name for name, out in zip(question.names, gone, strict=True) if out]
        told = f"left out, being combinations of columns before them: {_listed(names)}."
        answers.note(int(place), "aliased-dropped", "warning", question.label(int(place)), told,
                     value=float(len(names)))  # fmt: skip


def _explain(question: Question, answers: Settled, found: Found, facts: Facts) -> None:
    """Add the findings that follow from a status, and those of estimates without errors."""
    label, status, k = question.label, answers.status, len(question.names)
    for place in np.flatnonzero(status == NO_ROWS):
        answers.note(int(place), "no-rows", "error", label(int(place)), "no row counts.")
    for place in np.flatnonzero(status == FEW):
        rows = int(facts.rows[place])
        told = f"{rows:,} {'row' if rows == 1 else 'rows'} for {k} coefficients."
        answers.note(int(place), "too-few-rows", "error", label(int(place)), told,
                     value=float(rows), threshold=float(k), advice=question.ways)  # fmt: skip
    for place in np.flatnonzero(status == ALIASED):
        names = [n for n, out in zip(question.names, found.aliased[place], strict=True) if out]
        told = f"combinations of columns before them, or constant: {_listed(names)}."
        answers.note(int(place), "aliased", "error", label(int(place)), told,
                     value=float(len(names)), advice=question.ways and 'aliased="drop" leaves them out.')  # fmt: skip
    one = (facts.events == 0) | (facts.events == facts.effective)
    for place in np.flatnonzero(one & (facts.rows > 0)):
        which = "no events" if facts.events[place] == 0 else "events only"
        if status[place] == ONE:
            told = f"the outcome has {which}, so there is no maximum-likelihood estimate."
            answers.note(
                int(place), "one-class", "error", label(int(place)), told, advice=question.ways
            )
        elif not question.likelihood:
            told = f"the outcome has {which}: the answer rests on the priors."
            answers.note(int(place), "one-class", "warning", label(int(place)), told)
    estimated = np.isfinite(answers.theta)
    error = np.isfinite(np.diagonal(answers.cov, axis1=1, axis2=2))
    bad = (estimated & ~error).any(axis=1) & (status == str(Status.CONVERGED))
    for place in np.flatnonzero(bad):
        if "no-covariance" not in answers.codes[place]:
            told = "the information matrix is not positive definite: there are no standard errors."
            answers.note(int(place), "no-covariance", "warning", label(int(place)), told)


def certify(question: Question, answers: Settled, k_hat: np.ndarray, threshold: float) -> None:
    """Add a finding for each approximation that its certificate does not support."""
    there = np.isfinite(answers.theta).all(axis=1)
    for place in np.flatnonzero(there & ~(k_hat <= threshold)):
        told = (
            f"the Laplace approximation does not reach the tails of the posterior: Pareto k-hat "
            f"{k_hat[place]:.2f} (limit {threshold:.2f})."
        )
        answers.note(int(place), "laplace", "error", question.label(int(place)), told,
                     value=float(k_hat[place]), threshold=threshold,
                     advice='Use fit_many(...).model(segment).fit("nuts").')  # fmt: skip


def _listed(names: list[str]) -> str:
    some = names[:NAMED] + ([f"{len(names) - NAMED} more"] if len(names) > NAMED else [])
    return " and ".join([", ".join(some[:-1]), some[-1]] if len(some) > 1 else some)

"""Many candidate predictors, or many outcomes, against one design; see `bayesglm.fit_many`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm import design as designs
from bayesglm import frames
from bayesglm.columns import facts as column_facts
from bayesglm.errors import DataError, SpecificationError, explain, suggest
from bayesglm.fitting import fit_model
from bayesglm.implied import priors_of
from bayesglm.inference.screened import Piece, Screen, Tested, screen
from bayesglm.inference.segmented import starts
from bayesglm.many_fits import ManyFits, label_of, rows_design
from bayesglm.outcome import respond
from bayesglm.progress import bar
from bayesglm.segmenting import fits_of, plan_of, refuse_varying
from bayesglm.segments import dense
from bayesglm.settling import OPEN, Facts, Question, beforehand, settle

if TYPE_CHECKING:
    import pandas as pd

    from bayesglm.design import Design
    from bayesglm.settling import Job

__all__ = ["by_candidate", "by_outcome"]


def by_candidate(job: Job, data: Any, over: Sequence[str]) -> ManyFits:
    """Fit the formula and each candidate behind it.

    Parameters
    ----------
    job : Job
    data : DataFrame or dict
    over : sequence of str
        Columns of numbers.
    """
    known = frames.column_names(data)
    _refuse_unknown("over", over, known)
    design = designs.build(job.spec, data, context=job.context)
    refuse_varying(design)
    twice = [name for name in over if name in design.terms]
    if twice:
        raise SpecificationError(
            explain("a candidate is in the formula already", candidate=twice[0])
        )
    columns = partial(_numbers, data, over, design.kept)
    base = fit_model(job.spec, design, priors_of(job.spec, design), "mle", {}, seed=0,
                     progress=False)  # fmt: skip
    names = (*base.coef.index, "candidate")
    plan = replace(plan_of(Question(job, design, names, str, _no_design)), drop=False)
    theta = base.result.theta
    if design.intercept:
        mass = design.weights * design.trials
        theta = theta.copy()
        theta[0] += np.average(dense(design.matrix), axis=0, weights=mass) @ theta[1:]

    def read(places: np.ndarray) -> Piece:
        values = columns(places)
        there = np.isfinite(values)
        if job.spec.missing != "drop":
            _refuse_missing(over, places, there)
        weights = np.where(there, design.weights, 0.0)
        own = np.where(there, values, 0.0)[:, None, :]
        return Piece(own, design.y[None], weights, complete=bool(there.all()))

    def start(piece: Piece) -> np.ndarray:
        return np.tile(np.append(theta, 0.0), (len(piece.own), 1))

    def alone(place: int) -> Design:
        (values,) = columns(np.array([place]))
        rows = np.flatnonzero(np.isfinite(values) & (design.weights > 0))
        some = rows_design(design, rows)
        column = values[rows, None]
        mass = some.weights * some.trials
        told = column_facts(
            column, ("candidate",), mass, mass > 0, {"candidate": (("candidate",), False)}
        )
        return replace(
            some,
            matrix=np.hstack([dense(some.matrix), column]),
            terms=(*design.terms, "candidate"),
            columns=(*design.columns, *told),
            encoding=None,
            frame=None,
        )

    task = Screen(design, plan, read, start)
    labels = _labels("candidate", over)
    return _screened(job, task, names, labels, alone, kind="candidate")


def by_outcome(job: Job, data: Any, outcomes: Sequence[str]) -> ManyFits:
    """Fit the right side of the formula to each outcome.

    Parameters
    ----------
    job : Job
    data : DataFrame or dict
    outcomes : sequence of str
        Columns, each as the left side of a formula may be one.
    """
    known = frames.column_names(data)
    _refuse_unknown("outcomes", outcomes, known)
    text = job.spec.formula or ""
    if not isinstance(text, str) or not text.strip().startswith("~"):
        raise SpecificationError(
            explain(
                "with outcomes= the formula has no left side",
                formula=text,
                advice='use the form "~ x1 + x2"',
            )
        )
    # The right side is encoded with an outcome that lacks nothing.
    others = set(outcomes)
    rest = frames.select(data, [name for name in known if name not in others])
    stand_in = next(name for name in _fresh() if name not in known)
    whole = rest.assign(**{stand_in: np.arange(len(rest)) % 2})
    spec = replace(job.spec, formula=f"{stand_in} {text}", event=None, trials=None)
    design = designs.build(spec, whole, context=job.context)
    refuse_varying(design)
    trials = None
    if job.spec.trials is not None:
        counts = frames.select(data, [job.spec.trials])
        frames.refuse_missing(counts, advice="drop or fill these rows")
        trials = counts[job.spec.trials].to_numpy(dtype=float)
        trials = trials if design.kept is None else trials[design.kept]
        design = replace(design, trials=trials, aggregated=True)
    names = (("Intercept",) if design.intercept else ()) + tuple(design.terms)
    read_one = partial(_outcome, job, data, outcomes, design.kept, trials)
    offset = float(np.average(design.offset, weights=design.weights))

    def read(places: np.ndarray) -> Piece:
        unique, at = np.unique(places, return_inverse=True)
        each = [read_one(int(place)) for place in unique]
        y = np.stack([values for values, _ in each])[at]
        there = np.stack([there for _, there in each])[at]
        return Piece(np.zeros((len(places), 0, design.n)), y, np.where(there, design.weights, 0.0))

    def alone(place: int) -> Design:
        y, there = read_one(place)
        return rows_design(replace(design, y=y), np.flatnonzero(there & (design.weights > 0)))

    job = replace(job, spec=replace(job.spec, formula=text))
    question = Question(job, design, names, str, alone)
    plan = plan_of(question)

    def start(piece: Piece) -> np.ndarray:
        return starts(
            plan.structure,
            (piece.weights * piece.y).sum(axis=1),
            (piece.weights * design.trials).sum(axis=1),
            np.full(len(piece.y), offset - plan.offset_center),
            intercept=design.intercept,
            k=len(names),
        )

    task = Screen(design, plan, read, start)
    labels = _labels("outcome", outcomes)
    return _screened(job, task, names, labels, alone, kind="outcome")


def _screened(
    job: Job,
    task: Screen,
    names: tuple[str, ...],
    labels: pd.DataFrame,
    alone: Callable[[int], Design],
    *,
    kind: Any,
) -> ManyFits:
    from scipy.special import ndtr

    design, count = task.design, len(labels)
    words = {"ways": ""} if kind == "candidate" else {}
    question = Question(job, design, names, lambda place: label_of(labels, place), alone, **words)
    drop = task.plan.drop

    def begun(rows: np.ndarray, events: np.ndarray, effective: np.ndarray) -> np.ndarray:
        facts = Facts(rows, events, effective)
        return beforehand(facts, len(names), likelihood=job.likelihood, drop=drop) == OPEN

    with bar(f"{kind}s", count, progress=job.progress) as update:
        report = None if update is None else (lambda done: update(done, 0))
        tested: Tested = screen(task, count, begun, report)
    facts = Facts(tested.rows, tested.events, tested.effective)
    status = beforehand(facts, len(names), likelihood=job.likelihood, drop=drop)
    settled = settle(question, tested.found, facts, status)
    if design.aggregated:
        settled.loglik += _coefficients(job, task, count)
    for place in np.flatnonzero(facts.rows < design.nobs):
        lost = design.nobs - int(facts.rows[place])
        told = f"{lost:,} of {design.nobs:,} rows are missing."
        settled.note(int(place), "dropped", "note", question.label(int(place)), told,
                     value=float(lost))  # fmt: skip
    extra = {}
    if kind == "candidate":
        known = (status == OPEN) & ~tested.found.aliased.any(axis=1)
        score = np.where(known, tested.score, np.nan)
        extra = {"score": score, "score_p_value": 2 * ndtr(-np.abs(score))}
    return fits_of(question, labels, facts, settled, kind=kind, extra=extra)


def _coefficients(job: Job, task: Screen, count: int) -> np.ndarray:
    """Return the log binomial coefficients of each fit, shape (s,)."""
    found = np.empty(count)
    for place in range(count):
        piece = task.read(np.array([place]))
        each = job.spec.family.log_coefficient(piece.y[0], task.design.trials)
        found[place] = piece.weights[0] @ each
    return found


def _labels(name: str, values: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({name: list(values)}, dtype=object)


def _fresh() -> Any:
    yield "outcome"
    number = 1
    while True:
        yield f"outcome{number}"
        number += 1


def _no_design(place: int) -> Design:
    raise IndexError(place)


def _refuse_unknown(word: str, names: Sequence[str], known: Sequence[str]) -> None:
    there = set(known)
    absent = [name for name in names if name not in there]
    if absent:
        raise DataError(
            explain(
                f"{word} names {len(absent)} columns that are not in the data"
                f"{suggest(absent[0], known)}",
                columns=absent[:5],
            )
        )


def _numbers(
    data: Any, names: Sequence[str], kept: np.ndarray | None, places: np.ndarray
) -> np.ndarray:
    """Return some candidates as numbers, (places, n); what is missing or infinite is NaN."""
    import pandas as pd

    unique, at = np.unique(places, return_inverse=True)
    frame = frames.select(data, [names[place] for place in unique])
    for name in frame.columns:
        kind = frame[name].dtype
        if not pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_complex_dtype(kind):
            raise DataError(
                explain(
                    f"the candidate {name!r} must hold numbers",
                    dtype=str(kind),
                    advice="make it one or more columns of numbers first",
                )
            )
    values = frame.to_numpy(dtype=float, na_value=np.nan).T
    values = values if kept is None else values[:, kept]
    return np.asarray(np.where(np.isfinite(values), values, np.nan)[at])


def _refuse_missing(names: Sequence[str], places: np.ndarray, there: np.ndarray) -> None:
    lost = {names[place]: int(n) for place, n in zip(places, (~there).sum(axis=1), strict=True)}
    lost = {name: n for name, n in lost.items() if n}
    if lost:
        told = ", ".join(f"{name} ({n})" for name, n in list(lost.items())[:5])
        raise DataError(
            explain(
                f"candidates have missing or infinite values: {told}",
                advice='use missing="drop", which leaves those rows out of their own fit only',
            )
        )


def _outcome(
    job: Job,
    data: Any,
    names: Sequence[str],
    kept: np.ndarray | None,
    trials: np.ndarray | None,
    place: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return an outcome and which rows have it, (n,) each; 0 where it is missing."""
    name = names[place]
    frame = frames.select(data, [name])
    frame = frame if kept is None else frame[kept]
    there = ~frames.missing_mask(frame)[0]
    if not there.all() and job.spec.missing != "drop":
        frames.refuse_missing(frame, advice='use missing="drop", or fill them in')
    if not there.any():
        raise DataError(explain("every row has a missing value", columns={name: len(there)}))
    some = None if trials is None else trials[there]
    values, _, _ = respond(
        f"`{name}`", f"{name} {job.spec.formula}", frame[there].infer_objects(), job.spec, some
    )
    y = np.zeros(len(there))
    y[there] = values
    return y, there

"""Many small models at once: one formula in every segment, for every candidate, or every outcome."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bayesglm.errors import BayesGLMWarning, SpecificationError, explain, suggest
from bayesglm.frames import read_table
from bayesglm.screening import by_candidate, by_outcome
from bayesglm.segmenting import by_segment
from bayesglm.settling import Job
from bayesglm.spec import Spec
from bayesglm.tables import check_level

if TYPE_CHECKING:
    from bayesglm.link import Link
    from bayesglm.many_fits import ManyFits

__all__ = ["fit_many"]

METHODS = ("mle", "map", "laplace")


def fit_many(
    formula: str,
    data: Any,
    *,
    by: str | Sequence[str] | None = None,
    over: Sequence[str] | None = None,
    outcomes: Sequence[str] | None = None,
    method: Literal["mle", "map", "laplace"] = "mle",
    link: str | Link | None = None,
    prior: Any = "weak",
    trials: str | None = None,
    weights: str | None = None,
    offset: str | None = None,
    event: Any = None,
    missing: Literal["error", "drop"] = "error",
    center: bool = True,
    aliased: Literal["error", "drop"] = "error",
    context: Mapping[str, Any] | None = None,
    level: float = 0.95,
    seed: int = 0,
    progress: bool | None = None,
) -> ManyFits:
    """Fit the same small model many times, in one vectorised program.

    The encoding (levels, knots, the event) is learned once, on all rows, so that every fit has the
    same columns; so are the priors. Fits without an estimate do not spoil the others: they get NaN, a
    status and a finding.

    Parameters
    ----------
    formula : str
        As for `Model`, without group-level and smooth terms; with ``outcomes`` its left side is
        left out: ``"~ x1 + x2"``.
    data : DataFrame, dict or path
        As for `Model`.
    by : str or sequence of str
        One fit for each value of this column, or each combination of values.
    over : sequence of str
        Instead: candidates, columns of numbers. One fit for each, of the formula and that column
        behind it; Wald's test and the score test, for ``method="mle"``.
    outcomes : sequence of str
        Instead: one fit for each of these columns.
    method : {"mle", "map", "laplace"}
        Maximum likelihood; the mode of the posterior with errors by its curvature; mean and standard
        deviation of the posterior by importance weights of that Gaussian, whose certificate is
        ``k_hat`` (with ``by`` only).
    link : str or Link
        ``"logit"`` by default.
    prior : str or dict
        For ``map`` and ``laplace``; its scales are learned on all rows.
    trials, weights, offset : str, optional
        Columns, as for `Model`; weights are frequencies.
    event : object, optional
        Which value of a two-valued outcome counts as 1.
    missing : {"error", "drop"}
        What to do with rows that have a missing value (also in ``by``; of a candidate or an outcome
        for its own fit only).
    center : bool
        Put the intercept's prior on the centred predictors, centred by the means of all rows.
    aliased : {"error", "drop"}
        Under ``mle``: columns that are combinations of others in a segment leave it without an
        estimate, or are left out of it.
    context : dict of str to callable, optional
        Functions of your own that the formula may call.
    level : float
        Coverage of the intervals in the table.
    seed : int
        Fixes the proposals behind ``k_hat``.
    progress : bool, optional
        Show a progress bar; by default on a terminal and in a notebook.

    Returns
    -------
    ManyFits
        Its ``table`` has all estimates, ``segments`` the status of each fit.

    Raises
    ------
    SpecificationError, FormulaError, DataError
        With what is wrong, what was got, and what to do.

    Warns
    -----
    BayesGLMWarning
        Once, if some fits have no estimate.

    Examples
    --------
    >>> import bayesglm as bg
    >>> data = bg.datasets.simulate().assign(segment=lambda d: d.index % 500)
    >>> many = bg.fit_many("y ~ x1 + x2", data, by="segment")
    >>> many
    ManyFits('y ~ x1 + x2', by segment, method=mle, link=logit)
      500 segments, 500 with an estimate
      converged: 500
      see .table, .segments, .findings
    >>> many.table.columns.tolist()
    ['segment', 'term', 'estimate', 'std_error', 'lower', 'upper', 'p_value']
    """
    begin = time.perf_counter()
    chosen = {"by": by, "over": over, "outcomes": outcomes}
    named = [word for word, value in chosen.items() if value is not None]
    if len(named) != 1:
        raise SpecificationError(
            explain(
                "fit_many takes one of by=, over= and outcomes=",
                given=named,
                advice='use by="segment" for a fit in each segment',
            )
        )
    if isinstance(data, (str, Path)):
        data = read_table(data)
    (word,) = named
    columns = _names(word, chosen[word])
    _check_words(word, method, aliased)
    for name, value in (("trials", trials), ("weights", weights), ("offset", offset)):
        if value is not None and not isinstance(value, str):
            raise SpecificationError(
                explain(f"{name} must be the name of a column here", got=type(value).__name__)
            )
    spec = Spec.make(
        formula,
        link=link,
        prior=prior,
        trials=trials,
        weights=weights,
        offset=offset,
        event=event,
        missing=missing,
        center=center,
    )
    if spec.shape:
        raise SpecificationError(
            explain(
                "many fits at once need a link whose shape is fixed",
                link=spec.link.label,
                advice='use link="student_t(4)"',
            )
        )
    job = Job(spec, method, check_level(level), aliased == "drop", seed, progress, context)
    work = {"by": by_segment, "over": by_candidate, "outcomes": by_outcome}[word]
    found = replace(work(job, data, columns), seconds=time.perf_counter() - begin)
    _warn(found)
    return found


def _names(word: str, given: Any) -> tuple[str, ...]:
    """Return names of columns: one, or several."""
    names = (given,) if isinstance(given, str) else given
    try:
        names = tuple(names)
    except TypeError as error:
        raise SpecificationError(
            explain(f"{word} must be the name of a column, or several", **{word: given})
        ) from error
    if not names or not all(isinstance(name, str) for name in names):
        raise SpecificationError(explain(f"{word} must name columns", **{word: given}))
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SpecificationError(explain(f"{word} names a column twice", column=twice))
    return names


def _check_words(word: str, method: str, aliased: str) -> None:
    for name, value, known in (
        ("method", method, METHODS),
        ("aliased", aliased, ("error", "drop")),
    ):
        if value not in known:
            advice = "use one of " + ", ".join(known)
            if value in ("nuts", "svi", "auto"):
                advice += "; fit_many(...).model(segment) gives the model of one segment"
            raise SpecificationError(
                explain(f"unknown {name}{suggest(value, known)}", advice=advice, **{name: value})
            )
    if word == "outcomes" and method == "laplace":
        raise SpecificationError(
            explain("the certificate is for fits by segment", method=method,
                    advice='use method="map"')
        )  # fmt: skip
    if word == "over" and method != "mle":
        raise SpecificationError(
            explain("candidates are tested by maximum likelihood", method=method,
                    advice='use method="mle"')
        )  # fmt: skip


def _warn(found: ManyFits) -> None:
    """Warn once if some fits have no estimate."""
    missing = ~found.estimated
    if not missing.any():
        return
    counts = found.segments["status"][missing].value_counts()
    told = ", ".join(f"{status} {count:,}" for status, count in counts.items())
    warnings.warn(
        f"{int(missing.sum()):,} of {len(missing):,} fits have no estimate ({told}): see .findings",
        BayesGLMWarning,
        stacklevel=3,
    )

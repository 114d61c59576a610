"""The same formula in every segment of a table; see `bayesglm.fit_many`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm import design as designs
from bayesglm import frames
from bayesglm.errors import SpecificationError, explain
from bayesglm.generative import Structure
from bayesglm.implied import target_of
from bayesglm.inference.batched import Found, Prior
from bayesglm.inference.segmented import Layout, Plan, fit_segments, starts
from bayesglm.inference.weighed import THRESHOLD, weigh
from bayesglm.many_fits import ManyFits, label_of, rows_design
from bayesglm.progress import bar
from bayesglm.segments import Segments, keys_of, read_keys
from bayesglm.settling import OPEN, Facts, Question, Settled, beforehand, certify, settle

if TYPE_CHECKING:
    import pandas as pd

    from bayesglm.design import Design
    from bayesglm.settling import Job

__all__ = ["by_segment", "fits_of", "nothing", "plan_of", "refuse_varying"]


def by_segment(job: Job, data: Any, by: Sequence[str]) -> ManyFits:
    """Fit the formula in each segment.

    Parameters
    ----------
    job : Job
    data : DataFrame or dict
    by : sequence of str
        Columns whose combined values are the segments.
    """
    keys, kept = read_keys(data, by, job.spec.missing)
    if kept is not None:
        data = frames.select(data, frames.column_names(data))[kept]
        keys = keys[kept]
    codes, labels = keys_of(keys)
    design = designs.build(job.spec, data, context=job.context)
    refuse_varying(design)
    codes = codes if design.kept is None else codes[design.kept]
    count = len(labels)
    live = design.weights > 0
    segments = Segments.make(codes, count, live)
    mass = design.weights * design.trials
    facts = Facts(
        rows=segments.sizes,
        events=_sums(codes, design.weights * design.y, count),
        effective=_sums(codes, mass, count),
    )
    names = (("Intercept",) if design.intercept else ()) + tuple(design.terms)
    status = beforehand(facts, len(names), likelihood=job.likelihood, drop=job.drop)
    question = Question(
        job,
        design,
        names,
        label=lambda place: label_of(labels, place),
        alone=lambda place: rows_design(design, segments.rows(place)),
    )
    plan = plan_of(question)
    with np.errstate(divide="ignore", invalid="ignore"):
        offset = _sums(codes, design.weights * design.offset, count) / _sums(
            codes, design.weights, count
        )
    start = starts(
        plan.structure,
        facts.events,
        facts.effective,
        np.nan_to_num(offset) - plan.offset_center,
        intercept=design.intercept,
        k=len(names),
    )
    members = np.flatnonzero(status == OPEN)
    k_hat = np.full(count, np.nan)
    found = nothing(count, len(names))
    if members.size:
        layout = Layout(design, segments, plan, members, facts.effective)
        with bar("segments", len(members), progress=job.progress) as update:
            found = fit_segments(layout, start, _told(update))
        if job.method == "laplace":
            with bar("certificates", len(members), progress=job.progress) as update:
                weighed = weigh(layout, found, job.seed, _told(update))
            found = found._replace(theta=weighed.theta, cov=weighed.cov)
            k_hat = weighed.k_hat
    settled = settle(question, found, facts, status)
    if design.aggregated:
        per_row = job.spec.family.log_coefficient(design.y, design.trials)
        settled.loglik += _sums(codes, design.weights * per_row, count)
    if job.method == "laplace":
        certify(question, settled, k_hat, THRESHOLD)
        return fits_of(question, labels, facts, settled, rows=segments, k_hat=k_hat)
    return fits_of(question, labels, facts, settled, rows=segments)


def _told(update: Callable[..., None] | None) -> Callable[[int], None] | None:
    """Return what tells a bar how many segments are done."""
    return None if update is None else lambda done: update(done, 0)


def _sums(codes: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    return np.bincount(codes, weights=values, minlength=count)


def refuse_varying(design: Design) -> None:
    """Refuse group-level and smooth terms."""
    if design.varying:
        raise SpecificationError(
            explain(
                "fit_many has no group-level and no smooth terms",
                terms=[each.name for each in design.varying],
                advice="use bayesglm.Model, or bs(x, df=5) for a curve",
            )
        )


def plan_of(question: Question) -> Plan:
    """Return what all fits have in common."""
    spec, design = question.job.spec, question.design
    if question.likelihood:
        structure = Structure(spec.family, spec.link, (), False, (), 0)
        return Plan(structure, drop=question.job.drop)
    # The model on one row, for its priors.
    one = rows_design(design, np.flatnonzero(design.weights > 0)[:1])
    priors = question.priors
    target = target_of(spec, one, priors, merged=False, padded=False)
    if not target.linear:
        odd = [site.name for site in target.structure.sites if site.name != "Intercept_centered"]
        raise SpecificationError(
            explain(
                "fit_many takes priors on all real numbers only",
                sites=odd,
                advice="use distributions such as Normal(0, 2.5)",
            )
        )
    return Plan(
        target.structure,
        Prior(target.data),
        center=np.asarray(priors.center) if design.intercept else None,
        offset_center=float(priors.offset_center),
        some_flat=target.some_flat,
    )


def nothing(count: int, k: int) -> Found:
    """Return what is found where there is nothing to fit."""
    nan, no = np.full((count, k), np.nan), np.zeros((count, k), dtype=bool)
    square = np.full((count, k, k), np.nan)
    parts: Any = (nan, square, nan[:, 0], nan, square, no[:, 0], nan[:, 0], nan, no)
    return Found(*parts)


def fits_of(
    question: Question,
    labels: pd.DataFrame,
    facts: Facts,
    settled: Settled,
    k_hat: np.ndarray | None = None,
    **words: Any,
) -> ManyFits:
    """Put what was found together."""
    import pandas as pd

    columns = list(labels.columns)
    index = (
        pd.Index(labels[columns[0]], name=columns[0])
        if len(columns) == 1
        else pd.MultiIndex.from_frame(labels)
    )
    table = pd.DataFrame(
        {
            "rows": facts.rows,
            "events": _whole(facts.events),
            "status": settled.status,
            "converged": settled.status == "converged",
            "loglik": settled.loglik,
            "findings": [", ".join(codes) for codes in settled.codes],
        },
        index=index,
    )
    if k_hat is not None:
        table.insert(5, "k_hat", k_hat)
    job = question.job
    return ManyFits(
        spec=job.spec,
        design=question.design,
        method=job.method,
        level=job.level,
        labels=labels,
        names=question.names,
        theta=settled.theta,
        cov=settled.cov,
        segments=table,
        findings=tuple(found for _, found in sorted(settled.findings, key=lambda pair: pair[0])),
        seconds=0.0,
        **words,
    )


def _whole(values: np.ndarray) -> np.ndarray:
    """Return whole numbers as such."""
    return values.astype(np.int64) if bool((values == np.round(values)).all()) else values

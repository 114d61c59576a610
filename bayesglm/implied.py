"""A model on its data: its target, its priors in numbers, and what these imply for p."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bayesglm.design import Design
from bayesglm.errors import SpecificationError, explain
from bayesglm.group_priors import resolve_groups
from bayesglm.inference.predictive import prior_eta
from bayesglm.inference.target import Target, build
from bayesglm.presets import resolve
from bayesglm.priors import Baseline, Priors
from bayesglm.shape_priors import resolve_shape
from bayesglm.spec import Spec
from bayesglm.streaming.streamed import StreamedDesign, known

__all__ = ["PriorEta", "baseline_of", "priors_of", "target_of", "with_data"]

# Rows for which it is shown what the priors of networks imply.
ROWS = 100


@dataclass(frozen=True)
class PriorEta:
    """Prior draws of eta for the rows of a target: a callable that can be pickled."""

    target: Target

    def __call__(self, draws: int, seed: int) -> np.ndarray:
        """Return eta, shape (draws, rows), link scale."""
        return prior_eta(self.target, draws, seed=seed)


def target_of(spec: Spec, design: Design, priors: Priors, **words: Any) -> Target:
    """Return a model as inference sees it; ``words`` as for `bayesglm.inference.target.build`."""
    if design.matrix is None:
        raise design.no_rows()
    return build(
        design,
        priors,
        family=spec.family,
        link=spec.link,
        networks=spec.add,
        precision=spec.precision,
        sampling=spec.weights_kind == "sampling",
        **words,
    )


def baseline_of(design: Design) -> Baseline:
    """Return what priors need to know of the rows of a design."""
    if isinstance(design, StreamedDesign):
        return known(design.baseline)
    w = design.weights * design.trials
    share = design.y / design.trials
    mean = float(np.average(share, weights=w))
    live = (w > 0).astype(float)
    copies = live if design.copies is None else live * design.copies
    number, mean_rows = float(copies.sum()), float(np.average(share, weights=copies))
    square = float(np.sum(copies * (share - mean_rows) ** 2))
    return Baseline(
        rows=int(number),
        offset_mean=float(np.average(design.offset, weights=w)),
        y_sd=float(np.sqrt(np.average((share - mean) ** 2, weights=w))),
        y_mean_rows=mean_rows,
        y_sd_rows=float(np.sqrt(square / (number - 1))) if number > 1 else 0.0,
    )


def priors_of(spec: Spec, design: Design, baseline: Baseline | None = None) -> Priors:
    """Work the priors out; a wrong word is refused before anything is fitted.

    ``baseline`` is `baseline_of` the design if absent.
    """
    if spec.shape and design.varying:
        raise SpecificationError(
            explain(
                "a link with a learned shape is not available beside group-level effects or smooth "
                "terms",
                link=spec.link.label,
                advice='use a fixed shape, as link="student_t(4)"',
            )
        )
    groups, rest = resolve_groups(spec.prior, design.varying, spec.link)
    shape, rest = resolve_shape(rest, spec.shape)
    found = resolve(
        rest,
        design.columns,
        link=spec.link,
        family=spec.family,
        intercept=design.intercept,
        center=spec.center,
        baseline=baseline_of(design) if baseline is None else baseline,
    )
    if isinstance(spec.prior, dict) and len(rest) < len(spec.prior) and "custom" not in found.name:
        found = replace(found, name=f"custom, else {found.name}")
    return with_data(replace(found, groups=groups, shape=shape), spec, design)


def with_data(priors: Priors, spec: Spec, design: Design) -> Priors:
    """Return the priors, able to say what they imply for p on the rows with weight > 0."""
    if isinstance(design, StreamedDesign):
        if design.sample is None:
            return priors
        design = design.sample
    priors = priors.with_rows(design.matrix, design.offset, design.weights > 0)
    if not (design.inputs or design.varying):
        return priors
    live = np.flatnonzero(design.weights > 0)
    rows = live[np.unique(np.linspace(0, len(live) - 1, min(ROWS, len(live))).astype(int))]
    some = replace(
        design,
        matrix=design.matrix[rows],
        inputs=tuple(replace(part, matrix=part.matrix[rows]) for part in design.inputs),
        groups=tuple(replace(part, rows=part.rows[rows]) for part in design.groups),
        smooths=tuple(replace(part, rows=part.rows[rows]) for part in design.smooths),
        **{name: getattr(design, name)[rows] for name in ("y", "trials", "weights", "offset")},
    )
    target = target_of(spec, some, priors)
    named = tuple(
        (site.name, prior)
        for network, part in target.networks
        for site, prior in zip(network.sites, part.priors, strict=True)
    )
    return replace(priors, networks=named, sampler=PriorEta(target))

"""A streamed design as inference sees it: a target of a few rows, and passes over all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from bayesglm.implied import target_of
from bayesglm.inference.passes import Passes
from bayesglm.inference.target import Target
from bayesglm.priors import Priors
from bayesglm.progress import rows_bar
from bayesglm.spec import Spec
from bayesglm.streaming.source import in_order
from bayesglm.streaming.streamed import StreamedDesign, known

__all__ = ["passes_of", "reach_of", "template_of"]

# Rows of the target that stands for all: it has structure, priors and coordinates.
FEW = 64


def template_of(spec: Spec, design: StreamedDesign, priors: Priors, *, flat: bool) -> Target:
    """Return a target of a few rows with the totals of all."""
    sample = known(design.sample)
    few = min(FEW, sample.n)
    whole = replace(
        sample,
        matrix=sample.matrix[:few],
        columns=design.columns,
        **{name: getattr(sample, name)[:few] for name in ("y", "trials", "weights", "offset")},
    )
    target = target_of(spec, whole, priors, flat=flat, merged=False)
    totals = design.totals
    coefficient = totals.log_coefficient if design.aggregated else 0.0
    return replace(
        target,
        n=totals.rows,
        effective=totals.effective,
        log_coefficient=coefficient,
        left_out=coefficient,
    )


def passes_of(target: Target, design: StreamedDesign, progress: bool | None) -> Passes:
    """Return the passes over the rows of a design."""

    def read(extra: tuple[str, ...], label: str) -> Any:
        reader = design.reading()
        with rows_bar(label, reader.source.rows, progress=progress) as report:
            yield from reader.blocks(extra, report=report)

    def work(function: Callable[[Any], Any], blocks: Any, workers: int) -> Any:
        return in_order(partial(_numbered, design, function), blocks, workers)

    return Passes(target, read, design.length, work)


def _numbered(design: StreamedDesign, function: Callable[[Any], Any], block: Any) -> Any:
    return function(design.numbers(block))


def reach_of(target: Target, design: StreamedDesign) -> np.ndarray:
    """Return how far each centred column reaches, the constant first, shape (k,)."""
    ends = np.array([[c.minimum, c.maximum] for c in design.columns]).reshape(-1, 2)
    far = np.abs(ends - target.center[:, None]).max(axis=1)
    return np.concatenate([np.ones(int(target.intercept)), far])

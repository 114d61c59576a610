"""Slopes through a network, or with slopes of groups: central differences of p."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from bayesglm.effects.answers import scale_of
from bayesglm.effects.encodings import STEP
from bayesglm.effects.engine import Chunk, probabilities, together
from bayesglm.effects.questions import asked, collect
from bayesglm.effects.rows import Cells, Rows, cells_of

__all__ = ["network_slopes"]


def network_slopes(
    rows: Rows,
    cells: Cells,
    names: list[str],
    slope: str,
    *,
    level: float,
    memory: int,
    shown: str,
) -> dict[str, Any]:
    """Return a table of slopes for each variable of a model with networks.

    Parameters
    ----------
    rows, cells : Rows, Cells
    names : list of str
        The variables, all numbers.
    slope, level, memory
        As of `slopes`.
    shown : str
        The contrast in words, with a place for the variable.
    """
    tables = {}
    for name in names:
        x = np.asarray(rows.frame[name], dtype=float)
        step = STEP * max(float(np.abs(x).max(initial=0.0)), float(np.ptp(x)), 1e-300)
        columns, behind = collect(
            rows,
            _differences(rows, cells, name, x, step, slope, memory),
            lambda values: values,
            lambda values: np.ones((1, *values.shape)),
            scale=scale_of("identity"),
            level=level,
            memory=memory,
        )
        note = f"{name}: a central difference of p, step {step:.3g}"
        behind = replace(behind, question="slopes", kind="slope of the probability", notes=(note,))
        labels = [{"term": name, "contrast": shown.format(name)}]
        tables[name] = asked(rows, cells, columns, behind, labels)
    return tables


def _differences(
    rows: Rows, cells: Cells, name: str, x: np.ndarray, step: float, slope: str, memory: int
) -> Iterator[Chunk]:
    """Yield slopes by row or their averages: a ratio is one of a row, so rows come first."""
    low, high = x - step, x + step
    for smooth in rows.fit.design.smooths:
        if smooth.variable == name:
            # A smooth term ends where the training rows do.
            known = smooth.encoding.columns[name]
            low, high = np.maximum(low, known.lower), np.minimum(high, known.upper)
    width = high - low
    versions = [{name: low}, {name: high}, {}]
    relative, logarithmic = slope[0] == "e", slope[2:] == "ex"
    total, along = 0.0, 0.0
    for chunk in probabilities(rows, cells_of(rows, None), versions, memory):
        p = chunk.values[None] if chunk.draws is None else chunk.draws
        value = (p[:, [1]] - p[:, [0]]) / width[chunk.cells]
        if relative:
            value = value / p[:, [2]]
        if logarithmic:
            value = value * x[chunk.cells]
        jacobian = None
        if chunk.jacobian is not None:
            below, above, here = chunk.jacobian
            jacobian = (above - below) / width[chunk.cells][:, None]
            if relative:
                ratio = ((p[0, 1] - p[0, 0]) / width[chunk.cells] / p[0, 2])[:, None]
                jacobian = (jacobian - ratio * here) / p[0, 2][:, None]
            if logarithmic:
                jacobian = jacobian * x[chunk.cells][:, None]
        if cells.codes is None:
            drawn = value if len(value) > 1 else None
            moved = None if jacobian is None else jacobian[None]
            yield Chunk(chunk.cells, value.mean(axis=0), moved, drawn)
            continue
        share = cells.averaging(chunk.cells)
        total = total + value @ share
        along = along if jacobian is None else along + share.T @ jacobian
    if cells.codes is not None:
        moved = None if np.ndim(along) == 0 else np.asarray(along)[None]
        yield together(np.asarray(total), moved)

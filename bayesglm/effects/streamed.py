"""Averages over rows that stay on disk: block by block, then added up by cell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.effects.contrasts import is_numeric
from bayesglm.effects.engine import Chunk
from bayesglm.effects.rows import Cells, Rows, cells_of, rows_of
from bayesglm.errors import DataError, SpecificationError, explain
from bayesglm.grouping import NewGroups
from bayesglm.streaming.streamed import StreamedDesign, known

if TYPE_CHECKING:
    from bayesglm.fit import Fit

__all__ = ["is_streamed", "over_blocks", "settled", "some_rows"]

# What is compared by the spread of all rows, which blocks do not know.
SPREADS = ("sd", "2sd", "iqr")


def is_streamed(fit: Fit, newdata: Any) -> bool:
    """Whether a question is about rows that stay on disk."""
    return newdata is None and isinstance(fit.design, StreamedDesign)


def some_rows(fit: Any) -> Rows:
    """Return the rows of the sample, which know levels and ranges of all."""
    return rows_of(_standing(fit), None, None)


def _standing(fit: Any) -> Any:
    """Return the fit with its sample for a design: encoding and terms are those of all rows."""
    return replace(fit, design=known(fit.design.sample))


def settled(rows: Rows, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is compared of each variable, in words that do not depend on the block."""
    found = {}
    for name, what in asked.items():
        if isinstance(what, str) and is_numeric(rows, name):
            if what in SPREADS:
                raise SpecificationError(
                    explain(
                        f"{what} of {name!r} is not known of rows that are read by blocks",
                        advice=f"give a number, as {{{name!r}: 1.5}}",
                    )
                )
            if what == "minmax":
                x = np.asarray(rows.frame[name], dtype=float)
                what = (float(x.min()), float(x.max()))
        found[name] = what
    return found


def over_blocks(
    fit: Any,
    by: Any,
    weights: Any,
    make: Callable[[Rows, Cells], Iterable[Chunk]],
) -> tuple[Rows, Cells, list[Chunk]]:
    """Return the averages over all rows of a streamed design.

    Parameters
    ----------
    fit : Fit
    by : True, str or list of str
        The cells.
    weights : str or None
        Column of the weights of averages; the model's own, times trials, if absent.
    make : callable
        Returns the averages (and Jacobian, or draws) over some rows, by cell.

    Returns
    -------
    rows : Rows
        Those of the sample, for what is no average.
    cells : Cells
        With labels only.
    chunks : list of Chunk
        One.

    Raises
    ------
    SpecificationError
        For an answer of each row.
    """
    import pandas as pd

    if by is None or by is False:
        raise SpecificationError(
            explain(
                "the rows are read by blocks, so that an answer of each would not fit",
                by=by,
                advice="ask for an average, by=True or by a column, or give newdata",
            )
        )
    if weights is not None and not isinstance(weights, str):
        raise SpecificationError(
            explain("weights must name a column, as the rows are read by blocks")
        )
    design, stand = fit.design, _standing(fit)
    named = [] if by is True else [by] if isinstance(by, str) else list(by)
    extra = [*named, *([] if weights is None else [weights])]
    absent = [name for name in extra if name not in design.reading().source.names]
    if absent:
        raise DataError(explain(f"no column {absent[0]!r} in the files"))
    masses: dict[tuple[Any, ...], float] = {}
    sums: dict[tuple[Any, ...], list[Any]] = {}
    labels: dict[tuple[Any, ...], Any] = {}
    for frame, numbers in design.frames(extra):
        own = numbers.weights * numbers.trials
        if weights is not None:
            own = frame[weights].to_numpy(dtype=float)
            if not np.isfinite(own).all() or (own < 0).any():
                raise DataError(explain("weights must be numbers of at least 0", column=weights))
        if not own.sum():
            continue
        rows = Rows(
            stand, frame, numbers.dense(), numbers.offset, (), {}, NewGroups.make("error"),
            own, frame, None, True,
        )  # fmt: skip
        cells = cells_of(rows, by)
        codes = np.zeros(rows.n, dtype=np.int64) if cells.codes is None else cells.codes
        mass = np.bincount(codes, weights=own, minlength=cells.count)
        for chunk in make(rows, cells):
            parts = [chunk.values, chunk.jacobian, chunk.draws]
            for c in range(cells.count):
                key = tuple(cells.labels.iloc[c])
                here = [
                    None if part is None else mass[c] * _cell(part, c, k == 1)
                    for k, part in enumerate(parts)
                ]
                labels.setdefault(key, cells.labels.iloc[[c]])
                before = sums.get(key)
                masses[key] = masses.get(key, 0.0) + mass[c]
                sums[key] = here if before is None else _added(before, here)
    if not masses:
        raise DataError(explain("there are no rows to average over"))
    order = list(masses)
    if named:
        table = pd.concat([labels[key] for key in order], ignore_index=True)
        place = table.sort_values(named, kind="stable").index
        order = [order[k] for k in place]
        table = table.iloc[place].reset_index(drop=True)
    else:
        table = pd.DataFrame(index=[0])

    def whole(k: int, axis: int) -> Any:
        if sums[order[0]][k] is None:
            return None
        return np.stack([sums[key][k] / masses[key] for key in order], axis=axis)

    chunk = Chunk(slice(0, len(order)), whole(0, -1), whole(1, 1), whole(2, -1))
    cells = Cells(table, np.zeros(0, dtype=np.int64), np.zeros(0))
    return replace(some_rows(fit), source=None), cells, [chunk]


def _cell(part: np.ndarray, c: int, jacobian: bool) -> np.ndarray:
    """Return the numbers of one cell: the Jacobian's cells are its second axis."""
    return part[:, c] if jacobian else part[..., c]


def _added(before: list[Any], here: list[Any]) -> list[Any]:
    return [None if a is None else a + b for a, b in zip(before, here, strict=True)]

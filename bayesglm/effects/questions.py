"""What every question does: checks its words, collects chunks of answers, tabulates them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.effects.answers import Behind, Quantity, Scale, answer, tabulate
from bayesglm.effects.engine import Chunk, covariance_of, has_covariance
from bayesglm.errors import SpecificationError, explain
from bayesglm.frames import library_of

if TYPE_CHECKING:
    import pandas as pd

    from bayesglm.effects.rows import Cells, Rows

__all__ = ["MEMORY", "asked", "check_memory", "collect", "stacked"]

# Bytes that blocks, and what is kept of them, may take.
MEMORY = 256 * 2**20


def check_memory(memory: int) -> int:
    """Return a number of bytes, refused below a million."""
    if not isinstance(memory, (int, float)) or memory < 1e6:
        raise SpecificationError(
            explain("memory must be a number of bytes, at least 1e6", memory=memory)
        )
    return int(memory)


def collect(
    rows: Rows,
    chunks: Iterable[Chunk],
    combine: Callable[[np.ndarray], np.ndarray],
    partials: Callable[[np.ndarray], np.ndarray],
    *,
    scale: Scale,
    level: float,
    memory: int,
) -> tuple[dict[str, np.ndarray], Behind]:
    """Turn chunks of averages into the columns of a table.

    Parameters
    ----------
    rows : Rows
    chunks : iterable of Chunk
        Averages by version and cell.
    combine : callable
        From values (..., v, cells) to answers (..., c, cells): one for each comparison of versions.
    partials : callable
        From values (v, cells) to the derivatives of the answers (c, v, cells).
    scale, level, memory
        As of `tabulate`; what is kept of draws and Jacobian takes no more memory.

    Returns
    -------
    columns : dict of str to ndarray, shape (c, cells)
    behind : Behind
        Its rows run over comparisons, and within these over cells.
    """
    fit = rows.fit
    cov = covariance_of(rows)
    tests = fit.method == "mle"
    parts: list[dict[str, np.ndarray]] = []
    kept: list[np.ndarray] = []
    size = 0
    for chunk in chunks:
        drawn: np.ndarray | None = None
        jacobian: np.ndarray | None = None
        kind: np.ndarray | None
        if chunk.draws is not None:
            drawn = combine(chunk.draws)
            value, kind = drawn.mean(axis=0), drawn
        else:
            value = combine(chunk.values)
            if chunk.jacobian is not None:
                jacobian = np.einsum("cvm,vmk->cmk", partials(chunk.values), chunk.jacobian)
            kind = jacobian
        shape = value.shape
        error = np.full(shape, np.nan)
        if jacobian is not None:
            variance = np.einsum("cmk,kl,cml->cm", jacobian, cov, jacobian, optimize=True)
            error = np.sqrt(np.where(np.abs(variance) < 1e-24, 0.0, variance))
        quantity = Quantity(
            value.ravel(),
            error.ravel(),
            draws=None if drawn is None else drawn.reshape(len(drawn), -1),
        )
        found = tabulate(quantity, level=level, scale=scale, tests=tests)
        parts.append({name: column.reshape(shape) for name, column in found.items()})
        if kind is not None:
            size += kind.nbytes
            kept = [*kept, kind] if size <= memory else []
    columns = {name: np.concatenate([p[name] for p in parts], axis=-1) for name in parts[0]}
    whole = np.concatenate(kept, axis=-1 if fit.result.draws else 1) if kept else None
    missing = ""
    if whole is None:
        missing = (
            f"they would take {size / 2**20:.0f} MB: ask for an average (by=True), or memory={size}"
            if size
            else "a network's estimate has no covariance; ask a posterior"
        )
    return columns, _behind(rows, whole, missing, level, scale)


def _behind(
    rows: Rows, whole: np.ndarray | None, missing: str, level: float, scale: Scale
) -> Behind:
    result = rows.fit.result
    draws = jacobian = None
    if whole is not None and has_covariance(rows):
        jacobian = whole.reshape(-1, whole.shape[-1])
    elif whole is not None:
        chains = next(iter(result.draws.values())).shape[:2] if result.draws else (1, len(whole))
        draws = whole.reshape(*chains, -1)
    return Behind(
        question="",
        kind="",
        level=level,
        null=scale.null,
        draws=draws,
        jacobian=jacobian,
        cov=covariance_of(rows) if jacobian is not None else None,
        missing=missing,
    )


def asked(
    rows: Rows,
    cells: Cells,
    columns: dict[str, np.ndarray],
    behind: Behind,
    labels: list[dict[str, Any]],
) -> Any:
    """Return the table: labels of the comparisons, cells, answers, and the rows asked about.

    Parameters
    ----------
    rows, cells : Rows, Cells
    columns : dict of str to ndarray, shape (c, cells)
    behind : Behind
    labels : list of dict
        For each comparison the columns that name it.
    """
    import pandas as pd

    count, size = len(labels), cells.count
    alone = cells.codes is None
    index: Any = pd.RangeIndex(count * size)
    if alone:
        index = cells.labels.index
        index = index if count == 1 else index.append([index] * (count - 1))
    found: dict[str, Any] = {
        name: np.repeat([label[name] for label in labels], size) for name in labels[0]
    }
    for name in cells.labels.columns:
        found[name] = _tiled(cells.labels[name], count)
    found |= {name: values.ravel() for name, values in columns.items()}
    if alone:
        shown = [name for name in rows.frame.columns if name not in found]
        found |= {name: _tiled(rows.frame[name], count) for name in shown}
    behind = replace(behind, library=library_of(rows.source))
    return answer(pd.DataFrame(found, index=index), behind)


def _tiled(values: pd.Series, count: int) -> Any:
    import pandas as pd

    return pd.concat([values] * count, ignore_index=True).array if count > 1 else values.array


def stacked(tables: list[Any], order: list[str] | None = None) -> Any:
    """Return tables one below the other, with what stands behind them.

    Parameters
    ----------
    tables : list of answers
        With a column ``term``.
    order : list of str, optional
        That of the terms.
    """
    import pandas as pd

    if len(tables) == 1:
        return tables[0]
    table = pd.concat([pd.DataFrame(t) for t in tables])
    if isinstance(table.index, pd.RangeIndex) or not table.index.is_unique:
        table = table.reset_index(drop=True)
    behinds = [t.behind for t in tables]
    place = np.arange(len(table))
    if order is not None:
        rank = {name: k for k, name in enumerate(order)}
        place = np.argsort([rank[term] for term in table["term"]], kind="stable")
        table = table.iloc[place].reset_index(drop=True)

    def joined(name: str, axis: int) -> Any:
        values = [getattr(b, name) for b in behinds]
        if any(v is None for v in values):
            return None
        return np.take(np.concatenate(values, axis=axis), place, axis=axis)

    return answer(
        table,
        replace(
            behinds[0],
            draws=joined("draws", -1),
            jacobian=joined("jacobian", 0),
            missing=next((b.missing for b in behinds if b.missing), ""),
            notes=tuple(note for b in behinds for note in b.notes),
        ),
    )

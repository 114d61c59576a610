"""Facts about the columns of a matrix, for priors: mean, sd, range, whether two-valued."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bayesglm.priors import ColumnFacts

__all__ = ["facts"]

# Columns read together: a line of the cache holds 8 numbers of a row.
TOGETHER = 8
ROWS = 4_096


def facts(
    matrix: Any,
    terms: Sequence[str],
    weights: np.ndarray,
    live: np.ndarray,
    words: Mapping[str, tuple[tuple[str, ...], bool]],
    copies: np.ndarray | None = None,
) -> tuple[ColumnFacts, ...]:
    """Return what priors need to know of each column; rows with weight 0 stay out.

    Parameters
    ----------
    matrix : ndarray or sparse array, shape (n, p)
    terms : sequence of str
    weights : ndarray, shape (n,)
        Weights times trials.
    live : ndarray of bool, shape (n,)
    words : mapping
        For each term its data columns, and whether it comes from factors alone.
    copies : ndarray, shape (n,), optional
        How many rows (of weight > 0) each row stands for.
    """
    if copies is None:
        copies = np.ones(len(weights))
    if isinstance(matrix, np.ndarray):
        numbers = _dense_facts(matrix, weights, live, copies)
    else:
        numbers = _sparse_facts(matrix, weights, live, copies)
    return tuple(
        ColumnFacts(term=term, variables=words[term][0], categorical=words[term][1], **number)
        for term, number in zip(terms, numbers, strict=True)
    )


def _dense_facts(
    matrix: np.ndarray, weights: np.ndarray, live: np.ndarray, copies: np.ndarray
) -> list[dict[str, Any]]:
    everything = live.all()
    if not everything:
        weights, copies = weights[live], copies[live]
    # Where rows count alike, the weighted numbers are those of the rows.
    alike = bool(weights.min() == weights.max() and copies.min() == copies.max())
    total, n = float(weights.sum()), float(copies.sum())
    found = []
    for first in range(0, matrix.shape[1], TOGETHER):
        some = matrix[:, first : first + TOGETHER]
        for values in _columns_first(some if everything else some[live]):
            lower, upper = float(values.min()), float(values.max())
            if alike:
                mean = mean_rows = float(values.mean())
                spread = float(((values - mean) ** 2).mean())
                rows = spread * n
            else:
                mean = float(np.sum(weights * values) / total)
                mean_rows = float(np.sum(copies * values) / n)
                spread = float(np.sum(weights * (values - mean) ** 2) / total)
                rows = float(np.sum(copies * (values - mean_rows) ** 2))
            found.append(
                {
                    "kind": _kind(values, lower, upper),
                    "mean": mean,
                    "sd": float(np.sqrt(spread)),
                    "minimum": lower,
                    "maximum": upper,
                    "mean_rows": mean_rows,
                    "sd_rows": float(np.sqrt(rows / max(n - 1, 1))),
                }
            )
    return found


def _columns_first(matrix: np.ndarray) -> np.ndarray:
    """Return the transposed matrix, copied block by block to stay in cache."""
    found = np.empty(matrix.shape[::-1])
    for begin in range(0, len(matrix), ROWS):
        found[:, begin : begin + ROWS] = matrix[begin : begin + ROWS].T
    return found


def _kind(values: np.ndarray, lower: float, upper: float) -> str:
    if lower == upper:
        return "constant"
    # A look at some rows spares most columns of numbers the look at all.
    for part in (values[:1_000], values):
        if not ((part == lower) | (part == upper)).all():
            return "numeric"
    return "binary"


def _sparse_facts(
    matrix: Any, weights: np.ndarray, live: np.ndarray, copies: np.ndarray
) -> list[dict[str, Any]]:
    kept = matrix.tocsr()[live].tocsc()
    w, c = weights[live] / weights[live].sum(), copies[live]
    n = float(c.sum())
    found = []
    for j in range(kept.shape[1]):
        part = slice(kept.indptr[j], kept.indptr[j + 1])
        values, rows = kept.data[part], kept.indices[part]
        full = len(values) == len(c)
        lower = float(values.min()) if full else float(min(values.min(initial=0.0), 0.0))
        upper = float(values.max()) if full else float(max(values.max(initial=0.0), 0.0))
        mean, mean_rows = float(values @ w[rows]), float(values @ c[rows] / n)
        rest, rest_rows = 1 - float(w[rows].sum()), n - float(c[rows].sum())
        variance = float(((values - mean) ** 2) @ w[rows]) + rest * mean**2
        square = float(((values - mean_rows) ** 2) @ c[rows]) + rest_rows * mean_rows**2
        binary = bool(np.isin(values, (lower, upper)).all()) and (full or 0.0 in (lower, upper))
        found.append(
            {
                "kind": "constant" if lower == upper else ("binary" if binary else "numeric"),
                "mean": mean,
                "sd": float(np.sqrt(max(variance, 0.0))),
                "minimum": lower,
                "maximum": upper,
                "mean_rows": mean_rows,
                "sd_rows": float(np.sqrt(square / max(n - 1, 1))),
            }
        )
    return found

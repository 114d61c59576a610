"""The matrix of predictors as inference sees it: columns first, padded, dense or mostly sparse.

Rows and columns are padded to bucket sizes, so that fits of nearly equal size share one compiled
program. Padding columns are zero; padding rows repeat the first row and carry weight 0, because a
zero row need not be feasible under a link with a bounded domain.
Both classes are pytrees with the same operations; inference never asks which one it has.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

__all__ = ["DenseColumns", "Matrix", "SparseColumns", "bucket", "pad_rows", "place"]

GROWTH = 1.12
MIN_ROWS = 128
MIN_COLUMNS = 4
# Wide enough for BLAS, small enough that a block of 25 columns in double precision stays in cache.
BLOCK = 4096
# A column with fewer non-zeros than this is stored by its non-zeros.
DENSE_SHARE = 0.3


def bucket(size: int, smallest: int) -> int:
    """Return the bucket that holds ``size``: powers of 1.12 of the smallest, in steps of 4 at least.

    Examples
    --------
    >>> bucket(23, 128), bucket(1_000, 128), bucket(3, 4), bucket(21, 4)
    (128, 1088, 4, 24)
    """
    while smallest < size:
        grown = math.floor(smallest * GROWTH) // 4 * 4
        smallest = max(smallest + 4, grown)
    return smallest


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return zeros that JAX can use without a copy: it asks for addresses in steps of 64 bytes."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.zeros(size + 64, np.uint8)
    first = -raw.ctypes.data % 64
    return raw[first : first + size].view(dtype).reshape(shape)


def pad_rows(values: np.ndarray, rows: int, fill: float | None = None) -> np.ndarray:
    """Lengthen the last axis to ``rows`` by repeating its first entry, or with ``fill``."""
    missing = rows - values.shape[-1]
    if not missing:
        return values
    first = values[..., :1] if fill is None else np.full_like(values[..., :1], fill)
    return np.concatenate([values, np.repeat(first, missing, axis=-1)], axis=-1)


class DenseColumns(NamedTuple):
    """A dense matrix, columns first: ``values`` has shape (k, n)."""

    values: Array

    @property
    def shape(self) -> tuple[int, int]:
        """Columns and rows."""
        return (self.values.shape[0], self.values.shape[1])

    def dot(self, coefficients: Array) -> Array:
        """Return the (n,) linear predictor of (k,) coefficients."""
        return coefficients @ self.values

    def sums(self, rows: Array) -> Array:
        """Return the (k,) sums over rows of each column times ``rows``."""
        return self.values @ rows

    def gram(self, weights: Array) -> Array:
        """Return the (k, k) matrix sum_i w_i x_i x_i', block by block to stay in cache."""
        k, n = self.shape
        whole = n // BLOCK

        def add(i: Array, total: Array) -> Array:
            part = jax.lax.dynamic_slice(self.values, (0, i * BLOCK), (k, BLOCK))
            w = jax.lax.dynamic_slice(weights, (i * BLOCK,), (BLOCK,))
            return total + (part * w) @ part.T

        rest = self.values[:, whole * BLOCK :]
        start = (rest * weights[whole * BLOCK :]) @ rest.T
        return jax.lax.fori_loop(0, whole, add, start) if whole else start

    def quadratic(self, matrix: Array) -> Array:
        """Return the (n,) values x_i' V x_i."""
        return jnp.sum(self.values * (matrix @ self.values), axis=0)

    def rows(self, index: Array) -> DenseColumns:
        """Return some rows."""
        return DenseColumns(self.values[:, index])

    def group_sums(self, rows: Array, codes: Array, groups: int) -> Array:
        """Return the (groups, k) sums of x_i times ``rows`` within each group."""
        return jax.ops.segment_sum((self.values * rows).T, codes, num_segments=groups)


class SparseColumns(NamedTuple):
    """Full columns kept dense, the others by their non-zeros; centred without being filled in.

    ``columns`` and ``entries`` have shape (n, m): row i has ``entries[i, j]`` in column
    ``columns[i, j]``; unused places hold entry 0. ``center`` (k,) is subtracted from each column.
    """

    dense: Array
    dense_index: Array
    columns: Array
    entries: Array
    center: Array

    @property
    def shape(self) -> tuple[int, int]:
        """Columns and rows."""
        return (self.center.shape[0], self.columns.shape[0])

    def dot(self, coefficients: Array) -> Array:
        """Return the (n,) linear predictor of (k,) coefficients."""
        sparse = jnp.sum(self.entries * coefficients[self.columns], axis=1)
        return coefficients[self.dense_index] @ self.dense + sparse - self.center @ coefficients

    def sums(self, rows: Array) -> Array:
        """Return the (k,) sums over rows of each column times ``rows``."""
        return self._raw_sums(rows) - self.center * jnp.sum(rows)

    def _raw_sums(self, rows: Array) -> Array:
        total = jnp.zeros(self.shape[0], rows.dtype)
        total = total.at[self.dense_index].add(self.dense @ rows)
        return total.at[self.columns].add(self.entries * rows[:, None])

    def gram(self, weights: Array) -> Array:
        """Return the (k, k) matrix sum_i w_i x_i x_i'; costs m² scattered additions a row."""
        k, _ = self.shape
        total = jnp.zeros((k, k), weights.dtype)
        grid = (self.dense_index[:, None], self.dense_index[None, :])
        total = total.at[grid].add((self.dense * weights) @ self.dense.T)
        weighted = self.entries * weights[:, None]
        for j in range(self.columns.shape[1]):
            column = self.columns[:, j]
            cross = jnp.zeros((k, self.dense.shape[0]), weights.dtype)
            cross = cross.at[column].add(weighted[:, j, None] * self.dense.T)
            total = total.at[:, self.dense_index].add(cross)
            total = total.at[self.dense_index, :].add(cross.T)
            for other in range(self.columns.shape[1]):
                places = (column, self.columns[:, other])
                total = total.at[places].add(weighted[:, j] * self.entries[:, other])
        # sum w (x-c)(x-c)' = sum w xx' - s c' - c s' + (sum w) c c'
        s = self._raw_sums(weights)
        shifted = jnp.outer(s, self.center)
        return total - shifted - shifted.T + jnp.sum(weights) * jnp.outer(self.center, self.center)

    def quadratic(self, matrix: Array) -> Array:
        """Return the (n,) values x_i' V x_i, never a (k, n) array."""
        among = matrix[self.dense_index[:, None], self.dense_index[None, :]]
        total = jnp.sum(self.dense * (among @ self.dense), axis=0)
        for j in range(self.columns.shape[1]):
            column, entry = self.columns[:, j], self.entries[:, j]
            facing = matrix[column[:, None], self.dense_index[None, :]]
            total = total + 2 * entry * jnp.sum(facing * self.dense.T, axis=1)
            for other in range(self.columns.shape[1]):
                pair = matrix[column, self.columns[:, other]]
                total = total + entry * self.entries[:, other] * pair
        # (x-c)'V(x-c) = x'Vx - 2 c'V(x-c) - c'Vc
        shift = matrix @ self.center
        return total - 2 * self.dot(shift) - self.center @ shift

    def rows(self, index: Array) -> SparseColumns:
        """Return some rows."""
        return self._replace(
            dense=self.dense[:, index], columns=self.columns[index], entries=self.entries[index]
        )

    def group_sums(self, rows: Array, codes: Array, groups: int) -> Array:
        """Return the (groups, k) sums of x_i times ``rows`` within each group."""
        total = jnp.zeros((groups, self.shape[0]), rows.dtype)
        total = total.at[codes[:, None], self.dense_index].add((self.dense * rows).T)
        total = total.at[codes[:, None], self.columns].add(self.entries * rows[:, None])
        within = jax.ops.segment_sum(rows, codes, num_segments=groups)
        return total - jnp.outer(within, self.center)


type Matrix = DenseColumns | SparseColumns


def place(
    matrix: Any,
    center: np.ndarray,
    *,
    intercept: bool,
    dtype: type[np.floating[Any]],
    shape: tuple[int, int] | None = None,
) -> Matrix:
    """Lay an (n, p) matrix out for inference: a row of ones if asked, centred, padded.

    Parameters
    ----------
    matrix : ndarray or scipy.sparse array, shape (n, p)
        Predictors without the constant.
    center : ndarray, shape (p,)
        Subtracted from the columns.
    intercept : bool
        Put a column of ones first.
    dtype : type
        Precision of the result.
    shape : (int, int), optional
        Columns and rows, padding included; ``bucket(p + intercept, 4)`` and ``bucket(n, 128)`` if
        absent.

    Returns
    -------
    DenseColumns or SparseColumns
        Of NumPy arrays (they become JAX arrays inside a precision scope).
    """
    n, p = matrix.shape
    first = int(intercept)
    k, rows = shape or (bucket(p + first, MIN_COLUMNS), bucket(n, MIN_ROWS))
    if isinstance(matrix, np.ndarray):
        values: Any = aligned((k, rows), dtype)
        values[:first] = 1
        for begin in range(0, n, BLOCK):
            part = slice(begin, min(begin + BLOCK, n))
            np.subtract(
                matrix[part].T,
                center[:, None],
                out=values[first : first + p, part],
                casting="unsafe",
            )
        values[:, n:] = values[:, :1]
        return DenseColumns(values)
    return _place_sparse(matrix.tocsc(), center, first, k, rows, dtype)


def _place_sparse(
    matrix: Any, center: np.ndarray, first: int, k: int, rows: int, dtype: type[np.floating[Any]]
) -> SparseColumns:
    n, p = matrix.shape
    full = np.flatnonzero(np.diff(matrix.indptr) > DENSE_SHARE * n)
    dense = np.vstack([np.ones((first, n)), matrix[:, full].T.toarray()])
    index = np.concatenate([np.arange(first), full + first])
    thin = np.setdiff1d(np.arange(p), full)
    rest = matrix[:, thin].tocsr()
    counts = np.diff(rest.indptr)
    width = max(1, int(counts.max(initial=0)))
    columns = np.zeros((rows, width), np.int32)
    entries = np.zeros((rows, width), dtype)
    slot = np.arange(rest.nnz) - np.repeat(rest.indptr[:-1], counts)
    at = (np.repeat(np.arange(n), counts), slot)
    columns[at] = thin[rest.indices] + first
    entries[at] = rest.data
    columns[n:], entries[n:] = columns[0], entries[0]
    shift = np.zeros(k, dtype)
    shift[first : first + p] = center
    parts: tuple[Any, ...] = (pad_rows(dense, rows).astype(dtype), index.astype(np.int32))
    return SparseColumns(*parts, *cast("tuple[Any, ...]", (columns, entries, shift)))

"""Directions in which a likelihood never falls: whether a maximum-likelihood estimate exists.

Along a direction d of the coefficients row i's eta changes by x_i'd. The likelihood of a yes/no
outcome does not fall along d, however far, where x_i'd >= 0 in rows with events only, <= 0 in rows
without events, and = 0 in rows with both. These directions are the recession cone; the estimate is
finite unless some of them moves a row (Albert & Anderson 1984). Linear programming finds one that
moves as many rows as any does.

References
----------
Albert & Anderson (1984), Biometrika 71; Konis (2007), DPhil thesis, Oxford (linear programming);
Geyer (2009), Electronic Journal of Statistics 3 (the cone, its linear span).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Cone", "recession", "sparsest"]

# Rows taken at first. If these overlap, and have full rank, then all rows do.
FIRST = 2_000
# Margins are those of rows and columns of size 1; the programme's own tolerance is 1e-7.
SMALL = 1e-6
# Relative size of a singular value, or of an entry of a unit vector, that counts as 0.
RANK = 1e-9
# Coefficients of columns of size 1: with a bound the programme cannot wander off.
LARGEST = 1e6


@dataclass(frozen=True)
class Cone:
    """The recession cone of an outcome that is separated.

    Attributes
    ----------
    direction : ndarray, shape (k,)
        One that moves every row that any moves.
    rows : ndarray of bool, shape (n,)
        The rows it moves: fitted probabilities there tend to 0 or 1.
    span : ndarray, shape (k, r)
        A basis of the directions that leave all other rows still. The cone spans them: a little of
        each may be added to ``direction``.
    """

    direction: np.ndarray
    rows: np.ndarray
    span: np.ndarray

    @property
    def complete(self) -> bool:
        """Whether every row is moved."""
        return bool(self.rows.all())

    @property
    def coefficients(self) -> np.ndarray:
        """Which coefficients some direction moves: they have no finite estimate; shape (k,)."""
        return np.asarray(np.abs(self.span).max(axis=1, initial=0.0) > 0)


def recession(matrix: Any, sides: np.ndarray, *, seed: int = 0) -> Cone | None:
    """Return the recession cone, or None where the outcome overlaps.

    A random subset of rows comes first: what overlaps there overlaps everywhere. Only while it is
    separated is it grown, by rows that its direction violates.

    Parameters
    ----------
    matrix : ndarray or scipy sparse array, shape (n, k)
        Of full column rank, the constant included.
    sides : ndarray of int, shape (n,)
        1 where a row's eta may rise for ever (events only), -1 where it may fall, 0 where neither.
    seed : int
        Of the subset.

    Examples
    --------
    >>> x = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0], [1.0, 4.0]])
    >>> recession(x, np.array([-1, -1, 1, 1])).complete
    True
    >>> recession(x, np.array([-1, 1, -1, 1])) is None
    True
    """
    n, k = matrix.shape
    matrix, scale = _scaled(matrix)
    some = np.random.default_rng(seed).permutation(n)[:FIRST]
    while True:
        some = _full_rank(matrix, some)
        direction = _widest(_dense(matrix[some]), sides[some])
        if direction is None:
            return None
        along = np.asarray(matrix @ direction)
        size = max(1.0, float(np.abs(direction).max()))
        moved = np.abs(along) > SMALL
        violated = (moved & (sides * along <= 0)) | (sides * along < -1e-9 * size)
        outside = np.ones(n, dtype=bool)
        outside[some] = False
        more = np.flatnonzero(violated & outside)
        if not more.size:
            # Rows that stand still here might be moved by a direction the subset does not allow.
            still = _null_space(_dense(matrix[some[~moved[some]]]), k)
            free = np.abs(np.asarray(matrix @ still)).max(axis=1, initial=0.0) > SMALL
            more = np.flatnonzero(free & ~moved & outside)
            if not more.size:
                span = _with(still, direction) / scale[:, None]
                return Cone(direction / scale, moved, span)
        worst = more[np.argsort(-np.abs(along[more]), kind="stable")[:FIRST]]
        some = np.concatenate([some, worst])


def sparsest(matrix: Any, sides: np.ndarray, penalty: np.ndarray) -> np.ndarray | None:
    """Return a direction of the cone that uses few coefficients: the least weighted absolute sum.

    Parameters
    ----------
    matrix : ndarray or scipy sparse array, shape (n, k)
    sides : ndarray of int, shape (n,)
    penalty : ndarray, shape (k,)
        Price of each coefficient, times its column's size; 0 for the constant.

    Returns
    -------
    ndarray, shape (k,), or None
        None where linear programming gives up.
    """
    from scipy.optimize import linprog

    matrix, scale = _scaled(matrix)
    k = matrix.shape[1]
    sided, both = sides != 0, sides == 0
    basis = _null_space(_dense(matrix[both]), k)
    signed = _dense(matrix[sided]) * sides[sided, None] @ basis
    # Unknowns: u with direction = basis u, and t >= |direction|.
    r = basis.shape[1]
    above = np.block([[basis, -np.eye(k)], [-basis, -np.eye(k)]])
    answer = linprog(
        np.concatenate([np.zeros(r), penalty]),
        A_ub=np.vstack(
            [
                np.hstack([-signed, np.zeros((len(signed), k))]),
                above,
                np.concatenate([-signed.sum(axis=0), np.zeros(k)])[None],
            ]
        ),
        b_ub=np.concatenate([np.zeros(len(signed) + 2 * k), [-float(len(signed))]]),
        bounds=[(None, None)] * r + [(0, None)] * k,
        method="highs",
    )
    if answer.status != 0:
        return None
    direction = basis @ answer.x[:r]
    direction[np.abs(direction) < 1e-7 * np.abs(direction).max()] = 0.0
    return np.asarray(direction / scale)


def _scaled(matrix: Any) -> tuple[Any, np.ndarray]:
    """Return the matrix, its rows quick to take, with columns of largest entry 1; and the sizes."""
    if isinstance(matrix, np.ndarray):
        size = np.abs(matrix).max(axis=0, initial=0.0)
    else:
        size = np.asarray(abs(matrix).max(axis=0).todense()).ravel()
    size = np.where(size > 0, size, 1.0)
    if isinstance(matrix, np.ndarray):
        return matrix / size, size
    import scipy.sparse as sp

    return sp.csr_array(matrix @ sp.diags_array(1 / size)), size


def _dense(matrix: Any) -> np.ndarray:
    return matrix if isinstance(matrix, np.ndarray) else np.asarray(matrix.toarray())


def _null_space(rows: np.ndarray, k: int) -> np.ndarray:
    """Return an orthonormal basis of the directions that leave rows still, shape (k, r)."""
    if not len(rows):
        return np.eye(k)
    # The triangle of a QR has the null space of the rows, and at most k of its own.
    square = np.linalg.qr(rows, mode="r") if len(rows) > k else rows
    _, values, vectors = np.linalg.svd(square, full_matrices=True)
    rank = int((values > RANK * max(values[0], 1e-300)).sum())
    basis = np.asarray(vectors[rank:].T)
    # Rounding must not make a coefficient of a direction that does not move it.
    basis[np.abs(basis) < RANK] = 0.0
    return basis


def _with(basis: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Add a direction to a basis that lacks it.

    Rows that it moves by less than `SMALL` stand still, though not exactly: their null space may
    be without it.
    """
    unit = direction / np.linalg.norm(direction)
    unit[np.abs(unit) < RANK] = 0.0
    apart = np.linalg.norm(unit - basis @ (basis.T @ unit))
    return basis if apart < SMALL else np.column_stack([basis, unit])


def _full_rank(matrix: Any, some: np.ndarray) -> np.ndarray:
    """Add rows to a subset until it has the rank of the whole."""
    k = matrix.shape[1]
    for _ in range(k + 1):
        still = _null_space(_dense(matrix[some]), k)
        if not still.shape[1]:
            break
        along = np.abs(np.asarray(matrix @ still))
        # For each direction that the subset leaves out, the row that it moves most.
        best = np.unique(np.argmax(along, axis=0)[along.max(axis=0) > SMALL])
        if not best.size:
            break
        some = np.concatenate([some, np.setdiff1d(best, some)])
    return some


def _widest(rows: np.ndarray, sides: np.ndarray) -> np.ndarray | None:
    """Return the direction that moves most rows of a subset, None where none moves any.

    Maximises the sum of z_i with 0 <= z_i <= 1 and z_i <= s_i x_i'd: as directions may be
    lengthened, z_i is 1 in every row that some direction moves.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, eye_array, hstack

    basis = _null_space(rows[sides == 0], rows.shape[1])
    if not basis.shape[1]:
        return None
    signed = (rows * sides[:, None])[sides != 0] @ basis
    size = np.abs(signed).max(axis=1, initial=0.0)
    signed = signed[size > RANK] / size[size > RANK, None]
    m, r = signed.shape
    if not m:
        return None
    # In a box it is a small programme, and settles the usual case: nothing is separated.
    total = -signed.sum(axis=0)
    box = linprog(total, A_ub=-signed, b_ub=np.zeros(m), bounds=[(-1, 1)] * r, method="highs")
    if box.status == 0 and -box.fun < SMALL:
        return None
    answer = linprog(
        np.concatenate([np.zeros(r), -np.ones(m)]),
        A_ub=hstack([csr_array(-signed), eye_array(m)], format="csc"),
        b_ub=np.zeros(m),
        bounds=[(-LARGEST, LARGEST)] * r + [(0, 1)] * m,
        method="highs",
    )
    if answer.status != 0 or -answer.fun < 0.5:
        return None
    return np.asarray(basis @ answer.x[:r])

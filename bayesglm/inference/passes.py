"""One pass over row blocks: sums over all rows of what Newton, errors and certificates need.

A block is laid out as every target is (columns first, centred, padded with rows of weight 0) and is
an argument of one compiled program, the same for all blocks. Blocks are worked off by two threads
while the next is read; their sums are added in order, in double precision.

The log likelihood is L(c) = sum_i w_i log p(y_i | offset_i + x_i' c), of the coefficients c (the
centred intercept first, padding last), without binomial coefficients.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bayesglm.generative import Data, Structure
from bayesglm.inference.covariance import row_scores
from bayesglm.inference.rowwise import row_log_prob
from bayesglm.matrices import DenseColumns, aligned, pad_rows
from bayesglm.precision import scope

if TYPE_CHECKING:
    from bayesglm.inference.target import Target

__all__ = ["Expansion", "Passes", "Rows"]

WORKERS = 2
# Rows worked off together: with their matrix they stay in cache.
CHUNK = 4_096
# Points whose log likelihood is computed together on a block.
TOGETHER = 8


class Room:
    """Memory of a thread that one block after the other is laid out in."""

    def __init__(self) -> None:
        self._matrix = np.empty((0, 0))

    def matrix(self, k: int, rows: int, number: Any) -> np.ndarray:
        """Return an array (k, rows) with whatever was in it before."""
        if self._matrix.shape != (k, rows) or self._matrix.dtype != number:
            self._matrix = aligned((k, rows), number)
        return self._matrix


class Rows(Protocol):
    """A block of rows as numbers; ``columns`` are those of the matrix, where it is not made."""

    matrix: Any
    columns: Any
    y: np.ndarray
    trials: np.ndarray
    weights: np.ndarray
    offset: np.ndarray

    def dense(self) -> np.ndarray:
        """Return the matrix, shape (rows, p)."""
        ...

    def codes(self, name: str) -> tuple[np.ndarray, list[Any]]:
        """Return whole numbers for the values of a column, -1 where missing; and the values."""
        ...


class Expansion(NamedTuple):
    """Log likelihood, gradient (k,), information (k, k), observed or expected, at coefficients.

    ``moved`` is the largest |x_i' step| of a step that was asked about.
    """

    value: float
    gradient: np.ndarray
    information: np.ndarray
    moved: float


@partial(jax.jit, static_argnames=("structure", "expected"))
def _expand(
    structure: Structure, data: Data, c: Array, step: Array | None, *, expected: bool
) -> tuple[Array, Array, Array, Array]:
    """Return value, gradient, the curvature of each row, and the largest move."""
    values = data.parts[0].matrix.values
    eta = data.offset + c @ values

    def value(e: Array) -> Array:
        return row_log_prob(structure, data, e)

    ones = jnp.ones_like(eta)

    def slope(e: Array) -> tuple[Array, Array]:
        return jax.jvp(value, (e,), (ones,))

    (rows, first), (_, second) = jax.jvp(slope, (eta,), (ones,))
    live = data.weights > 0
    curvature = -second
    if expected:
        information = structure.family.information(eta, data.trials, structure.link)
        curvature = jnp.where(live, data.weights * information, 0.0)
    moved = jnp.zeros((), c.dtype)
    if step is not None:
        moved = jnp.max(jnp.where(live, jnp.abs(step @ values), 0.0))
    return jnp.sum(rows), values @ first, curvature, moved


def _gram(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return sum_i rows_i x_i x_i' of columns (k, n): by BLAS, several times faster than XLA's."""
    total = np.zeros((len(values), len(values)))
    for begin in range(0, values.shape[1], CHUNK):
        some = values[:, begin : begin + CHUNK]
        total += (some * rows[begin : begin + CHUNK]) @ some.T
    return total


@partial(jax.jit, static_argnames=("structure",))
def _values(structure: Structure, data: Data, points: Array) -> Array:
    """Return the log likelihood of the block at some coefficients (m, k), shape (m,)."""
    matrix = data.parts[0].matrix

    def value(c: Array) -> Array:
        return jnp.sum(row_log_prob(structure, data, data.offset + matrix.dot(c)))

    return jax.lax.map(value, points, batch_size=TOGETHER)


@jax.jit
def _weighted_gram(data: Data, rows: Array) -> Array:
    return data.parts[0].matrix.gram(rows)


@jax.jit
def _least_squares(data: Data) -> tuple[Array, Array, Array, Array]:
    matrix = data.parts[0].matrix
    left = data.y - data.offset
    return (
        matrix.gram(data.weights),
        matrix.sums(data.weights * left),
        jnp.sum(data.weights * left**2),
        jnp.sum(data.weights),
    )


@jax.jit
def _residual(data: Data, c: Array) -> tuple[Array, Array]:
    matrix = data.parts[0].matrix
    left = data.y - data.offset - matrix.dot(c)
    return matrix.sums(data.weights * left), jnp.sum(data.weights * left**2)


@dataclass(frozen=True)
class Passes:
    """Row blocks of a target, ready to be gone over.

    Attributes
    ----------
    target : Target
        Of a few rows: its structure, priors and coordinates are those of all rows.
    read : callable
        Returns an iterator over all blocks, from columns wanted besides and a name of the pass.
    length : int
        Rows of a block, padding included.
    work : callable
        Maps a function over an iterator in other threads, in order.
    """

    target: Target
    read: Callable[..., Iterable[Any]]
    length: int
    work: Callable[[Callable[[Any], Any], Iterable[Any], int], Iterator[Any]]

    def lay_out(self, rows: Any, room: Room) -> Data:
        """Return a block as inference takes it, in arrays of NumPy; they lie in ``room``."""
        target, length = self.target, self.length
        part = target.data.parts[0]
        k, number = part.matrix.shape[0], target.data.y.dtype
        first, n = int(target.intercept), len(rows.y)
        values = room.matrix(k, length, number)
        values[:first] = 1
        values[first + target.p :] = 0
        if rows.columns is not None:
            for j, column in enumerate(rows.columns):
                begin = 0
                for chunk in column.chunks:
                    some = chunk.to_numpy(zero_copy_only=False)
                    end = begin + len(some)
                    np.subtract(
                        some, target.center[j], out=values[first + j, begin:end], casting="unsafe"
                    )
                    begin = end
        else:
            np.subtract(
                rows.dense().T,
                target.center[:, None],
                out=values[first : first + target.p, :n],
                casting="unsafe",
            )
        if n < length:
            values[:, n:] = values[:, :1]

        def host(vector: np.ndarray, fill: float | None = None) -> Any:
            return np.asarray(pad_rows(vector, length, fill=fill), number)

        matrix: Any = DenseColumns(values)  # type: ignore[arg-type]  # becomes one on the device
        return target.data._replace(
            y=host(rows.y),
            trials=host(rows.trials),
            weights=host(rows.weights, 0.0),
            offset=host(rows.offset - target.offset_center),
            parts=(part._replace(matrix=matrix),),
        )

    def each(
        self, function: Callable[[Any, Any], Any], label: str, extra: tuple[str, ...] = ()
    ) -> Iterator[Any]:
        """Yield function(data, rows) of every block, in order."""
        rooms = threading.local()

        def one(rows: Any) -> Any:
            room = rooms.__dict__.setdefault("room", Room())
            with scope(self.target.precision):
                found = function(jax.device_put(self.lay_out(rows, room)), rows)
                # Out of the thread, and before the block's memory is given back, as NumPy.
                if isinstance(found, tuple):
                    return tuple(np.asarray(part, float) for part in found)
                return found

        return self.work(one, self.read(extra, label), WORKERS)

    def total(
        self, function: Callable[[Any, Any], Any], label: str, *, largest: tuple[int, ...] = ()
    ) -> list[np.ndarray]:
        """Return the sums over blocks of what a function returns (the maxima at some places)."""
        sums: list[np.ndarray] = []
        for found in self.each(function, label):
            if not sums:
                sums = [np.array(part) for part in found]
                continue
            for k, part in enumerate(found):
                sums[k] = np.maximum(sums[k], part) if k in largest else sums[k] + part
        return sums

    def expand(
        self, c: np.ndarray, label: str, *, expected: bool = False, step: np.ndarray | None = None
    ) -> Expansion:
        """Return the log likelihood with its derivatives at coefficients (k,)."""
        number = self.target.data.y.dtype
        point = np.asarray(c, number)
        along = None if step is None else np.asarray(step, number)

        def one(data: Any, rows: Any) -> Any:
            del rows
            value, gradient, curvature, moved = _expand(
                self.target.structure, data, point, along, expected=expected
            )
            # On a CPU both are the memory that they are already.
            held = np.asarray(data.parts[0].matrix.values)
            return value, gradient, _gram(held, np.asarray(curvature)), moved

        value, gradient, information, moved = self.total(one, label, largest=(3,))
        return Expansion(float(value), gradient, information, float(moved))

    def values(self, points: np.ndarray, label: str) -> np.ndarray:
        """Return the log likelihood at coefficients (m, k), shape (m,)."""
        many = np.asarray(points, self.target.data.y.dtype)

        def one(data: Any, rows: Any) -> Any:
            del rows
            return (_values(self.target.structure, data, many),)

        return self.total(one, label)[0]

    def normal_equations(self, label: str) -> tuple[np.ndarray, np.ndarray, float, float]:
        """Return X'WX, X'W(y - offset), the weighted square of y - offset, and sum w."""
        gram, moment, square, mass = self.total(lambda data, _: _least_squares(data), label)
        return gram, moment, float(square), float(mass)

    def residual(self, c: np.ndarray, label: str) -> tuple[np.ndarray, float]:
        """Return X'W r and the weighted sum of squares of the residuals r."""
        point = np.asarray(c, self.target.data.y.dtype)
        moment, square = self.total(lambda data, _: _residual(data, point), label)
        return moment, float(square)

    def meat(
        self,
        flat: np.ndarray,
        bread: np.ndarray,
        power: int,
        *,
        sampling: bool,
        sigma: float | None,
        label: str,
    ) -> np.ndarray:
        """Return the meat of a sandwich, each copy's squared score over (1 - h)**power."""
        number = self.target.data.y.dtype
        point, filling = np.asarray(flat, number), np.asarray(bread, number)
        scale = np.asarray(1.0 if sigma is None else sigma, number)

        def one(data: Any, rows: Any) -> Any:
            del rows
            square, _, leverage = row_scores(
                self.target.structure, data, point, scale, filling, None, sampling=sampling
            )
            return (_weighted_gram(data, square / jnp.maximum(1 - leverage, 1e-12) ** power),)

        return self.total(one, label)[0]

    def cluster_sums(
        self, flat: np.ndarray, name: str, *, sigma: float | None, most: int, label: str
    ) -> dict[Any, np.ndarray]:
        """Return the sums of the rows' scores times x by the values of a column.

        Raises
        ------
        OverflowError
            With more than ``most`` different values.
        """
        number = self.target.data.y.dtype
        point = np.asarray(flat, number)
        k = self.target.data.parts[0].matrix.shape[0]
        nothing = np.zeros((k, k), number)
        scale = np.asarray(1.0 if sigma is None else sigma, number)

        def one(data: Any, rows: Any) -> Any:
            _, signed, _ = row_scores(
                self.target.structure, data, point, scale, nothing, None, sampling=False
            )
            n = len(rows.y)
            scores = np.asarray(signed, float)[:n]
            values = np.asarray(data.parts[0].matrix.values)[:, :n]
            codes, found = rows.codes(name)
            if (codes < 0).any():
                return None
            sums = [np.bincount(codes, scores * x, minlength=len(found)) for x in values]
            return dict(zip(found, np.stack(sums, axis=1), strict=True))

        total: dict[Any, np.ndarray] = {}
        for found in self.each(one, label, (name,)):
            if found is None:
                raise LookupError(name)
            for value, sums in found.items():
                total[value] = total[value] + sums if value in total else sums
            if len(total) > most:
                raise OverflowError(name)
        return total

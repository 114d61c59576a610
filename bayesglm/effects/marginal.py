"""Averages of the slopes of p over rows: with their Jacobian, or by draws."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from bayesglm.effects.encodings import Derivative, Tangent
from bayesglm.effects.engine import (
    DRAWS,
    FEW,
    ROWS,
    Chunk,
    blocks,
    density_of,
    has_covariance,
    mean_of,
    together,
)
from bayesglm.precision import in_double
from bayesglm.predicting import eta as eta_of
from bayesglm.predicting import points_of

if TYPE_CHECKING:
    from bayesglm.effects.rows import Cells, Rows
    from bayesglm.link import Link
    from bayesglm.newdata import NewRows

__all__ = ["SLOPES", "slopes_of"]

# p and its slope in a column: per unit, or relative to p (e before y), to the column (e before x).
SLOPES = ("dydx", "eyex", "eydx", "dyex")


def _slope(link: Link, gaussian: bool, kind: str, eta: Any, g: Any, x: Any) -> Any:
    """Return the slope of p (relative, by kind), where eta changes by g as x does by 1."""
    slope = density_of(link, gaussian, eta) * g
    if kind[0] == "e":
        slope = slope / mean_of(link, gaussian, eta)
    return slope * x if kind[2:] == "ex" else slope


@partial(jax.jit, static_argnames=("gaussian", "kind"))
def _slope_values(link: Link, gaussian: bool, kind: str, eta: Any, g: Any, x: Any) -> Any:
    return _slope(link, gaussian, kind, eta, g, x)


@partial(jax.jit, static_argnames=("gaussian", "kind"))
def _slope_parts(link: Link, gaussian: bool, kind: str, eta: Any, g: Any, x: Any) -> Any:
    def value(eta: Any, g: Any) -> Any:
        return _slope(link, gaussian, kind, eta, g, x)

    found, by_eta = jax.jvp(lambda e: value(e, g), (eta,), (jnp.ones_like(eta),))
    return found, by_eta, value(eta, jnp.ones_like(g))


@partial(jax.jit, static_argnames=("gaussian",))
def _densities(link: Link, gaussian: bool, eta: Any) -> Any:
    """Return the density and its derivative."""
    density = partial(density_of, link, gaussian)
    return jax.jvp(density, (eta,), (jnp.ones_like(eta),))


@partial(jax.jit, static_argnames=("gaussian",))
def _density(link: Link, gaussian: bool, eta: Any) -> Any:
    return density_of(link, gaussian, eta)


def slopes_of(
    rows: Rows, cells: Cells, derivatives: Sequence[Derivative], kind: str, memory: int
) -> Iterator[Chunk]:
    """Yield average slopes of p in some variables, by variable and cell.

    Parameters
    ----------
    rows, cells : Rows, Cells
    derivatives : sequence of Derivative
        One for each variable.
    kind : {"dydx", "eyex", "eydx", "dyex"}
    memory : int
        Bytes that a block may take.
    """
    slopes = _Slopes(rows, derivatives, kind)
    k, q, s = len(rows.fit.terms), len(derivatives), len(slopes.points)
    if cells.codes is None:
        width = (q + 3) * (k + 2 if s == 1 else s)
        for part in blocks(rows.n, memory // (8 * width)):
            yield slopes.rowwise(part)
        return
    total = np.zeros((s, q, cells.count))
    jacobian = np.zeros((q, cells.count, k)) if has_covariance(rows) else None
    for part in blocks(rows.n, min(memory // (32 * (k + q + cells.count)), ROWS)):
        share = cells.averaging(part)
        if jacobian is None:
            slopes.add_draws(part, share, total)
        else:
            slopes.add_point(part, share, total[0], jacobian)
    yield together(total, jacobian)


class _Slopes:
    """The slopes of p at some rows, in several variables at once."""

    def __init__(self, rows: Rows, derivatives: Sequence[Derivative], kind: str) -> None:
        self.rows, self.derivatives, self.kind = rows, derivatives, kind
        self.fit = rows.fit
        self.points = points_of(self.fit)
        self.first = int(self.fit.design.intercept)
        self.theta = self.points.theta[:, self.first :]
        self.words = self.fit.spec.link, self.fit.spec.family.has_sigma

    def _asked(self, part: slice) -> tuple[NewRows, list[Tangent], list[Any]]:
        """Return rows, derivatives of their encoding, and the variables where these multiply."""
        tangents = [derivative.at(part) for derivative in self.derivatives]
        xs: list[Any] = [1.0] * len(tangents)
        if self.kind[2:] == "ex":
            frame = self.rows.frame.iloc[part]
            xs = [np.asarray(frame[d.name], dtype=float) for d in self.derivatives]
        return self.rows.plain(part), tangents, xs

    def rowwise(self, part: slice) -> Chunk:
        """Return the slopes of each of some rows."""
        some, tangents, xs = self._asked(part)
        eta = eta_of(self.fit, self.points, some)
        pairs = list(zip(tangents, xs, strict=True))
        if not has_covariance(self.rows):
            drawn = np.stack([self._values(eta, t, x, slice(None)) for t, x in pairs], axis=1)
            return Chunk(part, drawn.mean(axis=0), None, drawn)
        values, jacobian = [], []
        for tangent, x in pairs:
            value, by_eta, by_g = self._parts(eta[0], tangent, x)
            found = by_eta[:, None] * _with_constant(some.matrix, self.first)
            found[:, self.first + tangent.columns] += by_g[:, None] * tangent.values
            values.append(value)
            jacobian.append(found)
        return Chunk(part, np.stack(values), np.stack(jacobian))

    def add_point(
        self, part: slice, share: np.ndarray, total: np.ndarray, jacobian: np.ndarray
    ) -> None:
        """Add some rows to averages (q, cells) and their Jacobian (q, cells, k)."""
        some, tangents, xs = self._asked(part)
        eta = eta_of(self.fit, self.points, some)[0]
        first = self.first
        plain = self._linear(eta, some.matrix, share) if self._shares else None
        for v, (tangent, x) in enumerate(zip(tangents, xs, strict=True)):
            own = jacobian[v]
            if plain is not None and self.derivatives[v].constant:
                f, gradient = plain
                g = float(self.theta[0, tangent.columns].sum())
                total[v] += g * f
                own += g * gradient
                own[:, first + tangent.columns] += f[:, None]
                continue
            value, by_eta, by_g = self._parts(eta, tangent, x)
            total[v] += value @ share
            own[:, :first] += (by_eta @ share)[:, None]
            own[:, first:] += (by_eta[:, None] * share).T @ some.matrix
            own[:, first + tangent.columns] += (by_g[:, None] * share).T @ tangent.values

    @property
    def _shares(self) -> bool:
        """Whether some variables are linear in eta: their slopes differ by a factor alone."""
        return self.kind == "dydx" and any(d.constant for d in self.derivatives)

    @in_double
    def _linear(
        self, eta: np.ndarray, matrix: np.ndarray, share: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the average density (cells,), and its gradient (cells, k)."""
        f, change = (np.asarray(part) for part in _densities(*self.words, jnp.asarray(eta)))
        weighted = (change[:, None] * share).T
        constant = np.repeat(weighted.sum(axis=1)[:, None], self.first, axis=1)
        return f @ share, np.concatenate([constant, weighted @ matrix], axis=1)

    def add_draws(self, part: slice, share: np.ndarray, total: np.ndarray) -> None:
        """Add some rows to averages by draw (s, q, cells)."""
        some, tangents, xs = self._asked(part)
        for few in blocks(some.n, FEW):
            these, near, part_of = some[few], [t[few] for t in tangents], share[few]
            for here in blocks(len(self.points), DRAWS):
                eta = eta_of(self.fit, self.points[here], these)
                if self.kind == "dydx":
                    self._add_shared(eta, here, near, part_of, total[here])
                    continue
                for v, (tangent, x) in enumerate(zip(near, xs, strict=True)):
                    where = x[few] if isinstance(x, np.ndarray) else x
                    total[here, v] += self._values(eta, tangent, where, here) @ part_of

    @in_double
    def _add_shared(
        self,
        eta: np.ndarray,
        here: slice,
        tangents: Sequence[Tangent],
        share: np.ndarray,
        total: np.ndarray,
    ) -> None:
        """Add the slopes of a block of draws: the density is the same for all variables.

        With g = sum_j theta_j d_ij, the average of f_is g_is is sum_j theta_sj (f d_j)_s: one
        product of matrices for each column, and for those with d = 1 one for all of them.
        """
        f = np.asarray(_density(*self.words, jnp.asarray(eta)))
        theta, plain = self.theta[here], f @ share
        for v, (tangent, derivative) in enumerate(zip(tangents, self.derivatives, strict=True)):
            if derivative.constant:
                total[:, v] += theta[:, tangent.columns].sum(axis=1)[:, None] * plain
                continue
            for column, j in enumerate(tangent.columns):
                total[:, v] += theta[:, [j]] * (f @ (tangent.values[:, [column]] * share))
            if tangent.offset is not None:
                total[:, v] += f @ (tangent.offset[:, None] * share)

    @in_double
    def _values(self, eta: np.ndarray, tangent: Tangent, x: Any, here: slice) -> np.ndarray:
        """Return slopes (s, rows) at some draws."""
        g = self._change(tangent, here)
        words = *self.words, self.kind
        return np.asarray(_slope_values(*words, jnp.asarray(eta), jnp.asarray(g), jnp.asarray(x)))

    @in_double
    def _parts(self, eta: np.ndarray, tangent: Tangent, x: Any) -> list[np.ndarray]:
        """Return slopes (rows,) at the estimate, and their derivatives in eta and in its change."""
        g = self._change(tangent, slice(0, 1))[0]
        words = *self.words, self.kind
        found = _slope_parts(*words, jnp.asarray(eta), jnp.asarray(g), jnp.asarray(x))
        return [np.asarray(part) for part in found]

    def _change(self, tangent: Tangent, here: slice) -> np.ndarray:
        """Return how eta changes with the variable, shape (s, rows)."""
        g = self.theta[here][:, tangent.columns] @ tangent.values.T
        return np.asarray(g if tangent.offset is None else g + tangent.offset)


def _with_constant(matrix: np.ndarray, first: int) -> np.ndarray:
    return np.concatenate([np.ones((len(matrix), first)), matrix], axis=1)

"""Averages of probabilities, and of their slopes, over rows: with their Jacobian, or by draws.

Everything asked is made of m_vc = sum over rows i of cell c of share_ic u(eta_vi): v numbers the
versions of the rows (columns changed), or the variables of slopes, u is the probability or its
slope. Rows and draws are worked off in blocks, so that memory is bounded whatever their numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from bayesglm.effects.answers import Scale, scale_of
from bayesglm.precision import in_double
from bayesglm.predicting import eta as eta_of
from bayesglm.predicting import points_of

if TYPE_CHECKING:
    from bayesglm.effects.encodings import Derivative
    from bayesglm.effects.rows import Cells, Rows
    from bayesglm.links import Link

__all__ = ["SLOPES", "Chunk", "has_covariance", "link_scale", "probabilities", "slopes_of"]

# p and its slope in a column: per unit, or per cent of p (e before y), of the column (e before x).
SLOPES = ("dydx", "eyex", "eydx", "dyex")
# Entries of a block of draws x rows: together they stay in the processor's cache.
BLOCK = 2**19
# Most rows that are encoded together.
ROWS = 65_536


@dataclass(frozen=True)
class Chunk:
    """Some cells of an answer.

    Attributes
    ----------
    cells : slice
    values : ndarray, shape (v, cells)
        At the estimate; for draws their mean.
    jacobian : ndarray, shape (v, cells, k), or None
        By the coefficients, of a point fit that has a covariance.
    draws : ndarray, shape (s, v, cells), or None
    """

    cells: slice
    values: np.ndarray
    jacobian: np.ndarray | None = None
    draws: np.ndarray | None = None


@partial(jax.jit, static_argnames=("link", "gaussian"))
def _mean(link: Link, gaussian: bool, eta: Any) -> Any:
    return eta if gaussian else link.inverse(eta)


@partial(jax.jit, static_argnames=("link", "gaussian"))
def _density(link: Link, gaussian: bool, eta: Any) -> Any:
    return jnp.ones_like(eta) if gaussian else _f(link, eta)


def _f(link: Link, eta: Any) -> Any:
    log_p, log_q, rise, fall = link.parts(eta)
    # The smaller of p and 1 - p has its slope without cancellation.
    return jnp.where(log_p < log_q, jnp.exp(log_p) * rise, -jnp.exp(log_q) * fall)


def _slope(link: Link, gaussian: bool, kind: str, eta: Any, g: Any, x: Any) -> Any:
    """Return the slope of p (relative, by kind), where eta changes by g as x does by 1."""
    f = jnp.ones_like(eta) if gaussian else _f(link, eta)
    slope = f * g
    if kind[0] == "e":
        slope = slope / (eta if gaussian else link.inverse(eta))
    return slope * x if kind[2:] == "ex" else slope


@partial(jax.jit, static_argnames=("link", "gaussian", "kind"))
def _slope_values(link: Link, gaussian: bool, kind: str, eta: Any, g: Any, x: Any) -> Any:
    return _slope(link, gaussian, kind, eta, g, x)


@partial(jax.jit, static_argnames=("link", "gaussian", "kind"))
def _slope_parts(link: Link, gaussian: bool, kind: str, eta: Any, g: Any, x: Any) -> Any:
    def value(eta: Any, g: Any) -> Any:
        return _slope(link, gaussian, kind, eta, g, x)

    found, by_eta = jax.jvp(lambda e: value(e, g), (eta,), (jnp.ones_like(eta),))
    return found, by_eta, value(eta, jnp.ones_like(g))


def probabilities(
    rows: Rows, cells: Cells, versions: Sequence[Mapping[str, Any]], memory: int
) -> Iterator[Chunk]:
    """Yield average probabilities of rows with columns changed, by version and cell.

    Parameters
    ----------
    rows, cells : Rows, Cells
    versions : sequence of mapping
        What each column is set to; an empty one leaves the rows as they are.
    memory : int
        Bytes that a block may take.
    """
    fit = rows.fit
    points = points_of(fit)
    words = fit.spec.link, fit.spec.family.has_sigma
    first = int(fit.design.intercept)

    @in_double
    def values(some: Any, part: slice) -> np.ndarray:
        return np.asarray(_mean(*words, jnp.asarray(eta_of(fit, points[part], some))))

    @in_double
    def jacobian(some: Any) -> np.ndarray:
        f = np.asarray(_density(*words, jnp.asarray(eta_of(fit, points, some)[0])))
        ones = np.ones((len(f), first))
        return np.asarray(f[:, None] * np.concatenate([ones, some.matrix], axis=1))

    delta = has_covariance(rows)
    k = len(fit.terms)
    width = len(versions) * (4 * (k + 1) if len(points) == 1 else 3 * len(points))
    if cells.codes is None:
        for part in blocks(rows.n, memory // (8 * width)):
            encoded = [rows.changed(part, changes) for changes in versions]
            drawn = np.stack([values(some, slice(None)) for some in encoded], axis=1)
            slope = np.stack([jacobian(some) for some in encoded]) if delta else None
            yield Chunk(part, drawn.mean(axis=0), slope, drawn if len(points) > 1 else None)
        return
    total = np.zeros((len(points), len(versions), cells.count))
    slopes = np.zeros((len(versions), cells.count, k)) if delta else None
    for part in blocks(rows.n, min(memory // (32 * len(versions) * (k + 1)), ROWS)):
        share = cells.averaging(part)
        for v, changes in enumerate(versions):
            some = rows.changed(part, changes)
            for here in blocks(len(points), BLOCK // max(some.n, 1)):
                total[here, v] += values(some, here) @ share
            if slopes is not None:
                slopes[v] += share.T @ jacobian(some)
    yield _together(total, slopes)


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
    fit = rows.fit
    points = points_of(fit)
    words = fit.spec.link, fit.spec.family.has_sigma, kind
    first = int(fit.design.intercept)
    theta = points.theta[:, first:]
    k, q = len(fit.terms), len(derivatives)

    @in_double
    def values(eta: np.ndarray, tangent: Any, x: Any, here: slice) -> np.ndarray:
        g = theta[here][:, tangent.columns] @ tangent.values.T
        g = g if tangent.offset is None else g + tangent.offset
        return np.asarray(_slope_values(*words, jnp.asarray(eta), jnp.asarray(g), jnp.asarray(x)))

    @in_double
    def parts(eta: np.ndarray, tangent: Any, x: Any) -> Any:
        g = tangent.values @ theta[0, tangent.columns]
        g = g if tangent.offset is None else g + tangent.offset
        found = _slope_parts(*words, jnp.asarray(eta), jnp.asarray(g), jnp.asarray(x))
        return [np.asarray(part) for part in found]

    def jacobian(matrix: np.ndarray, tangent: Any, by_eta: Any, by_g: Any) -> np.ndarray:
        found = by_eta[:, None] * np.concatenate([np.ones((len(matrix), first)), matrix], axis=1)
        found[:, first + tangent.columns] += by_g[:, None] * tangent.values
        return np.asarray(found)

    delta = has_covariance(rows)
    width = (q + 3) * (k + 2) if len(points) == 1 else (q + 3) * len(points)
    limit = memory // (8 * width) if cells.codes is None else min(memory // (32 * (k + q)), ROWS)
    total = np.zeros((len(points), q, 0 if cells.codes is None else cells.count))
    slopes = np.zeros((q, total.shape[2], k)) if delta else None
    for part in blocks(rows.n, limit):
        some = rows.plain(part)
        tangents = [derivative.at(part) for derivative in derivatives]
        xs = [_column(rows, d.name, part) if kind[2:] == "ex" else 1.0 for d in derivatives]
        if cells.codes is None:
            eta = eta_of(fit, points, some)
            drawn = [values(eta, t, x, slice(None)) for t, x in zip(tangents, xs, strict=True)]
            slope = None
            if delta:
                found = [parts(eta[0], t, x) for t, x in zip(tangents, xs, strict=True)]
                slope = np.stack(
                    [
                        jacobian(some.matrix, t, by_eta, by_g)
                        for t, (_, by_eta, by_g) in zip(tangents, found, strict=True)
                    ]
                )
            stacked = np.stack(drawn, axis=1)
            yield Chunk(part, stacked.mean(axis=0), slope, stacked if len(points) > 1 else None)
            continue
        share = cells.averaging(part)
        if slopes is not None:
            eta = eta_of(fit, points, some)
            for v, (tangent, x) in enumerate(zip(tangents, xs, strict=True)):
                value, by_eta, by_g = parts(eta[0], tangent, x)
                total[0, v] += value @ share
                slopes[v, :, :first] += (by_eta @ share)[:, None]
                slopes[v, :, first:] += (by_eta[:, None] * share).T @ some.matrix
                slopes[v][:, first + tangent.columns] += (by_g[:, None] * share).T @ tangent.values
            continue
        for here in blocks(len(points), BLOCK // max(some.n, 1)):
            eta = eta_of(fit, points[here], some)
            if kind == "dydx":
                _add_shared(words, theta[here], eta, tangents, derivatives, share, total[here])
                continue
            for v, (tangent, x) in enumerate(zip(tangents, xs, strict=True)):
                total[here, v] += values(eta, tangent, x, here) @ share
    if cells.codes is not None:
        yield _together(total, slopes)


@in_double
def _add_shared(
    words: Any,
    theta: np.ndarray,
    eta: np.ndarray,
    tangents: Sequence[Any],
    derivatives: Sequence[Derivative],
    share: np.ndarray,
    total: np.ndarray,
) -> None:
    """Add the slopes of a block of draws: the density is the same for all variables.

    With g = sum_j theta_j d_ij, the average of f_is g_is is sum_j theta_sj (f d_j)_s: one product
    of matrices for all columns, and for those with d = 1 one for all of them.
    """
    f = np.asarray(_density(words[0], words[1], jnp.asarray(eta)))
    plain = f @ share
    for v, (tangent, derivative) in enumerate(zip(tangents, derivatives, strict=True)):
        if derivative.constant:
            total[:, v] += theta[:, tangent.columns].sum(axis=1)[:, None] * plain
            continue
        for column, j in enumerate(tangent.columns):
            found = f @ (tangent.values[:, [column]] * share)
            total[:, v] += theta[:, [j]] * found
        if tangent.offset is not None:
            total[:, v] += f @ (tangent.offset[:, None] * share)


def has_covariance(rows: Rows) -> bool:
    """Whether an answer is a point with a covariance behind it, rather than draws."""
    return not rows.fit.result.draws and not rows.fit.design.inputs


def link_scale(link: Link, gaussian: bool) -> Scale:
    """Return the scale of eta: intervals of probabilities made there stay in [0, 1]."""
    if gaussian:
        return replace(scale_of("identity"), null=None)

    @in_double
    def back(eta: np.ndarray) -> np.ndarray:
        return np.asarray(link.inverse(jnp.asarray(np.clip(eta, *link.domain))))

    @in_double
    def slope(p: np.ndarray) -> np.ndarray:
        return 1 / np.asarray(_density(link, False, jnp.asarray(link.eta(np.clip(p, 0, 1)))))

    return Scale(lambda p: np.asarray(link.eta(np.clip(p, 0, 1))), slope, back, None)


def blocks(n: int, length: int) -> Iterator[slice]:
    """Yield slices of at most a length."""
    step = max(1, int(length))
    for begin in range(0, n, step):
        yield slice(begin, min(begin + step, n))


def _column(rows: Rows, name: str, part: slice) -> np.ndarray:
    return np.asarray(rows.frame[name].iloc[part], dtype=float)


def _together(total: np.ndarray, slopes: np.ndarray | None) -> Chunk:
    drawn = total if len(total) > 1 else None
    return Chunk(slice(0, total.shape[2]), total.mean(axis=0), slopes, drawn)

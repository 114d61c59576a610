"""Averages of probabilities over rows: with their Jacobian, or by draws.

Everything asked is made of m_vc = sum over rows i of cell c of share_ic p(eta_vi), where v numbers
the versions of the rows (columns changed); of slopes it is the same (`marginal`). Rows and draws
are worked off in blocks, so that memory is bounded whatever their numbers.
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
from bayesglm.link_shapes import bound_link
from bayesglm.links import get_link
from bayesglm.precision import in_double
from bayesglm.predicting import eta as eta_of
from bayesglm.predicting import joint_rows, odds_slopes, points_of, response
from bayesglm.shaped import ShapedLink

if TYPE_CHECKING:
    from bayesglm.effects.rows import Cells, Rows
    from bayesglm.link import Link
    from bayesglm.shaped import BoundLink

__all__ = [
    "DRAWS",
    "FEW",
    "ROWS",
    "Chunk",
    "blocks",
    "covariance_of",
    "density_of",
    "has_covariance",
    "link_scale",
    "mean_of",
    "probabilities",
    "together",
]

# Draws and rows worked off together: their etas stay in the processor's cache.
DRAWS, FEW = 128, 4_096
# Effects of a factor beyond which answers take them, given all else, as known.
MOST = 1_000
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


def mean_of(link: Link | BoundLink, gaussian: bool, eta: Any) -> Any:
    """Return p; from the slopes a = f/p of log p and b = -f/q of log q alone, where it can.

    They share what they can and need no logarithm: several times faster, and as accurate.
    """
    if gaussian:
        return eta
    if not _is_whole(link):
        return link.inverse(eta)
    _, _, a, b = link.parts(eta)
    return b / (b - a)


def density_of(link: Link | BoundLink, gaussian: bool, eta: Any) -> Any:
    """Return the slope of p in eta, f = -ab / (a - b)."""
    if gaussian:
        return jnp.ones_like(eta)
    log_p, log_q, a, b = link.parts(eta)
    if _is_whole(link):
        return a * (b / (b - a))
    # The smaller of p and 1 - p has its slope without cancellation.
    return jnp.where(log_p < log_q, jnp.exp(log_p) * a, -jnp.exp(log_q) * b)


def _is_whole(link: Link | BoundLink) -> bool:
    return link.core is not None and link.domain == (-np.inf, np.inf)


@partial(jax.jit, static_argnames=("gaussian",))
def _mean(link: Link | BoundLink, gaussian: bool, eta: Any) -> Any:
    return mean_of(link, gaussian, eta)


@partial(jax.jit, static_argnames=("gaussian",))
def _density(link: Link | BoundLink, gaussian: bool, eta: Any) -> Any:
    return density_of(link, gaussian, eta)


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
    gaussian = fit.spec.family.has_sigma
    first = int(fit.design.intercept)

    @in_double
    def values(some: Any, part: slice) -> np.ndarray:
        link = bound_link(fit.spec.link, points[part].shape)
        return np.asarray(_mean(link, gaussian, jnp.asarray(eta_of(fit, points[part], some))))

    @in_double
    def jacobian(some: Any) -> np.ndarray:
        eta = eta_of(fit, points, some)[0]
        ones = np.ones((len(eta), first))
        columns = np.concatenate([ones, some.matrix], axis=1)
        if fit.spec.shape:
            # dp = p (1 - p) d log(p / (1 - p))
            p = response(fit, eta, points)
            return np.asarray((p * (1 - p))[:, None] * odds_slopes(fit, eta, columns, points))
        f = np.asarray(_density(fit.spec.link, gaussian, jnp.asarray(eta)))
        return np.asarray(f[:, None] * _varying(fit, some, columns))

    delta = has_covariance(rows)
    k = len(covariance_of(rows))
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
    most = memory // (32 * (len(versions) * (k + 1) + cells.count))
    for part in blocks(rows.n, min(most, ROWS)):
        share = cells.averaging(part)
        for v, changes in enumerate(versions):
            some = rows.changed(part, changes)
            for here in blocks(len(points), DRAWS):
                for few in blocks(some.n, FEW):
                    total[here, v] += values(some[few], here) @ share[few]
            if slopes is not None:
                slopes[v] += share.T @ jacobian(some)
    yield together(total, slopes)


def _varying(fit: Any, some: Any, columns: np.ndarray) -> np.ndarray:
    """Return the derivatives of eta by what `covariance_of` is the covariance of, shape (n, k)."""
    if not fit.result.joint:
        return columns
    along, own = joint_rows(fit, some, columns)
    parts = [along]
    for name, levels in _inner(fit).items():
        width = fit.result.joint[f"{name}_inner"].shape[1]
        whole = np.zeros((len(along), levels, width))
        if name in own:
            codes = some.groups[name].codes
            whole[np.arange(len(along)), codes] = own[name]
        parts.append(whole.reshape(len(along), -1))
    return np.concatenate(parts, axis=1)


def _inner(fit: Any) -> dict[str, int]:
    """Return the factor whose effects vary by themselves, and its groups, unless these are many."""
    joint = fit.result.joint
    found = {}
    for name, values in joint.items():
        if name.endswith("_inner") and values.shape[0] * values.shape[1] <= MOST:
            found[name.removesuffix("_inner")] = values.shape[0]
    return found


def covariance_of(rows: Rows) -> np.ndarray:
    """Return the covariance of what the Jacobian is by: coefficients, or what effects are made of."""
    result = rows.fit.result
    if not result.joint:
        return result.cov
    extra = sum(
        levels * result.joint[f"{name}_inner"].shape[1] for name, levels in _inner(rows.fit).items()
    )
    return np.eye(result.joint["theta"].shape[1] + extra)


def has_covariance(rows: Rows) -> bool:
    """Whether an answer is a point with a covariance behind it, rather than draws."""
    return not rows.fit.result.draws and not rows.fit.design.inputs


def link_scale(link: Link, gaussian: bool) -> Scale:
    """Return the scale of eta: intervals of probabilities made there stay in [0, 1]."""
    if gaussian:
        return replace(scale_of("identity"), null=None)
    if isinstance(link, ShapedLink):
        # Its own scale would be another for every shape.
        link = get_link("logit")

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


def together(total: np.ndarray, slopes: np.ndarray | None) -> Chunk:
    """Return all cells as one chunk, from averages (s, v, cells) and their Jacobian."""
    drawn = total if len(total) > 1 else None
    return Chunk(slice(0, total.shape[2]), total.mean(axis=0), slopes, drawn)

"""The Laplace approximation with a certificate: Gaussian draws, weighted by the exact density.

Proposals flat = mode + W z, W W' the inverse Hessian at the mode, are weighted by the exact density
over their own. The Pareto shape k-hat of the largest weights says whether the proposals reach the
tails of the posterior (Vehtari et al. 2024), and importance resampling without replacement turns
them into draws of it. Where k-hat of a pilot says that the tails are heavier than Gaussian, z follows
a Student t, or a split one with a scale of its own on each side of each axis (Geweke 1989), whichever
fits best. Group effects follow what they depend on: W z is then the map of `hierarchical`.

References
----------
Tierney & Kadane (1986), JASA 81; Geweke (1989), Econometrica 57, section 4; Vehtari, Simpson,
Gelman, Yao & Gabry (2024), "Pareto smoothed importance sampling", JMLR 25.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bayesglm.generative import Data, Structure, log_density
from bayesglm.inference.hierarchical import Hierarchy, placed
from bayesglm.inference.importance import FACTOR, Certificate, Weighed, factor, resample, smooth
from bayesglm.precision import scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from bayesglm.inference.target import Target

__all__ = ["DRAWS", "approximate"]

# Draws in all.
DRAWS = 4_000
# A pilot this good needs no other proposal.
GOOD = 0.3
PILOT = 4_000
# Degrees of freedom of the heavy-tailed proposals.
DF = 4.0
# Bytes that rows times a block of proposals may take: about what a cache holds.
MEMORY = 64 * 2**20
# Distances from the mode, in Laplace sds, at which the sides of an axis are measured.
DISTANCES = np.array([0.5, 1.0, 1.5, 2.0, 3.0, 4.0])


# Flat vectors, log densities and log weights of blocks of proposals.
type _Blocks = tuple[tuple[np.ndarray, ...], ...]


class _Proposal(NamedTuple):
    """Independent z: t with ``df`` (0: normal), scaled by ``right`` or ``left`` of 0 on each axis."""

    mode: Array
    # A matrix, or a `Hierarchy`.
    w: Any
    left: Array
    right: Array
    df: Array


@partial(jax.jit, static_argnames=("structure", "count", "heavy"))
def _propose(
    structure: Structure, data: Data, proposal: _Proposal, key: Array, *, count: int, heavy: bool
) -> tuple[Array, Array, Array]:
    """Return ``count`` flat vectors, their log density and their log weights, up to a constant."""
    size = len(proposal.left)
    dtype = proposal.mode.dtype
    draw, mix, side = jax.random.split(key, 3)
    z = jax.random.normal(draw, (count, size), dtype)
    log_q = -0.5 * jnp.sum(z**2, axis=1)
    if heavy:
        # A multivariate t: one mixing variable for all axes.
        df = proposal.df
        square = jnp.sum(z**2, axis=1)
        factor = df / (2 * jax.random.gamma(mix, df / 2, (count,), dtype))
        log_q = -0.5 * (df + size) * jnp.log1p(square * factor / df)
        z = z * jnp.sqrt(factor)[:, None]
    # Each side has the mass of its scale (two-piece distribution).
    total = proposal.left + proposal.right
    right = jax.random.uniform(side, (count, size), dtype) * total < proposal.right
    z = jnp.abs(z) * jnp.where(right, proposal.right, -proposal.left)
    log_q = log_q - jnp.sum(jnp.log(total / 2))
    if isinstance(proposal.w, Hierarchy):
        flat, moved = jax.vmap(lambda one: placed(structure, proposal.mode, proposal.w, one))(z)
        log_q = log_q - moved
    else:
        flat = proposal.mode + z @ proposal.w.T
    log_p = jax.vmap(lambda f: log_density(structure, data, f, jacobian=True))(flat)
    # Outside the domain of a partial link the weight is 0.
    log_p = jnp.where(jnp.isnan(log_p), -jnp.inf, log_p)
    return flat, log_p, log_p - log_q


@partial(jax.jit, static_argnames=("structure",))
def _along_axes(structure: Structure, data: Data, mode: Array, w: Array, steps: Array) -> Array:
    """Return the log density at mode + s w_j for each axis j and step s, shape (d, steps)."""

    def at(axis: Array, step: Array) -> Array:
        return log_density(structure, data, mode + step * axis, jacobian=True)

    return jax.lax.map(lambda axis: jax.lax.map(partial(at, axis), steps), w.T)


def _sides(target: Target, data: Data, mode: Array, w: Array) -> tuple[np.ndarray, np.ndarray]:
    """Return the scale of z to the left and the right of the mode on each axis (Geweke 1989).

    At distance d the density of a normal with sd s has fallen by d² / (2 s²); the largest s over
    several distances is taken, so that the proposal is nowhere narrower than the posterior.
    """
    steps = np.concatenate([-DISTANCES, DISTANCES, [0.0]])
    values = _along_axes(target.structure, data, mode, w, jnp.asarray(steps, mode.dtype))
    found = np.nan_to_num(np.asarray(values, float), nan=-np.inf, neginf=-np.inf)
    fall = np.maximum(found[:, -1:] - found[:, :-1], 1e-12)
    scale = np.abs(steps[:-1]) / (np.sqrt(2) * np.sqrt(fall))
    half = len(DISTANCES)
    bounds = (0.2, 10.0)
    return (
        np.clip(scale[:, :half].max(axis=1), *bounds),
        np.clip(scale[:, half:].max(axis=1), *bounds),
    )


def approximate(
    target: Target,
    mode: np.ndarray,
    w: Any,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray, Certificate]:
    """Draw from the posterior by its Laplace approximation, and say how good that is.

    Parameters
    ----------
    target : Target
        The model on its data.
    mode : ndarray, shape (size,)
        Mode of the unconstrained density.
    w : ndarray, shape (size, d), or Hierarchy
        W with W W' the inverse negative Hessian there; its rows are 0 for what stays at the mode.
    draws : int
        Draws wanted; at least five times as many are proposed, more where the weights are uneven.
    seed : int
        Fixes them.
    report : callable, optional
        Called with the number of proposals weighed.

    Returns
    -------
    flat : ndarray, shape (draws, size)
        Independent draws, resampled without replacement.
    log_density : ndarray, shape (draws,)
        Their log posterior density, unconstrained.
    certificate : Certificate
    """
    with scope(target.precision):
        number = target.data.y.dtype
        data = target.arrays
        linear = not isinstance(w, Hierarchy)
        centre = jnp.asarray(mode, number)
        scale = jax.tree.map(lambda part: jnp.asarray(part, number), w)
        ones = np.ones(w.shape[1] if linear else target.size)
        length = _block(data)

        def weigh(
            name: str, proposal: _Proposal, count: int, key: Array, begun: _Blocks = ()
        ) -> tuple[Weighed, _Blocks]:
            """Weigh ``count`` proposals, those of blocks that were begun with among them."""
            blocks = list(begun)
            for block in range(len(blocks), -(-count // length)):
                drawn = _propose(
                    target.structure,
                    data,
                    proposal,
                    jax.random.fold_in(key, block),
                    count=length,
                    heavy=name in ("t", "split t"),
                )
                blocks.append(tuple(np.asarray(part, float) for part in drawn))
                if report is not None and count != PILOT:
                    report(min((block + 1) * length, FACTOR * draws), 0)
            parts = [np.concatenate(part) for part in zip(*blocks, strict=True)]
            return Weighed(parts[0], parts[1], *smooth(parts[2])), tuple(blocks)

        def make(left: np.ndarray, right: np.ndarray) -> _Proposal:
            one, other = jnp.asarray(left, number), jnp.asarray(right, number)
            return _Proposal(centre, scale, one, other, jnp.asarray(DF, number))

        key = jax.random.key(seed)
        name, proposal = "normal", make(ones, ones)
        pilot, blocks = weigh(name, proposal, PILOT, key)
        found = None
        if pilot.k_hat <= GOOD:
            found, blocks = weigh(name, proposal, FACTOR * draws, key, blocks)
        if found is None or not found.k_hat <= GOOD:
            others = {"t": make(ones, ones)}
            if linear:
                sides = _sides(target, data, centre, scale)
                others |= {"split normal": make(*sides), "split t": make(*sides)}
            best = np.nan_to_num(pilot.k_hat if found is None else found.k_hat, nan=np.inf)
            for rank, (other, candidate) in enumerate(others.items(), 2):
                own = jax.random.fold_in(key, 2**30 + rank)
                other_pilot, begun = weigh(other, candidate, PILOT, own)
                if other_pilot.k_hat < best:
                    best, blocks, key = other_pilot.k_hat, begun, own
                    name, proposal = other, candidate
            found, blocks = weigh(name, proposal, FACTOR * draws, key, blocks)
        if found.lost(draws) > 0:
            found, _ = weigh(name, proposal, factor(found, draws) * draws, key, blocks)
    return resample(found, draws, seed=seed, proposal=name)


def _block(data: Data) -> int:
    """Return the proposals weighed together, so that a block stays in cache."""
    return max(1, min(2_000, MEMORY // (8 * data.y.shape[0])))

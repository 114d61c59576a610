"""The Laplace approximation with a certificate: Gaussian draws, weighted by the exact density.

Proposals flat = mode + W z, W W' the inverse Hessian at the mode, are weighted by the exact density
over their own. The Pareto shape k-hat of the largest weights says whether the proposals reach the
tails of the posterior (Vehtari et al. 2024), and importance resampling without replacement turns
them into draws of it. Where k-hat of a pilot says that the tails are heavier than Gaussian, z follows
a Student t, or a split one with a scale of its own on each side of each axis (Geweke 1989), whichever
fits best.

References
----------
Tierney & Kadane (1986), JASA 81; Geweke (1989), Econometrica 57, section 4; Vehtari, Simpson,
Gelman, Yao & Gabry (2024), "Pareto smoothed importance sampling", JMLR 25.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bayesglm.generative import Data, Structure, log_density
from bayesglm.precision import scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from bayesglm.inference.target import Target

__all__ = ["DRAWS", "KHAT", "Certificate", "approximate"]

# Draws in all.
DRAWS = 4_000
# Above this k-hat importance weights do not help (Vehtari et al. 2024, section 3.2).
KHAT = 0.7
# A pilot this good needs no other proposal.
GOOD = 0.3
PILOT = 4_000
# Degrees of freedom of the heavy-tailed proposals.
DF = 4.0
# Proposals for each draw, and how many at most when the weights are uneven.
FACTOR, MOST = 5, 40
# Lost share of the weights that moves a mean by less than its Monte Carlo error.
LOST = 0.005
# Bytes that rows times a block of proposals may take: about what a cache holds.
MEMORY = 32 * 2**20
# Distances from the mode, in Laplace sds, at which the sides of an axis are measured.
DISTANCES = np.array([0.5, 1.0, 1.5, 2.0, 3.0, 4.0])


@dataclass(frozen=True)
class Certificate:
    """What the importance weights say of the approximation.

    Attributes
    ----------
    k_hat : float
        Pareto shape of the largest weights.
    threshold : float
        min(1 - 1 / log10(proposals), 0.7): above it the approximation is not to be trusted.
    ess : float
        Importance effective sample size of all proposals, 1 / sum of squared weights.
    lost : float
        Share of the weights above that of one draw: what draws without replacement leave out.
    proposals : int
    proposal : str
        ``"normal"``, ``"t"``, ``"split normal"`` or ``"split t"``.
    """

    k_hat: float
    threshold: float
    ess: float
    lost: float
    proposals: int
    proposal: str

    @property
    def words(self) -> dict[str, Any]:
        """The certificate in plain words and numbers."""
        return {
            "k_hat": self.k_hat,
            "importance_ess": self.ess,
            "lost": self.lost,
            "proposals": self.proposals,
            "proposal": self.proposal,
            "verdict": "holds" if self.holds else "does not hold",
            "independent_draws": 1,
        }

    @property
    def holds(self) -> bool:
        """Whether the draws may be used as a posterior."""
        return self.k_hat <= self.threshold and self.lost <= LOST


class _Proposal(NamedTuple):
    """Independent z: t with ``df`` (0: normal), scaled by ``right`` or ``left`` of 0 on each axis."""

    mode: Array
    w: Array
    left: Array
    right: Array
    df: Array


@partial(jax.jit, static_argnames=("structure", "count", "heavy"))
def _propose(
    structure: Structure, data: Data, proposal: _Proposal, key: Array, *, count: int, heavy: bool
) -> tuple[Array, Array, Array]:
    """Return ``count`` flat vectors, their log density and their log weights, up to a constant."""
    size = proposal.w.shape[1]
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
    found = np.nan_to_num(np.asarray(values, float), nan=-np.inf)
    fall = np.maximum(found[:, -1:] - found[:, :-1], 1e-12)
    scale = np.abs(steps[:-1]) / np.sqrt(2 * fall)
    half = len(DISTANCES)
    bounds = (0.2, 10.0)
    return (
        np.clip(scale[:, :half].max(axis=1), *bounds),
        np.clip(scale[:, half:].max(axis=1), *bounds),
    )


class _Weighed(NamedTuple):
    """Proposals with their log density, smoothed log weights (of sum 1), and k-hat."""

    flat: np.ndarray
    log_density: np.ndarray
    log_weights: np.ndarray
    k_hat: float

    @property
    def ess(self) -> float:
        """1 / sum of squared weights."""
        return float(np.exp(-np.logaddexp.reduce(2 * self.log_weights)))

    def lost(self, draws: int) -> float:
        """Return the share of the weights above that of one draw, which resampling cuts off."""
        return float(np.sum(np.maximum(np.exp(self.log_weights) - 1 / draws, 0)))


def _without_replacement(
    weights: np.ndarray, draws: int, generator: np.random.Generator
) -> np.ndarray:
    """Choose ``draws`` different places, each with a probability in proportion to its weight.

    Systematic sampling in random order (Madow 1949): the probabilities are exact, where taking the
    largest of log weight + Gumbel noise would favour small weights. Weights of more than one draw
    are cut to that.
    """
    share = weights * draws
    for _ in range(20):
        share = np.minimum(share * draws / share.sum(), 1.0)
    order = generator.permutation(len(share))
    ends = np.cumsum(share[order])
    marks = (np.arange(draws) + generator.uniform()) * (ends[-1] / draws)
    # Rounding must not put the last mark past the end.
    at = np.minimum(np.searchsorted(ends, marks, side="right"), len(ends) - 1)
    return generator.permutation(order[at])


def _smooth(log_weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Return Pareto-smoothed log weights that sum to 1, and k-hat."""
    from arviz_stats.base import array_stats

    finite = np.isfinite(log_weights)
    lowest = log_weights[finite].min() if finite.any() else 0.0
    # It takes log likelihoods, whose negatives are the log weights of leave-one-out.
    smoothed, k_hat = array_stats.psislw(-np.where(finite, log_weights, lowest - 50.0))
    return np.asarray(smoothed, float), float(k_hat)


def approximate(
    target: Target,
    mode: np.ndarray,
    w: np.ndarray,
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
    w : ndarray, shape (size, d)
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
        centre, factor = jnp.asarray(mode, number), jnp.asarray(w, number)
        ones = np.ones(w.shape[1])
        length = max(1, min(2_000, MEMORY // (8 * data.y.shape[0])))

        def weigh(name: str, proposal: _Proposal, count: int, key: Array) -> _Weighed:
            blocks: list[tuple[np.ndarray, ...]] = []
            for block in range(-(-count // length)):
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
            return _Weighed(parts[0], parts[1], *_smooth(parts[2]))

        def make(left: np.ndarray, right: np.ndarray) -> _Proposal:
            one, other = jnp.asarray(left, number), jnp.asarray(right, number)
            return _Proposal(centre, factor, one, other, jnp.asarray(DF, number))

        key = jax.random.key(seed)
        name, proposal = "normal", make(ones, ones)
        pilot = weigh(name, proposal, PILOT, jax.random.fold_in(key, 1))
        found = None
        if pilot.k_hat <= GOOD:
            found = weigh(name, proposal, FACTOR * draws, key)
        if found is None or not found.k_hat <= GOOD:
            left, right = _sides(target, data, centre, factor)
            others = {
                "t": make(ones, ones),
                "split normal": make(left, right),
                "split t": make(left, right),
            }
            best = np.nan_to_num(pilot.k_hat if found is None else found.k_hat, nan=np.inf)
            for rank, (other, candidate) in enumerate(others.items(), 2):
                k_hat = weigh(other, candidate, PILOT, jax.random.fold_in(key, rank)).k_hat
                if k_hat < best:
                    name, proposal, best = other, candidate, k_hat
            found = weigh(name, proposal, FACTOR * draws, key)
        if found.lost(draws) > 0:
            # More proposals, so that none has more than the weight of one draw, within reason.
            heaviest = float(np.exp(found.log_weights.max())) * draws
            count = int(np.clip(np.ceil(FACTOR * heaviest), FACTOR, MOST)) * draws
            found = weigh(name, proposal, count, key)
    generator = np.random.default_rng(seed)
    chosen = _without_replacement(np.exp(found.log_weights), draws, generator)
    threshold = min(1 - 1 / np.log10(len(found.flat)), KHAT)
    certificate = Certificate(
        found.k_hat, threshold, found.ess, found.lost(draws), len(found.flat), name
    )
    return found.flat[chosen], found.log_density[chosen], certificate

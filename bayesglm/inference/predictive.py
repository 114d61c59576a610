"""What draws imply for rows: log likelihood, log prior, prior and posterior predictive.

Each is the model's own trace, vectorised over draws in blocks that keep memory bounded.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bayesglm.errors import SpecificationError, explain
from bayesglm.generative import Data, Structure, draw, log_prior, pointwise
from bayesglm.precision import scope

if TYPE_CHECKING:
    from bayesglm.inference.target import Target

__all__ = ["log_prior_draws", "pointwise_draws", "predictive_draws", "prior_draws"]

# Bytes that a block of draws may take.
MEMORY = 128 * 2**20


def _blocks(target: Target, draws: int) -> list[slice]:
    length = max(1, MEMORY // (8 * target.data.y.shape[0]))
    return [slice(i, min(i + length, draws)) for i in range(0, draws, length)]


@partial(jax.jit, static_argnames=("structure",))
def _pointwise(structure: Structure, data: Data, flat: Array) -> Array:
    return jax.vmap(lambda f: pointwise(structure, data, f))(flat)


@partial(jax.jit, static_argnames=("structure",))
def _log_prior(structure: Structure, data: Data, flat: Array) -> Array:
    return jax.vmap(lambda f: log_prior(structure, data, f, jacobian=False))(flat)


@partial(jax.jit, static_argnames=("structure",))
def _outcomes(structure: Structure, data: Data, keys: Array, flat: Array) -> Array:
    return jax.vmap(lambda k, f: draw(structure, data, k, f)["y"])(keys, flat)


@partial(jax.jit, static_argnames=("structure",))
def _prior(structure: Structure, data: Data, keys: Array) -> dict[str, Array]:
    return jax.vmap(lambda k: draw(structure, data, k))(keys)


def pointwise_draws(target: Target, flat: np.ndarray) -> np.ndarray:
    """Return w_i log p(y_i | draw) for the rows with weight > 0, shape (draws, nobs).

    Parameters
    ----------
    target : Target
        The model on its data.
    flat : ndarray, shape (draws, size)
        Draws in flat coordinates.
    """
    live = np.flatnonzero(np.asarray(target.data.weights)[: target.n] > 0)
    out = np.empty((len(flat), len(live)))
    with scope(target.precision):
        data = jax.tree.map(jnp.asarray, target.data)
        for part in _blocks(target, len(flat)):
            points = jnp.asarray(flat[part], data.y.dtype)
            out[part] = np.asarray(_pointwise(target.structure, data, points))[:, live]
    return out


def log_prior_draws(target: Target, flat: np.ndarray) -> np.ndarray:
    """Return the log prior density of the parameters as named, shape (draws,)."""
    with scope(target.precision):
        data = jax.tree.map(jnp.asarray, target.data)
        return np.asarray(_log_prior(target.structure, data, jnp.asarray(flat)), float)


def predictive_draws(target: Target, flat: np.ndarray, *, seed: int) -> np.ndarray:
    """Return simulated outcomes for every row, one data set for each draw, shape (draws, n)."""
    out = np.empty((len(flat), target.n))
    with scope(target.precision):
        data = jax.tree.map(jnp.asarray, target.data)
        keys = jax.random.split(jax.random.key(seed), len(flat))
        for part in _blocks(target, len(flat)):
            points = jnp.asarray(flat[part], data.y.dtype)
            drawn = _outcomes(target.structure, data, keys[part], points)
            out[part] = np.asarray(drawn)[:, : target.n]
    return out


def prior_draws(target: Target, draws: int, *, seed: int) -> dict[str, np.ndarray]:
    """Return draws of the parameters and outcomes from the prior.

    Returns
    -------
    dict
        ``Intercept`` (draws,), ``beta`` (draws, p), ``sigma``, and ``y`` (draws, n).

    Raises
    ------
    SpecificationError
        If a prior is flat: nothing can be drawn from it.
    """
    if target.some_flat:
        raise SpecificationError(
            explain("a flat prior cannot be sampled", advice='use a proper prior, as prior="weak"')
        )
    parts: list[dict[str, np.ndarray]] = []
    with scope(target.precision):
        data = jax.tree.map(jnp.asarray, target.data)
        keys = jax.random.split(jax.random.key(seed), draws)
        for part in _blocks(target, draws):
            drawn = _prior(target.structure, data, keys[part])
            parts.append({name: np.asarray(value, float) for name, value in drawn.items()})
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    found["beta"] = found["beta"][:, : target.p]
    found["y"] = found["y"][:, : target.n]
    return {name: found[name] for name in ("Intercept", "beta", "sigma", "y") if name in found}

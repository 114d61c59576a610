"""What draws imply for rows: log likelihood, log prior, prior and posterior predictive.

Each is the model's own trace, vectorised over draws in blocks that keep memory bounded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro import handlers

from bayesglm.errors import SpecificationError, explain
from bayesglm.generative import (
    Data,
    Structure,
    draw,
    eta_at,
    linear_predictor,
    log_prior,
    pointwise,
)
from bayesglm.matrices import MIN_ROWS, bucket, pad_rows
from bayesglm.precision import scope

if TYPE_CHECKING:
    from bayesglm.inference.target import Target
    from bayesglm.neural import Neural

__all__ = [
    "log_prior_draws",
    "networks_eta",
    "pointwise_draws",
    "predictive_draws",
    "prior_draws",
    "prior_eta",
]

# Bytes that a block of draws may take.
MEMORY = 128 * 2**20


def _blocks(target: Target, draws: int) -> list[slice]:
    length = max(1, MEMORY // (8 * target.data.y.shape[0] * target.breadth))
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
        data = target.arrays
        for part in _blocks(target, len(flat)):
            points = jnp.asarray(flat[part], data.y.dtype)
            out[part] = np.asarray(_pointwise(target.structure, data, points))[:, live]
    return out


def log_prior_draws(target: Target, flat: np.ndarray) -> np.ndarray:
    """Return the log prior density of the parameters as named, shape (draws,)."""
    with scope(target.precision):
        data = target.arrays
        return np.asarray(_log_prior(target.structure, data, jnp.asarray(flat)), float)


def predictive_draws(target: Target, flat: np.ndarray, *, seed: int) -> np.ndarray:
    """Return simulated outcomes for every row, one data set for each draw, shape (draws, n)."""
    out = np.empty((len(flat), target.n))
    with scope(target.precision):
        data = target.arrays
        keys = jax.random.split(jax.random.key(seed), len(flat))
        for part in _blocks(target, len(flat)):
            points = jnp.asarray(flat[part], data.y.dtype)
            drawn = _outcomes(target.structure, data, keys[part], points)
            out[part] = np.asarray(drawn)[:, : target.n]
    return out


def networks_eta(
    target: Target,
    flat: np.ndarray,
    projections: Mapping[str, np.ndarray],
    inputs: Sequence[np.ndarray],
    columns: Sequence[np.ndarray],
) -> np.ndarray:
    """Return the networks' share of eta for any rows, shape (draws, n), link scale.

    Parameters
    ----------
    target : Target
        The model on its data.
    flat : ndarray, shape (draws, size)
        Draws in flat coordinates.
    projections : mapping of str to ndarray, shape (draws, k)
        Each network's projection, by its name; absent where it has none.
    inputs : sequence of ndarray, shape (n, q)
        Standardised, one for each network.
    columns : sequence of ndarray, shape (k, n)
        What each network is orthogonalised against, in these rows.
    """
    n = len(inputs[0])
    rows = bucket(n, MIN_ROWS)
    out = np.empty((len(flat), n))
    with scope(target.precision):
        number = target.data.y.dtype
        parts = tuple(
            part._replace(
                inputs=jnp.asarray(pad_rows(values.T, rows).T, number),
                columns=jnp.asarray(pad_rows(against, rows), number),
                training=None,
            )
            for (_, part), values, against in zip(target.networks, inputs, columns, strict=True)
        )
        networks = tuple(network for network, _ in target.networks)
        length = max(1, MEMORY // (8 * rows * target.breadth))
        for begin in range(0, len(flat), length):
            block = slice(begin, begin + length)
            c = tuple(
                jnp.asarray(projections[network.projection][block], number)
                if network.projection in projections
                else None
                for network in networks
            )
            points = jnp.asarray(flat[block], number)
            out[block] = np.asarray(_networks(target.structure, networks, parts, points, c))[:, :n]
    return out


def prior_eta(target: Target, draws: int, *, seed: int) -> np.ndarray:
    """Return prior draws of eta for the rows with weight > 0, shape (draws, nobs), link scale."""
    live = np.flatnonzero(np.asarray(target.data.weights) > 0)
    with scope(target.precision):
        data = target.arrays
        keys = jax.random.split(jax.random.key(seed), draws)
        parts = [
            np.asarray(_prior_eta(target.structure, data, keys[block]), float)
            for block in _blocks(target, draws)
        ]
    return np.concatenate(parts)[:, live]


@partial(jax.jit, static_argnames=("structure",))
def _prior_eta(structure: Structure, data: Data, keys: Array) -> Array:
    return jax.vmap(lambda key: handlers.seed(linear_predictor, key)(structure, data))(keys)


@partial(jax.jit, static_argnames=("structure", "networks"))
def _networks(
    structure: Structure, networks: tuple[Neural, ...], parts: Any, flat: Array, c: Any
) -> Array:
    only = replace(structure, predictors=networks)

    def eta(point: Array, given: Any) -> Array:
        known = tuple(p._replace(projection=v) for p, v in zip(parts, given, strict=True))
        nothing = jnp.zeros(parts[0].inputs.shape[0], flat.dtype)
        return eta_at(only, Data(nothing, nothing, nothing, nothing, known), point)

    return jax.vmap(eta)(flat, c)


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
        data = target.arrays
        keys = jax.random.split(jax.random.key(seed), draws)
        for part in _blocks(target, draws):
            drawn = _prior(target.structure, data, keys[part])
            parts.append({name: np.asarray(value, float) for name, value in drawn.items()})
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    found["beta"] = found["beta"][:, : target.p]
    found["y"] = found["y"][:, : target.n]
    sites = [site.name for network, _ in target.networks for site in network.sites]
    for group, _ in target.groups:
        sites += [f"sd_{group.name}", f"cor_{group.name}", group.name]
    names = ("Intercept", "beta", "sigma", *target.structure.shape, *sites, "y")
    return {name: found[name] for name in names if name in found}

"""What a point, or draws, in flat coordinates are in the user's words."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bayesglm.generative import Data, Structure, eta_at, log_prior, pointwise, reported
from bayesglm.inference.sharding import local_total
from bayesglm.precision import scope
from bayesglm.shards import local

if TYPE_CHECKING:
    from bayesglm.inference.target import Target

__all__ = ["eta_draws", "evaluate", "named_draws", "relative_to"]

# Bytes that a block of draws may take.
MEMORY = 128 * 2**20


@partial(jax.jit, static_argnames=("structure",))
def _evaluate(structure: Structure, data: Data, flat: Array) -> tuple[dict[str, Array], Any, Any]:
    return (
        reported(structure, data, flat),
        pointwise(structure, data, flat),
        log_prior(structure, data, flat, jacobian=False),
    )


def relative_to(target: Target, flat: np.ndarray) -> Target:
    """Return a target whose density is summed relative to a point, the constant in double.

    Of use in single precision alone: see `Data.reference`.
    """
    if target.precision == "float64":
        return target
    with scope(target.precision):
        point = jnp.asarray(flat, target.data.y.dtype)
        rows = _evaluate(target.structure, target.arrays, point)[1]
        total = local_total(target, rows)
        host = local(rows)
    data = target.data._replace(reference=host)  # type: ignore[arg-type]
    return replace(target, data=data, left_out=target.left_out + total, device=None).placed()


def evaluate(target: Target, flat: np.ndarray) -> dict[str, Any]:
    """Return the reported parameters, log likelihood, loss and log posterior at a flat point.

    Returns
    -------
    dict
        ``theta`` (k,), ``sigma`` or None, ``shape`` (by name), ``loglik`` (with binomial coefficients), ``loss`` (mean,
        without them), ``log_posterior`` (of the parameters as named).
    """
    with scope(target.precision):
        data = target.arrays
        point = jnp.asarray(flat, target.data.y.dtype)
        found, rows, prior = _evaluate(target.structure, data, point)
        values = {name: np.asarray(value, float) for name, value in found.items()}
        # Summed in double, whatever the precision of the rows.
        loglik = local_total(target, rows)
        loglik += target.log_coefficient if target.merged else 0.0
    theta = values["beta"][: target.p]
    if target.intercept:
        theta = np.concatenate([[values["Intercept"]], theta])
    sigma, loss = None, -(loglik - target.log_coefficient) / target.effective
    if target.structure.family.has_sigma:
        sigma = float(values["sigma"])
        # Half the mean squared error, from -loglik = RSS / (2 sigma²) + n (log sigma + log(2 pi)/2).
        loss = sigma**2 * (loss - np.log(sigma) - np.log(2 * np.pi) / 2)
    return {
        "theta": theta,
        "sigma": sigma,
        "shape": {name: values[name] for name in target.structure.shape},
        "loglik": loglik,
        "loss": loss,
        "log_posterior": loglik + float(prior),
    }


def named_draws(target: Target, flat: np.ndarray) -> dict[str, np.ndarray]:
    """Return draws by the user's names from flat ones (c, s, size).

    Intercept, beta (c, s, p), sigma, the link's shape; of each network its weights and its projection; of each factor
    its standard deviations, correlations and effects.
    """
    with scope(target.precision):
        data = target.arrays
        points = jnp.asarray(flat, target.data.y.dtype)
        # A network's projection takes a pass over the rows for each draw.
        together = max(1, MEMORY // (8 * data.y.shape[0] * target.breadth))
        found = {
            name: np.asarray(value, float)
            for name, value in _named(target.structure, data, points, together).items()
        }
    wanted = ["Intercept", "beta", "sigma", *target.structure.shape]
    for predictor, _ in target.networks:
        wanted += [*(site.name for site in predictor.sites), predictor.projection]
    for group, _ in target.groups:
        wanted += [f"sd_{group.name}", f"cor_{group.name}", group.name]
    found = {name: found[name] for name in wanted if name in found}
    found["beta"] = found["beta"][..., : target.p]
    return found


def eta_draws(target: Target, flat: np.ndarray, *, rows: int) -> np.ndarray:
    """Return eta of some rows, evenly chosen, for flat draws (c, s, size): shape (c, s, rows)."""
    live = np.flatnonzero(np.asarray(target.data.weights) > 0)
    chosen = live[np.unique(np.linspace(0, len(live) - 1, min(rows, len(live))).astype(int))]
    with scope(target.precision):
        data = target.arrays.rows(jnp.asarray(chosen), jnp.asarray(1.0))
        points = jnp.asarray(flat.reshape(-1, flat.shape[-1]), target.data.y.dtype)
        found = np.asarray(_etas(target.structure, data, points), float)
    return found.reshape(*flat.shape[:2], -1)


@partial(jax.jit, static_argnames=("structure",))
def _etas(structure: Structure, data: Data, flat: Array) -> Array:
    return jax.lax.map(lambda f: eta_at(structure, data, f), flat)


@partial(jax.jit, static_argnames=("structure", "together"))
def _named(structure: Structure, data: Data, flat: Array, together: int) -> dict[str, Array]:
    chains, draws, size = flat.shape
    found = jax.lax.map(
        lambda f: reported(structure, data, f),
        flat.reshape(-1, size),
        batch_size=min(together, chains * draws),
    )
    return {name: v.reshape(chains, draws, *v.shape[1:]) for name, v in found.items()}

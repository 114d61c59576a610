"""From a method's name to its result: the one door of this folder.

* ``mle``: flat priors, Newton by default, covariance by the information or a sandwich; or with its
  bias reduced
* ``map``: the mode of the posterior density of the parameters as named, covariance by curvature
* ``laplace``: draws around the mode of the unconstrained density, with a certificate
* ``svi``: draws from a Gaussian guide fitted to the posterior, with the same certificate
* ``nuts``: the full posterior, started from that mode
* ``auto``: ``laplace`` where its certificate holds, else ``nuts``
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bayesglm.errors import Status
from bayesglm.generative import Data, Structure, reported
from bayesglm.inference.bias_reduction import explained, reduce_bias, refuse_unsuitable
from bayesglm.inference.covariance import covariance, gauss_newton_at, hessian_at, invert
from bayesglm.inference.evaluation import evaluate, named_draws
from bayesglm.inference.local import LARGEST_HESSIAN, TRAINING, local_optima
from bayesglm.inference.mode import checked, find_mode, refuse_divergence, runs_away
from bayesglm.inference.multilevel import marginal_mode
from bayesglm.inference.posterior import posterior
from bayesglm.inference.result import Result
from bayesglm.inference.shape import refuse_shaped, spread_of
from bayesglm.inference.starting import refuse_impossible
from bayesglm.inference.unsuitable import refuse_options
from bayesglm.inference.verdicts import findings_of
from bayesglm.precision import scope

if TYPE_CHECKING:
    from bayesglm.inference.checkpoint import Checkpoint
    from bayesglm.inference.newton import Optimum
    from bayesglm.inference.target import Target

__all__ = ["run"]

# Bytes of the Jacobian of eta, beyond which networks get no standard errors.
LARGEST_JACOBIAN = 512 * 2**20


def run(
    target: Target,
    method: str,
    options: Mapping[str, Any],
    *,
    seed: int = 0,
    weights_kind: str = "frequency",
    report: Callable[..., None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Result:
    """Run a method on a target.

    Parameters
    ----------
    target : Target
        The model on its data; with flat priors for ``"mle"``.
    method : {"mle", "map", "laplace", "svi", "nuts", "auto"}
        What to compute.
    options : dict
        Options of the method, checked by `check_options`; clusters are in the target.
    seed : int
        Fixes everything random.
    weights_kind : {"frequency", "sampling"}
        What a weight means for robust errors.
    report : callable, optional
        Called with steps done and divergences while sampling.
    checkpoint : Checkpoint, optional
        Of ``nuts``.

    Raises
    ------
    InferenceError
        Where no answer exists or none was found.
    """
    with scope(target.precision):
        return _run(target.placed(), method, options, seed, weights_kind, report, checkpoint)


def _run(
    target: Target,
    method: str,
    options: Mapping[str, Any],
    seed: int,
    weights_kind: str,
    report: Callable[..., None] | None,
    checkpoint: Checkpoint | None,
) -> Result:
    if target.groups:
        refuse_options(target, method, options, weights_kind)
    if target.structure.shape:
        refuse_shaped(options, weights_kind)
    reduced = options.get("bias_reduction") is not None
    if reduced:
        refuse_unsuitable(target, weights_kind)
    tolerant = options.get("separation") == "warn"
    if target.flat_priors:
        refuse_impossible(target, one_outcome=not (reduced or tolerant))
    if method in ("nuts", "laplace", "svi", "auto"):
        return posterior(target, method, options, seed, report, checkpoint)
    if target.groups:
        return marginal_mode(target, method, options)
    members, words = None, dict[str, Any]()
    if reduced:
        optimum, words = reduce_bias(target, options)
    elif target.networks or any(options.get(name) is not None for name in TRAINING):
        optimum, members = local_optima(target, options, seed=seed, report=report)
        optimum = checked(target, optimum, jacobian=False)
    else:
        optimum = find_mode(target, options, jacobian=False)
    if tolerant and runs_away(target, optimum):
        optimum = replace(optimum, status=Status.SEPARATED)
    refuse_divergence(target, optimum)
    edge = target.at_edge(optimum.flat)
    if edge:
        optimum = replace(optimum, status=Status.BOUNDARY)
    numbers = evaluate(target, optimum.flat)
    spread = None
    if target.structure.shape:
        asked = options.get("information") or "expected"
        spread = spread_of(
            target, optimum.flat, information=asked if method == "mle" else "observed"
        )
        cov = spread.cov
        numbers |= {"shape": spread.shape, "joint": spread.joint}
        if spread.ends:
            optimum = replace(optimum, status=Status.BOUNDARY)
    elif method == "mle":
        cov = _mle_covariance(target, optimum, numbers["sigma"], options, weights_kind)
    else:
        cov = _map_covariance(target, optimum)
    if optimum.status == Status.BOUNDARY and not (spread and spread.ends):
        cov = np.full_like(cov, np.nan)
    return Result(
        method=method,
        status=optimum.status,
        flat=optimum.flat,
        cov=cov,
        gradient_norm=optimum.gradient_norm,
        steps=optimum.steps,
        history=optimum.history,
        weights=_weights(target, optimum.flat),
        members=members,
        options=words,
        findings=(
            *((explained(words),) if reduced else ()),
            *(spread.findings if spread else ()),
            *findings_of(target, method, optimum, cov, edge),
        ),
        **numbers,
    )


def _mle_covariance(
    target: Target,
    optimum: Optimum,
    sigma: float | None,
    options: Mapping[str, Any],
    weights_kind: str,
) -> np.ndarray:
    if target.networks:
        return np.full((len(target.places),) * 2, np.nan)
    if sigma is not None:
        # As lm: the residual variance over n - k, not the ML value over n.
        sigma *= np.sqrt(target.effective / max(target.effective - len(target.places), 1))
    return covariance(
        target,
        optimum.flat,
        cov=options.get("cov") or "nonrobust",
        information=options.get("information") or "expected",
        weights_kind=weights_kind,
        sigma=sigma,
    )


def _map_covariance(target: Target, optimum: Optimum) -> np.ndarray:
    """Return the inverse of the negative Hessian, in reported coordinates (delta method)."""
    if target.networks:
        small = target.size <= LARGEST_HESSIAN and target.size * target.n * 8 <= LARGEST_JACOBIAN
        if not small or target.some_flat:
            return np.full((len(target.places),) * 2, np.nan)
        hessian = gauss_newton_at(target, optimum.flat)
    else:
        hessian = hessian_at(target, optimum.flat, information="observed", jacobian=False)
    inverse = invert(hessian)
    if target.linear:
        jacobian = target.to_reported()
    else:
        with scope(target.precision):
            data = target.arrays
            jacobian = np.asarray(_slopes(target.structure, data, jnp.asarray(optimum.flat)))
        jacobian = jacobian[: len(target.places)]
    return np.asarray(jacobian @ inverse @ jacobian.T)


@partial(jax.jit, static_argnames=("structure",))
def _slopes(structure: Structure, data: Data, flat: Array) -> Array:
    def theta(f: Array) -> Array:
        values = reported(structure, data, f)
        head = [values["Intercept"][None]] if "Intercept" in values else []
        return jnp.concatenate([*head, values["beta"]])

    return jax.jacobian(theta)(flat)


def _weights(target: Target, flat: np.ndarray) -> dict[str, np.ndarray]:
    """Return the networks' weights by the names of their sites."""
    names = {site.name for predictor, _ in target.networks for site in predictor.sites}
    if not names:
        return {}
    found = named_draws(target, flat[None, None])
    return {name: values[0, 0] for name, values in found.items() if name in names}

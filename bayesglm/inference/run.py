"""From a method's name to its result: the one door of this folder.

* ``mle``: flat priors, Newton by default, covariance by the information or a sandwich
* ``map``: the mode of the posterior density of the parameters as named, covariance by curvature
* ``nuts``: the full posterior, started from the mode of the unconstrained density
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bayesglm.errors import Finding, InferenceError, Status, explain
from bayesglm.generative import Data, Structure, log_density, pointwise, reported
from bayesglm.inference import nuts
from bayesglm.inference.covariance import covariance, gauss_newton_at, hessian_at, invert
from bayesglm.inference.local import (
    LARGEST_HESSIAN,
    TRAINING,
    local_optima,
    starts,
)
from bayesglm.inference.newton import LIMIT, Optimum, least_squares, newton
from bayesglm.inference.optimize import optimize
from bayesglm.inference.result import Result
from bayesglm.inference.starting import refuse_impossible, start
from bayesglm.inference.training import Plan, train
from bayesglm.inference.verdicts import findings_of
from bayesglm.precision import scope

if TYPE_CHECKING:
    from bayesglm.inference.target import Target

__all__ = ["evaluate", "named_draws", "run"]

# Newton's last step moves eta by less than this at an optimum; under separation it goes on.
STILL = 1e-3
# Bytes that a block of draws may take.
MEMORY = 128 * 2**20
# Bytes of the Jacobian of eta, beyond which networks get no standard errors.
LARGEST_JACOBIAN = 512 * 2**20
# Steps of training before the sampler starts.
WARM_STEPS = 500
# Up to this many coefficients Newton checks that another optimiser's optimum exists.
CHECKED = 1_000


@partial(jax.jit, static_argnames=("structure",))
def _evaluate(structure: Structure, data: Data, flat: Array) -> tuple[dict[str, Array], Any, Any]:
    return (
        reported(structure, data, flat),
        jnp.sum(pointwise(structure, data, flat)),
        log_density(structure, data, flat, jacobian=False),
    )


def evaluate(target: Target, flat: np.ndarray) -> dict[str, Any]:
    """Return the reported parameters, log likelihood, loss and log posterior at a flat point.

    Returns
    -------
    dict
        ``theta`` (k,), ``sigma`` or None, ``loglik`` (with binomial coefficients), ``loss`` (mean,
        without them), ``log_posterior`` (of the parameters as named).
    """
    with scope(target.precision):
        data = jax.tree.map(jnp.asarray, target.data)
        point = jnp.asarray(flat, target.data.y.dtype)
        found, total, density = _evaluate(target.structure, data, point)
        values = {name: np.asarray(value, float) for name, value in found.items()}
        loglik = float(total)
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
        "loglik": loglik,
        "loss": loss,
        "log_posterior": float(density),
    }


def run(
    target: Target,
    method: str,
    options: Mapping[str, Any],
    *,
    seed: int = 0,
    weights_kind: str = "frequency",
    report: Callable[[int, int], None] | None = None,
) -> Result:
    """Run a method on a target.

    Parameters
    ----------
    target : Target
        The model on its data; with flat priors for ``"mle"``.
    method : {"mle", "map", "nuts"}
        What to compute.
    options : dict
        Options of the method, checked by `check_options`; ``cluster`` as integer codes.
    seed : int
        Fixes everything random.
    weights_kind : {"frequency", "sampling"}
        What a weight means for robust errors.
    report : callable, optional
        Called with steps done and divergences while sampling.

    Raises
    ------
    InferenceError
        Where no answer exists or none was found.
    """
    with scope(target.precision):
        placed = replace(target, data=jax.tree.map(jnp.asarray, target.data))
        return _run(placed, method, options, seed, weights_kind, report)


def _run(
    target: Target,
    method: str,
    options: Mapping[str, Any],
    seed: int,
    weights_kind: str,
    report: Callable[[int, int], None] | None,
) -> Result:
    if target.flat_priors:
        refuse_impossible(target)
    if method == "nuts":
        return _nuts(target, options, seed, report)
    members = None
    if target.networks or any(options.get(name) is not None for name in TRAINING):
        optimum, members = local_optima(target, options, seed=seed, report=report)
    else:
        optimum = _optimum(target, options, jacobian=False)
    _refuse_divergence(target, optimum)
    edge = target.at_edge(optimum.flat)
    if edge:
        optimum = replace(optimum, status=Status.BOUNDARY)
    numbers = evaluate(target, optimum.flat)
    if method == "mle":
        cov = _mle_covariance(target, optimum, numbers["sigma"], options, weights_kind)
    else:
        cov = _map_covariance(target, optimum)
    if optimum.status == Status.BOUNDARY:
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
        findings=findings_of(target, method, optimum, cov, edge),
        **numbers,
    )


def _optimum(target: Target, options: Mapping[str, Any], *, jacobian: bool) -> Optimum:
    init = options.get("init")
    optimizer = options.get("optimizer", "newton")
    gaussian = target.structure.family.has_sigma
    if gaussian and target.flat_priors and optimizer == "newton":
        return least_squares(target)
    begin = start(target) if init is None else target.locate(init)
    if gaussian:
        begin[-1] = least_squares(target).flat[-1]
    if optimizer != "newton":
        names = ("steps", "learning_rate", "memory", "tolerance")
        chosen = {name: options[name] for name in names if options.get(name) is not None}
        (found,) = optimize(target, begin[None], optimizer=optimizer, jacobian=jacobian, **chosen)
        checked = target.some_flat and target.linear and target.size <= CHECKED
        if checked and found.status != Status.DIVERGED:
            # A small gradient alone does not tell an optimum from a likelihood that rises for ever.
            found = replace(found, moved=newton(target, found.flat, jacobian=jacobian).moved)
        return found
    return newton(target, begin, jacobian=jacobian, steps=options.get("steps") or LIMIT)


def _refuse_divergence(target: Target, optimum: Optimum) -> None:
    """Refuse an optimum at infinity (separation), naming the columns that run away."""
    if not np.isfinite(optimum.flat[target.places]).all():
        raise InferenceError(
            explain(
                "the optimiser left the finite numbers",
                steps=optimum.steps,
                advice='lower learning_rate, or use optimizer="newton"',
            )
        )
    running = optimum.status in (Status.CONVERGED, Status.STEP_LIMIT, Status.DIVERGED)
    if target.some_flat and running and optimum.moved > STILL:
        sd = np.concatenate([np.ones(int(target.intercept)), target.sd])
        size = np.abs(optimum.flat[target.places]) * sd
        names = [n for n, s in zip(target.names, size, strict=True) if s > 0.1 * size.max()]
        raise InferenceError(
            explain(
                "the likelihood rises for ever (the outcome is separated by the predictors), so "
                f"no maximum-likelihood estimate exists; the coefficients that run away: "
                f"{', '.join(names)}",
                advice='use fit("map") or fit("nuts") with prior="weak", or leave them out',
            )
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
        cluster=options.get("cluster"),
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
            data = jax.tree.map(jnp.asarray, target.data)
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


def _nuts(
    target: Target,
    options: Mapping[str, Any],
    seed: int,
    report: Callable[[int, int], None] | None,
) -> Result:
    if target.networks:
        return _nuts_of_networks(target, options, seed, report)
    settings = nuts.Settings(**options)
    optimum = _optimum(target, {}, jacobian=True)
    _refuse_divergence(target, optimum)
    hessian = hessian_at(target, optimum.flat, information="observed", jacobian=True)
    findings: tuple[Finding, ...] = ()
    if not np.isfinite(invert(hessian)).all():
        # The sampler then starts from the diagonal and has to learn the rest.
        settings = replace(settings, warmup=max(settings.warmup, nuts.LONG_WARMUP))
        findings = (_flat_hessian(settings.warmup),)
    draws = nuts.sample(target, optimum.flat, hessian, settings=settings, seed=seed, report=report)
    center = draws.flat.mean(axis=(0, 1))
    return _sampled(target, draws, settings, center, optimum.flat, findings)


def _nuts_of_networks(
    target: Target,
    options: Mapping[str, Any],
    seed: int,
    report: Callable[[int, int], None] | None,
) -> Result:
    """Sample from a mode of its own for each chain, in units of the priors' scales."""
    settings = nuts.Settings(**({"warmup": nuts.LONG_WARMUP} | dict(options)))
    plan = Plan(steps=WARM_STEPS)
    trained = train(target, starts(target, settings.chains, seed), plan, jacobian=True, seed=seed)
    draws = nuts.sample(
        target,
        np.zeros(target.size),
        np.diag(1 / target.prior_scales**2),
        settings=settings,
        seed=seed,
        starts=trained.flat,
        report=report,
    )
    # The mean of weights that are not identified means nothing: the best draw stands for all.
    best = np.unravel_index(np.argmax(draws.stats["lp"]), draws.stats["lp"].shape)
    return _sampled(target, draws, settings, draws.flat[best], trained.flat[0], ())


def _sampled(
    target: Target,
    draws: nuts.Draws,
    settings: nuts.Settings,
    center: np.ndarray,
    begin: np.ndarray,
    findings: tuple[Finding, ...],
) -> Result:
    named = named_draws(target, draws.flat)
    parts = [named["Intercept"][..., None]] if target.intercept else []
    k = len(target.places)
    theta = np.concatenate([*parts, named["beta"]], axis=-1).reshape(draws.stats["lp"].size, k)
    numbers = evaluate(target, center) | {"theta": theta.mean(axis=0)}
    return Result(
        method="nuts",
        status=Status.SAMPLED,
        flat=begin,
        cov=np.cov(theta, rowvar=False).reshape(k, k) if k else np.empty((0, 0)),
        steps=settings.draws,
        draws=named,
        sample_stats=draws.stats,
        flat_draws=draws.flat,
        options=asdict(settings),
        findings=findings,
        **numbers,
    )


def _flat_hessian(warmup: int) -> Finding:
    return Finding(
        "hessian",
        "note",
        "The Hessian at the mode is not positive definite, so the sampler started from its "
        f"diagonal and warmed up for {warmup} draws.",
        value=warmup,
    )


def named_draws(target: Target, flat: np.ndarray) -> dict[str, np.ndarray]:
    """Return draws by the user's names from flat ones (c, s, size).

    Intercept, beta (c, s, p), sigma, and of each network its weights and its projection.
    """
    with scope(target.precision):
        data = jax.tree.map(jnp.asarray, target.data)
        points = jnp.asarray(flat, target.data.y.dtype)
        # A network's projection takes a pass over the rows for each draw.
        together = max(1, MEMORY // (8 * data.y.shape[0] * target.breadth))
        found = {
            name: np.asarray(value, float)
            for name, value in _named(target.structure, data, points, together).items()
        }
    wanted = ["Intercept", "beta", "sigma"]
    for predictor, _ in target.networks:
        wanted += [*(site.name for site in predictor.sites), predictor.projection]
    found = {name: found[name] for name in wanted if name in found}
    found["beta"] = found["beta"][..., : target.p]
    return found


@partial(jax.jit, static_argnames=("structure", "together"))
def _named(structure: Structure, data: Data, flat: Array, together: int) -> dict[str, Array]:
    chains, draws, size = flat.shape
    found = jax.lax.map(
        lambda f: reported(structure, data, f),
        flat.reshape(-1, size),
        batch_size=min(together, chains * draws),
    )
    return {name: v.reshape(chains, draws, *v.shape[1:]) for name, v in found.items()}

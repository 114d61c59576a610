"""The posterior: by NUTS, or by an approximation with its certificate (Laplace, a guide)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.errors import Finding, SpecificationError, Status, explain
from bayesglm.inference import laplace, nuts, variational
from bayesglm.inference.ahead import load
from bayesglm.inference.covariance import gauss_newton_at, gradient_at, hessian_at, invert
from bayesglm.inference.evaluation import eta_draws, evaluate, named_draws, relative_to
from bayesglm.inference.hierarchical import start_of
from bayesglm.inference.importance import Certificate
from bayesglm.inference.kernel import DENSE, precondition
from bayesglm.inference.local import LARGEST_HESSIAN, local_optima, starts
from bayesglm.inference.mode import find_mode, refuse_divergence
from bayesglm.inference.result import Result
from bayesglm.inference.training import Plan, train
from bayesglm.inference.verdicts import (
    certified,
    enough,
    instead_of_laplace,
    interrupted,
    last_layer,
    long_warmup,
    one_mode,
    still_rising,
)

if TYPE_CHECKING:
    from bayesglm.inference.checkpoint import Checkpoint
    from bayesglm.inference.newton import Optimum
    from bayesglm.inference.target import Target

    type Report = Callable[..., None] | None

__all__ = ["posterior"]

# Steps of training before the sampler starts, and Newton's after it for the last layers.
WARM_STEPS, POLISH = 500, 8
# Rows whose eta must converge where the parameters are not identified.
WATCHED = 50
# Where a guide of a large network starts, in scales of the priors.
NARROW = 0.1


def posterior(
    target: Target,
    method: str,
    options: Mapping[str, Any],
    seed: int,
    report: Report,
    checkpoint: Checkpoint | None = None,
) -> Result:
    """Sample, or approximate with a certificate; ``auto`` samples where that does not hold.

    Parameters
    ----------
    target : Target
        The model on its data.
    method : {"nuts", "laplace", "svi", "auto"}
    options : mapping
        Those of `nuts.Settings`; of ``laplace`` and ``svi`` only draws and chains, of ``svi``
        besides those of `variational.Settings`.
    seed : int
        Fixes the draws.
    report : callable or None
        Called with steps done and divergences.
    checkpoint : Checkpoint, optional
        Of ``nuts``: written while it samples; a state in it is where it goes on.

    Raises
    ------
    SpecificationError
        For the Laplace approximation of a network too large, or without a clear last layer; for a
        guide where the link's domain is bounded, or a full one of too many unknowns.
    InferenceError
        If the posterior is improper.
    """
    # R-hat, ESS and k-hat.
    load("arviz_stats.base")
    if method == "svi":
        return _svi(target, options, seed, report)
    if target.networks:
        if method == "laplace":
            return _laplace_of_networks(target, options, seed, report)
        return _nuts_of_networks(target, options, seed, report, checkpoint)
    if target.groups:
        return _posterior_of_groups(target, method, options, seed, report, checkpoint)
    optimum = find_mode(target, {}, jacobian=True)
    refuse_divergence(target, optimum)
    hessian = hessian_at(target, optimum.flat, information="observed", jacobian=True)
    target = relative_to(target, optimum.flat)
    if method == "nuts":
        return _nuts(target, optimum, hessian, options, seed, report, checkpoint)
    w = precondition(hessian)
    words = {name: options[name] for name in ("draws", "chains") if name in options}
    if isinstance(words.get("draws"), str):
        del words["draws"]
    approximation, certificate = _laplace(target, optimum.flat, w, words, seed, report)
    if method == "laplace" or certificate.holds:
        return approximation
    sampled = _nuts(target, optimum, hessian, options, seed, report)
    return replace(sampled, findings=(*sampled.findings, instead_of_laplace(certificate)))


def _laplace_of_networks(
    target: Target,
    options: Mapping[str, Any],
    seed: int,
    report: Report,
) -> Result:
    """Approximate the linear part and the last layers, given the hidden layers at their mode.

    References
    ----------
    Kristiadi, Hein & Hennig (2020), "Being Bayesian, even just a bit, fixes overconfidence in ReLU
    networks", ICML; Daxberger et al. (2021), "Laplace redux", NeurIPS.
    """
    if target.size > LARGEST_HESSIAN:
        raise SpecificationError(
            explain(
                "the network has too many weights for a Hessian",
                parameters=target.size,
                advice=f'use fit("map", ensemble=5); {LARGEST_HESSIAN} is the limit',
            )
        )
    last = [at for network, _ in target.networks for at in network.last_layer]
    sigma = [target.size - 1] if target.structure.family.has_sigma else []
    free = np.array([*target.places, *last, *sigma])
    optimum, _ = local_optima(target, {}, seed=seed, jacobian=True)
    flat = optimum.flat.copy()
    for _ in range(POLISH):
        # Given the hidden layers the density is that of a linear model: Newton ends in a few steps.
        hessian = gauss_newton_at(target, flat)[np.ix_(free, free)]
        flat[free] += np.linalg.solve(hessian, gradient_at(target, flat)[free])
    w = np.zeros((target.size, len(free)))
    w[free] = precondition(gauss_newton_at(target, flat)[np.ix_(free, free)])
    result, _ = _laplace(target, flat, w, options, seed, report)
    return replace(result, findings=(*result.findings, last_layer(target)))


def _laplace(
    target: Target,
    mode: np.ndarray,
    w: Any,
    options: Mapping[str, Any],
    seed: int,
    report: Report,
) -> tuple[Result, Certificate]:
    shape, settings = _shape(options)
    flat, density, certificate = laplace.approximate(
        target, mode, w, draws=shape[0] * shape[1], seed=seed, report=report
    )
    draws = nuts.Draws(flat.reshape(*shape, -1), {"lp": density.reshape(shape)})
    # The hidden layers of a network are the same in all draws, so that the mean is a network.
    center = flat.mean(axis=0)
    verdict = certified(certificate, "Laplace approximation", "laplace")
    begin = center if target.groups else mode
    result = _sampled(target, draws, settings, center, begin, (verdict,))
    words = {"draws": shape[1], "chains": shape[0]} | certificate.words
    result = replace(result, method="laplace", status=Status.APPROXIMATED, options=words)
    return result, certificate


def _svi(
    target: Target,
    options: Mapping[str, Any],
    seed: int,
    report: Report,
) -> Result:
    """Fit a guide from the mode, in units of the curvature there, and draw by it."""
    names = ("steps", "learning_rate", "particles")
    chosen = {name: options[name] for name in names if name in options}
    small = target.size <= variational.FULL and not target.networks
    guide = options.get("guide", "full" if small else "low_rank")
    settings = variational.Settings.make(guide, **chosen)
    _refuse_guide(target, settings.guide)
    if target.networks:
        optimum, _ = local_optima(target, {}, seed=seed, jacobian=True)
    else:
        optimum = find_mode(target, {}, jacobian=True)
        refuse_divergence(target, optimum)
    w, init = _units(target, optimum.flat, settings.guide)
    target = relative_to(target, optimum.flat)
    shape, sizes = _shape(options)
    guided = variational.approximate(
        target,
        optimum.flat,
        w,
        settings=settings,
        init=init,
        draws=shape[0] * shape[1],
        seed=seed,
        report=report,
    )
    draws = nuts.Draws(guided.flat.reshape(*shape, -1), {"lp": guided.log_density.reshape(shape)})
    findings = (
        certified(guided.certificate, f"{settings.guide} guide", "svi"),
        *([] if guided.converged else [still_rising(settings.steps, guided.rising)]),
        *([one_mode(target)] if target.networks else []),
    )
    center = guided.flat.mean(axis=0)
    result = _sampled(target, draws, sizes, center, optimum.flat, findings)
    words = asdict(settings) | {"draws": shape[1], "chains": shape[0]}
    words |= {"elbo": guided.elbo} | guided.certificate.words
    return replace(
        result,
        method="svi",
        status=Status.APPROXIMATED,
        steps=settings.steps,
        history=guided.history,
        options=words,
    )


def _shape(options: Mapping[str, Any]) -> tuple[tuple[int, int], nuts.Settings]:
    """Return chains and draws of independent draws, in the words of the sampler."""
    named = {name: options[name] for name in ("draws", "chains") if name in options}
    settings = nuts.Settings(**named)
    return (settings.chains, int(settings.draws)), settings


def _refuse_guide(target: Target, guide: str) -> None:
    link = target.structure.link
    if link.partial and not target.structure.family.has_sigma:
        raise SpecificationError(
            explain(
                "a Gaussian guide has draws outside the domain of this link, where its ELBO is "
                "minus infinity",
                link=link.label,
                advice='use fit("nuts"), or fit("laplace")',
            )
        )
    if guide == "full" and target.size > variational.LARGEST_FULL:
        raise SpecificationError(
            explain(
                "the full guide would have too many parameters",
                unknowns=target.size,
                advice='use guide="low_rank" or "mean_field"; the full one ends at '
                f"{variational.LARGEST_FULL} unknowns",
            )
        )


def _units(
    target: Target, mode: np.ndarray, guide: str
) -> tuple[np.ndarray, dict[str, np.ndarray] | None]:
    """Return the units of a guide, and the parameters it starts from where they are not 0 and 1."""
    if target.networks and target.size > LARGEST_HESSIAN:
        # Narrower than the priors, as nothing else is known of so many weights.
        return target.prior_scales * NARROW, None
    if target.networks:
        hessian = gauss_newton_at(target, mode)
    else:
        hessian = hessian_at(target, mode, information="observed", jacobian=True)
    if guide == "full":
        return precondition(hessian), None
    diagonal = np.diagonal(hessian)
    scale = 1 / np.sqrt(np.where(np.isfinite(diagonal) & (diagonal > 0), diagonal, 1.0))
    if guide == "mean_field" or not np.isfinite(hessian).all():
        return scale, None
    return scale, variational.leading(hessian * np.outer(scale, scale))


def _nuts(
    target: Target,
    optimum: Optimum,
    hessian: np.ndarray,
    options: Mapping[str, Any],
    seed: int,
    report: Report,
    checkpoint: Checkpoint | None = None,
) -> Result:
    draws = nuts.sample(
        target,
        optimum.flat,
        precondition(hessian, dense=target.size <= DENSE),
        settings=nuts.Settings(**options),
        seed=seed,
        watched=partial(_coefficients, target),
        report=report,
        checkpoint=checkpoint,
    )
    center = draws.flat.mean(axis=(0, 1))
    definite = bool(np.isfinite(invert(hessian)).all())
    findings = () if definite else (_flat_hessian(draws.warmup),)
    return _sampled(target, draws, nuts.Settings(**options), center, optimum.flat, findings)


def _coefficients(target: Target, flat: np.ndarray) -> np.ndarray:
    """Return the draws of what is reported, (chains, draws, k), from flat ones."""
    named = named_draws(target, flat)
    names = ("Intercept", "sigma", *target.structure.shape)
    head = [named[name][..., None] for name in names if name in named]
    return np.concatenate([*head, named["beta"]], axis=-1)


def _nuts_of_networks(
    target: Target,
    options: Mapping[str, Any],
    seed: int,
    report: Report,
    checkpoint: Checkpoint | None = None,
) -> Result:
    """Sample from a mode of its own for each chain, in units of the priors' scales."""
    settings = nuts.Settings(**({"warmup": nuts.LONG_WARMUP} | dict(options)))
    plan = Plan(steps=WARM_STEPS)
    trained = train(target, starts(target, settings.chains, seed), plan, jacobian=True, seed=seed)
    draws = nuts.sample(
        target,
        np.zeros(target.size),
        target.prior_scales,
        settings=settings,
        seed=seed,
        starts=trained.flat,
        watched=partial(eta_draws, target, rows=WATCHED),
        report=report,
        checkpoint=checkpoint,
    )
    # The mean of weights that are not identified means nothing: the best draw stands for all.
    best = np.unravel_index(np.argmax(draws.stats["lp"]), draws.stats["lp"].shape)
    return _sampled(target, draws, settings, draws.flat[best], trained.flat[0], ())


def _posterior_of_groups(
    target: Target,
    method: str,
    options: Mapping[str, Any],
    seed: int,
    report: Report,
    checkpoint: Checkpoint | None = None,
) -> Result:
    """Sample from around the top of the marginal density, effects in units of what is left unknown.

    The joint mode would not do: its density has spikes where standard deviations are small.
    """
    mode, w = start_of(target)
    rejected: tuple[Finding, ...] = ()
    if method != "nuts":
        words = {n: options[n] for n in ("draws", "chains") if isinstance(options.get(n), int)}
        approximation, certificate = _laplace(target, mode, w, words, seed, report)
        if method == "laplace" or certificate.holds:
            return approximation
        rejected = (instead_of_laplace(certificate),)
    settings = nuts.Settings(**options)
    draws = nuts.sample(
        target,
        mode,
        w,
        settings=settings,
        seed=seed,
        watched=partial(_varying, target),
        report=report,
        checkpoint=checkpoint,
    )
    center = draws.flat.mean(axis=(0, 1))
    return _sampled(target, draws, settings, center, center, rejected)


def _varying(target: Target, flat: np.ndarray) -> np.ndarray:
    """Return the draws of coefficients and of what says how effects vary, (chains, draws, k)."""
    named = named_draws(target, flat)
    head = [named[name][..., None] for name in ("Intercept",) if name in named]
    sds = [named[f"sd_{group.name}"] for group, _ in target.groups]
    return np.concatenate([*head, named["beta"], *sds], axis=-1)


def _sampled(
    target: Target,
    draws: nuts.Draws,
    settings: nuts.Settings,
    center: np.ndarray,
    begin: np.ndarray,
    findings: tuple[Finding, ...],
) -> Result:
    draws.stats["lp"] = draws.stats["lp"].astype(float) + target.left_out
    named = named_draws(target, draws.flat)
    parts = [named["Intercept"][..., None]] if target.intercept else []
    k = len(target.places)
    theta = np.concatenate([*parts, named["beta"]], axis=-1).reshape(draws.stats["lp"].size, k)
    numbers = evaluate(target, center) | {"theta": theta.mean(axis=0)}
    words = asdict(settings)
    if draws.warmup:
        words |= {"draws": draws.flat.shape[1], "warmup": draws.warmup}
    if draws.reached is None:
        words = {name: words[name] for name in words if name not in ("ess", "max_draws")}
    told = (long_warmup(draws, settings), enough(draws, settings), interrupted(draws, settings))
    return Result(
        method="nuts",
        status=Status.SAMPLED,
        flat=begin,
        cov=np.cov(theta, rowvar=False).reshape(k, k) if k else np.empty((0, 0)),
        steps=draws.flat.shape[1],
        draws=named,
        sample_stats=draws.stats,
        flat_draws=draws.flat,
        options=words,
        findings=(*findings, *(finding for finding in told if finding is not None)),
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

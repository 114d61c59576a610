"""What a reader must know of an optimum: not reached, on a boundary, local."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bayesglm.errors import Finding, Status

if TYPE_CHECKING:
    from bayesglm.inference.importance import Certificate
    from bayesglm.inference.newton import Optimum
    from bayesglm.inference.nuts import Draws, Settings
    from bayesglm.inference.target import Target

__all__ = [
    "certified",
    "enough",
    "findings_of",
    "instead_of_laplace",
    "interrupted",
    "last_layer",
    "long_warmup",
    "one_mode",
    "still_rising",
]


def findings_of(
    target: Target, method: str, optimum: Optimum, cov: np.ndarray, edge: tuple[str, ...]
) -> tuple[Finding, ...]:
    """Return what a reader must know of an optimum.

    Parameters
    ----------
    target : Target
        The model on its data.
    method : {"mle", "map"}
    optimum : Optimum
        Where the optimiser stopped.
    cov : ndarray, shape (k, k)
        Covariance of the reported coefficients.
    edge : tuple of str
        Coefficients on the edge of their prior's support.
    """
    found = []
    if optimum.stalled:
        found.append(
            Finding(
                "no-better-point",
                "warning",
                f"After {optimum.steps} steps no shorter step along Newton's direction was better. "
                "Where a prior has a kink, as Laplace's at 0, its mode may lie on the kink, and "
                "then the standard errors mean nothing.",
                value=optimum.gradient_norm,
                advice='Compare with fit("nuts").',
            )
        )
    elif optimum.status == Status.STEP_LIMIT:
        found.append(
            Finding(
                "step-limit",
                "warning",
                f"The optimiser stopped after {optimum.steps} steps before it converged "
                f"(largest gradient {optimum.gradient_norm:.2g}).",
                value=optimum.gradient_norm,
                advice="Raise steps=."
                if target.networks
                else 'Raise steps=, or use optimizer="newton".',
            )
        )
    if optimum.status == Status.DIVERGED:
        found.append(
            Finding(
                "diverged",
                "error",
                f"The optimiser diverged at step {optimum.steps}; the last finite parameters "
                "are kept.",
                advice="Lower learning_rate=."
                if target.networks
                else 'Lower learning_rate=, or use optimizer="newton".',
            )
        )
    if edge:
        found.append(
            Finding(
                "boundary",
                "warning",
                f"The mode lies on the edge of the prior's support for {', '.join(edge)}, so there "
                "are no standard errors.",
                where=edge[0],
                advice='Use fit("nuts"), or a prior that allows more.',
            )
        )
    elif optimum.status == Status.BOUNDARY and not target.structure.shape:
        found.append(
            Finding(
                "boundary",
                "warning",
                "The optimum lies where a fitted probability is 0 or 1, so there are no standard "
                "errors.",
                advice='Use link="logit", or a posterior by fit("nuts").',
            )
        )
    elif not np.isfinite(cov).all() and not target.networks:
        found.append(
            Finding(
                "no-covariance",
                "warning",
                "The information matrix is not positive definite, so there are no standard errors.",
                advice="Use a proper prior, or drop predictors.",
            )
        )
    return (*found, *_local(target, method, optimum))


def _local(target: Target, method: str, optimum: Optimum) -> tuple[Finding, ...]:
    found = []
    if optimum.status == Status.STOPPED_EARLY:
        found.append(
            Finding(
                "stopped-early",
                "note",
                f"Training stopped after {optimum.steps} steps, as the held-out rows were no longer "
                "predicted better; the parameters are the best on them.",
                value=optimum.steps,
            )
        )
    if target.networks and method == "mle":
        found.append(
            Finding(
                "local-optimum",
                "warning",
                "The likelihood of a network has many optima; this one is local and unpenalised, "
                "so that its probabilities may be too sure, and there are no standard errors.",
                advice='Use fit("map") with several starts=, or fit("nuts").',
            )
        )
    elif target.networks:
        found.append(
            Finding(
                "local-optimum",
                "note",
                "The posterior of a network has many modes; this one is local.",
                advice='Use starts=, ensemble=, or fit("nuts").',
            )
        )
    return tuple(found)


def certified(certificate: Certificate, what: str, code: str) -> Finding:
    """Return what the certificate of an approximation says.

    Parameters
    ----------
    certificate : Certificate
    what : str
        The approximation in words, as ``"Laplace approximation"``.
    code : str
        The method.
    """
    numbers = (
        f"Pareto k-hat {certificate.k_hat:.2f} (limit {certificate.threshold:.2f}), importance ESS "
        f"{certificate.ess:,.0f} of {certificate.proposals:,} proposals ({certificate.proposal})"
    )
    if certificate.holds:
        return Finding(
            code,
            "note",
            f"The {what} holds: {numbers}.",
            value=certificate.k_hat,
            threshold=certificate.threshold,
        )
    return Finding(
        code,
        "error",
        f"The {what} does not {_failing(certificate)}: {numbers}.",
        value=certificate.k_hat,
        threshold=certificate.threshold,
        advice='Use fit("nuts").',
    )


def _failing(certificate: Certificate) -> str:
    """Return what the approximation does not do."""
    if certificate.k_hat <= certificate.threshold:
        return "weigh its proposals evenly enough"
    return "reach the tails of the posterior"


def instead_of_laplace(certificate: Certificate) -> Finding:
    """Return why ``auto`` sampled."""
    return Finding(
        "auto",
        "note",
        f'Sampled by "nuts", since the Laplace approximation does not {_failing(certificate)}: '
        f"Pareto k-hat {certificate.k_hat:.2f} (limit {certificate.threshold:.2f}), importance ESS "
        f"{certificate.ess:,.0f}.",
        value=certificate.k_hat,
        threshold=certificate.threshold,
    )


def long_warmup(draws: Draws, settings: Settings) -> Finding | None:
    """Return that warm-up went on, where nobody had asked for its length."""
    usual = settings.kernel.warmup
    if settings.warmup is not None or draws.warmup <= usual:
        return None
    return Finding(
        "long-warmup",
        "note",
        f"The Hessian at the mode says little of this posterior: warm-up went on from {usual} to "
        f"{draws.warmup} steps a chain, in coordinates learned from the draws.",
        value=draws.warmup,
        threshold=usual,
    )


def enough(draws: Draws, settings: Settings) -> Finding | None:
    """Return what ended a run that was to go on until its draws were enough."""
    if draws.reached is None:
        return None
    r_hat, ess = draws.reached
    number = draws.flat.shape[1]
    numbers = f"R-hat at most {r_hat:.3f}, least ESS {ess:,.0f}"
    if number >= settings.max_draws and not (r_hat < 1.01 and ess >= settings.ess):
        return Finding(
            "draws-limit",
            "warning",
            f"Stopped at the limit of {number:,} draws a chain, before R-hat < 1.01 and ESS >= "
            f"{settings.ess:,}: {numbers}.",
            value=ess,
            threshold=settings.ess,
            advice="Raise max_draws=, or ask for less with ess=.",
        )
    return Finding(
        "draws-enough",
        "note",
        f"{number:,} draws a chain were enough: {numbers}.",
        value=ess,
        threshold=settings.ess,
    )


def interrupted(draws: Draws, settings: Settings) -> Finding | None:
    """Return that a run was stopped before its end."""
    if not draws.interrupted:
        return None
    number = draws.flat.shape[1]
    wanted = "" if isinstance(settings.draws, str) else f" of {settings.draws:,}"
    return Finding(
        "interrupted",
        "warning",
        f"Interrupted after {number:,}{wanted} draws a chain: these are kept.",
        value=number,
        advice="Fit again for all of them.",
    )


def still_rising(steps: int, rising: float) -> Finding:
    """Return that a guide has not converged."""
    return Finding(
        "step-limit",
        "warning",
        f"After {steps:,} steps the ELBO was still rising: about {rising:.2g} nats are missing.",
        value=rising,
        advice="Raise steps=.",
    )


def one_mode(target: Target) -> Finding:
    """Return what a guide of networks leaves out."""
    names = ", ".join(network.name for network, _ in target.networks)
    return Finding(
        "one-mode",
        "warning",
        f"The posterior of {names} has many modes; the guide, and its certificate, are of one.",
        advice='Use fit("nuts") where the data allow.',
    )


def last_layer(target: Target) -> Finding:
    """Return what the Laplace approximation of networks leaves out."""
    names = ", ".join(network.name for network, _ in target.networks)
    return Finding(
        "last-layer",
        "warning",
        f"The hidden layers of {names} stay at one of their modes: the draws, and the certificate, "
        "are of the linear part and the last layer given these, so p may be too sure.",
        advice='Use fit("nuts") where the data allow.',
    )

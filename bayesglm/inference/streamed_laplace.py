"""The Laplace approximation over row blocks: all proposals are weighed in one pass.

Each block adds its log likelihood at every proposal. With so many rows the weights are nearly equal,
so that few more proposals than draws are needed: those of a quarter more are weighed, and more only
where some proposal would count for more than one draw. See `laplace` for the certificate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.errors import Status
from bayesglm.inference.evaluation import named_draws
from bayesglm.inference.importance import MOST, Weighed, resample, smooth
from bayesglm.inference.kernel import precondition
from bayesglm.inference.result import Result
from bayesglm.inference.streamed import coefficients, log_prior_at
from bayesglm.inference.verdicts import certified

if TYPE_CHECKING:
    from bayesglm.inference.passes import Passes

__all__ = ["approximate"]

# Draws of a chain, chains; proposals for each draw.
DRAWS, CHAINS, FACTOR = 1_000, 4, 1.25


def approximate(
    passes: Passes,
    mode: np.ndarray,
    hessian: np.ndarray,
    options: Mapping[str, Any],
    seed: int,
) -> Result:
    """Draw around the mode, and weigh the draws by the exact density.

    Parameters
    ----------
    passes : Passes
    mode : ndarray, shape (size,)
        Of the unconstrained density.
    hessian : ndarray, shape (size, size)
        Minus its Hessian there.
    options : mapping
        ``draws`` and ``chains``.
    seed : int
    """
    target = passes.target
    chains, each = int(options.get("chains", CHAINS)), int(options.get("draws", DRAWS))
    draws = chains * each
    w = precondition(hessian)
    found, tried = None, 0
    generator = np.random.default_rng(seed)
    flats, logs, ratios = [], [], []
    wanted = int(np.ceil(FACTOR * draws))
    while found is None or (found.lost(draws) > 0 and tried < MOST * draws):
        if found is not None:
            heaviest = float(np.exp(found.log_weights.max())) * draws
            wanted = int(min(np.ceil(FACTOR * heaviest * tried), MOST * draws)) - tried
        z = generator.standard_normal((max(wanted, draws), len(mode)))
        flat = mode + z @ w.T
        likelihood = passes.values(coefficients(target, flat), "weighing proposals")
        density = likelihood + log_prior_at(target, flat, jacobian=True)
        density = np.where(np.isnan(density), -np.inf, density)
        flats.append(flat)
        logs.append(density)
        ratios.append(density + 0.5 * np.sum(z**2, axis=1))
        tried += len(z)
        found = Weighed(
            np.concatenate(flats), np.concatenate(logs), *smooth(np.concatenate(ratios))
        )
    flat, density, certificate = resample(found, draws, seed=seed, proposal="normal")
    shape = (chains, each)
    named = named_draws(target, flat.reshape(*shape, -1))
    head = [named["Intercept"][..., None]] if target.intercept else []
    theta = np.concatenate([*head, named["beta"]], axis=-1).reshape(draws, -1)
    center = flat.mean(axis=0)
    value = float(passes.values(coefficients(target, center[None]), "log likelihood")[0])
    loglik = value + target.log_coefficient
    k = theta.shape[1]
    return Result(
        method="laplace",
        status=Status.APPROXIMATED,
        theta=theta.mean(axis=0),
        flat=mode,
        cov=np.cov(theta, rowvar=False).reshape(k, k),
        loglik=loglik,
        loss=-value / target.effective,
        log_posterior=loglik + float(log_prior_at(target, center[None], jacobian=False)[0]),
        steps=each,
        draws=named,
        sample_stats={"lp": density.reshape(shape) + target.left_out},
        flat_draws=flat.reshape(*shape, -1),
        options={"draws": each, "chains": chains} | certificate.words,
        findings=(certified(certificate, "Laplace approximation", "laplace"),),
    )

"""Laplace's approximation of many fits, each with a certificate: importance weights of one sample.

The proposals mode + L z, L L' the inverse Hessian, use the same z in every fit, made so that their
mean is 0 and their covariance 1 exactly, and symmetric: where the posterior is Gaussian nothing is
left to chance, and what the weights add is how it differs. They correct mean and covariance; Pareto
k-hat says whether they may (see `importance`). Where it says no, a Student t takes their place.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
import numpy as np

from bayesglm.inference.batched import weigh_batch
from bayesglm.inference.importance import KHAT, smooth
from bayesglm.inference.segmented import in_blocks
from bayesglm.precision import scope

if TYPE_CHECKING:
    from bayesglm.inference.batched import Found
    from bayesglm.inference.segmented import Layout
    from bayesglm.segments import Block

__all__ = ["PROPOSALS", "THRESHOLD", "Weighed", "proposals", "weigh"]

PROPOSALS = 600
# Degrees of freedom of the heavy-tailed proposals.
DF = 4.0
THRESHOLD = min(1 - 1 / float(np.log10(PROPOSALS)), KHAT)


class Weighed(NamedTuple):
    """Posterior means (s, k) and covariances (s, k, k), as reported, and k-hat (s,)."""

    theta: np.ndarray
    cov: np.ndarray
    k_hat: np.ndarray


def proposals(k: int, seed: int, *, heavy: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return symmetric standardised proposals (N, k) and their log density (N,) up to a constant.

    Normal ones have mean 0 and covariance 1 exactly; heavy ones follow a multivariate t.

    Examples
    --------
    >>> z, _ = proposals(3, seed=0)
    >>> bool(np.allclose(z.T @ z / len(z), np.eye(3))), abs(float(z.sum())) < 1e-9
    (True, True)
    """
    generator = np.random.default_rng(seed)
    half = generator.normal(size=(max(PROPOSALS // 2, 2 * k), k))
    if heavy:
        half = half * np.sqrt(DF / generator.chisquare(DF, size=len(half)))[:, None]
        log_q = -0.5 * (DF + k) * np.log1p((half**2).sum(axis=1) / DF)
    else:
        root = np.linalg.cholesky(half.T @ half / len(half))
        half = np.linalg.solve(root, half.T).T
        log_q = -0.5 * (half**2).sum(axis=1)
    return np.concatenate([half, -half]), np.concatenate([log_q, log_q])


def weigh(
    layout: Layout,
    found: Found,
    seed: int,
    report: Callable[[int], None] | None = None,
) -> Weighed:
    """Weigh proposals around the modes that were found.

    Parameters
    ----------
    layout : Layout
    found : Found
        Of its members; who has not arrived is left as it is, without k-hat.
    seed : int
    report : callable, optional
        Told how many segments are done.
    """
    plan, total, k = layout.plan, len(layout.effective), found.flat.shape[1]
    intercept = layout.design.intercept

    def work(z: np.ndarray, log_q: np.ndarray, block: Block) -> tuple[np.ndarray, ...]:
        half = np.linalg.cholesky(found.flat_cov[block.members])
        with scope("float64"):
            log_weights = np.asarray(
                weigh_batch(
                    plan.structure,
                    layout.batch(block, found.flat),
                    plan.prior,
                    jnp.asarray(block.filled(found.flat)),
                    jnp.asarray(np.concatenate([half, half[:1].repeat(block.missing, axis=0)])),
                    jnp.asarray(z),
                    jnp.asarray(log_q),
                    intercept=intercept,
                )
            )
        smoothed = [smooth(np.nan_to_num(row, nan=-np.inf)) for row in log_weights[: len(half)]]
        weights = np.exp([row for row, _ in smoothed])
        mean = weights @ z
        square = np.einsum("sn,ni,nj->sij", weights, z, z) - mean[:, :, None] * mean[:, None, :]
        moved = np.einsum("sij,sj->si", half, mean)
        return moved, half @ square @ np.swapaxes(half, 1, 2), np.array([k for _, k in smoothed])

    positive = np.linalg.eigvalsh(np.nan_to_num(found.flat_cov)).min(axis=1) > 0
    fine = found.ended & positive
    members = layout.members[fine[layout.members]]
    if not members.size:
        return Weighed(found.theta, found.cov, np.full(total, np.nan))
    normal = partial(work, *proposals(k, seed))
    parts = in_blocks(normal, layout.blocks(members), total, report)
    doubted = members[~(parts[2][members] <= THRESHOLD)]
    if doubted.size:
        again = partial(work, *proposals(k, seed, heavy=True))
        others = in_blocks(again, layout.blocks(doubted), total)
        better = doubted[others[2][doubted] < parts[2][doubted]]
        for old, new in zip(parts, others, strict=True):
            old[better] = new[better]
    moved, spread, k_hat = parts
    jacobian = np.eye(k)
    if intercept and plan.center is not None:
        jacobian[0, 1:] = -plan.center
    theta, cov = found.theta.copy(), found.cov.copy()
    theta[members] += moved[members] @ jacobian.T
    cov[members] = jacobian @ spread[members] @ jacobian.T
    return Weighed(theta, cov, k_hat)

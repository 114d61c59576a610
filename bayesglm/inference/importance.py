"""Importance weights: how good they are, and draws by them.

Proposals of any approximation are weighted by the exact density over their own. The Pareto shape
k-hat of the largest weights says whether the proposals reach the tails of the posterior, and
importance resampling without replacement turns them into draws of it.

References
----------
Vehtari, Simpson, Gelman, Yao & Gabry (2024), "Pareto smoothed importance sampling", JMLR 25.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "FACTOR",
    "KHAT",
    "LOST",
    "MOST",
    "Certificate",
    "Weighed",
    "factor",
    "resample",
    "smooth",
    "without_replacement",
]

# Above this k-hat importance weights do not help (Vehtari et al. 2024, section 3.2).
KHAT = 0.7
# Proposals for each draw, and how many at most when the weights are uneven.
FACTOR, MOST = 5, 40
# Lost share of the weights that moves a mean by less than its Monte Carlo error.
LOST = 0.002


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


class Weighed(NamedTuple):
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


def without_replacement(
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


def smooth(log_weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Return Pareto-smoothed log weights that sum to 1, and k-hat."""
    from arviz_stats.base import array_stats

    finite = np.isfinite(log_weights)
    lowest = log_weights[finite].min() if finite.any() else 0.0
    # It takes log likelihoods, whose negatives are the log weights of leave-one-out.
    filled = np.where(finite, log_weights, lowest - 50.0)
    try:
        smoothed, k_hat = array_stats.psislw(-filled)
    except ValueError:
        # A tail of equal weights has no shape: nothing is certified.
        return filled - np.logaddexp.reduce(filled), np.inf
    return np.asarray(smoothed, float), float(k_hat)


def factor(found: Weighed, draws: int) -> int:
    """Return how many proposals a draw needs, so that none has more than the weight of one draw.

    Within reason: at least FACTOR, at most MOST.
    """
    heaviest = float(np.exp(found.log_weights.max())) * draws
    return int(np.clip(np.ceil(FACTOR * heaviest), FACTOR, MOST))


def resample(
    found: Weighed, draws: int, *, seed: int, proposal: str
) -> tuple[np.ndarray, np.ndarray, Certificate]:
    """Turn weighed proposals into independent draws, and say how good they are.

    Parameters
    ----------
    found : Weighed
        At least FACTOR times as many proposals as draws.
    draws : int
        Draws wanted.
    seed : int
        Fixes which are taken.
    proposal : str
        What the proposals follow, for the certificate.

    Returns
    -------
    flat : ndarray, shape (draws, size)
    log_density : ndarray, shape (draws,)
    certificate : Certificate
    """
    generator = np.random.default_rng(seed)
    chosen = without_replacement(np.exp(found.log_weights), draws, generator)
    threshold = min(1 - 1 / np.log10(len(found.flat)), KHAT)
    certificate = Certificate(
        found.k_hat, threshold, found.ess, found.lost(draws), len(found.flat), proposal
    )
    return found.flat[chosen], found.log_density[chosen], certificate

"""Are ranks uniform? A chi-square test and simultaneous bands of the empirical distribution.

With the right posterior the rank r of the truth among L draws is uniform on 0, 1, ..., L, so the
number of n ranks below j is binomial, n trials with probability j / (L + 1).

References
----------
Säilynoja, Bürkner & Vehtari (2022), "Graphical test for discrete uniformity and its applications in
goodness-of-fit evaluation and multiple sample comparison", Statistics and Computing 32.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["uniformity"]

# Bins of the chi-square test, and ranks expected in each at least.
BINS, EXPECTED = 20, 10
# Points at which the distribution is looked at, at most.
POINTS = 100
# Simulations behind the bands: so many beyond the quantile that is wanted, within limits.
BEYOND, FEWEST, MOST = 40, 2_000, 100_000


def uniformity(ranks: pd.DataFrame, draws: int, *, level: float = 0.99) -> pd.DataFrame:
    """Hold ranks against the uniform distribution on 0, 1, ..., ``draws``.

    Parameters
    ----------
    ranks : DataFrame, shape (n, k)
        Whole numbers, one column for each quantity.
    draws : int
        L, the draws that each was ranked among.
    level : float
        Probability that the right ranks of all k quantities stay within their bands (Bonferroni).

    Returns
    -------
    DataFrame
        One row for each quantity. ``chi2`` and ``p_value`` of the binned ranks; ``centre``, the mean
        of (r + 1/2) / (L + 1), 1/2 if right; ``spread``, its variance over that of uniform ranks, 1
        if right; ``deviation``, of the empirical distribution from the uniform one (probability)
        where it is largest against its band; ``limit``, the band there; and ``inside``.

    Examples
    --------
    >>> import pandas as pd
    >>> good = np.arange(400) % 100
    >>> table = uniformity(pd.DataFrame({"right": good, "shifted": good // 2}), 99)
    >>> table["inside"].to_dict()
    {'right': True, 'shifted': False}
    """
    import pandas as pd

    each = 1 - (1 - level) / max(ranks.shape[1], 1)
    rows = [_row(ranks.iloc[:, j].to_numpy(), draws, each) for j in range(ranks.shape[1])]
    return pd.DataFrame(rows, index=pd.Index(ranks.columns, name="quantity"))


def _row(ranks: np.ndarray, draws: int, level: float) -> dict[str, float | bool]:
    from scipy.stats import chisquare

    n, outcomes = len(ranks), draws + 1
    bins = int(np.clip(n // EXPECTED, 2, min(BINS, outcomes)))
    counts = np.bincount(ranks * bins // outcomes, minlength=bins)
    share = np.bincount(np.arange(outcomes) * bins // outcomes, minlength=bins) / outcomes
    test = chisquare(counts, n * share)
    values = (ranks + 0.5) / outcomes
    points, lower, upper = _bands(n, draws, level)
    reached = np.searchsorted(np.sort(values), points) / n
    # Above the band in units of its height on that side, or below it.
    off = reached - points
    limit = np.where(off > 0, upper - points, points - lower)
    worst = int(np.argmax(np.abs(off) / np.maximum(limit, 1 / n)))
    return {
        "chi2": float(test.statistic),
        "p_value": float(test.pvalue),
        "centre": float(values.mean()),
        "spread": float(np.mean((values - 0.5) ** 2) * 12 / (1 - 1 / outcomes**2)),
        "deviation": float(off[worst]),
        "limit": float(limit[worst]),
        "inside": bool(((lower <= reached) & (reached <= upper)).all()),
    }


@lru_cache(maxsize=64)
def _bands(n: int, draws: int, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points j / (L + 1), and the simultaneous band of the distribution of n ranks there.

    Uniform numbers have as many values below such a point as uniform ranks have.
    """
    from arviz_stats import ecdf_utils

    # At least 10 ranks are expected below the first point: ArviZ leaves out the upper tail of a
    # simulation that has none there, and the band would be too narrow.
    number = int(np.clip(n // EXPECTED, 2, min(POINTS, draws + 1)))
    points = np.unique(np.round(np.arange(1, number) * (draws + 1) / number)) / (draws + 1)
    simulations = int(np.clip(np.ceil(BEYOND / (1 - level)), FEWEST, MOST))
    generator = np.random.default_rng(0)
    pointwise = ecdf_utils.simulate_confidence_bands(n, 1, points, level, simulations, generator)
    lower, upper = ecdf_utils.get_pointwise_confidence_band(pointwise, n, points)
    return points, lower, upper

"""From a probability back to eta: the inverse of every F, in NumPy and double precision.

Each closed form keeps its digits where p is small and, as far as 1 - p can be told from p itself,
where p is close to 1. A link without a closed form is searched by bisection.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bayesglm.errors import SpecificationError, explain

__all__ = [
    "cauchit",
    "cloglog",
    "ends",
    "identity",
    "logit",
    "loglog",
    "probit",
    "root",
    "student_t",
]

type Numbers = np.ndarray
FARTHEST = 1e300


def logit(p: Numbers) -> Numbers:
    """Return log(p / (1 - p)); near 1/2 by arctanh, where the logarithms cancel."""
    near = np.abs(p - 0.5) < 0.25
    return np.where(near, 2 * np.arctanh(np.where(near, 2 * p - 1, 0)), np.log(p) - np.log1p(-p))


def probit(p: Numbers) -> Numbers:
    """Return the standard normal's quantile."""
    from scipy.special import ndtri

    return np.asarray(ndtri(p))


def cloglog(p: Numbers) -> Numbers:
    """Return log(-log(1 - p))."""
    return np.asarray(np.log(-np.log1p(-p)))


def loglog(p: Numbers) -> Numbers:
    """Return -log(-log p)."""
    return np.asarray(-np.log(-np.log(p)))


def cauchit(p: Numbers) -> Numbers:
    """Return tan(pi (p - 1/2)); outside the quartiles by the angle left to the end."""
    tail = np.minimum(p, 1 - p)
    outer = tail < 0.25
    far = np.sign(p - 0.5) / np.tan(np.pi * np.where(outer, tail, 0.25))
    return np.where(outer, far, np.tan(np.pi * np.where(outer, 0, p - 0.5)))


def identity(p: Numbers) -> Numbers:
    """Return p."""
    return p


def student_t(df: float, p: Numbers) -> Numbers:
    """Return the quantile of Student's t."""
    from scipy.special import stdtrit

    return np.where(p == 0, -np.inf, np.where(p == 1, np.inf, stdtrit(df, p)))


def root(
    log_odds: Callable[[Numbers], Numbers], p: Numbers, domain: tuple[float, float], name: str
) -> Numbers:
    """Return the eta at which an increasing F equals p, by bisection.

    Parameters
    ----------
    log_odds : callable
        log F(eta) - log(1 - F(eta)), elementwise.
    p : ndarray
        Probabilities.
    domain : tuple of float
        Smallest and largest eta.
    name : str
        The link's, for the error.

    Raises
    ------
    SpecificationError
        If F does not reach a probability.
    """
    target = np.log(p) - np.log1p(-p)
    lowest, highest = domain
    start = min(max(0.0, lowest), highest)
    lower, upper = np.full(p.shape, start), np.full(p.shape, start)
    step = 1.0
    while step < FARTHEST:
        short, long = log_odds(upper) < target, log_odds(lower) > target
        if not (short | long).any():
            break
        if (short & (upper >= highest)).any() or (long & (lower <= lowest)).any():
            break
        # A bracket moves on: what was too low becomes its other end.
        lower, upper = (
            np.where(short, upper, np.where(long, np.maximum(lower - step, lowest), lower)),
            np.where(long, lower, np.where(short, np.minimum(upper + step, highest), upper)),
        )
        step *= 2
    inner = (p > 0) & (p < 1)
    if (inner & ~((log_odds(lower) <= target) & (log_odds(upper) >= target))).any():
        raise SpecificationError(
            explain(
                "the link does not reach this probability at any eta",
                link=name,
                p=p[inner].tolist(),
                advice="check that its functions grow from 0 to 1",
            )
        )
    for _ in range(2000):
        middle = lower + (upper - lower) / 2
        if ((middle == lower) | (middle == upper)).all():
            break
        low = log_odds(middle) < target
        lower, upper = np.where(low, middle, lower), np.where(low, upper, middle)
    return np.where(p == 0, lowest, np.where(p == 1, highest, lower + (upper - lower) / 2))


def ends(
    inverse: Callable[[Numbers], Numbers], half: float, domain: tuple[float, float]
) -> tuple[float, float]:
    """Return the eta nearest to ``half`` below which F is 0 and above which it is 1."""

    def last(finished: Callable[[float], bool], side: float, end: float) -> float:
        step = 1.0
        while step < FARTHEST and not finished(half + side * step):
            if abs(end - half) <= step:
                return end
            step *= 2
        inside, outside = 0.0, step
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (
                (inside, middle) if finished(half + side * middle) else (middle, outside)
            )
        return half + side * outside

    lower = last(lambda eta: bool(inverse(np.asarray(eta)) <= 0), -1.0, domain[0])
    upper = last(lambda eta: bool(inverse(np.asarray(eta)) >= 1), 1.0, domain[1])
    return lower, upper

"""Profile-likelihood limits: {b : 2 (l_max - l(b)) <= the chi-squared quantile}.

l(b) is the largest (penalised) log likelihood with one reported coefficient held at b and all others
free. Its signed root sqrt(2 (l_max - l(b))) is nearly linear in b, and its slope follows from the
multiplier of the constraint, so that a limit is found by Newton's method on that root, within a
bracket once there is one; each point starts where the tangent of the profile leads.

References
----------
Cox & Hinkley (1974), *Theoretical Statistics*, section 9.3; Venzon & Moolgavkar (1988), Applied
Statistics 37; Heinze & Schemper (2002), Statistics in Medicine 21 (the penalised likelihood).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bayesglm.errors import Finding, InferenceError
from bayesglm.inference.ascent import Reduction, Top, ascend
from bayesglm.precision import scope

if TYPE_CHECKING:
    from bayesglm.inference.target import Target

__all__ = ["profile_limits"]

# Relative distance of the root from its goal.
CLOSE = 1e-9
TRIES = 100
# A step outwards takes at most so many times the way there; beyond FAR standard errors a profile
# that is still below its goal counts as one without a limit.
OUTWARDS = 8.0
FAR = 1e8
# A profile may exceed the maximum by rounding only.
EXCESS = 1e-6


@dataclass(frozen=True)
class _Point:
    """A point of one side of a profile: distance from the estimate, signed root, its slope."""

    distance: float
    root: float
    slope: float
    top: Top


def profile_limits(
    target: Target,
    flat: np.ndarray,
    errors: np.ndarray,
    *,
    level: float,
    reduction: Reduction | None,
) -> tuple[np.ndarray, tuple[Finding, ...]]:
    """Return profile-likelihood limits of the reported coefficients.

    Parameters
    ----------
    target : Target
        A linear one in double precision, with flat priors and a link without bounds.
    flat : ndarray, shape (size,)
        The estimate.
    errors : ndarray, shape (k,)
        Standard errors, the scale of the search.
    level : float
        Coverage.
    reduction : {"jeffreys", "firth"} or None
        Which penalty the estimate has; ``"firth"`` under the logit link only, where it has one.

    Returns
    -------
    limits : ndarray, shape (k, 2)
        Lower and upper; infinite where the profile stays above its limit, NaN where none was found.
    findings : tuple of Finding
    """
    from scipy.special import ndtri

    goal = float(ndtri(0.5 + level / 2))
    penalty: Reduction | None = None if reduction is None else "jeffreys"
    limits = np.full((len(target.names), 2), np.nan)
    infinite, lost = [], {}
    with scope(target.precision):
        target = target.placed()
        best = ascend(target, flat, reduction=penalty)
        rows = target.to_reported()
        shift = np.zeros(len(rows))
        shift[0] = -target.offset_center if target.intercept else 0.0
        for j, held in enumerate(rows):
            estimate = float(held @ best.flat + shift[j])
            for side, sign in enumerate((-1.0, 1.0)):
                try:
                    distance = _distance(target, best, held, sign, float(errors[j]), goal, penalty)
                except InferenceError as error:
                    lost[target.names[j]] = str(error)
                    continue
                limits[j, side] = estimate + sign * distance
                if np.isinf(distance):
                    infinite.append(target.names[j])
    return limits, _findings(level, infinite, lost)


def _distance(
    target: Target,
    best: Top,
    held: np.ndarray,
    sign: float,
    error: float,
    goal: float,
    penalty: Reduction | None,
) -> float:
    """Return how far a limit is from the estimate on one side.

    Raises
    ------
    InferenceError
        If none was found; why is said in the finding.
    """
    if not (best.converged and np.isfinite(error) and error > 0):
        raise InferenceError("the estimate is no maximum")

    def at(distance: float, base: _Point) -> _Point | None:
        start = base.top.flat + sign * (distance - base.distance) * base.top.tangent
        top = ascend(target, start, reduction=penalty, held=held)
        fall = 2 * (best.value - top.value)
        if fall < -EXCESS * max(1.0, abs(best.value) * 1e-6):
            raise InferenceError("the profile rises above the maximum, which is a local one")
        if not (top.converged and np.isfinite(fall)):
            return None
        root = float(np.sqrt(max(fall, 0.0)))
        slope = -sign * top.multiplier / root if root > 0 else 0.0
        return _Point(distance, root, slope, top)

    low, high = _Point(0.0, 0.0, 1 / error, _with_tangent(target, best, held, penalty)), None
    distance = goal * error
    for _ in range(TRIES):
        found = at(distance, low)
        if found is None:
            # Too far for the start: nearer to what is known.
            distance = (low.distance + distance) / 2
            if distance - low.distance < 1e-6 * error:
                break
            continue
        if abs(found.root - goal) <= CLOSE * goal:
            return found.distance
        if found.root < goal:
            low = found
        else:
            high = found
        if high is None and found.distance > FAR * error:
            return float("inf")
        distance = _next(low, high, found, goal)
        if high is not None and high.distance - low.distance <= 1e-13 * high.distance:
            return distance
    raise InferenceError("the search did not converge")


def _next(low: _Point, high: _Point | None, found: _Point, goal: float) -> float:
    """Return where to look next: Newton's point on the root, kept outside of or in the bracket."""
    newton = found.distance + (goal - found.root) / found.slope if found.slope > 0 else np.inf
    if high is None:
        return float(np.clip(newton, 1.01 * found.distance, OUTWARDS * found.distance))
    if low.distance < newton < high.distance:
        return float(newton)
    share = (goal - low.root) / (high.root - low.root)
    return low.distance + float(np.clip(share, 0.1, 0.9)) * (high.distance - low.distance)


def _with_tangent(target: Target, best: Top, held: np.ndarray, penalty: Reduction | None) -> Top:
    """Return the maximum with the tangent of the profile of one coefficient."""
    return ascend(target, best.flat, reduction=penalty, held=held)


def _findings(level: float, infinite: list[str], lost: dict[str, str]) -> tuple[Finding, ...]:
    found = []
    if infinite:
        names = list(dict.fromkeys(infinite))
        found.append(
            Finding(
                "profile-infinite",
                "warning",
                f"The profile likelihood of {', '.join(names)} stays within the {level:.4g} interval "
                f"for more than {FAR:.0e} standard errors: that limit is given as infinite.",
                where=names[0],
                advice='Use bias_reduction="jeffreys", or a prior.',
            )
        )
    for name, why in lost.items():
        found.append(
            Finding(
                "profile-not-found",
                "warning",
                f"A profile-likelihood limit of {name} was not found: {why}.",
                where=name,
                advice='Use ci="wald".',
            )
        )
    return tuple(found)

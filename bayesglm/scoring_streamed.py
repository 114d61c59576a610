"""What scores need of rows that stay on disk: sums that are exact, and counts by narrow bins of p.

Ranks and calibration curves need all p at once. They are taken from counts of events and non-events
in bins of logit p that are 60 / 2**18 wide: p within a bin differs by less than 6e-5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.newdata import NewRows
from bayesglm.precision import in_double
from bayesglm.predicting import eta, points_of, response

if TYPE_CHECKING:
    from bayesglm.fit import Fit

__all__ = ["Binned", "binned"]

BINS, FEWER, REACH = 2**18, 2**15, 30.0
# Draws worked off together.
DRAWS = 64
# Edges of the bins of the expected calibration error.
TENTHS = 10


@dataclass(frozen=True)
class Binned:
    """Counts by bin of p, and exact sums.

    Attributes
    ----------
    p : ndarray, shape (m,)
        Mean p of each bin that is not empty.
    events, others : ndarray, shape (m,)
        Weighted events and non-events.
    rows : ndarray, shape (m,)
        Rows.
    exact : dict of str to float
        Scores that are sums over rows.
    drawn : list of Binned
        The same by posterior draw, in wider bins.
    """

    p: np.ndarray
    events: np.ndarray
    others: np.ndarray
    rows: np.ndarray
    exact: dict[str, float]
    drawn: tuple[Binned, ...] = ()

    def resampled(self, number: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield events and non-events of bootstrap samples of the rows.

        Rows of a bin are drawn with the shares of events that the bin has.
        """
        generator = np.random.default_rng(seed)
        # Rows of events and of non-events are cells of their own.
        mass = self.events + self.others
        split = np.round(self.rows * self.events / mass)
        cells = np.concatenate([split, self.rows - split])
        events = np.divide(self.events, split, out=np.zeros_like(mass), where=split > 0)
        left = self.rows - split
        others = np.divide(self.others, left, out=np.zeros_like(mass), where=left > 0)
        m, n = len(mass), int(cells.sum())
        for _ in range(number):
            some = generator.multinomial(n, cells / cells.sum())
            yield some[:m] * events, some[m:] * others


class _Sums:
    """Counts by bin, while blocks come in."""

    def __init__(self, bins: int, threshold: float) -> None:
        self.bins, self.threshold = bins, threshold
        self.events, self.others = np.zeros(bins), np.zeros(bins)
        self.rows, self.p = np.zeros(bins), np.zeros(bins)
        self.log_score = self.brier = self.right = self.outside = 0.0
        self.tenths = np.zeros((3, TENTHS))
        self.means = np.zeros(2)

    def add(self, p: np.ndarray, events: np.ndarray, others: np.ndarray) -> None:
        from scipy.special import xlogy

        mass = events + others
        inside = np.clip(p, 0.0, 1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            logit = np.log(inside) - np.log1p(-inside)
            self.log_score += float((xlogy(events, inside) + xlogy(others, 1 - inside)).sum())
        place = np.clip((logit + REACH) / (2 * REACH) * self.bins, 0, self.bins - 1)
        place = place.astype(np.int64)
        self.events += np.bincount(place, events, self.bins)
        self.others += np.bincount(place, others, self.bins)
        self.rows += np.bincount(place, mass > 0, self.bins)
        self.p += np.bincount(place, mass * p, self.bins)
        self.brier += float((events * (1 - p) ** 2 + others * p**2).sum())
        self.right += float(np.where(p >= self.threshold, events, others).sum())
        self.outside += float(mass[(p < 0) | (p > 1)].sum())
        self.means += (float(events @ p), float(others @ p))
        tenth = np.clip(np.ceil(inside * TENTHS) - 1, 0, TENTHS - 1).astype(int)
        for k, values in enumerate((mass, mass * p, events)):
            self.tenths[k] += np.bincount(tenth, values, TENTHS)

    def finish(self, drawn: tuple[Binned, ...] = ()) -> Binned:
        from scipy.special import xlogy

        mass = self.events + self.others
        live = mass > 0
        total, yes = float(mass.sum()), float(self.events.sum())
        rate = yes / total
        null = float(xlogy(rate, rate) + xlogy(1 - rate, 1 - rate))
        weight, said, seen = self.tenths
        exact = {
            "log_score": self.log_score / total,
            "brier": self.brier / total,
            "accuracy": self.right / total,
            "ece": float(np.abs(seen - said)[weight > 0].sum() / total),
            "outside": self.outside / total,
        }
        if 0 < rate < 1:
            exact["tjur_r2"] = float(self.means[0] / yes - self.means[1] / (total - yes))
            exact["mcfadden_r2"] = 1 - exact["log_score"] / null
        return Binned(
            self.p[live] / mass[live],
            self.events[live],
            self.others[live],
            self.rows[live],
            exact,
            drawn,
        )


@in_double
def binned(fit: Fit, threshold: float, draws: int) -> Binned:
    """Return the counts by bin of p of a streamed design, in one pass.

    Parameters
    ----------
    fit : Fit
    threshold : float
        At which p an event is predicted.
    draws : int
        Posterior draws that are scored by themselves.
    """
    design: Any = fit.design
    points = points_of(fit)
    several = len(points) > 1
    count = draws if several else 0
    chosen = np.unique(np.linspace(0, len(points) - 1, count).astype(int))
    whole = _Sums(BINS, threshold)
    parts = [_Sums(FEWER, threshold) for _ in chosen]
    for numbers in design.all_numbers():
        rows = NewRows(numbers.dense(), numbers.offset, None)
        events = numbers.weights * numbers.y
        others = numbers.weights * (numbers.trials - numbers.y)
        p = np.zeros(rows.n)
        for begin in range(0, len(points), DRAWS):
            some = points[begin : begin + DRAWS]
            p += response(fit, eta(fit, some, rows), some).sum(axis=0) / len(points)
        whole.add(p, events, others)
        for k, sums in zip(chosen, parts, strict=True):
            one = points[k : k + 1]
            sums.add(response(fit, eta(fit, one, rows), one)[0], events, others)
    return whole.finish(tuple(sums.finish() for sums in parts))

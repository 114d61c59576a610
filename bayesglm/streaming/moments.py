"""Facts about columns that are added up block by block: mean, sd, range, whether two-valued.

Means and sums of squares of blocks are merged as by Chan, Golub and LeVeque, so that no digits are
lost where a column lies far from 0.

References
----------
Chan, Golub & LeVeque (1983), The American Statistician 37, 242-247.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bayesglm.priors import ColumnFacts

__all__ = ["Moments"]

# Rows that are looked at first, to tell a column of numbers from one of two values.
FEW = 1_000


class Moments:
    """Weighted and unweighted moments of k columns, over any number of blocks.

    Attributes
    ----------
    mass, rows : float
        Sum of weights, and rows.
    mean, square : ndarray, shape (k,)
        Weighted means, and weighted sums of squares around them.
    mean_rows, square_rows : ndarray, shape (k,)
        The same, unweighted.
    low, high : ndarray, shape (k,)
        Ranges.
    """

    def __init__(self, k: int) -> None:
        self.mass = self.rows = 0.0
        self.mean, self.square = np.zeros(k), np.zeros(k)
        self.mean_rows, self.square_rows = np.zeros(k), np.zeros(k)
        self.low, self.high = np.full(k, np.inf), np.full(k, -np.inf)
        # The values of each column, until there are more than two.
        self._values: list[set[float] | None] = [set() for _ in range(k)]
        self._room = np.empty(0)

    def add(self, columns: Sequence[np.ndarray], mass: np.ndarray | None) -> None:
        """Add a block: k columns of m > 0 rows; ``mass`` (m,) is None where all weights are 1."""
        if not columns:
            return
        n = float(len(columns[0]))
        total = n if mass is None else float(mass.sum())
        if len(self._room) < n:
            # Written over by every column: new memory for each would cost more than the sums.
            self._room = np.empty(int(n))
        away = self._room[: int(n)]
        share_rows = n / (self.rows + n)
        share = total / (self.mass + total)
        for j, values in enumerate(columns):
            low, high = float(values.min()), float(values.max())
            mean = mean_rows = float(values.mean())
            np.subtract(values, mean, out=away)
            square = square_rows = float(away @ away)
            if mass is not None:
                mean = float(mass @ values) / total
                np.subtract(values, mean, out=away)
                np.square(away, out=away)
                square = float(mass @ away)
            step = mean_rows - self.mean_rows[j]
            self.mean_rows[j] += share_rows * step
            self.square_rows[j] += square_rows + step**2 * self.rows * share_rows
            step = mean - self.mean[j]
            self.mean[j] += share * step
            self.square[j] += square + step**2 * self.mass * share
            self.low[j] = min(self.low[j], low)
            self.high[j] = max(self.high[j], high)
            self._look(j, values, low, high)
        self.rows += n
        self.mass += total

    def _look(self, j: int, values: np.ndarray, low: float, high: float) -> None:
        known = self._values[j]
        if known is None:
            return
        known |= {low, high}
        two = all(((part == low) | (part == high)).all() for part in (values[:FEW], values))
        if len(known) > 2 or not two:
            self._values[j] = None

    def facts(
        self, terms: Sequence[str], words: Mapping[str, tuple[tuple[str, ...], bool]]
    ) -> tuple[ColumnFacts, ...]:
        """Return what priors need to know of each column; see `bayesglm.columns.facts`."""
        found = []
        for j, term in enumerate(terms):
            numbers: dict[str, Any] = {
                "mean": float(self.mean[j]),
                "sd": float(np.sqrt(self.square[j] / self.mass)),
                "minimum": float(self.low[j]),
                "maximum": float(self.high[j]),
                "mean_rows": float(self.mean_rows[j]),
                "sd_rows": float(np.sqrt(self.square_rows[j] / max(self.rows - 1, 1))),
            }
            kind = "numeric" if self._values[j] is None else "binary"
            if self.low[j] == self.high[j]:
                kind = "constant"
            found.append(
                ColumnFacts(
                    term=term,
                    variables=words[term][0],
                    kind=kind,
                    categorical=words[term][1],
                    **numbers,
                )
            )
        return tuple(found)

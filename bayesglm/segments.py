"""Segments of a table: which rows are whose, and how they are laid out in blocks of equal shape.

A program of XLA has one shape, so segments are padded to one of a few numbers of rows, and taken
together so many at a time that a block stays in cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bayesglm import frames
from bayesglm.errors import DataError, explain
from bayesglm.matrices import bucket
from bayesglm.merging import Repeated

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Block",
    "Segments",
    "blocks",
    "columns_of",
    "dense",
    "keys_of",
    "read_keys",
    "row_sizes",
    "together",
]

# Rows times segments of a block: with half a dozen columns about what a cache holds.
CELLS = 2**16
MOST = 512
SMALLEST = 8
# Columns of the answers beside those that name segments.
COLUMNS = ("term", "estimate", "std_error", "lower", "upper", "p_value")
# Padded rows that take as long as it takes to compile one more program.
WORTH = 1_500_000


class Block(NamedTuple):
    """Some segments of a block of a fixed shape: ``members`` are padded to ``size`` by repeats."""

    members: np.ndarray
    size: int
    rows: int

    @property
    def missing(self) -> int:
        """Places that no member takes."""
        return self.size - len(self.members)

    def filled(self, values: np.ndarray) -> np.ndarray:
        """Return the members' values, padded to the size by repeats of the first."""
        some = values[self.members]
        return np.concatenate([some, np.repeat(some[:1], self.missing, axis=0)])


@dataclass(frozen=True)
class Segments:
    """Which rows belong to which segment.

    Attributes
    ----------
    order : ndarray of int, shape (m,)
        The rows that count (weight > 0), segment by segment, in their order.
    starts : ndarray of int, shape (s + 1,)
        Where each segment begins in ``order``.
    """

    order: np.ndarray
    starts: np.ndarray

    @classmethod
    def make(cls, codes: np.ndarray, count: int, live: np.ndarray) -> Segments:
        """Sort rows by their segments; ``codes`` (n,) counts from 0, ``live`` are the rows to take.

        Examples
        --------
        >>> found = Segments.make(np.array([1, 0, 1]), 2, np.array([True, True, True]))
        >>> found.rows(1)
        array([0, 2])
        """
        some = np.flatnonzero(live)
        sorted_already = bool((np.diff(codes) >= 0).all())
        order = some if sorted_already else some[np.argsort(codes[some], kind="stable")]
        sizes = np.bincount(codes[some], minlength=count)
        return cls(order, np.concatenate([[0], np.cumsum(sizes)]))

    @cached_property
    def sizes(self) -> np.ndarray:
        """Rows of each segment, shape (s,)."""
        return np.diff(self.starts)

    def rows(self, segment: int) -> np.ndarray:
        """Return the rows of a segment."""
        return self.order[self.starts[segment] : self.starts[segment + 1]]

    def index(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of a block and which of them are no padding, both (size, rows)."""
        place = np.arange(block.rows)
        sizes = block.filled(self.sizes)[:, None]
        at = block.filled(self.starts)[:, None] + np.minimum(place, sizes - 1)
        return self.order[at], place < sizes


def row_sizes(sizes: np.ndarray) -> np.ndarray:
    """Return to how many rows each segment is padded: a few sizes, shape (s,).

    A size of its own is worth a program's compilation only where that spares more padding.

    Examples
    --------
    >>> np.unique(row_sizes(np.array([199, 200, 204, 190]))).tolist()
    [208]
    """
    known: list[int] = [SMALLEST]
    while known[-1] < sizes.max(initial=1):
        known.append(bucket(known[-1] + 1, SMALLEST))
    grid = np.array(known)
    at = np.searchsorted(grid, sizes)
    used, counts = np.unique(at, return_counts=True)
    # The cheapest way to cover the first j sizes, each group of them padded to its last.
    below = np.concatenate([[0], np.cumsum(counts)])
    cost, before = np.zeros(len(used) + 1), np.zeros(len(used) + 1, dtype=int)
    for j in range(1, len(used) + 1):
        ways = cost[:j] + (below[j] - below[:j]) * grid[used[j - 1]] + WORTH
        before[j] = np.argmin(ways)
        cost[j] = ways[before[j]]
    kept, j = [], len(used)
    while j:
        kept.append(grid[used[j - 1]])
        j = before[j]
    chosen = np.array(kept[::-1])
    return np.asarray(chosen[np.searchsorted(chosen, grid[at])])


def blocks(members: np.ndarray, rows: np.ndarray) -> list[Block]:
    """Divide segments into blocks.

    Parameters
    ----------
    members : ndarray of int
        Segments.
    rows : ndarray of int, shape (s,)
        To how many rows each segment is padded, as `row_sizes` says.
    """
    found = []
    for number in np.unique(rows[members]):
        some = members[rows[members] == number]
        size = together(int(number), int((rows == number).sum()))
        for begin in range(0, len(some), size):
            found.append(Block(some[begin : begin + size], size, int(number)))
    return found


def together(rows: int, count: int) -> int:
    """Return how many segments of a size make a block: a power of two, no more than are needed.

    Examples
    --------
    >>> together(200, 10_000), together(200, 3), together(1_000_000, 3)
    (256, 4, 1)
    """
    size = min(2 ** (max(CELLS // rows, 1).bit_length() - 1), MOST)
    while size // 2 >= count:
        size //= 2
    return size


def columns_of(matrix: Any) -> Sequence[Any]:
    """Return the columns of a design's matrix, each a function of row numbers to values."""
    return [_Column(matrix, j) for j in range(matrix.shape[1])]


def dense(matrix: Any) -> np.ndarray:
    """Return a matrix of any kind with all its rows and zeros."""
    return matrix if isinstance(matrix, np.ndarray) else np.asarray(matrix.toarray())


class _Column(NamedTuple):
    """A column of a matrix of any kind; called with row numbers it gives their values."""

    matrix: Any
    place: int

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        matrix = self.matrix
        if isinstance(matrix, Repeated):
            return _Column(matrix.values, self.place)(matrix.rows[rows])
        if isinstance(matrix, np.ndarray):
            return matrix[:, self.place][rows]
        dense = matrix[:, [self.place]].toarray()[:, 0]
        return np.asarray(dense[rows])


def read_keys(data: Any, by: Sequence[str], missing: str) -> tuple[pd.DataFrame, np.ndarray | None]:
    """Return the columns that name the segments, and which rows have them (None: all).

    Raises
    ------
    DataError
        For an unknown column, or missing values unless they are to be dropped.
    """
    taken = [name for name in by if name in COLUMNS]
    if taken:
        raise DataError(
            explain(
                f"the column {taken[0]!r} has the name of one of the answers",
                names=list(COLUMNS),
                advice="rename it",
            )
        )
    keys = frames.select(data, by)
    gone = keys.isna().to_numpy()
    if not gone.any():
        return keys, None
    counts = {name: int(gone[:, j].sum()) for j, name in enumerate(by) if gone[:, j].any()}
    if missing != "drop":
        told = ", ".join(f"{name} ({count})" for name, count in counts.items())
        raise DataError(
            explain(
                f"missing values in the columns of by: {told}",
                advice='use missing="drop", or fill them in',
            )
        )
    kept = ~gone.any(axis=1)
    if not kept.any():
        raise DataError(explain("every row lacks its segment", rows=counts))
    return keys, kept


def keys_of(keys: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
    """Return the segment of each row, from 0, and the segments, sorted: one row for each.

    Raises
    ------
    DataError
        Where values are no single ones, such as lists.
    """
    import pandas as pd

    codes = np.zeros(len(keys), dtype=np.int64)
    for name in keys.columns:
        try:
            own, levels = _factorized(pd, keys[name])
        except TypeError as error:
            raise DataError(
                explain(f"the column {name!r} of by must hold single values", error=str(error))
            ) from error
        codes = codes * max(len(levels), 1) + own
        if len(keys.columns) > 1:
            # Only the combinations that occur are segments.
            codes = np.unique(codes, return_inverse=True)[1].astype(np.int64)
    first = np.full(int(codes.max()) + 1, len(codes), dtype=np.int64)
    np.minimum.at(first, codes, np.arange(len(codes)))
    present = first < len(codes)
    if not present.all():
        codes, first = (np.cumsum(present) - 1)[codes], first[present]
    return codes, keys.iloc[first].reset_index(drop=True)


def _factorized(pd: Any, values: pd.Series) -> tuple[np.ndarray, Any]:
    try:
        found: tuple[np.ndarray, Any] = pd.factorize(values, sort=True)
    except TypeError:
        # Values of several kinds have no order; then they come as in the data.
        found = pd.factorize(values)
    return found

"""Rows that repeat are kept once: found cheaply, and given up at once where they do not.

Where all predictors are categories or coarse numbers, a million rows are a few thousand different
ones. The likelihood of equal rows needs their number of events and of trials only, so merging them
loses nothing: estimates, errors and draws are those of the whole table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Merged", "Repeated", "Repeats", "merge", "repeats", "repeats_of_matrix", "sliceable"]

# Smaller tables are quick anyway.
SMALLEST = 1_000
# Merging is worth its while below this share of different rows.
SHARE = 0.5


class Repeats(NamedTuple):
    """Which rows repeat: the place of each different row's first copy, and each row's number."""

    first: np.ndarray
    rows: np.ndarray

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Return the sums of (n,) values over equal rows, shape (m,)."""
        return np.bincount(self.rows, weights=values, minlength=len(self.first))


@dataclass(frozen=True)
class Repeated:
    """A matrix of n rows of which m are different.

    Attributes
    ----------
    values : ndarray or scipy.sparse.csr_array, shape (m, p)
        The different rows.
    rows : ndarray of int, shape (n,)
        Which of them each row is.

    Examples
    --------
    >>> matrix = Repeated(np.array([[0.0, 1.0], [1.0, 1.0]]), np.array([1, 0, 1]))
    >>> matrix @ np.array([10.0, 1.0])
    array([11.,  1., 11.])
    >>> matrix[1:].shape
    (2, 2)
    """

    values: Any
    rows: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.rows), self.values.shape[1]

    @property
    def sound(self) -> bool:
        """Whether each row is one of the different ones."""
        shapes = self.values.ndim == 2 and self.rows.ndim == 1
        whole = shapes and np.issubdtype(self.rows.dtype, np.integer) and len(self.rows) > 0
        return bool(whole and self.rows.min() >= 0 and self.rows.max() < len(self.values))

    def __getitem__(self, part: Any) -> Repeated:
        return Repeated(self.values, self.rows[part])

    def __matmul__(self, other: np.ndarray) -> np.ndarray:
        return np.asarray(self.values @ other)[self.rows]

    def whole(self) -> Any:
        """Return the matrix with all its rows, dense or sparse as its values are."""
        return self.values[self.rows]

    def toarray(self) -> np.ndarray:
        """Return the matrix with all its rows."""
        found = self.whole()
        return found if isinstance(found, np.ndarray) else np.asarray(found.toarray())


def sliceable(matrix: Any) -> Any:
    """Return a matrix whose rows can be taken quickly: sparse ones by rows, others as they are."""
    return matrix if isinstance(matrix, (np.ndarray, Repeated)) else matrix.tocsr()


def repeats(frame: pd.DataFrame) -> Repeats | None:
    """Find the rows of a table that repeat; None where few do."""
    if len(frame) < SMALLEST or not len(frame.columns):
        return None
    sample = _sample(len(frame))
    try:
        twice = int(frame.iloc[sample].duplicated().sum())
    except TypeError:
        # Values that cannot be hashed; the encoding has a word for them.
        return None
    if _hopeless(twice, len(sample), len(frame)):
        return None
    return _grouped([_codes(frame[name]) for name in frame.columns])


def repeats_of_matrix(matrix: Any) -> Repeats | None:
    """Find the rows of a dense matrix that repeat; None where few do.

    A random projection gives equal rows equal keys; rows of one key are then compared.
    """
    if not isinstance(matrix, np.ndarray) or len(matrix) < SMALLEST or not matrix.shape[1]:
        return None
    direction = np.random.default_rng(0).standard_normal(matrix.shape[1])
    sample = _sample(len(matrix))
    twice = len(sample) - len(np.unique(matrix[sample] @ direction))
    if _hopeless(twice, len(sample), len(matrix)):
        return None
    # One row at a time: in blocks the order of a sum may depend on the row's place.
    keys = np.einsum("ij,j->i", matrix, direction)
    found = _grouped([_factorize(keys)])
    if found is None or not np.array_equal(matrix[found.first][found.rows], matrix):
        return None
    return found


def _sample(n: int) -> np.ndarray:
    """Return places among n of which some meet if every row occurs a few times (birthdays)."""
    return np.unique(np.random.default_rng(0).integers(0, n, int(4 * np.sqrt(n))))


def _hopeless(twice: int, sample: int, n: int) -> bool:
    """Whether a sample with so many repeats says that fewer than about half of the rows go."""
    return twice < sample**2 / n


def _factorize(values: Any) -> np.ndarray:
    import pandas as pd

    # Missing values (-1) become a kind of their own.
    return np.asarray(pd.factorize(values)[0], dtype=np.int64) + 1


def _codes(column: pd.Series) -> np.ndarray:
    """Return whole numbers, equal where the values are, from 0 on."""
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        codes = column.cat.codes.to_numpy()
        return codes if codes.min() >= 0 else codes.astype(np.int64) + 1
    if column.dtype == np.bool_:
        return column.to_numpy().astype(np.int8)
    return _factorize(column)


def _grouped(keys: Sequence[np.ndarray]) -> Repeats | None:
    """Give each combination of keys a number, in the order of first rows; None if most differ."""
    import pandas as pd

    n = len(keys[0])
    code, size = keys[0].astype(np.int64), int(keys[0].max()) + 1
    for key in keys[1:]:
        levels = int(key.max()) + 1
        if size * levels > 2**62:
            code = np.asarray(pd.factorize(code)[0], dtype=np.int64)
            size = int(code.max()) + 1
        code *= levels
        code += key
        size *= levels
    if size > 4 * n:
        code = np.asarray(pd.factorize(code)[0], dtype=np.int64)
        size = int(code.max()) + 1
    # Written from the last row to the first: the first copy of each combination stays.
    place = np.full(size, n)
    place[code[::-1]] = np.arange(n - 1, -1, -1)
    found = np.flatnonzero(place < n)
    if len(found) > SHARE * n:
        return None
    found = found[np.argsort(place[found])]
    number = np.zeros(size, dtype=np.int32)
    number[found] = np.arange(len(found), dtype=np.int32)
    return Repeats(place[found], number[code])


class Merged(NamedTuple):
    """Rows as inference takes them; ``copies`` and ``cluster`` are None where nobody asked.

    ``at`` are the places of the rows among those given, None for all of them.

    With ``frequency`` weights a merged row has weight 1 and the sums of w y and w t as events and
    trials; with ``sampling`` weights it is one of ``copies`` equal rows, whose weights are added.
    """

    matrix: Any
    y: np.ndarray
    trials: np.ndarray
    weights: np.ndarray
    offset: np.ndarray
    copies: np.ndarray | None = None
    cluster: np.ndarray | None = None
    at: np.ndarray | None = None


def merge(
    matrix: Any,
    y: np.ndarray,
    trials: np.ndarray,
    weights: np.ndarray,
    offset: np.ndarray,
    *,
    merged: bool = True,
    sampling: bool = False,
    numeric: bool = False,
    cluster: np.ndarray | None = None,
    apart: Sequence[np.ndarray] = (),
    copies: np.ndarray | None = None,
) -> tuple[Merged, bool]:
    """Merge rows of equal predictors, offset (and weight, cluster, numeric outcome).

    Parameters
    ----------
    matrix : ndarray, sparse array or Repeated, shape (n, p)
    y, trials, weights, offset : ndarray, shape (n,)
    merged : bool
        False leaves all rows as they are.
    sampling : bool
        Weights are of rows, whose scores are squared one by one.
    numeric : bool
        The outcome is a number, not a count of events.
    cluster : ndarray of int, optional
        Codes of clusters to keep apart.
    apart : sequence of ndarray, shape (n,)
        Other numbers in which merged rows must agree.
    copies : ndarray, shape (n,), optional
        Equal rows that each row stands for already.

    Returns
    -------
    rows : Merged
    merged : bool
        Whether any were merged.
    """
    whole = matrix.whole() if isinstance(matrix, Repeated) and not merged else matrix
    if not isinstance(whole, Repeated):
        stands = copies if sampling else None
        return Merged(whole, y, trials, weights, offset, stands, cluster), False
    extra = [] if (offset == offset[0]).all() else [_factorize(offset)]
    if sampling or numeric:
        extra += [_factorize(y), _factorize(trials)]
    if sampling:
        extra.append(_factorize(weights))
    if cluster is not None:
        extra.append(cluster.astype(np.int64))
    extra += [_factorize(each) for each in apart]
    values = whole.values
    found = Repeats(np.zeros(values.shape[0], dtype=np.int64), whole.rows)
    if extra:
        finer = _grouped([whole.rows, *extra])
        if finer is None:
            stands = copies if sampling else None
            return Merged(whole.whole(), y, trials, weights, offset, stands, cluster), False
        found, values = finer, values[whole.rows[finer.first]]
    at = found.first
    groups = None if cluster is None else cluster[at]
    if sampling or numeric:
        ones = np.ones(len(y)) if copies is None else copies
        stands = found.sums(ones) if sampling else None
        total = found.sums(weights)
        return Merged(values, y[at], trials[at], total, offset[at], stands, groups, at), True
    total = found.sums(weights * trials)
    some = total > 0
    events = np.where(some, found.sums(weights * y), 0.0)
    counts = np.where(some, total, 1.0)
    live = some.astype(float)
    return Merged(values, events, counts, live, offset[at], None, groups, at), True

"""Rows that repeat, counted while they are read: a table of the different ones, if it stays small.

Nothing is lost: estimates, errors and draws of the different rows with their counts as weights are
those of all rows. It is given up as soon as it is clear that too many rows differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["COUNT", "Distinct"]

COUNT, WEIGHT = "__rows", "__weights"
# Bytes that a different row takes, for each column: in the table, encoded, and while it is fitted.
BYTES = 64
# Below this share of different rows it is worth its while.
SHARE = 0.5
# Rows of the first look.
FIRST = 20_000


class Distinct:
    """The different rows so far, with how many times each occurred.

    Parameters
    ----------
    columns : sequence of str
        In which rows must agree.
    weights : str or None
        Frequency weights, added up.
    rows : int
        That are to come.
    memory : int
        Bytes that the table may take when it is fitted.
    """

    def __init__(self, columns: Sequence[str], weights: str | None, rows: int, memory: int) -> None:
        self.columns, self.weights = list(columns), weights
        self.most = int(min(SHARE * rows, memory / (BYTES * (len(columns) + 4))))
        self.rows = rows
        self.alive = bool(columns)
        self._held: list[Any] = []
        self._size = self._merged = 0

    def add(self, table: Any) -> None:
        """Count the rows of a block."""
        if not self.alive or not table.num_rows:
            return
        if not self._held and self._hopeless(table):
            self._give_up()
            return
        self._held.append(self._grouped(table, first=True))
        self._size += self._held[-1].num_rows
        if self._size > 2 * self._merged + 10_000:
            self._merge()

    def _hopeless(self, table: Any) -> bool:
        """Whether a first look says that most rows differ, or more do than memory holds."""
        some = table.slice(0, FIRST)
        m = some.num_rows
        if m < 1_000:
            return False
        twice = m - self._grouped(some, first=True).num_rows
        # Where D kinds of rows are equally frequent, m rows have about m² / 2D repeats.
        return twice * 2 * max(self.most, 1) < m**2 / 2

    def _grouped(self, table: Any, *, first: bool) -> Any:
        """Return the different rows of a table with their counts."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if first:
            weights = None
            if self.weights is not None:
                weights = pc.cast(table.column(self.weights), pa.float64())
            plain = [_plain(table.column(name)) for name in self.columns]
            table = pa.table(dict(zip(self.columns, plain, strict=True)))
            if weights is None:
                grouped = table.group_by(self.columns, use_threads=False).aggregate(
                    [([], "count_all")]
                )
                return grouped.rename_columns([*self.columns, COUNT])
            table = table.append_column(WEIGHT, weights)
            grouped = table.group_by(self.columns, use_threads=False).aggregate(
                [([], "count_all"), (WEIGHT, "sum")]
            )
            return grouped.rename_columns([*self.columns, COUNT, WEIGHT])
        added = [(COUNT, "sum")] + ([] if self.weights is None else [(WEIGHT, "sum")])
        grouped = table.group_by(self.columns, use_threads=False).aggregate(added)
        return grouped.rename_columns([*self.columns, *(name for name, _ in added)])

    def _merge(self) -> None:
        import pyarrow as pa

        whole = self._grouped(pa.concat_tables(self._held), first=False)
        self._held = [whole]
        self._size = self._merged = whole.num_rows
        if self._merged > self.most:
            self._give_up()

    def _give_up(self) -> None:
        self.alive = False
        self._held = []

    def table(self) -> Any:
        """Return the different rows with their counts, and weights where there are any."""
        self._merge()
        return self._held[0] if self.alive else None


def _plain(column: Any) -> Any:
    """Return a column whose values can be compared between blocks."""
    import pyarrow as pa

    kind = column.type
    return column.cast(kind.value_type) if pa.types.is_dictionary(kind) else column

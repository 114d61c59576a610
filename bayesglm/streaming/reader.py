"""Rows of a source that are complete and count: missing values refused or dropped, weight 0 out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bayesglm.errors import DataError, Finding, explain
from bayesglm.streaming.source import Block, Source, located

__all__ = ["Reader", "Tally", "is_number", "numbers_of"]


@dataclass
class Tally:
    """What was left out while reading: rows with missing values, counted by column; weight 0."""

    rows: int = 0
    dropped: int = 0
    weightless: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    def findings(self, columns: Sequence[str]) -> tuple[Finding, ...]:
        """Return a note of what was left out, of the columns in their order."""
        found = []
        if self.dropped:
            told = ", ".join(f"{n} ({self.counts[n]})" for n in columns if n in self.counts)
            found.append(
                Finding(
                    "dropped",
                    "note",
                    f"{self.dropped} of {self.rows} rows were dropped for missing or infinite "
                    f"values in {told}.",
                    value=float(self.dropped),
                )
            )
        if self.weightless:
            found.append(
                Finding(
                    "left-out",
                    "note",
                    f"{self.weightless} rows of weight 0 were left out.",
                    value=float(self.weightless),
                )
            )
        return tuple(found)


@dataclass(frozen=True)
class Reader:
    """A source, the columns that a model needs of it, and which rows it takes.

    Attributes
    ----------
    source : Source
    columns : tuple of str
    missing : {"error", "drop"}
        What to do with rows that have a missing or infinite value.
    weights : str or None
        Column of the weights; rows of weight 0 are left out.
    rows : int
        Of a block.
    clean : bool
        Whether all rows are known to be complete and to count.
    """

    source: Source
    columns: tuple[str, ...]
    missing: str
    weights: str | None
    rows: int
    clean: bool = False

    def blocks(
        self,
        extra: Sequence[str] = (),
        *,
        tally: Tally | None = None,
        report: Callable[[int], None] | None = None,
    ) -> Iterator[Block]:
        """Yield the rows that count, in blocks of at most ``rows``.

        Parameters
        ----------
        extra : sequence of str
            Columns besides, which may have missing values.
        tally : Tally, optional
            Where to count what is left out.
        report : callable, optional
            Called with the number of rows read.
        """
        names = list(dict.fromkeys((*self.columns, *extra)))
        for block in self.source.blocks(names, self.rows, report):
            if block.rows:
                some = block if self.clean else self._complete(block, tally)
                if some.rows:
                    yield some

    def _complete(self, block: Block, tally: Tally | None) -> Block:
        table = block.table
        bad, counts = _missing(block, self.columns)
        live = None
        if self.weights is not None:
            weights = numbers_of(table.column(self.weights), self.weights, block)
            if (weights < 0).any():
                row = int(np.argmax(weights < 0))
                with located(block.place(row)):
                    raise DataError(
                        explain("weights must not be negative", smallest=float(weights.min()))
                    )
            live = weights != 0  # NaN is missing, not absent
        if tally is not None:
            tally.rows += block.rows
        keep = live
        if bad is not None:
            worst = bad if live is None else bad & live
            if self.missing == "error" and worst.any():
                told = ", ".join(f"{name} ({count})" for name, count in counts.items())
                with located(block.place(int(np.argmax(worst)))):
                    raise DataError(
                        explain(
                            f"missing or infinite values in {told}",
                            advice='use missing="drop", or fill them in',
                        )
                    )
            keep = ~bad if live is None else live & ~bad
            if tally is not None:
                tally.dropped += int(worst.sum())
                for name, count in counts.items():
                    tally.counts[name] = tally.counts.get(name, 0) + count
        if keep is None or keep.all():
            return block
        if tally is not None and live is not None:
            tally.weightless += int((~live).sum())
        import pyarrow as pa

        return Block(table.filter(pa.array(keep)), block.places)


def _missing(block: Block, columns: Sequence[str]) -> tuple[np.ndarray | None, dict[str, int]]:
    """Return which rows have a missing or infinite value, and the counts by column."""
    import pyarrow as pa

    bad, counts = None, {}
    for name in columns:
        column = block.table.column(name)
        here = None
        if column.null_count:
            here = np.asarray(column.is_null())
        if pa.types.is_floating(column.type):
            values = column.to_numpy()
            finite = np.isfinite(values)
            if not finite.all():
                here = ~finite if here is None else here | ~finite
        if here is not None and here.any():
            counts[name] = int(here.sum())
            bad = here if bad is None else bad | here
    return bad, counts


def is_number(kind: Any) -> bool:
    """Whether a type of pyarrow is one of whole or floating numbers."""
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def numbers_of(column: Any, name: str, block: Block) -> np.ndarray:
    """Return a column of pyarrow as floats, shape (rows,); NaN where it is missing.

    Raises
    ------
    DataError
        If it holds no numbers.
    """
    import pyarrow as pa

    kind = column.type
    plain = is_number(kind) or pa.types.is_boolean(kind)
    if pa.types.is_decimal(kind):
        column, plain = column.cast(pa.float64()), True
    if not plain:
        with located(block.where):
            raise DataError(explain(f"{name!r} must hold numbers", dtype=str(kind)))
    return np.asarray(column.to_numpy(), dtype=float)

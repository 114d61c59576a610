"""A random sample of rows that are read once, with the rows that must not be missing in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Sample"]

# Rows of a sample, at most and at least; bytes that a value of it may take while it is encoded.
MOST, LEAST, BYTES = 200_000, 2_000, 128


@dataclass
class Sample:
    """Rows with the smallest of random keys, in their order; all rows, where these are few.

    Attributes
    ----------
    size : int
        Rows wanted.
    """

    size: int
    _random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    _tables: list[Any] = field(default_factory=list)
    _keys: list[np.ndarray] = field(default_factory=list)
    _rows: list[np.ndarray] = field(default_factory=list)
    _kept: list[tuple[int, Any]] = field(default_factory=list)
    _held: int = 0
    _seen: int = 0
    _limit: float = 2.0

    @classmethod
    def make(cls, memory: int, columns: int) -> Sample:
        """Return an empty sample whose size suits the memory."""
        return cls(int(min(max(memory // (BYTES * max(columns, 1)), LEAST), MOST)))

    @property
    def whole(self) -> bool:
        """Whether it holds all rows."""
        return self._seen <= self.size

    def keep(self, table: Any) -> None:
        """Keep a row whatever the keys say, besides; it is one of the next block."""
        import pyarrow as pa

        # A copy: a slice would keep the block that it is of in memory.
        self._kept.append((self._seen, table.take(pa.array([0]))))

    def add(self, table: Any, wanted: Sequence[int] = ()) -> None:
        """Take rows of a block; those at the places ``wanted`` are kept whatever the keys say."""
        import pyarrow as pa

        n = table.num_rows
        for place in dict.fromkeys(wanted):
            self._kept.append((self._seen + place, table.take(pa.array([place]))))
        if len(self._kept) > self.size + 10_000:
            self._tidy()
        keys = self._random.random(n)
        taken = np.flatnonzero(keys < self._limit)
        if len(taken):
            whole = len(taken) == n
            self._tables.append(table if whole else table.take(pa.array(taken)))
            self._keys.append(keys[taken])
            self._rows.append(self._seen + taken)
            self._held += len(taken)
        self._seen += n
        if self._held > 2 * self.size:
            self._shrink()

    def _shrink(self) -> None:
        import pyarrow as pa

        keys, rows = np.concatenate(self._keys), np.concatenate(self._rows)
        if len(keys) > self.size:
            self._limit = float(np.partition(keys, self.size - 1)[self.size - 1])
        chosen = np.flatnonzero(keys <= self._limit)
        # A copy, so that the blocks that the rows came from can go.
        table = pa.concat_tables(self._tables).take(pa.array(chosen))
        self._tables, self._keys, self._rows = [table], [keys[chosen]], [rows[chosen]]
        self._held = len(chosen)

    def _tidy(self) -> None:
        """Put the rows kept besides into one table."""
        import pyarrow as pa

        one = pa.concat_tables([table for _, table in self._kept]).combine_chunks()
        self._kept = [(at, one.slice(k, 1)) for k, (at, _) in enumerate(self._kept)]

    def table(self) -> Any:
        """Return the rows in the order in which they were read."""
        import pyarrow as pa

        if self._held > self.size:
            self._shrink()
        rows = np.concatenate(self._rows)
        whole = pa.concat_tables(self._tables)
        if not self.whole:
            known = set(rows.tolist())
            more = [(at, table) for at, table in self._kept if at not in known]
            rows = np.concatenate([rows, np.array([at for at, _ in more], dtype=rows.dtype)])
            whole = pa.concat_tables([whole, *(table for _, table in more)])
        return whole.take(pa.array(np.argsort(rows, kind="stable"))).combine_chunks()

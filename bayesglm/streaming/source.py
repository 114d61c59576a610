"""Parquet files as blocks of rows: found, checked, and read in order, one block ahead.

Each file is remembered as it was first seen (size, time of change, rows of each row group), so that
one that changes between two passes is refused and not half used. Errors name file and row group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bayesglm.errors import DataError, explain

__all__ = ["Block", "Part", "Source", "in_order", "located", "reading", "stamp"]

# Rows read together at most, from one row group.
BATCH = 131_072


class Part(NamedTuple):
    """A file as it was first seen: path, bytes, time of change (ns), rows of each row group."""

    path: str
    size: int
    modified: int
    rows: tuple[int, ...]


class Block(NamedTuple):
    """Rows read together, with the places they come from.

    ``places`` are (file, row group, rows) in the order of the rows.
    """

    table: Any
    places: tuple[tuple[str, int, int], ...]

    @property
    def rows(self) -> int:
        """Rows."""
        return int(self.table.num_rows)

    @property
    def where(self) -> str:
        """The places in words."""
        first, last = self.places[0], self.places[-1]
        name = Path(first[0]).name
        if first[:2] == last[:2]:
            return f"{name}, row group {first[1]}"
        if first[0] == last[0]:
            return f"{name}, row groups {first[1]} to {last[1]}"
        return f"{name}, row group {first[1]} to {Path(last[0]).name}, row group {last[1]}"

    def place(self, row: int) -> str:
        """Return the file and row group of one of the rows, in words."""
        for path, group, rows in self.places:
            if row < rows:
                return f"{Path(path).name}, row group {group}"
            row -= rows
        return self.where


@contextmanager
def located(where: str) -> Iterator[None]:
    """Say in an error about data where these are."""
    try:
        yield
    except DataError as error:
        if "row group" in str(error):
            raise
        raise DataError(f"{error} (in {where})") from error


@dataclass(frozen=True)
class Source:
    """Parquet files that are read by blocks.

    Attributes
    ----------
    dataset : pyarrow.dataset.FileSystemDataset
    parts : tuple of Part
        The files, as they were first seen.
    memory : int
        Bytes that blocks of rows may take.
    filter : pyarrow.dataset.Expression or None
        Rows wanted.
    """

    dataset: Any
    parts: tuple[Part, ...]
    memory: int
    filter: Any = None

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [str(name) for name in self.dataset.schema.names]

    @property
    def rows(self) -> int:
        """Rows in the files, those that the filter leaves out among them."""
        return sum(sum(part.rows) for part in self.parts)

    def check(self, columns: Sequence[str]) -> None:
        """Refuse files that lack a column, or have it in another type than the first.

        Raises
        ------
        DataError
            Naming the file.
        """
        import pyarrow.dataset as ds

        schema = self.dataset.schema
        for fragment in self.dataset.get_fragments():
            own = reading(fragment.path, partial(getattr, fragment, "physical_schema"))
            # Columns that come from names of folders.
            keys = ds.get_partition_keys(fragment.partition_expression)
            for name in columns:
                if name in keys:
                    continue
                place = own.get_field_index(name)
                if place < 0:
                    raise DataError(explain(f"the file has no column {name!r}", file=fragment.path))
                first, kind = schema.field(name).type, own.field(place).type
                if kind != first:
                    raise DataError(
                        explain(
                            f"the column {name!r} has another type than in the first file",
                            file=fragment.path,
                            type=str(kind),
                            first=str(first),
                            advice="write it with the same type in every file",
                        )
                    )

    def blocks(
        self,
        columns: Sequence[str],
        rows: int,
        report: Callable[[int], None] | None = None,
    ) -> Iterator[Block]:
        """Yield all rows of some columns in blocks of ``rows`` (the last one is shorter).

        Parameters
        ----------
        columns : sequence of str
        rows : int
            Of a block.
        report : callable, optional
            Called with the number of rows read.

        Raises
        ------
        DataError
            For a file that changed or is damaged; it names file and row group.
        """
        import pyarrow as pa

        held: list[tuple[Any, str, int]] = []
        size, read = 0, 0
        for batch, path, group in self._batches(columns, min(rows, BATCH)):
            held.append((batch, path, group))
            size += batch.num_rows
            while size >= rows:
                block, held = _cut(held, rows)
                size -= rows
                read += rows
                yield block
                if report is not None:
                    report(read)
        if size:
            yield _cut(held, size)[0]
        elif not read:
            empty = pa.schema([self.dataset.schema.field(name) for name in columns]).empty_table()
            yield Block(empty, ((self.parts[0].path, 0, 0),))
        if report is not None:
            report(self.rows)

    def _batches(self, columns: Sequence[str], size: int) -> Iterator[tuple[Any, str, int]]:
        import pyarrow.dataset as ds

        known = {part.path: part for part in self.parts}
        words: dict[str, Any] = {"columns": list(columns), "batch_size": size, "use_threads": True}
        # What is read ahead lies in memory: the row group in hand, a few batches of it.
        words |= {"batch_readahead": 2, "fragment_readahead": 1, "filter": self.filter}
        words["schema"] = self.dataset.schema
        words["fragment_scan_options"] = ds.ParquetFragmentScanOptions(pre_buffer=False)
        for fragment in self.dataset.get_fragments(filter=self.filter):
            part = known[fragment.path]
            self._unchanged(part)
            groups = reading(part.path, partial(getattr, fragment, "row_groups"))
            for group in groups:
                one = fragment.subset(row_group_ids=[group.id])
                batches = iter(one.to_batches(**words))
                found = 0
                while True:
                    batch = reading(part.path, partial(next, batches, None), group.id)
                    if batch is None:
                        break
                    found += batch.num_rows
                    if batch.num_rows:
                        yield batch, part.path, group.id
                if self.filter is None and found != part.rows[group.id]:
                    raise _changed(part.path, group.id)
            self._unchanged(part)

    def _unchanged(self, part: Part) -> None:
        """Refuse a file that is no more what it was."""
        size, modified = stamp(self.dataset.filesystem, part.path)
        if (size, modified) != (part.size, part.modified):
            raise _changed(part.path, 0)


def _cut(held: list[tuple[Any, str, int]], rows: int) -> tuple[Block, list[tuple[Any, str, int]]]:
    """Return the first rows of some batches as a block, and the rest."""
    import pyarrow as pa

    taken: list[Any] = []
    places: list[tuple[str, int, int]] = []
    left = rows
    rest = list(held)
    while left:
        batch, path, group = rest.pop(0)
        some = batch if batch.num_rows <= left else batch.slice(0, left)
        if some is not batch:
            rest.insert(0, (batch.slice(left), path, group))
        left -= some.num_rows
        taken.append(some)
        if places and places[-1][:2] == (path, group):
            places[-1] = (path, group, places[-1][2] + some.num_rows)
        else:
            places.append((path, group, some.num_rows))
    return Block(pa.Table.from_batches(taken), tuple(places)), rest


def _changed(path: str, group: int) -> DataError:
    return DataError(
        explain(
            "the file changed while the model was being fitted",
            file=path,
            row_group=group,
            advice="fit again when nothing writes to it",
        )
    )


def stamp(filesystem: Any, path: str) -> tuple[int, int]:
    """Return bytes and time of change (ns) of a file."""
    info = reading(path, lambda: filesystem.get_file_info(path))
    if not info.is_file:
        raise DataError(explain("the file is gone", file=path, row_group=0))
    return int(info.size or 0), int(info.mtime_ns or 0)


def reading(path: str, what: Callable[[], Any], group: int | None = None) -> Any:
    """Return what a reading gives; errors of pyarrow name file and row group."""
    import pyarrow as pa

    try:
        return what()
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        told = (str(error).splitlines() or [""])[0]
        where = {"file": path} if group is None else {"file": path, "row_group": group}
        raise DataError(
            explain(f"the file cannot be read, it may be damaged: {told}", **where)
        ) from error


def in_order[T, R](function: Callable[[T], R], items: Iterable[T], workers: int = 1) -> Iterator[R]:
    """Yield function(item) in order, computed in other threads while the next item is read.

    An error, or Ctrl-C, ends the threads before it goes on.
    """
    with ThreadPoolExecutor(workers) as pool:
        waiting: list[Future[R]] = []
        try:
            for number, item in enumerate(items):
                waiting.append(pool.submit(function, item))
                # The first alone: it may compile what the others use.
                if number == 0 or len(waiting) > workers:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for each in waiting:
                each.cancel()

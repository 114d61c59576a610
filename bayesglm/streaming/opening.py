"""What is to be streamed: a folder, a pattern, a list of paths, a data set of pyarrow; how much memory."""

from __future__ import annotations

import glob
import os
import re
from functools import partial
from pathlib import Path
from typing import Any

from bayesglm.errors import DataError, SpecificationError, explain
from bayesglm.streaming.source import Part, Source, reading, stamp

__all__ = ["bytes_of", "open_source"]

MEMORY = "2GB"
SMALLEST = 10**6
UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
UNITS |= {"b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
ENDINGS = (".parquet", ".pq")


def bytes_of(memory: Any) -> int:
    """Return an amount of memory in bytes, from a number or text such as ``"2GB"``.

    Raises
    ------
    SpecificationError
        If it is no amount, or less than a megabyte.

    Examples
    --------
    >>> bytes_of("1.5 MB"), bytes_of(2_000_000)
    (1500000, 2000000)
    """
    found = None
    if isinstance(memory, str):
        match = re.fullmatch(r"\s*([0-9.]+)\s*([a-zA-Z]*)\s*", memory)
        if match and match[2].lower() in UNITS and match[1].count(".") < 2 and match[1] != ".":
            found = int(float(match[1]) * UNITS[match[2].lower()])
    elif isinstance(memory, (int, float)) and not isinstance(memory, bool) and memory < 2**60:
        found = int(memory)
    if found is None or found < SMALLEST:
        raise SpecificationError(
            explain('memory must be bytes, or text such as "2GB", at least 1 MB', memory=memory)
        )
    return found


def open_source(data: Any, *, memory: Any = None, filter: Any = None) -> Source | None:
    """Return what is to be streamed; None for data that are read into memory.

    Parameters
    ----------
    data : object
        A folder, a pattern (``"claims/*.parquet"``), a list of paths or a ``pyarrow`` data set of
        Parquet files; the path of one file with ``memory``.
    memory : int or str, optional
        Bytes that blocks may take, ``"2GB"`` if absent.
    filter : pyarrow.dataset.Expression, optional
        Rows wanted.

    Raises
    ------
    SpecificationError
        For ``memory`` or ``filter`` with data that are not streamed.
    DataError
        Where there is no such file, or one is not Parquet or damaged.
    """
    paths = _paths(data, wanted=memory is not None or filter is not None)
    if paths is None and not _is_dataset(data):
        word = "memory" if memory is not None else "filter"
        if memory is not None or filter is not None:
            raise SpecificationError(
                explain(
                    f"{word} is for Parquet files that are read by blocks",
                    data=type(data).__name__,
                    advice="give the path of a file or folder",
                )
            )
        return None
    import pyarrow as pa
    import pyarrow.dataset as ds

    limit = bytes_of(MEMORY if memory is None else memory)
    if filter is not None and not isinstance(filter, ds.Expression):
        raise SpecificationError(
            explain(
                "filter must be an expression of pyarrow",
                filter=type(filter).__name__,
                advice='such as pyarrow.dataset.field("year") > 2015',
            )
        )
    if paths is None:
        dataset = data
    else:
        root = str(data) if isinstance(data, (str, Path)) and os.path.isdir(data) else None
        partitioning = ds.partitioning(flavor="hive") if root is not None else None
        try:
            dataset = ds.dataset(
                paths,
                format="parquet",
                partitioning=partitioning,
                partition_base_dir=None if root is None else os.path.abspath(root),
            )
        except (pa.ArrowException, OSError, ValueError) as error:
            told = str(error).splitlines()[0]
            raise DataError(
                explain(f"the files cannot be read: {told}", file=paths[0], files=len(paths))
            ) from error
    parts = []
    for fragment in dataset.get_fragments():
        size, modified = stamp(dataset.filesystem, fragment.path)
        groups = reading(fragment.path, partial(getattr, fragment, "row_groups"))
        rows = tuple(int(group.num_rows) for group in groups)
        parts.append(Part(fragment.path, size, modified, rows))
    if not sum(sum(part.rows) for part in parts):
        raise DataError(explain("the files have no rows", files=len(parts)))
    return Source(dataset, tuple(parts), limit, filter)


def _is_dataset(data: Any) -> bool:
    if type(data).__module__.partition(".")[0] != "pyarrow":
        return False
    import pyarrow.dataset as ds

    if isinstance(data, ds.FileSystemDataset) and data.format.default_extname == "parquet":
        return True
    if isinstance(data, ds.Dataset):
        raise DataError(
            explain(
                "a data set must be one of Parquet files",
                data=type(data).__name__,
                advice='make it by pyarrow.dataset.dataset(paths, format="parquet")',
            )
        )
    return False


def _paths(data: Any, *, wanted: bool) -> list[str] | None:
    """Return the files behind paths, folders and patterns; None for what is not streamed."""
    if isinstance(data, (list, tuple)):
        if not data or not all(isinstance(each, (str, Path)) for each in data):
            return None
        return [path for each in data for path in _paths(each, wanted=True) or []]
    if not isinstance(data, (str, Path)):
        return None
    path = os.path.abspath(os.path.expanduser(str(data)))
    if os.path.isfile(path):
        if not wanted:
            return None
        if not path.lower().endswith(ENDINGS):
            raise DataError(
                explain("only Parquet files are read by blocks", file=str(data),
                        advice="write the table by DataFrame.to_parquet first")
            )  # fmt: skip
        return [path]
    if os.path.isdir(path):
        found = sorted(
            str(each)
            for ending in ENDINGS
            for each in Path(path).rglob(f"*{ending}")
            if not each.name.startswith((".", "_"))
        )
    elif any(letter in path for letter in "*?["):
        found = sorted(each for each in glob.glob(path, recursive=True) if os.path.isfile(each))
        strange = [each for each in found if not each.lower().endswith(ENDINGS)]
        if strange:
            raise DataError(explain("only Parquet files are read by blocks", file=strange[0]))
    elif wanted:
        raise DataError(explain("no such file", file=str(data)))
    else:
        return None
    if not found:
        raise DataError(explain("no Parquet file is there", path=str(data)))
    return found

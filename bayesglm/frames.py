"""Tables of the user's into columns: any DataFrame, a dict, a file; missing values counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

import numpy as np

from bayesglm.errors import DataError, explain, suggest

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "bare",
    "column_names",
    "has_names",
    "library_of",
    "read_table",
    "refuse_missing",
    "rows_of",
    "select",
    "to_library",
]


# Arrays that the user gave are columns of these names.
OWN = {"__trials": "trials", "__weights": "weights", "__offset": "offset"}


def column_names(data: Any) -> list[str]:
    """Return the names of the columns, refusing duplicates and data that are no table.

    Raises
    ------
    DataError
        If ``data`` is no table, or two columns share a name.
    """
    if isinstance(data, Mapping):
        return _unique([str(name) for name in data])
    if isinstance(data, (np.ndarray, list, tuple)):
        raise DataError(
            explain(
                "data must be a DataFrame or a dict of columns",
                data=type(data).__name__,
                advice="use Model.from_arrays(X, y) for arrays",
            )
        )
    schema = getattr(data, "collect_schema", None)  # a lazy table of polars
    if schema is not None:
        return list(schema().names())
    columns = getattr(data, "column_names", None) or getattr(data, "columns", None)
    if columns is None:
        raise DataError(
            explain("data must be a DataFrame or a dict of columns", data=type(data).__name__)
        )
    return _unique([str(name) for name in columns])


def _unique(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError(
            explain("column names must be unique", repeated=twice, advice="rename the columns")
        )
    return names


def select(data: Any, names: Iterable[str]) -> pd.DataFrame:
    """Return the named columns as a pandas DataFrame, in that order.

    Parameters
    ----------
    data : DataFrame or dict
        A table of any library that narwhals knows, or a dict of columns (scalars are repeated).
    names : iterable of str
        Columns wanted.

    Raises
    ------
    DataError
        If a column is missing (with the nearest name), or columns differ in length.
    """
    import pandas as pd

    wanted, known = list(dict.fromkeys(names)), column_names(data)
    absent = [name for name in wanted if name not in known]
    if absent:
        # Python reads the ligature of f and i as fi.
        alike = [name for name in known if normalize("NFKC", name) == absent[0]]
        advice = "the columns are " + ", ".join(known[:20])
        raise DataError(
            explain(
                f"no column {absent[0]!r} in the data{suggest(absent[0], known)}",
                advice=f"Python reads {alike[0]!r} so: rename the column" if alike else advice,
            )
        )
    if isinstance(data, pd.DataFrame):
        renamed = (
            data.rename(columns=str) if any(type(c) is not str for c in data.columns) else data
        )
        return renamed[wanted].infer_objects()
    if isinstance(data, Mapping):
        named = {str(name): value for name, value in data.items()}
        return _from_dict({name: named[name] for name in wanted}).infer_objects()
    import narwhals as nw

    try:
        table = nw.from_native(data)
    except TypeError as error:
        raise DataError(
            explain("data must be a DataFrame or a dict of columns", data=type(data).__name__)
        ) from error
    if isinstance(table, nw.LazyFrame):
        table = table.select(wanted).collect()
    chosen = table.select(wanted)
    if chosen.implementation.is_pyarrow():
        # What pandas once noted in the table would make an index of a column, None of "None".
        try:
            return chosen.to_native().to_pandas(ignore_metadata=True).infer_objects()
        except TypeError as error:
            # A dictionary of intervals, say, has entries that pandas cannot compare.
            kinds = {name: str(kind)[:60] for name, kind in chosen.schema.items()}
            raise DataError(
                explain(
                    "the table has levels that are no single values, such as intervals",
                    types=kinds,
                    advice="columns must hold numbers, text, booleans or categories",
                )
            ) from error
    return chosen.to_pandas().infer_objects()


def _from_dict(columns: Mapping[str, Any]) -> pd.DataFrame:
    import pandas as pd

    axes = {name: _axes(value) for name, value in columns.items()}
    lengths = {name: len(value) for name, value in columns.items() if axes[name] == 1}
    deep = [name for name in columns if axes[name] > 1]
    if deep:
        raise DataError(explain("columns must have one dimension", column=deep[0]))
    if len(set(lengths.values())) > 1:
        raise DataError(explain("columns differ in length", lengths=lengths))
    rows = next(iter(lengths.values()), 1)
    # Arrays align by position; two Series in a different order would be a silent mistake.
    labelled = {name: value for name, value in columns.items() if isinstance(value, pd.Series)}
    index = next((value.index for value in labelled.values()), pd.RangeIndex(rows))
    for name, value in labelled.items():
        if not value.index.equals(index):
            raise DataError(
                explain(
                    "the columns have different indices",
                    columns=[next(iter(labelled)), name],
                    advice="make one DataFrame of them, or use .to_numpy() if the order is the same",
                )
            )
    filled = {
        name: value.to_numpy() if isinstance(value, pd.Index) else value
        for name, value in columns.items()
        if axes[name] == 1
    }
    for name, value in columns.items():
        if name not in filled:
            single = value.item() if isinstance(value, np.ndarray) else value
            filled[name] = pd.Series([single] * rows, index=index)
    return pd.DataFrame(
        {name: filled[name] for name in columns}, index=index if len(columns) else range(rows)
    )


def _axes(value: Any) -> int:
    """Return the number of dimensions of a column: 0 for a scalar, 2 for lists of unequal length."""
    try:
        return np.ndim(value)
    except ValueError:
        return 2


def has_names(data: Any) -> bool:
    """Whether data are a table with named columns, not an array or a sparse matrix."""
    return any(hasattr(data, word) for word in ("columns", "column_names"))


def bare(data: Any) -> pd.DataFrame:
    """Return the rows of a table without columns, for a model that needs none."""
    import pandas as pd

    column_names(data)
    return pd.DataFrame(
        index=data.index if isinstance(data, pd.DataFrame) else range(rows_of(data))
    )


def library_of(data: Any) -> str:
    """Return the name of the library whose table this is; pandas, where it is none."""
    if data is None or isinstance(data, Mapping) or not has_names(data):
        return "pandas"
    import narwhals as nw

    try:
        return str(nw.from_native(data).implementation.value)
    except TypeError:
        return "pandas"


def to_library(frame: pd.DataFrame, name: str) -> Any:
    """Return a table of pandas as one of another library that narwhals can make."""
    if name == "pandas":
        return frame
    import narwhals as nw
    import pyarrow as pa

    table = pa.Table.from_pandas(frame, preserve_index=False)
    if name == "pyarrow":
        return table
    try:
        backend = nw.Implementation.from_backend(name)  # type: ignore[arg-type]  # any name
        return nw.from_arrow(table, backend=backend).to_native()  # type: ignore[arg-type]
    except (ValueError, TypeError):
        # Lazy tables of databases cannot be made of rows in memory.
        return frame


def rows_of(data: Any) -> int:
    """Return the number of rows of a table."""
    if isinstance(data, Mapping):
        return max((len(value) for value in data.values() if _axes(value) >= 1), default=1)
    if hasattr(data, "shape"):
        return int(data.shape[0])
    return len(select(data, column_names(data)[:1]))  # a lazy table


def missing_mask(frame: pd.DataFrame) -> tuple[np.ndarray, dict[str, int]]:
    """Return which rows have a missing or infinite value, and the counts by column."""
    import pandas as pd

    rows = np.zeros(len(frame), dtype=bool)
    counts = {}
    for name in frame.columns:
        column = frame[name]
        bad = column.isna().to_numpy()
        if pd.api.types.is_float_dtype(column.dtype):
            values = column.to_numpy(dtype=float, na_value=np.nan)
            bad = ~np.isfinite(values)
        if bad.any():
            counts[OWN.get(str(name), str(name))] = int(bad.sum())
            rows |= bad
    return rows, counts


def refuse_missing(frame: pd.DataFrame, *, advice: str) -> None:
    """Refuse missing or infinite values, naming columns and counts.

    Raises
    ------
    DataError
        If there is one.
    """
    _, counts = missing_mask(frame)
    if counts:
        told = ", ".join(f"{name} ({count})" for name, count in counts.items())
        raise DataError(explain(f"missing or infinite values in {told}", advice=advice))


def read_table(path: Any) -> pd.DataFrame:
    """Read a CSV or Parquet file.

    Parameters
    ----------
    path : str or Path
        Ending in ``.csv``, ``.csv.gz``, ``.tsv`` or ``.parquet``.

    Raises
    ------
    DataError
        If the file is missing, empty, damaged, or of another kind.
    """
    import pandas as pd

    path = Path(path)
    if not path.is_file():
        near = [p.name for p in path.parent.glob("*")] if path.parent.is_dir() else []
        raise DataError(explain(f"no such file{suggest(path.name, near)}", file=str(path)))
    name = path.name.lower()
    try:
        if name.endswith((".csv", ".csv.gz")):
            frame = _read_csv(path, ",")
        elif name.endswith(".tsv"):
            frame = _read_csv(path, "\t")
        elif name.endswith((".parquet", ".pq")):
            frame = pd.read_parquet(path)
        else:
            raise DataError(
                explain("a data file must end in .csv, .tsv or .parquet", file=str(path))
            )
    except (ValueError, EOFError, OSError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(explain(f"the file cannot be read: {error}", file=str(path))) from error
    if frame.empty:
        raise DataError(explain("the file has no rows", file=str(path)))
    return frame


def _read_csv(path: Path, separator: str) -> pd.DataFrame:
    import pandas as pd

    header = pd.read_csv(path, sep=separator, header=None, nrows=1, dtype=str).iloc[0].dropna()
    # pandas would call the second x "x.1".
    _unique(list(header))
    return pd.read_csv(path, sep=separator)

"""The right side of a formula: learned once on the training rows, then applied to any rows.

formulaic does the encoding. What it learned (knots, centres, scales, levels) is kept as plain data,
so that it can be written as JSON and rebuilt without running anything from a file.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.errors import DataError, Finding, explain
from bayesglm.expressions import check, parse
from bayesglm.formulas import Formula
from bayesglm.materials import materialize

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Column", "Encoding", "factored", "learn", "used"]

# Wider than this with fewer non-zeros than this share, a matrix is kept sparse.
WIDE, THIN = 100, 0.1
EXTRAPOLATING = ("poly", "bs", "cr", "cc", "cs")
# Powers of whole numbers up to here do not wrap around; names of levels look better whole.
WHOLE = 3_000


@dataclass(frozen=True)
class Column:
    """What was learned about a column of the data.

    Attributes
    ----------
    kind : str
        ``"number"``, ``"bool"`` or ``"category"``.
    levels : tuple
        Levels of a category, in order.
    lower, upper : float
        Range of a number over the training rows.
    """

    kind: str
    levels: tuple[Any, ...] = ()
    lower: float = float("nan")
    upper: float = float("nan")


@dataclass(frozen=True)
class Encoding:
    """How columns become the matrix of predictors; all fields are plain data.

    Attributes
    ----------
    right : str
        Right side of the formula, without offsets.
    names : tuple of str
        Columns of the matrix in formulaic's words, the constant among them.
    columns : dict of str to Column
        What was learned about each column of the data.
    transforms : dict
        formulaic's state of ``poly``, ``bs``, ``scale``, ... by factor.
    categories : dict of str to list
        Levels by categorical factor.
    sparse : bool
        Whether the matrix is kept sparse.
    left_out : tuple of str
        Columns that formulaic makes but the model does not use.
    """

    right: str
    names: tuple[str, ...]
    columns: dict[str, Column]
    transforms: dict[str, Any] = field(default_factory=dict)
    categories: dict[str, list[Any]] = field(default_factory=dict)
    sparse: bool = False
    left_out: tuple[str, ...] = ()

    @property
    def intercept(self) -> bool:
        """Whether there is a constant."""
        return "Intercept" in self.names

    @property
    def terms(self) -> tuple[str, ...]:
        """Columns of the matrix without the constant."""
        return tuple(n for n in self.names if n != "Intercept" and n not in self.left_out)

    def without(self, names: Iterable[str]) -> Encoding:
        """Return the encoding without some columns of its matrix."""
        return replace(self, left_out=(*self.left_out, *names))

    def apply(self, frame: pd.DataFrame, context: Mapping[str, Any] | None) -> Any:
        """Encode rows with what was learned; return the matrix without the constant.

        Raises
        ------
        DataError
            For an unseen level or a value beyond the knots of ``bs``.
        """
        matrix, _ = materialize(
            self.right,
            self.prepare(frame),
            context,
            sparse=self.sparse,
            transforms=self.transforms,
            categories=self.categories,
        )
        return _without_constant(matrix, self.names, self.left_out)

    def prepare(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Give columns the kinds they had in training, refusing unseen levels."""
        import pandas as pd

        prepared: dict[str, Any] = {}
        inside = factored(self.right)
        for name, column in self.columns.items():
            values = frame[name]
            if column.kind == "category":
                prepared[name] = _category(values, name, column)
            else:
                prepared[name] = _number(values, name, column, whole=name in inside)
        return pd.DataFrame(prepared, index=frame.index)

    def single_levels(self) -> tuple[Finding, ...]:
        """Return a finding for each factor that has one level, and so no effect."""
        return tuple(
            Finding(
                "one-level",
                "warning",
                f"The factor {name} has one level only, {column.levels[0]!r}: it has no effect.",
                where=name,
                advice="Leave it out.",
            )
            for name, column in self.columns.items()
            if column.kind == "category" and len(column.levels) == 1
        )

    def extrapolations(self, frame: pd.DataFrame) -> tuple[Finding, ...]:
        """Return a finding for each column beyond the training range of a curve through it."""
        found = []
        for factor in self.transforms:
            if factor.split("(")[0] not in EXTRAPOLATING:
                continue
            for name in _columns_in(factor, self.columns):
                column = self.columns[name]
                if column.kind != "number":
                    continue
                values = np.asarray(frame[name], dtype=float)
                if not values.size:
                    continue
                worst = float(max(column.lower - values.min(), values.max() - column.upper))
                if worst > 0:
                    found.append(
                        Finding(
                            "extrapolation",
                            "warning",
                            f"{factor} is extrapolated: {name} leaves its training range "
                            f"{column.lower:g} to {column.upper:g}.",
                            value=worst,
                            where=name,
                            advice="Read these predictions with care.",
                        )
                    )
        return tuple(found)


def _category(values: pd.Series, name: str, column: Column) -> Any:
    """Return a column as a factor with the levels of training."""
    import pandas as pd

    try:
        codes, seen = pd.factorize(values)
    except TypeError as error:
        raise DataError(
            explain(
                f"column {name!r} must hold single values, as in training",
                type=type(values.iloc[0]).__name__,
            )
        ) from error
    place = {level: code for code, level in enumerate(column.levels)}
    strange = [level for level in seen if level not in place]
    if strange:
        raise DataError(
            explain(
                f"column {name!r} has levels that were not there in training",
                levels=_plain(strange[:5]),
                advice=f"the known levels are {list(column.levels)[:20]}",
            )
        )
    # By equality, so that 0 and 1 stand for False and True, 2.0 for 2.
    table = np.array([place[level] for level in seen], dtype=np.int64)
    return pd.Categorical.from_codes(table[codes], categories=pd.Index(column.levels))


def _number(values: pd.Series, name: str, column: Column, *, whole: bool) -> Any:
    """Return a column as numbers or truth values, as it was in training."""
    import pandas as pd

    boolean = pd.api.types.is_bool_dtype(values.dtype)
    numeric = pd.api.types.is_numeric_dtype(values.dtype)
    if not boolean and (not numeric or pd.api.types.is_complex_dtype(values.dtype)):
        raise DataError(
            explain(f"column {name!r} must hold numbers, as in training", dtype=str(values.dtype))
        )
    if column.kind == "bool":
        numbers = values.to_numpy(dtype=float)
        if not np.isin(numbers, (0, 1)).all():
            raise DataError(
                explain(
                    f"column {name!r} must hold True or False, as in training",
                    value=float(numbers[~np.isin(numbers, (0, 1))][0]),
                )
            )
        return numbers.astype(bool)
    # C(x) names its levels by whole numbers; elsewhere floats, because x**3 of whole numbers may
    # wrap around without a word.
    whole = whole and (boolean or pd.api.types.is_integer_dtype(values.dtype))
    whole = whole and max(abs(column.lower), abs(column.upper)) <= WHOLE
    return values.to_numpy(dtype=np.int64 if whole else float)


def factored(right: str) -> set[str]:
    """Return the columns that stand inside C()."""
    found: set[str] = set()
    for match in re.finditer(r"(?<![\w.])C\(", right):
        depth, end = 1, match.end()
        while depth and end < len(right):
            depth += {"(": 1, ")": -1}.get(right[end], 0)
            end += 1
        inner = right[match.end() : end - 1]
        found |= {a or b for a, b in re.findall(r"`([^`]*)`|([^\W\d]\w*)", inner)}
    return found


def learn(
    formula: Formula, frame: pd.DataFrame, context: Mapping[str, Any] | None
) -> tuple[Encoding, Any, tuple[tuple[str, tuple[str, ...]], ...]]:
    """Learn the encoding from the training rows.

    Returns
    -------
    encoding : Encoding
    matrix : ndarray or scipy sparse array, shape (n, p)
        The encoded rows without the constant.
    structure : tuple
        For each of its columns the factors it is made of.
    """
    columns = {name: _learn_column(frame[name], name) for name in formula.right_columns}
    bare = Encoding(formula.right, (), columns)
    prepared = bare.prepare(frame)
    sparse = max(_level_counts(formula, columns, prepared), default=0) > WIDE
    matrix, spec = materialize(formula.right, prepared, context, sparse=sparse)
    names = tuple(str(name) for name in spec.column_names)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(
            explain("two terms have the same name", term=twice, advice="rename a column")
        )
    if sparse and matrix.nnz > THIN * matrix.shape[0] * matrix.shape[1]:
        sparse, matrix = False, matrix.toarray()
    structure = tuple(
        (str(name), tuple(str(factor.expr) for factor in row.term.factors))
        for row in spec.structure
        for name in row.columns
        if str(name) != "Intercept"
    )
    _refuse_degrees(spec.transform_state, prepared)
    categories = {
        str(expr): _plain(state["categories"])
        for expr, (_, state) in spec.encoder_state.items()
        if "categories" in state
    }
    encoding = Encoding(
        formula.right, names, columns, _plain(dict(spec.transform_state)), categories, sparse
    )
    return encoding, _without_constant(matrix, names), structure


def _columns_in(factor: str, columns: Iterable[Any]) -> list[str]:
    """Return the columns that an expression, checked before, names."""
    tree, quoted = parse(factor, factor)
    names = {quoted.get(n.id, n.id) for n in ast.walk(tree) if isinstance(n, ast.Name)}
    return sorted(names & set(columns))


def _refuse_degrees(transforms: Mapping[str, Any], frame: pd.DataFrame) -> None:
    """Refuse a polynomial through fewer values than it has degrees: the rest would be rounding."""
    for factor, state in transforms.items():
        columns = _columns_in(factor, frame) if "norms2" in state else []
        degree = len(state["norms2"]) - 1 if columns else 0
        distinct = int(np.prod([float(frame[name].nunique()) for name in columns]))
        if columns and degree >= distinct:
            raise DataError(
                explain(
                    f"{factor} needs more than {degree} different values",
                    values=distinct,
                    advice="use a lower degree, or C() for a factor",
                )
            )


def _level_counts(
    formula: Formula, columns: Mapping[str, Column], frame: pd.DataFrame
) -> list[int]:
    """Return how many levels each factor has; numbers are factors inside C()."""
    inside = factored(formula.right)
    return [
        len(column.levels) if column.kind == "category" else int(frame[name].nunique())
        for name, column in columns.items()
        if column.kind == "category" or (column.kind == "number" and name in inside)
    ]


def _learn_column(values: pd.Series, name: str) -> Column:
    import pandas as pd

    if isinstance(values.dtype, pd.CategoricalDtype):
        used = set(values.unique())
        return Column("category", tuple(_plain([c for c in values.cat.categories if c in used])))
    if pd.api.types.is_bool_dtype(values.dtype):
        return Column("bool")
    if pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_complex_dtype(
        values.dtype
    ):
        return Column("number", (), float(values.min()), float(values.max()))
    kinds = {str} if isinstance(values.dtype, pd.StringDtype) else {type(v) for v in values}
    if not all(issubclass(kind, str) for kind in kinds):
        raise DataError(
            explain(
                f"column {name!r} must hold numbers, text, booleans or categories",
                dtype=str(values.dtype),
                types=sorted(kind.__name__ for kind in kinds)[:5],
                advice=f"convert it first, such as data[{name!r}].astype(float)",
            )
        )
    return Column("category", tuple(sorted(pd.unique(values))))


def _without_constant(matrix: Any, names: tuple[str, ...], left_out: tuple[str, ...] = ()) -> Any:
    keep = [j for j, name in enumerate(names) if name != "Intercept" and name not in left_out]
    if len(keep) == len(names):
        return matrix
    # A slice needs no copy.
    whole = keep == list(range(1, len(names)))
    return matrix[:, 1:] if whole else matrix[:, keep]


def _plain(value: Any) -> Any:
    """Return numbers, text, lists and dicts only, whatever NumPy types formulaic kept."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)) or type(value).__name__ == "Index":
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


def used(
    structure: tuple[tuple[str, tuple[str, ...]], ...],
    encoding: Encoding,
    formula: Formula,
    context: Mapping[str, Any],
) -> dict[str, tuple[tuple[str, ...], bool]]:
    """Return for each term the columns it uses, and whether it comes from factors alone."""
    found = {}
    for term, factors in structure:
        columns: dict[str, None] = {}
        for factor in factors:
            text = f"`{factor}`" if factor in encoding.columns else factor
            columns |= dict.fromkeys(sorted(check(text, formula.text, context=context)))
        found[term] = (tuple(columns), all(f in encoding.categories for f in factors))
    return found

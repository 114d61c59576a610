"""Tables, formulas and words that people might hand over, right and wrong, for hypothesis.

A table is made from few choices (kinds of columns, seeds), so that hypothesis is quick to make it
and to shrink it. Sizes stay small, so that the models share their compiled programs.
"""

from __future__ import annotations

import datetime
import decimal
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from hypothesis import strategies as st

__all__ = ["METHODS", "Case", "cases"]

METHODS = ("mle", "map", "laplace")
ROWS = (0, 1, 2, 3, 5, 8, 13, 25, 40, 40, 40)
BIG = 10**30


def picked(*values):
    """Return a kind of column whose values are drawn from these."""

    def make(rng, n):
        found = np.empty(n, dtype=object)
        found[:] = [values[i] for i in rng.integers(len(values), size=n)]
        return found.tolist()

    return make


def text(*values):
    return lambda rng, n: rng.choice(np.array(values, dtype=object), size=n)


# A kind of column: a function of a generator and the number of rows.
PLAIN = {
    "normal": lambda rng, n: rng.normal(size=n),
    "uniform": lambda rng, n: rng.uniform(0.5, 3, n),
    "two numbers": lambda rng, n: rng.choice([-1.0, 1.0], n),
    "whole": lambda rng, n: rng.integers(-2, 4, n),
    "truth": lambda rng, n: rng.random(n) < 0.5,
    "text": text("a", "b", "c"),
    "category": lambda rng, n: pd.Categorical(rng.choice(list("abc"), n), list("cbad")),
}
ODD = {
    "sd 1e8": lambda rng, n: 1e8 * rng.normal(size=n),
    "sd 1e-8": lambda rng, n: 1e-8 * rng.normal(size=n),
    "far from 0": lambda rng, n: 1e8 + rng.normal(size=n),
    "very far from 0": lambda rng, n: 1e15 + rng.normal(size=n),
    "skewed": lambda rng, n: np.exp(20 * rng.normal(size=n)),
    "1e100": lambda rng, n: 1e100 * rng.normal(size=n),
    "1e-100": lambda rng, n: 1e-100 * rng.normal(size=n),
    "largest": lambda rng, n: rng.choice([-1e308, 1e308, 1.0], n),
    "one largest": lambda rng, n: np.where(np.arange(n) == n // 2, 1e308, rng.normal(size=n)),
    "subnormal": lambda rng, n: 5e-324 * rng.integers(-3, 4, n),
    "float32": lambda rng, n: rng.normal(size=n).astype("float32"),
    "float16": lambda rng, n: rng.normal(size=n).astype("float16"),
    "int8": lambda rng, n: rng.integers(-128, 128, n).astype("int8"),
    "uint8": lambda rng, n: rng.integers(0, 256, n).astype("uint8"),
    "uint64": lambda rng, n: rng.integers(2**63, 2**64 - 1, n, dtype="uint64"),
    "int64": lambda rng, n: rng.integers(-(2**62), 2**62, n),
    "Int64": lambda rng, n: pd.array(rng.integers(0, 5, n), dtype="Int64"),
    "Int8 with holes": lambda rng, n: pd.array(
        [pd.NA if r < 0.1 else int(9 * r) for r in rng.random(n)], dtype="Int8"
    ),
    "Float64": lambda rng, n: pd.array(rng.normal(size=n), dtype="Float64"),
    "boolean": lambda rng, n: pd.array(rng.random(n) < 0.5, dtype="boolean"),
    "boolean with holes": picked(True, False, False, True, None),
    "arrow double": lambda rng, n: pd.array(rng.normal(size=n), dtype="double[pyarrow]"),
    "arrow text": lambda rng, n: pd.array(rng.choice(["u", "v"], n), dtype="string[pyarrow]"),
    "string": lambda rng, n: pd.array(rng.choice(["u", "v"], n), dtype="string"),
    "odd text": text("", " ", "a b", "ä", "'", '"', "\\", "`", "a:b", "[T.x]", "\n", "{x}", "%s"),
    "empty text": text(""),
    "text like numbers": text("1", "2", "10", "1.0", "nan", "inf"),
    "text like truth": text("True", "False"),
    "missing text": picked("a", "b", None, float("nan")),
    "ordered": lambda rng, n: pd.Categorical(
        rng.choice(["low", "mid"], n), ["low", "mid", "top"], ordered=True
    ),
    "category of numbers": lambda rng, n: pd.Categorical(rng.integers(0, 3, n), [2, 0, 1, 7]),
    "category of truth": lambda rng, n: pd.Categorical(rng.random(n) < 0.5),
    "category of floats": lambda rng, n: pd.Categorical(rng.choice([0.1, 1e300, -0.0], n)),
    "category with holes": lambda rng, n: pd.Categorical(
        [None if r < 0.1 else "pq"[int(2 * r)] for r in rng.random(n)], list("pqr")
    ),
    "category of mixed": lambda rng, n: pd.Categorical(
        picked("a", 1)(rng, n), categories=["a", 1, 2.5]
    ),
    "empty category": lambda rng, n: pd.Categorical([None] * n, categories=["x"]),
    "intervals": lambda rng, n: pd.cut(pd.Series(rng.random(n)), [0, 0.3, 0.6, 1]),
    "dates": lambda rng, n: pd.to_datetime(rng.integers(0, 2**40, n), unit="s"),
    "dates with a zone": lambda rng, n: pd.to_datetime(rng.integers(0, 9, n), utc=True),
    "two dates": lambda rng, n: pd.to_datetime(rng.choice(["2020-01-01", "2021-01-01"], n)),
    "spans": lambda rng, n: pd.to_timedelta(rng.integers(0, 9, n), unit="D"),
    "periods": lambda rng, n: pd.PeriodIndex(
        pd.to_datetime(rng.integers(0, 2**30, n), unit="s"), freq="M"
    ),
    "days of Python": picked(datetime.date(2020, 1, 1), datetime.date(2021, 1, 1)),
    "decimals": picked(decimal.Decimal("0.5"), decimal.Decimal(2)),
    "large whole numbers": picked(BIG, 1, 2),
    "whole numbers as objects": picked(0, 1),
    "truth as objects": picked(True, False),
    "truth and numbers": picked(True, False, 2, 0.5),
    "mixed": picked("a", 1, 2.5, None, True),
    "text and numbers": picked("a", 1),
    "bytes": picked(b"x", b"y"),
    "lists": picked([1], [2, 3]),
    "tuples": picked((1, 2), (3,)),
    "dicts": picked({}, {"a": 1}),
    "arrays": picked(np.zeros(2), np.ones(2)),
    "nothing at all": picked(None),
    "NaN": lambda rng, n: np.full(n, np.nan),
    "NA": picked(pd.NA),
    "NaT": lambda rng, n: pd.to_datetime([None] * n),
    "infinite": lambda rng, n: np.where(rng.random(n) < 0.1, np.inf, rng.normal(size=n)),
    "infinite objects": picked(float("inf"), 1.0, 2),
    "zero": lambda rng, n: np.zeros(n),
    "minus zero": lambda rng, n: rng.choice([0.0, -0.0], n),
    "constant": lambda rng, n: np.full(n, 2.5),
    "constant far from 0": lambda rng, n: np.full(n, 1e9 + 0.1),
    "nearly constant": lambda rng, n: 1 + 1e-15 * rng.integers(0, 3, n),
    "constant text": text("only"),
    "names": lambda rng, n: np.array([f"id {i}" for i in range(n)], dtype=object),
    "complex": lambda rng, n: rng.normal(size=n) + 1j,
    "sparse": lambda rng, n: pd.arrays.SparseArray(rng.integers(0, 2, n).astype(float)),
}
COLUMNS = PLAIN | ODD

OUTCOMES = {
    "0 and 1": lambda rng, n: rng.integers(0, 2, n),
    "floats": lambda rng, n: rng.integers(0, 2, n).astype(float),
    "truth": lambda rng, n: rng.random(n) < 0.5,
    "text": text("no", "yes"),
    "category": lambda rng, n: pd.Categorical(rng.choice(["no", "yes"], n), ["yes", "no"]),
    "Int64": lambda rng, n: pd.array(rng.integers(0, 2, n), dtype="Int64"),
    "boolean": lambda rng, n: pd.array(rng.random(n) < 0.5, dtype="boolean"),
    "counts": lambda rng, n: rng.integers(0, 5, n),
    "uint8": lambda rng, n: rng.integers(0, 2, n).astype("uint8"),
    "1 and 2": lambda rng, n: rng.integers(1, 3, n),
    "three values": lambda rng, n: rng.integers(0, 3, n),
    "zeros": lambda rng, n: np.zeros(n),
    "ones": lambda rng, n: np.ones(n, dtype=int),
    "shares": lambda rng, n: rng.random(n),
    "negative": lambda rng, n: rng.integers(-1, 1, n),
}
NAMES = [
    *("x", "z", "g", "x1", "a_b", "größe", "東京", "X"),
    *("two words", "a.b", "a-b", "a+b", "a:b", "a*b", "a~b", "a|b", "(a)", "a)", "[a]", "a/b", "a%b"),
    *("a'b", 'a"b', "a`b", "`a`", "a\\b", "a\nb", "a\tb", "a{b}", "{", "a,b", "a=b", "a<b", "#"),
    *("Intercept", "class", "True", "None", "lambda", "C", "I", "poly", "np", "log", "offset"),
    *("cbind", "1", "0", "2.5", "-1", "", " ", ".", "_", "__weights", "_rows_", "_quoted_0_"),
    *("index", "inf", "nan", "e", "x[T.a]", "\u2126", "ﬁ", "\u212b", "x\u0301", "ª", "y", "dtype", "shape"),
    *("columns", "values", "T", "scale", "center", "Treatment", "contr", "Sum", "v", "sigma", "beta"),
]  # fmt: skip
ODD_NAMES = st.one_of(
    st.sampled_from(NAMES),
    st.text(max_size=5),
    st.sampled_from([1, 2.5, True, None, ("a", "b"), b"x", pd.Timestamp("2020-01-01"), np.int64(3)]),
)  # fmt: skip

# What a formula may do with a column; {} is its name, quoted where that is needed.
PLAIN_TERMS = ("{}",) * 6 + ("scale({})", "C({})")
TERMS = (
    *("{}", "{}", "C({})", "C({})", "I({} ** 2)", "I({} > 0)", "I({})", "I(-{})", "I(1 / {})"),
    *("poly({}, 2)", "poly({}, 3, raw=True)", "bs({}, df=4)", "cr({}, df=3)", "cc({}, df=3)"),
    *("scale({})", "center({})", "standardize({})", "log({})", "np.log({})", "np.exp({})"),
    *("np.log1p(np.abs({}))", "np.where({} > 0, {}, 0)", "C({}, Treatment('a'))", "sqrt({})"),
    *("C({}, contr.sum)", "C({}, Sum)", "C({}, contr.poly)", "C({}, levels=['a', 'b'])"),
    *("C({}, Helmert)", "C({}, Treatment(1))", "np.sign({})", "offset({})", "offset(log({}))"),
    *("np.maximum({}, 0)", "I({} == 'a')", "C(I({} > 0))", "np.power({}, 3)", "I({} % 2)"),
    *("bs({}, knots=[0.5])", "poly({}, 1)", "C({}, contr.diff)", "np.clip({}, 0, 1)", "I(~{})"),
    *("lag({})", "factor({})", "{}.values", "{} ** 2", "2 * {}", "({} + 1)", "I({} & {})"),
)
JOINS = (" + ",) * 6 + (
    " * ",
    ":",
    " - ",
    " / ",
    " % ",
    "",
    " +",
    "**",
    "|",
    "~",
    " + 1 + ",
    " - 1 + ",
)
RIGHTS = (
    "1",
    "0",
    "",
    ".",
    "-1",
    "0 + .",
    "1 + 1",
    ".**2",
    ". + .",
    "x ~ z",
    "((",
    "+",
    "NaN",
    "~",
)
LEFTS = ("{}",) * 12 + (
    *("{} == 'yes'", "{} > 0", "I({})", "cbind({}, {})", "cbind({}, 2 - {})", "1 - {}", "~{}"),
    *("log({})", "{} + 1", "{} == 1", "({})", "cbind({})", "{}:{}", "", "0", "{} == {}", "C({})"),
    *("{} > 0.5", "not {}", "{} in [1]", "-{}", "{} / 0"),
)
LINKS = ("logit",) * 8 + ("probit", "cloglog", "cauchit", "log", "identity")
ARRAYS = {
    "whole": lambda rng, n: rng.integers(0, 4, n),
    "ones": lambda rng, n: np.ones(n),
    "shares": lambda rng, n: rng.uniform(0.1, 2, n),
    "objects": lambda rng, n: np.ones(n, dtype=object),
    "list": lambda rng, n: [1] * n,
    "tens": lambda rng, n: rng.integers(5, 12, n),
    "truth": lambda rng, n: np.arange(n) % 3 > 0,
    "tiny": lambda rng, n: np.full(n, 1e-200),
    "huge": lambda rng, n: np.full(n, 1e200),
    "both": lambda rng, n: np.where(np.arange(n) % 2, 1e-12, 1e12),
    "negative": lambda rng, n: rng.integers(-2, 3, n),
    "zeros": lambda rng, n: np.zeros(n),
    "NaN": lambda rng, n: np.where(np.arange(n) == 1, np.nan, 1.0),
    "infinite": lambda rng, n: np.where(np.arange(n) == 1, np.inf, 1.0),
    "short": lambda rng, n: np.ones(max(n - 1, 0)),
    "long": lambda rng, n: np.ones(n + 1),
    "text": lambda rng, n: np.array(["a"] * n, dtype=object),
    "table": lambda rng, n: np.ones((n, 2)),
    "number": lambda rng, n: 2.0,
    "None": lambda rng, n: [None] * n,
    "complex": lambda rng, n: np.ones(n) + 1j,
    "lists": lambda rng, n: [[1]] * n,
    "Series": lambda rng, n: pd.Series(np.ones(n), index=range(7, 7 + n)),
    "dates": lambda rng, n: pd.date_range("2020", periods=n),
    "NA": lambda rng, n: pd.array([pd.NA] * n, dtype="Int64"),
}
EVENTS = (1, 2, "yes", "no", True, 0.0, None, float("nan"), [1], "a", b"x", pd.NA, np.int64(1), 1j)
PRIORS = ("weak", "weak", "weak", "flat", "rstanarm", "bambi", "gelman", "wide", {}, {"x": 3}, None)


@dataclass(frozen=True)
class Case:
    """One call: a model's words, a method's words, and new data to predict for."""

    formula: Any
    data: Any
    words: dict[str, Any]
    method: str
    new: Any
    stored: bool

    def __str__(self) -> str:
        shown = self.data
        if isinstance(shown, pd.DataFrame):
            kinds = [str(t) for t in shown.dtypes]
            shown = f"{shown.head(6).to_dict('list')!r}\n  dtypes {kinds}, {len(shown)} rows"
        return (
            f"formula {self.formula!r}\n  words {self.words!r}, method {self.method}\n"
            f"  {type(self.data).__name__} {shown}\n  new {self.new!r}"
        )


def quoted(draw, name) -> str:
    plain = str(name)
    usual = plain.isidentifier() and draw(st.integers(0, 9)) < 8
    return plain if usual or draw(st.integers(0, 19)) == 0 else f"`{plain}`"


@st.composite
def formulas(draw, left, names, odd):
    if draw(st.integers(0, 24)) == 0:
        return draw(
            st.one_of(
                st.text(alphabet="xyzg~+-*:()[]{}|%`'\".,0123456789 \\=<>&^@\n", max_size=12),
                st.sampled_from([None, 3, b"y ~ x", "y", "~", "y ~~ x", "y ~ x\x00", ["y ~ x"]]),
            )
        )
    shape = draw(st.sampled_from(LEFTS if odd else ("{}",)))
    right, terms = "", draw(st.integers(0, 3))
    for number in range(terms):
        name = quoted(draw, draw(st.sampled_from(names))) if names else "x"
        term = draw(st.sampled_from(TERMS if odd else PLAIN_TERMS))
        join = draw(st.sampled_from(JOINS if odd else JOINS[:8]))
        right += (join if number else "") + term.replace("{}", name)
    if not terms:
        right = draw(st.sampled_from(RIGHTS if odd else RIGHTS[:2]))
    return f"{shape.replace('{}', quoted(draw, left))} ~ {right}"


def as_kind(frame, kind):
    """Return a table in another library's hands, or as it is where that library refuses it."""
    try:
        match kind:
            case "polars":
                return pl.from_pandas(frame)
            case "polars lazy":
                return pl.from_pandas(frame).lazy()
            case "arrow":
                return pa.Table.from_pandas(frame)
            case "dict of lists":
                return {name: frame[name].tolist() for name in frame}
            case "dict of arrays":
                return {name: frame[name].to_numpy() for name in frame}
            case "dict of Series":
                return {name: frame[name] for name in frame}
    except (TypeError, ValueError, AttributeError, RuntimeError, NotImplementedError):
        pass
    except (pa.ArrowException, pl.exceptions.PolarsError, BaseException) as error:
        if type(error).__name__ != "PanicException" and not isinstance(error, Exception):
            raise
    return frame


KINDS = ("pandas",) * 12 + (
    *("polars", "polars lazy", "arrow", "dict of lists", "dict of arrays", "dict of Series"),
)


@st.composite
def tables(draw, odd):
    """Return a table, its outcome's name, and the names of the other columns."""
    n = draw(st.sampled_from(ROWS if odd else ROWS[5:]))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    number = draw(st.integers(0, 3))
    if odd and draw(st.booleans()):
        names = draw(st.lists(ODD_NAMES, min_size=number, max_size=number))
    else:
        names = ["x", "z", "g"][:number]
    outcome = draw(st.sampled_from(["y"] * 12 + NAMES)) if odd else "y"
    columns: list[tuple[Any, pd.Series]] = []
    kinds = draw(
        st.lists(
            st.sampled_from(list(COLUMNS) if odd else list(PLAIN)),
            min_size=number,
            max_size=number,
        )
    )
    index = pd.RangeIndex(n)
    for name, kind in zip(names, kinds, strict=True):
        columns.append((name, pd.Series(COLUMNS[kind](rng, n), index=index)))
    strange = odd and draw(st.integers(0, 9)) == 0
    kind = draw(st.sampled_from(list(COLUMNS if strange else OUTCOMES)))
    values = (COLUMNS if strange else OUTCOMES)[kind](rng, n)
    place = draw(st.integers(0, number))
    columns.insert(place, (outcome, pd.Series(values, index=index)))
    for word, make in (("w", ARRAYS["whole"]), ("t", ARRAYS["tens"])):
        columns.append((word, pd.Series(make(rng, n), index=index)))
    frame = pd.concat([column for _, column in columns], axis=1)
    if n == 0:
        frame = frame.iloc[:0]
    frame.columns = pd.Index([name for name, _ in columns], dtype=object)
    if odd and n:
        frame = _with_holes(draw, frame, rng)
        labels = draw(st.sampled_from(["range"] * 8 + ["text", "repeats", "dates", "levels"]))
        frame.index = {
            "range": index,
            "text": pd.Index([f"r{i}" for i in range(n)]),
            "repeats": pd.Index([0] * n),
            "dates": pd.date_range("2020", periods=n),
            "levels": pd.MultiIndex.from_arrays([range(n), range(n)]),
        }[labels]
    kind = draw(st.sampled_from(KINDS)) if odd and frame.columns.is_unique else "pandas"
    return frame, as_kind(frame, kind), outcome, [*names, *(["w"] if odd else [])]


def _with_holes(draw, frame, rng):
    if draw(st.integers(0, 7)):
        return frame
    hole = draw(st.sampled_from([None, float("nan"), float("inf"), -float("inf"), pd.NA]))
    j = draw(st.integers(0, frame.shape[1] - 1))
    values = frame.iloc[:, j].astype(object).tolist()
    values[int(rng.integers(len(values)))] = hole
    columns = [frame.iloc[:, i] for i in range(frame.shape[1])]
    columns[j] = pd.Series(values, index=frame.index)
    if draw(st.booleans()):
        columns[j] = columns[j].infer_objects()
    holed = pd.concat(columns, axis=1)
    holed.columns = frame.columns
    return holed


@st.composite
def new_tables(draw, frame, names):
    """Return new data: rows of the old, changed in a way that may or may not matter."""
    change = draw(
        st.sampled_from(
            [
                *("none", "none", "one row", "no rows", "missing column", "hole", "infinite"),
                *("unseen", "text", "numbers", "truth", "objects", "dict", "scalars", "polars"),
                *("huge", "array", "nothing", "shuffled", "categories", "number"),
            ]
        )
    )
    if not frame.columns.is_unique or not len(frame):
        return {"x": [1.0]}
    if change in ("array", "nothing", "number"):
        return {"array": np.ones((2, 2)), "nothing": [], "number": 3}[change]
    new = frame.iloc[: {"one row": 1, "no rows": 0}.get(change, 4)].copy()
    columns = {name: new[name] for name in new}
    name = draw(st.sampled_from(names)) if names else None
    if name is not None and name in columns:
        n = len(new)
        values = {
            "hole": [None] * n,
            "infinite": [float("inf")] * n,
            "unseen": ["never seen"] * n,
            "text": [str(v) for v in columns[name]],
            "numbers": np.arange(n),
            "truth": np.arange(n) % 2 == 0,
            "objects": columns[name].astype(object).tolist(),
            "huge": np.full(n, 1e300),
            "categories": pd.Categorical([str(v) for v in columns[name]]),
        }
        if change == "missing column":
            del columns[name]
        elif change in values:
            columns[name] = pd.Series(values[change], index=new.index)
    if change == "scalars":
        return {key: column.iloc[0] for key, column in columns.items()}
    if change == "dict":
        return {key: column.tolist() for key, column in columns.items()}
    found = pd.DataFrame(dict(columns), index=new.index)
    if change == "shuffled":
        return found.iloc[::-1, ::-1]
    return as_kind(found, "polars") if change == "polars" else found


@st.composite
def cases(draw, methods=METHODS):
    """Return a `Case`: a quarter of them of usual tables and terms, so that fits come out too."""
    odd = draw(st.integers(0, 3)) > 0
    frame, data, outcome, names = draw(tables(odd))
    formula = draw(formulas(outcome, names, odd))
    words: dict[str, Any] = {}
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    if draw(st.integers(0, 5)) == 0:
        words["link"] = draw(st.sampled_from(LINKS))
    elif draw(st.integers(0, 9)) == 0:
        words["family"] = "gaussian"
    if odd:
        words |= _words(draw, frame, names, rng)
    return Case(
        formula=formula,
        data=data,
        words=words,
        method=draw(st.sampled_from(methods)),
        new=draw(new_tables(frame, names)),
        stored=draw(st.integers(0, 11)) == 0,
    )


def _words(draw, frame, names, rng):
    words: dict[str, Any] = {}
    for word, usual in (("weights", "w"), ("trials", "t"), ("offset", "w")):
        if draw(st.integers(0, 11)) == 0:
            other = st.sampled_from(names) if names else st.just("x")
            kind = draw(st.sampled_from([None, None, "other", *ARRAYS]))
            words[word] = (
                usual
                if kind is None
                else draw(other)
                if kind == "other"
                else ARRAYS[kind](rng, len(frame))
            )
    if draw(st.integers(0, 9)) == 0:
        words["event"] = draw(st.sampled_from(EVENTS))
    if draw(st.integers(0, 3)) == 0:
        words["missing"] = "drop"
    if draw(st.integers(0, 11)) == 0:
        words["prior"] = draw(st.sampled_from(PRIORS))
    if draw(st.integers(0, 11)) == 0:
        words["center"] = draw(st.sampled_from([False, True, None, "no"]))
    if draw(st.integers(0, 11)) == 0:
        words["weights_kind"] = draw(st.sampled_from(["sampling", "frequency", "weird", None]))
    if draw(st.integers(0, 24)) == 0:
        words["link"] = draw(st.sampled_from(["logitt", None, 3, "student_t(4)", "student_t(-1)"]))
    if draw(st.integers(0, 24)) == 0:
        words["family"] = draw(st.sampled_from(["binomial", None, 3]))
    return words

"""Tables, formulas and words that people might hand over, right and wrong, for hypothesis.

hypothesis gives each case its own dice and the case is what these throw: cases that are independent
of each other find more here than small changes of the last one. Sizes stay small, so that the models
share their compiled programs.
"""

from __future__ import annotations

import datetime
import decimal
import warnings
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
PLAIN_OUTCOMES = {
    name: OUTCOMES[name] for name in ("0 and 1", "floats", "truth", "text", "category", "Int64")
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
OTHER_NAMES = [1, 2.5, True, None, ("a", "b"), b"x", pd.Timestamp("2020-01-01"), np.int64(3)]

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
PLAIN_JOINS = (" + ",) * 5 + (" * ",)
JOINS = (
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
LEFTS = (
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


class Dice:
    """Choices of a case."""

    def __init__(self, random):
        self.random = random
        self.rng = np.random.default_rng(random.getrandbits(64))

    def pick(self, choices):
        return self.random.choice(choices)

    def several(self, choices, number):
        return [self.random.choice(choices) for _ in range(number)]

    def whether(self, odds) -> bool:
        """Whether something happens that happens once in so many times."""
        return self.random.random() * odds < 1

    def text(self, letters, most) -> str:
        return "".join(self.several(letters, self.random.randint(0, most)))

    def name(self):
        if self.whether(5):
            return self.pick(OTHER_NAMES)
        if self.whether(4):
            return "".join(
                chr(self.random.choice([*range(1, 127), *range(160, 1500), 0x1F600]))
                for _ in range(self.random.randint(0, 5))
            )
        return self.pick(NAMES)


def quoted(dice, name) -> str:
    plain = str(name)
    usual = plain.isidentifier() and not dice.whether(5)
    return plain if usual or dice.whether(20) else f"`{plain}`"


LETTERS = "xyzg~+-*:()[]{}|%`'\".,0123456789 \\=<>&^@\n"
NO_FORMULAS = (None, 3, b"y ~ x", "y", "~", "y ~~ x", "y ~ x\x00", ["y ~ x"], "y ~ \ud800")


def formulas(dice, outcome, names, odd):
    if odd and dice.whether(20):
        return dice.text(LETTERS, 12) if dice.whether(2) else dice.pick(NO_FORMULAS)
    left = dice.pick(LEFTS) if odd and dice.whether(4) else "{}"
    terms = []
    for name in dice.several(names, dice.random.randint(0, 3)) if names else ():
        strange = odd and dice.whether(2)
        terms.append(dice.pick(TERMS if strange else PLAIN_TERMS).replace("{}", quoted(dice, name)))
    right = "".join(
        (dice.pick(JOINS if odd and dice.whether(5) else PLAIN_JOINS) if place else "") + term
        for place, term in enumerate(terms)
    )
    if not terms:
        right = dice.pick(RIGHTS if odd else RIGHTS[:1])
    return f"{left.replace('{}', quoted(dice, outcome))} ~ {right}"


# Panics of polars are no Exceptions.
REFUSALS = (TypeError, ValueError, LookupError, AttributeError, RuntimeError, OverflowError)


def as_kind(frame, kind):
    """Return a table in another library's hands, or as it is where that library refuses it."""
    try:
        match kind:
            case "polars":
                return pl.from_pandas(frame)
            case "polars lazy":
                return pl.from_pandas(frame).lazy()
            case "arrow":
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # names that are no text become text
                    return pa.Table.from_pandas(frame)
    except (*REFUSALS, pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return frame
    match kind:
        case "dict of lists":
            return {name: frame[name].tolist() for name in frame}
        case "dict of arrays":
            return {name: frame[name].to_numpy() for name in frame}
        case "dict of Series":
            return {name: frame[name] for name in frame}
    return frame


KINDS = ("polars", "polars lazy", "arrow", "dict of lists", "dict of arrays", "dict of Series")


def tables(dice, odd):
    """Return a table, the same in other hands, its outcome's name, and those of other columns."""
    rng, n = dice.rng, dice.pick(ROWS if odd else ROWS[5:])
    number = dice.random.randint(0, 3)
    names = ["x", "z", "g"][:number]
    if odd and dice.whether(3):
        names = [dice.name() for _ in names]
    outcome = dice.name() if odd and dice.whether(8) else "y"
    index = pd.RangeIndex(n)

    def column(kinds):
        return pd.Series(kinds[dice.pick(list(kinds))](rng, n), index=index)

    columns = [(name, column(COLUMNS if odd and dice.whether(2) else PLAIN)) for name in names]
    if odd and dice.whether(8):
        values = column(COLUMNS)
    else:
        values = column(OUTCOMES if odd else PLAIN_OUTCOMES)
    columns.insert(dice.random.randint(0, number), (outcome, values))
    for word, make in (("w", ARRAYS["whole"]), ("t", ARRAYS["tens"])):
        columns.append((word, pd.Series(make(rng, n), index=index)))
    if odd and n and dice.whether(8):
        columns = _with_hole(dice, columns)
    frame = pd.concat([column for _, column in columns], axis=1)
    frame.columns = pd.Index([name for name, _ in columns], dtype=object)
    if odd and n and dice.whether(5):
        labels = {
            "text": pd.Index([f"r{i}" for i in range(n)]),
            "repeats": pd.Index([0] * n),
            "dates": pd.date_range("2020", periods=n),
            "levels": pd.MultiIndex.from_arrays([range(n), range(n)]),
        }
        frame.index = labels[dice.pick(list(labels))]
    other = odd and frame.columns.is_unique and dice.whether(3)
    data = as_kind(frame, dice.pick(KINDS)) if other else frame
    return frame, data, outcome, [*names, *(["w"] if odd else [])]


def _with_hole(dice, columns):
    hole = dice.pick([None, float("nan"), float("inf"), -float("inf"), pd.NA])
    j = dice.random.randrange(len(columns))
    name, column = columns[j]
    values = column.astype(object).tolist()
    values[dice.random.randrange(len(values))] = hole
    holed = pd.Series(values, index=column.index, dtype=object)
    columns[j] = name, holed.infer_objects() if dice.whether(2) else holed
    return columns


CHANGES = (
    *("none", "none", "one row", "no rows", "missing column", "hole", "infinite", "unseen", "text"),
    *("numbers", "truth", "objects", "dict", "scalars", "polars", "huge", "array", "nothing"),
    *("shuffled", "categories", "number", "lists", "complex", "dates", "NA"),
)


def new_tables(dice, frame, names):
    """Return new data: rows of the old, changed in a way that may or may not matter."""
    change = dice.pick(CHANGES)
    if not frame.columns.is_unique or not len(frame):
        return {"x": [1.0]}
    if change in ("array", "nothing", "number"):
        return {"array": np.ones((2, 2)), "nothing": [], "number": 3}[change]
    new = frame.iloc[: {"one row": 1, "no rows": 0}.get(change, 4)].copy()
    columns = {name: new[name] for name in new}
    name = dice.pick(names) if names else None
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
            "lists": [[1]] * n,
            "complex": np.ones(n) + 1j,
            "dates": pd.date_range("2020", periods=n),
            "NA": pd.array([pd.NA] * n, dtype="Int64"),
        }
        if change == "missing column":
            del columns[name]
        elif change in values:
            columns[name] = pd.Series(values[change], index=new.index)
    if change == "scalars":
        return {key: column.iloc[0] for key, column in columns.items()}
    if change == "dict":
        return {key: column.tolist() for key, column in columns.items()}
    if not columns:
        return {}
    found = pd.concat(list(columns.values()), axis=1)
    found.columns = pd.Index(list(columns), dtype=object)
    if change == "shuffled":
        return found.iloc[::-1, ::-1]
    return as_kind(found, "polars") if change == "polars" else found


@st.composite
def cases(draw, methods=METHODS):
    """Return a `Case`: one in five is of usual tables and terms."""
    dice = Dice(draw(st.randoms(use_true_random=True)))
    odd = not dice.whether(5)
    frame, data, outcome, names = tables(dice, odd)
    formula = formulas(dice, outcome, names, odd)
    words: dict[str, Any] = {}
    if dice.whether(6):
        words["link"] = dice.pick(LINKS)
    elif dice.whether(10):
        words["family"] = "gaussian"
    if odd and dice.whether(2):
        words |= _words(dice, frame, names)
    return Case(
        formula=formula,
        data=data,
        words=words,
        method=dice.pick(methods),
        new=new_tables(dice, frame, names),
        stored=dice.whether(8),
    )


# What may be said wrong, and how.
SLIPS = {
    "prior": PRIORS,
    "center": (False, False, True, None, "no"),
    "weights_kind": ("sampling", "sampling", "frequency", "weird", None),
    "link": ("logitt", None, 3, "student_t(4)", "student_t(-1)"),
    "family": ("binomial", None, 3),
    "event": EVENTS,
    "precision": ("float32", "float16"),
}


def _words(dice, frame, names):
    words: dict[str, Any] = {"missing": "drop"} if dice.whether(3) else {}
    for word, usual in (("weights", "w"), ("trials", "t"), ("offset", "w")):
        if not dice.whether(5):
            continue
        kind = dice.pick([None, None, None, None, "other", *ARRAYS])
        if kind is None or (kind == "other" and not names):
            words[word] = usual
        else:
            words[word] = (
                dice.pick(names) if kind == "other" else ARRAYS[kind](dice.rng, len(frame))
            )
    for word, values in SLIPS.items():
        if dice.whether(15):
            words[word] = dice.pick(values)
    return words

"""Formulas: what they may say, the matrix they mean, and what they refuse."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import bayesglm as bg
from bayesglm.expressions import FUNCTIONS, NUMPY, TRANSFORMS


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """120 rows with an interior optimum: two numbers, a factor, a whole number, a truth value."""
    rng = np.random.default_rng(5)
    n = 120
    table = pd.DataFrame(
        {
            "x": rng.uniform(1, 5, n),
            "z": rng.normal(size=n),
            "g": rng.choice(list("abc"), n),
            "k": rng.integers(0, 4, n),
            "b": rng.random(n) < 0.5,
            "my col": rng.normal(size=n),
        }
    )
    p = 1 / (1 + np.exp(-(0.4 * table["x"] - 1.2 + 0.5 * table["z"])))
    y = rng.binomial(1, p)
    return table.assign(y=y, answer=np.where(y == 1, "yes", "no"), n=y + rng.integers(1, 4, n))


def dummies(values, *levels):
    return [(values == level).to_numpy(float) for level in levels]


# Each formula with the columns it means, made by hand.
MEANINGS = {
    "x + z": lambda d: [d.x, d.z],
    "x:z": lambda d: [d.x * d.z],
    "x*z": lambda d: [d.x, d.z, d.x * d.z],
    "(x + z + k)**2": lambda d: [d.x, d.z, d.k, d.x * d.z, d.x * d.k, d.z * d.k],
    "x + z + x:z - z": lambda d: [d.x, d.x * d.z],
    "g": lambda d: dummies(d.g, "b", "c"),
    "b": lambda d: [d.b],
    "C(k)": lambda d: dummies(d.k, 1, 2, 3),
    "C(g, Treatment('b'))": lambda d: dummies(d.g, "a", "c"),
    "C(g, contr.sum)": lambda d: [
        (d.g == "a") * 1.0 - (d.g == "c"),
        (d.g == "b") * 1.0 - (d.g == "c"),
    ],
    "C(g, levels=['c', 'a', 'b'])": lambda d: dummies(d.g, "a", "b"),
    "x*g": lambda d: [
        d.x,
        *dummies(d.g, "b", "c"),
        *(d.x * column for column in dummies(d.g, "b", "c")),
    ],
    "scale(x)": lambda d: [(d.x - d.x.mean()) / d.x.std()],
    "center(x)": lambda d: [d.x - d.x.mean()],
    "np.log(x)": lambda d: [np.log(d.x)],
    "log(x) + sqrt(x)": lambda d: [np.log(d.x), np.sqrt(d.x)],
    "I(x**2)": lambda d: [d.x**2],
    "I(x > 3)": lambda d: [d.x > 3],
    "np.where(x > 3, x, z)": lambda d: [np.where(d.x > 3, d.x, d.z)],
    "`my col` + np.abs(`my col`)": lambda d: [d["my col"], d["my col"].abs()],
    "x + offset(z)": lambda d: [d.x],
}


@pytest.mark.parametrize("right", MEANINGS)
def test_the_matrix_is_what_the_formula_says(frame, right):
    design = bg.Model(f"y ~ {right}", frame).design
    assert design.intercept
    expected = np.column_stack([np.asarray(c, float) for c in MEANINGS[right](frame)])
    np.testing.assert_allclose(design.matrix, expected, rtol=1e-12, atol=1e-12)


def test_curves_span_the_polynomials_they_should(frame):
    # Bases differ between programs, what they span does not: residuals on it are zero.
    powers = np.vander(frame["x"], 4)
    for right, degree in (("poly(x, 3)", 3), ("bs(x, df=6)", 3), ("cr(x, df=5)", 1)):
        matrix = bg.Model(f"y ~ {right}", frame).design.matrix
        full = np.column_stack([np.ones(len(frame)), matrix])
        target = powers[:, 3 - degree :]
        solved = full @ np.linalg.lstsq(full, target, rcond=None)[0]
        np.testing.assert_allclose(solved, target, rtol=1e-8)
    poly = bg.Model("y ~ poly(x, 3)", frame).design.matrix
    np.testing.assert_allclose(poly.T @ poly, np.eye(3), atol=1e-12)
    raw = bg.Model("y ~ poly(x, 2, raw=True)", frame).design.matrix
    np.testing.assert_allclose(raw, np.column_stack([frame["x"], frame["x"] ** 2]))


@pytest.mark.parametrize("right", ["cr(x, df=4)", "cc(x, df=4)", "cs(x, df=4)"])
def test_centred_splines_encode_new_rows_as_they_were_learned(frame, right, tmp_path):
    right = f"{right[:-1]}, constraints='center')"
    fit = bg.Model(f"y ~ {right}", frame).fit("mle")
    np.testing.assert_allclose(fit.predict(frame.iloc[3:9]), fit.predict()[3:9], rtol=1e-12)
    fit.save(tmp_path / "fit.nc")
    again = bg.load(tmp_path / "fit.nc")
    np.testing.assert_allclose(again.predict(frame.iloc[3:9]), fit.predict()[3:9], rtol=1e-12)


def test_fits_of_formulas_match_statsmodels_on_matrices_made_by_hand(frame):
    ones = np.ones(len(frame))
    cases = {
        "x*z": np.column_stack([ones, frame.x, frame.z, frame.x * frame.z]),
        "C(g, Treatment('b')) + np.log(x)": np.column_stack(
            [ones, *dummies(frame.g, "a", "c"), np.log(frame.x)]
        ),
        "0 + g": np.column_stack(dummies(frame.g, "a", "b", "c")),
    }
    for right, matrix in cases.items():
        other = sm.GLM(frame["y"], matrix, family=sm.families.Binomial()).fit(tol=1e-12)
        fit = bg.Model(f"y ~ {right}", frame).fit("mle")
        np.testing.assert_allclose(fit.coef, other.params, rtol=1e-8)
        np.testing.assert_allclose(fit.summary()["std_error"], other.bse, rtol=1e-6)


def test_left_sides_that_mean_the_same(frame):
    reference = bg.Model("y ~ x", frame).fit("mle")
    same = {
        "answer": {},
        "answer == 'yes'": {},
        "y > 0.5": {},
        "y == 1": {},
        "I(y)": {},
        "1 - (answer != 'yes')": {},
        "cbind(y, 1 - y)": {},
        "(answer == 'yes') & (x > 0)": {},
    }
    for left in same:
        fit = bg.Model(f"{left} ~ x", frame).fit("mle")
        np.testing.assert_allclose(fit.coef, reference.coef, rtol=1e-12)
    renamed = frame.rename(columns={"y": "the outcome"})
    fit = bg.Model("`the outcome` ~ x", renamed).fit("mle")
    np.testing.assert_allclose(fit.coef, reference.coef, rtol=1e-12)
    assert fit.design.outcome.name == "the outcome"


def test_cbind_is_events_and_the_rest(frame):
    paired = bg.Model("cbind(y, n - y) ~ x", frame).fit("mle")
    counted = bg.Model("y ~ x", frame, trials="n").fit("mle")
    np.testing.assert_allclose(paired.coef, counted.coef, rtol=1e-12)
    # Unsigned whole numbers wrap around in NumPy: 1 - 3 would be 254.
    small = frame.assign(y=frame["y"].astype("uint8"), n=frame["n"].astype("uint8"))
    np.testing.assert_allclose(bg.Model("cbind(y, n - y) ~ x", small).fit("mle").coef, paired.coef)
    with pytest.raises(bg.DataError, match="must not be negative"):
        bg.Model("cbind(n, y - n) ~ x", small)


@pytest.mark.parametrize("right", ["x - 1", "0 + x", "-1 + x", "x + 0", "x + z - z - 1"])
def test_ways_to_leave_the_intercept_out(frame, right):
    model = bg.Model(f"y ~ {right}", frame)
    assert not model.design.intercept
    assert model.design.terms == ("x",)


def test_a_full_stop_is_every_other_column(frame):
    table = frame[["y", "x", "z", "g", "k"]]

    def terms(right, **words):
        return bg.Model(f"y ~ {right}", table, **words).design.terms

    assert terms(".") == ("x", "z", "g[T.b]", "g[T.c]", "k")
    assert terms(". - x") == ("z", "g[T.b]", "g[T.c]", "k")
    assert terms(". + x:z")[-1] == "x:z"
    assert terms(". - g - k", weights="k") == ("x", "z")
    assert terms(". - g", offset="k") == ("x", "z")
    assert terms(". - g + offset(k)") == ("x", "z")
    pairs = bg.Model("y ~ .**2", table[["y", "x", "z", "k"]]).design.terms
    assert pairs == ("x", "z", "k", "x:z", "x:k", "z:k")
    odd = table[["y", "x"]].rename(columns={"x": "a + b, \\1 ~"})
    assert bg.Model("y ~ .", odd).design.terms == ("a + b, \\1 ~",)


def test_offsets_add_up_and_expect_a_coefficient_of_one(frame):
    def twice(formula, **words):
        return bg.Model(formula, frame, **words).fit("mle").coef.to_numpy()

    reference = twice("y ~ x", offset=(frame["z"] + np.log(frame["x"])).to_numpy())
    for formula, words in (
        ("y ~ x + offset(z + log(x))", {}),
        ("y ~ offset(z) + x + offset(np.log(x))", {}),
        ("y ~ x + offset(log(x))", {"offset": "z"}),
    ):
        np.testing.assert_allclose(twice(formula, **words), reference, rtol=1e-9)
    other = sm.GLM(
        frame["y"],
        sm.add_constant(frame["x"]),
        family=sm.families.Binomial(),
        offset=frame["z"] + np.log(frame["x"]),
    ).fit(tol=1e-12)
    np.testing.assert_allclose(reference, other.params, rtol=1e-8)


def test_powers_of_whole_numbers_do_not_wrap_around(frame):
    big = frame.assign(k=frame["k"] + 9_000_000)
    matrix = bg.Model("y ~ I(k**3) + I(k*k*k) + k:x", big).design.matrix
    exact = big["k"].astype(float)
    np.testing.assert_allclose(matrix[:, 0], exact**3, rtol=1e-15)
    np.testing.assert_allclose(matrix[:, 1], exact**3, rtol=1e-15)
    np.testing.assert_allclose(matrix[:, 2], exact * big["x"], rtol=1e-15)
    offset = bg.Model("y ~ x + offset(log(k**3))", big).design.offset
    np.testing.assert_allclose(offset, 3 * np.log(exact), rtol=1e-14)
    # Inside C() whole numbers keep their names.
    assert bg.Model("y ~ C(k)", frame).design.terms[0] == "C(k)[T.1]"


def test_functions_of_the_user(frame):
    def capped(values, at=3.0):
        return np.minimum(values, at)

    context = {"capped": capped, "limit": 2.0}
    model = bg.Model("y ~ capped(x) + capped(x, at=4) + I(x * limit)", frame, context=context)
    x = frame["x"]
    expected = np.column_stack([np.minimum(x, 3), np.minimum(x, 4), 2 * x])
    np.testing.assert_allclose(model.design.matrix, expected)
    curve = bg.Model("y ~ poly(capped(x), 2)", frame, context=context).fit("mle")
    np.testing.assert_allclose(curve.predict(frame[:3]), curve.predict()[:3], rtol=1e-12)
    with pytest.raises(bg.FormulaError, match=r"capped is not allowed.*context"):
        bg.Model("y ~ capped(x)", frame)
    for broken in (lambda v: 1 / 0, lambda v: v[:3], lambda v: 3.0, 7):
        with pytest.raises(bg.DataError, match="cannot be encoded"):
            bg.Model("y ~ capped(x)", frame, context={"capped": broken})


# Expressions that would run code, read files, reach objects, or fill the memory.
DANGEROUS = [
    "__import__('os').system('true')",
    "eval('1')",
    "exec('1')",
    "open('/etc/passwd')",
    "getattr(x, 'values')",
    "breakpoint()",
    "np.load('x.npy')",
    "np.random.rand(3)",
    "np.linalg.inv(x)",
    "os.system('true')",
    "x.__class__",
    "x.values",
    "x.mean()",
    "np.__dict__",
    "np.log.__globals__",
    "().__class__",
    "scale(x).__class__",
    "contr.treatment.__init__",
    "'{0.__class__}'.format(x)",
    "f'{x}'",
    "'%s' % x",
    "x[0]",
    "(lambda: x)()",
    "[v for v in x]",
    "(v for v in x)",
    "(w := x)",
    "{1: x}",
    "x if x else z",
    "np.log(*x)",
    "np.log(**x)",
    "np.log(x, out=x)",
    "9**9**9 * x",
    "x * 9**9**9",
    "x ** (9**9**9)",
    "'a' * 10**9",
    "[x] * 10**9",
    "(x,) * 10**9",
    "poly(x, 100000000)",
    "bs(x, df=100000000)",
]


@pytest.mark.parametrize("text", DANGEROUS)
@pytest.mark.parametrize(
    "formula", ["y ~ {}", "y ~ I({})", "y ~ z + log({}):z", "{} ~ z", "y ~ z + offset({})"]
)
def test_what_is_not_on_the_list_is_refused_everywhere(frame, formula, text):
    # A bare a.b may be the name of a column, which is then not found; nothing is looked up in a.
    with pytest.raises((bg.FormulaError, bg.DataError)) as caught:
        bg.Model(formula.format(text), frame)
    assert isinstance(caught.value, bg.FormulaError) or "no column" in str(caught.value)


@pytest.mark.parametrize(
    "right",
    [
        "(x + z)**40",
        "(x + z)^1000000",
        "((x + z)**5)**5",
        "*".join(f"v{i}" for i in range(25)),
        "I(" + "x + " * 5_000 + "x)",
        "[x ~ z]",
    ],
)
def test_formulas_without_end_are_refused_at_once(frame, right):
    with pytest.raises(bg.FormulaError):
        bg.Model(f"y ~ {right}", frame)


def test_a_broken_formula_does_not_touch_the_data(frame):
    before = frame.copy()
    for right in ("np.log(x, out=x)", "np.abs(z, z)", "np.square(x, z)"):
        with pytest.raises(bg.FormulaError, match="takes"):
            bg.Model(f"y ~ {right}", frame)
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("y", 'the form "y ~ x1'),
        ("~ x", 'the form "y ~ x1'),
        ("y ~", 'the form "y ~ x1'),
        ("y ~ x ~ z", 'the form "y ~ x1'),
        (5, "must be text"),
        ("y ~ x +", "does not parse"),
        ("y ~ (x", "does not parse"),
        ("y ~ x > 3", r"I\(x > 0\)"),
        ("y ~ x | g", r"\| may not stand between terms"),
        ("y ~ x**2", r"write I\(x\*\*2\)"),
        ("y ~ z + x^2", r"write I\(x\*\*2\)"),
        ("y ~ (x + z)**k", "exponent"),
        ("y ~ 2:x", r"write I\(2 \* x\)"),
        ("y ~ z + 0:x", r"write I\(2 \* x\)"),
        ("y ~ ``", "can be the name"),
        ("log(y y) ~ x", "backticks"),
        ("y ~ x - offset(z)", "only be added"),
        ("y ~ offset(z):x", "offset"),
        ("y ~ y + x", "stands on the right side too"),
        ("y == 1 ~ y", "stands on the right side too"),
        ("y ~ np.exp(1)", "names no column"),
        ("y ~ factor(g)", 'did you mean "C"'),
        ("y ~ ns(x, 3)", 'did you mean "cr"'),
        ("y ~ ln(x)", 'did you mean "log"'),
        ("y ~ sine(x)", "the function sine is not allowed"),
        ("answer in ['yes'] ~ x", "cannot stand here"),
        ("poly(y, 2) ~ x", "cannot stand here"),
        ("cbind(y) ~ x", "events and non-events"),
        ("cbind(y, n, k) ~ x", "events and non-events"),
    ],
)
def test_slips_in_formulas_are_named(frame, formula, words):
    with pytest.raises(bg.FormulaError, match=words):
        bg.Model(formula, frame)


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("y ~ xx", r"no column 'xx'.*did you mean"),
        ("yy ~ x", r"no column 'yy'"),
        ("y ~ x + offset(zz)", r"no column 'zz'.*\"z\""),
        ("y ~ offset(g)", r"offset\(g\) must be a number"),
        ("y ~ np.log(z)", r"term np.log\(z\) has missing or infinite"),
        ("y ~ offset(log(z))", "offset has missing or infinite"),
        ("y ~ poly(g, 2)", "cannot be encoded"),
        ("y ~ poly(k, 4)", "more than 4 different values"),
        ("y ~ C(g, Treatment('q'))", "q.*not in list"),
        ("y ~ C(g, levels=['a', 'b'])", "c"),
        ("y ~ np.where(x > 2, 'lo', 'hi')", r"C\(\)"),
        ("y ~ 0", "no coefficients"),
        ("3 ~ x", "no column"),
    ],
)
def test_formulas_that_do_not_fit_the_data_are_named(frame, formula, words):
    with pytest.raises(bg.DataError, match=words):
        bg.Model(formula, frame)


def test_columns_with_the_names_of_functions(frame):
    named = frame.rename(columns={"x": "scale", "z": "C", "k": "class"})
    model = bg.Model("y ~ scale + C + class", named)
    assert model.design.terms == ("scale", "C", "class")
    np.testing.assert_array_equal(model.design.matrix[:, 0], named["scale"])
    # formulaic would call the column.
    for right in ("scale(C)  + scale", "scale(scale)", "C(g) + C"):
        with pytest.raises(bg.FormulaError, match="name of a function"):
            bg.Model(f"y ~ {right}", named)
    same = frame.rename(columns={"y": "C"})
    assert bg.Model("C ~ x", same).design.y.sum() == frame["y"].sum()


def test_names_that_a_formula_would_misread_are_refused(frame):
    # formulaic takes a column called 1 for the constant, and merges a:b with the interaction.
    numbers = frame[["y", "x", "z"]].set_axis(["y", 0, 1], axis=1)
    for formula in ("y ~ .", "y ~ `1`"):
        with pytest.raises(bg.FormulaError, match="can be the name"):
            bg.Model(formula, numbers)
    with pytest.raises(bg.DataError, match="two terms have the same name"):
        bg.Model("y ~ x:z + `x:z`", frame.assign(**{"x:z": 1.0 * frame["k"]}))
    with pytest.raises(bg.DataError, match="Intercept"):
        bg.Model("y ~ x + Intercept", frame.assign(Intercept=frame["z"]))
    # Not used, it does no harm.
    assert bg.Model("y ~ x", frame.assign(Intercept=1.0)).design.terms == ("x",)


@pytest.mark.parametrize("name", sorted(FUNCTIONS - TRANSFORMS))
def test_every_listed_function_works(frame, name):
    if name.startswith("contr."):
        right = f"C(g, {name}())"
    elif name == "np.where":
        right = "np.where(x > 3, x, z)"
    elif name == "np.clip":
        right = "np.clip(x, 2, 3)"
    elif name.removeprefix("np.") in (
        "fmax",
        "fmin",
        "hypot",
        "maximum",
        "minimum",
        "mod",
        "power",
    ):
        right = f"{name}(x, 2)"
    else:
        # Within the domain of every one of them, arcsin included.
        right = f"{name}(x / 6)"
    matrix = bg.Model(f"y ~ {right}", frame).design.matrix
    assert np.isfinite(matrix).all()
    bare = name.removeprefix("np.")
    if bare in NUMPY and bare not in ("where", "clip") and right.endswith("(x / 6)"):
        np.testing.assert_allclose(matrix[:, 0], getattr(np, bare)(frame["x"] / 6), rtol=1e-14)

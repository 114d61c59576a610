"""Bad input, a case a line: a clear error that names the column and what to do, or a right answer.

What test_data.py, test_formulas.py and test_fit.py have is not repeated. The second half holds what
test_fuzz.py found.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import bayesglm as bg

quiet = pytest.mark.filterwarnings("ignore::bayesglm.BayesGLMWarning")


def make(n=60, seed=4) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.normal(50, 10, n),
            "dose": rng.uniform(1, 2, n),
            "site": np.resize(list("abc"), n),
        }
    )
    p = 1 / (1 + np.exp(-(0.03 * (frame["age"] - 50) + 0.4 * (frame["dose"] - 1.5))))
    t = rng.integers(1, 5, n)
    return frame.assign(ill=rng.binomial(1, p), t=t, cases=rng.binomial(t, p))


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return make()


@pytest.fixture(scope="module")
def fitted(frame):
    return bg.Model("ill ~ age + site", frame).fit("mle")


def changed(frame, **columns):
    """Return the table with columns made anew; a function gets the old table."""
    return frame.assign(**{n: v(frame) if callable(v) else v for n, v in columns.items()})


def first(value, other=1.0):
    return lambda d: np.where(np.arange(len(d)) == 0, value, other)


# -- words -----------------------------------------------------------------------------------------

WORDS = [
    ({"link": "probitt"}, r'unknown link.*did you mean "probit".*logit'),
    ({"link": "student_t(-1)"}, "df"),
    ({"link": 3}, "link"),
    ({"family": "binomial"}, r"family.*bernoulli"),
    ({"family": "bernouli"}, r'did you mean "bernoulli"'),
    ({"prior": "weakk"}, r'did you mean "weak"'),
    ({"prior": "rstan"}, r'did you mean "rstanarm"'),
    ({"prior": {"agee": "weak"}}, "agee"),
    ({"prior": {"age": 3}}, "age"),
    ({"missing": "dropp"}, r'did you mean "drop"'),
    ({"weights_kind": "survey"}, "sampling"),
    ({"center": "yes"}, "center"),
    ({"precision": "float16"}, "float32"),
]


@pytest.mark.parametrize(("words", "message"), WORDS)
def test_words_that_are_not_known_are_named_with_the_nearest(frame, words, message):
    with pytest.raises(bg.SpecificationError, match=message):
        bg.Model("ill ~ age", frame, **words)


METHODS = [
    ("mlee", {}, r'did you mean "mle".*mle, map, laplace'),
    ("NUTS", {}, "nuts"),
    ("", {}, "use one of"),
    ("mle", {"draws": 100}, r'"mle" has no option "draws"'),
    ("nuts", {"draw": 100}, r'did you mean "draws"'),
    ("mle", {"optimiser": "newton"}, r'did you mean "optimizer"'),
    ("mle", {"optimizer": "lbgfs"}, r'did you mean "lbfgs"'),
    ("mle", {"cov": "HC4"}, "HC3"),
    ("mle", {"cluster": "sitee"}, r'no column .sitee.*did you mean "site"'),
    ("nuts", {"draws": -1}, "positive"),
    ("nuts", {"chains": 0}, "positive"),
    ("nuts", {"seed": -1}, "seed"),
    ("nuts", {"seed": "one"}, "seed"),
    ("laplace", {"draws": 2.5}, "positive integer"),
]


@pytest.mark.parametrize(("method", "options", "message"), METHODS)
def test_methods_and_options_are_named_with_the_nearest(frame, method, options, message):
    with pytest.raises(bg.BayesGLMError, match=message):
        bg.Model("ill ~ age + site", frame).fit(method, **options)


# -- formulas --------------------------------------------------------------------------------------

FORMULAS = [
    ("", "the form"),
    ("   ", "the form"),
    ("~", "the form"),
    ("ill", "the form"),
    ("ill ~ age ~ dose", "the form"),
    ("ill ~~ age", "the form"),
    ("ill ~ age + (dose", "does not parse"),
    ("ill ~ age)", "does not parse"),
    ("ill ~ log(age", "does not parse"),
    ("ill ~ age ++", "does not parse"),
    ("ill ~ agee", r"no column 'agee'.*did you mean \"age\".*the columns are age, dose"),
    ("il ~ age", r"no column 'il'.*did you mean \"ill\""),
    ("ill ~ C(sites)", r"no column 'sites'.*\"site\""),
    ("cbind(1, 2 - True) ~ age", "left side of the formula has no column"),
    ("ill ~ age + offset(doze)", r"no column 'doze'.*\"dose\""),
    ("ill ~ scal(age)", r'did you mean "scale"'),
    ("ill ~ np.lg(age)", r"np\.lg"),
]


@pytest.mark.parametrize(("formula", "message"), FORMULAS)
def test_formulas_that_do_not_parse(frame, formula, message):
    with pytest.raises((bg.FormulaError, bg.DataError), match=message):
        bg.Model(formula, frame)


# -- data ------------------------------------------------------------------------------------------

DATA = [
    ("no rows", lambda d: d.iloc[:0], {}, "no rows"),
    ("missing everywhere", lambda d: changed(d, age=np.nan), {}, r"age \(60\).*drop"),
    ("None everywhere", lambda d: changed(d, site=None), {}, r"site \(60\)"),
    ("dropped all", lambda d: changed(d, age=np.nan), {"missing": "drop"}, r"every row.*age"),
    ("one NaN", lambda d: changed(d, age=first(np.nan)), {}, r"age \(1\)"),
    ("an infinite value", lambda d: changed(d, age=first(-np.inf)), {}, r"age \(1\)"),
    ("1e308", lambda d: changed(d, age=first(1e308)), {}, r"age are too large.*unit"),
    ("-1e308", lambda d: changed(d, age=first(-1e308)), {}, r"age are too large.*unit"),
    ("1e-200", lambda d: changed(d, age=1e-200 * d["age"]), {}, r"age are too small.*unit"),
    (
        "text for numbers",
        lambda d: changed(d, age=lambda d: d["age"].astype(object).where(d.index > 0, "?")),
        {},
        r"'age' must hold numbers.*astype",
    ),
    ("lists", lambda d: changed(d, age=pd.Series([[1]] * 60)), {}, "'age' must hold numbers"),
    (
        "dates",
        lambda d: changed(d, age=pd.date_range("2020", periods=60)),
        {},
        "'age' must hold numbers",
    ),
    ("names twice", lambda d: pd.concat([d, d[["age"]]], axis=1), {}, r"unique.*age.*rename"),
    ("a reserved name", lambda d: d.rename(columns={"dose": "__weights"}), {}, "reserved"),
    (
        "outcome of one text",
        lambda d: changed(d, ill="no"),
        {},
        r"'ill' has one value only.*event=",
    ),
    (
        "outcome of three",
        lambda d: changed(d, ill=np.resize([0, 1, 2], 60)),
        {},
        r"'ill' has 3 values.*trials=",
    ),
    (
        "outcome of shares",
        lambda d: changed(d, ill=np.linspace(0, 1, 60)),
        {},
        "'ill' has 60 values",
    ),
    ("outcome of 1 and 2", lambda d: changed(d, ill=d["ill"] + 1), {}, "event=2"),
    ("outcome missing", lambda d: changed(d, ill=first(np.nan)), {}, r"ill \(1\)"),
    (
        "negative weight",
        lambda d: changed(d, w=first(-1.0)),
        {"weights": "w"},
        "negative.*smallest=-1",
    ),
    ("NaN weight", lambda d: changed(d, w=first(np.nan)), {"weights": "w"}, r"w \(1\)"),
    ("infinite weight", lambda d: changed(d, w=first(np.inf)), {"weights": "w"}, r"w \(1\)"),
    ("weights of 0", lambda d: changed(d, w=0), {"weights": "w"}, "nor all 0"),
    (
        "short weights",
        lambda d: d,
        {"weights": np.ones(3)},
        r"weights must have one value for each of 60 rows.*3",
    ),
    ("weights as text", lambda d: d, {"weights": "site"}, "'site' must hold numbers"),
    ("unknown weights", lambda d: d, {"weights": "doses"}, r'did you mean "dose"'),
    (
        "short offset",
        lambda d: d,
        {"offset": np.ones(61)},
        "offset must have one value for each of 60",
    ),
    ("NaN offset", lambda d: changed(d, o=first(np.nan)), {"offset": "o"}, r"o \(1\)"),
    ("infinite offset", lambda d: d, {"offset": np.full(60, np.inf)}, r"offset \(60\)"),
]


@pytest.mark.parametrize(("name", "change", "words", "message"), DATA, ids=[d[0] for d in DATA])
def test_data_that_cannot_be_used_are_named(frame, name, change, words, message):
    with pytest.raises(bg.DataError, match=message):
        bg.Model("ill ~ age + site", change(frame), **words)


TRIALS = [
    (lambda d: d["cases"] - 1, "events must lie between 0 and the trials", "t"),
    (lambda d: d["cases"] + 4, r"between 0 and the trials \(first bad row", "t"),
    (lambda d: 0 * d["t"], "trials must be positive|between 0 and the trials", None),
    (lambda d: -d["t"], "between 0 and the trials", None),
]


@pytest.mark.parametrize(("column", "message", "trials"), TRIALS)
def test_counts_that_cannot_be_are_named(frame, column, message, trials):
    words = {"cases": column(frame)} if trials else {"t": column(frame)}
    with pytest.raises(bg.DataError, match=message):
        bg.Model("cases ~ age", frame.assign(**words), trials="t")


def test_fractions_of_events_are_an_answer_with_a_note(frame):
    halves = frame.assign(cases=frame["cases"] / 2, t=frame["t"] / 2.0)
    half = bg.Model("cases ~ age", halves, trials="t").fit("mle")
    whole = bg.Model("cases ~ age", frame, trials="t").fit("mle")
    assert [finding.code for finding in half.findings] == ["non-integer-counts"]
    # Half of everything is half of the information.
    np.testing.assert_allclose(half.coef, whole.coef, rtol=1e-7)
    np.testing.assert_allclose(half.vcov, 2 * whole.vcov, rtol=1e-7)
    with pytest.raises(bg.DataError, match="whole numbers of trials"):
        half.predict(kind="outcome", draws=True)


@quiet
@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("method", ["map", "laplace"])
def test_one_class_is_an_answer_under_priors(frame, value, method):
    model = bg.Model("ill ~ age", frame.assign(ill=value))
    with pytest.raises(bg.InferenceError, match=r"no events|events only.*weak"):
        model.fit("mle")
    p = model.fit(method).predict()
    assert ((p < 0.2) if value == 0 else (p > 0.8)).all()


@quiet
def test_one_row_and_more_columns_than_rows_are_answers_under_priors():
    one = pd.DataFrame({"y": [1], "x": [2.0]})
    fit = bg.Model("y ~ x", one).fit("map")
    # A constant column tells nothing: its coefficient stays at the prior's mean.
    assert fit.coef["x"] == pytest.approx(0.0, abs=1e-9)
    # log p + log Normal(0, 1.5): 1 - p = b / 2.25.
    b = fit.coef["Intercept"]
    assert 1 / (1 + np.exp(b)) == pytest.approx(b / 2.25, rel=1e-8)
    with pytest.raises(bg.InferenceError):
        bg.Model("y ~ x", one).fit("mle")
    rng = np.random.default_rng(8)
    wide = pd.DataFrame(rng.normal(size=(5, 7)), columns=list("abcdefg")).assign(y=[0, 1, 0, 1, 1])
    with pytest.raises(bg.InferenceError):
        bg.Model("y ~ .", wide).fit("mle")
    fit = bg.Model("y ~ .", wide).fit("map")
    # The mode, by its equations: X'(y - p) = b / s^2 with the prior's scales.
    X = wide[list("abcdefg")] - fit.priors.center
    p = fit.predict()
    scales = fit.priors.table()["scale"].to_numpy()[1:]
    score = X.T.to_numpy() @ (wide["y"] - p) - fit.coef.to_numpy()[1:] / scales**2
    np.testing.assert_allclose(score, 0, atol=1e-8)


@pytest.mark.parametrize("method", ["mle", "map", "laplace"])
@pytest.mark.parametrize("unit", [1e8, 1e-8, 1e120, 1e-120])
@pytest.mark.parametrize("link", ["logit", "probit"])
def test_columns_of_any_unit_have_the_same_answer(frame, method, unit, link):
    """Against a fit of the same column with an sd of 1, to 1e-8 in estimates and errors."""
    x = (frame["age"] - frame["age"].mean()) / frame["age"].std()
    words = {"seed": 1} if method == "laplace" else {}
    # Newton's last step may differ in its last digits; another step would be of size 1e-16.
    one, other = (
        bg.Model("ill ~ x + dose", frame.assign(x=x * scale), link=link).fit(method, **words)
        for scale in (1.0, unit)
    )
    back = np.array([1.0, unit, 1.0])
    np.testing.assert_allclose(other.coef * back, one.coef, rtol=1e-8)
    errors = [fit.summary()["std_error"] for fit in (one, other)]
    np.testing.assert_allclose(errors[1] * back, errors[0], rtol=1e-8)
    np.testing.assert_allclose(other.predict(), one.predict(), rtol=1e-8)
    assert np.isfinite(other.summary()).all(axis=None)


@quiet
@pytest.mark.parametrize("method", ["map", "laplace"])
def test_constant_columns_are_an_answer_under_priors(frame, method):
    flat = frame.assign(one=3.0, zero=0.0)
    with pytest.raises(bg.InferenceError, match="one"):
        bg.Model("ill ~ age + one", flat).fit("mle")
    with pytest.raises(bg.InferenceError, match="zero"):
        bg.Model("ill ~ age + zero", flat).fit("mle")
    fit = bg.Model("ill ~ age + one + zero", flat).fit(method)
    rest = bg.Model("ill ~ age", flat).fit(method)
    if method == "map":
        assert fit.coef["age"] == pytest.approx(rest.coef["age"], rel=1e-7)
        np.testing.assert_allclose(fit.predict(), rest.predict(), rtol=1e-7)
        # Nothing was learned of them: the prior's sd, 1.5 for a constant column under logit.
        np.testing.assert_allclose(fit.summary()["std_error"][["one", "zero"]], 1.5, rtol=1e-9)


# -- new data --------------------------------------------------------------------------------------

NEW = [
    ({"site": "a"}, r"no column 'age'.*the columns are site"),
    ({"Age": 50, "site": "a"}, r"no column 'age'.*did you mean \"Age\""),
    ({"age": 50, "site": "d"}, r"'site' has levels.*\['d'\].*known levels are \['a', 'b', 'c'\]"),
    ({"age": np.nan, "site": "a"}, r"age \(1\).*drop or fill"),
    ({"age": 50, "site": None}, r"site \(1\)"),
    ({"age": "50", "site": "a"}, r"'age' must hold numbers"),
    ({"age": 50, "site": 1}, r"'site' has levels"),
    ({"age": [[50]], "site": "a"}, "one dimension"),
    ({"age": 1e308, "site": "a"}, "too large"),
    ({}, "no column 'age'"),
    (3, "DataFrame or a dict"),
]


@pytest.mark.parametrize(("new", "message"), NEW)
def test_new_data_that_cannot_be_used_are_named(fitted, new, message):
    with pytest.raises(bg.DataError, match=message):
        fitted.predict(new)


# -- what test_fuzz.py found -----------------------------------------------------------------------


def test_warnings_of_python_about_a_formula_are_not_for_its_user(frame):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert bg.Model("ill ~ age + I(dose > 1)", frame).design.p == 2
        with pytest.raises(bg.FormulaError):
            bg.Model("ill ~ C(site, Treatment('\\d'))", frame)


def test_a_row_alone_in_its_cell_has_an_interval():
    """The sandwich of a least-squares fit knows no error there; rounding may make it negative."""
    w = np.array([2, 1, 0, 3, 0, 0, 3, 2, 3, 2, 3, 2, 2])
    y = np.array([0, 0, 0, 0, 0, 1, 1, 1, 0, 1, 0, 0, 1])
    fit = bg.Model("y ~ C(w)", {"y": y, "w": w}, family="gaussian").fit("mle")
    estimate, lower, upper = fit.predict_interval({"w": [1]})
    np.testing.assert_allclose([estimate, lower, upper], 0, atol=1e-6)


def test_a_constant_number_of_non_events_is_repeated():
    data = {"s": [1, 2, 4, 3], "x": [0.0, 1.0, 2.0, 3.0]}
    design = bg.Model("cbind(s, 5) ~ x", data).design
    np.testing.assert_array_equal(design.trials, [6, 7, 9, 8])


def test_an_arrow_column_of_intervals_is_named():
    import pyarrow as pa

    cut = pd.cut([0.1, 0.5, 0.7, 0.9], [0, 0.3, 0.6, 1])
    table = pa.Table.from_pandas(pd.DataFrame({"x": cut, "y": [0, 1, 0, 1]}))
    with pytest.raises(bg.DataError, match="levels that are no single values"):
        bg.Model("y ~ x", table)


def test_weights_and_trials_whose_product_is_no_number_are_refused(frame):
    many = np.full(len(frame), 1e200)
    with pytest.raises(bg.DataError, match="too large to compute with"):
        bg.Model("ill ~ age", frame.assign(ill=1.0), weights=many, trials=many)

"""Predictions, comparisons and slopes are those of marginaleffects and of closed forms."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import arviz as az
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.interpolate import BSpline

import bayesglm as bg
from bayesglm.effects.encodings import derivative_of
from bayesglm.effects.rows import rows_of

REFERENCE = json.loads(
    (Path(__file__).parent / "reference" / "effects" / "marginaleffects.json").read_text()
)
CASES = REFERENCE["cases"]
DATA = pd.DataFrame(REFERENCE["data"])
NEW = pd.DataFrame(REFERENCE["new"])

# What is asked of us, for each case of marginaleffects.
OURS = {
    "predictions rows": (bg.predictions, {"newdata": NEW}),
    "predictions mean": (bg.predictions, {"by": True}),
    "predictions by": (bg.predictions, {"by": "g"}),
    "difference factor": (bg.comparisons, {"variables": "g", "by": True}),
    "difference pairwise": (bg.comparisons, {"variables": {"g": "pairwise"}, "by": True}),
    "difference number": (bg.comparisons, {"variables": {"x": 1}, "by": "g"}),
    "difference ends": (bg.comparisons, {"variables": {"x": [1.0, 3.0]}, "by": True}),
    "difference rows": (bg.comparisons, {"variables": {"x": 1}, "newdata": NEW}),
    "ratio": (bg.comparisons, {"variables": "b", "by": True, "comparison": "ratio"}),
    "lnor": (bg.comparisons, {"variables": "b", "by": True, "comparison": "lnor"}),
    "lift": (bg.comparisons, {"variables": "b", "by": True, "comparison": "lift"}),
    "slope linear": (bg.slopes, {"variables": "x", "by": True}),
    "slope interaction": (bg.slopes, {"variables": "x", "by": "g"}),
    "slope polynomial": (bg.slopes, {"variables": "x", "by": True}),
    "slope log": (bg.slopes, {"variables": "x", "by": True}),
    "slope rows": (bg.slopes, {"variables": "z", "newdata": NEW}),
    "slope probit": (bg.slopes, {"variables": "x", "by": True}),
    "slope cloglog": (bg.slopes, {"variables": "x", "by": True}),
    "slope cauchit": (bg.slopes, {"variables": "z", "by": True}),
    "elasticity eyex": (bg.slopes, {"variables": "x", "by": True, "slope": "eyex"}),
    "elasticity eydx": (bg.slopes, {"variables": "x", "by": True, "slope": "eydx"}),
    "elasticity dyex": (bg.slopes, {"variables": "x", "newdata": NEW, "slope": "dyex"}),
    "weighted slope": (bg.slopes, {"variables": "x", "by": True}),
    "weighted difference": (bg.comparisons, {"variables": "g", "by": True}),
    "aggregated slope": (bg.slopes, {"variables": "x", "by": True}),
    "aggregated predictions": (bg.predictions, {"by": "g"}),
    "robust slope": (bg.slopes, {"variables": "x", "by": True}),
    "robust ratio": (bg.comparisons, {"variables": "b", "by": True, "comparison": "ratio"}),
}


def fitted(formula, link="logit", weights=None, cov="nonrobust", trials=False):
    if trials:
        formula = formula.replace("y ~", "cbind(s, t - s) ~")
    return bg.Model(formula, DATA, link=link, weights=weights).fit("mle", cov=cov)


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("hypothesis")])
def test_answers_are_those_of_marginaleffects(name):
    ask, words = OURS[name]
    table = ask(fitted(**CASES[name]["fit"]), **words)
    theirs = pd.DataFrame(CASES[name]["rows"])
    assert len(table) == len(theirs)
    np.testing.assert_allclose(table["estimate"], theirs["estimate"], rtol=2e-6, atol=1e-7)
    np.testing.assert_allclose(table["std_error"], theirs["std_error"], rtol=1e-4)


# -- derivatives of the encoding -----------------------------------------------------------------

FORMULAS = [
    "y ~ x",
    "y ~ x * z * g",
    "y ~ I(x**2) + x:z",
    "y ~ np.log(x) * g",
    "y ~ log(x):z + np.sqrt(x) + exp(-x):g",
    "y ~ I(x * z) + I(x / (1 + z**2))",
    "y ~ poly(x, 3)",
    "y ~ poly(x, 3) * g",
    "y ~ poly(x, 2):z",
    "y ~ bs(x, df=6)",
    "y ~ bs(x, df=5, degree=2):g",
    "y ~ bs(x, df=5):z",
    "y ~ cr(x, df=4)",
    "y ~ cr(x, df=5):g + z",
    "y ~ cs(x, df=4) + cc(x, df=4):z",
    "y ~ scale(x) * g + center(x):z",
    "y ~ np.maximum(x, 2.0) + z",
]


@pytest.mark.parametrize("formula", FORMULAS)
def test_derivatives_are_those_of_the_encoding(formula):
    """Against a central difference of the encoding, away from knots, where x is 0 too."""
    data = DATA.assign(x=DATA["x"].where(np.arange(len(DATA)) % 40 != 3, 1.0))
    if "log" not in formula:
        data["x"] -= 1.0
    rows = rows_of(bg.Model(formula, data), None, None)
    derivative = derivative_of(rows, "x")
    assert derivative.step is None
    part = slice(0, rows.n)
    tangent = derivative.at(part)
    ours = np.zeros((rows.n, rows.matrix.shape[1]))
    ours[:, tangent.columns] = tangent.values
    x = rows.frame["x"].to_numpy()
    inside = (x > x.min()) & (x < x.max())
    step = 1e-5
    ends = [rows.changed(part, {"x": np.where(inside, x + h, x)}).matrix for h in (step, -step)]
    theirs = (ends[0] - ends[1]) / (2 * step)
    kinks = np.abs(x - 2.0) < 1e-4
    inside &= ~kinks
    size = np.abs(theirs).max(initial=1e-3)
    np.testing.assert_allclose(ours[inside], theirs[inside], atol=3e-8 * size)


def test_ends_of_a_spline_have_the_slope_of_its_inside():
    data = DATA.assign(x=DATA["x"] - 1.0)
    rows = rows_of(bg.Model("y ~ bs(x, df=5)", data), None, None)
    x = rows.frame["x"].to_numpy()
    tangent = derivative_of(rows, "x").at(slice(0, rows.n))
    low, high = x.argmin(), x.argmax()
    knots = rows.fit.design.encoding.transforms["bs(x, df=5)"]["knots"]
    for place in (low, high):
        values = BSpline(knots, np.eye(len(knots) - 4), 3)(x[place], nu=1)[1:]
        np.testing.assert_allclose(tangent.values[place], values, rtol=1e-9, atol=1e-9)


def test_what_has_no_rule_is_a_difference_that_says_its_step():
    fit = bg.Model("y ~ own(x) + bs(np.log(x), df=4)", DATA, context={"own": np.arctan}).fit("map")
    table = bg.slopes(fit, "x", by=True)
    assert "central difference of the encoding, step" in table.notes[0]
    assert bg.slopes(fitted("y ~ x"), "x", by=True).notes == ()


# -- closed forms ----------------------------------------------------------------------------------


def test_the_average_slope_of_a_linear_probability_model_is_its_coefficient():
    fit = bg.Model("y ~ x + z + g", DATA, family="gaussian").fit("mle")
    table = bg.slopes(fit, ["x", "z"], by=True)
    np.testing.assert_allclose(table["estimate"], fit.coef[["x", "z"]], rtol=1e-12)
    errors = np.sqrt(np.diag(fit.vcov))[[1, 2]]
    np.testing.assert_allclose(table["std_error"], errors, rtol=1e-10)


def logistic(fit, data):
    """The average slope of x and its error, written out: p(1-p)b, and its gradient."""
    X = np.column_stack([np.ones(len(data)), data["x"], data["z"]])
    b = fit.coef.to_numpy()
    p = 1 / (1 + np.exp(-(X @ b + np.log(data["t"].to_numpy()))))
    v = p * (1 - p)
    gradient = np.mean((v * (1 - 2 * p) * b[1])[:, None] * X, axis=0)
    gradient[1] += v.mean()
    return (v * b[1]).mean(), np.sqrt(gradient @ fit.vcov.to_numpy() @ gradient)


def test_offsets_count():
    fit = bg.Model("y ~ x + z + offset(np.log(t))", DATA).fit("mle")
    estimate, error = logistic(fit, DATA)
    table = bg.slopes(fit, "x", by=True)
    np.testing.assert_allclose(
        table[["estimate", "std_error"]].iloc[0], [estimate, error], rtol=1e-9
    )
    new = bg.slopes(fit, "x", DATA, by=True)
    np.testing.assert_allclose(new["estimate"], estimate, rtol=1e-12)
    column = bg.Model("y ~ x + z", DATA.assign(o=np.log(DATA["t"])), offset="o").fit("mle")
    np.testing.assert_allclose(bg.slopes(column, "x", by=True)["estimate"], estimate, rtol=1e-8)
    array = bg.Model("y ~ x + z", DATA, offset=np.log(DATA["t"].to_numpy())).fit("mle")
    np.testing.assert_allclose(bg.slopes(array, "x", by=True)["estimate"], estimate, rtol=1e-8)
    # The exposure is a variable too: its slope goes through the offset.
    p = fit.predict()
    np.testing.assert_allclose(bg.slopes(fit, "t")["estimate"], p * (1 - p) / DATA["t"], rtol=1e-9)


def test_odds_ratios_and_log_ratios_go_together():
    fit = fitted("y ~ x * z + b")
    ask = {"variables": "b", "by": "g"}
    ratio = bg.comparisons(fit, comparison="odds_ratio", **ask)
    log = bg.comparisons(fit, comparison="lnor", **ask)
    for name in ("estimate", "lower", "upper"):
        np.testing.assert_allclose(np.log(ratio[name]), log[name], rtol=1e-10)
    np.testing.assert_allclose(ratio["std_error"], ratio["estimate"] * log["std_error"])
    np.testing.assert_allclose(ratio["p_value"], log["p_value"])
    # Of each row alone the odds ratio is exp(coefficient), whatever the row.
    alone = bg.comparisons(fit, "b", comparison="odds_ratio")
    np.testing.assert_allclose(alone["estimate"], np.exp(fit.coef["b"]), rtol=1e-9)


def test_intervals_of_probabilities_are_those_of_predict_interval():
    fit = fitted("y ~ x * z + g", link="probit")
    table = bg.predictions(fit, NEW)
    expected = fit.predict_interval(NEW)
    np.testing.assert_allclose(table[["estimate", "lower", "upper"]].T, expected, rtol=1e-9)
    # What stands behind the table: the whole covariance.
    np.testing.assert_allclose(np.sqrt(np.diag(table.vcov)), table["std_error"], rtol=1e-9)


# -- posteriors --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def posterior():
    return bg.Model("y ~ x * g + z", DATA).fit("laplace", draws=200, chains=2, seed=3)


def by_hand(fit, table, **changes):
    return fit.predict(table.assign(**changes), draws=True)


def test_draws_are_those_of_the_probabilities(posterior):
    table = bg.comparisons(posterior, {"x": 1}, by="g")
    change = by_hand(posterior, DATA, x=DATA["x"] + 1) - by_hand(posterior, DATA)
    assert table.draws.dims == ("chain", "draw", "row")
    for k, level in enumerate(table["g"]):
        hand = change[:, DATA["g"] == level].mean(axis=1)
        np.testing.assert_allclose(table.draws[..., k].to_numpy().ravel(), hand, atol=1e-12)
        row = table.iloc[k]
        np.testing.assert_allclose(row["estimate"], hand.mean(), rtol=1e-10)
        np.testing.assert_allclose(row["std_error"], hand.std(ddof=1), rtol=1e-10)
        np.testing.assert_allclose(
            row[["lower", "upper"]].tolist(), np.quantile(hand, [0.025, 0.975])
        )
        assert row["p_direction"] == max((hand > 0).mean(), (hand < 0).mean())


@pytest.mark.parametrize("slope", ["dydx", "eyex", "eydx", "dyex"])
@pytest.mark.parametrize("by", [None, True, "g"])
def test_slopes_of_draws_are_differences_of_probabilities(posterior, slope, by):
    table = bg.slopes(posterior, "x", by=by, slope=slope)
    h, x = 1e-5, DATA["x"].to_numpy()
    p = by_hand(posterior, DATA)
    hand = by_hand(posterior, DATA, x=x + h) - by_hand(posterior, DATA, x=x - h)
    hand /= 2 * h
    hand = hand / p if slope[0] == "e" else hand
    hand = hand * x if slope[2:] == "ex" else hand
    if by == "g":
        hand = np.stack([hand[:, DATA["g"] == g].mean(axis=1) for g in table["g"]], axis=1)
    elif by:
        hand = hand.mean(axis=1, keepdims=True)
    ours = table.draws.to_numpy().reshape(hand.shape)
    np.testing.assert_allclose(ours, hand, rtol=1e-6, atol=1e-9)


def test_small_memory_gives_the_same_answers(posterior, monkeypatch):
    """Blocks of a few rows and draws."""
    asks = [
        lambda fit, **more: bg.predictions(fit, **more),
        lambda fit, **more: bg.comparisons(fit, by="g", **more),
        lambda fit, **more: bg.slopes(fit, ["x", "z"], by="g", **more),
        lambda fit, **more: bg.slopes(fit, ["x", "z"], **more),
    ]
    fits = (posterior, fitted("y ~ x * g + z"))
    whole = [ask(fit) for ask in asks for fit in fits]
    monkeypatch.setattr("bayesglm.effects.engine.ROWS", 7)
    monkeypatch.setattr("bayesglm.effects.engine.FEW", 5)
    monkeypatch.setattr("bayesglm.effects.engine.DRAWS", 11)
    parts = [ask(fit, memory=1e6) for ask in asks for fit in fits]
    for a, b in zip(whole, parts, strict=True):
        pd.testing.assert_frame_equal(pd.DataFrame(a), pd.DataFrame(b), rtol=1e-10)
    with pytest.raises(bg.SpecificationError, match="they would take"):
        _ = bg.predictions(posterior, pd.concat([DATA] * 4), memory=1e6).draws


@pytest.mark.slow
def test_average_effects_of_nuts_are_those_of_the_delta_method():
    """100,000 rows: estimate to 1 % of its size, error to 5 % (4,000 draws know it to 1.1 %)."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(100_000, 4))
    y = rng.binomial(1, 1 / (1 + np.exp(-X @ np.array([0.5, -0.4, 0.3, 0.6]))))
    model = bg.Model.from_arrays(X, y)
    point = bg.slopes(model.fit("mle"), by=True)
    draws = bg.slopes(model.fit("nuts", seed=1), by=True)
    np.testing.assert_allclose(draws["estimate"], point["estimate"], rtol=0.01)
    np.testing.assert_allclose(draws["std_error"], point["std_error"], rtol=0.05)


# -- what is asked -----------------------------------------------------------------------------------


def test_arrays_and_repeated_rows_are_asked_the_same():
    X = DATA[["x", "z"]].to_numpy()
    arrays = bg.Model.from_arrays(X, DATA["y"], names=["x", "z"]).fit("mle")
    table = fitted("y ~ x + z")
    for by in (None, True):
        for ask in (bg.predictions, bg.slopes, bg.comparisons):
            ours, theirs = ask(arrays, by=by), ask(table, by=by)
            np.testing.assert_allclose(ours["estimate"], theirs["estimate"], rtol=1e-8)
            np.testing.assert_allclose(ours["std_error"], theirs["std_error"], rtol=1e-8)
    many = pd.concat([DATA[["y", "b", "g"]]] * 10, ignore_index=True)
    merged = bg.Model("y ~ b * g", many).fit("mle")
    assert merged.design.different < len(many)
    once = bg.comparisons(fitted("y ~ b * g"), by="g")
    np.testing.assert_allclose(
        bg.comparisons(merged, by="g")["estimate"], once["estimate"], rtol=1e-8
    )


def test_weights_of_averages_can_be_given():
    fit = fitted("y ~ x + z")
    given = bg.predictions(fit, by=True, weights="w")["estimate"][0]
    p = fit.predict()
    np.testing.assert_allclose(given, np.average(p, weights=DATA["w"]))
    np.testing.assert_allclose(
        bg.predictions(fit, by=True, weights=DATA["w"].to_numpy())["estimate"][0], given
    )


def test_columns_of_by_may_be_scalars_or_missing():
    fit = fitted("y ~ x + z")
    table = bg.predictions(fit, {"x": [1.0, 2.0], "z": 0.0, "who": "me"}, by="who")
    assert list(table["who"]) == ["me"]
    np.testing.assert_allclose(
        table["estimate"][0], fit.predict({"x": [1.0, 2.0], "z": 0.0}).mean()
    )
    part = NEW.assign(who=["a", None, "b"])
    with pytest.raises(bg.DataError, match="who"):
        bg.predictions(fit, part, by="who")


def test_tables_know_what_stands_behind_them(posterior, tmp_path):
    table = bg.slopes(fitted("y ~ x + z + g"), by=True)
    assert isinstance(table, pd.DataFrame)
    assert list(table["term"]) == ["x", "z", "g", "g"]
    again = pickle.loads(pickle.dumps(table))
    np.testing.assert_array_equal(again.vcov, table.vcov)
    assert type(table[["estimate"]]) is pd.DataFrame
    with pytest.raises(bg.SpecificationError, match="no draws"):
        _ = table.draws
    drawn = bg.slopes(posterior, by=True)
    assert drawn.draws.shape == (2, 200, len(drawn))
    assert np.isfinite(az.ess(drawn.draws.to_dataset(name="slope"))["slope"]).all()


WRONG = [
    (bg.slopes, {"variables": "xx"}, "no variable .xx."),
    (bg.slopes, {"variables": "x", "slope": "dy"}, "unknown slope.*dydx"),
    (bg.slopes, {"slope": "eyex"}, "elasticities are for numbers.*g"),
    (bg.comparisons, {"comparison": "diff"}, "unknown comparison.*difference"),
    (bg.comparisons, {"variables": {"g": "all"}}, "reference, pairwise"),
    (bg.comparisons, {"variables": {"g": ("low", "lower")}}, "two levels"),
    (bg.comparisons, {"variables": {"x": "iqrs"}}, "sd, 2sd, iqr"),
    (bg.comparisons, {"variables": {"x": None, "b": "sd", "z": True}}, "step or two ends"),
    (bg.comparisons, {"variables": 3}, "must be a name"),
    (bg.predictions, {"by": "h"}, "no column 'h'"),
    (bg.predictions, {"by": 3}, "by must be True"),
    (bg.predictions, {"by": True, "weights": -np.ones(160)}, "at least 0"),
    (bg.predictions, {"by": True, "weights": np.ones(3)}, "one for each row"),
    (bg.predictions, {"level": 95}, "level must lie"),
    (bg.predictions, {"memory": 5}, "memory"),
    (bg.predictions, {"newdata": {"x": 1.0}}, "no column"),
]


@pytest.mark.parametrize(("ask", "words", "message"), WRONG)
def test_wrong_words_are_named(ask, words, message):
    with pytest.raises(bg.BayesGLMError, match=message):
        ask(fitted("y ~ x + z + b + g"), **words)


# -- hypotheses and grids ----------------------------------------------------------------------------


def test_a_linear_hypothesis_is_that_of_marginaleffects():
    case = CASES["hypothesis linear"]
    table = bg.hypotheses(fitted(**case["fit"]), "x + 2 * z = b")
    theirs = case["rows"][0]
    np.testing.assert_allclose(table["estimate"][0], theirs["estimate"], rtol=1e-6)
    np.testing.assert_allclose(table["std_error"][0], theirs["std_error"], rtol=1e-5)


def test_nonlinear_hypotheses_by_the_delta_method(posterior):
    fit = fitted("y ~ x + z + g")
    b, cov = fit.coef, fit.vcov
    table = bg.hypotheses(fit, ["exp(x) / z", "`g[T.top]` = `g[T.mid]`", "b2 = b3"])
    gradient = pd.Series(0.0, index=b.index)
    gradient["x"], gradient["z"] = np.exp(b["x"]) / b["z"], -np.exp(b["x"]) / b["z"] ** 2
    np.testing.assert_allclose(table["estimate"][0], np.exp(b["x"]) / b["z"], rtol=1e-10)
    np.testing.assert_allclose(
        table["std_error"][0], np.sqrt(gradient @ cov @ gradient), rtol=1e-10
    )
    np.testing.assert_allclose(table["estimate"][1], b["g[T.top]"] - b["g[T.mid]"])
    np.testing.assert_allclose(table["estimate"][2], b.iloc[1] - b.iloc[2])
    drawn = bg.hypotheses(posterior, "exp(x) = 1", equivalence=(-1, 1))
    hand = np.exp(posterior.posterior["beta"].sel(term="x").to_numpy()) - 1
    np.testing.assert_allclose(drawn["estimate"][0], hand.mean())
    assert drawn["in_region"][0] == ((hand > -1) & (hand < 1)).mean()


def test_equivalence_is_two_one_sided_tests():
    fit = fitted("y ~ x + z")
    row = bg.hypotheses(fit, "x = z", equivalence=(-2.0, 2.0)).iloc[0]
    below = stats.norm.sf((row["estimate"] + 2) / row["std_error"])
    above = stats.norm.cdf((row["estimate"] - 2) / row["std_error"])
    np.testing.assert_allclose(row[["p_noninferior", "p_nonsuperior"]].tolist(), [below, above])
    assert row["p_equivalent"] == max(row["p_noninferior"], row["p_nonsuperior"])


def test_hypotheses_about_answers_use_their_covariance(posterior):
    fit = fitted("y ~ x * g + z")
    table = bg.slopes(fit, "x", by="g")
    found = bg.hypotheses(table, "b1 = b2")
    v = table.vcov
    np.testing.assert_allclose(found["std_error"][0], np.sqrt(v[0, 0] + v[1, 1] - 2 * v[0, 1]))
    drawn = bg.slopes(posterior, "x", by="g")
    hand = drawn.draws[..., 0] - drawn.draws[..., 1]
    np.testing.assert_allclose(bg.hypotheses(drawn, "b1 = b2")["estimate"][0], float(hand.mean()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = ", "empty"),
        ("xx = 1", 'did you mean "x"'),
        ("x < 1", "one '='"),
        ("x = z = 1", "one '='"),
        ("1 = 2", "names no coefficient"),
        ("__import__('os') = x", "function|stand|listed|unknown"),
        ([], "is a text"),
    ],
)
def test_hypotheses_that_cannot_be_read(text, message):
    with pytest.raises(bg.BayesGLMError, match=message):
        bg.hypotheses(fitted("y ~ x + z"), text)


def test_grids_combine_values_with_typical_ones():
    model = bg.Model("y ~ x + b + g", DATA)
    table = bg.grid(model, x=[1, 2], g=lambda g: sorted(g.unique()))
    assert len(table) == 6
    assert set(table["b"]) == {int(np.quantile(DATA["b"], 0.5, method="inverted_cdf"))}
    assert bg.grid(model)["x"][0] == pytest.approx(DATA["x"].mean())
    assert list(bg.grid(model, kind="balanced")["g"]) == ["low", "mid", "top"]
    every = bg.grid(model, kind="counterfactual", g=["low", "top"])
    fit = model.fit("mle")
    means = bg.predictions(fit, every, by="g")["estimate"]
    change = bg.comparisons(fit, {"g": ("low", "top")}, by=True)["estimate"][0]
    np.testing.assert_allclose(means[1] - means[0], change)
    with pytest.raises(bg.SpecificationError, match="did you mean"):
        bg.grid(model, xx=1)
    with pytest.raises(bg.SpecificationError, match="unknown kind"):
        bg.grid(model, kind="mean")


def test_tables_come_in_the_library_of_the_data():
    pl, pa = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    fits = {
        pl.DataFrame: bg.Model("y ~ x + g", pl.DataFrame(DATA.to_dict(orient="list"))).fit("mle"),
        pa.Table: bg.Model("y ~ x + g", pa.Table.from_pandas(DATA)).fit("mle"),
        pd.DataFrame: bg.Model("y ~ x + g", DATA).fit("mle"),
    }
    expected = bg.slopes(fits[pd.DataFrame], by="g")
    for kind, fit in fits.items():
        table = bg.slopes(fit, by="g").to_native()
        assert type(table) is kind
        columns = table.to_pandas() if kind is not pd.DataFrame else table
        np.testing.assert_allclose(columns["estimate"], expected["estimate"])
        assert list(columns["g"]) == list(expected["g"])
        # New rows decide, where there are some; a dict belongs to no library.
        new = bg.predictions(fit, pl.DataFrame(NEW.to_dict(orient="list"))).to_native()
        assert type(new) is pl.DataFrame
        plain = bg.predictions(fit, {"x": [1.0], "g": DATA["g"].iloc[0]}).to_native()
        assert type(plain) is pd.DataFrame

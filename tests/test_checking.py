"""Checks pass where the model made the data, and see where it did not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayesglm as bg


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(5)
    table = pd.DataFrame({"x": rng.normal(size=500), "g": rng.choice(["a", "b"], 500)})
    p = 1 / (1 + np.exp(-1.5 * table["x"]))
    return table.assign(y=rng.binomial(1, p), t=rng.integers(1, 5, 500))


def test_a_right_model_lies_inside_its_band(data):
    """Of the points of a curve about 5 % lie outside pointwise; here at most 15 % (neighbours agree)."""
    fit = bg.Model("y ~ x", data).fit("mle")
    curve = bg.calibration_curve(fit)
    assert (np.diff(curve["calibrated"]) >= 0).all()
    assert (
        (curve["calibrated"] < curve["lower"]) | (curve["calibrated"] > curve["upper"])
    ).mean() < 0.15
    np.testing.assert_allclose(
        np.average(curve["calibrated"], weights=curve["n"]), data["y"].mean()
    )
    held = bg.calibration_curve(bg.kfold(fit, 5))
    assert len(held) == 500


def test_wrong_probabilities_leave_the_band(data):
    fit = bg.Model("y ~ x", data).fit("mle")
    wrong = data.assign(x=2 * data["x"] + 1)
    curve = bg.calibration_curve(fit, wrong)
    outside = (curve["calibrated"] < curve["lower"]) | (curve["calibrated"] > curve["upper"])
    assert outside.mean() > 0.3


def test_simulated_outcomes_know_what_the_model_knows(data):
    shifted = data.assign(y=np.where(data["g"] == "a", 1, data["y"]))
    without = bg.predictive_check(bg.Model("y ~ x", shifted).fit("laplace"), by="g")
    assert (without["p_value"].iloc[:2] < 0.01).all()
    inside = bg.predictive_check(bg.Model("y ~ x + g", shifted).fit("map"), by="g")
    np.testing.assert_allclose(
        inside["observed"].iloc[:2], shifted.groupby("g")["y"].mean(), rtol=1e-12
    )
    assert without["quantity"].tolist()[:2] == ["share of events, g = a", "share of events, g = b"]
    assert without["observed"].iloc[2:].isna().all()


def test_p_values_of_statistics(data):
    fit = bg.Model("y ~ x", data).fit("laplace")
    table = bg.predictive_check(fit, {"mean": np.mean, "runs": lambda y: np.abs(np.diff(y)).sum()})
    assert list(table["quantity"][:2]) == ["mean", "runs"]
    assert table["observed"][0] == data["y"].mean()
    assert (table["p_value"][:2] > 0.01).all()
    ordered = data.sort_values("y")
    runs = bg.predictive_check(
        bg.Model("y ~ g", ordered).fit("mle"), {"runs": lambda y: np.abs(np.diff(y)).sum()}
    )
    assert runs["p_value"][0] < 0.01


def test_the_prior_is_checked_before_there_is_a_fit(data):
    """The weak prior says little: the share of events may be nearly anything."""
    table = bg.predictive_check(bg.Model("y ~ x", data), seed=2)
    assert table["lower"][0] < 0.2
    assert table["upper"][0] > 0.8
    assert table["observed"][0] == data["y"].mean()
    with pytest.raises(bg.SpecificationError, match="flat"):
        bg.predictive_check(bg.Model("y ~ x", data, prior="flat"))


def test_leave_one_out_transforms_are_uniform(data):
    """Kolmogorov's test at 0.1 %, fixed seed; and far from it where the model is wrong."""
    fit = bg.Model("y ~ x", data).fit("laplace")
    pit = bg.loo_pit(fit, seed=1)
    assert stats.kstest(pit, "uniform").pvalue > 1e-3
    # Sorted by x, a model without x leaves a trend.
    wrong = bg.loo_pit(bg.Model("y ~ g", data).fit("laplace"), seed=1)
    order = np.argsort(data["x"])
    assert stats.spearmanr(np.arange(500), wrong[order]).pvalue < 1e-6
    assert stats.spearmanr(np.arange(500), pit[order]).pvalue > 1e-3
    with pytest.raises(bg.SpecificationError, match="one yes/no outcome"):
        bg.loo_pit(bg.Model("y ~ x", data, trials="t").fit("laplace"))


def test_sensitivity_to_the_prior_is_that_of_arviz(data):
    import arviz_stats

    few = data.iloc[:40]
    fit = bg.Model("y ~ x", few, prior={"x": bg_normal(-3.0, 0.3), "default": "weak"}).fit(
        "nuts", seed=1
    )
    table = bg.prior_sensitivity(fit)
    tree = fit.with_groups("log_prior").data
    theirs = arviz_stats.psense(tree, group="prior")["beta"].to_numpy()
    np.testing.assert_allclose(table.loc["x", "prior"], theirs[0])
    assert table.loc["x", "diagnosis"] == "prior against data"
    with pytest.raises(bg.SpecificationError, match="needs draws"):
        bg.prior_sensitivity(bg.Model("y ~ x", data).fit("mle"))


def bg_normal(location, scale):
    import numpyro.distributions as dist

    return dist.Normal(location, scale)


def test_answers_draw_themselves(data, tmp_path):
    fit = bg.Model("y ~ x * g", data).fit("mle")
    asks = {
        "forest": bg.slopes(fit, by="g"),
        "curve": bg.predictions(fit, bg.grid(fit, x=np.linspace(-2, 2, 30), g=["a", "b"])),
        "one": bg.comparisons(fit, "g", by=True),
        "hypotheses": bg.hypotheses(fit, ["x", "b1 = b2"]),
    }
    for name, table in asks.items():
        figure = table.plot()
        figure.savefig(tmp_path / f"{name}.png")
        (axes,) = figure.axes
        assert axes.get_xlabel()
    curve = asks["curve"].plot(figsize=(5, 3)).axes[0]
    assert curve.get_xlabel() == "x"
    assert [text.get_text() for text in curve.get_legend().get_texts()] == ["a", "b"]
    assert curve.get_ylabel() == "P(y)"

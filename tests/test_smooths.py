"""Smooth terms: the spline, its penalty, and that the curve is found."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.interpolate import BSpline
from scipy.special import expit

import bayesglm as bg


@pytest.fixture(scope="module")
def wave() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 2_000
    d = pd.DataFrame({"x": rng.uniform(0, 10, n), "t": rng.integers(0, 2, n)})
    return d.assign(y=rng.binomial(1, expit(1.2 * np.sin(d.x) + 0.1 * d.x - 0.5 + 0.6 * d.t)))


@pytest.fixture(scope="module")
def fit(wave):
    return bg.Model("y ~ s(x) + t", wave).fit("mle")


def test_a_smooth_is_a_line_and_a_penalised_rest(fit, wave):
    (smooth,) = fit.design.smooths
    assert fit.design.terms == ("x", "t")
    z = smooth.rows.matrix
    # No line is left in it over the training rows, and its mean square is 1.
    lines = np.column_stack([np.ones(len(wave)), wave.x])
    np.testing.assert_allclose(lines.T @ z, 0, atol=1e-6)
    np.testing.assert_allclose(np.mean(np.sum(z**2, axis=1)), 1)
    # Splines by SciPy: Z z + its line are splines whose second differences are z, scaled.
    (state,) = smooth.encoding.transforms.values()
    knots = np.array(state["knots"])
    rng = np.random.default_rng(1)
    steps = rng.normal(size=smooth.size)
    curve = BSpline(knots, smooth.basis @ steps, 3)
    grid = np.linspace(0.2, 9.8, 40)
    line = np.column_stack([np.ones(40), grid]) @ smooth.line @ steps
    found = smooth.apply(pd.DataFrame({"x": grid}), None).matrix @ steps
    np.testing.assert_allclose(found, curve(grid) - line, atol=1e-10)
    # Lines alone are free: coefficients that are the Greville abscissae make no step.
    places = np.array([knots[j + 1 : j + 4].mean() for j in range(10)])
    np.testing.assert_allclose(np.linalg.pinv(smooth.basis) @ places, 0, atol=1e-8)


def test_the_curve_is_found(fit, wave):
    grid = pd.DataFrame({"x": np.linspace(0.5, 9.5, 19), "t": 0})
    truth = expit(1.2 * np.sin(grid.x) + 0.1 * grid.x - 0.5)
    estimate, lower, upper = fit.predict_interval(grid)
    # A line is far off; pointwise 95 % intervals miss a point now and then.
    assert np.abs(estimate - truth).max() < 0.08
    assert ((lower < truth) & (truth < upper)).mean() > 0.85
    straight = bg.Model("y ~ x + t", wave).fit("mle")
    assert np.abs(straight.predict(grid) - truth).max() > 0.2
    assert fit.loglik > straight.loglik + 50
    # The same standard errors by the tables of answers.
    table = bg.predictions(fit, grid)
    np.testing.assert_allclose(table["estimate"], estimate)
    np.testing.assert_allclose(table["lower"], lower, rtol=1e-6)
    slope = bg.slopes(fit, "x", pd.DataFrame({"x": [1.0, 5.0], "t": 0}))
    step = 1e-4
    p = [fit.predict({"x": [1 + s, 5 + s], "t": 0}) for s in (-step, step)]
    np.testing.assert_allclose(slope["estimate"], (p[1] - p[0]) / (2 * step), rtol=1e-4)


def test_slopes_of_all_training_rows(fit, wave):
    inside = wave[(wave.x > 0.01) & (wave.x < 9.99)]
    step = 1e-4
    ends = [fit.predict(inside.assign(x=inside.x + s)) for s in (-step, step)]
    middle = bg.slopes(fit, "x", inside, by=True)["estimate"][0]
    np.testing.assert_allclose(middle, np.mean((ends[1] - ends[0]) / (2 * step)), rtol=1e-3)
    # At the ends of the range the difference is one-sided: there is no curve beyond.
    table = bg.slopes(fit, "x", by=True)
    np.testing.assert_allclose(table["estimate"][0], middle, rtol=0.05)
    assert np.isfinite(table["std_error"][0])


def test_a_line_needs_no_smooth():
    rng = np.random.default_rng(4)
    d = pd.DataFrame({"x": rng.normal(size=3_000)})
    d["y"] = rng.binomial(1, expit(0.5 * d.x))
    plain = bg.Model("y ~ x", d).fit("mle")
    fit = bg.Model("y ~ s(x, df=8)", d).fit("map")
    # Where the data show no bend the curve is the line, or nearly so.
    assert fit.status == "converged"
    assert "smooth-line" in [finding.code for finding in fit.findings]
    grid = {"x": np.linspace(-2, 2, 9)}
    assert np.abs(fit.predict(grid) - plain.predict(grid)).max() < 0.04


def test_summary_file_and_draws(fit, wave, tmp_path):
    assert list(fit.summary().index) == ["Intercept", "x", "t", "sd_s(x)"]
    fit.save(tmp_path / "fit.nc")
    back = bg.load(tmp_path / "fit.nc")
    assert str(back) == str(fit)
    np.testing.assert_allclose(back.predict_interval(wave[:9]), fit.predict_interval(wave[:9]))
    post = bg.Model("y ~ s(x) + t", wave).fit("laplace")
    assert post.result.options["verdict"] == "holds"
    assert post.posterior["s(x)"].dims == ("chain", "draw", "s(x)_curve", "s(x)_spline")
    np.testing.assert_allclose(post.predict(wave[:50]), fit.predict(wave[:50]), atol=0.03)
    # The population's curve stays, whatever groups are left out.
    np.testing.assert_allclose(fit.predict(wave[:9], groups=None), fit.predict(wave[:9]))


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("y ~ s(x, df=3)", "at least 4 splines"),
        ("y ~ s(log(x))", "make a column"),
        ("y ~ t - s(x)", "is added"),
        ("y ~ s(t)", "different values"),
        ("y ~ s(g)", "column of numbers"),
        ("y ~ s(x) + s(x, df=5)", "same column"),
        ("y ~ s(x, t)", "the form s"),
        ("y ~ s(x):t", "not allowed"),
    ],
)
def test_smooths_that_are_wrong(wave, formula, message):
    with pytest.raises(bg.BayesGLMError, match=message):
        bg.Model(formula, wave.assign(g="a"))


def test_beyond_the_data(fit):
    with pytest.raises(bg.DataError, match="over the range of the training rows"):
        fit.predict({"x": [11.0], "t": 0})

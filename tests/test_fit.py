"""A fit: its table, its text, its predictions, its warnings."""

from __future__ import annotations

import re
import sys
import types
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayesglm as bg
from bayesglm import predicting, progress

FORMULA = "y ~ x1 + x2"


@pytest.fixture(scope="module")
def model(small):
    return bg.Model(FORMULA, small)


@pytest.fixture(scope="module")
def mle(model):
    return model.fit("mle")


@pytest.fixture(scope="module")
def post(model):
    return model.fit("nuts", draws=400, chains=2, seed=4)


# -- tables ------------------------------------------------------------------------------------


def test_summary_of_a_point_fit_is_walds(mle):
    table = mle.summary(level=0.9)
    assert list(table.columns) == ["estimate", "std_error", "lower", "upper", "z", "p_value"]
    assert list(table.index) == ["Intercept", "x1", "x2"]
    error = np.sqrt(np.diag(mle.vcov))
    np.testing.assert_allclose(table["lower"], mle.coef - 1.6448536269514722 * error)
    np.testing.assert_allclose(table["p_value"], 2 * stats.norm.sf(np.abs(mle.coef / error)))


def test_summary_of_draws_is_that_of_arviz(post):
    import arviz as az

    table = post.summary(level=0.5)
    other = az.summary(post.data, var_names=["Intercept", "beta"], round_to="none")
    names = {"estimate": "mean", "std_error": "sd", "r_hat": "r_hat", "ess_bulk": "ess_bulk"}
    for ours, theirs in names.items():
        np.testing.assert_allclose(table[ours], other[theirs].astype(float), rtol=1e-6)
    # arviz.summary takes its tails from the interval shown; ours are at 5 and 95 %, as Vehtari's.
    tail = az.ess(post.data, var_names=["Intercept", "beta"], method="tail", prob=(0.05, 0.95))
    theirs = np.append(tail["Intercept"], tail["beta"])
    np.testing.assert_allclose(table["ess_tail"], theirs)
    draws = post.theta_draws().reshape(-1, 3)
    np.testing.assert_allclose(table[["lower", "upper"]].T, np.quantile(draws, [0.25, 0.75], 0))


def test_ratios_have_the_same_quantiles_and_tests(mle, post):
    odds, plain = mle.summary(exponentiate=True), mle.summary()
    np.testing.assert_allclose(odds["estimate"], np.exp(mle.coef))
    np.testing.assert_allclose(odds["upper"], np.exp(plain["upper"]))
    np.testing.assert_allclose(odds["std_error"], np.exp(mle.coef) * plain["std_error"])
    np.testing.assert_allclose(odds["p_value"], plain["p_value"])
    draws = np.exp(post.theta_draws())
    np.testing.assert_allclose(
        post.summary(exponentiate=True)["estimate"], draws.mean(axis=(0, 1)), rtol=1e-12
    )


def test_ratios_need_a_link_that_makes_them(small):
    fit = bg.Model(FORMULA, small, link="probit").fit("mle")
    with pytest.raises(bg.SpecificationError, match="logit, log, cloglog"):
        fit.summary(exponentiate=True)
    for level in (0, 1, 95, np.nan):
        with pytest.raises(bg.SpecificationError, match="level must lie between 0 and 1"):
            fit.summary(level=level)


def test_coef_and_vcov_carry_the_terms(mle):
    assert mle.coef.index.name == "term"
    assert list(mle.vcov.columns) == list(mle.vcov.index) == ["Intercept", "x1", "x2"]
    assert mle.vcov.loc["x1", "x2"] == mle.vcov.loc["x2", "x1"]


def test_criteria_are_of_the_mle_only(model, mle):
    assert mle.aic == pytest.approx(-2 * mle.loglik + 6)
    assert mle.bic == pytest.approx(-2 * mle.loglik + 3 * np.log(500))
    fit = model.fit("map")
    for name in ("aic", "bic"):
        with pytest.raises(bg.SpecificationError, match="maximum likelihood"):
            getattr(fit, name)
    with pytest.raises(bg.SpecificationError, match="maximum likelihood"):
        fit.with_cov("HC1")
    with pytest.raises(bg.SpecificationError, match='fit\\("nuts"\\)'):
        _ = fit.posterior


# -- text --------------------------------------------------------------------------------------


def test_print_is_a_header_and_the_table():
    fit = bg.Model("damage ~ temperature", bg.datasets.challenger()).fit("mle")
    text = re.sub(r"\d+\.\d\d s$", "0.00 s", str(fit), flags=re.MULTILINE)
    assert text == (
        "formula  damage ~ temperature\n"
        "family   bernoulli, link logit\n"
        "event    damage = 1 (not 0)\n"
        "rows     23 (7 events in 23 trials)\n"
        "method   mle, 0.00 s\n"
        "status   converged\n"
        "errors   expected information\n"
        "loglik   -10.1576\n"
        "interval 95 %, Wald\n"
        "\n"
        "            estimate std_error   lower    upper     z p_value\n"
        "Intercept      15.04     7.379   0.581     29.5  2.04  0.0415\n"
        "temperature  -0.2322    0.1082 -0.4443 -0.02002 -2.14  0.0320"
    )


def test_html_escapes_what_comes_from_the_data():
    rng = np.random.default_rng(1)
    name = "<script>alert(1)</script>"
    data = {"y": np.where(rng.uniform(size=60) < 0.5, "<b>yes", "no"), name: rng.normal(size=60)}
    model = bg.Model(f"y ~ `{name}`", data, event="<b>yes")
    for page in (model.fit("mle")._repr_html_(), model.priors._repr_html_()):
        assert "<script>" not in page
        assert "<b>" not in page
        assert "&lt;script&gt;" in page


def test_findings_warn_once_at_the_users_line(small):
    model = bg.Model(FORMULA, small)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit = model.fit("mle", optimizer="gd", steps=2)
    assert [w.category for w in caught] == [bg.BayesGLMWarning]
    assert caught[0].filename == __file__
    (finding,) = fit.findings
    assert (finding.code, finding.severity) == ("step-limit", "warning")
    assert str(finding) in str(fit)
    assert "step-limit" in fit._repr_html_()


# -- predictions -------------------------------------------------------------------------------


def test_predictions_of_a_point_fit(small, mle):
    eta = mle.coef["Intercept"] + small[["x1", "x2"]].to_numpy() @ mle.coef[["x1", "x2"]]
    np.testing.assert_allclose(mle.predict(kind="link"), eta)
    np.testing.assert_allclose(mle.predict(), 1 / (1 + np.exp(-eta)))
    np.testing.assert_allclose(mle.predict(small[["x2", "x1"]]), mle.predict())
    assert mle.predict({"x1": [0.1, 0.2], "x2": 0.5}).shape == (2,)
    assert mle.predict({"x1": 0.1, "x2": 0.5}).shape == (1,)
    assert mle.predict(draws=True).shape == (1, 500)


def test_intervals_of_a_point_fit_are_the_delta_methods(mle):
    new = pd.DataFrame({"x1": [0.0, 0.5, 1.0], "x2": [1.0, 0.2, 0.4]})
    rows = np.column_stack([np.ones(3), new])
    eta = rows @ mle.coef.to_numpy()
    error = np.sqrt(np.einsum("ij,jk,ik->i", rows, mle.vcov.to_numpy(), rows))
    reach = stats.norm.ppf(0.95) * error
    estimate, lower, upper = mle.predict_interval(new, level=0.9)
    for ours, theirs in ((estimate, eta), (lower, eta - reach), (upper, eta + reach)):
        np.testing.assert_allclose(ours, 1 / (1 + np.exp(-theirs)))


def test_predictions_of_draws(post, small):
    draws = post.theta_draws().reshape(-1, 3)
    p = 1 / (1 + np.exp(-(draws[:, :1] + draws[:, 1:] @ small[["x1", "x2"]].to_numpy().T)))
    np.testing.assert_allclose(post.predict(draws=True), p)
    np.testing.assert_allclose(post.predict(), p.mean(axis=0))
    estimate, lower, upper = post.predict_interval(level=0.5)
    np.testing.assert_allclose(estimate, p.mean(axis=0))
    np.testing.assert_allclose([lower, upper], np.quantile(p, [0.25, 0.75], axis=0))


def test_blocks_change_nothing(post, monkeypatch):
    whole = post.predict(), post.predict(draws=True), post.predict_interval()
    monkeypatch.setattr(predicting, "MEMORY", 8 * 500 * 7)
    parts = post.predict(), post.predict(draws=True), post.predict_interval()
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_simulated_outcomes(post, small):
    drawn = post.predict(kind="outcome", draws=True, seed=1)
    assert set(np.unique(drawn)) == {0.0, 1.0}
    np.testing.assert_array_equal(drawn, post.predict(kind="outcome", draws=True, seed=1))
    assert (drawn != post.predict(kind="outcome", draws=True, seed=2)).any()
    # The mean over 800 draws and 500 rows; five standard errors (a false alarm in 1.7 million).
    assert abs(drawn.mean() - post.predict().mean()) < 5 * 0.5 / np.sqrt(drawn.size)
    counts = bg.Model("events ~ x1", small, trials="trials").fit("mle")
    np.testing.assert_allclose(counts.predict(kind="outcome"), small["trials"] * counts.predict())
    with pytest.raises(bg.SpecificationError, match="response, link, outcome"):
        post.predict(kind="probability")


def test_a_posterior_of_new_data_matches_the_saved_one(post, small, tmp_path):
    path = tmp_path / "fit.nc"
    post.save(path)
    np.testing.assert_array_equal(bg.load(path).predict(small[:7]), post.predict(small[:7]))


# -- groups and progress -----------------------------------------------------------------------


def test_groups_on_request(post):
    full = post.with_groups("posterior_predictive", "log_prior", "prior")
    assert {"posterior_predictive", "log_prior", "prior", "prior_predictive"} <= set(
        full.data.children
    )
    assert "posterior_predictive" not in post.data.children
    rows = full.data["log_likelihood"]["y"]
    p, y = post.predict(draws=True), post.design.y
    expected = np.log(np.where(y == 1, p, 1 - p)).reshape(2, 400, 500)
    np.testing.assert_allclose(rows, expected, rtol=1e-9, atol=1e-12)
    with pytest.raises(bg.SpecificationError, match="did you mean"):
        post.with_groups("log_likelihoods")


def test_a_large_log_likelihood_is_left_out_with_a_word(small, monkeypatch):
    from bayesglm import fit as fits

    monkeypatch.setattr(fits, "LARGEST", 1000)
    fit = bg.Model(FORMULA, small).fit("nuts", draws=400, chains=2, seed=4)
    assert "log_likelihood" not in fit.data.children
    assert "log-likelihood-left-out" in [finding.code for finding in fit.findings]
    assert "log_likelihood" in fit.with_groups("log_likelihood").data.children


def test_a_bar_on_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with progress.bar("nuts", 1_000, progress=True) as update:
        update(250, 1)
        update(1_000, 3)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "1000/1000" in captured.err
    assert "3 divergences" in captured.err
    with progress.bar("nuts", 1_000) as update:  # not a terminal
        assert update is None


def test_a_bar_in_a_notebook(monkeypatch):
    """A notebook without ipywidgets: the bar is an HTML element that is updated and cleared."""
    pages = []

    class ZMQInteractiveShell:
        pass

    class Handle:
        def update(self, page):
            pages.append(page)

    display = types.ModuleType("IPython.display")
    display.HTML = str
    display.display = lambda page, display_id: Handle()
    python = types.ModuleType("IPython")
    python.get_ipython = ZMQInteractiveShell
    python.display = display
    monkeypatch.setitem(sys.modules, "IPython", python)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    with progress.bar("nuts", 1_000) as update:
        update(250, 1)
    assert "max=1000 value=250" in pages[0]
    assert "1 divergence," in pages[0]
    assert pages[-1] == ""

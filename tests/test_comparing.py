"""Leave-one-out is ArviZ's and exact refits'; comparisons are refused where scores have no meaning."""

from __future__ import annotations

import warnings

import arviz as az
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import logsumexp

import bayesglm as bg


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(6)
    table = pd.DataFrame({"x": rng.normal(size=120), "z": rng.normal(size=120)})
    p = 1 / (1 + np.exp(-table["x"]))
    return table.assign(y=rng.binomial(1, p), w=rng.integers(1, 4, 120), t=rng.integers(2, 6, 120))


@pytest.fixture(scope="module")
def fit(data):
    return bg.Model("y ~ x + z", data).fit("laplace", seed=2)


def test_loo_is_that_of_arviz(fit):
    ours, theirs = bg.loo(fit), az.loo(fit.data, pointwise=True, reff=1.0)
    for name in ("elpd", "se", "p", "good_k"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-9)
    np.testing.assert_allclose(ours.elpd_i, theirs.elpd_i, rtol=1e-9)
    np.testing.assert_allclose(ours.pareto_k, theirs.pareto_k, atol=1e-9)
    nuts = bg.Model("y ~ x", fit.design.frame).fit("nuts", draws=200, seed=1)
    np.testing.assert_allclose(bg.loo(nuts).elpd, az.loo(nuts.data).elpd, rtol=1e-9)


def test_rows_of_weight_zero_are_not_left_out(data):
    weights = np.where(np.arange(120) < 20, 0, data["w"])
    fit = bg.Model("y ~ x", data, weights=weights).fit("laplace")
    found = bg.loo(fit)
    assert found.n_data_points == 100
    np.testing.assert_allclose(found.elpd, az.loo(fit.data, reff=1.0).elpd, rtol=1e-9)


def test_copies_are_left_out_one_by_one(data):
    """As the rows written out, each copy by itself."""
    weighted = bg.Model("y ~ x", data, weights="w").fit("laplace", draws=4_000)
    copies = data.loc[data.index.repeat(data["w"])].reset_index(drop=True)
    written = bg.Model("y ~ x", copies).fit("laplace", draws=4_000)
    one, other = bg.loo(weighted, unit="copy"), bg.loo(written)
    np.testing.assert_allclose(one.elpd, other.elpd, atol=0.05)
    np.testing.assert_allclose(one.se, other.se, rtol=0.01)
    assert bg.loo(weighted).elpd < one.elpd


def test_rows_that_decide_are_fitted_without():
    """An outlier far out: importance sampling does not know what the fit without it says.

    The mean of 1 - p over 4,000 draws without the row is known to 5 % (three seeds: sd 0.06).
    """
    x = np.append(np.linspace(-2, 2, 30), 16.0)
    y = np.append((np.linspace(-2, 2, 30) + 2.5 * np.sin(np.arange(30.0)) > 0).astype(int), 0)
    fit = bg.Model("y ~ x", {"x": x, "y": y}).fit("nuts", seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw = az.loo(fit.data, pointwise=True)
    assert float(raw.pareto_k[30]) > raw.good_k
    found = bg.loo(fit)
    without = bg.Model("y ~ x", {"x": x, "y": y}, weights=np.append(np.ones(30), 0.0))
    without.priors = fit.priors
    draws = without.fit("nuts", seed=3).predict({"x": [16.0]}, draws=True)[:, 0]
    np.testing.assert_allclose(float(found.elpd_i[30]), np.log(np.mean(1 - draws)), atol=0.2)
    with pytest.warns(bg.BayesGLMWarning, match="decide much by themselves"):
        bg.loo(fit, refits=0)


def test_a_subsample_of_rows_is_near_the_whole():
    """Within 4 of its own standard errors."""
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"x": rng.normal(size=20_000), "z": rng.normal(size=20_000)})
    table["y"] = rng.binomial(1, 1 / (1 + np.exp(0.3 * table["z"] - 0.5 * table["x"])))
    fit = bg.Model("y ~ x + z", table).fit("laplace", draws=250)
    whole, part = bg.loo(fit, subsample=20_000), bg.loo(fit, subsample=1_000)
    assert abs(part.elpd - whole.elpd) < 4 * part.subsampling_se
    assert part.subsampling_se < 0.1 * whole.se
    np.testing.assert_allclose(part.se, whole.se, rtol=0.1)
    assert part.n_data_points == 20_000


def test_loo_of_a_point_names_what_to_do(data):
    point = bg.Model("y ~ x", data).fit("map")
    with pytest.raises(bg.SpecificationError, match=r"needs draws.*kfold"):
        bg.loo(point)
    with pytest.raises(bg.SpecificationError, match="row or copy"):
        bg.loo(bg.Model("y ~ x", data).fit("laplace"), unit="cell")


def test_posteriors_are_compared_as_arviz_does(data, fit):
    other = bg.Model("y ~ z", data).fit("laplace", seed=2)
    table = bg.compare({"both": fit, "z": other})
    theirs = az.compare({"both": az.loo(fit.data, pointwise=True, reff=1.0),
                         "z": az.loo(other.data, pointwise=True, reff=1.0)},
                        round_to="none")  # fmt: skip
    assert list(table.index) == list(theirs.index) == ["both", "z"]
    np.testing.assert_allclose(table["elpd"], theirs["elpd"], rtol=1e-9)
    np.testing.assert_allclose(table["dse"], theirs["dse"], rtol=1e-9)
    folds = bg.compare({"both": bg.kfold(fit, 5), "z": bg.kfold(other, 5)})
    assert list(folds.index) == ["both", "z"]
    np.testing.assert_allclose(folds["elpd"], table["elpd"], atol=3.0)


def test_likelihoods_are_compared_by_r_formulas(data):
    fits = {
        "null": bg.Model("y ~ 1", data).fit("mle"),
        "x": bg.Model("y ~ x", data).fit("mle"),
        "x + z": bg.Model("y ~ x + z", data).fit("mle"),
        "probit": bg.Model("y ~ x", data, link="probit").fit("mle"),
    }
    table = bg.compare(fits)
    for name, fit in fits.items():
        assert table.loc[name, "aic"] == fit.aic
        assert table.loc[name, "bic"] == fit.bic
    assert table["delta_aic"].min() == 0
    assert table["weight"].sum() == pytest.approx(1)
    assert table.loc["x", "against"] == "null"
    assert table.loc["x + z", "against"] == "x"
    assert table.loc["probit", "against"] == ""
    lr = 2 * (fits["x"].loglik - fits["null"].loglik)
    np.testing.assert_allclose(table.loc["x", "lr_chi2"], lr)
    np.testing.assert_allclose(table.loc["x", "p_value"], stats.chi2.sf(lr, 1))


def test_what_has_no_common_score_is_refused(data, fit):
    mle = bg.Model("y ~ x", data).fit("mle")
    with pytest.raises(bg.SpecificationError, match="different sorts"):
        bg.compare({"a": fit, "b": mle})
    with pytest.raises(bg.SpecificationError, match=r"no AIC.*loo"):
        bg.compare({"a": mle, "b": bg.Model("y ~ x", data).fit("map")})
    with pytest.raises(bg.DataError, match="the same"):
        bg.compare({"a": mle, "b": bg.Model("y ~ x", data.iloc[:100]).fit("mle")})
    with pytest.raises(bg.DataError, match="families"):
        bg.compare({"a": mle, "b": bg.Model("y ~ x", data, family="gaussian").fit("mle")})
    with pytest.raises(bg.SpecificationError, match="two fits"):
        bg.compare({"a": mle})
    with pytest.raises(bg.SpecificationError, match="neither a fit"):
        bg.compare({"a": mle, "b": 3})


def test_links_side_by_side(data):
    model = bg.Model("y ~ x + z", data)
    found = bg.compare_links(model, ["logit", "probit", "cauchit"])
    assert list(found.effects.columns) == ["logit", "probit", "cauchit", "spread"]
    probit = bg.Model("y ~ x + z", data, link="probit").fit("mle")
    np.testing.assert_allclose(
        found.effects["probit"], bg.slopes(probit, by=True)["estimate"], rtol=1e-6
    )
    assert set(found.table.index) == {"logit", "probit", "cauchit"}
    assert "probability scale" in repr(found)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bg.BayesGLMWarning)
        drawn = bg.compare_links(model, ["logit", "probit"], method="laplace")
    np.testing.assert_allclose(drawn.effects["logit"], found.effects["logit"], atol=0.02)
    for words, message in (
        ({"links": ["logit"]}, "two links"),
        ({"links": ["logit", "probits"]}, "did you mean"),
        ({"method": "map"}, "no score"),
    ):
        with pytest.raises(bg.SpecificationError, match=message):
            bg.compare_links(model, **words)


def test_pointwise_values_are_log_means(fit):
    """The sub-sample's rough values, and what the refits use."""
    p = fit.predict(draws=True)
    y = fit.design.y
    rows = np.where(y == 1, np.log(p), np.log1p(-p))
    lpd = logsumexp(rows, axis=0) - np.log(len(rows))
    np.testing.assert_allclose(bg.loo(fit).p, lpd.sum() - bg.loo(fit).elpd, rtol=1e-8)

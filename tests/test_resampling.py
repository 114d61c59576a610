"""K folds and bootstrap: by weights what a loop of separate fits would say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

import bayesglm as bg
from bayesglm.implied import target_of
from bayesglm.inference.run import run
from bayesglm.precision import scope


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(4)
    n = 240
    table = pd.DataFrame(
        {
            "x": rng.uniform(0.5, 4, n),
            "z": rng.normal(size=n),
            "g": rng.choice(["a", "b", "c"], n),
            "clinic": rng.integers(0, 30, n),
            "w": rng.integers(1, 4, n),
            "t": rng.integers(1, 6, n),
        }
    )
    p = 1 / (1 + np.exp(-(table["x"] - 2 + 0.5 * table["z"])))
    return table.assign(y=rng.binomial(1, p), s=rng.binomial(table["t"], p))


def separate(fit, fold, k):
    """One fold by a fit of its own: the rows are gone, encoding and priors those of the whole."""
    design, kept = fit.design, fold != k
    part = replace(
        design,
        matrix=design.matrix[kept],
        frame=None,
        **{name: getattr(design, name)[kept] for name in ("y", "trials", "weights", "offset")},
    )
    target = target_of(fit.spec, part, fit.priors, flat=fit.method == "mle")
    return run(target, fit.method, {}, seed=0)


MODELS = [
    ("y ~ x * z + g", "mle", {}),
    ("y ~ bs(x, df=5) + g", "mle", {"link": "probit"}),
    ("y ~ x * z + g", "map", {}),
    ("y ~ x + z", "map", {"prior": "gelman", "link": "cloglog"}),
    ("y ~ x + z", "mle", {"weights": "w"}),
    ("cbind(s, t - s) ~ x + z + offset(0.1 * z)", "mle", {}),
    ("y ~ x + z", "mle", {"family": "gaussian"}),
    ("y ~ x + z", "mle", {"link": "cauchit"}),
]


@pytest.mark.parametrize(("formula", "method", "words"), MODELS)
def test_folds_by_weights_are_those_of_separate_fits(data, formula, method, words):
    fit = bg.Model(formula, data, **words).fit(method)
    cv = bg.kfold(fit, 5, seed=3)
    assert np.bincount(cv.fold).max() <= np.bincount(cv.fold).min() + 1
    design = fit.design
    for k in range(5):
        theta = separate(fit, cv.fold, k).theta
        np.testing.assert_allclose(cv.coef.loc[k], theta, rtol=1e-8, atol=1e-8)
        out = cv.fold == k
        eta = design.matrix[out] @ theta[1:] + theta[0] + design.offset[out]
        with scope():
            p = eta if fit.spec.family.has_sigma else np.asarray(fit.spec.link.inverse(eta))
        np.testing.assert_allclose(cv.predicted[out], p, rtol=1e-8)
    if not fit.spec.family.has_sigma:
        y, t, p = design.y, design.trials, cv.predicted
        expected = design.weights * stats.binom.logpmf(y, t, p)
        np.testing.assert_allclose(cv.pointwise, expected, rtol=1e-6)
        np.testing.assert_allclose(cv.elpd, expected.sum(), rtol=1e-6)


def test_folds_of_posteriors_are_those_of_separate_fits(data):
    """Means of 4,000 draws each: within 5 standard errors of the difference."""
    fit = bg.Model("y ~ x + z", data).fit("laplace")
    cv = bg.kfold(fit, 3)
    for k in range(3):
        again = separate(fit, cv.fold, k)
        error = np.sqrt(2 * np.diag(again.cov) / 4_000)
        assert (np.abs(cv.coef.loc[k] - again.theta) < 5 * error).all()
    assert abs(cv.elpd - bg.kfold(bg.Model("y ~ x + z", data).fit("map"), 3).elpd) < 1.0


def test_groups_stay_together(data):
    cv = bg.kfold(bg.Model("y ~ x", data).fit("mle"), 6, groups="clinic")
    held = pd.Series(cv.fold).groupby(data["clinic"]).nunique()
    assert (held == 1).all()
    sizes = np.bincount(cv.fold)
    assert sizes.max() - sizes.min() < 12


@pytest.mark.filterwarnings("ignore:.*extrapolation:bayesglm.BayesGLMWarning")
def test_relearned_folds_learn_their_own_knots_and_priors(data):
    fit = bg.Model("y ~ poly(x, 2) + g", data).fit("map")
    cv = bg.kfold(fit, 4, relearn=True, seed=1)
    for k in range(4):
        part = data[cv.fold != k]
        own = bg.Model("y ~ poly(x, 2) + g", part, event=1).fit("map")
        np.testing.assert_allclose(cv.coef.loc[k], own.coef, rtol=1e-7)
        expected = own.predict(data[cv.fold == k])
        np.testing.assert_allclose(cv.predicted[cv.fold == k], expected, rtol=1e-7)
    arrays = bg.Model.from_arrays(data[["x", "z"]], data["y"]).fit("map")
    again = bg.kfold(arrays, 4, relearn=True, seed=1)
    assert np.isfinite(again.predicted).all()


def test_rows_of_weight_zero_are_in_no_fold(data):
    weights = np.where(np.arange(len(data)) % 7 == 0, 0, 1)
    fit = bg.Model("y ~ x + z", data, weights=weights).fit("mle")
    cv = bg.kfold(fit, 5)
    assert (cv.fold[weights == 0] == -1).all()
    assert np.isnan(cv.predicted[weights == 0]).all()
    assert cv.scores().loc["auc", "estimate"] > 0.5


def test_folds_can_be_given(data):
    fit = bg.Model("y ~ x + z", data).fit("mle")
    given = data["g"].to_numpy()
    cv = bg.kfold(fit, given)
    assert pd.crosstab(given, cv.fold).astype(bool).sum().sum() == 3


@pytest.mark.parametrize("unit", [1e-9, 1e6])
def test_the_unit_of_the_weights_does_not_matter(data, unit):
    """The decrement that ends Newton's steps has it too."""
    words = {"weights_kind": "sampling", "link": "probit"}
    plain, scaled = (
        bg.Model("y ~ x + z", data, weights=u * data["w"].to_numpy(float), **words).fit("mle")
        for u in (1.0, unit)
    )
    one, other = bg.kfold(plain, 4).coef, bg.kfold(scaled, 4).coef
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-8)


def test_a_separated_fold_is_a_finding():
    x = np.arange(20.0)
    y = (x > 9.5).astype(int)
    y[[3, 14]] = 1, 0
    fit = bg.Model("y ~ x", {"x": x, "y": y}).fit("mle")
    fold = np.where(np.isin(np.arange(20), [3, 14]), 0, 1 + np.arange(20) % 2)
    cv = bg.kfold(fit, fold)
    assert [finding.code for finding in cv.findings] == ["separation"]
    assert "1 of 3 folds" in str(cv)
    assert np.isfinite(cv.predicted).all()


def test_wrong_folds_are_refused(data):
    fit = bg.Model("y ~ x", data).fit("mle")
    for folds in (1, 0, len(data) + 1):
        with pytest.raises(bg.SpecificationError, match="between 2 and"):
            bg.kfold(fit, folds)
    with pytest.raises(bg.SpecificationError, match="one for each row"):
        bg.kfold(fit, np.zeros(3))
    with pytest.raises(bg.SpecificationError, match="two folds"):
        bg.kfold(fit, np.zeros(len(data)))
    with pytest.raises(bg.DataError, match="no column 'clinics'"):
        bg.kfold(fit, 3, groups="clinics")


# -- bootstrap -----------------------------------------------------------------------------------------


def test_replicates_are_fits_to_their_weights(data):
    fit = bg.Model("y ~ x + z + g", data, link="probit").fit("mle")
    boot = bg.bootstrap(fit, 70, seed=5)
    counts = np.random.default_rng(5).multinomial(len(data), np.full(len(data), 1 / len(data)), 70)
    for k in (0, 33, 69):
        again = bg.Model("y ~ x + z + g", data, link="probit", weights=counts[k]).fit("mle")
        np.testing.assert_allclose(boot.coef.loc[k], again.coef, rtol=1e-7, atol=1e-8)


def test_bootstrap_errors_are_the_robust_ones(data):
    """2,000 replicates know an sd to 1.6 %; the sandwich is of first order in 1/n: 12 %."""
    fit = bg.Model("y ~ x + z", data).fit("mle", cov="HC0")
    table = bg.bootstrap(fit, 2_000, seed=1).summary()
    np.testing.assert_allclose(table["std_error"], np.sqrt(np.diag(fit.vcov)), rtol=0.12)
    clustered = bg.bootstrap(fit, 1_000, cluster="clinic").summary()["std_error"]
    cr = bg.Model("y ~ x + z", data).fit("mle", cluster="clinic")
    np.testing.assert_allclose(clustered, np.sqrt(np.diag(cr.vcov)), rtol=0.25)


def test_counts_are_bootstrapped_by_trial(data):
    """As the trials one by one: the binomial's own spread, not that of rows."""
    fit = bg.Model("cbind(s, t - s) ~ x", data).fit("mle")
    boot = bg.bootstrap(fit, 1_000, seed=2).summary()
    np.testing.assert_allclose(boot["std_error"], np.sqrt(np.diag(fit.vcov)), rtol=0.15)


def test_effects_of_replicates(data):
    fit = bg.Model("y ~ x + z", data).fit("mle")
    boot = bg.bootstrap(fit, 400, seed=3)
    table = bg.slopes(boot.as_fit(), "x", by=True)
    delta = bg.slopes(fit.with_cov("HC0"), "x", by=True)
    np.testing.assert_allclose(table["std_error"], delta["std_error"], rtol=0.2)
    np.testing.assert_allclose(table["estimate"], delta["estimate"], rtol=0.1)


def test_replicates_without_estimate_are_told_and_left_out():
    x = np.arange(16.0)
    y = (x > 7.5).astype(int)
    y[[6, 9]] = 1, 0
    boot = bg.bootstrap(bg.Model("y ~ x", {"x": x, "y": y}).fit("mle"), 200)
    assert 0 < boot.found.sum() < 200
    assert [finding.code for finding in boot.findings] == ["separation"]
    assert np.isfinite(boot.summary().to_numpy()).all()
    smooth = bg.bootstrap(bg.Model("y ~ x", {"x": x, "y": y}).fit("map"), 200)
    assert smooth.found.all()


def test_bootstrap_refuses_posteriors(data):
    with pytest.raises(bg.SpecificationError, match="for point fits"):
        bg.bootstrap(bg.Model("y ~ x", data).fit("laplace", draws=50, chains=1))
    with pytest.raises(bg.SpecificationError, match="2 or more"):
        bg.bootstrap(bg.Model("y ~ x", data).fit("mle"), 1)


def test_statsmodels_agrees_on_a_replicate(data):
    fit = bg.Model("y ~ x + z", data).fit("mle")
    boot = bg.bootstrap(fit, 4, seed=9)
    counts = np.random.default_rng(9).multinomial(len(data), np.full(len(data), 1 / len(data)), 4)
    X = sm.add_constant(data[["x", "z"]])
    for k in range(4):
        theirs = sm.GLM(data["y"], X, family=sm.families.Binomial(), freq_weights=counts[k]).fit()
        np.testing.assert_allclose(boot.coef.loc[k], theirs.params, rtol=1e-6)

"""The model, written once: its density, its parts, and draws from it, against SciPy."""

from __future__ import annotations

import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

import bayesglm as bg
from bayesglm.inference import predictive
from bayesglm.inference.target import build

PRIOR = {
    "Intercept": dist.Normal(0.3, 2.0),
    "x1": dist.StudentT(4.0, 0.0, 1.5),
    "x2": dist.Normal(0.0, 0.7),
}


def target_of(model, *, flat=False):
    return build(
        model.design,
        model.priors,
        family=model.spec.family,
        link=model.spec.link,
        flat=flat,
    )


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog"])
def test_density_is_likelihood_times_prior(small, link):
    from bayesglm.inference.evaluation import evaluate

    model = bg.Model(
        "events ~ x1 + x2", small, trials="trials", weights="copies", link=link, prior=PRIOR
    )
    target = target_of(model)
    theta = np.array([-0.4, 0.8, 0.3])
    numbers = evaluate(target, target.locate(theta))
    np.testing.assert_allclose(numbers["theta"], theta, rtol=1e-12)
    eta = theta[0] + small[["x1", "x2"]].to_numpy() @ theta[1:]
    p = {
        "logit": 1 / (1 + np.exp(-eta)),
        "probit": stats.norm.cdf(eta),
        "cloglog": -np.expm1(-np.exp(eta)),
    }[link]
    loglik = np.sum(small["copies"] * stats.binom.logpmf(small["events"], small["trials"], p))
    assert numbers["loglik"] == pytest.approx(loglik, rel=1e-10)
    w = small["copies"] * small["trials"]
    centred = theta[0] + np.average(small[["x1", "x2"]], axis=0, weights=w) @ theta[1:]
    prior = (
        stats.norm.logpdf(centred, 0.3, 2.0)
        + stats.t.logpdf(theta[1], 4, 0, 1.5)
        + stats.norm.logpdf(theta[2], 0, 0.7)
    )
    # Two kinds of priors: the padding joins the normal ones, at 0.
    padding = target.size - 3
    prior += padding * stats.norm.logpdf(0)
    assert numbers["log_posterior"] == pytest.approx(loglik + prior, rel=1e-10)


def test_the_mle_is_the_same_function_with_flat_priors(small):
    from bayesglm.inference.evaluation import evaluate

    model = bg.Model("y ~ x1 + x2", small)
    target = target_of(model, flat=True)
    fit = model.fit("mle")
    numbers = evaluate(target, fit.result.flat)
    assert numbers["log_posterior"] == pytest.approx(numbers["loglik"], rel=1e-12)
    flat = bg.Model("y ~ x1 + x2", small, prior="flat").fit("map")
    np.testing.assert_allclose(flat.coef, fit.coef, rtol=1e-8)


def test_map_is_the_mode_scipy_finds(small):
    from scipy.optimize import minimize
    from statsmodels.tools.numdiff import approx_hess3

    model = bg.Model("y ~ x1 + x2", small, prior=PRIOR, center=False)
    X = np.column_stack([np.ones(len(small)), small[["x1", "x2"]]])

    def loss(theta):
        eta = X @ theta
        prior = (
            stats.norm.logpdf(theta[0], 0.3, 2.0)
            + stats.t.logpdf(theta[1], 4, 0, 1.5)
            + stats.norm.logpdf(theta[2], 0, 0.7)
        )
        return -(np.sum(small["y"] * eta - np.logaddexp(0, eta)) + prior)

    other = minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-8})
    fit = model.fit("map")
    np.testing.assert_allclose(fit.coef, other.x, rtol=1e-5, atol=1e-6)
    hessian = approx_hess3(other.x, loss)
    np.testing.assert_allclose(fit.vcov, np.linalg.inv(hessian), rtol=1e-3, atol=1e-6)
    for optimizer in ("lbfgs", "adam"):
        again = model.fit("map", optimizer=optimizer)
        np.testing.assert_allclose(again.coef, fit.coef, rtol=1e-3, atol=1e-4)


def test_prior_predictive_draws_have_the_priors_moments(small):
    model = bg.Model("events ~ x1", small, trials="trials", prior={"x1": dist.Normal(1.0, 0.5)})
    tree = model.prior_predictive(4_000, seed=3)
    beta = tree["prior"]["beta"].to_numpy().ravel()
    # Five standard errors: a false alarm in 1.7 million.
    assert abs(beta.mean() - 1.0) < 5 * 0.5 / np.sqrt(4_000)
    y = tree["prior_predictive"]["y"]
    assert y.sizes == {"chain": 1, "draw": 4_000, "obs": 500}
    assert float(y.min()) >= 0
    assert (y.max(("chain", "draw")).to_numpy() <= small["trials"]).all()
    with pytest.raises(bg.SpecificationError, match="flat"):
        bg.Model("y ~ x1", small, prior="flat").prior_predictive()


def test_outcomes_are_drawn_with_the_fitted_probability(small):
    model = bg.Model("events ~ x1 + x2", small, trials="trials")
    fit = model.fit("mle")
    target = target_of(model)
    flat = np.repeat(fit.result.flat[None], 4_000, axis=0)
    y = predictive.predictive_draws(target, flat, seed=2)
    t = small["trials"].to_numpy()
    p = fit.predict()
    error = np.sqrt(t * p * (1 - p) / 4_000)
    # 500 rows at 5.5 standard errors: a false alarm in 50,000.
    assert (np.abs(y.mean(axis=0) - t * p) < 5.5 * error).all()


def test_no_intercept_and_intercept_only(small):
    none = bg.Model("y ~ 0 + x1 + x2", small).fit("mle")
    assert list(none.coef.index) == ["x1", "x2"]
    import statsmodels.api as sm

    other = sm.Logit(small["y"], small[["x1", "x2"]]).fit(disp=0)
    np.testing.assert_allclose(none.coef, other.params, rtol=1e-7)
    only = bg.Model("y ~ 1", small).fit("mle")
    share = small["y"].mean()
    assert only.coef["Intercept"] == pytest.approx(np.log(share / (1 - share)), rel=1e-10)
    assert only.predict({"x1": [1.0, 2.0]}).shape == (2,)

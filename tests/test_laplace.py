"""The Laplace approximation with its certificate, against quadrature, and where it must say no."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest

import bayesglm as bg
from bayesglm.errors import Status
from bayesglm.inference.importance import smooth, without_replacement

HERE = Path(__file__).with_name("reference")
EXACT = json.loads((HERE / "posterior" / "quadrature.json").read_text(encoding="utf-8"))["cases"]
FAST = ("mtcars_am_wt_normal__logit", "mtcars_am_wt_cauchy__logit", "budworm_normal__probit")
KINDS = {"normal": dist.Normal, "student_t": dist.StudentT}


def table(name: str) -> pd.DataFrame:
    return pd.DataFrame(json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))["data"])


def prior_of(family, location, scale, df):
    numbers = (location, scale) if df is None else (df, location, scale)
    return None if family == "flat" else KINDS[family](*numbers)


@pytest.mark.parametrize(
    "name", [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in EXACT]
)
def test_draws_agree_with_quadrature(name):
    """Means and sds within 4 standard errors of 4,000 independent draws, where the fit says so.

    Two-sided at 4: a false alarm in 16,000 for each of fewer than 100 numbers.
    """
    case = EXACT[name]
    formula = case["formula"].replace("SF-numdead", "SF - numdead")
    data = table(case["data"])
    terms = ["Intercept", *bg.Model(formula, data).design.terms]
    prior = dict(zip(terms, (prior_of(*p) for p in case["prior"]), strict=True))
    model = bg.Model(formula, data, link=case["link"], prior=prior, center=case["centred"])
    fit = model.fit("laplace", seed=1)
    words = fit.result.options
    assert words["verdict"] == "holds"
    assert words["k_hat"] < 0.7
    draws = fit.theta_draws().reshape(4_000, -1)
    mean, sd = np.array(case["mean"]), np.array(case["sd"])
    assert (np.abs(draws.mean(0) - mean) < 4 * sd / np.sqrt(4_000)).all()
    kurtosis = ((draws - draws.mean(0)) ** 4).mean(0) / draws.var(0) ** 2
    error = sd * np.sqrt((kurtosis - 1) / (4 * 4_000))
    assert (np.abs(draws.std(0) - sd) < 4 * error).all()


@pytest.fixture(scope="module")
def challenger():
    model = bg.Model("damage ~ temperature", bg.datasets.challenger())
    return model, model.fit("laplace", seed=1)


def test_the_certificate_is_everywhere(challenger):
    _, fit = challenger
    assert fit.status == Status.APPROXIMATED
    table = fit.summary()
    assert list(table.columns) == ["estimate", "std_error", "lower", "upper", "k_hat", "ess"]
    assert (table["k_hat"] == fit.result.options["k_hat"]).all()
    attrs = fit.data["posterior"].attrs
    assert attrs["independent_draws"] == 1
    assert attrs["verdict"] == "holds"
    assert attrs["importance_ess"] > 12_000
    (finding,) = fit.findings
    assert (finding.code, finding.severity) == ("laplace", "note")
    assert f"k-hat {attrs['k_hat']:.2f}" in str(fit)


def test_it_is_an_ordinary_posterior(challenger, tmp_path):
    import arviz as az

    model, fit = challenger
    assert fit.data["posterior"]["beta"].shape == (4, 1_000, 1)
    nuts = model.fit("nuts", draws=2_500, seed=1)
    assert az.loo(fit.data).elpd == pytest.approx(az.loo(nuts.data).elpd, abs=0.1)
    cold = {"temperature": [31.0]}
    assert fit.predict(cold)[0] == pytest.approx(nuts.predict(cold)[0], abs=0.01)
    for ours, theirs in zip(fit.predict_interval(cold), nuts.predict_interval(cold), strict=True):
        assert ours == pytest.approx(theirs, abs=0.04)
    path = tmp_path / "fit.nc"
    fit.save(path)
    loaded = bg.load(path)
    assert str(loaded) == str(fit)
    np.testing.assert_array_equal(loaded.predict(cold), fit.predict(cold))
    # lp is the density the weights are made of: likelihood times prior, up to the padding.
    full = fit.with_groups("log_prior")
    density = full.data["log_likelihood"]["y"].sum("obs") + full.data["log_prior"]["log_prior"]
    assert np.ptp((density - full.data["sample_stats"]["lp"]).to_numpy()) < 40


def test_draws_are_independent_distinct_and_fixed_by_the_seed(challenger):
    import arviz as az

    model, fit = challenger
    flat = fit.result.flat_draws.reshape(4_000, -1)
    assert len(np.unique(flat[:, 0])) == 4_000
    assert float(az.ess(fit.data)["Intercept"]) > 3_000
    again = model.fit("laplace", seed=1)
    np.testing.assert_array_equal(again.result.flat_draws, fit.result.flat_draws)
    other = model.fit("laplace", seed=2, draws=300, chains=2)
    assert other.result.draws["beta"].shape == (2, 300, 1)


def test_heavy_tails_are_refused_aloud_and_auto_samples():
    """Eight separated rows under Cauchy priors: the posterior's tails are those of a Cauchy."""
    x = np.linspace(-1, 1, 8)
    prior = {"default": "weak", "Intercept": dist.Cauchy(0, 10), "x": dist.Cauchy(0, 10)}
    model = bg.Model("y ~ x", {"x": x, "y": (x > 0).astype(int)}, prior=prior)
    with pytest.warns(bg.BayesGLMWarning, match=r'tails.*k-hat.*fit\("nuts"\)'):
        fit = model.fit("laplace")
    assert fit.result.options["verdict"] == "does not hold"
    with pytest.warns(bg.BayesGLMWarning):  # such tails are hard for NUTS too
        auto = model.fit("auto", draws=300, chains=2)
    assert auto.method == "nuts"
    assert "auto" in [finding.code for finding in auto.findings]


def test_uneven_weights_are_refused_where_k_hat_alone_would_not():
    """A skewed posterior whose draws without replacement would be too like the proposals."""
    x = np.linspace(-1, 1, 8)
    prior = {"Intercept": dist.Normal(0, 100), "x": dist.Normal(0, 100)}
    model = bg.Model("y ~ x", {"x": x, "y": (x > 0).astype(int)}, prior=prior)
    with pytest.warns(bg.BayesGLMWarning, match="Laplace approximation does not"):
        fit = model.fit("laplace")
    words = fit.result.options
    assert words["k_hat"] < 0.7
    assert words["lost"] > 0.005


def test_auto_takes_laplace_where_it_holds(challenger):
    model, fit = challenger
    auto = model.fit("auto", seed=1)
    assert auto.method == "laplace"
    np.testing.assert_array_equal(auto.result.flat_draws, fit.result.flat_draws)


def test_partial_links_stay_inside_their_domain():
    rng = np.random.default_rng(4)
    x = rng.uniform(size=300)
    data = {"x": x, "y": rng.binomial(1, 0.2 + 0.5 * x)}
    for link in ("identity", "log"):
        p = bg.Model("y ~ x", data, link=link).fit("laplace").predict(draws=True)
        assert (p >= 0).all()
        assert (p <= 1).all()


def test_the_last_layer_of_a_network(small):
    """A network without hidden layers is its last layer: the posterior of the linear model."""
    sd = small[["x1", "x2"]].std(ddof=0)
    data = small.assign(z=(small["x2"] - small["x2"].mean()) / sd["x2"])
    linear = bg.Model("y ~ z", data, prior=dict.fromkeys(("Intercept", "z"), dist.Normal(0, 1)))
    single = bg.Network("~ x2", hidden=(), prior=dist.Normal(0, 1), orthogonal=False)
    with pytest.warns(bg.BayesGLMWarning, match="last-layer"):
        fit = bg.Model("y ~ 0", data, add=[single]).fit("laplace", seed=1)
    for ours, theirs in zip(
        fit.predict_interval(data[:50]),
        linear.fit("laplace", seed=2).predict_interval(data[:50]),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, atol=0.01)

    network = bg.Network("~ x1 + x2", hidden=(4,), activation="tanh")
    with pytest.warns(bg.BayesGLMWarning, match="one of their modes"):
        fit = bg.Model("y ~ x1", data, add=[network]).fit("laplace", seed=1)
    draws = fit.result.draws
    assert np.ptp(draws["network.hidden_0.kernel"], axis=(0, 1)).max() == 0
    assert np.ptp(draws["network.output.kernel"], axis=(0, 1)).min() > 0.1
    table = fit.summary()
    assert list(table["scale"]) == ["link"] * 2 + ["probability"] * 2
    assert table.notna().all(axis=None)
    # The linear part has the errors that the Gauss-Newton matrix of the mode gives it, nearly.
    mode = bg.Model("y ~ x1", data, add=[network]).fit("map", seed=1)
    np.testing.assert_allclose(
        table["std_error"][:2], mode.summary()["std_error"][:2], rtol=0.15
    )  # fmt: skip


def test_what_has_no_laplace_approximation(challenger):
    model, _ = challenger
    x = np.linspace(-1, 1, 30)
    separated = bg.Model("y ~ x", {"x": x, "y": (x > 0).astype(int)}, prior="flat")
    with pytest.raises(bg.InferenceError, match="separate the outcome"):
        separated.fit("laplace")
    network = bg.Network("~ temperature", hidden=(600,))
    with pytest.raises(bg.SpecificationError, match="too many weights"):
        bg.Model("damage ~ 1", bg.datasets.challenger(), add=[network]).fit("laplace")
    with pytest.raises(bg.SpecificationError, match="warmup"):
        model.fit("laplace", warmup=10)


def test_few_rows_with_a_factor_agree_with_nuts():
    """Resampling that favours small weights was more than 3 errors off here; 8 numbers, 4 combined errors."""
    data = {
        "y": [1, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 0],
        "age": [23, 45, 51, 31, 62, 28, 39, 44, 58, 35, 26, 49],
        "region": list("nssneensnesn"),
    }
    model = bg.Model("y ~ age + region", data)
    nuts = model.fit("nuts", draws=10_000, seed=1).summary()
    laplace = model.fit("laplace", seed=0).summary()
    error = nuts["std_error"] * np.sqrt(1 / 4_000 + 1 / nuts["ess_bulk"])
    assert (np.abs(laplace["estimate"] - nuts["estimate"]) < 4 * error).all()
    assert (np.abs(laplace["std_error"] / nuts["std_error"] - 1) < 0.06).all()


def test_draws_are_chosen_in_proportion_to_their_weights():
    generator = np.random.default_rng(1)
    weights = generator.exponential(size=200)
    weights /= weights.sum()
    counts = np.zeros(200)
    for _ in range(4_000):
        chosen = without_replacement(weights, 20, generator)
        assert len(np.unique(chosen)) == 20
        counts[chosen] += 1
    share = 20 * weights
    # 200 frequencies at 5 standard errors: a false alarm in 9,000.
    error = np.sqrt(np.maximum(share * (1 - share), 1e-4) / 4_000)
    assert (np.abs(counts / 4_000 - share) < 5 * error).all()


def test_smoothing_sees_the_large_weights():
    """Weights with a Pareto tail of shape 0.5 have that k-hat; the sign decides which tail.

    The tail has 949 points, so k-hat has the error (1 + k) / sqrt(949) = 0.05; three of them.
    """
    u = np.random.default_rng(1).uniform(size=100_000)
    smoothed, k_hat = smooth(-0.5 * np.log(u))
    assert k_hat == pytest.approx(0.5, abs=0.15)
    assert np.logaddexp.reduce(smoothed) == pytest.approx(0, abs=1e-9)
    _, bounded = smooth(0.5 * np.log(u))
    assert bounded < 0


def test_single_precision_sums_relative_to_the_mode():
    import jax
    import jax.numpy as jnp

    from bayesglm.generative import log_density

    rng = np.random.default_rng(3)
    n = 300_000
    x = 50 + 3 * rng.standard_normal(n)
    data = {"x": x, "y": rng.binomial(1, 1 / (1 + np.exp(-0.5 * (x - 50))))}
    words = {"draws": 500, "chains": 2, "seed": 1}
    single = bg.Model("y ~ x", data, precision="float32").fit("laplace", **words)
    double = bg.Model("y ~ x", data).fit("laplace", **words)
    target = double.target
    with jax.enable_x64(True):
        points = jnp.asarray(single.result.flat_draws.reshape(-1, target.size), float)
        exact = jax.jit(
            lambda flat, arrays: jax.lax.map(
                lambda f: log_density(target.structure, arrays, f, jacobian=True), flat
            )
        )(points, target.arrays)
    # The sum is near -170,000, where single precision goes in steps of 0.016.
    error = single.result.sample_stats["lp"].ravel() - np.asarray(exact)
    assert np.std(error) < 2e-3
    assert single.loglik == pytest.approx(double.loglik, abs=0.1)
    # 1,000 independent draws each: within 5 standard errors of a difference.
    gap = np.abs(single.coef - double.coef) / double.summary()["std_error"]
    assert (gap < 5 * np.sqrt(2 / 1_000)).all()
    assert single.result.options["verdict"] == "holds"

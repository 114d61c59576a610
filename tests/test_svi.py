"""Gaussian guides and their certificate: against quadrature, and where they must say no."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest

import bayesglm as bg
from bayesglm.errors import Status
from bayesglm.inference import variational

HERE = Path(__file__).with_name("reference")
EXACT = json.loads((HERE / "posterior" / "quadrature.json").read_text(encoding="utf-8"))["cases"]
GUIDES = ("full", "low_rank", "mean_field")
KINDS = {"normal": dist.Normal, "student_t": dist.StudentT}


def table(name: str) -> pd.DataFrame:
    return pd.DataFrame(json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))["data"])


def prior_of(family, location, scale, df):
    numbers = (location, scale) if df is None else (df, location, scale)
    return None if family == "flat" else KINDS[family](*numbers)


def model_of(case):
    formula = case["formula"].replace("SF-numdead", "SF - numdead")
    data = table(case["data"])
    terms = ["Intercept", *bg.Model(formula, data).design.terms]
    prior = dict(zip(terms, (prior_of(*p) for p in case["prior"]), strict=True))
    return bg.Model(formula, data, link=case["link"], prior=prior, center=case["centred"])


def check_moments(fit, mean, sd):
    """Means and sds within 4 standard errors of independent draws.

    Two-sided at 4: a false alarm in 16,000 for each of fewer than 100 numbers.
    """
    draws = fit.theta_draws()
    draws = draws.reshape(-1, draws.shape[-1])
    assert (np.abs(draws.mean(0) - mean) < 4 * sd / np.sqrt(len(draws))).all()
    kurtosis = ((draws - draws.mean(0)) ** 4).mean(0) / draws.var(0) ** 2
    error = sd * np.sqrt((kurtosis - 1) / (4 * len(draws)))
    assert (np.abs(draws.std(0) - sd) < 4 * error).all()


def correlated(n=1_000, p=5, seed=1, rho=0.7):
    rng = np.random.default_rng(seed)
    X = rng.multivariate_normal(np.zeros(p), rho + (1 - rho) * np.eye(p), size=n)
    eta = X @ rng.normal(0, 0.5, p) - 0.5
    return X, (rng.uniform(size=n) < 1 / (1 + np.exp(-eta))).astype(int)


@pytest.fixture(scope="module")
def challenger():
    model = bg.Model("damage ~ temperature", bg.datasets.challenger())
    return model, model.fit("svi", seed=1)


@pytest.mark.parametrize(
    "guide", ["full", "low_rank", pytest.param("mean_field", marks=pytest.mark.slow)]
)
def test_draws_agree_with_quadrature(guide):
    fit = model_of(EXACT["mtcars_am_intercept__logit"]).fit("svi", guide=guide, seed=1)
    assert fit.result.options["verdict"] == "holds"
    case = EXACT["mtcars_am_intercept__logit"]
    check_moments(fit, np.array(case["mean"]), np.array(case["sd"]))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::bayesglm.BayesGLMWarning")
@pytest.mark.parametrize("guide", GUIDES)
@pytest.mark.parametrize("name", EXACT)
def test_what_holds_is_right(name, guide):
    """Where a certificate is clearly inside its limits, the draws are; else it may be near them."""
    fit = model_of(EXACT[name]).fit("svi", guide=guide, seed=1)
    words = fit.result.options
    assert np.isfinite(words["elbo"])
    if words["k_hat"] < 0.6 and words["lost"] < 0.002:
        check_moments(fit, np.array(EXACT[name]["mean"]), np.array(EXACT[name]["sd"]))


def test_the_elbo_is_below_the_evidence():
    """One unknown: the evidence by quadrature over the intercept, padding being normalised."""
    y = np.array([1, 1, 1, 0, 1, 1, 0, 1])
    model = bg.Model("y ~ 1", {"y": y}, prior={"Intercept": dist.Normal(0, 1.5)})
    grid = np.linspace(-12, 12, 20_001)
    log_p = np.logaddexp(0, -grid) * -y.sum() - np.logaddexp(0, grid) * (len(y) - y.sum())
    log_p = log_p - grid**2 / (2 * 1.5**2) - np.log(1.5 * np.sqrt(2 * np.pi))
    evidence = np.logaddexp.reduce(log_p) + np.log(grid[1] - grid[0])
    fit = model.fit("svi", seed=1)
    elbo = fit.result.options["elbo"]
    # A Gaussian is 0.001 nats off here; the mean of 20,000 log weights has an error below 0.001.
    assert evidence - 0.02 < elbo < evidence + 0.003
    assert len(fit.history) == 1_000
    assert fit.history[-100:].mean() == pytest.approx(-elbo, abs=0.02)


def test_the_certificate_is_everywhere(challenger, tmp_path):
    _, fit = challenger
    assert fit.method == "svi"
    assert fit.status == Status.APPROXIMATED
    table = fit.summary()
    assert list(table.columns) == ["estimate", "std_error", "lower", "upper", "k_hat", "ess"]
    words = fit.result.options
    assert (table["k_hat"] == words["k_hat"]).all()
    assert {"guide": "full", "steps": 1_000, "particles": 8}.items() <= words.items()
    attrs = fit.data.attrs
    assert attrs["verdict"] == "holds"
    assert attrs["k_hat"] < 0.7
    assert attrs["importance_ess"] > 10_000
    assert attrs["independent_draws"] == 1
    (finding,) = fit.findings
    assert (finding.code, finding.severity) == ("svi", "note")
    assert f"full guide holds: Pareto k-hat {attrs['k_hat']:.2f}" in str(fit)
    assert list(fit.result.sample_stats) == ["lp"]
    assert fit.result.flat_draws.shape[:2] == (4, 1_000)
    assert "log_likelihood" in fit.data.children
    path = tmp_path / "fit.nc"
    fit.save(path)
    loaded = bg.load(path)
    assert str(loaded) == str(fit)
    np.testing.assert_array_equal(loaded.history, fit.history)
    assert loaded.result.options == words


def test_agrees_with_laplace(challenger):
    model, fit = challenger
    ours, theirs = fit.summary(), model.fit("laplace", seed=2).summary()
    # Two sets of 4,000 independent draws, at 4 standard errors.
    error = theirs["std_error"] * np.sqrt(2 / 4_000)
    assert (np.abs(ours["estimate"] - theirs["estimate"]) < 4 * error).all()
    assert (np.abs(ours["std_error"] / theirs["std_error"] - 1) < 4 * np.sqrt(1 / 4_000)).all()


@pytest.mark.filterwarnings("ignore::bayesglm.BayesGLMWarning")  # 150 steps are few
def test_the_seed_fixes_everything(challenger):
    model, fit = challenger
    again = model.fit("svi", seed=1)
    np.testing.assert_array_equal(again.result.flat_draws, fit.result.flat_draws)
    np.testing.assert_array_equal(again.history, fit.history)
    other = model.fit("svi", seed=2, steps=150, draws=300, chains=2)
    assert other.result.draws["beta"].shape == (2, 300, 1)
    assert len(other.history) == other.result.steps == 150
    assert not np.array_equal(other.history, fit.history[:150])


def test_guides_on_correlated_predictors():
    """The full guide holds; mean field cannot, and says so; data of one shape share programs."""
    full = bg.Model.from_arrays(*correlated()).fit("svi", seed=1)
    assert full.result.options["k_hat"] < 0.5
    with pytest.warns(bg.BayesGLMWarning, match=r'mean_field guide does not.*fit\("nuts"\)'):
        field = bg.Model.from_arrays(*correlated()).fit("svi", guide="mean_field", seed=1)
    (finding,) = field.result.findings
    assert (finding.code, finding.severity) == ("svi", "error")
    assert field.result.options["elbo"] < full.result.options["elbo"] - 1

    programs = [variational._start, variational._advance, variational._propose, variational._gain]
    before = [program._cache_size() for program in programs]
    bg.Model.from_arrays(*correlated(n=990, seed=2)).fit("svi", seed=3)
    assert [program._cache_size() for program in programs] == before


def test_heavy_tails_are_refused_aloud():
    x = np.linspace(-1, 1, 8)
    prior = {"Intercept": dist.Cauchy(0, 10), "x": dist.Cauchy(0, 10)}
    model = bg.Model("y ~ x", {"x": x, "y": (x > 0).astype(int)}, prior=prior)
    with pytest.warns(bg.BayesGLMWarning, match=r'tails.*k-hat.*fit\("nuts"\)'):
        fit = model.fit("svi")
    assert fit.result.options["verdict"] == "does not hold"


def test_too_few_steps_are_said():
    """Nine rows of a skewed posterior, whose mean is far from its mode."""
    x = np.linspace(-1, 1, 9)
    model = bg.Model("y ~ x", {"x": x, "y": [0, 0, 0, 0, 1, 0, 1, 1, 1]})
    with pytest.warns(bg.BayesGLMWarning, match=r"After 2 steps the ELBO was still rising"):
        fit = model.fit("svi", steps=2)
    assert "step-limit" in [finding.code for finding in fit.findings]


def test_weights_are_copies_of_rows(small):
    few = small[:70]
    weighted = bg.Model("y ~ x1", few, weights="copies").fit("svi", seed=1)
    rows = few.loc[few.index.repeat(few["copies"])].reset_index(drop=True)
    assert len(rows) <= 128  # so that both share their compiled programs
    repeated = bg.Model("y ~ x1", rows).fit("svi", seed=1)
    np.testing.assert_allclose(weighted.coef, repeated.coef, rtol=1e-6)
    np.testing.assert_allclose(weighted.history, repeated.history, rtol=1e-9)


def test_flat_priors(small):
    flat = bg.Model("y ~ x1 + x2", small, prior="flat")
    mle, fit = flat.fit("mle"), flat.fit("svi", seed=1)
    assert fit.result.options["verdict"] == "holds"
    assert (np.abs(fit.coef - mle.coef) < 0.2 * mle.summary()["std_error"]).all()


@pytest.mark.slow
def test_the_linear_probability_model(small):
    lpm = bg.Model("y ~ x1 + x2", small, family="gaussian")
    ours, theirs = lpm.fit("svi", seed=1), lpm.fit("laplace", seed=1)
    assert ours.result.options["verdict"] == "holds"
    error = 4 * np.sqrt(2 / 4_000)
    sigma = [fit.result.draws["sigma"] for fit in (ours, theirs)]
    assert abs(sigma[0].mean() - sigma[1].mean()) < error * sigma[1].std()
    assert (np.abs(ours.coef - theirs.coef) < error * theirs.summary()["std_error"]).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::bayesglm.BayesGLMWarning")  # of NUTS: a divergence
def test_a_network_says_that_its_guide_does_not_hold(small):
    network = bg.Network("~ x2", hidden=(4,), activation="tanh")
    model = bg.Model("y ~ x1", small, add=[network])
    with pytest.warns(bg.BayesGLMWarning, match=r"low_rank guide does not[^$]*many modes"):
        fit = model.fit("svi", seed=1)
    assert fit.summary().notna().all(axis=None)
    for ours, theirs in zip(
        fit.predict_interval(), model.fit("nuts", draws=300, seed=1).predict_interval(), strict=True
    ):
        assert np.abs(ours - theirs).mean() < 0.05


def test_what_is_refused(challenger, small):
    model, _ = challenger
    with pytest.raises(bg.SpecificationError, match=r'unknown guide.*did you mean "mean_field"'):
        model.fit("svi", guide="meanfield")
    with pytest.raises(bg.SpecificationError, match="unknown guide"):
        model.fit("svi", guide=["full"])
    with pytest.raises(bg.SpecificationError, match="particles must be a positive integer"):
        model.fit("svi", particles=0)
    with pytest.raises(bg.SpecificationError, match='no option "warmup"'):
        model.fit("svi", warmup=10)
    with pytest.raises(bg.InferenceError, match=r"ELBO left the finite numbers.*learning_rate"):
        model.fit("svi", learning_rate=1e200)
    for link in ("log", "identity"):
        with pytest.raises(bg.SpecificationError, match=r'outside the domain.*fit\("nuts"\)'):
            bg.Model("y ~ x1", small, link=link).fit("svi")
    x = np.linspace(-1, 1, 30)
    separated = bg.Model("y ~ x", {"x": x, "y": (x > 0).astype(int)}, prior="flat")
    with pytest.raises(bg.InferenceError, match="separate the outcome"):
        separated.fit("svi")
    wide = bg.Network("~ temperature", hidden=(600,))
    with pytest.raises(bg.SpecificationError, match="too many parameters"):
        bg.Model("damage ~ 1", bg.datasets.challenger(), add=[wide]).fit("svi", guide="full")

"""The sampler: against quadrature, against a plain NumPyro model, and as a piece of software."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest

import bayesglm as bg
from bayesglm.errors import Status

HERE = Path(__file__).with_name("reference")
EXACT = json.loads((HERE / "posterior" / "quadrature.json").read_text(encoding="utf-8"))["cases"]
# One for each kind of prior and of data; the others run with the slow tests.
FAST = (
    "mtcars_am_wt_normal__logit",
    "mtcars_am_wt_cauchy__logit",
    "mtcars_am_wt_rstanarm_default__logit",
    "mtcars_am_wt_flat__logit",
    "budworm_normal__probit",
)
KINDS = {"normal": dist.Normal, "student_t": dist.StudentT}


def table(name: str) -> pd.DataFrame:
    return pd.DataFrame(json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))["data"])


def prior_of(case, terms):
    priors = {}
    for term, (family, location, scale, df) in zip(terms, case["prior"], strict=True):
        numbers = (location, scale) if df is None else (df, location, scale)
        priors[term] = None if family == "flat" else KINDS[family](*numbers)
    return priors


def check_moments(fit, mean, sd, extra_mcse=0.0):
    """Compare means and sds within 4 Monte Carlo standard errors.

    The error of a mean is sd / sqrt(ESS); that of an sd about sd * sqrt((kurtosis - 1) / (4 ESS)).
    Two-sided at 4 standard errors: a false alarm in 16,000 comparisons for each number, and there
    are fewer than 100 of them.
    """
    draws = fit.theta_draws()
    flat = draws.reshape(-1, draws.shape[-1])
    table = fit.summary()
    kurtosis = ((flat - flat.mean(0)) ** 4).mean(0) / flat.var(0) ** 2
    ess = np.minimum(table["ess_bulk"], table["ess_tail"]).to_numpy()
    error = np.hypot(flat.std(0) / np.sqrt(ess), extra_mcse)
    assert (np.abs(flat.mean(0) - mean) < 4 * error).all()
    error = np.hypot(flat.std(0) * np.sqrt((kurtosis - 1) / (4 * ess)), extra_mcse)
    assert (np.abs(flat.std(0) - sd) < 4 * error).all()
    assert (table["r_hat"] < 1.01).all()


@pytest.mark.parametrize(
    "name", [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in EXACT]
)
def test_draws_agree_with_quadrature(name):
    case = EXACT[name]
    formula = case["formula"].replace("SF-numdead", "SF - numdead")
    data = table(case["data"])
    bare = bg.Model(formula, data)
    terms = ["Intercept", *bare.design.terms]
    model = bg.Model(
        formula, data, link=case["link"], prior=prior_of(case, terms), center=case["centred"]
    )
    fit = model.fit("nuts", draws=2_500, seed=1)
    check_moments(fit, case["mean"], case["sd"])
    # Heavy tails (Cauchy, flat) may diverge once in a while; normal priors must not.
    if case["prior"][0][0] == "normal":
        assert fit.result.sample_stats["diverging"].sum() == 0


def plain_model(X, y, link):
    """Sample the default model as anybody would write it in NumPyro; return draws (c, s, k)."""
    import jax
    import jax.numpy as jnp
    import numpyro
    from numpyro.infer import MCMC, NUTS

    density = {"logit": 0.25, "probit": 1 / np.sqrt(2 * np.pi)}[link]
    k = 0.25 / density
    two = np.array([len(np.unique(column)) == 2 for column in X.T])
    scale = 1.5 * k / np.where(two, np.ptp(X, axis=0), X.std(axis=0))

    def model(X, y):
        centred = numpyro.sample("a", dist.Normal(0, 1.5 * k))
        beta = numpyro.sample("b", dist.Normal(0, jnp.asarray(scale)).to_event(1))
        eta = centred + (X - X.mean(0)) @ beta
        if link == "logit":
            numpyro.sample("y", dist.Bernoulli(logits=eta), obs=y)
        else:
            numpyro.sample("y", dist.Bernoulli(probs=jax.scipy.special.ndtr(eta)), obs=y)
        numpyro.deterministic("Intercept", centred - X.mean(0) @ beta)

    with jax.enable_x64(True):
        kernel = NUTS(model, dense_mass=True)
        sampler = MCMC(
            kernel, num_warmup=1_000, num_samples=10_000, num_chains=4,
            chain_method="sequential", progress_bar=False,
        )  # fmt: skip
        sampler.run(jax.random.key(7), jnp.asarray(X, float), jnp.asarray(y))
        draws = {n: np.asarray(v) for n, v in sampler.get_samples(group_by_chain=True).items()}
    return np.concatenate([draws["Intercept"][..., None], draws["b"]], axis=-1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "formula", "link"),
    [
        ("challenger", "damage ~ temperature", "logit"),
        ("spector", "GRADE ~ GPA + TUCE + PSI", "logit"),
        ("simulate", "y ~ x1 + x2", "probit"),
    ],
)
def test_draws_agree_with_a_plain_numpyro_model(data, formula, link):
    frame = bg.datasets.simulate(500) if data == "simulate" else getattr(bg.datasets, data)()
    model = bg.Model(formula, frame, link=link)
    fit = model.fit("nuts", draws=2_500, seed=3)
    other = plain_model(model.design.matrix, model.design.y, link)
    flat = other.reshape(-1, other.shape[-1])
    # The long run's own error, with at least a quarter of its draws effective.
    error = flat.std(0) / np.sqrt(len(flat) / 4)
    check_moments(fit, flat.mean(0), flat.std(0), extra_mcse=error)
    assert fit.result.sample_stats["diverging"].sum() == 0


@pytest.fixture(scope="module")
def challenger():
    model = bg.Model("damage ~ temperature", bg.datasets.challenger())
    return model, model.fit("nuts", draws=400, chains=2, seed=5)


def test_the_same_seed_gives_the_same_draws(challenger):
    model, fit = challenger
    again = model.fit("nuts", draws=400, chains=2, seed=5)
    np.testing.assert_array_equal(fit.result.draws["beta"], again.result.draws["beta"])
    other = model.fit("nuts", draws=400, chains=2, seed=np.random.default_rng(5))
    assert not np.array_equal(fit.result.draws["beta"], other.result.draws["beta"])


def test_arviz_works_on_the_fit_unaided(challenger):
    import arviz as az
    import matplotlib as mpl

    mpl.use("Agg")
    _, fit = challenger
    table = az.summary(fit.data)
    assert {"Intercept", "beta[temperature]"} <= set(table.index)
    assert az.loo(fit.data).elpd == pytest.approx(-11.8, abs=0.5)
    az.plot_trace_dist(fit.data)
    az.plot_energy(fit.data)
    az.plot_ppc_pava(fit.with_groups("posterior_predictive").data)
    mpl.pyplot.close("all")


def test_sampler_statistics(challenger):
    _, fit = challenger
    stats = fit.data["sample_stats"]
    assert fit.status == Status.SAMPLED
    assert stats["energy"].dims == ("chain", "draw")
    assert (stats["n_steps"] >= 1).all()
    assert (stats["step_size"] > 0).all()
    assert 0.6 < float(stats["acceptance_rate"].mean()) < 0.99
    # lp is the density the sampler saw, up to the constant of the change of coordinates.
    with_prior = fit.with_groups("log_prior")
    density = (
        with_prior.data["log_likelihood"]["y"].sum("obs")
        + with_prior.data["log_prior"]["log_prior"]
    )
    moved = (density - stats["lp"]).to_numpy()
    # The padding columns are part of lp: independent standard normals, so within a few units.
    assert np.ptp(moved) < 40


def test_zero_weights_do_not_count():
    data = bg.datasets.challenger()
    doubled = pd.concat([data, data.assign(damage=1 - data["damage"])], ignore_index=True)
    doubled["w"] = np.repeat([1, 0], len(data))
    one = bg.Model("damage ~ temperature", data).fit("nuts", draws=400, chains=2, seed=5)
    two = bg.Model("damage ~ temperature", doubled, weights="w").fit(
        "nuts", draws=400, chains=2, seed=5
    )
    np.testing.assert_allclose(one.coef, two.coef, rtol=0.2)
    assert two.data["log_likelihood"].sizes["obs"] == len(data)


def test_a_bounded_coefficient():
    model = bg.Model(
        "damage ~ temperature",
        bg.datasets.challenger().assign(temperature=lambda d: 70 - d["temperature"]),
        prior={"temperature": dist.HalfNormal(0.5)},
    )
    fit = model.fit("nuts", draws=1_000, seed=5)
    assert (fit.result.draws["beta"] > 0).all()
    assert model.fit("map").coef["temperature"] > 0


def test_partial_links_sample_inside_their_domain():
    rng = np.random.default_rng(4)
    x = rng.uniform(size=300)
    data = {"x": x, "y": rng.binomial(1, 0.2 + 0.5 * x)}
    for link in ("identity", "log"):
        fit = bg.Model("y ~ x", data, link=link).fit("nuts", draws=400, chains=2, seed=5)
        p = fit.predict(draws=True)
        assert (p >= 0).all()
        assert (p <= 1).all()
        assert (fit.summary()["r_hat"] < 1.03).all()


def test_linear_probability_model_has_a_posterior(small):
    fit = bg.Model("y ~ x1 + x2", small, family="gaussian").fit("nuts", draws=400, chains=2, seed=5)
    mle = bg.Model("y ~ x1 + x2", small, family="gaussian").fit("mle")
    error = mle.summary()["std_error"]
    assert (np.abs(fit.coef - mle.coef) < error).all()
    assert fit.result.draws["sigma"].mean() == pytest.approx(mle.result.sigma, rel=0.05)


def test_improper_posteriors_are_refused():
    x = np.linspace(-1, 1, 30)
    data = {"x": x, "y": (x > 0).astype(int)}
    with pytest.raises(bg.InferenceError, match="separate the outcome"):
        bg.Model("y ~ x", data, prior="flat").fit("nuts")
    fit = bg.Model("y ~ x", data).fit("nuts", draws=400, chains=2, seed=5)
    assert np.isfinite(fit.coef).all()


def test_interrupts_stop_all_threads(challenger, monkeypatch):
    import threading

    from bayesglm.inference import nuts

    model, _ = challenger

    def pressed(*_):
        raise KeyboardInterrupt

    before = threading.active_count()
    run = nuts.sample
    monkeypatch.setattr(nuts, "sample", lambda *a, **k: run(*a, **{**k, "report": pressed}))
    with pytest.raises(KeyboardInterrupt):
        model.fit("nuts", draws=100_000, chains=2, seed=5)
    assert threading.active_count() == before


# -- as many draws as are needed ------------------------------------------------------------------


def test_draws_go_on_until_they_are_enough(challenger):
    model, _ = challenger
    fit = model.fit("nuts", draws="auto", seed=5)
    table = fit.summary()
    assert table["r_hat"].max() < 1.01
    assert table[["ess_bulk", "ess_tail"]].min().min() >= 1_000
    draws = fit.result.draws["beta"].shape[1]
    assert fit.result.options["draws"] == draws
    assert "draws-enough" in {finding.code for finding in fit.findings}
    more = model.fit("nuts", draws="auto", ess=3_000, seed=5)
    assert more.result.draws["beta"].shape[1] > draws
    # The same chains, longer.
    np.testing.assert_array_equal(more.result.draws["beta"][:, :draws], fit.result.draws["beta"])


def test_draws_stop_at_their_limit(challenger):
    model, _ = challenger
    with pytest.warns(bg.BayesGLMWarning, match="limit of 350 draws"):
        fit = model.fit("nuts", draws="auto", ess=10**6, max_draws=350, seed=5)
    assert fit.result.draws["beta"].shape[1] == 350


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"draws": "some"}, "draws must be a positive integer"),
        ({"ess": 500}, r'ess says when draws="auto" ends'),
        ({"draws": "auto", "ess": 0}, "ess must be a positive integer"),
        ({"draws": 100, "max_draws": 200}, 'max_draws says when draws="auto" ends'),
    ],
)
def test_words_about_draws(challenger, options, told):
    with pytest.raises(bg.SpecificationError, match=told):
        challenger[0].fit("nuts", **options)


def test_laplace_takes_a_number_of_draws(challenger):
    with pytest.raises(bg.SpecificationError, match="draws must be a positive integer"):
        challenger[0].fit("laplace", draws="auto")
    fit = challenger[0].fit("auto", draws="auto")
    assert fit.method in ("laplace", "nuts")


# -- coordinates ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def uneven():
    """A correlated posterior with scales far apart: its target, mode and Hessian."""
    from bayesglm.inference.covariance import hessian_at
    from bayesglm.inference.mode import find_mode

    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 5)) + 3 * rng.standard_normal((400, 1))
    X[:, 0] *= 50
    y = rng.binomial(1, 1 / (1 + np.exp(-X[:, 1])))
    target = bg.Model.from_arrays(X, y).fit("map").target
    optimum = find_mode(target, {}, jacobian=True)
    hessian = hessian_at(target, optimum.flat, information="observed", jacobian=True)
    return target, optimum.flat, hessian


def test_warm_up_goes_on_where_the_hessian_was_wrong(uneven):
    from bayesglm.inference import nuts

    target, mode, _ = uneven
    wrong = np.eye(target.size)
    short = nuts.sample(target, mode, wrong, settings=nuts.Settings(draws=300, warmup=300), seed=1)
    learned = nuts.sample(target, mode, wrong, settings=nuts.Settings(draws=300), seed=1)
    assert short.warmup == 300
    assert learned.warmup > 300
    assert learned.stats["n_steps"].mean() < 0.5 * short.stats["n_steps"].mean()


def test_large_models_have_a_diagonal_metric(uneven):
    from bayesglm.inference import kernel, nuts

    target, mode, hessian = uneven
    w = kernel.precondition(hessian, dense=False)
    np.testing.assert_allclose(w, 1 / np.sqrt(np.diag(hessian)))
    settings = nuts.Settings(draws=800)
    thin = nuts.sample(target, mode, w, settings=settings, seed=1)
    full = nuts.sample(target, mode, kernel.precondition(hessian), settings=settings, seed=1)
    assert full.stats["n_steps"].mean() < thin.stats["n_steps"].mean()
    sd = full.flat.std(axis=(0, 1))
    # At least 500 effective draws each: within 5 standard errors of a difference.
    gap = np.abs(full.flat.mean(axis=(0, 1)) - thin.flat.mean(axis=(0, 1)))
    assert (gap < 5 * sd * np.sqrt(2 / 500)).all()


def test_chains_together_are_those_apart(uneven):
    from bayesglm.inference import kernel, nuts

    target, mode, hessian = uneven
    w = kernel.precondition(hessian)
    settings = nuts.Settings(draws=800)
    apart = nuts.sample(target, mode, w, settings=settings, seed=1, together=False)
    together = nuts.sample(target, mode, w, settings=settings, seed=1, together=True)
    assert together.flat.shape == apart.flat.shape
    assert {n: v.shape for n, v in together.stats.items()} == {
        n: v.shape for n, v in apart.stats.items()
    }
    sd = apart.flat.std(axis=(0, 1))
    gap = np.abs(apart.flat.mean(axis=(0, 1)) - together.flat.mean(axis=(0, 1)))
    assert (gap < 5 * sd * np.sqrt(2 / 500)).all()


def test_other_numbers_of_draws_compile_nothing(challenger):
    from bayesglm.inference import kernel

    model, _ = challenger
    before = kernel.advance._cache_size()
    model.fit("nuts", draws=450, chains=3, seed=5)
    model.fit("nuts", draws="auto", ess=100, seed=5)
    assert kernel.advance._cache_size() == before

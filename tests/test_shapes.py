"""Links with a learned shape: robit with df learned, and lapses."""

from __future__ import annotations

import copy
import pickle
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
import pytest
from numpyro.infer import MCMC, NUTS
from scipy import optimize, special, stats

import bayesglm as bg
from bayesglm.errors import SpecificationError, Status
from bayesglm.links import get_link, student_t
from bayesglm.precision import scope
from bayesglm.shaped import with_lapse

TRUTH = {"Intercept": 0.5, "x": 1.5, "z": -1.0}


def planted(seed, n=2_000, share=0.05):
    """Return data of a logit model, a share of the outcomes turned where x is far out."""
    rng = np.random.default_rng(seed)
    x, z = rng.standard_t(3, n), rng.normal(size=n)
    p = special.expit(TRUTH["Intercept"] + TRUTH["x"] * x + TRUTH["z"] * z)
    y = (rng.uniform(size=n) < p).astype(int)
    # The half of the rows with the highest leverage.
    far = np.argsort(-np.abs(x))[: n // 2]
    wrong = rng.choice(far, int(share * n), replace=False)
    y[wrong] = 1 - y[wrong]
    return pd.DataFrame({"x": x, "z": z, "y": y})


@pytest.fixture(scope="module")
def data():
    return planted(1)


@pytest.fixture(scope="module")
def few():
    return planted(3, n=800)


@pytest.fixture(scope="module")
def robit(data):
    return bg.Model("y ~ x + z", data, link="student_t").fit("mle")


@pytest.fixture(scope="module")
def lapse(data):
    return bg.Model("y ~ x + z", data, lapse=True).fit("mle")


def cdf(eta, link):
    """Return F, by SciPy; ``link`` is a name or the df of Student's t."""
    known = {"logit": special.expit, "probit": stats.norm.cdf}
    return known[link](eta) if isinstance(link, str) else stats.t.cdf(eta, link)


def highest(data, link=None, share=None):
    """Maximise the likelihood by SciPy: coefficients, then log df, then the logit of lapse."""
    X = np.column_stack([np.ones(len(data)), data["x"], data["z"]])
    y = data["y"].to_numpy()
    learned = [link is None, share is None]

    def loss(v):
        rest = list(v[3:])
        df = np.exp(rest.pop(0)) if learned[0] else link
        lam = special.expit(rest.pop(0)) if learned[1] else share
        p = lam / 2 + (1 - lam) * cdf(X @ v[:3], df)
        return -np.sum(np.where(y == 1, np.log(p), np.log1p(-p)))

    start = [0.3, 1.0, -0.5] + [1.0] * learned[0] + [-2.0] * learned[1]
    words = {"xatol": 1e-9, "fatol": 1e-11, "maxiter": 20_000, "maxfev": 20_000}
    found = optimize.minimize(loss, start, method="Nelder-Mead", options=words)
    return found.x, -found.fun


def test_robit_is_the_maximum_that_scipy_finds(robit, data):
    v, loglik = highest(data, share=0.0)
    assert robit.status == Status.CONVERGED
    assert robit.loglik == pytest.approx(loglik, abs=1e-6)
    np.testing.assert_allclose(robit.coef, v[:3], rtol=1e-4)
    assert float(robit.result.shape["df"]) == pytest.approx(np.exp(v[3]), rel=1e-4)


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_lapse_is_the_maximum_that_scipy_finds(data, link):
    fit = bg.Model("y ~ x + z", data, link=link, lapse=True).fit("mle")
    v, loglik = highest(data, link=link)
    assert fit.loglik == pytest.approx(loglik, abs=1e-6)
    np.testing.assert_allclose(fit.coef, v[:3], rtol=1e-4)
    assert float(fit.result.shape["lapse"]) == pytest.approx(special.expit(v[3]), rel=1e-4)


def test_slopes_are_recovered_where_logit_loses_them(data, robit, lapse):
    logit = bg.Model("y ~ x + z", data).fit("mle")

    def away(fit):
        return abs(fit.coef["x"] - TRUTH["x"]) / np.sqrt(fit.vcov.loc["x", "x"])

    assert away(logit) > 10
    assert away(robit) < 2
    assert away(lapse) < 2
    assert lapse.bic < logit.bic


@pytest.mark.slow
def test_slopes_are_recovered_in_most_simulations():
    # Of 40: were each within 2 errors with probability 0.85 (the lapses are not spread evenly, as
    # the model has it), fewer than 27 would be seen once in 1,000 runs.
    near = {"student_t": 0, "lapse": 0, "logit": 0}
    for seed in range(40):
        data = planted(100 + seed, n=1_000)
        for name in near:
            words = {"lapse": True} if name == "lapse" else {"link": name}
            fit = bg.Model("y ~ x + z", data, **words).fit("mle")
            error = np.sqrt(fit.vcov.loc["x", "x"])
            near[name] += abs(fit.coef["x"] - TRUTH["x"]) < 2 * error
    assert near["student_t"] >= 27
    assert near["lapse"] >= 27
    assert near["logit"] <= 2


def numeric_information(data, v, link):
    """Return minus the second differences of the log likelihood, lapse last, as it is named."""
    X = np.column_stack([np.ones(len(data)), data["x"], data["z"]])
    y = data["y"].to_numpy()

    def value(v):
        p = v[3] / 2 + (1 - v[3]) * cdf(X @ v[:3], link)
        return np.sum(np.where(y == 1, np.log(p), np.log1p(-p)))

    step, size = 1e-4, len(v)
    out = np.empty((size, size))
    for i in range(size):
        for j in range(size):
            e, f = step * np.eye(size)[i], step * np.eye(size)[j]
            out[i, j] = -(value(v + e + f) - value(v + e - f) - value(v - e + f) + value(v - e - f))
    return out / (4 * step**2)


def test_errors_of_an_mle_are_the_inverse_information(data):
    fit = bg.Model("y ~ x + z", data, lapse=True).fit("mle", information="observed")
    v = np.append(fit.result.theta, float(fit.result.shape["lapse"]))
    expected = np.linalg.inv(numeric_information(data, v, "logit"))
    np.testing.assert_allclose(fit.result.cov, expected[:3, :3], rtol=1e-4, atol=1e-7)
    error = float(fit.result.shape["lapse_std_error"])
    assert error == pytest.approx(np.sqrt(expected[3, 3]), rel=1e-4)


def test_expected_information_is_that_of_both_outcomes(data, lapse):
    X = np.column_stack([np.ones(len(data)), data["x"], data["z"]])
    lam, F = float(lapse.result.shape["lapse"]), special.expit(X @ lapse.result.theta)
    p = lam / 2 + (1 - lam) * F
    slopes = np.column_stack([((1 - lam) * F * (1 - F))[:, None] * X, 0.5 - F])
    expected = np.linalg.inv((slopes / (p * (1 - p))[:, None]).T @ slopes)
    np.testing.assert_allclose(lapse.result.cov, expected[:3, :3], rtol=1e-8)


def test_no_lapses_and_normal_tails_lie_at_the_end_of_the_range():
    rng = np.random.default_rng(5)
    x = rng.uniform(-2, 2, 3_000)
    y = (rng.uniform(size=3_000) < stats.norm.cdf(1.5 * x)).astype(int)
    # No outcome is against the odds where these are long.
    y[x > 1.3], y[x < -1.3] = 1, 0
    data = pd.DataFrame({"x": x, "y": y})
    plain = bg.Model("y ~ x", data, link="probit").fit("mle")
    fit = bg.Model("y ~ x", data, link="probit", lapse=True).fit("mle")
    assert fit.status == Status.BOUNDARY
    assert float(fit.result.shape["lapse"]) == 0
    assert [finding.code for finding in fit.findings] == ["boundary"]
    np.testing.assert_allclose(fit.coef, plain.coef, rtol=1e-4)
    np.testing.assert_allclose(fit.result.cov, plain.result.cov, rtol=1e-3)
    np.testing.assert_allclose(fit.predict_interval(data)[0], plain.predict(data), rtol=1e-4)
    both = bg.Model("y ~ x", data, link="student_t").fit("mle")
    assert float(both.result.shape["df"]) == np.inf
    np.testing.assert_allclose(both.coef, plain.coef, rtol=1e-4)
    assert np.isnan(both.summary().loc["df", "std_error"])
    assert np.isfinite(bg.predictions(both, by=True)["std_error"]).all()


def test_summary_criteria_and_file(robit, data, tmp_path):
    table = robit.summary()
    assert list(table.index) == ["Intercept", "x", "z", "df"]
    assert table.loc["df", "lower"] > 0
    assert "link student_t" in str(robit)
    assert robit.aic == pytest.approx(-2 * robit.loglik + 8)
    fit = bg.Model("y ~ x + z", data, link="student_t", lapse=True).fit("map")
    fit.save(tmp_path / "fit.nc")
    again = bg.load(tmp_path / "fit.nc")
    assert again.spec.link == fit.spec.link
    pd.testing.assert_frame_equal(again.summary(), fit.summary())
    np.testing.assert_array_equal(again.predict_interval(), fit.predict_interval())
    assert str(again.priors) == str(fit.priors)
    with pytest.raises(SpecificationError, match="only under the links"):
        fit.summary(exponentiate=True)


def test_the_report_says_what_was_learned(lapse, tmp_path):
    text = bg.report(lapse, tmp_path / "lapse.html").read_text(encoding="utf-8")
    assert "= lapse/2 + (1" in text
    assert "share of rows that are a coin&#39;s" in text
    assert "lapse=True" in text.replace("&#39;", "'")


def test_predictions_and_their_errors(lapse, data):
    rows = data.iloc[:5]
    lam = float(lapse.result.shape["lapse"])
    eta = lapse.predict(rows, kind="link")
    p = lam / 2 + (1 - lam) * special.expit(eta)
    np.testing.assert_allclose(lapse.predict(rows), p, rtol=1e-12)
    table = bg.predictions(lapse, rows)
    np.testing.assert_allclose(table["estimate"], p, rtol=1e-10)
    # By parametric simulation from the joint normal of coefficients and lapse: 2 % of 40,000 draws'
    # standard deviations is four of their Monte Carlo errors.
    joint = np.vstack([lapse.result.joint["theta"], lapse.result.joint["lapse"]])
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((40_000, joint.shape[1])) @ (0.01 * joint.T)
    X = np.column_stack([np.ones(5), rows["x"], rows["z"]])
    lams = lam + drawn[:, [3]]
    values = lams / 2 + (1 - lams) * special.expit((lapse.result.theta + drawn[:, :3]) @ X.T)
    np.testing.assert_allclose(table["std_error"], values.std(axis=0) / 0.01, rtol=0.02)
    middle, lower, upper = lapse.predict_interval(rows)
    np.testing.assert_allclose(lower, table["lower"], rtol=1e-8)
    assert (lower < middle).all()
    assert (middle < upper).all()
    slope = bg.slopes(lapse, "x", rows)["estimate"]
    exact = (1 - lam) * special.expit(eta) * special.expit(-eta) * lapse.coef["x"]
    np.testing.assert_allclose(slope, exact, rtol=1e-5)


def test_resampling_scores_and_comparison(few):
    model = bg.Model("y ~ x + z", few, lapse=True)
    fit = model.fit("mle")
    assert np.isfinite(bg.scores(fit)["estimate"]).all()
    held = bg.kfold(fit, folds=3)
    assert np.isfinite(np.asarray(held.predicted)).all()
    table = bg.compare({"plain": bg.Model("y ~ x + z", few).fit("mle"), "lapses": fit})
    assert set(table.index) == {"plain", "lapses"}


def hand_written(X, y):
    df = numpyro.sample("df", dist.Gamma(10.0, 1.0))
    lam = numpyro.sample("lapse", dist.Beta(1.0, 9.0))
    b = numpyro.sample("b", dist.Normal(0, 2).expand((3,)))
    # F of Student's t as a mixture of normals: no betainc is needed.
    with numpyro.plate("rows", len(y)):
        scale = numpyro.sample("scale", dist.Gamma(df / 2, df / 2))
        p = lam / 2 + (1 - lam) * jax.scipy.special.ndtr(X @ b * jnp.sqrt(scale))
        numpyro.sample("y", dist.Bernoulli(p), obs=y)


@pytest.mark.slow
def test_the_posterior_is_that_of_a_hand_written_model(few):
    # Means and mean squares within 4.5 Monte Carlo errors: 10 numbers, a false alarm in 15,000.
    # Few degrees of freedom and large slopes go together, up to where both samplers lose the way.
    prior = dict.fromkeys(("x", "z", "Intercept"), dist.Normal(0, 2)) | {
        "df": dist.Gamma(10.0, 1.0)
    }
    model = bg.Model("y ~ x + z", few, link="student_t", lapse=True, prior=prior, center=False)
    fit = model.fit("nuts", draws=2_000, seed=1)
    X = np.column_stack([np.ones(len(few)), few["x"], few["z"]])
    with scope("float64"):
        run = MCMC(
            NUTS(hand_written), num_warmup=1_500, num_samples=4_000, num_chains=2,
            chain_method="sequential", progress_bar=False,
        )  # fmt: skip
        run.run(jax.random.key(0), jnp.asarray(X), jnp.asarray(few["y"].to_numpy()))
        theirs = {k: np.asarray(v) for k, v in run.get_samples(group_by_chain=True).items()}
    ours = {
        "b": fit.theta_draws(),
        "df": np.log(fit.result.draws["df"])[..., None],
        "lapse": fit.result.draws["lapse"][..., None],
    }
    theirs["df"] = np.log(theirs["df"])
    for name, draws in ours.items():
        other = theirs[name].reshape(*theirs[name].shape[:2], -1)
        for power in (1, 2):
            for j in range(draws.shape[-1]):
                a, b = draws[..., j] ** power, other[..., j] ** power
                assert abs(a.mean() - b.mean()) < 4.5 * np.hypot(_error(a), _error(b)), (name, j)


def _error(draws):
    import arviz as az

    return float(az.mcse(draws))


@pytest.mark.parametrize("words", [{"link": "student_t"}, {"lapse": True}], ids=str)
def test_laplace_holds_and_agrees_with_nuts(few, words):
    model = bg.Model("y ~ x + z", few, **words)
    laplace, nuts = model.fit("laplace", seed=1), model.fit("nuts", draws=500, seed=2)
    assert laplace.result.options["k_hat"] < 0.7
    (name,) = model.spec.shape
    assert name in nuts.data["posterior"]
    one, other = laplace.summary(), nuts.summary()
    # 2,000 draws and more of each: 0.15 sds are five Monte Carlo errors.
    away = (one["estimate"] - other["estimate"]) / other["std_error"]
    assert (away.abs() < 0.15).all()
    assert (other["r_hat"] < 1.02).all()
    # p of a row is averaged over the shape too.
    p = nuts.predict(few.iloc[:3], draws=True)
    eta = nuts.predict(few.iloc[:3], kind="link", draws=True)
    value = nuts.result.draws[name].reshape(-1, 1)
    if name == "lapse":
        expected = value / 2 + (1 - value) * special.expit(eta)
    else:
        expected = stats.t.cdf(eta, value)
    np.testing.assert_allclose(p, expected, rtol=1e-9)
    assert np.isfinite(np.asarray(bg.loo(nuts).elpd_i)).all()


def test_priors_are_shown_and_chosen(few):
    model = bg.Model("y ~ x", few, link="student_t", lapse=True)
    assert "Gamma(2, 0.1)" in str(model.priors)
    assert "Beta(1, 9)" in str(model.priors)
    low, middle, high = model.priors.implied_quantiles()
    assert 0 < low < middle < high < 1
    chosen = {"df": dist.LogNormal(1.0, 0.1), "lapse": dist.Uniform(0.0, 0.05)}
    fit = bg.Model("y ~ x", few, link="student_t", lapse=True, prior=chosen).fit("map")
    assert 2 < float(fit.result.shape["df"]) < 4
    assert float(fit.result.shape["lapse"]) <= 0.05
    drawn = bg.Model("y ~ x", few, lapse=True).prior_predictive(50)
    assert drawn["prior"]["lapse"].shape == (1, 50)
    for name, odd in (("df", dist.Normal(0, 1)), ("lapse", dist.Gamma(1, 1)), ("df", "weak")):
        with pytest.raises(SpecificationError, match=f"prior of '{name}'"):
            bg.Model("y ~ x", few, link="student_t", lapse=True, prior={name: odd})


def test_the_same_rows_counted_or_not(few):
    counted = few.assign(x=few["x"].round(0), z=few["z"].round(0))
    once = (
        counted.groupby(["x", "z"], as_index=False)
        .agg(events=("y", "sum"), trials=("y", "size"))
    )  # fmt: skip
    by_row = bg.Model("y ~ x + z", counted, lapse=True).fit("mle")
    by_cell = bg.Model("events ~ x + z", once, trials="trials", lapse=True).fit("mle")
    np.testing.assert_allclose(by_cell.coef, by_row.coef, rtol=1e-6)
    np.testing.assert_allclose(by_cell.result.cov, by_row.result.cov, rtol=1e-5)


def test_optimisers_and_single_precision(few):
    model = bg.Model("y ~ x + z", few, lapse=True)
    newton = model.fit("mle")
    assert model.fit("mle", optimizer="lbfgs").loglik == pytest.approx(newton.loglik, abs=1e-4)
    single = bg.Model("y ~ x + z", few, lapse=True, precision="float32").fit("mle")
    assert single.loglik == pytest.approx(newton.loglik, abs=1e-2)


def test_what_a_learned_shape_leaves_no_room_for(few):
    with pytest.raises(SpecificationError, match="bounded domain"):
        bg.Model("y ~ x", few, link="log", lapse=True)
    with pytest.raises(SpecificationError, match="yes/no"):
        bg.Model("y ~ x", few, family="gaussian", lapse=True)
    with pytest.raises(SpecificationError, match="unknown lapse"):
        bg.Model("y ~ x", few, lapse="yes")
    with pytest.raises(SpecificationError, match="beside networks"):
        bg.Model("y ~ x", few, lapse=True, add=[bg.Network("~ z")])
    grouped = few.assign(g=np.arange(len(few)) % 9)
    for formula in ("y ~ x + (1 | g)", "y ~ s(x)"):
        with pytest.raises(SpecificationError, match="group-level effects or smooth"):
            bg.Model(formula, grouped, lapse=True)
    model = bg.Model("y ~ x", few, lapse=True)
    for options in ({"cov": "HC1"}, {"bias_reduction": "jeffreys"}, {"ci": "profile"}):
        with pytest.raises(SpecificationError, match="shape"):
            model.fit("mle", **options)
    with pytest.raises(SpecificationError, match="shape"):
        model.fit("mle").with_cov("HC3")
    weighted = bg.Model(
        "y ~ x", few.assign(w=2.0), weights="w", weights_kind="sampling", lapse=True
    )
    with pytest.raises(SpecificationError, match="sampling weights"):
        weighted.fit("mle")


def test_separated_data_have_no_maximum_with_lapses_either():
    data = pd.DataFrame({"x": np.arange(20.0), "y": (np.arange(20) > 9).astype(int)})
    for words in ({"lapse": True}, {"link": "student_t"}):
        with pytest.raises(bg.SeparationError) as caught:
            bg.Model("y ~ x", data, **words).fit("mle")
        assert "bias_reduction" not in str(caught.value)


def test_shaped_links_are_values():
    robit = get_link("student_t")
    for link in (robit, with_lapse(robit), with_lapse(get_link("probit"))):
        for twin in (copy.deepcopy(link), pickle.loads(pickle.dumps(link))):
            assert twin == link
            assert hash(twin) == hash(link)
        with pytest.raises(SpecificationError, match="must be known"):
            link.inverse(0.0)
        with pytest.raises(SpecificationError, match="must be known"):
            link.pair(jnp.zeros(2))
    assert robit != student_t(17)
    assert with_lapse(robit).label == "student_t with lapses"
    assert len({robit, with_lapse(robit), with_lapse(get_link("logit"))}) == 3


def test_a_bound_link_is_the_mixture():
    eta = np.array([-30.0, -2.0, 0.0, 1.0, 40.0])
    with scope("float64"):
        link = with_lapse(get_link("student_t")).at(df=3.0, lapse=0.1)
        p = 0.05 + 0.9 * stats.t.cdf(eta, 3)
        np.testing.assert_allclose(link.inverse(eta), p, rtol=1e-12)
        log_p, log_q, a, b = link.parts(eta)
        np.testing.assert_allclose(log_q, np.log(0.05 + 0.9 * stats.t.sf(eta, 3)), rtol=1e-10)
        np.testing.assert_allclose(a, 0.9 * stats.t.pdf(eta, 3) / p, rtol=1e-9)
        np.testing.assert_allclose(jnp.exp(log_p) * a, -jnp.exp(log_q) * b, rtol=1e-9)
        values = jax.vmap(lambda df: get_link("student_t").at(df=df).inverse(eta))(
            jnp.array([1.0, 5.0])
        )
        np.testing.assert_allclose(values, [stats.t.cdf(eta, 1), stats.t.cdf(eta, 5)], rtol=1e-9)


def test_compare_links_keeps_the_lapses(few):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = bg.compare_links(bg.Model("y ~ x", few, lapse=True), ["logit", "probit"])
    assert list(found.fits) == ["logit with lapses", "probit with lapses"]

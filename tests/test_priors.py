"""Priors: golden modes, the defaults of other software, link matching, and what they imply for p."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from scipy import stats
from scipy.special import gammaln

import bayesglm as bg
from bayesglm.presets import PRIORS
from bayesglm.priors import describe

HERE = Path(__file__).with_name("reference")
MODES = json.loads((HERE / "posterior" / "modes.json").read_text(encoding="utf-8"))["cases"]
RSTANARM = json.loads((HERE / "posterior" / "rstanarm.json").read_text(encoding="utf-8"))["cases"]
LINKS = ("logit", "probit", "cloglog", "loglog", "cauchit", "student_t(4)", "log", "identity")
# The other links on these two tables run with the slow tests; budworm has them all.
FAST = ("logit",)
KINDS = {"normal": dist.Normal, "cauchy": dist.Cauchy, "student_t": dist.StudentT}


def table(name: str) -> pd.DataFrame:
    if name == "spector":
        return bg.datasets.spector()
    return pd.DataFrame(json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))["data"])


def over(cases):
    """Parametrise over golden cases; what needs programs of its own is slow."""
    return pytest.mark.parametrize(
        "case",
        [
            pytest.param(
                case,
                id=case["id"],
                marks=[]
                if case["link"] in FAST or case["data"] == "budworm"
                else [pytest.mark.slow],
            )
            for case in cases
        ],
    )


def model_of(case, prior, **words) -> bg.Model:
    return bg.Model(case["formula"], table(case["data"]), link=case["link"], prior=prior, **words)


def named_prior(case, model) -> dict[str, dist.Distribution]:
    """Return the priors of a golden case by the names that terms have here."""
    made = {}
    for term, (family, location, scale, df) in zip(
        ["Intercept", *model.design.terms], case["prior"], strict=True
    ):
        numbers = (df, location, scale) if family == "student_t" else (location, scale)
        made[term] = KINDS[family](*(float(number) for number in numbers))
    return made


@pytest.fixture
def columns() -> pd.DataFrame:
    """60 rows: a number, two two-valued columns, a constant one, a factor of three levels."""
    rng = np.random.default_rng(8)
    n = 60
    return pd.DataFrame(
        {
            "y": rng.binomial(1, 0.5, n),
            "x": rng.gamma(2.0, 3.0, n),
            "two": np.where(rng.uniform(size=n) < 0.3, -1.0, 4.0),
            "flag": rng.binomial(1, 0.5, n),
            "same": np.full(n, 2.5),
            "g": rng.choice(["a", "b", "c"], n),
            "w": rng.integers(0, 4, n),
            "t": rng.integers(1, 9, n),
            "z": rng.normal(1.0, 0.2, n),
        }
    ).assign(events=lambda d: np.minimum(d["t"], 3))


def scales(model: bg.Model) -> pd.Series:
    return model.priors.table()["scale"]


# -- golden numbers ---------------------------------------------------------------------------


@over(MODES)
def test_map_is_the_golden_mode(case):
    bare = model_of(case, "weak")
    model = model_of(case, named_prior(case, bare), center=case["centred"])
    fit = model.fit("map")
    sd = np.array(case["laplace_sd"])
    assert np.abs((fit.coef.to_numpy() - case["mode"]) / sd).max() < 1e-6
    np.testing.assert_allclose(np.sqrt(np.diag(fit.vcov)), sd, rtol=1e-5)
    # The golden density has no binomial coefficients; ours has them, and the padding columns
    # of a model with normal priors, standard normal at 0.
    d = model.design
    coefficient = np.sum(gammaln(d.trials + 1) - gammaln(d.y + 1) - gammaln(d.trials - d.y + 1))
    padding = fit.target.size - len(fit.coef)
    expected = case["log_posterior"] + coefficient + padding * stats.norm.logpdf(0)
    assert fit.result.log_posterior == pytest.approx(expected, abs=1e-9)
    prior = expected - coefficient - (fit.loglik - coefficient)
    assert prior == pytest.approx(case["log_prior"] + padding * stats.norm.logpdf(0), abs=1e-6)


ARM = [case for case in MODES if case["arm"] is not None]
ARM_DEFAULT = [case for case in ARM if case["prior"][0][0] == "cauchy"]
ARM_NORMAL = [case for case in ARM if case["prior"][0][0] == "normal"]


def test_the_golden_files_hold_what_the_tests_need():
    assert len(MODES) == 21
    assert {case["link"] for case in MODES} == {"logit", "probit", "cloglog", "loglog", "cauchit"}
    assert len(ARM_DEFAULT) == len(ARM_NORMAL) == 8
    assert len(RSTANARM) == 2


@over(ARM_DEFAULT)
def test_gelman_has_the_numbers_of_arm(case):
    model = model_of(case, "gelman")
    priors = [model.priors.intercept, *model.priors.beta]
    assert all(type(prior) is dist.Cauchy for prior in priors)
    ours = [(float(prior.loc), float(prior.scale)) for prior in priors]
    np.testing.assert_allclose(ours, [prior[1:3] for prior in case["prior"]], rtol=1e-12)
    # The preset by its name is the golden case, so it has the golden mode.
    fit = model.fit("map")
    assert np.abs((fit.coef - case["mode"]) / case["laplace_sd"]).max() < 1e-6
    # arm's own estimates are the end of an EM that is not at the mode, up to 0.2 sd in small data.
    assert np.abs((fit.coef - case["arm"]) / case["laplace_sd"]).max() < 0.25


@over(ARM_NORMAL)
def test_arm_with_normal_priors_is_the_mode(case):
    model = model_of(case, named_prior(case, model_of(case, "weak")))
    fit = model.fit("map")
    # Normal priors leave arm nothing to iterate over, so its estimates are the mode.
    assert np.abs((fit.coef - case["arm"]) / case["laplace_sd"]).max() < 1e-6


def test_gelman_by_formula(columns):
    frame = columns.assign(y=columns["x"] * 0.1 + columns["z"])
    for family, unit in (("bernoulli", 1.0), ("gaussian", 2 * frame["y"].std())):
        data = columns if family == "bernoulli" else frame
        found = scales(bg.Model("y ~ x + two + same", data, family=family, prior="gelman"))
        wanted = [10, 2.5 / (2 * frame["x"].std()), 2.5 / 5, 2.5]
        np.testing.assert_allclose(found[:4], unit * np.array(wanted), rtol=1e-12)


# -- rstanarm ---------------------------------------------------------------------------------


@over(RSTANARM)
def test_rstanarm_has_the_scales_of_its_summary(case):
    found = scales(model_of(case, "rstanarm"))
    np.testing.assert_allclose(found, [case["intercept_scale"], *case["prior_scale"]], rtol=1e-12)
    probit = scales(model_of(case | {"link": "probit"}, "rstanarm"))
    factor = stats.norm.pdf(0) / stats.logistic.pdf(0)
    np.testing.assert_allclose(probit, factor * found, rtol=1e-12)


@pytest.mark.parametrize(
    "case",
    [RSTANARM[0], pytest.param(RSTANARM[1], marks=pytest.mark.slow)],
    ids=[case["id"] for case in RSTANARM],
)
def test_draws_agree_with_rstanarm(case):
    """Two-sided at 4 combined Monte Carlo errors: a false alarm in 16,000 for each of 10 numbers."""
    fit = model_of(case, "rstanarm").fit("nuts", draws=2_500, seed=11)
    draws = fit.theta_draws().reshape(-1, len(case["names"]))
    found = fit.summary()
    ess = found[["ess_bulk", "ess_tail"]].min(axis=1).to_numpy()
    error = np.hypot(draws.std(0) / np.sqrt(ess), case["mcse_mean"])
    assert (np.abs(draws.mean(0) - case["mean"]) < 4 * error).all()
    kurtosis = ((draws - draws.mean(0)) ** 4).mean(0) / draws.var(0) ** 2
    error = np.hypot(draws.std(0) * np.sqrt((kurtosis - 1) / (4 * ess)), case["mcse_sd"])
    assert (np.abs(draws.std(0) - case["sd"]) < 4 * error).all()
    # Both scores are PSIS estimates; theirs has its Monte Carlo error, and ours about the same.
    import arviz as az

    assert az.loo(fit.data).elpd == pytest.approx(case["elpd_loo"], abs=6 * case["mcse_elpd_loo"])
    # Fitted probabilities, with the Monte Carlo error of at least 1,000 effective draws.
    rows = case["epred"]["rows_zero_based"]
    p = fit.predict()[rows]
    assert (np.abs(p - case["epred"]["mean"]) < 4 * np.array(case["epred"]["sd"]) / 31).all()


def test_rstanarm_for_the_linear_probability_model(columns):
    frame = columns.assign(y=columns["x"] * 0.1 + columns["z"])
    model = bg.Model("y ~ x + two", frame, family="gaussian", prior="rstanarm")
    sd = frame["y"].std()
    wanted = [2.5 * sd, 2.5 * sd / frame["x"].std(), 2.5 * sd / frame["two"].std()]
    np.testing.assert_allclose(scales(model)[:3], wanted, rtol=1e-12)
    assert float(model.priors.intercept.loc) == pytest.approx(frame["y"].mean(), rel=1e-12)
    assert float(model.priors.sigma.rate) == pytest.approx(1 / sd, rel=1e-12)


# -- bambi ------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_bambi_by_formula(columns, link):
    model = bg.Model("y ~ x + two + g", columns, link=link, prior="bambi")
    # numpy's sd has divisor n; columns of a factor have scale 1, two-valued numbers do not.
    wanted = [1.5, 1 / np.std(columns["x"]), 1 / np.std(columns["two"]), 1, 1]
    np.testing.assert_allclose(scales(model), wanted, rtol=1e-12)


def test_bambi_under_other_links_widens_the_intercept(columns):
    found = scales(bg.Model("y ~ x + two", columns, link="cloglog", prior="bambi"))
    sd = 2.5 / columns[["x", "two"]].std(ddof=0)
    wide = np.sqrt(2.5**2 + np.sum(sd**2 * columns[["x", "two"]].mean() ** 2))
    np.testing.assert_allclose(found, [wide, *sd], rtol=1e-12)


# -- weak -------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", LINKS)
def test_weak_believes_the_same_slope_of_p_under_every_link(columns, link):
    model = bg.Model("y ~ x", columns, link=link)
    numbers = model.priors.table()
    f_half = model.spec.link.density_half
    # dp/dx at p = 1/2 is f(eta_half) beta: its sd is 1.5 * 0.25 / sd(x), whatever F is.
    slope = f_half * numbers.loc["x", "scale"] * np.std(columns["x"])
    assert slope == pytest.approx(0.375, rel=1e-9)
    assert float(model.spec.link.inverse(numbers.iloc[0]["location"])) == pytest.approx(0.5)
    assert f_half * numbers.iloc[0]["scale"] == pytest.approx(0.375, rel=1e-9)


def test_the_density_at_one_half_is_that_of_scipy():
    from bayesglm.links import get_link

    known = {
        "logit": stats.logistic.pdf(0),
        "probit": stats.norm.pdf(0),
        "cauchit": stats.cauchy.pdf(0),
        "cloglog": np.log(2) / 2,
        "loglog": np.log(2) / 2,
        "student_t(4)": stats.t(4).pdf(0),
        "log": 0.5,
        "identity": 1.0,
    }
    assert set(known) == set(LINKS)
    for name, density in known.items():
        assert get_link(name).density_half == pytest.approx(density, rel=1e-10)


def test_weak_measures_columns_by_sd_or_range(columns):
    found = scales(bg.Model("y ~ x + two + flag + same + g", columns))
    wanted = {
        "Intercept (centred)": 1.5,
        "x": 1.5 / np.std(columns["x"]),
        "two": 1.5 / 5,
        "flag": 1.5,
        "same": 1.5,
        "g[T.b]": 1.5,
        "g[T.c]": 1.5,
    }
    np.testing.assert_allclose(found[list(wanted)], list(wanted.values()), rtol=1e-12)
    assert len(found) == len(wanted)


def test_weak_weighs_rows_by_weights_times_trials(columns):
    model = bg.Model("events ~ x + two", columns, trials="t", weights="w", offset="z")
    w = columns["w"] * columns["t"]
    mean = np.average(columns["x"], weights=w)
    sd = np.sqrt(np.average((columns["x"] - mean) ** 2, weights=w))
    assert scales(model)["x"] == pytest.approx(1.5 / sd, rel=1e-12)
    middle = np.average(columns["two"], weights=w)
    np.testing.assert_allclose(model.priors.center, [mean, middle], rtol=1e-12)
    # The offset's mean belongs to the baseline probability.
    expected = np.average(columns["z"], weights=w)
    assert model.priors.offset_center == pytest.approx(expected, rel=1e-12)


def test_rows_without_weight_do_not_exist_for_priors(columns):
    # Rows of weight 0 with values far out would change means, sds, ranges and kinds of columns.
    ghosts = columns.assign(x=1e6, two=77.0, flag=9, w=0, z=50.0)
    both = pd.concat([columns.assign(w=2), ghosts], ignore_index=True)
    for prior in ("weak", "gelman", "rstanarm", "bambi"):
        one = bg.Model("y ~ x + two + flag", columns.assign(w=2), weights="w", prior=prior)
        two = bg.Model("y ~ x + two + flag", both, weights="w", prior=prior)
        np.testing.assert_allclose(scales(one), scales(two), rtol=1e-12)
        np.testing.assert_allclose(one.priors.center, two.priors.center, rtol=1e-12)


def test_the_offset_moves_the_baseline():
    # With an offset of 3 everywhere the prior speaks of the same p, so the fit is the same.
    data = bg.datasets.challenger()
    plain = bg.Model("damage ~ temperature", data).fit("map")
    moved = bg.Model("damage ~ temperature", data, offset=np.full(len(data), 3.0)).fit("map")
    np.testing.assert_allclose(moved.predict(), plain.predict(), rtol=1e-8)
    assert moved.coef["Intercept"] == pytest.approx(plain.coef["Intercept"] - 3, rel=1e-8)


def test_centring_makes_the_prior_of_the_intercept_speak_of_the_data():
    # A shift of the column changes nothing but the intercept, unless center=False.
    data = bg.datasets.challenger()
    shifted = data.assign(temperature=data["temperature"] + 40)
    one = bg.Model("damage ~ temperature", data).fit("map")
    two = bg.Model("damage ~ temperature", shifted).fit("map")
    np.testing.assert_allclose(two.predict(), one.predict(), rtol=1e-8)
    raw = bg.Model("damage ~ temperature", data, center=False)
    assert (raw.priors.center == 0).all()
    assert raw.priors.offset_center == 0
    # With the prior on the raw intercept, 15 sds away under the MLE, the fit is another.
    assert np.abs(raw.fit("map").predict() - one.predict()).max() > 0.1


def test_no_intercept_means_no_centring(columns):
    model = bg.Model("y ~ 0 + x + two", columns, offset="z")
    assert list(model.priors.table().index) == ["x", "two"]
    assert (model.priors.center == 0).all()
    assert model.priors.offset_center == 0


# -- priors of one's own ----------------------------------------------------------------------


def test_priors_by_term_and_by_column(columns):
    prior = {
        "Intercept": dist.Normal(-1.0, 2.0),
        "g": dist.Laplace(0.0, 0.3),
        "g[T.c]": dist.StudentT(4.0, 0.0, 1.0),
        "poly(x, 2)": dist.Normal(0.0, 9.0),
        "two": None,
    }
    formula = "y ~ poly(x, 2) + two + g + flag"
    with pytest.raises(bg.SpecificationError, match=r"no term or column.*did you mean"):
        bg.Model(formula, columns, prior=prior)
    prior["x"] = prior.pop("poly(x, 2)")
    for order in (list(prior), list(reversed(prior))):
        model = bg.Model(formula, columns, prior={key: prior[key] for key in order})
        told = model.priors.table()["distribution"].to_dict()
        assert told == {
            "Intercept (centred)": "Normal(-1, 2)",
            "poly(x, 2)[1]": "Normal(0, 9)",
            "poly(x, 2)[2]": "Normal(0, 9)",
            "two": "flat",
            "g[T.b]": "Laplace(0, 0.3)",
            # The term is narrower than its column, in whatever order they are given.
            "g[T.c]": "StudentT(4, 0, 1)",
            "flag": "Normal(0, 1.5)",
        }
    assert model.priors.name == "custom, else weak"


def test_a_term_is_not_everything_made_of_its_column(columns):
    model = bg.Model("y ~ x + I(x**2)", columns, prior={"x": dist.Normal(0.0, 0.1)})
    assert scales(model)["x"] == pytest.approx(0.1)
    assert scales(model)["I(x ** 2)"] == pytest.approx(1.5 / np.std(columns["x"] ** 2))


def test_the_rest_is_named_by_default(columns):
    model = bg.Model("y ~ x + two", columns, prior={"x": None, "default": "gelman"})
    told = model.priors.table()["distribution"].to_dict()
    assert told == {
        "Intercept (centred)": "Cauchy(0, 10)", "x": "flat", "two": "Cauchy(0, 0.5)",
    }  # fmt: skip
    flat = bg.Model("y ~ x + two", columns, prior={"default": "flat"})
    assert flat.priors.is_flat
    np.testing.assert_allclose(
        flat.fit("map").coef, bg.Model("y ~ x + two", columns).fit("mle").coef, rtol=1e-8
    )


def test_a_bounded_prior_is_the_truncated_posterior():
    rng = np.random.default_rng(5)
    x = rng.normal(size=100)
    data = {"x": x, "y": rng.binomial(1, 1 / (1 + np.exp(-0.5 * x)))}
    free = bg.Model("y ~ x", data, prior={"x": dist.Normal(0.0, 1.0)}).fit("map")
    bounded = bg.Model("y ~ x", data, prior={"x": dist.HalfNormal(1.0)}).fit("map")
    assert free.coef["x"] > 0.2
    # Inside its support the half normal has the same logarithm, up to a constant.
    np.testing.assert_allclose(bounded.coef, free.coef, rtol=1e-6)
    np.testing.assert_allclose(bounded.vcov, free.vcov, rtol=1e-5)


WRONG = {
    "weka": ("weka", r'did you mean "weak".*prior=\'weka\'.*use one of weak, flat, rstanarm'),
    "horseshoe": ("horseshoe", "not available yet.*horseshoe.*use one of weak"),
    "r2d2": ("r2d2", "not available yet.*r2d2.*use one of weak"),
    "a number": (3.0, r"unknown prior.*prior=3\.0"),
    "default": ({"default": dist.Normal(0.0, 1.0)}, "default of a dict of priors must be a name"),
    "term": ({"twoo": dist.Normal(0.0, 1.0)}, r'no term or column.*"two".*the terms are Intercept'),
    "sigma": ({"sigma": dist.HalfNormal(1.0)}, "no term or column.*term='sigma'"),
    "no distribution": ({"x": 2.5}, "'x' must be a NumPyro distribution or None; got prior=2.5"),
    "batched": ({"x": dist.Normal(np.zeros(2), 1.0)}, r"scalar distribution.*batch_shape=\(2,\)"),
    "vector": ({"x": dist.MultivariateNormal(np.zeros(2), np.eye(2))}, r"event_shape=\(2,\)"),
    "discrete": ({"x": dist.Poisson(1.0)}, "continuous and proper.*Poisson.*None is the flat"),
    "point": ({"x": dist.Delta(1.0)}, "continuous and proper.*Delta"),
    "improper": (
        {"x": dist.ImproperUniform(dist.constraints.real, (), ())},
        "continuous and proper.*None is the flat",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_priors_are_refused_when_the_model_is_made(columns, name):
    prior, message = WRONG[name]
    with pytest.raises(bg.SpecificationError, match=message) as raised:
        bg.Model("y ~ x + two", columns, prior=prior)
    assert "\n" not in str(raised.value)


def test_an_intercept_that_is_not_there_has_no_prior(columns):
    with pytest.raises(bg.SpecificationError, match="no term or column"):
        bg.Model("y ~ 0 + x", columns, prior={"Intercept": dist.Normal(0.0, 1.0)})


# -- what is shown ----------------------------------------------------------------------------

SHOWN = [
    (dist.Normal(0.0, 2.5), "Normal(0, 2.5)", stats.norm(0, 2.5)),
    (dist.Uniform(-1.0, 3.0), "Uniform(-1, 3)", stats.uniform(-1, 4)),
    (dist.StudentT(4.0, 1.0, 2.0), "StudentT(4, 1, 2)", stats.t(4, 1, 2)),
    (dist.Beta(2.0, 3.0), "Beta(2, 3)", stats.beta(2, 3)),
    (dist.Gamma(2.0, 4.0), "Gamma(2, 4)", stats.gamma(2, scale=0.25)),
    (dist.InverseGamma(2.0, 4.0), "InverseGamma(2, 4)", stats.invgamma(2, scale=4)),
    (dist.LogNormal(0.5, 0.7), "LogNormal(0.5, 0.7)", stats.lognorm(0.7, scale=np.exp(0.5))),
    (dist.HalfNormal(2.0), "HalfNormal(2)", stats.halfnorm(scale=2)),
    (dist.HalfCauchy(2.0), "HalfCauchy(2)", stats.halfcauchy(scale=2)),
    (dist.Exponential(2.0), "Exponential(2)", stats.expon(scale=0.5)),
    (dist.Laplace(0.0, 2.0), "Laplace(0, 2)", stats.laplace(0, 2)),
    (dist.Logistic(0.0, 2.0), "Logistic(0, 2)", stats.logistic(0, 2)),
    (dist.Gumbel(0.0, 2.0), "Gumbel(0, 2)", stats.gumbel_r(0, 2)),
    (
        dist.TruncatedNormal(0.0, 1.0, low=0.0, high=2.0),
        "Normal(0, 1) from 0 to 2",
        stats.truncnorm(0, 2),
    ),
    (
        dist.TransformedDistribution(dist.Normal(0.0, 1.0), dist.transforms.ExpTransform()),
        "TransformedDistribution(Normal(0, 1))",
        stats.lognorm(1),
    ),
]


@pytest.mark.parametrize(("prior", "text", "same"), SHOWN, ids=[text for _, text, _ in SHOWN])
def test_the_table_tells_distributions_and_their_central_mass(columns, prior, text, same):
    assert describe(prior) == text
    row = bg.Model("y ~ x", columns, prior={"x": prior}).priors.table().loc["x"]
    assert row["distribution"] == text
    np.testing.assert_allclose(
        row[["lower", "upper"]].astype(float), same.ppf([0.025, 0.975]), 1e-9
    )


def test_flat_and_unknown_central_mass(columns):
    prior = {"x": None, "two": dist.Weibull(1.0, 2.0)}
    found = bg.Model("y ~ x + two", columns, prior=prior).priors.table()
    assert found.loc["x", ["lower", "upper"]].tolist() == [-np.inf, np.inf]
    assert found.loc["two", ["lower", "upper"]].isna().all()


def test_sigma_has_a_row_of_its_own(columns):
    priors = bg.Model("y ~ x", columns, family="gaussian").priors
    row = priors.table().loc["sigma"]
    sd = np.std(columns["y"])
    assert row["distribution"] == f"HalfStudentT(3, 0, {sd:.4g})"
    # Half of |t| is below q where t is below (1 + q) / 2.
    ends = sd * stats.t(3).ppf([(1 + 0.025) / 2, (1 + 0.975) / 2])
    np.testing.assert_allclose(row[["lower", "upper"]].astype(float), ends, rtol=1e-9)
    assert "quantiles of the mean of y" in repr(priors)


def test_the_text_of_the_priors(columns):
    priors = bg.Model("y ~ x + two", columns, link="probit").priors
    lines = repr(priors).splitlines()
    assert lines[0] == 'prior "weak", link probit'
    k = 0.25 * np.sqrt(2 * np.pi)
    assert lines[1].split(maxsplit=2) == ["Intercept", "(centred)", f"Normal(0, {1.5 * k:.4g})"]
    assert lines[3].split(maxsplit=1) == ["two", f"Normal(0, {1.5 * k / 5:.4g})"]
    low, middle, high = priors.implied_quantiles()
    assert lines[-1].endswith(f"quantiles of p: {low:.3f}, {middle:.3f}, {high:.3f}")
    flat = bg.Model("y ~ x", columns, prior="flat").priors
    assert "flat prior implies no distribution" in repr(flat)
    assert flat.implied_quantiles() == ()


def test_the_html_of_the_priors_is_escaped(columns):
    frame = columns.rename(columns={"x": "<b>x & y</b>"})
    html = bg.Model("y ~ `<b>x & y</b>`", frame).priors._repr_html_()
    assert "<b>" not in html
    assert "&lt;b&gt;x &amp; y&lt;/b&gt;" in html
    assert "quantiles of p" in html


# -- what priors imply for p ------------------------------------------------------------------


# Over 30 seeds, quantiles of p from 4,000 draws had sds of at most 0.006 under every link; a
# difference from another 4,000 draws or more has at most sqrt(2) times that.
QUANTILE_ERROR = 0.006 * np.sqrt(2)


def brute_quantiles(columns, link, draws=20_000, seed=1):
    """Draw the weak prior of y ~ x by NumPy and return quantiles of p over draws and rows."""
    from bayesglm.links import get_link

    link = get_link(link)
    rng = np.random.default_rng(seed)
    k = 0.25 / link.density_half
    x = columns["x"].to_numpy()
    base = rng.normal(link.half, 1.5 * k, draws)[:, None]
    eta = base + rng.normal(0, 1.5 * k / x.std(), draws)[:, None] * (x - x.mean())
    lower, upper = link.domain
    eta = eta[((eta >= lower) & (eta <= upper)).all(axis=1)]
    return np.quantile(np.asarray(link.inverse(eta)), [0.05, 0.5, 0.95]), len(eta) / draws


@pytest.mark.parametrize("link", LINKS)
def test_implied_quantiles_are_those_of_plain_draws(columns, link):
    """24 quantiles at 5 standard errors (see QUANTILE_ERROR): a false alarm in 70,000."""
    brute, _ = brute_quantiles(columns, link)
    ours = bg.Model("y ~ x", columns, link=link).priors.implied_quantiles(4_000, seed=2)
    assert np.abs(brute - ours).max() < 5 * QUANTILE_ERROR


@pytest.mark.parametrize("link", ["log", "identity"])
def test_partial_links_truncate_the_prior_predictive_too(columns, link):
    """Means of 4,000 y against p: standard error 0.008 a row, 60 rows at 5 errors, 1 in 30,000."""
    model = bg.Model("y ~ x", columns, link=link)
    _, share = brute_quantiles(columns, link)
    # The truncation bites, so that a draw without it would be seen.
    assert 0.05 < share < 0.9
    tree = model.prior_predictive(4_000, seed=3)
    slope = tree["prior"]["beta"].to_numpy()[0]
    eta = tree["prior"]["Intercept"].to_numpy()[0][:, None] + slope * columns["x"].to_numpy()
    lower, upper = model.spec.link.domain
    assert ((eta >= lower) & (eta <= upper)).all()
    p = np.asarray(model.spec.link.inverse(eta))
    y = tree["prior_predictive"]["y"].to_numpy()[0]
    assert y.shape == p.shape == (4_000, len(columns))
    assert np.abs(y.mean(0) - p.mean(0)).max() < 5 * 0.008
    # The same distribution as the one that the repr tells of, within Monte Carlo error.
    ours = model.priors.implied_quantiles(4_000, seed=2)
    assert np.abs(np.quantile(p, [0.05, 0.5, 0.95]) - ours).max() < 5 * QUANTILE_ERROR
    np.testing.assert_array_equal(
        y, model.prior_predictive(4_000, seed=3)["prior_predictive"]["y"][0]
    )


def test_priors_that_leave_nothing_possible_say_so(columns):
    model = bg.Model("y ~ x", columns, link="log", prior={"x": dist.Normal(50.0, 1.0)})
    assert model.priors.implied_quantiles() == ()
    assert "hardly any draw" in repr(model.priors)
    with pytest.raises(bg.SpecificationError, match=r"hardly any draw.*possible=0.*narrower"):
        model.prior_predictive(100)


def test_implied_quantiles_of_matrices_kept_sparse(columns):
    import scipy.sparse as sp

    X = columns[["x", "two"]].to_numpy()
    dense = bg.Model.from_arrays(X, columns["y"]).priors
    sparse = bg.Model.from_arrays(sp.csc_array(X), columns["y"]).priors
    np.testing.assert_allclose(
        dense.implied_quantiles(seed=4), sparse.implied_quantiles(seed=4), rtol=1e-10
    )
    assert dense.implied_quantiles(seed=4) != dense.implied_quantiles(seed=5)


def test_prior_predictive_speaks_of_the_baseline(columns):
    """The mean of the centred intercept of 4,000 draws, at 5 standard errors: 1 in 1.7 million."""
    model = bg.Model("y ~ x + two", columns, offset="z", prior={"Intercept": dist.Normal(0.7, 0.3)})
    prior = model.prior_predictive(4_000, seed=1)["prior"]
    centred = (
        prior["Intercept"].to_numpy()[0]
        + prior["beta"].to_numpy()[0] @ columns[["x", "two"]].mean().to_numpy()
        + columns["z"].mean()
    )
    assert abs(centred.mean() - 0.7) < 5 * 0.3 / np.sqrt(4_000)
    assert abs(centred.std() - 0.3) < 5 * 0.3 / np.sqrt(2 * 4_000)


def test_every_preset_is_documented_and_works(columns):
    assert set(PRIORS) == {"weak", "flat", "rstanarm", "bambi", "gelman"}
    for name in PRIORS:
        assert f'"{name}"' in bg.Model.__doc__
        model = bg.Model("y ~ x + g", columns, prior=name)
        assert model.priors.name == name
        assert model.priors.is_flat == (name == "flat")

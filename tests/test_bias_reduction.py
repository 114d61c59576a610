"""Bias-reduced maximum likelihood: brglm2's numbers, invariances, separated data, refusals."""

from __future__ import annotations

import json
import pickle
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import optax
import pandas as pd
import pytest

import bayesglm as bg
from bayesglm.errors import Status

REFERENCE = Path(__file__).with_name("reference")
GOLDEN = json.loads((REFERENCE / "bias_reduction" / "brglm2.json").read_text(encoding="utf-8"))
CASES = {case["id"]: case for case in GOLDEN["cases"]}
FREE = ("logit", "probit", "cloglog", "loglog", "cauchit", "student_t(4)")
BOTH = ("jeffreys", "firth")
both = pytest.mark.parametrize("reduction", BOTH)
free = pytest.mark.parametrize("link", FREE)


@cache
def table(name: str) -> pd.DataFrame:
    if name == "spector":
        return bg.datasets.spector()
    if name == "iris":
        return pd.DataFrame(GOLDEN["iris"]["data"])
    content = json.loads((REFERENCE / f"{name}.json").read_text(encoding="utf-8"))
    return pd.DataFrame(content["data"])


def std_error(fit) -> np.ndarray:
    return np.sqrt(np.diag(fit.vcov))


@pytest.fixture(scope="module")
def counts() -> pd.DataFrame:
    """40 rows of counts with fractional weights and an offset."""
    rng = np.random.default_rng(3)
    n = 40
    frame = pd.DataFrame({"x": rng.normal(size=n), "z": rng.uniform(size=n)})
    trials = rng.integers(1, 5, n)
    p = 1 / (1 + np.exp(-(0.3 + 0.8 * frame["x"])))
    return frame.assign(
        trials=trials,
        events=rng.binomial(trials, p),
        known=rng.uniform(-0.3, 0.3, n),
        copies=rng.integers(0, 4, n),
    )


@pytest.mark.parametrize("case", CASES)
def test_brglm2(case):
    golden = CASES[case]
    model = bg.Model(golden["formula"], table(golden["table"]), link=golden["link"])
    fit = model.fit("mle", bias_reduction=golden["bias_reduction"])
    assert fit.status == Status.CONVERGED
    np.testing.assert_allclose(fit.coef, golden["coef"], rtol=1e-6)
    np.testing.assert_allclose(std_error(fit), golden["se"], rtol=1e-6)
    if golden["table"] != "budworm":  # brglm2's figure there leaves the binomial coefficients out
        assert fit.loglik == pytest.approx(golden["loglik"], rel=1e-6)


def test_every_link_of_brglm2_is_covered():
    assert {c["link"] for c in CASES.values()} == {"logit", "probit", "cloglog", "cauchit"}
    assert {c["bias_reduction"] for c in CASES.values()} == set(BOTH)


@pytest.mark.parametrize("reduction", BOTH)
def test_loglog_is_cloglog_of_the_other_outcome(reduction):
    frame = table("mtcars").assign(manual=lambda d: 1 - d["am"])
    one = bg.Model("am ~ wt", frame, link="cloglog").fit("mle", bias_reduction=reduction)
    other = bg.Model("manual ~ wt", frame, link="loglog").fit("mle", bias_reduction=reduction)
    np.testing.assert_allclose(other.coef, -one.coef, rtol=1e-8)


def test_one_proportion_has_the_closed_form():
    # Jeffreys' prior under the logit link: (y + 1/2) / (n + 1), whatever is observed.
    for events in (0, 3, 10):
        frame = pd.DataFrame({"events": [events], "trials": [10]})
        for reduction in BOTH:
            with warnings.catch_warnings():
                # That it has one class only is said beside the answer.
                warnings.simplefilter("ignore", bg.BayesGLMWarning)
                fit = bg.Model("events ~ 1", frame, trials="trials").fit(
                    "mle", bias_reduction=reduction
                )
            share = (events + 0.5) / 11
            assert fit.coef["Intercept"] == pytest.approx(np.log(share / (1 - share)), rel=1e-9)
            assert fit.summary().loc["Intercept", "std_error"] == pytest.approx(
                (10 * share * (1 - share)) ** -0.5, rel=1e-9
            )


@free
def test_jeffreys_is_the_maximum_by_another_optimiser(counts, link):
    # The objective in NumPy and SciPy, from the link's inverse and density alone.
    from scipy import optimize, stats

    inverse = {
        "logit": stats.logistic.cdf,
        "probit": stats.norm.cdf,
        "cloglog": lambda e: -np.expm1(-np.exp(e)),
        "loglog": lambda e: np.exp(-np.exp(-e)),
        "cauchit": stats.cauchy.cdf,
        "student_t(4)": stats.t(4).cdf,
    }[link]
    density = {
        "logit": stats.logistic.pdf,
        "probit": stats.norm.pdf,
        "cloglog": lambda e: np.exp(e - np.exp(e)),
        "loglog": lambda e: np.exp(-e - np.exp(-e)),
        "cauchit": stats.cauchy.pdf,
        "student_t(4)": stats.t(4).pdf,
    }[link]
    words = {"trials": "trials", "weights": "copies", "offset": "known", "link": link}
    fit = bg.Model("events ~ x + z", counts, **words).fit("mle", bias_reduction="jeffreys")
    X = np.column_stack([np.ones(len(counts)), counts["x"], counts["z"]])
    y, t, w = (counts[name].to_numpy(float) for name in ("events", "trials", "copies"))

    def loss(beta):
        eta = X @ beta + counts["known"].to_numpy()
        p, f = inverse(eta), density(eta)
        with np.errstate(all="ignore"):
            # BFGS tries steps so long that p is 0 or 1; it turns back there.
            information = X.T @ (X * (w * t * f**2 / (p * (1 - p)))[:, None])
            loglik = np.sum(w * (y * np.log(p) + (t - y) * np.log1p(-p)))
        if not (np.isfinite(information).all() and np.isfinite(loglik)):
            return 1e10
        return -loglik - 0.5 * np.linalg.slogdet(information)[1]

    found = optimize.minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-8})
    np.testing.assert_allclose(fit.coef, found.x, rtol=1e-5, atol=1e-6)
    from scipy.special import gammaln

    coefficient = np.sum(w * (gammaln(t + 1) - gammaln(y + 1) - gammaln(t - y + 1)))
    told = fit.result.options["penalised_loglik"]
    assert told == pytest.approx(coefficient - found.fun, rel=1e-9)


def test_firth_and_jeffreys_are_equal_for_logit_only(counts):
    for link in FREE:
        model = bg.Model("events ~ x + z", counts, trials="trials", link=link)
        one, other = (model.fit("mle", bias_reduction=reduction) for reduction in BOTH)
        gap = float(np.max(np.abs(one.coef - other.coef) / std_error(one)))
        assert gap < 1e-7 if link == "logit" else gap > 1e-3, link


@both
@free
def test_counts_weights_and_rows_are_the_same_data(counts, reduction, link):
    def fit(formula, frame, **words):
        return bg.Model(formula, frame, link=link, **words).fit("mle", bias_reduction=reduction)

    whole = fit("events ~ x + z", counts, trials="trials", weights="copies", offset="known")
    repeated = counts.loc[counts.index.repeat(counts["copies"])]
    twice = fit("events ~ x + z", repeated, trials="trials", offset="known")
    repeated = repeated.reset_index(drop=True)
    rows = repeated.loc[repeated.index.repeat(repeated["trials"])]
    place = rows.groupby(level=0).cumcount()
    single = rows.assign(y=(place < rows["events"]).astype(int)).sample(frac=1, random_state=0)
    expanded = fit("y ~ x + z", single, offset="known")
    for other in (twice, expanded):
        np.testing.assert_allclose(other.coef, whole.coef, rtol=1e-8)
        np.testing.assert_allclose(std_error(other), std_error(whole), rtol=1e-8)
    # The adjusted score of other links than logit is no derivative of a penalised likelihood.
    ours, theirs = (fit.result.options.get("penalised_loglik") for fit in (twice, whole))
    assert (ours is None) == (theirs is None)
    if ours is not None:
        assert ours == pytest.approx(theirs, rel=1e-10)


@both
def test_weights_need_not_be_whole(counts, reduction):
    # Half of the weight on twice the trials: the same information, row by row.
    half = counts.assign(trials=2 * counts["trials"], events=2 * counts["events"], part=0.35)
    plain = bg.Model("events ~ x", counts.assign(part=0.7), trials="trials", weights="part")
    other = bg.Model("events ~ x", half, trials="trials", weights="part")
    one, two = (model.fit("mle", bias_reduction=reduction) for model in (plain, other))
    np.testing.assert_allclose(two.coef, one.coef, rtol=1e-9)
    np.testing.assert_allclose(std_error(two), std_error(one), rtol=1e-9)


@both
def test_merged_rows_are_the_rows(reduction):
    rng = np.random.default_rng(8)
    g, h = rng.integers(0, 3, 3_000), rng.integers(0, 2, 3_000)
    y = (rng.uniform(size=3_000) < 0.02 + 0.01 * g).astype(int)
    frame = pd.DataFrame({"y": y, "g": g.astype(str), "h": h})
    fit = bg.Model("y ~ g * h", frame, link="probit").fit("mle", bias_reduction=reduction)
    assert fit.target.n < 10
    cells = frame.groupby(["g", "h"], as_index=False)["y"].agg(["sum", "count"])
    small = bg.Model("sum ~ g * h", cells, trials="count", link="probit")
    other = small.fit("mle", bias_reduction=reduction)
    np.testing.assert_allclose(other.coef, fit.coef, rtol=1e-8)
    np.testing.assert_allclose(std_error(other), std_error(fit), rtol=1e-8)


@both
@pytest.mark.parametrize("link", ["logit", "probit", "cauchit"])
def test_columns_rows_and_codings_may_be_changed(reduction, link):
    frame = table("spector")
    words = {"bias_reduction": reduction}
    fit = bg.Model("GRADE ~ GPA + TUCE + PSI", frame, link=link).fit("mle", **words)
    scaled = frame.assign(GPA=1e6 * frame["GPA"], TUCE=1e-6 * (frame["TUCE"] - 20))
    other = bg.Model("GRADE ~ GPA + TUCE + PSI", scaled, link=link).fit("mle", **words)
    expected = fit.coef * [1, 1e-6, 1e6, 1]
    expected["Intercept"] += 20 * fit.coef["TUCE"]
    np.testing.assert_allclose(other.coef, expected, rtol=1e-8)
    order = np.random.default_rng(1).permutation(len(frame))
    mixed = bg.Model("GRADE ~ GPA + TUCE + PSI", frame.iloc[order], link=link).fit("mle", **words)
    np.testing.assert_allclose(mixed.coef, fit.coef, rtol=1e-9)
    raw = bg.Model("GRADE ~ GPA + TUCE + PSI", frame, link=link, center=False).fit("mle", **words)
    np.testing.assert_allclose(raw.coef, fit.coef, rtol=1e-8)


def separated(n: int = 12) -> pd.DataFrame:
    x = np.arange(n) - n / 2 + 0.5
    return pd.DataFrame({"x": x, "z": np.cos(3 * x), "y": (x > 0).astype(int)})


@both
@free
def test_separated_data_have_a_finite_answer(reduction, link):
    frame = separated()
    model = bg.Model("y ~ x + z", frame, link=link)
    with pytest.raises(bg.InferenceError, match=r"separated|bias_reduction|finite numbers"):
        model.fit("mle")
    fit = model.fit("mle", bias_reduction=reduction)
    assert fit.status == Status.CONVERGED
    assert np.isfinite(fit.coef).all()
    assert np.isfinite(std_error(fit)).all()
    assert fit.coef["x"] > 0


@both
@free
def test_one_class_has_an_answer_and_aliased_columns_have_none(reduction, link):
    frame = separated().assign(y=1, twice=lambda d: 2 * d["x"])
    with pytest.warns(bg.BayesGLMWarning, match="one-class"):
        fit = bg.Model("y ~ x", frame, link=link).fit("mle", bias_reduction=reduction)
    assert fit.status == Status.CONVERGED
    assert fit.predict().min() > 0.5
    with pytest.raises(bg.InferenceError, match="linear combinations"):
        bg.Model("y ~ x + twice", frame, link=link).fit("mle", bias_reduction=reduction)


def test_bias_is_reduced():
    # Mean over 400 data sets; the MLE of a probit slope is 10 to 20 % too large with 40 rows.
    rng = np.random.default_rng(5)
    x = np.linspace(-2, 2, 40)
    from scipy.stats import norm

    found = []
    for _ in range(400):
        y = (rng.uniform(size=40) < norm.cdf(0.7 * x)).astype(int)
        model = bg.Model.from_arrays(x[:, None], y, link="probit")
        found.append([model.fit("mle", bias_reduction=r).coef["x1"] for r in BOTH])
    error = np.std(found, axis=0) / np.sqrt(len(found))
    mean = np.mean(found, axis=0)
    # firth within 3.3 of its Monte Carlo errors (false alarm 0.1 %) and 0.01 of second order
    assert abs(mean[1] - 0.7) < 3.3 * error[1] + 0.01
    assert mean[0] > mean[1]


def test_sparse_columns_and_many_rows():
    import scipy.sparse as sp

    rng = np.random.default_rng(2)
    n = 2_000
    dense = np.column_stack([rng.normal(size=n), rng.uniform(size=(n, 12)) < 0.02]).astype(float)
    y = (rng.uniform(size=n) < 0.15).astype(int)
    one = bg.Model.from_arrays(dense, y, link="cloglog").fit("mle", bias_reduction="jeffreys")
    two = bg.Model.from_arrays(sp.csr_array(dense), y, link="cloglog").fit(
        "mle", bias_reduction="jeffreys"
    )
    np.testing.assert_allclose(two.coef, one.coef, rtol=1e-8)


def test_what_a_reader_sees():
    fit = bg.Model("am ~ wt", table("mtcars")).fit("mle", bias_reduction="jeffreys")
    assert "method   mle (bias reduction: jeffreys)" in str(fit)
    told = fit.result.options["penalised_loglik"]
    assert f"{told:.4f}" in str(fit)
    assert [finding.code for finding in fit.findings] == ["bias-reduced"]
    mle = bg.Model("am ~ wt", table("mtcars")).fit("mle")
    assert fit.loglik < mle.loglik
    assert fit.aic == pytest.approx(-2 * fit.loglik + 4)
    assert fit.history[-1] == pytest.approx(fit.loss, rel=1e-12)
    firth = bg.Model("am ~ wt", table("mtcars")).fit("mle", bias_reduction="firth")
    assert "penalised_loglik" not in firth.result.options
    assert "bias reduction: firth" in firth._repr_html_()


@both
def test_other_errors_and_files(tmp_path, reduction):
    fit = bg.Model("am ~ wt", table("mtcars"), link="probit").fit("mle", bias_reduction=reduction)
    observed = fit.with_cov(information="observed")
    assert (std_error(observed) != std_error(fit)).all()
    np.testing.assert_array_equal(observed.coef, fit.coef)
    robust = fit.with_cov("HC3")
    assert robust.result.options == fit.result.options
    for data in (True, False):
        fit.save(tmp_path / "fit.nc", data=data)
        loaded = bg.load(tmp_path / "fit.nc")
        assert loaded.result.options == fit.result.options
        assert loaded.findings == fit.findings
        assert str(loaded) == str(fit)
    again = pickle.loads(pickle.dumps(fit))
    np.testing.assert_array_equal(again.coef, fit.coef)


def test_single_precision_and_init():
    model = bg.Model("GRADE ~ GPA + TUCE + PSI", table("spector"))
    fit = model.fit("mle", bias_reduction="jeffreys")
    single = bg.Model("GRADE ~ GPA + TUCE + PSI", table("spector"), precision="float32")
    other = single.fit("mle", bias_reduction="jeffreys")
    assert other.status == Status.CONVERGED
    np.testing.assert_allclose(other.coef, fit.coef, rtol=2e-3)
    begun = model.fit("mle", bias_reduction="jeffreys", init=2 * fit.coef.to_numpy())
    np.testing.assert_allclose(begun.coef, fit.coef, rtol=1e-8)
    with pytest.warns(bg.BayesGLMWarning, match="step-limit"):
        early = model.fit("mle", bias_reduction="jeffreys", steps=2)
    assert early.status == Status.STEP_LIMIT


def test_a_link_of_the_users_own():
    import jax

    mine = bg.Link("mine", log_p=jax.nn.log_sigmoid, log_q=lambda eta: jax.nn.log_sigmoid(-eta))
    for reduction in BOTH:
        one, two = (
            bg.Model("am ~ wt", table("mtcars"), link=link).fit("mle", bias_reduction=reduction)
            for link in ("logit", mine)
        )
        np.testing.assert_allclose(two.coef, one.coef, rtol=1e-8)


@pytest.mark.parametrize(
    ("words", "options", "match"),
    [
        ({}, {"bias_reduction": "jeffrey"}, 'did you mean "jeffreys"'),
        ({}, {"bias_reduction": "median"}, "jeffreys, firth"),
        ({}, {"optimizer": "lbfgs"}, "optimizer='lbfgs'"),
        ({}, {"optimizer": optax.adam(0.1)}, "iteration of its own"),
        ({}, {"batch_size": 10}, "batch_size has no meaning"),
        ({"link": "log"}, {}, "link='log'"),
        ({"link": "identity"}, {}, "link='identity'"),
        ({"family": "gaussian"}, {}, "least squares"),
        ({"weights": "wt", "weights_kind": "sampling"}, {}, "sampling"),
    ],
)
def test_refusals(words, options, match):
    model = bg.Model("am ~ wt", table("mtcars"), **words)
    with pytest.raises(bg.SpecificationError, match=match):
        model.fit("mle", **{"bias_reduction": "jeffreys"} | options)


def test_only_maximum_likelihood_has_it():
    model = bg.Model("am ~ wt", table("mtcars"))
    with pytest.raises(bg.SpecificationError, match='no option "bias_reduction"'):
        model.fit("map", bias_reduction="jeffreys")


def test_networks_are_refused():
    pytest.importorskip("flax")
    model = bg.Model("am ~ wt", table("mtcars"), add=[bg.Network("~ mpg")])
    with pytest.raises(bg.SpecificationError, match="linear models"):
        model.fit("mle", bias_reduction="jeffreys")

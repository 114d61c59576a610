"""Profile-likelihood intervals: R's confint, direct root finding by SciPy, what has no limit."""

from __future__ import annotations

import copy
import json
import pickle
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayesglm as bg

REFERENCE = Path(__file__).with_name("reference")
GOLDEN = json.loads((REFERENCE / "profile" / "confint.json").read_text(encoding="utf-8"))
CASES = {case["id"]: case for case in GOLDEN["cases"]}


@cache
def table(name: str) -> pd.DataFrame:
    if name == "spector":
        return bg.datasets.spector()
    content = json.loads((REFERENCE / f"{name}.json").read_text(encoding="utf-8"))
    return pd.DataFrame(content["data"])


def limits(fit, **words) -> np.ndarray:
    return fit.summary(**{"ci": "profile"} | words)[["lower", "upper"]].to_numpy()


@pytest.mark.parametrize("case", CASES)
def test_confint(case):
    golden = CASES[case]
    fit = bg.Model(golden["formula"], table(golden["table"]), link=golden["link"]).fit("mle")
    theirs = np.array([golden["lower"], golden["upper"]], dtype=float).T
    known = np.isfinite(theirs)
    # R interpolates by a spline: 4 digits, of the width of the interval.
    width = np.nanmax(theirs, axis=1) - np.nanmin(theirs, axis=1)
    width = np.where(known.all(axis=1), width, np.abs(fit.coef))
    gap = np.abs(limits(fit) - theirs) / width[:, None]
    # R finds one side only of mtcars under cauchit, and the other from few points; the test below,
    # of the likelihood ratio at our limits, is the sharp one.
    assert gap[known].max() < (1e-2 if golden["link"] == "cauchit" else 5e-4)
    assert not np.isnan(limits(fit)).any()


def direct(model: bg.Model, term: int, sign: float, level: float, penalised: bool) -> float:
    """Return one limit of a logit model by SciPy alone."""
    from scipy import optimize, stats

    design = model.design
    X = np.column_stack([np.ones(design.n), design.matrix])
    y, t, w, offset = design.y, design.trials, design.weights, design.offset

    def value(beta):
        eta = X @ beta + offset
        total = np.sum(w * (y * eta - t * np.logaddexp(0, eta)))
        if penalised:
            p = 1 / (1 + np.exp(-eta))
            gram = X.T @ (X * (w * t * p * (1 - p))[:, None])
            total += 0.5 * np.linalg.slogdet(gram)[1]
        return total

    words = {"method": "BFGS", "options": {"gtol": 1e-9}}
    best = optimize.minimize(lambda b: -value(b), np.zeros(X.shape[1]), **words)
    others = np.delete(np.arange(X.shape[1]), term)
    at = [best.x[others]]

    def fall(distance):
        def loss(rest):
            beta = np.empty(X.shape[1])
            beta[term], beta[others] = best.x[term] + sign * distance, rest
            return -value(beta)

        found = optimize.minimize(loss, at[0], **words)
        return 2 * (found.fun - best.fun) - stats.chi2.ppf(level, 1)

    width = np.sqrt(best.hess_inv[term, term])
    far = 2 * width
    while fall(far) < 0:
        far *= 2
    return best.x[term] + sign * optimize.brentq(fall, 0.1 * width, far, xtol=1e-11)


@pytest.fixture(scope="module")
def counts() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    n = 30
    x = rng.normal(size=n)
    trials = rng.integers(1, 4, n)
    events = rng.binomial(trials, 1 / (1 + np.exp(-(0.3 + 0.8 * x))))
    known, part = rng.uniform(-0.3, 0.3, n), rng.uniform(0.3, 1.5, n)
    return pd.DataFrame({"x": x, "trials": trials, "events": events, "known": known, "part": part})


@pytest.mark.parametrize("penalised", [False, True])
@pytest.mark.parametrize("level", [0.95, 0.5])
def test_direct_root_finding_agrees(counts, penalised, level):
    model = bg.Model("events ~ x", counts, trials="trials", weights="part", offset="known")
    fit = model.fit("mle", bias_reduction="jeffreys" if penalised else None)
    theirs = [[direct(model, j, sign, level, penalised) for sign in (-1, 1)] for j in (0, 1)]
    np.testing.assert_allclose(limits(fit, level=level), theirs, rtol=1e-6)


@pytest.mark.parametrize("reduction", ["jeffreys", "firth"])
def test_separated_data_by_the_penalised_profile(reduction):
    x = np.arange(12) - 5.5
    model = bg.Model("y ~ x", pd.DataFrame({"x": x, "y": (x > 0).astype(int)}))
    fit = model.fit("mle", bias_reduction=reduction, ci="profile")
    theirs = [[direct(model, j, sign, 0.95, True) for sign in (-1, 1)] for j in (0, 1)]
    np.testing.assert_allclose(limits(fit), theirs, rtol=2e-6, atol=1e-6)
    assert "interval 95 %, penalised profile likelihood" in str(fit)


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog", "loglog", "cauchit"])
def test_limits_are_where_the_likelihood_ratio_says(link):
    # A coefficient held at its limit by an offset: the maximum falls by the quantile.
    from scipy.stats import chi2

    frame = table("spector")
    fit = bg.Model("GRADE ~ GPA + PSI", frame, link=link).fit("mle")
    for limit in limits(fit, level=0.9)[1]:
        held = frame.assign(held=limit * frame["GPA"])
        rest = bg.Model("GRADE ~ PSI", held, offset="held", link=link).fit("mle")
        assert 2 * (fit.loglik - rest.loglik) == pytest.approx(chi2.ppf(0.9, 1), rel=1e-7)


def test_merged_weighted_and_counted_rows_have_the_same_limits():
    rng = np.random.default_rng(8)
    g, h = rng.integers(0, 3, 3_000), rng.integers(0, 2, 3_000)
    y = (rng.uniform(size=3_000) < 0.02 + 0.01 * g).astype(int)
    frame = pd.DataFrame({"y": y, "g": g.astype(str), "h": h})
    whole = bg.Model("y ~ g + h", frame).fit("mle")
    assert whole.target.n < 10
    cells = frame.groupby(["g", "h"], as_index=False)["y"].agg(["sum", "count"])
    counted = bg.Model("sum ~ g + h", cells, trials="count").fit("mle")
    tally = frame.groupby(["g", "h", "y"], as_index=False).size()
    weighted = bg.Model("y ~ g + h", tally, weights="size").fit("mle")
    for other in (counted, weighted):
        np.testing.assert_allclose(limits(other), limits(whole), rtol=1e-8)


def test_scaling_and_order_change_nothing():
    frame = table("mtcars")
    plain = bg.Model("am ~ wt", frame, link="probit").fit("mle")
    scaled = bg.Model("am ~ wt", frame.assign(wt=1e6 * frame["wt"]), link="probit").fit("mle")
    np.testing.assert_allclose(limits(scaled) * [[1], [1e6]], limits(plain), rtol=1e-8)
    mixed = bg.Model("am ~ wt", frame.iloc[::-1], link="probit").fit("mle")
    np.testing.assert_allclose(limits(mixed), limits(plain), rtol=1e-8)
    raw = bg.Model("am ~ wt", frame, link="probit", center=False).fit("mle")
    np.testing.assert_allclose(limits(raw), limits(plain), rtol=1e-8)


def lapse_p(eta):
    import jax
    import jax.numpy as jnp

    return jnp.log(0.1 + 0.8 * jax.nn.sigmoid(eta))


def lapse_q(eta):
    import jax
    import jax.numpy as jnp

    return jnp.log(0.1 + 0.8 * jax.nn.sigmoid(-eta))


def test_a_flat_profile_has_no_finite_limit():
    # With 10 % of lapses on both sides the likelihood of a step is not 0: no slope is too steep.
    link = bg.Link("lapses", log_p=lapse_p, log_q=lapse_q)
    x = np.linspace(-2, 2, 60)
    rng = np.random.default_rng(4)
    y = (rng.uniform(size=60) < 0.1 + 0.8 / (1 + np.exp(-6 * x))).astype(int)
    model = bg.Model.from_arrays(x[:, None], y, link=link)
    with pytest.warns(bg.BayesGLMWarning, match="profile-(infinite|not-found)"):
        fit = model.fit("mle", ci="profile")
    found = fit.summary()
    assert not np.isfinite(found.loc["x1", "upper"])
    assert {"profile-infinite", "profile-not-found"} & {finding.code for finding in fit.findings}


def test_ratios_have_the_limits_sent_through_exp():
    fit = bg.Model("am ~ wt", table("mtcars")).fit("mle", ci="profile")
    np.testing.assert_allclose(limits(fit, exponentiate=True), np.exp(limits(fit)), rtol=1e-12)


def test_the_fit_remembers_and_says_which_interval(tmp_path):
    model = bg.Model("am ~ wt", table("mtcars"))
    wald, fit = model.fit("mle"), model.fit("mle", ci="profile")
    assert "interval 95 %, Wald" in str(wald)
    assert "interval 95 %, profile likelihood" in str(fit)
    np.testing.assert_allclose(fit.summary()[["lower", "upper"]], limits(wald), rtol=1e-9)
    pd.testing.assert_frame_equal(fit.summary(ci="wald"), wald.summary())
    assert list(fit.result.profile) == [0.95]
    first = fit.summary(level=0.8)
    assert list(fit.result.profile) == [0.95, 0.8]
    pd.testing.assert_frame_equal(fit.summary(level=0.8), first)
    for again in (pickle.loads(pickle.dumps(fit)), copy.deepcopy(fit)):
        pd.testing.assert_frame_equal(again.summary(), fit.summary())
    fit.save(tmp_path / "whole.nc")
    whole = bg.load(tmp_path / "whole.nc")
    pd.testing.assert_frame_equal(whole.summary(level=0.9), fit.summary(level=0.9))
    fit.save(tmp_path / "bare.nc", data=False)
    bare = bg.load(tmp_path / "bare.nc")
    assert str(bare) == str(fit)
    pd.testing.assert_frame_equal(bare.summary(level=0.8), fit.summary(level=0.8))
    with pytest.raises(bg.DataError, match=r"need the data.*level=0.7.*0.8, 0.9, 0.95"):
        bare.summary(level=0.7)
    # Robust errors have no profile: the interval is Wald's again.
    robust = fit.with_cov("HC1")
    assert "interval 95 %, Wald" in str(robust)
    with pytest.raises(bg.SpecificationError, match="no robust form"):
        robust.summary(ci="profile")


def test_single_precision_has_the_limits_of_double():
    words = {"formula": "am ~ wt", "data": table("mtcars")}
    double = bg.Model(**words).fit("mle")
    single = bg.Model(**words, precision="float32").fit("mle")
    np.testing.assert_allclose(limits(single), limits(double), rtol=1e-6)


@pytest.mark.parametrize(
    ("words", "options", "match"),
    [
        ({}, {"ci": "profil"}, 'did you mean "profile"'),
        ({}, {"cov": "HC1"}, "no robust form"),
        ({}, {"cluster": "vs"}, "no robust form"),
        ({"link": "log"}, {}, "bounded domain"),
        ({"family": "gaussian"}, {}, "yes/no"),
        ({"weights": "wt", "weights_kind": "sampling"}, {}, "sampling"),
        ({"link": "probit"}, {"bias_reduction": "firth"}, "no penalised likelihood to profile"),
    ],
)
def test_refusals(words, options, match):
    model = bg.Model("am ~ wt", table("mtcars"), **words)
    with pytest.raises(bg.SpecificationError, match=match):
        model.fit("mle", **{"ci": "profile"} | options)


def test_other_methods_have_no_profile():
    fit = bg.Model("am ~ wt", table("mtcars")).fit("map")
    with pytest.raises(bg.SpecificationError, match="maximum likelihood"):
        fit.summary(ci="profile")

"""Group-level effects: formulas, the marginal likelihood against lme4 and by hand, what comes of it."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from scipy import integrate, optimize
from scipy.special import expit

import bayesglm as bg
from bayesglm.generative import eta_at, log_density
from bayesglm.implied import target_of
from bayesglm.inference import hierarchical, kernel, marginal
from bayesglm.precision import scope

GLMER = json.loads((Path(__file__).parent / "reference/mixed/glmer.json").read_text())


def table(name: str) -> pd.DataFrame:
    if name == "cbpp":
        return bg.datasets.cbpp()
    told = GLMER["bacteria"]
    trt = pd.Categorical.from_codes(told["trt"], ["placebo", "drug", "drug+"])
    children = np.array(told["children"])[told["ID"]]
    late = (np.array(told["week"]) > 2).astype(float)
    return pd.DataFrame({"y": told["y"], "trt": trt, "late": late, "ID": children})


@pytest.fixture(scope="module")
def crossed() -> pd.DataFrame:
    """Two factors, a slope that varies, 700 rows; intercept and slope of a are correlated."""
    rng = np.random.default_rng(5)
    n = 700
    d = pd.DataFrame(
        {"x": rng.normal(size=n), "a": rng.integers(0, 12, n), "b": rng.integers(0, 5, n)}
    )
    u = rng.normal(size=(12, 2)) @ np.array([[0.9, 0.4], [0.0, 0.5]])
    v = rng.normal(size=5) * 0.7
    d["y"] = rng.binomial(1, expit(-0.3 + d.x + u[d.a, 0] + u[d.a, 1] * d.x + v[d.b]))
    return d


@pytest.fixture(scope="module")
def crossed_fit(crossed):
    return bg.Model("y ~ x + (1 + x | a) + (1 | b)", crossed).fit("mle")


# -- the likelihood -----------------------------------------------------------------------------


@pytest.mark.parametrize("case", GLMER["cases"], ids=lambda c: f"{c['table']}-{c['link']}")
def test_agrees_with_glmer(case):
    fit = bg.Model(case["formula"], table(case["table"]), link=case["link"]).fit("mle")
    assert fit.status == "converged"
    np.testing.assert_allclose(fit.coef, case["coef"], rtol=2e-5)
    np.testing.assert_allclose(fit.vcov, case["vcov"], rtol=1e-4)
    shapes = fit.summary()["estimate"]
    np.testing.assert_allclose(shapes[f"sd_{case['group']}[Intercept]"], case["sd"], rtol=1e-4)
    np.testing.assert_allclose(fit.loglik, case["loglik"], rtol=1e-6)
    for name in ("aic", "bic", "deviance"):
        np.testing.assert_allclose(getattr(fit, name), case[name], rtol=1e-5)
    effects = fit.group_table().loc[case["modes"]["levels"], "estimate"]
    np.testing.assert_allclose(effects, case["modes"]["values"], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(fit.predict()[:5], case["fitted"], rtol=1e-4)


def by_hand(d, beta, lower_a, sd_b):
    """Laplace's log marginal likelihood with dense matrices, for y ~ x + (1 + x | a) + (1 | b)."""
    n, x, y = len(d), d.x.to_numpy(), d.y.to_numpy()
    z = np.zeros((n, 24 + 5))
    z[np.arange(n), 2 * d.a], z[np.arange(n), 2 * d.a + 1] = 1, x
    z[np.arange(n), 24 + d.b] = 1
    whole = np.kron(np.eye(12), lower_a)
    z = z @ np.block([[whole, np.zeros((24, 5))], [np.zeros((5, 24)), sd_b * np.eye(5)]])
    e = np.zeros(29)
    for _ in range(50):
        p = expit(beta[0] + beta[1] * x + z @ e)
        hessian = z.T @ (z * (p * (1 - p))[:, None]) + np.eye(29)
        e = e + np.linalg.solve(hessian, z.T @ (y - p) - e)
    p = expit(beta[0] + beta[1] * x + z @ e)
    hessian = z.T @ (z * (p * (1 - p))[:, None]) + np.eye(29)
    loglik = np.sum(np.where(y > 0, np.log(p), np.log1p(-p)))
    return loglik - 0.5 * e @ e - 0.5 * np.linalg.slogdet(hessian)[1], e


def test_crossed_factors_and_slopes_by_hand(crossed, crossed_fit):
    found = crossed_fit.result.groups
    sd, cor = found["sd_a"], found["cor_a"][0, 1]
    lower = np.array([[sd[0], 0], [sd[1] * cor, sd[1] * np.sqrt(1 - cor**2)]])
    beta = crossed_fit.coef.to_numpy()
    value, e = by_hand(crossed, beta, lower, found["sd_b"][0])
    np.testing.assert_allclose(crossed_fit.loglik, value, rtol=1e-10)
    np.testing.assert_allclose(found["a"], e[:24].reshape(12, 2) @ lower.T, atol=1e-6)
    np.testing.assert_allclose(found["b"][:, 0], e[24:] * found["sd_b"][0], atol=1e-6)

    def negative(v):
        return -by_hand(crossed, v[:2], np.array([[v[2], 0], [v[3], v[4]]]), v[5])[0]

    top = np.array([*beta, lower[0, 0], lower[1, 0], lower[1, 1], found["sd_b"][0]])
    # At the top: nothing around it is better, and the curvature gives the errors.
    slope = optimize.approx_fprime(top, negative, 1e-5)
    assert np.abs(slope).max() < 1e-2
    steps = 1e-3 * np.eye(6)
    hessian = [
        [
            (
                negative(top + a + b)
                - negative(top + a - b)
                - negative(top - a + b)
                + negative(top - a - b)
            )
            / 4e-6
            for b in steps
        ]
        for a in steps
    ]
    np.testing.assert_allclose(
        crossed_fit.vcov, np.linalg.inv(np.array(hessian))[:2, :2], rtol=1e-3
    )


@pytest.mark.parametrize(
    ("link", "prior"),
    [("logit", True), ("probit", False), ("loglog", False), ("student_t(4)", True)],
)
def test_derivatives_are_those_of_differences(crossed, link, prior):
    model = bg.Model("y ~ x + (1 + x | a) + (1 | b)", crossed, link=link)
    coordinates = "flat" if prior else "named"
    with scope("float64"):
        target = target_of(model.spec, model.design, model.priors, flat=not prior).placed()
        v = np.array([-0.2, 0.7, 0.4, 0.7, 0.5, 0.2])
        zeros = tuple(jnp.zeros((g.levels, g.width)) for g, _ in target.groups)

        def look(v):
            point = jnp.asarray(v)
            at = target.structure, target.arrays, point
            z = marginal.mode(*at, zeros, coordinates=coordinates).z
            found = marginal.value_and_grad(*at, z, coordinates=coordinates, prior=prior)
            return float(found[0]), np.asarray(found[1]), z

        _, gradient, z = look(v)
        steps = 1e-4 * np.eye(6)
        slopes = [(look(v + s)[0] - look(v - s)[0]) / 2e-4 for s in steps]
        np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=1e-5)
        bends = [(look(v + s)[1] - look(v - s)[1]) / 2e-4 for s in steps]
        hessian = marginal.hessian(
            target.structure, target.arrays, jnp.asarray(v), z, coordinates=coordinates, prior=prior
        )
        np.testing.assert_allclose(hessian, bends, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("levels", [2, 20, 2_000])
@pytest.mark.parametrize("balanced", [True, False])
def test_levels_and_balance(levels, balanced):
    rng = np.random.default_rng(levels)
    n = max(6_000, 5 * levels)
    share = np.ones(levels) if balanced else rng.gamma(0.3, size=levels) + 1e-3
    g = np.concatenate([np.arange(levels), rng.choice(levels, n - levels, p=share / share.sum())])
    x, u = rng.normal(size=n), 0.8 * rng.normal(size=levels)
    y = rng.binomial(1, expit(0.3 + 0.6 * x + u[g]))
    fit = bg.Model("y ~ x + (1 | g)", {"x": x, "g": g, "y": y}).fit("mle")
    assert fit.status == "converged"

    def negative(v):
        # Each group by itself: one integral, by Laplace's method.
        e, eta = np.zeros(levels), v[0] + v[1] * x
        for _ in range(60):
            p = expit(eta + v[2] * e[g])
            slope = v[2] * np.bincount(g, y - p, levels) - e
            e = e + slope / (1 + v[2] ** 2 * np.bincount(g, p * (1 - p), levels))
        p = expit(eta + v[2] * e[g])
        loglik = np.sum(np.where(y > 0, np.log(p), np.log1p(-p))) - 0.5 * e @ e
        return 0.5 * np.sum(np.log1p(v[2] ** 2 * np.bincount(g, p * (1 - p), levels))) - loglik

    top = np.array([*fit.coef, fit.result.groups["sd_g"][0]])
    np.testing.assert_allclose(fit.loglik, -negative(top), rtol=1e-9)
    slope = optimize.approx_fprime(top, negative, 1e-5)
    errors = np.array([*np.sqrt(np.diag(fit.vcov)), fit.result.groups["sd_g_std_error"][0]])
    # Less than a hundredth of a standard error from the top.
    assert np.abs(slope * errors).max() < 0.01


def test_rows_and_their_sums_agree():
    people = bg.datasets.cbpp()
    one = people.loc[people.index.repeat(people["size"])].reset_index(drop=True)
    place = one.groupby(["herd", "period"]).cumcount()
    one["ill"] = (place < one["incidence"]).astype(int)
    sums = bg.Model("cbind(incidence, size - incidence) ~ C(period) + (1 | herd)", people).fit(
        "mle"
    )
    rows = bg.Model("ill ~ C(period) + (1 | herd)", one).fit("mle")
    np.testing.assert_allclose(rows.coef, sums.coef, rtol=1e-8)
    np.testing.assert_allclose(rows.vcov, sums.vcov, rtol=1e-6)
    many = pd.concat([one] * 2, ignore_index=True)
    assert bg.Model("ill ~ C(period) + (1 | herd)", many).fit("mle").target.n == 56
    twice = bg.Model("ill ~ C(period) + (1 | herd)", one.assign(w=2), weights="w").fit("mle")
    again = bg.Model("ill ~ C(period) + (1 | herd)", many).fit("mle")
    np.testing.assert_allclose(twice.loglik, again.loglik, rtol=1e-9)


def test_no_variation_is_a_boundary():
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(10), 40)
    # The same share in every group: less variation than chance would give.
    y = np.tile(rng.permutation([1] * 20 + [0] * 20), 10)
    d = pd.DataFrame({"y": y, "g": g, "x": rng.normal(size=400)})
    with pytest.warns(bg.BayesGLMWarning, match="sd_g lies at the end of its range"):
        fit = bg.Model("y ~ x + (1 | g)", d).fit("mle")
    plain = bg.Model("y ~ x", d).fit("mle")
    assert fit.status == "boundary"
    assert fit.result.groups["sd_g"][0] < 1e-6
    np.testing.assert_allclose(fit.loglik, plain.loglik, rtol=1e-10)
    np.testing.assert_allclose(fit.coef, plain.coef, rtol=1e-6)
    np.testing.assert_allclose(
        fit.summary()["std_error"][:2], plain.summary()["std_error"], rtol=1e-4
    )
    assert (fit.group_table()["shrinkage"] == 1).all()


def test_small_groups_and_uncertain_deviations_are_told():
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(60), 3)
    x = rng.normal(size=180)
    eta = 1.5 * rng.normal(size=60)[g] + 0.5 * x
    d = pd.DataFrame(
        {"y": (rng.uniform(size=180) < 1 / (1 + np.exp(-eta))).astype(int), "g": g, "x": x}
    )
    fit = bg.Model("y ~ x + (1 | g)", d).fit("mle")
    (found,) = [finding for finding in fit.findings if finding.code == "small-groups"]
    assert (found.value, found.where) == (3, "g")
    # An error larger than the estimate: the interval begins at 0 and does not span magnitudes.
    held = {"sd_g": np.array([0.1]), "sd_g_std_error": np.array([0.4])}
    odd = replace(fit, result=replace(fit.result, groups={**fit.result.groups, **held}))
    row = odd.summary().loc["sd_g[Intercept]"]
    assert row["lower"] == 0
    assert row["upper"] == pytest.approx(0.1 + 1.96 * 0.4, rel=1e-3)


def test_map_is_the_mode_with_the_prior(crossed):
    model = bg.Model(
        "y ~ x + (1 | a)", crossed, prior={"sd_a": dist.HalfNormal(0.3), "x": dist.Normal(0, 0.2)}
    )
    fit = model.fit("map")
    other = bg.Model("y ~ x + (1 | a)", crossed).fit("mle")
    assert fit.coef["x"] < other.coef["x"]
    assert fit.result.groups["sd_a"] < other.result.groups["sd_a"]
    assert "HalfNormal(0.3)" in str(model.priors)
    with scope("float64"):
        target = target_of(model.spec, model.design, model.priors).placed()
        zeros = (jnp.zeros((12, 1)),)

        def value(v):
            at = target.structure, target.arrays, jnp.asarray(v)
            z = marginal.mode(*at, zeros, coordinates="named").z
            plain = marginal.value_and_grad(*at, z, coordinates="named", prior=False)[0]
            own = dist.HalfNormal(0.3).log_prob(v[2]) + dist.Normal(0, 0.2).log_prob(v[1])
            return float(plain + own + model.priors.intercept.log_prob(v[0]))

        flat = fit.result.flat
        top = np.array([flat[0], flat[1], fit.result.groups["sd_a"][0]])
        best = value(top)
        assert all(value(top + s) < best for s in 0.02 * np.vstack([np.eye(3), -np.eye(3)]))
        np.testing.assert_allclose(fit.result.log_posterior, best, rtol=1e-8)


# -- formulas and bad input ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "terms", "groups"),
    [
        ("y ~ x + (1 | a)", ("x",), [("a", ("Intercept",), (1,))]),
        ("y ~ (1 | a)", (), [("a", ("Intercept",), (1,))]),
        ("y ~ x + (x | a)", ("x",), [("a", ("Intercept", "x"), (2,))]),
        ("y ~ x + (0 + x | a)", ("x",), [("a", ("x",), (1,))]),
        ("y ~ x + (1 + x || a)", ("x",), [("a", ("Intercept", "x"), (1, 1))]),
        ("y ~ (1 | a) + x + (0 + x | a)", ("x",), [("a", ("Intercept", "x"), (1, 1))]),
        ("y ~ x + (1 | a/b)", ("x",), [("a", ("Intercept",), (1,)), ("a:b", ("Intercept",), (1,))]),
        ("y ~ x + (1 | a:b)", ("x",), [("a:b", ("Intercept",), (1,))]),
        ("y ~ . + (1 | a)", ("x", "b"), [("a", ("Intercept",), (1,))]),
        (
            "y ~ x + (C(b) | a)",
            ("x",),
            [("a", ("Intercept", *(f"C(b)[T.{j}]" for j in range(1, 5))), (5,))],
        ),
    ],
)
def test_formulas(crossed, formula, terms, groups):
    design = bg.Model(formula, crossed).design
    assert design.terms == terms
    assert [(g.name, g.terms, g.blocks) for g in design.groups] == groups


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("y ~ x - (1 | a)", "is added"),
        ("y ~ 0 + (1 | a)", "no coefficients"),
        ("y ~ x + (1 | )", r"\(effects \| group\)"),
        ("y ~ x + (1 | a | b)", r"\(effects \| group\)"),
        ("y ~ x + (1 | a + b)", r"\(1 \| a\) \+ \(1 \| b\)"),
        ("y ~ x + (1 | np.log(a))", "make a column"),
        ("y ~ x + (0 | a)", "at least one"),
        ("y ~ x + (offset(x) | a)", "plain terms"),
        ("y ~ x + (s(x) | a)", "plain terms"),
        ("y ~ x + (1 | y)", "outcome cannot be a group"),
        ("y ~ x + (1 + x | a) + (1 | a)", "there twice"),
        ("y ~ x + (1 | draw)", "cannot be that of a group"),
        ("y ~ x + (z | a)", "no column 'z'"),
        ("y ~ x + (__import__('os') | a)", "not allowed in a formula"),
    ],
)
def test_formulas_that_are_wrong(crossed, formula, message):
    data = crossed.assign(draw=crossed["a"])
    with pytest.raises(bg.BayesGLMError, match=message):
        bg.Model(formula, data)


def test_bad_groups(crossed):
    with pytest.raises(bg.DataError, match="one level only"):
        bg.Model("y ~ x + (1 | c)", crossed.assign(c="same"))
    holed = crossed.assign(c=crossed["a"].where(crossed.index > 3))
    with pytest.raises(bg.DataError, match=r"in c \(4\)"):
        bg.Model("y ~ x + (1 | c)", holed)
    assert bg.Model("y ~ x + (1 | c)", holed, missing="drop").design.n == len(crossed) - 4
    with pytest.raises(bg.DataError, match="single values"):
        bg.Model("y ~ x + (1 | c)", crossed.assign(c=[[1], [2]] * 350))
    few = crossed.assign(c=np.arange(700) // 2, z=crossed["x"] ** 2)
    model = bg.Model("y ~ x + (1 + x + z | c)", few)
    assert [f.code for f in model.design.findings] == ["group-rows"]
    with pytest.raises(bg.InferenceError, match="more effects than rows"):
        model.fit("mle")


@pytest.mark.parametrize(
    ("words", "method", "options", "message"),
    [
        ({"family": "gaussian"}, "mle", {}, "not available for this family"),
        ({"link": "log"}, "mle", {}, "not available for this link"),
        ({"precision": "float32"}, "nuts", {}, "double precision"),
        ({}, "mle", {"cov": "HC1"}, "cov is not available"),
        ({}, "mle", {"cluster": "a"}, "cluster is not available"),
        ({}, "mle", {"bias_reduction": "firth"}, "bias_reduction"),
        ({}, "mle", {"ci": "profile"}, "profile"),
        ({}, "mle", {"optimizer": "adam"}, "optimizer is not available"),
        ({}, "svi", {}, "svi"),
        ({"add": [bg.Network("~ x")]}, "map", {}, "networks or group-level effects"),
        ({"weights": "w", "weights_kind": "sampling"}, "mle", {}, "sampling weights"),
    ],
)
def test_what_does_not_go_with_groups(crossed, words, method, options, message):
    model = bg.Model("y ~ x + (1 | a)", crossed.assign(w=1.5), **words)
    with pytest.raises(bg.BayesGLMError, match=message):
        model.fit(method, **options)


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ({"sd_a": dist.Normal(0, 1)}, "positive numbers"),
        ({"sd_a": 1.0}, "positive numbers"),
        ({"cor_a": dist.LKJ(2, 1.0)}, "no correlations"),
        ({"sd_q": dist.HalfNormal(1)}, "names no term"),
    ],
)
def test_priors_of_groups_that_are_wrong(crossed, prior, message):
    with pytest.raises(bg.SpecificationError, match=message):
        bg.Model("y ~ x + (1 | a)", crossed, prior=prior)


def test_separation_is_told():
    d = pd.DataFrame({"x": np.tile([0.0, 1.0], 40), "g": np.repeat(np.arange(8), 10)})
    d["y"] = d["x"].astype(int)
    with pytest.raises(bg.SeparationError) as caught:
        bg.Model("y ~ x + (1 | g)", d).fit("mle")
    # What groups refuse is no advice.
    assert 'prior="weak"' in str(caught.value)
    assert "bias_reduction" not in str(caught.value)


# -- what comes of it ---------------------------------------------------------------------------


def test_predictions_of_known_new_and_no_groups(crossed, crossed_fit):
    fit, found = crossed_fit, crossed_fit.result.groups
    beta, u, v = fit.coef.to_numpy(), found["a"], found["b"][:, 0]
    rows = {"x": [0.5, -1.0], "a": [3, 7], "b": [0, 4]}
    x = np.array(rows["x"])
    fixed = beta[0] + beta[1] * x
    eta = fixed + u[rows["a"], 0] + u[rows["a"], 1] * x + v[rows["b"]]
    np.testing.assert_allclose(fit.predict(rows), expit(eta))
    np.testing.assert_allclose(fit.predict(rows, groups=["b"]), expit(fixed + v[rows["b"]]))
    np.testing.assert_allclose(fit.predict({"x": x}, groups=None), expit(fixed))
    new = {"x": x, "a": [99, 100], "b": [0, 4]}
    with pytest.raises(bg.DataError, match="were not there in training"):
        fit.predict(new)
    np.testing.assert_allclose(
        fit.predict(new, new_groups="zero"), expit(fixed + v[rows["b"]]), rtol=1e-12
    )
    sd, cor = found["sd_a"], found["cor_a"][0, 1]
    spread = np.sqrt(sd[0] ** 2 + 2 * cor * sd[0] * sd[1] * x + (sd[1] * x) ** 2)
    for j in range(2):
        middle = fixed[j] + v[rows["b"][j]]
        exact, _ = integrate.quad(
            lambda t, j=j, m=middle: (
                expit(m + spread[j] * t) * np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi)
            ),
            -12,
            12,
        )
        np.testing.assert_allclose(fit.predict(new, new_groups="sample")[j], exact, rtol=1e-8)
    narrow, wide = (
        np.diff(fit.predict_interval(new, new_groups=kind)[1:], axis=0)
        for kind in ("zero", "sample")
    )
    assert (wide > narrow).all()
    with pytest.raises(bg.SpecificationError, match="new_groups"):
        fit.predict(new, new_groups="drop")
    with pytest.raises(bg.SpecificationError, match="no group 'c'"):
        fit.predict(rows, groups=["c"])
    with pytest.raises(bg.DataError, match="no column 'a'"):
        fit.predict({"x": x, "b": [0, 1]})


@pytest.mark.slow
def test_intervals_are_those_of_the_joint_curvature(crossed, crossed_fit):
    """The Gaussian approximation of everything at once, made with dense matrices by autodiff."""
    fit = crossed_fit
    with scope("float64"):
        target = target_of(fit.spec, fit.design, fit.priors, flat=True).placed()
        structure, arrays = target.structure, target.arrays
        size = target.size
        # Group b comes first: [coefficients, sd_b, z_b, sd_a, cor_a, z_a].
        flat = jnp.asarray(fit.result.flat)
        v = jnp.concatenate([flat[:3], flat[8:11]])
        z = flat[3:8].reshape(5, 1), flat[11:].reshape(12, 2)
        curvature = -marginal.hessian(structure, arrays, v, z, coordinates="flat", prior=False)
        cov = np.linalg.inv(np.asarray(curvature))

        def eta(f):
            return eta_at(structure, arrays, f)[:4]

        def joint(f):
            return log_density(structure, arrays, f, jacobian=False)

        hessian = -np.asarray(jax.hessian(joint)(flat))
        outer, inner = np.r_[0:3, 8:11], np.r_[3:8, 11:size]
        precision = hessian[np.ix_(inner, inner)]
        follow = -np.linalg.solve(precision, hessian[np.ix_(inner, outer)])
        slopes = np.asarray(jax.jacfwd(eta)(flat))
        along = slopes[:, outer] + slopes[:, inner] @ follow
        variance = np.einsum("ij,jk,ik->i", along, cov, along)
        own = slopes[:, inner]
        variance += np.einsum("ij,jk,ik->i", own, np.linalg.inv(precision), own)
        middle = np.asarray(eta(flat))
    x = {name: fit.design.frame[name].to_numpy()[:4] for name in ("x", "a", "b")}
    estimate, lower, upper = fit.predict_interval(x)
    np.testing.assert_allclose(estimate, expit(middle), rtol=1e-6)
    reach = 1.959963984540054 * np.sqrt(variance)
    np.testing.assert_allclose(lower, expit(middle - reach), rtol=1e-4)
    np.testing.assert_allclose(upper, expit(middle + reach), rtol=1e-4)


def test_tables(crossed_fit):
    assert list(crossed_fit.summary().index) == [
        *("Intercept", "x", "sd_a[Intercept]", "sd_a[x]", "cor_a[Intercept, x]", "sd_b[Intercept]")
    ]
    table = crossed_fit.group_table("a")
    assert table.index.names == ["a", "term"]
    assert len(table) == 24
    assert table["shrinkage"].between(0, 1).all()
    assert table["trials"].groupby(level=0).first().sum() == 700
    with pytest.raises(bg.SpecificationError, match="which group"):
        crossed_fit.group_table()
    with pytest.raises(bg.SpecificationError, match="no group 'c'"):
        crossed_fit.group_table("c")
    ratios = crossed_fit.summary(exponentiate=True)
    assert ratios["scale"].tolist() == ["ratio"] * 2 + ["link"] * 4
    np.testing.assert_allclose(
        ratios["estimate"]["sd_b[Intercept]"], crossed_fit.summary()["estimate"]["sd_b[Intercept]"]
    )
    assert "sd_a[x]" in str(crossed_fit)
    assert crossed_fit.parameters == 6


def test_the_picture_of_groups(crossed_fit):
    axes = bg.plots.groups(crossed_fit, "a", "x").axes[0]
    table = crossed_fit.group_table("a").xs("x", level="term").sort_values("estimate")
    (points,) = [line for line in axes.lines if len(line.get_xdata()) == 12]
    np.testing.assert_allclose(points.get_xdata(), table["estimate"])
    assert [text.get_text() for text in axes.get_yticklabels()] == list(table.index)
    assert "difference of x" in axes.get_xlabel()
    with pytest.raises(bg.SpecificationError, match="no effect 'z' varies"):
        bg.plots.groups(crossed_fit, "a", "z")


def test_the_report_has_the_groups(crossed_fit, tmp_path):
    page = bg.report(crossed_fit, tmp_path / "report.html", progress=False).read_text()
    assert "How effects vary" in page
    assert "12 groups of a" in page
    assert "could not" not in page


def test_slopes_go_through_the_groups(crossed, crossed_fit):
    fit, found = crossed_fit, crossed_fit.result.groups
    p = fit.predict()
    own = fit.coef["x"] + found["a"][crossed["a"], 1]
    np.testing.assert_allclose(
        bg.slopes(fit, "x", by=True)["estimate"][0], np.mean(p * (1 - p) * own), rtol=1e-6
    )
    middle = fit.predict(groups=None)
    np.testing.assert_allclose(
        bg.slopes(fit, "x", by=True, groups=None)["estimate"][0],
        np.mean(middle * (1 - middle) * fit.coef["x"]),
        rtol=1e-6,
    )
    assert np.isfinite(bg.slopes(fit, "x", by=True)["std_error"][0])
    grid = bg.grid(fit, x=[0.0, 1.0], a=[3])
    assert grid["a"].tolist() == [3, 3]
    assert "b" in grid
    np.testing.assert_allclose(bg.predictions(fit, grid)["estimate"], fit.predict(grid))
    with pytest.raises(bg.SpecificationError, match="posterior only"):
        bg.predictions(fit, grid.assign(a=99), new_groups="sample")
    assert len(bg.scores(fit))


def test_what_is_asked_of_a_fit_with_groups(crossed_fit):
    for ask in (
        lambda: crossed_fit.with_cov("HC1"),
        lambda: crossed_fit.summary(ci="profile"),
        lambda: bg.bootstrap(crossed_fit, replicates=5),
    ):
        with pytest.raises(bg.SpecificationError, match="group-level effects"):
            ask()
    with pytest.raises(bg.SpecificationError, match="a is a group"):
        bg.comparisons(crossed_fit, "a")
    assert bg.kfold(crossed_fit, folds=3).elpd < 0
    assert not [f for f in bg.diagnose(crossed_fit) if f.severity == "error"]


@pytest.mark.slow
def test_posteriors_with_groups_are_calibrated():
    """Ranks of truths drawn from the prior are uniform, those of the standard deviations too."""
    rng = np.random.default_rng(8)
    d = pd.DataFrame({"x": rng.normal(size=240), "g": np.repeat(np.arange(12), 20)})
    model = bg.Model("y ~ x + (1 | g)", d.assign(y=np.arange(240) % 2))
    found = bg.simulation_based_calibration(
        model, "nuts", replications=100, level=0.999, seed=4, progress=False
    )
    assert "sd_g[Intercept]" in found.summary().index
    # Bands that right posteriors leave once in a thousand runs.
    assert found.uniform, found.summary()


def test_files(crossed, crossed_fit, tmp_path):
    path = tmp_path / "fit.nc"
    crossed_fit.save(path)
    back = bg.load(path)
    assert str(back) == str(crossed_fit)
    pd.testing.assert_frame_equal(back.group_table("a"), crossed_fit.group_table("a"))
    np.testing.assert_allclose(back.predict_interval(), crossed_fit.predict_interval())
    bare = tmp_path / "bare.nc"
    crossed_fit.save(bare, data=False)
    again = bg.load(bare)
    np.testing.assert_allclose(again.predict(crossed[:5]), crossed_fit.predict(crossed[:5]))
    assert "trials" not in again.group_table("b")
    assert str(pickle.loads(pickle.dumps(crossed_fit))) == str(crossed_fit)


# -- draws --------------------------------------------------------------------------------------


def test_coordinates_of_the_sampler_invert(crossed):
    model = bg.Model("y ~ x + (1 + x | a) + (1 | b)", crossed)
    with scope("float64"):
        target = target_of(model.spec, model.design, model.priors).placed()
        mode, w = hierarchical.start_of(target)
        frame = jax.tree.map(jnp.asarray, kernel.Frame(mode, w))
        z = 0.7 * jax.random.normal(jax.random.key(1), (target.size,))
        flat, determinant = hierarchical.placed(target.structure, frame.mode, frame.w, z)
        back = hierarchical.located(target.structure, frame.mode, frame.w, flat[None])[0]
        np.testing.assert_allclose(back, z, atol=1e-8)
        jacobian = jax.jacfwd(lambda z: frame.place(target.structure, z)[0])(z)
        root = np.linalg.slogdet(np.asarray(frame.w.root))[1]
        np.testing.assert_allclose(
            np.linalg.slogdet(np.asarray(jacobian))[1], float(determinant) + root, atol=1e-8
        )


@pytest.fixture(scope="module")
def draws():
    model = bg.Model(
        "cbind(incidence, size - incidence) ~ C(period) + (1 | herd)", bg.datasets.cbpp()
    )
    return model.fit("nuts", draws=400, seed=2)


def test_draws_and_their_tables(draws, tmp_path):
    assert draws.posterior["herd"].dims == ("chain", "draw", "herd_group", "herd_effect")
    assert draws.posterior["sd_herd"].shape == (4, 400, 1)
    assert (draws.summary()["r_hat"] < 1.02).all()
    table = draws.group_table()
    assert {"r_hat", "ess_bulk", "shrinkage", "trials"} <= set(table.columns)
    draws.save(tmp_path / "draws.nc")
    back = bg.load(tmp_path / "draws.nc")
    pd.testing.assert_frame_equal(back.group_table(), table)
    np.testing.assert_allclose(back.predict(), draws.predict())
    assert bg.loo(draws).elpd < 0


def test_new_groups_of_draws(draws):
    new = {"period": [1, 2, 1], "herd": [77, 77, 78]}
    eta = draws.predict(new, kind="link", draws=True, new_groups="sample")
    zero = draws.predict(new, kind="link", draws=True, new_groups="zero")
    effect = eta - zero
    # One new herd is one herd, wherever it stands; another is another.
    np.testing.assert_allclose(effect[:, 0], effect[:, 1])
    assert abs(np.corrcoef(effect[:, 0], effect[:, 2])[0, 1]) < 0.5
    sd = np.sqrt(np.mean(draws.posterior["sd_herd"].to_numpy() ** 2))
    np.testing.assert_allclose(effect[:, 0].std(), sd, rtol=0.1)
    table = bg.predictions(draws, pd.DataFrame(new), new_groups="sample")
    np.testing.assert_allclose(table["estimate"], expit(eta).mean(axis=0), rtol=1e-6)


@pytest.mark.filterwarnings("ignore::bayesglm.BayesGLMWarning")
def test_resumes_with_the_same_draws(tmp_path):
    model = bg.Model(
        "cbind(incidence, size - incidence) ~ C(period) + (1 | herd)", bg.datasets.cbpp()
    )
    words = {"draws": 60, "warmup": 60, "chains": 2, "seed": 5}
    path = tmp_path / "run.npz"
    whole = model.fit("nuts", checkpoint=path, **words)
    again = bg.resume(path)
    np.testing.assert_array_equal(again.result.draws["herd"], whole.result.draws["herd"])


@pytest.mark.slow
def test_draws_agree_with_a_plain_numpyro_model():
    """Means and sds within 4 standard errors of a hand-written model's: 1 in 800 by chance."""
    import numpyro
    from arviz_stats.base import array_stats
    from numpyro.infer import MCMC, NUTS

    people = bg.datasets.cbpp()
    model = bg.Model("cbind(incidence, size - incidence) ~ C(period) + (1 | herd)", people)
    fit = model.fit("nuts", draws=4_000, seed=3)
    matrix = np.asarray(model.design.matrix) - model.priors.center
    herd = people["herd"].to_numpy() - 1

    def plain():
        intercept = numpyro.sample("Intercept", dist.Normal(0, 1.5))
        beta = numpyro.sample("beta", dist.Normal(0, 1.5).expand([3]).to_event(1))
        sd = numpyro.sample("sd", dist.FoldedDistribution(dist.StudentT(3.0, 0.0, 1.5)))
        z = numpyro.sample("z", dist.Normal(0, 1).expand([15]).to_event(1))
        u = numpyro.deterministic("u", sd * z)
        logits = intercept + matrix @ beta + u[herd]
        numpyro.sample(
            "n",
            dist.BinomialLogits(logits, people["size"].to_numpy()),
            obs=people["incidence"].to_numpy(),
        )

    with scope("float64"):
        mcmc = MCMC(
            NUTS(plain, target_accept_prob=0.95),
            num_warmup=1_000,
            num_samples=5_000,
            num_chains=4,
            chain_method="vectorized",
            progress_bar=False,
        )
        mcmc.run(jax.random.key(7))
        other = {k: np.asarray(v) for k, v in mcmc.get_samples(group_by_chain=True).items()}
    ours = fit.result.draws
    pairs = [
        (ours["beta"], other["beta"]),
        (np.log(ours["sd_herd"]), np.log(other["sd"])[..., None]),
        (ours["herd"][..., 0], other["u"]),
    ]
    for one, two in pairs:
        for power in (1, 2):
            a, b = one**power, two**power
            ess = [array_stats.ess(v, chain_axis=0, draw_axis=1, method="mean") for v in (a, b)]
            error = np.sqrt(a.var(axis=(0, 1)) / ess[0] + b.var(axis=(0, 1)) / ess[1])
            z = (a.mean(axis=(0, 1)) - b.mean(axis=(0, 1))) / error
            assert np.abs(z).max() < 4.2, (power, z)


def test_laplace_with_groups_is_certified_and_agrees(draws):
    model = bg.Model(
        "cbind(incidence, size - incidence) ~ C(period) + (1 | herd)", bg.datasets.cbpp()
    )
    fit = model.fit("laplace")
    assert fit.result.options["k_hat"] < 0.5
    assert fit.result.options["verdict"] == "holds"
    one, two = fit.summary(), draws.summary()
    # 4,000 independent draws and some 800 effective ones: 4 standard errors of their difference.
    error = two["std_error"] * np.sqrt(1 / 4_000 + 1 / 800)
    assert (np.abs(one["estimate"] - two["estimate"]) < 4 * error).all()
    np.testing.assert_allclose(one["std_error"], two["std_error"], rtol=0.15)
    assert model.fit("auto", seed=1).method == "laplace"

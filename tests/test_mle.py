"""Maximum likelihood: published numbers, every optimiser under every link, invariances, bad data."""

from __future__ import annotations

import jax
import numpy as np
import optax
import pandas as pd
import pytest

import bayesglm as bg
from bayesglm.errors import Status
from bayesglm.links import LINKS

FORMULA = "y ~ x1 + x2"
ROUNDS = {"lbfgs": 1e-8, "adam": 1e-5, "gd": 1e-4}


def init():
    slopes = np.asarray(jax.random.normal(jax.random.PRNGKey(0), (2,)), float)
    return np.concatenate([[0.0], slopes])


@pytest.fixture(scope="module")
def logit(simulated):
    return bg.Model(FORMULA, simulated)


def test_logit_reference_numbers(logit):
    fit = logit.fit("mle")
    assert fit.status == Status.CONVERGED
    np.testing.assert_allclose(fit.coef, [0.3012425718, 1.5128095223, -0.8028026931], atol=2e-10)
    errors = fit.summary()["std_error"]
    np.testing.assert_allclose(errors, [0.00788605, 0.01074760, 0.00867147], atol=6e-9)
    assert fit.loss == pytest.approx(0.4949753, abs=5e-8)


def test_the_history_ends_at_the_loss(small):
    for formula in ("y ~ 1", "y ~ x1"):
        for optimizer in ("newton", "lbfgs", "adam"):
            fit = bg.Model(formula, small).fit("mle", optimizer=optimizer)
            assert fit.history[-1] == pytest.approx(fit.loss, rel=1e-12)


def test_probit_and_lpm_reference_numbers(simulated):
    probit = bg.Model(FORMULA, simulated, link="probit").fit("mle")
    np.testing.assert_allclose(probit.coef, [0.1760734641, 0.8836447513, -0.4692296619], atol=2e-10)
    lpm = bg.Model(FORMULA, simulated, family="gaussian").fit("mle")
    np.testing.assert_allclose(lpm.coef, [0.5492195270, 0.2476284733, -0.1318652394], atol=2e-10)
    assert lpm.errors["cov"] == "HC1"
    errors = lpm.summary()["std_error"]
    np.testing.assert_allclose(errors, [0.0012987, 0.0010601, 0.0012261], atol=6e-8)


def test_gradient_descent_follows_the_textbook_curve(logit):
    with pytest.warns(bg.BayesGLMWarning, match="step-limit"):
        fit = logit.fit("mle", optimizer="gd", learning_rate=0.1, steps=501, init=init())
    curve = fit.history[[0, 100, 200, 300, 400, 500]]
    np.testing.assert_allclose(curve, [1.1145, 0.5188, 0.4960, 0.4951, 0.4950, 0.4950], atol=5.1e-5)
    np.testing.assert_allclose(fit.coef, [0.2995, 1.5045, -0.7979], atol=5.1e-5)


def test_adam_and_lbfgs_reach_the_loss_in_few_steps(logit):
    with pytest.warns(bg.BayesGLMWarning, match="step-limit"):
        adam = logit.fit("mle", optimizer="adam", learning_rate=0.1, steps=101, init=init())
    assert round(float(adam.history[-1]), 4) == 0.4950
    with pytest.warns(bg.BayesGLMWarning, match="step-limit"):
        lbfgs = logit.fit("mle", optimizer="lbfgs", memory=10, steps=6, init=init())
    assert len(lbfgs.history) == 6
    assert round(float(lbfgs.history[-1]), 4) == 0.4950


def variants(frame: pd.DataFrame) -> dict[str, bg.Model]:
    return {
        "plain": {"formula": FORMULA},
        "weighted": {"formula": FORMULA, "weights": "copies"},
        "offset": {"formula": FORMULA + " + offset(known)"},
        "aggregated": {"formula": "events ~ x1 + x2", "trials": "trials"},
    }


@pytest.mark.parametrize("variant", ["plain", "weighted", "offset", "aggregated"])
@pytest.mark.parametrize("link", [*LINKS, "student_t(4)"])
def test_every_optimiser_agrees_with_newton(small, link, variant):
    words = variants(small)[variant]
    columns = [c for c in ("x1", "x2") if c in small]
    scaled = small.assign(**{c: (small[c] - small[c].mean()) / small[c].std() for c in columns})
    model = bg.Model(words.pop("formula"), scaled, link=link, **words)
    newton = model.fit("mle")
    assert newton.status == Status.CONVERGED
    for optimizer, relative in ROUNDS.items():
        fit = model.fit("mle", optimizer=optimizer)
        assert fit.status in (Status.CONVERGED, Status.STEP_LIMIT)
        assert fit.loglik == pytest.approx(newton.loglik, rel=relative), optimizer


def test_any_optax_transformation(small):
    model = bg.Model(FORMULA, small)
    # rmsprop hovers about the optimum at the size of its steps, so it ends at the limit.
    with pytest.warns(bg.BayesGLMWarning, match="step-limit"):
        fit = model.fit("mle", optimizer=optax.rmsprop(0.01), steps=2_000)
    assert fit.loglik == pytest.approx(model.fit("mle").loglik, rel=1e-4)


def test_a_step_limit_is_said_aloud(small):
    with pytest.warns(bg.BayesGLMWarning, match="step-limit"):
        fit = bg.Model(FORMULA, small).fit("mle", optimizer="gd", steps=3)
    assert fit.status == Status.STEP_LIMIT
    assert len(fit.history) == 3


def test_divergence_keeps_the_last_finite_parameters(small):
    model = bg.Model(FORMULA, small)
    with pytest.warns(bg.BayesGLMWarning, match="diverged"):
        fit = model.fit("mle", optimizer="gd", learning_rate=1.5e308, steps=50)
    assert fit.status == Status.DIVERGED
    assert np.isfinite(fit.coef).all()


def test_weight_two_is_the_row_twice_and_weight_zero_is_its_absence(small):
    repeated = small.loc[small.index.repeat(small["copies"])]
    for cov in ("nonrobust", "HC0", "HC1", "HC2", "HC3"):
        weighted = bg.Model(FORMULA, small, weights="copies").fit("mle", cov=cov)
        expanded = bg.Model(FORMULA, repeated).fit("mle", cov=cov)
        np.testing.assert_allclose(weighted.coef, expanded.coef, rtol=1e-9)
        np.testing.assert_allclose(weighted.vcov, expanded.vcov, rtol=1e-7)
    assert weighted.loss == pytest.approx(expanded.loss, rel=1e-12)
    assert weighted.nobs == int((small["copies"] > 0).sum())


def test_aggregated_data_are_the_expanded_data(small):
    rows = small.loc[small.index.repeat(small["trials"])]
    rank = rows.groupby(level=0).cumcount()
    expanded = rows.assign(y=(rank < rows["events"]).astype(int))
    for cov in ("nonrobust", "HC0", "HC1", "HC2", "HC3"):
        counts = bg.Model("events ~ x1 + x2", small, trials="trials").fit("mle", cov=cov)
        ones = bg.Model(FORMULA, expanded).fit("mle", cov=cov)
        np.testing.assert_allclose(counts.coef, ones.coef, rtol=1e-9)
        np.testing.assert_allclose(counts.vcov, ones.vcov, rtol=1e-7)
    assert counts.loss == pytest.approx(ones.loss, rel=1e-12)
    paired = bg.Model("cbind(events, trials - events) ~ x1 + x2", small).fit("mle")
    np.testing.assert_allclose(paired.coef, counts.coef, rtol=1e-12)


def test_sampling_weights_give_robust_errors_that_scaling_leaves_alone(small):
    one = bg.Model(FORMULA, small, weights="copies", weights_kind="sampling").fit("mle")
    ten = small.assign(copies=10 * small["copies"])
    other = bg.Model(FORMULA, ten, weights="copies", weights_kind="sampling").fit("mle")
    assert one.errors["cov"] == "HC1"
    np.testing.assert_allclose(one.vcov, other.vcov, rtol=1e-8)


def test_robust_errors_match_statsmodels(small):
    import statsmodels.api as sm

    design = sm.add_constant(small[["x1", "x2"]])
    groups = np.arange(len(small)) % 40
    plain = sm.Logit(small["y"], design)
    fit = bg.Model(FORMULA, small.assign(g=groups)).fit("mle")
    hc0 = plain.fit(disp=0, cov_type="HC0")
    np.testing.assert_allclose(fit.with_cov("HC0").vcov, hc0.cov_params(), rtol=1e-6)
    clustered = plain.fit(disp=0, cov_type="cluster", cov_kwds={"groups": groups})
    np.testing.assert_allclose(fit.with_cov(cluster="g").vcov, clustered.cov_params(), rtol=1e-6)
    lpm = bg.Model(FORMULA, small, family="gaussian").fit("mle")
    ols = sm.OLS(small["y"], design).fit()
    for kind in ("HC0", "HC1", "HC2", "HC3"):
        other = getattr(ols, f"cov_{kind}")
        np.testing.assert_allclose(lpm.with_cov(kind).vcov, other, rtol=1e-8)
    np.testing.assert_allclose(lpm.with_cov().vcov, ols.cov_params(), rtol=1e-8)
    assert lpm.loglik == pytest.approx(ols.llf, rel=1e-12)


def test_observed_information_matches_statsmodels_probit(small):
    import statsmodels.api as sm

    design = sm.add_constant(small[["x1", "x2"]])
    other = sm.Probit(small["y"], design).fit(disp=0, tol=1e-12)
    fit = bg.Model(FORMULA, small, link="probit").fit("mle", information="observed")
    np.testing.assert_allclose(fit.vcov, other.cov_params(), rtol=1e-6)


def test_an_optimum_on_the_boundary():
    # Under the log link P(y = 1 | x = 1) = 1 is best: all rows there are events.
    x = np.repeat([0.0, 0.5, 1.0], [40, 40, 20])
    y = np.concatenate([np.repeat([1, 0], [4, 36]), np.repeat([1, 0], [10, 30]), np.ones(20)])
    with pytest.warns(bg.BayesGLMWarning, match="boundary"):
        fit = bg.Model("y ~ x", {"x": x, "y": y.astype(int)}, link="log").fit("mle")
    assert fit.status == Status.BOUNDARY
    assert np.isnan(fit.vcov).all(axis=None)
    # On the boundary b = -a; the profile in a alone is solved by hand-written bisection.
    low, high = -10.0, -0.1

    def slope(a):
        half = np.exp(a / 2)
        return 4 - 36 * np.exp(a) / (1 - np.exp(a)) + 10 / 2 - 30 / 2 * half / (1 - half)

    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    np.testing.assert_allclose(fit.coef, [low, -low], rtol=1e-5)


def test_identity_link_has_the_share_of_events_in_each_group():
    y = np.repeat([1, 0, 1, 0], [3, 7, 8, 2])
    g = np.repeat(["a", "b"], [10, 10])
    fit = bg.Model("y ~ g", {"y": y, "g": g}, link="identity").fit("mle")
    np.testing.assert_allclose(fit.coef, [0.3, 0.5], rtol=1e-9)
    np.testing.assert_allclose(
        fit.summary()["std_error"], [np.sqrt(0.021), np.sqrt(0.021 + 0.016)], rtol=1e-9
    )


def test_impossible_fits_are_refused_with_the_column_named(small):
    x = np.linspace(-1, 1, 50)
    separated = {"x": x, "z": np.cos(9 * x), "y": (x > 0).astype(int)}
    with pytest.raises(bg.InferenceError, match=r"separate the outcome completely: x > 0"):
        bg.Model("y ~ x + z", separated).fit("mle")
    for optimizer in ("lbfgs", "adam"):
        with pytest.raises(bg.InferenceError, match="separate the outcome"):
            bg.Model("y ~ x + z", separated).fit("mle", optimizer=optimizer, tolerance=1e-6)
    with pytest.raises(bg.InferenceError, match="separate the outcome"):
        bg.Model("y ~ x + z", separated).fit("mle", batch_size=10, steps=200)
    # Quasi-complete: every row of group b is an event.
    quasi = {"g": ["a"] * 20 + ["b"] * 10, "y": [0, 1] * 10 + [1] * 10}
    for link in ("logit", "probit", "cauchit"):
        with pytest.raises(bg.InferenceError, match=r"all 10 rows with g = 'b' have the event"):
            bg.Model("y ~ g", quasi, link=link).fit("mle")
    with pytest.raises(bg.InferenceError, match=r"linear combinations.*x3 = 2 x1"):
        bg.Model("y ~ x1 + x3", small.assign(x3=2 * small["x1"])).fit("mle")
    with pytest.raises(bg.InferenceError, match=r"linear combinations.*one = 3"):
        bg.Model("y ~ x1 + one", small.assign(one=3.0)).fit("mle")
    model = bg.Model("y ~ x1", small.assign(y=0))
    with pytest.warns(bg.BayesGLMWarning, match="one-class"):
        fit = model.fit("map")
    assert np.isfinite(fit.coef).all()
    with pytest.raises(bg.InferenceError, match="no events"):
        model.fit("mle")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"optimiser": "gd"}, "optimizer"),
        ({"optimizer": "newtn"}, "newton"),
        ({"cov": "HC9"}, "HC3"),
        ({"steps": 0}, "steps"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"init": [0.0]}, "3 finite numbers"),
        ({"draws": 10}, "draws"),
        ({"starts": 3}, "single optimum"),
        ({"batch_size": 10_000}, "exceeds the rows"),
        ({"validation": 1.5}, "between 0 and 1"),
        ({"learning_rate": "fast"}, "learning_rate"),
    ],
)
def test_wrong_options_are_named(small, options, word):
    with pytest.raises(bg.BayesGLMError, match=word):
        bg.Model(FORMULA, small).fit("mle", **options)


def test_columns_of_any_scale_and_place(small):
    reference = bg.Model(FORMULA, small).fit("mle")
    moved = small.assign(x1=1e8 * small["x1"] + 1e9, x2=1e-8 * small["x2"])
    for optimizer in ("newton", "lbfgs"):
        fit = bg.Model(FORMULA, moved).fit("mle", optimizer=optimizer)
        np.testing.assert_allclose(fit.coef["x1"] * 1e8, reference.coef["x1"], rtol=1e-4)
        np.testing.assert_allclose(fit.coef["x2"] * 1e-8, reference.coef["x2"], rtol=1e-4)
        assert fit.loglik == pytest.approx(reference.loglik, rel=1e-9)


def test_single_precision_agrees(small):
    double = bg.Model(FORMULA, small).fit("mle")
    single = bg.Model(FORMULA, small, precision="float32").fit("mle")
    np.testing.assert_allclose(single.coef, double.coef, rtol=1e-3)
    np.testing.assert_allclose(single.vcov, double.vcov, rtol=1e-2)


def test_single_precision_work_of_others_changes_nothing(small):
    import jax.numpy as jnp

    before = bg.Model(FORMULA, small).fit("mle")
    assert jax.jit(lambda a: a @ a.T)(jnp.ones((3, 3))).dtype == jnp.float32
    after = bg.Model(FORMULA, small).fit("mle")
    np.testing.assert_array_equal(before.coef, after.coef)
    assert jnp.asarray(0.1).dtype == jnp.float32


def test_data_of_nearly_the_same_size_share_compiled_programs(small):
    from bayesglm.inference import newton

    bg.Model(FORMULA, small).fit("mle")
    before = newton.climb._cache_size()
    others = (
        ("y ~ x1 + x2 + known", small[:480]),
        ("y ~ x1", small.sample(490, random_state=1)),
        ("events ~ x1 + offset(known)", small.assign(events=small["y"])),
    )
    for formula, frame in others:
        bg.Model(formula, frame, weights="copies").fit("mle")
    assert newton.climb._cache_size() == before

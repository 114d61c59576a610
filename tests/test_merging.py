"""Equal rows are merged, and nobody can tell from the numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bayesglm as bg
from bayesglm import merging
from bayesglm.merging import Repeated, repeats, repeats_of_matrix

N = 3_000


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        {
            "a": pd.Categorical(rng.choice(list("abcd"), N)),
            "k": rng.integers(0, 5, N),
            "g": rng.choice(["x", "y"], N),
            "flag": rng.random(N) < 0.4,
            "clinic": rng.integers(0, 30, N),
            "exposure": rng.choice([0.0, 0.5, 1.0], N),
            "w": rng.choice([0.0, 1.0, 2.5], N),
            "t": rng.integers(1, 6, N),
        }
    )
    p = 1 / (1 + np.exp(-(0.4 * table.k - 1 + 0.5 * (table.g == "x"))))
    table["y"] = rng.binomial(1, p)
    table["s"] = rng.binomial(table.t, p)
    table["bad"] = table.t - table.s
    return table


@pytest.fixture
def unmerged(monkeypatch):
    """Return a function that makes a model without merging its rows."""

    def make(*args, **words):
        with monkeypatch.context() as patch:
            patch.setattr("bayesglm.design.repeats", lambda frame: None)
            model = bg.Model(*args, **words)
        assert isinstance(model.design.matrix, np.ndarray)
        return model

    return make


MODELS = {
    "plain": ("y ~ a * k + g + flag", {}),
    "curve": ("y ~ a + bs(k, df=3) + scale(exposure):g", {}),
    "offset": ("y ~ a + k", {"offset": "exposure"}),
    "frequency weights": ("y ~ a + k", {"weights": "w"}),
    "sampling weights": ("y ~ a + k", {"weights": "w", "weights_kind": "sampling"}),
    "trials": ("s ~ a + k", {"trials": "t"}),
    "cbind, weighted": ("cbind(s, bad) ~ a + k", {"weights": "w"}),
    "trials, sampling": ("s ~ a + k", {"trials": "t", "weights": "w", "weights_kind": "sampling"}),
    "gaussian": ("y ~ a + k", {"family": "gaussian"}),
    "gaussian, sampling": (
        "y ~ a + k",
        {"family": "gaussian", "weights": "w", "weights_kind": "sampling"},
    ),
    "cloglog": ("y ~ a + k", {"link": "cloglog"}),
    "log": ("y ~ g", {"link": "log"}),
    "no intercept": ("y ~ 0 + a + k", {"link": "probit"}),
}


@pytest.mark.parametrize("name", MODELS)
def test_mle_is_the_same(name, table, unmerged):
    formula, words = MODELS[name]
    merged, plain = bg.Model(formula, table, **words), unmerged(formula, table, **words)
    assert isinstance(merged.design.matrix, Repeated)
    assert merged.design.different <= 120
    assert str(merged.priors) == str(plain.priors)
    a, b = merged.fit("mle"), plain.fit("mle")
    assert a.target.n < 2_500
    assert b.target.n == N
    np.testing.assert_allclose(a.coef, b.coef, rtol=1e-8, atol=1e-10)
    for number in ("loglik", "loss", "aic", "bic", "deviance", "nobs"):
        np.testing.assert_allclose(getattr(a, number), getattr(b, number), rtol=1e-10)
    variants = [{"cov": cov} for cov in ("nonrobust", "HC0", "HC1", "HC2", "HC3")]
    for words in (*variants, {"information": "observed"}, {"cluster": "clinic"}):
        np.testing.assert_allclose(a.with_cov(**words).vcov, b.with_cov(**words).vcov, rtol=1e-7)
    np.testing.assert_allclose(
        merged.fit("mle", cluster="clinic").vcov, a.with_cov(cluster="clinic").vcov, rtol=1e-9
    )


@pytest.mark.parametrize("prior", ["weak", "rstanarm", "gelman", "bambi"])
def test_priors_and_map_are_the_same(prior, table, unmerged):
    formula, words = MODELS["cbind, weighted"]
    a = bg.Model(formula, table, prior=prior, **words)
    b = unmerged(formula, table, prior=prior, **words)
    np.testing.assert_allclose(a.fit("map").coef, b.fit("map").coef, rtol=1e-8)
    for one, other in zip(a.design.columns, b.design.columns, strict=True):
        assert one.kind == other.kind
        for fact in ("mean", "sd", "minimum", "maximum", "mean_rows", "sd_rows"):
            assert getattr(one, fact) == pytest.approx(getattr(other, fact), rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("optimizer", ["lbfgs", "gd", "adam"])
def test_optimisers_walk_the_same_way(optimizer, table, unmerged):
    words = {"optimizer": optimizer, "steps": 50}
    with pytest.warns(bg.BayesGLMWarning) if optimizer != "lbfgs" else _nothing():
        a = bg.Model("y ~ a + k", table).fit("mle", **words)
        b = unmerged("y ~ a + k", table).fit("mle", **words)
    np.testing.assert_allclose(a.history[:20], b.history[:20], rtol=1e-9)


def _nothing():
    import contextlib

    return contextlib.nullcontext()


def test_mini_batches_are_of_the_rows_as_they_came(table):
    with pytest.warns(bg.BayesGLMWarning):
        fit = bg.Model("y ~ a + k", table).fit("map", optimizer="adam", batch_size=100, steps=40)
    assert np.isfinite(fit.coef).all()


@pytest.mark.parametrize("method", ["laplace", "nuts"])
def test_posterior_is_the_same(method, table, unmerged):
    formula, words = MODELS["trials"]
    a = bg.Model(formula, table, **words).fit(method, seed=1)
    b = unmerged(formula, table, **words).fit(method, seed=1)
    one, other = a.summary(), b.summary()
    error = one.std_error * np.sqrt(2 / 1_000)
    # Ten means, each within 5 standard errors: a false alarm in 2e5 runs.
    assert (np.abs(one.estimate - other.estimate) < 5 * error).all()
    np.testing.assert_allclose(one.std_error, other.std_error, rtol=0.15)
    # lp has the binomial coefficients of the data, not those of merged rows.
    lp = [fit.data["sample_stats"]["lp"].mean().item() for fit in (a, b)]
    assert lp[0] == pytest.approx(lp[1], abs=1)


def test_groups_are_of_the_original_rows(table, unmerged):
    indexed = table.set_index(pd.Index(np.arange(N) * 10, name="patient"))
    formula, words = MODELS["trials"]
    fit = bg.Model(formula, indexed, **words).fit("laplace", draws=20, chains=1, seed=1)
    plain = unmerged(formula, indexed, **words).fit("laplace", draws=20, chains=1, seed=1)
    found = fit.with_groups("log_likelihood", "posterior_predictive", seed=2).data
    for group in ("log_likelihood", "posterior_predictive"):
        assert found[group]["y"].shape == (1, 20, N)
        np.testing.assert_array_equal(found[group]["obs"], indexed.index)
    # What the plain model says of the same draws.
    from bayesglm.inference.predictive import pointwise_draws

    rows = pointwise_draws(plain.target, fit.result.flat_draws.reshape(20, -1))
    np.testing.assert_allclose(found["log_likelihood"]["y"][0], rows, rtol=1e-10)
    assert fit.predict(draws=True).shape == (20, N)
    np.testing.assert_allclose(fit.predict(), fit.predict(indexed), rtol=1e-12)
    for a, b in zip(fit.predict_interval(), fit.predict_interval(indexed), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    mle = bg.Model(formula, indexed, **words).fit("mle")
    for a, b in zip(mle.predict_interval(), mle.predict_interval(indexed), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_prior_predictive_has_all_rows(table):
    found = bg.Model("y ~ a + k", table).prior_predictive(draws=10)
    assert found["prior_predictive"]["y"].shape == (1, 10, N)


def test_weight_0_is_absence(table, unmerged):
    odd = table.assign(a=table.a.astype(str), w=1.0)
    odd.loc[:99, ["a", "w"]] = ["never", 0.0]
    with_rows = bg.Model("y ~ a + k", odd, weights="w").fit("mle")
    without = bg.Model("y ~ a + k", odd.iloc[100:]).fit("mle")
    assert list(with_rows.terms) == list(without.terms)
    np.testing.assert_allclose(with_rows.coef, without.coef, rtol=1e-9)
    np.testing.assert_allclose(with_rows.vcov, without.vcov, rtol=1e-9)


def test_many_levels_stay_sparse(table, unmerged):
    rng = np.random.default_rng(2)
    many = table.assign(level=rng.integers(0, 150, N).astype(str))
    model = bg.Model("y ~ level + flag", many)
    assert isinstance(model.design.matrix, Repeated)
    assert model.design.matrix.values.nnz
    a = model.fit("map")
    b = unmerged_sparse(many).fit("map")
    np.testing.assert_allclose(a.coef, b.coef, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(a.predict(), a.predict(many), rtol=1e-12)


def unmerged_sparse(frame):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bayesglm.design.repeats", lambda frame: None)
        return bg.Model("y ~ level + flag", frame)


def test_files(table, tmp_path):
    for number, (formula, words) in enumerate(MODELS.values()):
        fit = bg.Model(formula, table, **words).fit("mle")
        fit.save(tmp_path / f"{number}.nc")
        loaded = bg.load(tmp_path / f"{number}.nc")
        assert isinstance(loaded.design.matrix, Repeated)
        np.testing.assert_array_equal(loaded.design.matrix.rows, fit.design.matrix.rows)
        np.testing.assert_allclose(loaded.predict(), fit.predict(), rtol=1e-12)
        np.testing.assert_allclose(loaded.with_cov("HC3").vcov, fit.with_cov("HC3").vcov, rtol=1e-9)


def test_arrays(table, tmp_path):
    X = np.column_stack([table.k, table.flag, table.g == "x"]).astype(float)
    model = bg.Model.from_arrays(X, table.y)
    assert isinstance(model.design.matrix, Repeated)
    assert "(20 different)" in repr(model)
    fit = model.fit("mle")
    plain = bg.Model("y ~ k + flag + I(g == 'x')", table).fit("mle")
    np.testing.assert_allclose(fit.coef, plain.coef, rtol=1e-9)
    fit.save(tmp_path / "fit.nc")
    loaded = bg.load(tmp_path / "fit.nc")
    np.testing.assert_allclose(loaded.predict(), fit.predict(), rtol=1e-12)
    np.testing.assert_allclose(loaded.predict(X), fit.predict(), rtol=1e-12)


def test_damaged_rows_in_a_file(table, tmp_path):
    import h5py

    X = np.column_stack([table.k, table.flag]).astype(float)
    bg.Model.from_arrays(X, table.y).fit("mle").save(tmp_path / "fit.nc")
    with h5py.File(tmp_path / "fit.nc", "r+") as file:
        file["bayesglm_arrays"]["matrix_rows"][7] = 10_000
    with pytest.raises(bg.StorageError, match="damaged"):
        bg.load(tmp_path / "fit.nc")


# -- finding them -------------------------------------------------------------------------------


def test_gives_up_at_once_where_rows_differ(monkeypatch):
    def never(keys):
        raise AssertionError("a sample was enough")

    monkeypatch.setattr(merging, "_grouped", never)
    rng = np.random.default_rng(0)
    for n in (999, 1_000, 50_000):
        frame = pd.DataFrame({"x": rng.standard_normal(n), "g": rng.choice(["a", "b"], n)})
        assert repeats(frame) is None
        assert repeats_of_matrix(rng.standard_normal((n, 3))) is None


def test_a_functions_own_look_at_all_rows_is_not_merged(table):
    def rank(x):
        return np.argsort(np.argsort(x, kind="stable")) / len(x)

    model = bg.Model("y ~ rank(k)", table, context={"rank": rank})
    assert isinstance(model.design.matrix, np.ndarray)


values = st.one_of(
    st.lists(st.sampled_from(["a", "b", "é", ""]), min_size=1, max_size=4),
    st.lists(st.integers(-3, 3), min_size=1, max_size=4),
    st.lists(
        st.sampled_from([0.0, -0.0, 0.1, 1e300, -1e-300, float("nan")]), min_size=1, max_size=5
    ),
    st.lists(st.booleans(), min_size=1, max_size=2),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(values, min_size=1, max_size=5), st.integers(0, 2**16), st.data())
def test_repeats_give_every_row_back(columns, seed, data):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {f"c{j}": np.array(v)[rng.integers(0, len(v), 1_200)] for j, v in enumerate(columns)}
    )
    if data.draw(st.booleans()):
        frame["c0"] = frame["c0"].astype("category")
    found = repeats(frame)
    different = len(frame.drop_duplicates())
    if found is None:
        assert different > 250
        return
    assert len(found.first) == different
    assert (np.diff(found.first) > 0).all()
    again = frame.iloc[found.first].iloc[found.rows].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, frame)


def test_many_keys_do_not_overflow():
    rng = np.random.default_rng(0)
    base = pd.DataFrame(rng.integers(0, 10**6, (50, 30))).add_prefix("c")
    frame = base.iloc[rng.integers(0, 50, 2_000)].reset_index(drop=True)
    found = repeats(frame)
    assert len(found.first) == 50
    pd.testing.assert_frame_equal(
        frame.iloc[found.first].iloc[found.rows].reset_index(drop=True), frame
    )

"""Networks beside the linear part: the same model, its answers, and what is refused."""

from __future__ import annotations

import copy
import pickle
import warnings

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from flax import nnx
from scipy import stats

import bayesglm as bg
from bayesglm import networks
from bayesglm.errors import Status
from bayesglm.inference.evaluation import evaluate
from bayesglm.inference.predictive import pointwise_draws

# Training is cut short in many tests here, and says so.
short = pytest.mark.filterwarnings("ignore:.*step-limit:bayesglm.BayesGLMWarning")


@pytest.fixture(scope="module")
def wave() -> pd.DataFrame:
    """400 rows, p a wave of x1; x2 and g say nothing."""
    rng = np.random.default_rng(1)
    n = 400
    x1, x2 = rng.uniform(-2, 2, size=(2, n))
    y = rng.binomial(1, 1 / (1 + np.exp(-2 * np.sin(2 * x1))))
    return pd.DataFrame({"x1": x1, "x2": x2, "g": rng.choice(["a", "b"], n), "y": y})


@pytest.fixture(scope="module")
def model(wave):
    network = bg.Network("~ x1 + x2 + g", hidden=(8,), activation="tanh")
    return bg.Model("y ~ x1 + g", wave, add=[network])


@pytest.fixture(scope="module")
def mode(model):
    return model.fit("map", seed=1)


def xor(n, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(-1, 1, size=(2, n))
    p = np.where(a * b > 0, 0.95, 0.05)
    return pd.DataFrame({"a": a, "b": b, "y": rng.binomial(1, p)})


def moons(n, seed):
    """Two interleaved half circles of radius 1, with noise of sd 0.15."""
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=n)
    angle = rng.uniform(0, np.pi, n)
    a = np.where(y == 0, np.cos(angle), 1 - np.cos(angle))
    b = np.where(y == 0, np.sin(angle), 0.5 - np.sin(angle))
    return pd.DataFrame({"a": a + rng.normal(0, 0.15, n), "b": b + rng.normal(0, 0.15, n), "y": y})


def log_score(fit, data):
    p = fit.predict(data)
    return float(np.mean(np.log(np.where(data["y"] == 1, p, 1 - p))))


# -- the model ---------------------------------------------------------------------------------


def test_the_density_is_the_one_written_by_hand(wave, model, mode):
    target = mode.target
    numbers = evaluate(target, mode.result.flat)
    w = mode.result.weights
    raw = np.column_stack([wave["x1"], wave["x2"], wave["g"] == "b"]).astype(float)
    z = (raw - raw.mean(0)) / raw.std(0)
    hidden = np.tanh(z @ w["network.hidden_0.kernel"] + w["network.hidden_0.bias"])
    f = (hidden @ w["network.output.kernel"] + w["network.output.bias"])[:, 0]
    C = np.column_stack([np.ones(len(wave)), raw[:, 0], raw[:, 2]])
    f = f - C @ np.linalg.lstsq(C, f, rcond=None)[0]
    eta = C @ mode.coef.to_numpy() + f
    loglik = np.sum(np.where(wave["y"] == 1, -np.logaddexp(0, -eta), -np.logaddexp(0, eta)))
    assert numbers["loglik"] == pytest.approx(loglik, rel=1e-9)
    np.testing.assert_allclose(mode.predict(kind="link"), eta, rtol=1e-8, atol=1e-8)

    centred = mode.coef["Intercept"] + C[:, 1:].mean(0) @ mode.coef[["x1", "g[T.b]"]]
    prior = stats.norm.logpdf(centred, 0, 1.5)
    prior += stats.norm.logpdf(mode.coef["x1"], 0, 1.5 / raw[:, 0].std())
    prior += stats.norm.logpdf(mode.coef["g[T.b]"], 0, 1.5)
    # Of a hidden unit under the prior: tanh² of a normal with variance 2² + 1.
    mean_square = stats.norm(0, np.sqrt(5)).expect(lambda v: np.tanh(v) ** 2)
    prior += stats.norm.logpdf(0) * (target.structure.predictors[0].size - 2)  # padding at 0
    for name, scale in (
        ("hidden_0.kernel", 2 / np.sqrt(3)),
        ("hidden_0.bias", 1),
        ("output.kernel", 2.5 / np.sqrt(8 * mean_square)),
        ("output.bias", 1.5),
    ):
        prior += stats.norm.logpdf(w[f"network.{name}"], 0, scale).sum()
    assert numbers["log_posterior"] == pytest.approx(loglik + prior, rel=1e-6)


def test_a_network_of_one_layer_is_the_logistic_regression(wave):
    linear = bg.Model("y ~ x1 + x2", wave, prior="flat").fit("mle")
    single = bg.Model("y ~ 0", wave, add=[bg.Network("~ x1 + x2", hidden=())])
    with pytest.warns(bg.BayesGLMWarning, match="local"):
        fit = single.fit("mle", optimizer="lbfgs")
    assert fit.loglik == pytest.approx(linear.loglik, rel=1e-8)
    np.testing.assert_allclose(fit.predict(), linear.predict(), rtol=1e-4)
    # And its curvature: the same errors, when the prior is the same.
    sd = wave[["x1", "x2"]].std(ddof=0)
    prior = {"Intercept": dist.Normal(0, 1), "x1": dist.Normal(0, 1 / sd["x1"]),
             "x2": dist.Normal(0, 1 / sd["x2"])}  # fmt: skip
    one = bg.Model("y ~ x1 + x2", wave, prior=prior).fit("map")
    network = bg.Network("~ x1", hidden=(), prior=dist.Normal(0, 1), orthogonal=False)
    two = bg.Model("y ~ 0 + x2c", wave.assign(x2c=wave["x2"] - wave["x2"].mean()), add=[network],
                   prior={"x2c": dist.Normal(0, 1 / sd["x2"])}).fit("map", optimizer="lbfgs")  # fmt: skip
    assert two.coef["x2c"] == pytest.approx(one.coef["x2"], rel=1e-4)
    assert two.vcov.iloc[0, 0] == pytest.approx(one.vcov.loc["x2", "x2"], rel=1e-4)


@pytest.mark.parametrize("slope", ["dydx", "eyex", "eydx", "dyex"])
@pytest.mark.parametrize("by", [None, True, "x2"])
def test_slopes_through_a_network_of_one_layer_are_those_of_a_line(wave, slope, by):
    # eta = a + b x1 + c x2, so that the slope of every row has a closed form.
    wave = wave.assign(x2=np.round(wave["x2"]))
    fit = bg.Model("y ~ 0", wave, add=[bg.Network("~ x1 + x2", hidden=())]).fit("map")
    x, p = wave["x1"].to_numpy(), fit.predict()
    eta = [fit.predict(wave.assign(x1=value), kind="link") for value in (0.0, 1.0)]
    hand = p * (1 - p) * (eta[1] - eta[0])
    hand = hand / p if slope[0] == "e" else hand
    hand = pd.Series(hand * x if slope[2:] == "ex" else hand)
    if by == "x2":
        hand = hand.groupby(wave["x2"].to_numpy()).mean()
    elif by:
        hand = pd.Series([hand.mean()])
    table = bg.slopes(fit, "x1", by=by, slope=slope)
    np.testing.assert_allclose(table["estimate"], hand, rtol=1e-6, atol=1e-9)
    assert table["std_error"].isna().all()
    assert "difference of p, step" in table.notes[0]


def test_the_network_gains_nothing_where_the_data_are_linear(simulated):
    model = bg.Model("y ~ 0", simulated, add=[bg.Network("~ x1 + x2", hidden=(10,))])
    with pytest.warns(bg.BayesGLMWarning, match=r"local and\s+unpenalised"):
        fit = model.fit("mle", optimizer="adam", learning_rate=0.1, steps=101)
    assert len(fit.history) == 101
    assert fit.history[-1] == pytest.approx(fit.loss, rel=1e-12)
    with pytest.warns(bg.BayesGLMWarning, match="step-limit"):
        begin = model.fit("mle", optimizer="adam", learning_rate=1e-12, steps=1, starts=1)
    assert begin.loss == pytest.approx(np.log(2), abs=0.02)
    assert round(fit.loss, 4) == pytest.approx(0.4950, abs=1.01e-4)


@pytest.mark.parametrize("shape", [xor, moons])
def test_the_network_gains_much_where_they_are_not(shape):
    train, test = shape(600, 1), shape(600, 2)
    linear = bg.Model("y ~ a + b", train).fit("map")
    network = bg.Model("y ~ a + b", train, add=[bg.Network("~ a + b", hidden=(10,))])
    # Natural logarithms a row: the linear model is at log(2) on XOR.
    assert log_score(network.fit("map"), test) > log_score(linear, test) + 0.1


def test_wider_intervals_off_the_data():
    data = moons(200, 1)
    model = bg.Model("y ~ 0", data, add=[bg.Network("~ a + b", hidden=(8,), activation="tanh")])
    with warnings.catch_warnings():
        # Two short chains: the convergence of so many rows is not the question here.
        warnings.simplefilter("ignore", bg.BayesGLMWarning)
        fit = model.fit("nuts", draws=300, warmup=300, chains=2, seed=1)
    far = {"a": [-3.0, 4.0, 0.5, 0.5, -2.0, 3.0], "b": [0.2, 0.2, -3.5, 4.0, -2.0, 3.0]}
    ends = [np.quantile(fit.predict(rows, "link", draws=True), [0.05, 0.95], axis=0)
            for rows in (data, far)]  # fmt: skip
    near, off = (np.ptp(pair, axis=0) for pair in ends)
    assert np.median(off) > 1.5 * np.median(near)
    # In the two directions that no class claims, p itself is anyone's guess.
    _, lower, upper = fit.predict_interval({"a": [-2.0, 3.0], "b": [-2.0, 3.0]})
    assert (upper - lower > 0.8).all()


@pytest.mark.slow
def test_probabilities_of_a_2_8_1_network_converge_and_cover():
    grid = pd.DataFrame(np.stack(np.meshgrid(*[np.linspace(-1.9, 1.9, 15)] * 2), -1).reshape(-1, 2))
    grid.columns = ["a", "b"]

    def truth(data):
        return 1 / (1 + np.exp(-(1.5 * np.sin(1.5 * data["a"]) - 0.8 * data["b"])))

    # The points of a grid are right or wrong together, so that one data set says little.
    covered = []
    for seed in (3, 4, 5):
        rng = np.random.default_rng(seed)
        data = pd.DataFrame(rng.uniform(-2, 2, size=(2, 500)).T, columns=["a", "b"])
        data["y"] = rng.binomial(1, truth(data))
        network = bg.Network("~ a + b", hidden=(8,), activation="tanh")
        fit = bg.Model("y ~ 0", data, add=[network]).fit("nuts", draws=600, warmup=500, seed=1)
        _, lower, upper = fit.predict_interval(grid, level=0.9)
        covered.append(np.mean((lower <= truth(grid)) & (truth(grid) <= upper)))
        table = fit.summary()
        assert (table["r_hat"] < 1.02).all()
        assert set(table["scale"]) == {"probability"}
        assert "r-hat" not in {finding.code for finding in fit.findings}
    assert 0.80 <= np.mean(covered) <= 0.98


# -- a readable linear part --------------------------------------------------------------------


@short
def test_the_network_is_orthogonal_to_what_it_shares(wave):
    weights = np.random.default_rng(2).integers(0, 4, len(wave))
    network = bg.Network("~ x1 + x2", hidden=(6,))
    model = bg.Model("y ~ x1 + g", wave, weights=weights, add=[network])
    fit = model.fit("map", steps=200)
    X = np.column_stack([np.ones(len(wave)), wave["x1"], wave["g"] == "b"])
    f = fit.predict(kind="link") - X @ fit.coef.to_numpy()
    # Against the constant and x1, which it sees, but not against g, which it does not.
    np.testing.assert_allclose(X[:, :2].T @ (weights * f), 0, atol=1e-7)
    assert abs(X[:, 2] @ (weights * f)) > 1e-3
    assert np.abs(f).max() > 0.1
    # New rows use the projection of the training rows, not their own.
    np.testing.assert_allclose(fit.predict(wave[:3]), fit.predict()[:3], rtol=1e-10)
    np.testing.assert_allclose(fit.predict(wave[:1]), fit.predict()[:1], rtol=1e-10)


@pytest.mark.slow
def test_beta_is_the_projection_of_eta_and_adjusts_without():
    """20 seeds; a calibrated error is beyond 3 in 0.27 %, two of 40 in 0.5 % of such tests."""
    shared, adjusted, plain = [], [], []
    for seed in range(20):
        rng = np.random.default_rng(100 + seed)
        x1, x2 = rng.uniform(-2, 2, size=(2, 1_000))
        eta = 0.3 + 0.8 * x1 + np.sin(2 * x1) + 0.5 * x2**2 - 0.6
        C = np.column_stack([np.ones(1_000), x1])
        truth = np.linalg.lstsq(C, eta, rcond=None)[0]
        data = {"x1": x1, "x2": x2, "y": rng.binomial(1, 1 / (1 + np.exp(-eta)))}
        network = bg.Network("~ x1 + x2", activation="tanh")
        fit = bg.Model("y ~ x1", data, add=[network]).fit("map", steps=500)
        shared.append((fit.coef - truth) / fit.summary()["std_error"][:2])

        # The treatment follows x1; its effect given x1 is 0.7.
        treated = rng.binomial(1, 1 / (1 + np.exp(-1.5 * np.sin(2 * x1))))
        eta = 0.7 * treated + 1.5 * np.sin(2 * x1)
        data = {"x1": x1, "t": treated, "y": rng.binomial(1, 1 / (1 + np.exp(-eta)))}
        network = bg.Network("~ x1", activation="tanh", orthogonal=False)
        fit = bg.Model("y ~ t", data, add=[network]).fit("map", steps=500)
        adjusted.append((fit.coef["t"] - 0.7) / fit.summary()["std_error"]["t"])
        plain.append(bg.Model("y ~ t", data).fit("mle").coef["t"])
    assert np.sum(np.abs(shared) > 3) <= 1
    assert np.sum(np.abs(adjusted) > 3) <= 1
    assert np.mean(plain) > 1.2  # what is not adjusted for is taken for an effect


@short
def test_weight_two_is_the_row_twice(wave, model):
    copies = np.random.default_rng(5).integers(0, 3, len(wave))
    repeated = wave.loc[wave.index.repeat(copies)]
    one = bg.Model("y ~ x1 + g", wave, weights=copies, add=model.spec.add)
    two = bg.Model("y ~ x1 + g", repeated, add=model.spec.add)
    fits = [m.fit("map", steps=100, seed=3) for m in (one, two)]
    np.testing.assert_allclose(fits[0].history, fits[1].history, rtol=1e-6)
    np.testing.assert_allclose(fits[0].predict(wave), fits[1].predict(wave), rtol=1e-5)


# -- modules and priors ------------------------------------------------------------------------


class Tutorial(nn.Module):
    """A module as in any tutorial."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(10)(x)
        x = nn.relu(x)
        return nn.Dense(1)(x)


class Modern(nnx.Module):
    def __init__(self, width, *, rngs):
        self.first = nnx.Linear(2, width, rngs=rngs)
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.last = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x):
        return self.last(nnx.tanh(self.norm(self.first(x))))[:, 0]


@pytest.mark.parametrize("module", [Tutorial(), Modern(6, rngs=nnx.Rngs(0))])
def test_modules_of_the_user(module):
    train, test = xor(500, 1), xor(300, 2)
    model = bg.Model("y ~ 0", train, add=[bg.Network("~ a + b", module=module)])
    fit = model.fit("map", starts=2, seed=1)
    assert log_score(fit, test) > -0.55  # a coin says log(1/2) = -0.69
    assert all("/" not in name for name in fit.result.weights)
    again = pickle.loads(pickle.dumps(fit))
    np.testing.assert_array_equal(again.predict(test), fit.predict(test))
    np.testing.assert_array_equal(copy.deepcopy(fit).predict(test), fit.predict(test))


def test_the_prior_of_p_does_not_depend_on_the_width(wave):
    quantiles = [
        bg.Model("y ~ 0", wave, add=[bg.Network("~ x1 + x2", hidden=hidden)])
        for hidden in ((3,), (30,), (30, 30))
    ]
    implied = np.array([m.priors.implied_quantiles(2_000) for m in quantiles])
    assert np.ptp(implied, axis=0).max() < 0.05
    assert (implied[:, 0] > 0.005).all()
    table = quantiles[1].priors.table()
    # A rectified normal with variance 5 has the mean square 5 / 2.
    assert table.loc["network.output.kernel", "scale"] == pytest.approx(
        2.5 / np.sqrt(30 * 2.5), 1e-3
    )
    assert "network.hidden_0.kernel  Normal(0, 1.414)" in repr(quantiles[1].priors)
    tree = quantiles[0].prior_predictive(50)
    assert tree["prior"]["network.hidden_0.kernel"].shape == (1, 50, 2, 3)


def test_priors_of_the_user(wave):
    def prior(name, shape):
        return dist.Laplace(0.0, 0.3) if name == "hidden_0.kernel" else dist.Normal(0.0, len(shape))

    network = bg.Network("~ x1", hidden=(3,), prior=prior)
    table = bg.Model("y ~ x2", wave, add=[network]).priors.table()
    assert table.loc["network.hidden_0.kernel", "distribution"] == "Laplace(0, 0.3)"
    assert table.loc["network.output.kernel", "distribution"] == "Normal(0, 2)"
    for bad in (
        lambda name, shape: 3.0,
        dist.Bernoulli(0.5),
        dist.Normal(np.zeros(3), 1).to_event(1),
    ):
        with pytest.raises(bg.SpecificationError, match="continuous scalar distribution"):
            bg.Model("y ~ x2", wave, add=[bg.Network("~ x1", prior=bad)])


# -- training ----------------------------------------------------------------------------------


@short
def test_every_way_of_training_ends_near_the_same_loss(model, mode):
    ways = {
        "batches": {"batch_size": 64, "steps": 2_000, "starts": 4},
        "lbfgs": {"optimizer": "lbfgs", "tolerance": 1e-5},
    }
    for name, options in ways.items():
        fit = model.fit("map", seed=1, **options)
        assert fit.result.log_posterior == pytest.approx(mode.result.log_posterior, abs=4), name
        assert np.abs(fit.predict() - mode.predict()).mean() < 0.05, name


@short
def test_of_several_starts_the_best_is_kept(model):
    single = model.fit("map", steps=300, seed=2, starts=1).result.log_posterior
    several = model.fit("map", steps=300, seed=2, starts=6).result.log_posterior
    assert several > single + 1  # the first start is one of the six, and not the best here


@short
def test_an_ensemble_is_a_mixture(model, wave):
    fit = model.fit("map", ensemble=3, steps=200)
    each = fit.predict(wave[:5], draws=True)
    assert each.shape == (3, 5)
    np.testing.assert_allclose(fit.predict(wave[:5]), each.mean(axis=0))
    estimate, lower, upper = fit.predict_interval(wave[:5])
    assert (lower < estimate).all()
    assert (estimate < upper).all()


def test_early_stopping_keeps_the_best_on_the_held_out_rows():
    rng = np.random.default_rng(0)
    noise = pd.DataFrame(rng.normal(size=(120, 4)), columns=list("abcd"))
    noise["y"] = rng.integers(2, size=120)
    network = bg.Network("~ a + b + c + d", hidden=(50,))
    model = bg.Model("y ~ 1", noise, add=[network])
    with pytest.warns(bg.BayesGLMWarning, match="local"):
        free = model.fit("mle", steps=1_000, learning_rate=0.05)
    with pytest.warns(bg.BayesGLMWarning, match="local"):
        held = model.fit("mle", steps=1_000, learning_rate=0.05, validation=0.3, patience=3)
    assert held.status == Status.STOPPED_EARLY
    assert "stopped-early" in [finding.code for finding in held.findings]
    assert len(held.history) < 1_000
    # The free one learns the noise by heart.
    assert free.loss < 0.1
    assert held.loss > 0.4


def test_training_that_diverges_keeps_the_last_finite_parameters(model):
    with pytest.warns(bg.BayesGLMWarning, match="learning_rate"):
        fit = model.fit("map", optimizer="gd", learning_rate=1e200, steps=60)
    assert fit.status == Status.DIVERGED
    assert np.isfinite(fit.predict()).all()


def test_mini_batches_for_a_linear_model(small):
    exact = bg.Model("y ~ x1 + x2", small).fit("mle")
    fit = bg.Model("y ~ x1 + x2", small).fit("mle", batch_size=100, steps=2_000)
    np.testing.assert_allclose(fit.coef, exact.coef, atol=0.1)
    np.testing.assert_allclose(fit.summary()["std_error"], exact.summary()["std_error"], rtol=0.02)


# -- answers -----------------------------------------------------------------------------------


def test_the_summary_shows_what_inputs_do_to_p(model, mode, wave):
    table = mode.summary()
    assert list(table["scale"]) == ["link"] * 3 + ["probability"] * 3
    low, high = np.quantile(wave["x1"], [0.25, 0.75], method="inverted_cdf")
    # 400 rows: every second one is looked at.
    rows = wave.iloc[np.unique(np.linspace(0, 399, 200).astype(int))]
    change = mode.predict(rows.assign(x1=high)) - mode.predict(rows.assign(x1=low))
    assert table.loc[f"x1: {low:.4g} to {high:.4g}", "estimate"] == pytest.approx(change.mean())
    assert "g: a to b" in table.index
    odds = mode.summary(exponentiate=True)
    assert odds.loc["x1", "estimate"] == pytest.approx(np.exp(mode.coef["x1"]))
    assert "network(~ x1 + x2 + g)" in str(mode)


@short
def test_files_keep_networks(model, mode, wave, tmp_path):
    path = tmp_path / "fit.nc"
    for fit in (mode, model.fit("map", ensemble=2, steps=50)):
        fit.save(path)
        loaded = bg.load(path)
        np.testing.assert_array_equal(loaded.predict(wave[:9]), fit.predict(wave[:9]))
        assert str(loaded) == str(fit)
        assert repr(loaded.priors) == repr(fit.priors)
    with pytest.raises(bg.StorageError, match="saved with its data"):
        mode.save(path, data=False)
    own = bg.Model("y ~ 0", wave, add=[bg.Network("~ x1 + x2", module=Tutorial(), name="net")])
    fit = own.fit("map", steps=50)
    fit.save(path)
    with pytest.raises(bg.StorageError, match=r"custom=\{'net': module\}"):
        bg.load(path)
    loaded = bg.load(path, custom={"net": Tutorial()})
    np.testing.assert_array_equal(loaded.predict(wave[:9]), fit.predict(wave[:9]))


def test_arviz_and_groups(model):
    import arviz as az

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bg.BayesGLMWarning)  # a short run
        fit = model.fit("nuts", draws=150, warmup=150, chains=2, seed=1)
    full = fit.with_groups("posterior_predictive", "log_prior")
    assert full.data["posterior"]["network.hidden_0.kernel"].shape == (2, 150, 3, 8)
    rows = full.data["log_likelihood"]["y"].to_numpy().reshape(300, -1)
    p = fit.predict(draws=True)
    np.testing.assert_allclose(rows, np.log(np.where(model.design.y == 1, p, 1 - p)), atol=1e-9)
    assert np.isfinite(az.loo(fit.data).elpd)
    flat = fit.result.flat_draws.reshape(300, -1)
    np.testing.assert_allclose(pointwise_draws(fit.target, flat[:7]), rows[:7])


@pytest.mark.parametrize(
    "words",
    [
        {"family": "gaussian"},
        pytest.param({"link": "probit", "offset": "known"}, marks=pytest.mark.slow),
        pytest.param({"link": "cloglog", "precision": "float32"}, marks=pytest.mark.slow),
        pytest.param({"weights": "w", "weights_kind": "sampling"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_other_families_offsets_and_precision(wave, words):
    network = bg.Network("~ x1", hidden=(4,), activation="tanh")
    data = wave.assign(known=0.3 * wave["x2"], w=2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bg.BayesGLMWarning)  # pseudo-likelihood
        fit = bg.Model("y ~ x2", data, add=[network], **words).fit("map", steps=300)
    assert fit.status in (Status.CONVERGED, Status.STEP_LIMIT)
    residual = wave["y"] - fit.predict()
    assert abs(np.corrcoef(residual, np.sin(2 * wave["x1"]))[0, 1]) < 0.15
    assert np.isfinite(fit.summary()["std_error"][:2]).all()


# -- what is refused ---------------------------------------------------------------------------


class TwoOutputs(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(x)


class WithState(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(nn.BatchNorm(use_running_average=False)(x))


class Broken(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(x @ jnp.ones((7, 2)))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"module": TwoOutputs()}, r"input_shape=\(3, 2\), output_shape=\(3, 2\)"),
        ({"module": WithState()}, "batch_stats"),
        ({"module": Broken()}, "fails on 2 inputs"),
        ({"module": Tutorial}, "MyModule"),
        ({"module": 3}, "instance of a flax"),
        ({"activation": "rleu"}, 'did you mean "relu"'),
        ({"hidden": (0,)}, "widths"),
        ({"hidden": "ten"}, "widths"),
        ({"name": "a/b"}, "plain word"),
        ({"name": "beta"}, "plain word"),
        ({"prior": "weak"}, "NumPyro distribution"),
    ],
)
def test_wrong_networks_are_refused(wave, words, message):
    with pytest.raises(bg.SpecificationError, match=message):
        bg.Model("y ~ 0", wave, add=[bg.Network("~ x1 + x2", **words)])


def test_wrong_inputs_are_refused(wave, model, mode):
    for formula, message in (
        ("x1 + x2", "right side only"),
        ("y ~ x1", "right side only"),
        ("~ 1", "at least one column"),
        ("~ x1 + offset(x2)", "no offset"),
        ("~ x3", "x3"),
        ("~ __import__('os')", "not allowed"),
        ("~ x1 + y", "both sides|stands on the right"),
    ):
        with pytest.raises(bg.BayesGLMError, match=message):
            bg.Model("y ~ 0", wave, add=[bg.Network(formula)])
    with pytest.raises(bg.SpecificationError, match="add takes networks"):
        bg.Model("y ~ 0", wave, add=["~ x1"])
    with pytest.raises(bg.DataError, match=r"x2 \(1\)"):
        bg.Model("y ~ 0", wave.assign(x2=wave["x2"].where(wave.index > 0)), add=model.spec.add)
    with pytest.raises(bg.DataError, match="levels"):
        mode.predict({"x1": 0.0, "x2": 0.0, "g": "c"})
    with pytest.raises(bg.SpecificationError, match="batch_size exceeds"):
        model.fit("map", batch_size=10_000)
    with pytest.raises(bg.SpecificationError, match="first-order"):
        model.fit("map", batch_size=10, optimizer="lbfgs")


def test_standard_errors_of_a_networks_likelihood_are_refused(model):
    with pytest.warns(bg.BayesGLMWarning, match="no standard errors"):
        fit = model.fit("mle", steps=20, starts=1)
    assert fit.summary()["std_error"].isna().all()
    for refused in (lambda: fit.with_cov("HC1"), lambda: model.fit("mle", cluster="g")):
        with pytest.raises(bg.SpecificationError, match="no standard errors"):
            refused()


def test_without_flax_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(networks, "find_spec", lambda name: None)
    with pytest.raises(bg.SpecificationError, match=r'pip install "bayesglm\[neural\]"'):
        bg.Network("~ x1")


@short
def test_two_networks_get_names_of_their_own(wave):
    add = [bg.Network("~ x1", hidden=(3,)), bg.Network("~ x2", hidden=(2,))]
    model = bg.Model("y ~ 1", wave, add=add)
    assert [network.name for network in model.spec.add] == ["network", "network_2"]
    fit = model.fit("map", steps=50)
    assert {"network.output.kernel", "network_2.output.kernel"} <= set(fit.result.weights)

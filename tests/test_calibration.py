"""Simulation-based calibration: right posteriors pass, wrong ones do not.

The slow test is the evidence that `laplace` and `nuts` draw from the posterior. False alarms, for
new seeds: 1e-3 for the chi-square tests of all models and quantities together, 1e-3 for their bands
(each by Bonferroni).
"""

from __future__ import annotations

import logging
from types import SimpleNamespace

import jax
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from scipy import stats

import bayesglm as bg
from bayesglm import replications
from bayesglm.inference.evaluation import named_draws
from bayesglm.uniformity import uniformity

real_run = replications.run


def table(n: int, seed: int = 1) -> pd.DataFrame:
    """A numeric and a two-valued column; the outcome is of no effect."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {"x": rng.normal(size=n), "g": rng.integers(0, 2, size=n), "y": np.arange(n) % 2}
    )


def normal(intercept: float = 1.5, x: float = 1.0, g: float = 1.0) -> dict[str, dist.Distribution]:
    scales = {"Intercept": intercept, "x": x, "g": g}
    return {name: dist.Normal(0.0, scale) for name, scale in scales.items()}


# -- ranks against distributions that are known --------------------------------------------------


def test_bands_hold_as_often_as_they_say():
    """2,000 sets of uniform ranks: share inside within 4 sd (a false alarm in 16,000)."""
    rng = np.random.default_rng(3)
    for n, draws in ((40, 19), (300, 99)):
        ranks = pd.DataFrame(rng.integers(0, draws + 1, size=(n, 2_000)))
        # Bonferroni: 0.9 for each of the columns.
        found = uniformity(ranks, draws, level=1 - 0.1 * 2_000 + 1e-9)
        share = found["inside"].mean()
        # Of n ranks few numbers are possible, so the bands are a little wider than asked.
        assert 0.9 - 4 * np.sqrt(0.09 / 2_000) < share < 0.95
        assert stats.kstest(found["p_value"], "uniform").statistic < 0.06


class Grid:
    """The posterior of an intercept alone by a grid, written without the package."""

    def __init__(self, shrink: float = 1.0, location: float = 0.0) -> None:
        self.points = np.linspace(-8, 8, 4_001)
        self.shrink, self.location = shrink, location

    def __call__(self, target, method, options, *, seed):
        rng = np.random.default_rng(seed)
        y = np.asarray(target.data.y)[: target.n]
        density = stats.norm.logpdf(self.points, self.location, 1.0)
        density += y.sum() * self.points - len(y) * np.logaddexp(0, self.points)
        weights = np.exp(density - density.max())
        draws = rng.choice(self.points, options["draws"], p=weights / weights.sum())
        draws = draws + rng.uniform(-0.002, 0.002, size=draws.shape)
        draws = draws.mean() + self.shrink * (draws - draws.mean())
        flat = np.zeros((1, len(draws), target.size))
        flat[0, :, 0] = draws
        return SimpleNamespace(
            method="grid",
            flat_draws=flat,
            draws={"Intercept": draws[None], "beta": np.empty((1, len(draws), 0))},
            certified=False,
            options={},
            sample_stats={},
            findings=(),
        )


@pytest.fixture
def intercept_alone():
    data = pd.DataFrame({"y": [0, 1] * 5})
    return bg.Model("y ~ 1", data, prior={"Intercept": dist.Normal(0.0, 1.0)})


def test_exact_posterior_has_uniform_ranks(intercept_alone, monkeypatch):
    """False alarm: 1e-3 for the bands, 2e-4 for the p-values."""
    monkeypatch.setattr(replications, "run", Grid())
    found = bg.simulation_based_calibration(intercept_alone, replications=500, level=0.999)
    assert found.uniform
    assert not found.findings
    assert (found.table["p_value"] > 1e-4).all()
    assert list(found.table.index) == ["Intercept", "log_likelihood"]
    assert found.ranks.shape == (500, 2)
    assert found.ranks.to_numpy().min() >= 0
    assert found.ranks.to_numpy().max() <= found.draws == 999


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"shrink": 0.8}, "too narrow"), ({"shrink": 1.25}, "too wide"), ({"location": 1.0}, "below")],
)
def test_wrong_posterior_is_caught(intercept_alone, monkeypatch, wrong, words):
    monkeypatch.setattr(replications, "run", Grid(**wrong))
    with pytest.warns(bg.BayesGLMWarning, match="posteriors of Intercept are wrong"):
        found = bg.simulation_based_calibration(intercept_alone, replications=1_500)
    assert not found.uniform
    assert found.table.loc["Intercept", "p_value"] < 1e-5
    codes = [f.code for f in found.findings if f.severity == "error"]
    assert set(codes) == {"not-uniform"}
    assert words in found.findings[0].message


# -- the road of a fit ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    return bg.Model("y ~ x + g", table(60), prior=normal())


def altered(change):
    """Return a run whose draws were changed after the fit."""

    def run(target, method, options, *, seed):
        result = real_run(target, method, options, seed=seed)
        flat = change(result.flat_draws)
        put = {"flat_draws": flat, "draws": named_draws(target, flat)}
        return SimpleNamespace(**{**vars(result), "certified": result.certified, **put})

    return run


def test_laplace_passes_and_half_as_wide_does_not(model, monkeypatch):
    """False alarm of the first half: 1e-3."""
    right = bg.simulation_based_calibration(model, "laplace", replications=200, level=0.999)
    assert right.uniform
    assert right.failed == 0
    assert right.certified.all()
    assert list(right.ranks.columns) == ["Intercept", "x", "g", "log_likelihood"]

    def narrow(flat):
        centre = flat.mean(axis=(0, 1))
        return centre + 0.8 * (flat - centre)

    monkeypatch.setattr(replications, "run", altered(narrow))
    with pytest.warns(bg.BayesGLMWarning, match="too narrow"):
        wrong = bg.simulation_based_calibration(model, "laplace", replications=400)
    assert not wrong.uniform


def test_the_prior_for_a_posterior_is_seen_by_the_log_likelihood_alone(model, monkeypatch):
    def prior(flat):
        rng = np.random.default_rng(int(abs(flat[0, 0, 0]) * 1e9))
        found = np.zeros_like(flat)
        z = rng.normal(size=(*flat.shape[:2], 3)) * [1.5, 1.0, 1.0]
        # The intercept's prior speaks of centred columns: flat coordinates.
        found[..., :3] = z
        return found

    monkeypatch.setattr(replications, "run", altered(prior))
    with pytest.warns(bg.BayesGLMWarning, match="posteriors of log_likelihood are wrong"):
        found = bg.simulation_based_calibration(model, replications=200, level=0.999)
    assert found.table["inside"].to_dict() == {
        "Intercept": True,
        "x": True,
        "g": True,
        "log_likelihood": False,
    }


def test_same_seed_same_ranks_and_nothing_is_compiled_again(model, caplog):
    words = {"replications": 20, "draws": 99}
    first = bg.simulation_based_calibration(model, seed=5, **words)
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        again = bg.simulation_based_calibration(model, seed=5, **words)
        other = bg.simulation_based_calibration(model, seed=6, **words)
    assert not [r for r in caplog.records if "Compiling" in r.getMessage()]
    pd.testing.assert_frame_equal(first.ranks, again.ranks)
    assert (first.ranks != other.ranks).any(axis=None)


def test_nuts_thins_its_chains(model):
    found = bg.simulation_based_calibration(model, "nuts", replications=25, chains=2)
    assert found.draws == 199
    assert found.ranks.shape == (25, 4)
    assert not [f for f in found.findings if f.code in ("correlated", "failed")]
    with pytest.warns(bg.BayesGLMWarning, match="correlation"):
        # Ten draws after a warm-up of one step: no draw has moved far.
        bg.simulation_based_calibration(
            *(model, "nuts"), replications=25, draws=50, thin=1, chains=1, warmup=0
        )


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("y ~ x + g", {"weights": "w"}),
        ("cbind(y, t - y) ~ x + offset(o)", {}),
        ("y ~ x", {"family": "gaussian", "weights": "w"}),
        ("y ~ x", {"link": "log"}),
        ("y ~ 0 + x", {"link": "probit", "precision": "float32"}),
    ],
)
def test_weights_trials_offsets_families(formula, words):
    """False alarm: 1e-3 for each model."""
    rng = np.random.default_rng(8)
    data = table(40).assign(w=rng.integers(0, 4, 40), t=4, o=rng.normal(size=40) / 2)
    model = bg.Model(formula, data, **words)
    found = bg.simulation_based_calibration(model, replications=150, draws=199, level=0.999)
    assert found.uniform
    assert ("sigma" in found.table.index) == (words.get("family") == "gaussian")


def test_equal_rows_are_simulated_one_by_one_and_fitted_together():
    data = pd.DataFrame({"g": np.arange(1_200) % 2, "y": np.arange(1_200) % 3 == 0})
    model = bg.Model("y ~ g", data)
    assert model.design.different == 2
    seen = []

    def run(target, *words, **more):
        seen.append((target.n, float(target.data.y.sum())))
        return real_run(target, *words, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replications, "run", run)
        found = bg.simulation_based_calibration(model, replications=150, draws=199, level=0.999)
    assert found.uniform
    assert {n for n, _ in seen} == {2}
    assert len({y for _, y in seen}) > 100


# -- what goes wrong -----------------------------------------------------------------------------


def test_failures_and_certificates_are_counted(model, monkeypatch):
    calls = iter(range(10_000))

    def run(target, method, options, *, seed):
        call = next(calls)
        if call % 10 == 3:
            raise bg.InferenceError("no mode was found")
        result = real_run(target, method, options, seed=seed)
        verdict = "does not hold" if call % 10 == 5 else "holds"
        return SimpleNamespace(
            **{**vars(result), "certified": True, "options": {**result.options, "verdict": verdict}}
        )

    monkeypatch.setattr(replications, "run", run)
    with pytest.warns(bg.BayesGLMWarning, match="10 of 100 replications found no answer"):
        found = bg.simulation_based_calibration(model, replications=100, draws=99)
    assert found.failed == 10
    assert len(found.ranks) == 90
    assert found.certified.sum() == 80
    assert 3 not in found.ranks.index
    assert {f.code for f in found.findings} == {"failed", "uncertified"}
    assert "80 replications" in repr(found)


@pytest.mark.parametrize("after", [5, 30])
def test_interrupt_keeps_what_is_done(model, monkeypatch, after):
    calls = iter(range(10_000))

    def run(target, method, options, *, seed):
        if next(calls) == after:
            raise KeyboardInterrupt
        return real_run(target, method, options, seed=seed)

    monkeypatch.setattr(replications, "run", run)
    if after < 20:
        with pytest.raises(KeyboardInterrupt):
            bg.simulation_based_calibration(model, replications=100, draws=99)
        return
    with pytest.warns(bg.BayesGLMWarning, match="Interrupted after 30 of 100"):
        found = bg.simulation_based_calibration(model, replications=100, draws=99)
    assert len(found.ranks) == 30


@pytest.mark.parametrize(
    ("words", "options", "match"),
    [
        ({"prior": "flat"}, {}, "flat prior"),
        ({"prior": {"x": None, "default": "weak"}}, {}, "flat prior"),
        ({"weights": "half"}, {}, "raised to a weight"),
        ({"weights": "two", "weights_kind": "sampling"}, {}, "raised to a weight"),
        ({}, {"method": "mle"}, "no posterior to calibrate"),
        ({}, {"method": "laplce"}, 'did you mean "laplace"'),
        ({}, {"warmup": 3}, 'no option "warmup"'),
        ({}, {"replications": 1}, "replications must be"),
        ({}, {"draws": "auto"}, "draws must be"),
        ({}, {"level": 95}, "level must be"),
        ({}, {"seed": -1}, "seed must be"),
        ({}, {"method": "nuts", "checkpoint": "x.npz"}, "checkpoint"),
    ],
)
def test_refusals(words, options, match):
    data = table(20).assign(half=0.5, two=2.0)
    model = bg.Model("y ~ x", data, **words)
    with pytest.raises(bg.SpecificationError, match=match):
        bg.simulation_based_calibration(model, **options)


def test_networks_are_refused():
    pytest.importorskip("flax")
    model = bg.Model("y ~ g", table(30), add=[bg.Network("~ x", hidden=(2,))])
    with pytest.raises(bg.SpecificationError, match="networks"):
        bg.simulation_based_calibration(model)


# -- the evidence --------------------------------------------------------------------------------

MODELS = [
    (link, method) for link in ("logit", "probit", "cloglog") for method in ("laplace", "nuts")
]
# Quantities of all models: Intercept, x, g, log likelihood.
QUANTITIES = 4 * len(MODELS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("link", "method"),
    [m if m[0] == "logit" else pytest.param(*m, marks=pytest.mark.evidence) for m in MODELS],
)
def test_posteriors_are_right(link, method):
    """500 data sets of 80 rows; see the top of the file for false alarms."""
    scale = 1.0 if link == "logit" else 0.6
    prior = normal(1.5 * scale, 1.5 * scale, 1.5 * scale)
    model = bg.Model("y ~ x + g", table(80), link=link, prior=prior)
    found = bg.simulation_based_calibration(
        model, method, replications=500, level=1 - 1e-3 / len(MODELS), seed=20261124
    )
    print(f"\n{found}")
    assert found.failed == 0
    assert found.certified.sum() >= 490
    assert found.uniform
    assert (found.table["p_value"] > 1e-3 / QUANTITIES).all()

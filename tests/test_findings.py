"""`bg.diagnose`: what is found in models and fits, and what stays silent."""

from __future__ import annotations

from dataclasses import replace

import arviz as az
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest

import bayesglm as bg
from bayesglm.convergence import diagnose_draws


def codes(findings):
    return [finding.code for finding in findings]


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(4)
    x = rng.standard_normal(200)
    p = 1 / (1 + np.exp(-0.5 - x))
    return pd.DataFrame({"x": x, "y": (rng.uniform(size=200) < p).astype(int)})


def test_nothing_is_found_where_nothing_is_wrong(frame):
    model = bg.Model("y ~ x", frame)
    assert bg.diagnose(model) == []
    assert bg.diagnose(model.fit("mle")) == []
    assert bg.diagnose(model.fit("nuts")) == []
    assert codes(bg.diagnose(model.fit("laplace"))) == ["laplace"]


def test_models_are_looked_at_before_a_fit(frame):
    data = frame.assign(z=2 * frame["x"], y=(frame["x"] > 0).astype(int))
    found = bg.diagnose(bg.Model("y ~ x + z", data))
    assert set(codes(found)) == {"aliased", "separation"}
    with pytest.warns(bg.BayesGLMWarning, match="one-level"):
        fit = bg.Model("y ~ x + g", data.assign(g="only")).fit("map")
    # The most severe first.
    assert codes(bg.diagnose(fit))[0] == "one-level"


def test_a_row_that_decides_by_itself(frame):
    """One outcome that the other rows call impossible."""
    strange = pd.concat([frame, pd.DataFrame({"x": [-30.0], "y": [1]})], ignore_index=True)
    fit = bg.Model("y ~ x", strange, prior="flat").fit("nuts")
    (finding,) = [f for f in bg.diagnose(fit) if f.code == "loo-k"]
    assert finding.where == "200"
    assert finding.value > finding.threshold
    assert "1 of 201 rows" in finding.message


def test_a_prior_against_the_data(frame):
    prior = {"default": "weak", "x": dist.Normal(-3.0, 0.3)}
    fit = bg.Model("y ~ x", frame, prior=prior).fit("nuts")
    (finding,) = [f for f in bg.diagnose(fit) if f.code == "prior-data-conflict"]
    assert finding.where == "x"
    # The numbers are ArviZ's.
    table = az.psense_summary(fit.with_groups("log_prior").data)
    assert finding.value == pytest.approx(table["prior"]["beta[x]"], abs=1e-3)


def test_a_prior_in_the_place_of_data(frame):
    rng = np.random.default_rng(5)
    few = frame.head(12).assign(z=0.01 * rng.standard_normal(12))
    prior = {"default": "weak", "z": dist.Normal(0.0, 1.0)}
    fit = bg.Model("y ~ z", few, prior=prior).fit("nuts")
    assert "z" in {f.where for f in bg.diagnose(fit) if f.code in ("strong-prior",)}


def test_energy_that_changes_slowly(frame):
    """The fraction is that of ArviZ, and its threshold is kept."""
    fit = bg.Model("y ~ x", frame).fit("nuts")
    assert "e-bfmi" not in codes(fit.findings)
    walk = np.cumsum(np.random.default_rng(0).standard_normal((4, 1_000)), axis=1)
    stats = fit.result.sample_stats | {"energy": walk}
    slow = replace(fit, result=replace(fit.result, sample_stats=stats))
    (finding,) = [f for f in diagnose_draws(slow) if f.code == "e-bfmi"]
    theirs = az.bfmi(slow.data)["energy"].to_numpy()
    assert finding.value == pytest.approx(theirs.min(), rel=2e-3)


def test_a_file_without_data_has_what_it_has(frame, tmp_path):
    fit = bg.Model("y ~ x", frame).fit("nuts")
    fit.save(tmp_path / "bare.nc", data=False)
    assert bg.diagnose(bg.load(tmp_path / "bare.nc")) == []

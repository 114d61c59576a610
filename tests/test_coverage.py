"""Intervals of 95 % hold the truth in 95 % of 1,000 data sets."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayesglm as bg

LINKS = ["logit", *(pytest.param(n, marks=pytest.mark.evidence) for n in ("probit", "cloglog"))]


def table(n: int, seed: int = 1) -> pd.DataFrame:
    """A numeric and a two-valued column."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"x": rng.normal(size=n), "g": rng.integers(0, 2, size=n)})


def within(covered: np.ndarray, allowance: float = 0.0, alarm: float = 1e-4) -> bool:
    """Whether counts of covered truths are binomial with 0.95, give or take an allowance."""
    n = len(covered)
    lower = stats.binom.ppf(alarm / 2, n, 0.95 - allowance)
    upper = stats.binom.isf(alarm / 2, n, min(0.95 + allowance, 1.0))
    counts = covered.sum(axis=0)
    print("\ncoverage", covered.mean(axis=0), "limits", lower / n, upper / n)
    return bool(((counts >= lower) & (counts <= upper)).all())


@pytest.mark.slow
@pytest.mark.parametrize("link", LINKS)
def test_wald_intervals_cover_a_fixed_truth(link):
    """1,000 data sets of 400 rows. False alarm 1e-4 for each number, beyond an allowance of 0.01.

    The error of a Wald interval's coverage is of the order of 1 / n, here less than 0.01.
    """
    rng = np.random.default_rng(11)
    data = table(400, seed=2)
    true = np.array([-0.4, 0.6, 0.5])
    eta = true[0] + data["x"] * true[1] + data["g"] * true[2]
    p = np.asarray(bg.links.get_link(link).inverse(eta.to_numpy()), float)
    covered = np.empty((1_000, 3), dtype=bool)
    for i in range(1_000):
        fit = bg.Model.from_arrays(data[["x", "g"]], rng.binomial(1, p), link=link).fit("mle")
        shown = fit.summary()
        covered[i] = (shown["lower"] <= true) & (true <= shown["upper"])
    assert within(covered, allowance=0.01)


@pytest.mark.slow
@pytest.mark.filterwarnings(r"ignore:.*\[one-class\]:bayesglm.BayesGLMWarning")
@pytest.mark.parametrize("link", LINKS)
def test_credible_intervals_cover_truths_from_the_prior(link):
    """1,000 data sets of 200 rows, weak priors: exact but for the ends' Monte Carlo error.

    The ends are order statistics of 4,000 independent draws: the error of 95 % is below 0.0005. False
    alarm 1e-4 for each number.
    """
    X = table(200, seed=3)[["x", "g"]]
    first = bg.Model.from_arrays(X, np.arange(200) % 2, link=link)
    drawn = first.prior_predictive(1_000, seed=12)
    prior, outcomes = drawn["prior"], drawn["prior_predictive"]["y"].to_numpy()[0]
    truth = np.column_stack([prior["Intercept"].to_numpy()[0], prior["beta"].to_numpy()[0]])
    covered, sure = np.empty((1_000, 3), dtype=bool), np.empty(1_000, dtype=bool)
    for i, y in enumerate(outcomes):
        # Outcomes of one class only belong to the prior's data sets too.
        model = bg.Model.from_arrays(X, y, link=link, event=1)
        fit = model.fit("laplace", seed=i)
        shown = fit.summary()
        covered[i] = (shown["lower"] <= truth[i]) & (truth[i] <= shown["upper"])
        sure[i] = fit.result.options["verdict"] == "holds"
    print("\ncertified", sure.sum())
    assert sure.sum() >= 980
    assert within(covered[sure], allowance=0.0005)

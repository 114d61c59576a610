"""Scores are those of scikit-learn on the same predictions, and of their definitions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from sklearn.isotonic import IsotonicRegression

import bayesglm as bg
from bayesglm.scoring import isotonic, score_values


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(8)
    table = pd.DataFrame({"x": rng.normal(size=300).round(1), "w": rng.integers(0, 4, 300)})
    p = 1 / (1 + np.exp(-1.2 * table["x"]))
    return table.assign(y=np.where(rng.binomial(1, p), "yes", "no"))


@pytest.mark.parametrize("weighted", [False, True])
def test_scores_are_those_of_scikit_learn(data, weighted):
    fit = bg.Model("y ~ x", data, weights="w" if weighted else None).fit("mle")
    found = bg.scores(fit, threshold=0.3)["estimate"]
    y, p = (data["y"] == "yes").to_numpy(), fit.predict()
    w = data["w"].to_numpy(float) if weighted else np.ones(len(y))
    expected = {
        "log_score": -metrics.log_loss(y, p, sample_weight=w),
        "brier": metrics.brier_score_loss(y, p, sample_weight=w),
        "auc": metrics.roc_auc_score(y, p, sample_weight=w),
        "accuracy": metrics.accuracy_score(y, p >= 0.3, sample_weight=w),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-12)
    curve = IsotonicRegression().fit(p, y, sample_weight=w).predict(p)
    refinement = metrics.brier_score_loss(y, np.clip(curve, 0, 1), sample_weight=w)
    np.testing.assert_allclose(found["refinement"], refinement, rtol=1e-10)
    np.testing.assert_allclose(found["calibration"] + refinement, found["brier"])
    np.testing.assert_allclose(found["ici"], np.average(np.abs(p - curve), weights=w))
    np.testing.assert_allclose(
        found["tjur_r2"],
        np.average(p[y], weights=w[y]) - np.average(p[~y], weights=w[~y]),
    )
    rate = np.average(y, weights=w)
    null = rate * np.log(rate) + (1 - rate) * np.log(1 - rate)
    np.testing.assert_allclose(found["mcfadden_r2"], 1 - found["log_score"] / null)
    ece = sum(
        w[b].sum() * abs(np.average(y[b], weights=w[b]) - np.average(p[b], weights=w[b]))
        for lower in np.arange(10) / 10
        if w[b := (p > lower) & (p <= lower + 0.1)].sum()
    )
    np.testing.assert_allclose(found["ece"], ece / w.sum(), rtol=1e-9)


def test_counts_weights_and_copies_have_the_same_scores(data):
    data = data.assign(event=(data["y"] == "yes").astype(int))
    counts = data.groupby("x").agg(s=("event", "sum"), t=("event", "size")).reset_index()
    one = bg.scores(bg.Model("event ~ x", data).fit("mle"))["estimate"]
    other = bg.scores(bg.Model("s ~ x", counts, trials="t").fit("mle"))["estimate"]
    np.testing.assert_allclose(one, other, rtol=1e-6)
    np.testing.assert_array_equal(
        isotonic(np.array([0.1, 0.5, 0.3]), np.array([1.0, 0, 0]), np.array([0.0, 1, 1])),
        [1 / 3, 1 / 3, 1 / 3],
    )


def test_new_data_are_scored_by_their_own_outcome(data):
    train, test = data.iloc[:200], data.iloc[200:]
    fit = bg.Model("y ~ x", train).fit("mle")
    table = bg.scores(fit, test)
    assert set(table["sample"]) == {"new data"}
    p = fit.predict(test)
    np.testing.assert_allclose(
        table.loc["auc", "estimate"], metrics.roc_auc_score(test["y"] == "yes", p)
    )
    # One class only: what has no meaning is NaN, the rest is there.
    alone = bg.scores(fit, test[test["y"] == "no"])["estimate"]
    assert np.isnan(alone["auc"])
    np.testing.assert_allclose(alone["brier"], np.mean(p[test["y"] == "no"] ** 2))
    with pytest.raises(bg.DataError, match="no column 'y'"):
        bg.scores(fit, test.drop(columns="y"))


def test_intervals_hold_the_estimate_and_grow_with_the_level(data):
    point = bg.Model("y ~ x", data).fit("mle")
    narrow, wide = (bg.scores(point, level=level) for level in (0.5, 0.99))
    assert (wide["lower"] <= narrow["lower"]).all()
    assert (wide["upper"] >= narrow["upper"]).all()
    assert wide.loc["auc", "lower"] < wide.loc["auc", "estimate"] < wide.loc["auc", "upper"]
    # Hanley & McNeil's error of an AUC, to 15 %.
    auc, m = wide.loc["auc", "estimate"], int((data["y"] == "yes").sum())
    n = len(data) - m
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    error = np.sqrt((auc * (1 - auc) + (m - 1) * (q1 - auc**2) + (n - 1) * (q2 - auc**2)) / (m * n))
    width = narrow.loc["auc", "upper"] - narrow.loc["auc", "lower"]
    np.testing.assert_allclose(width / (2 * 0.6745), error, rtol=0.15)


def test_posterior_intervals_are_those_of_draws(data):
    fit = bg.Model("y ~ x", data).fit("laplace", draws=100, chains=1)
    table = bg.scores(fit)
    p = fit.predict(draws=True)
    y = (data["y"] == "yes").to_numpy(float)
    by_hand = [score_values(row, y, 1 - y)["brier"] for row in p]
    np.testing.assert_allclose(
        table.loc["brier", ["lower", "upper"]].astype(float),
        np.quantile(by_hand, [0.025, 0.975], method="inverted_cdf"),
    )
    np.testing.assert_allclose(
        table.loc["brier", "estimate"], metrics.brier_score_loss(y, p.mean(axis=0))
    )
    with pytest.raises(bg.SpecificationError, match="posterior"):
        bg.scores(bg.Model("y ~ x", data).fit("mle"), interval="posterior")


def test_the_linear_probability_model_counts_what_lies_outside(data):
    data = data.assign(event=(data["y"] == "yes").astype(int))
    fit = bg.Model("event ~ x", data, family="gaussian").fit("mle")
    table, p = bg.scores(fit), fit.predict()
    assert table.loc["outside", "estimate"] == ((p < 0) | (p > 1)).mean() > 0


def test_net_benefit_by_its_definition(data):
    fit = bg.Model("y ~ x", data, weights="w").fit("mle")
    at = [0.0, 0.25, 0.5, 0.9]
    table = bg.decision_curve(fit, thresholds=at)
    y, p, w = (data["y"] == "yes").to_numpy(), fit.predict(), data["w"].to_numpy()
    for t in at:
        hits, alarms = w[(p >= t) & y].sum(), w[(p >= t) & ~y].sum()
        expected = (hits - alarms * t / (1 - t)) / w.sum()
        np.testing.assert_allclose(table.loc[t, "model"], expected)
    np.testing.assert_allclose(table.loc[0.0, "all"], table.loc[0.0, "model"])
    with pytest.raises(bg.SpecificationError, match="below 1"):
        bg.decision_curve(fit, thresholds=[0.5, 1.0])
    with pytest.raises(bg.SpecificationError, match="threshold must"):
        bg.scores(fit, threshold=2)

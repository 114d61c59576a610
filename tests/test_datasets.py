"""The tables hold the published numbers, and `simulate` draws in the promised order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from bayesglm import datasets
from bayesglm.errors import DataError, SpecificationError

FRAMES = ["bioassay", "cbpp", "challenger", "spector", "titanic", "ucb_admissions"]


def logit_mle(frame, columns, successes, trials=None):
    y = frame[successes]
    outcome = y if trials is None else np.column_stack([y, frame[trials] - y])
    x = sm.add_constant(frame[columns].astype(float))
    return sm.GLM(outcome, x, family=sm.families.Binomial()).fit(tol=1e-14)


@pytest.mark.parametrize("name", FRAMES)
def test_each_call_returns_a_fresh_frame(name):
    make = getattr(datasets, name)
    first = make()
    first.iloc[0, -1] = 99
    frame = make()
    assert isinstance(frame, pd.DataFrame)
    assert frame.iloc[0, -1] != 99
    assert not frame.isna().any().any()


def test_all_names_every_public_function():
    assert set(datasets.__all__) == {*FRAMES, "simulate"}


def test_challenger_has_the_published_mle():
    launches = datasets.challenger()
    assert launches.shape == (23, 3)
    assert launches["damage"].sum() == 7
    assert launches["flight"].is_unique
    fit = logit_mle(launches, ["temperature"], "damage")
    np.testing.assert_allclose(fit.params, [15.0429, -0.2322], atol=5e-5)
    np.testing.assert_allclose(fit.bse, [7.3786, 0.1082], atol=5e-5)


def test_titanic_has_the_published_margins():
    # Dawson (1995), table 1.
    people = datasets.titanic()
    by_class = people.groupby("pclass")[["survived", "total"]].sum()
    assert by_class["total"].to_dict() == {"1st": 325, "2nd": 285, "3rd": 706, "Crew": 885}
    assert by_class["survived"].to_dict() == {"1st": 203, "2nd": 118, "3rd": 178, "Crew": 212}
    assert people.groupby("sex")["total"].sum().to_dict() == {"Female": 470, "Male": 1731}
    assert people.groupby("age")["total"].sum().to_dict() == {"Adult": 2092, "Child": 109}
    assert (people["survived"] <= people["total"]).all()
    assert not people.duplicated(["pclass", "sex", "age"]).any()


def test_ucb_admissions_has_the_published_margins():
    applicants = datasets.ucb_admissions()
    by_gender = applicants.groupby("gender")[["admitted", "total"]].sum()
    assert by_gender["admitted"].to_dict() == {"Female": 557, "Male": 1198}
    assert by_gender["total"].to_dict() == {"Female": 1835, "Male": 2691}
    by_dept = applicants.groupby("dept")["total"].sum()
    assert by_dept.to_list() == [933, 585, 918, 792, 584, 714]

    # R: glm(cbind(Admitted, Rejected) ~ Gender + Dept, binomial, UCBAdmissions), Gender base Male.
    coded = applicants.assign(female=(applicants["gender"] == "Female").astype(float))
    dummies = pd.get_dummies(coded["dept"], drop_first=True, dtype=float)
    coded = pd.concat([coded, dummies], axis=1)
    fit = logit_mle(coded, ["female", *"BCDEF"], "admitted", "total")
    expected = [0.58205, 0.09987, -0.04340, -1.26260, -1.29461, -1.73931, -3.30648]
    np.testing.assert_allclose(fit.params, expected, atol=5e-6)
    assert fit.deviance == pytest.approx(20.204, abs=5e-4)


def test_spector_is_the_table_that_statsmodels_ships():
    theirs = sm.datasets.spector.load_pandas().data
    ours = datasets.spector()
    assert set(ours) == set(theirs)
    np.testing.assert_array_equal(ours[list(theirs)].to_numpy(), theirs.to_numpy())


def test_bioassay_has_the_published_mle():
    # Gelman et al. (2013), section 3.7: estimate (0.8, 7.7), errors (1.0, 4.9).
    fit = logit_mle(datasets.bioassay(), ["dose"], "deaths", "n")
    np.testing.assert_allclose(fit.params, [0.8466, 7.7488], atol=5e-5)
    np.testing.assert_allclose(fit.bse, [1.0191, 4.8728], atol=5e-5)


def test_simulate_has_the_known_mle():
    frame = datasets.simulate()
    assert list(frame) == ["x1", "x2", "y"]
    assert len(frame) == 100_000
    fit = sm.Logit(frame["y"], sm.add_constant(frame[["x1", "x2"]])).fit(disp=0, tol=1e-12)
    np.testing.assert_allclose(
        fit.params, [0.3012425718, 1.5128095223, -0.8028026931], rtol=0, atol=2e-10
    )
    np.testing.assert_allclose(fit.bse, [0.00788605, 0.01074760, 0.00867147], atol=1e-8)
    assert -fit.llf / len(frame) == pytest.approx(0.4949753, abs=5e-8)


def test_simulate_draws_predictors_first_and_outcomes_last():
    frame = datasets.simulate(50, weights=(0.5, -1.0, 2.0), bias=-0.2, seed=7)
    rng = np.random.default_rng(7)
    x = rng.standard_normal((50, 3))
    p = 1 / (1 + np.exp(-(-0.2 + x @ [0.5, -1.0, 2.0])))
    np.testing.assert_array_equal(frame[["x1", "x2", "x3"]].to_numpy(), x)
    np.testing.assert_array_equal(frame["y"], rng.binomial(1, p))


def test_simulate_carries_the_truth():
    truth = datasets.simulate(5, (1.0,), 0.25, "probit", 3).attrs
    assert truth == {"Intercept": 0.25, "beta": {"x1": 1.0}, "link": "probit", "seed": 3}


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog", "loglog", "cauchit"])
def test_simulate_follows_the_link(link):
    # With the intercept alone, the mean of y estimates F(bias).
    frame = datasets.simulate(40_000, weights=(), bias=0.4, link=link)
    known = {
        "logit": 0.59868766,
        "probit": 0.65542174,
        "cloglog": 0.77503821,
        "loglog": 0.51154483,
        "cauchit": 0.62111894,
    }[link]
    standard_error = np.sqrt(known * (1 - known) / 40_000)
    assert abs(frame["y"].mean() - known) < 4 * standard_error


def test_simulate_refuses_predictors_outside_a_bounded_link():
    with pytest.raises(DataError, match="rows lie outside"):
        datasets.simulate(100, link="identity")
    inside = datasets.simulate(1_000, weights=(0.01,), bias=0.5, link="identity")
    assert 0.4 < inside["y"].mean() < 0.6


@pytest.mark.parametrize(
    "options",
    [
        {"num_samples": 0},
        {"num_samples": 10.5},
        {"num_samples": 10, "weights": (1.0, np.nan)},
        {"num_samples": 10, "weights": [[1.0]]},
        {"num_samples": 10, "bias": np.inf},
        {"num_samples": 10, "link": "logitt"},
    ],
)
def test_simulate_refuses_nonsense(options):
    with pytest.raises(SpecificationError):
        datasets.simulate(**options)


def test_cbpp_has_the_published_counts():
    herds = datasets.cbpp()
    assert herds.shape == (56, 4)
    assert herds["incidence"].sum() == 99
    assert herds["size"].sum() == 842
    assert herds["herd"].nunique() == 15

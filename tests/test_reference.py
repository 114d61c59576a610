"""Agreement with R's glm, lm and sandwich; tests/reference/README.md says what each number is."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayesglm as bg

FILES = {path.stem: path for path in sorted(Path(__file__).with_name("reference").glob("*.json"))}
CONTENT = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
CASES = {case["id"]: (name, case) for name in FILES for case in CONTENT[name]["cases"]}
ROBUST = ("HC0", "HC1", "HC2", "HC3")


def having(key):
    """Parametrise over the cases that carry some numbers."""
    return pytest.mark.parametrize("case", [i for i, (_, case) in CASES.items() if key in case])


def titanic_rows() -> pd.DataFrame:
    groups = bg.datasets.titanic()
    yes = groups.assign(y=1, count=groups["survived"])
    no = groups.assign(y=0, count=groups["total"] - groups["survived"])
    return pd.concat([yes, no], ignore_index=True)


@cache
def table(name: str) -> pd.DataFrame:
    if name == "titanic":
        return titanic_rows()
    if name == "spector":
        return bg.datasets.spector()
    content = CONTENT[name]
    frame = pd.DataFrame(content["data"])
    if "repeat" in content:
        frame = frame.loc[frame.index.repeat(frame[content["repeat"]])].reset_index(drop=True)
    return frame


@cache
def model(case: str, **options: str) -> bg.Model:
    name, golden = CASES[case]
    return bg.Model(golden["formula"], table(name), **golden["options"], **options)


@cache
def mle(case: str) -> bg.Fit:
    return model(case).fit("mle")


def std_error(fit) -> np.ndarray:
    return np.sqrt(np.diag(fit.vcov))


def close(ours, theirs, rtol):
    np.testing.assert_allclose(np.asarray(ours, float), theirs, rtol=rtol, atol=rtol * 1e-3)


def test_every_link_of_r_is_covered():
    links = {case["options"]["link"] for _, case in CASES.values()}
    assert links == {"logit", "probit", "cloglog", "loglog", "cauchit", "log", "identity"}
    assert len(FILES) >= 6


@having("coef")
def test_coefficients(case):
    _, golden = CASES[case]
    fit = mle(case)
    assert list(fit.coef.index) == golden["names"]
    close(fit.coef, golden["coef"], 1e-6)


@having("se_expected")
def test_errors_by_the_expected_information(case):
    close(std_error(mle(case)), CASES[case][1]["se_expected"], 1e-5)


@having("se_observed")
def test_errors_by_the_observed_information(case):
    fit = model(case).fit("mle", information="observed")
    close(std_error(fit), CASES[case][1]["se_observed"], 1e-5)


@having("loglik")
def test_likelihood_numbers(case):
    _, golden = CASES[case]
    fit = mle(case)
    ours = [fit.loglik, fit.deviance, fit.aic, fit.bic]
    close(ours, [golden[key] for key in ("loglik", "deviance", "aic", "bic")], 1e-9)
    assert fit.nobs == golden["nobs"]


@having("robust")
def test_robust_errors(case):
    for cov in ROBUST:
        close(std_error(mle(case).with_cov(cov)), CASES[case][1]["robust"][cov], 1e-5)


@having("sampling_robust")
def test_robust_errors_with_sampling_weights(case):
    fit = model(case, weights_kind="sampling").fit("mle")
    for cov in ROBUST:
        close(std_error(fit.with_cov(cov)), CASES[case][1]["sampling_robust"][cov], 1e-5)


@having("cluster")
def test_clustered_errors(case):
    name, golden = CASES[case]
    cluster = golden["cluster"]
    trials = table(name)["size"].sum()
    factor = np.sqrt((trials - 1) / (trials - len(golden["coef"])))
    fit = model(case).fit("mle", cluster=cluster["column"])
    close(std_error(fit), factor * np.array(cluster["se_without_n_factor"]), 1e-5)


@having("predict")
def test_predictions_for_new_data(case):
    golden = CASES[case][1]["predict"]
    for kind in ("link", "response"):
        close(mle(case).predict(golden["newdata"], kind=kind), golden[kind], 1e-6)


@having("fitted")
def test_fitted_probabilities(case):
    golden = CASES[case][1]["fitted"]
    close(mle(case).predict()[golden["rows"]], golden["response"], 1e-6)


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog", "loglog", "cauchit"])
def test_aggregated_titanic_has_the_answers_of_the_weighted_rows(link):
    _, golden = CASES[f"titanic_main__{link}"]
    formula = golden["formula"].replace("y ~", "survived ~")
    fit = bg.Model(formula, bg.datasets.titanic(), trials="total", link=link).fit("mle")
    close(fit.coef, golden["coef"], 1e-6)
    close(std_error(fit), golden["se_expected"], 1e-5)


def test_frequency_weights_are_copies_of_rows():
    _, golden = CASES["birthwt_small__log"]
    counts = pd.DataFrame(CONTENT["birthwt_counts"]["data"])
    fit = bg.Model(golden["formula"], counts, link="log", weights="count").fit("mle")
    close(fit.coef, golden["coef"], 1e-6)
    for cov in ROBUST:
        close(std_error(fit.with_cov(cov)), golden["robust"][cov], 1e-5)


def test_linear_probability_model():
    golden = CONTENT["spector"]["least_squares"]
    linear = bg.Model(golden["formula"], table("spector"), family="gaussian", link="identity")
    fit = linear.fit("mle")
    close(fit.coef[golden["names"]], golden["coef"], 1e-9)
    close(std_error(fit)[: len(golden["coef"])], golden["robust"]["HC1"], 1e-8)
    for cov in ROBUST:
        robust = std_error(fit.with_cov(cov))[: len(golden["coef"])]
        close(robust, golden["robust"][cov], 1e-8)

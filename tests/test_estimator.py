"""The classifier keeps scikit-learn's contract, and answers as the model does."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import bayesglm as bg
from bayesglm.estimator import BayesGLMClassifier

# Findings about the odd data that these checks make are not what is tested.
quiet = pytest.mark.filterwarnings("ignore::bayesglm.BayesGLMWarning")


@quiet
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([BayesGLMClassifier(method="map"), BayesGLMClassifier()])
def test_contract(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    n = 400
    frame = pd.DataFrame(
        {
            "age": rng.uniform(20, 70, n),
            "income": rng.normal(size=n),
            "region": rng.choice(list("abc"), n),
        }
    )
    eta = -2 + 0.05 * frame["age"] + 0.8 * (frame["region"] == "b")
    return frame.assign(bought=np.where(rng.random(n) < 1 / (1 + np.exp(-eta)), "yes", "no"))


@pytest.mark.parametrize("method", ["mle", "map", "laplace"])
def test_arrays_give_what_the_model_gives(people, method):
    X, y = people[["age", "income"]], people["bought"]
    ours = BayesGLMClassifier(method=method, random_state=3).fit(X, y)
    seed = int(np.random.RandomState(3).randint(2**31 - 1))
    direct = bg.Model("bought ~ age + income", people).fit(method, seed=seed)
    assert list(ours.classes_) == ["no", "yes"]
    np.testing.assert_allclose(ours.predict_proba(X)[:, 1], direct.predict(), rtol=1e-10)
    np.testing.assert_allclose(ours.coef_[0], direct.coef[1:], rtol=1e-8)
    np.testing.assert_allclose(ours.intercept_, direct.coef[:1], rtol=1e-8)
    for mine, theirs in zip(ours.predict_interval(X), direct.predict_interval(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-8)
    np.testing.assert_allclose(ours.predict_log_proba(X), np.log(ours.predict_proba(X)))


def test_without_priors_it_is_the_unpenalised_logistic_regression(people):
    X, y = people[["age", "income"]], people["bought"]
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(X, y)
    ours = BayesGLMClassifier(method="mle").fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-5)
    assert (ours.predict(X) == theirs.predict(X)).all()


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
def test_a_formula_on_tables(people, library):
    columns = people.drop(columns="bought")
    X = library(columns.to_dict(orient="list"))
    ours = BayesGLMClassifier("~ age * C(region)", method="map").fit(X, people["bought"])
    direct = bg.Model("bought ~ age * C(region)", people).fit("map")
    np.testing.assert_allclose(ours.predict_proba(X)[:, 1], direct.predict(), rtol=1e-10)
    assert list(ours.feature_names_in_) == ["age", "income", "region"]
    assert bg.slopes(ours.fit_, "age", by=True).shape[0] == 1


def test_sparse_is_dense(people):
    X = people[["age", "income"]].to_numpy()
    dense = BayesGLMClassifier(method="map").fit(X, people["bought"])
    thin = BayesGLMClassifier(method="map").fit(sparse.csr_array(X), people["bought"])
    np.testing.assert_allclose(
        thin.predict_proba(sparse.csr_array(X)), dense.predict_proba(X), rtol=1e-8
    )


def test_weights_repeat_rows_and_balance_classes(people):
    X, y = people[["age", "income"]], (people["bought"] == "yes").to_numpy()
    twice = BayesGLMClassifier(method="map").fit(X, y, sample_weight=np.where(y, 2.0, 1.0))
    repeated = BayesGLMClassifier(method="map").fit(pd.concat([X, X[y]]), np.concatenate([y, y[y]]))
    np.testing.assert_allclose(twice.predict_proba(X), repeated.predict_proba(X), rtol=1e-7)
    balanced = BayesGLMClassifier(method="mle", class_weight="balanced").fit(X, y)
    # With an intercept the weighted mean of p is the weighted share of events: one half.
    w = np.where(y, len(y) / (2 * y.sum()), len(y) / (2 * (~y).sum()))
    assert np.average(balanced.predict_proba(X)[:, 1], weights=w) == pytest.approx(0.5)
    assert balanced.fit_.spec.weights_kind == "sampling"


def test_pipelines_searches_and_calibration(people):
    X, y = people.drop(columns="bought"), people["bought"]
    encode = make_column_transformer(
        (StandardScaler(), ["age", "income"]),
        (OneHotEncoder(drop="first", sparse_output=False), ["region"]),
    ).set_output(transform="pandas")
    pipeline = make_pipeline(encode, BayesGLMClassifier(method="map"))
    assert cross_val_score(pipeline, X, y, scoring="roc_auc", cv=3).mean() > 0.6
    assert pipeline.fit(X, y)[-1].fit_.terms[1] == "standardscaler__age"
    search = GridSearchCV(pipeline, {"bayesglmclassifier__link": ["logit", "probit"]}, cv=2,
                          scoring="neg_log_loss").fit(X, y)  # fmt: skip
    assert search.best_params_["bayesglmclassifier__link"] in ("logit", "probit")
    plain = BayesGLMClassifier("~ age + C(region)", method="map")
    assert cross_val_predict(plain, X, y, cv=3, method="predict_proba").shape == (400, 2)
    calibrated = CalibratedClassifierCV(clone(pipeline), cv=3).fit(X, y)
    assert calibrated.predict_proba(X).shape == (400, 2)


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (BayesGLMClassifier("y ~ age"), "right side alone"),
        (BayesGLMClassifier("~ agee"), "no column 'agee'"),
        (BayesGLMClassifier(add=[bg.Network("~ age")]), "add= needs a formula"),
        (BayesGLMClassifier("~ age", method="guess"), "method"),
        (BayesGLMClassifier("~ age", options={"drawz": 3}), "drawz"),
    ],
)
def test_what_is_wrong_is_said(people, estimator, words):
    X = people[["age", "income"]]
    with pytest.raises(ValueError, match=words):
        estimator.fit(X, people["bought"])


def test_three_classes_and_one_are_refused(people):
    X = people[["age", "income"]]
    with pytest.raises(ValueError, match="Only binary classification is supported"):
        BayesGLMClassifier().fit(X, np.arange(len(X)) % 3)
    with pytest.raises(ValueError, match="one class"):
        BayesGLMClassifier().fit(X, np.ones(len(X)))

"""Peers of maximum likelihood: coefficients and standard errors, as each library documents it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["glm", "glum", "logit", "loop", "sklearn"]


def logit() -> tuple[Callable, Callable]:
    """Fit by ``statsmodels`` Logit, its default Newton."""
    import statsmodels.api as sm

    def fit(X: np.ndarray, y: np.ndarray) -> Any:
        result = sm.Logit(y, sm.add_constant(X)).fit(disp=0)
        return result.params, result.bse

    return fit, _read


def glm() -> tuple[Callable, Callable]:
    """Fit by ``statsmodels`` GLM, its default iteratively reweighted least squares."""
    import statsmodels.api as sm

    def fit(X: np.ndarray, y: np.ndarray) -> Any:
        result = sm.GLM(y, sm.add_constant(X), family=sm.families.Binomial()).fit()
        return result.params, result.bse

    return fit, _read


def sklearn(solver: str) -> tuple[Callable, Callable]:
    """Fit by scikit-learn; it has no standard errors, so they come from its probabilities."""
    from sklearn.linear_model import LogisticRegression

    def fit(X: np.ndarray, y: np.ndarray) -> Any:
        model = LogisticRegression(C=np.inf, solver=solver).fit(X, y)
        p = model.predict_proba(X)[:, 1]
        w, k = p * (1 - p), X.shape[1]
        information = np.empty((k + 1, k + 1))
        information[0, 0] = w.sum()
        information[0, 1:] = information[1:, 0] = w @ X
        information[1:, 1:] = (X * w[:, None]).T @ X
        errors = np.sqrt(np.diag(np.linalg.inv(information)))
        return np.concatenate([model.intercept_, model.coef_[0]]), errors

    return fit, _read


def glum() -> tuple[Callable, Callable]:
    """Fit by glum without a penalty, its default solver; plain (not robust) standard errors."""
    from glum import GeneralizedLinearRegressor

    def fit(X: np.ndarray, y: np.ndarray) -> Any:
        outcome = y.astype(float)
        model = GeneralizedLinearRegressor(family="binomial", alpha=0).fit(X, outcome)
        errors = model.std_errors(X, outcome, robust=False)
        return np.concatenate([[model.intercept_], model.coef_]), errors

    return fit, _read


def loop(arrays: bool = False) -> tuple[Callable, Callable]:
    """Fit some segments of a table one by one by ``statsmodels`` Logit."""
    import statsmodels.api as sm

    def fit(formula: str, frame: Any, sample: int) -> Any:
        predictors = formula.split("~")[1].replace("+", " ").split()
        found = []
        for _, rows in frame[frame["segment"] < sample].groupby("segment"):
            result = sm.Logit(rows["y"], sm.add_constant(rows[predictors])).fit(disp=0)
            found.append((result.params, result.bse, result.pvalues))
        return found

    def fit_arrays(formula: str, frame: Any, sample: int) -> Any:
        predictors = formula.split("~")[1].replace("+", " ").split()
        X, y = sm.add_constant(frame[predictors].to_numpy()), frame["y"].to_numpy()
        rows = int((frame["segment"] == 0).sum())
        found = []
        for begin in range(0, sample * rows, rows):
            part = slice(begin, begin + rows)
            result = sm.Logit(y[part], X[part]).fit(disp=0)
            found.append((result.params, result.bse, result.pvalues))
        return found

    def read(found: Any) -> dict[str, np.ndarray]:
        return {
            "coef": np.array([np.asarray(params) for params, _, _ in found]),
            "se": np.array([np.asarray(errors) for _, errors, _ in found]),
        }

    return (fit_arrays if arrays else fit), read


def _read(result: Any) -> dict[str, np.ndarray]:
    return {"coef": np.asarray(result[0]), "se": np.asarray(result[1])}

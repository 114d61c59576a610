"""The package itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["draws", "grouped", "many", "mle", "table"]

SEED = 1


def _words(p: int) -> dict[str, Any]:
    """Return the prior that the peers have: Normal(0, 1.5) on every coefficient."""
    import numpyro.distributions as dist

    names = ("Intercept", *(f"x{number + 1}" for number in range(p)))
    return {"prior": {name: dist.Normal(0, 1.5) for name in names}}


def draws(
    method: str, link: str = "logit", precision: str = "float64", **options: Any
) -> tuple[Callable, Callable]:
    """Fit by ``"nuts"`` or ``"laplace"``: model and fit in one call."""
    import bayesglm as bg

    def fit(X: np.ndarray, y: np.ndarray) -> Any:
        model = bg.Model.from_arrays(X, y, link=link, precision=precision, **_words(X.shape[1]))
        return model.fit(method, seed=SEED, **options)

    return fit, _read


def mle(link: str = "logit") -> tuple[Callable, Callable]:
    """Fit by maximum likelihood, standard errors included."""
    import bayesglm as bg

    def fit(X: np.ndarray, y: np.ndarray) -> Any:
        return bg.Model.from_arrays(X, y, link=link).fit("mle")

    return fit, _read_mle


def table() -> tuple[Callable, Callable]:
    """Fit a formula to a table by NUTS: model and fit in one call."""
    import bayesglm as bg

    def fit(formula: str, frame: Any) -> Any:
        return bg.Model(formula, frame).fit("nuts", seed=SEED)

    return fit, _read


def grouped(method: str) -> tuple[Callable, Callable]:
    """Fit a formula with group-level effects: model and fit in one call."""
    import bayesglm as bg

    def fit(formula: str, frame: Any) -> Any:
        return bg.Model(formula, frame).fit(method, seed=SEED)

    return fit, _read_grouped


def many() -> tuple[Callable, Callable]:
    """Fit a formula in each segment of a table, and tabulate; read those that the loops fit."""
    import bayesglm as bg

    def fit(formula: str, frame: Any, sample: int) -> Any:
        found = bg.fit_many(formula, frame, by="segment")
        return found, found.table, sample

    def read(result: Any) -> dict[str, np.ndarray]:
        found, _, sample = result
        errors = np.sqrt(np.diagonal(found.cov, axis1=1, axis2=2))
        return {"coef": found.theta[:sample], "se": errors[:sample]}

    return fit, read


def _read_grouped(fit: Any) -> dict[str, Any]:
    if fit.method == "mle":
        sd = fit.result.groups["sd_g"]
        return {**_read_mle(fit), "coef": [*fit.result.theta, *sd]}
    draws = np.concatenate([fit.theta_draws(), fit.result.draws["sd_g"]], axis=-1)
    return {"draws": draws, "worst": float(fit.group_table()["r_hat"].max())}


def _read(fit: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"draws": fit.theta_draws()}
    if fit.method == "laplace":
        found["k_hat"] = float(fit.result.options["k_hat"])
        # Resampled draws are worth no more than the weighted proposals they come from.
        found["most"] = float(fit.result.options["importance_ess"])
    return found


def _read_mle(fit: Any) -> dict[str, Any]:
    return {"coef": np.asarray(fit.result.theta), "se": np.sqrt(np.diag(fit.result.cov))}

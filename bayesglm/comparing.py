"""Which model predicts better: fits compared by LOO, by K folds, or by information criteria."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.errors import DataError, SpecificationError, explain
from bayesglm.fit import Fit
from bayesglm.loocv import loo
from bayesglm.resampling import CrossValidation

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["compare"]


def compare(fits: Mapping[str, Any], *, method: str = "stacking") -> pd.DataFrame:
    """Compare fits of the same outcomes by how well they predict.

    Fits with draws by leave-one-out; results of `kfold` by their folds; maximum-likelihood fits by
    AIC and BIC, and by likelihood-ratio tests of each with the next smaller one that is part of it.

    Parameters
    ----------
    fits : dict of str to Fit, CrossValidation or LOO
        All of one sort.
    method : {"stacking", "bb-pseudo-bma", "pseudo-bma"}
        How weights are made.

    Returns
    -------
    DataFrame
        Best first. Of draws and folds (ArviZ's columns): rank, elpd, p, elpd_diff, weight, se, dse,
        ... Of MLEs: loglik, parameters, aic, delta_aic, weight (Akaike's), bic, lr_chi2, lr_df,
        p_value, against.

    Raises
    ------
    DataError
        If outcomes, rows or weights differ.
    SpecificationError
        If the fits are of different sorts, or MAP fits, which have neither AIC nor LOO.

    References
    ----------
    Yao et al. (2018), Bayesian Analysis 13 (stacking); Burnham & Anderson (2002).

    Examples
    --------
    >>> import bayesglm as bg
    >>> people = bg.datasets.titanic()
    >>> fits = {
    ...     formula: bg.Model(formula, people, trials="total").fit("mle")
    ...     for formula in ("survived ~ sex", "survived ~ sex + pclass")
    ... }
    >>> bg.compare(fits)[["aic", "delta_aic", "lr_df"]].round(1)
                               aic  delta_aic  lr_df
    survived ~ sex + pclass  188.0        0.0    3.0
    survived ~ sex           288.1      100.1    NaN
    """
    if not isinstance(fits, Mapping) or len(fits) < 2:
        raise SpecificationError(
            explain("compare takes a dict of two fits or more", got=type(fits).__name__)
        )
    known = {name: value.fit if isinstance(value, CrossValidation) else value
             for name, value in fits.items()}  # fmt: skip
    _same_rows({name: value for name, value in known.items() if isinstance(value, Fit)})
    sorts = {name: _sort(name, value) for name, value in fits.items()}
    if len(set(sorts.values())) > 1:
        raise SpecificationError(
            explain(
                "fits of different sorts have no common score",
                sorts=sorts,
                advice="fit all by one method, or compare bg.kfold(fit) of each",
            )
        )
    if next(iter(sorts.values())) == "mle":
        return _by_likelihood(dict(fits))
    import arviz_stats

    return arviz_stats.compare(
        {name: _elpd(value) for name, value in fits.items()}, method=method, round_to="none"
    )


def _sort(name: str, value: Any) -> str:
    if isinstance(value, CrossValidation):
        return "kfold"
    if not isinstance(value, Fit):
        if getattr(value, "kind", None) is not None:
            return str(value.kind)
        raise SpecificationError(
            explain(f"{name!r} is neither a fit nor a cross-validation", got=type(value).__name__)
        )
    if value.result.draws:
        return "loo"
    if value.method == "mle":
        return "mle"
    raise SpecificationError(
        explain(
            "the mode of a posterior has no AIC, BIC or likelihood-ratio test",
            fit=name,
            method=value.method,
            advice='use bg.loo on fit("laplace") or fit("nuts"), or bg.kfold on this fit',
        )
    )


def _same_rows(fits: Mapping[str, Fit]) -> None:
    """Refuse fits whose outcomes are not the same: their scores speak of different data."""
    names = list(fits)
    for name in names[1:]:
        one, other = fits[names[0]].design, fits[name].design
        if fits[names[0]].spec.family != fits[name].spec.family:
            raise DataError(
                explain("fits of different families have no common score", fits=(names[0], name))
            )
        pairs = ((getattr(one, w), getattr(other, w)) for w in ("y", "trials", "weights"))
        if one.n != other.n or not all(np.array_equal(a, b) for a, b in pairs):
            raise DataError(
                explain(
                    "fits can be compared only if their outcomes, trials and weights are the same",
                    fits=(names[0], name),
                    rows=(one.n, other.n),
                    advice="fit all to the same rows; effects side by side always work",
                )
            )


def _elpd(value: Any) -> Any:
    """Return what ArviZ compares."""
    if isinstance(value, Fit):
        return loo(value)
    if not isinstance(value, CrossValidation):
        return value
    import xarray as xr
    from arviz_stats.utils import ELPDDataLOOKFold

    live = value.fold >= 0
    rows = value.pointwise[live]
    return ELPDDataLOOKFold(
        elpd=value.elpd,
        se=value.std_error,
        p=float("nan"),
        n_samples=1,
        n_data_points=int(live.sum()),
        scale="log",
        warning=bool(value.findings),
        good_k=None,
        elpd_i=xr.DataArray(rows, dims="obs"),
        n_folds=len(value.coef),
    )


def _by_likelihood(fits: dict[str, Fit]) -> pd.DataFrame:
    import pandas as pd
    from scipy.stats import chi2

    robust = [name for name, fit in fits.items() if fit.spec.weights_kind == "sampling"]
    if robust:
        raise SpecificationError(
            explain("a pseudo-likelihood has no AIC", fit=robust[0], weights_kind="sampling")
        )
    table = pd.DataFrame(
        {
            "loglik": {name: fit.loglik for name, fit in fits.items()},
            "parameters": {name: fit.parameters for name, fit in fits.items()},
            "aic": {name: fit.aic for name, fit in fits.items()},
            "bic": {name: fit.bic for name, fit in fits.items()},
        }
    )
    table["delta_aic"] = table["aic"] - table["aic"].min()
    share = np.exp(-table["delta_aic"] / 2)
    table["weight"] = share / share.sum()
    tests = {name: _test(name, fits) for name in fits}
    table["lr_chi2"] = {name: test[0] for name, test in tests.items()}
    table["lr_df"] = {name: test[1] for name, test in tests.items()}
    table["p_value"] = {name: float(chi2.sf(*test[:2])) for name, test in tests.items()}
    table["against"] = {name: test[2] for name, test in tests.items()}
    order = ["loglik", "parameters", "aic", "delta_aic", "weight", "bic"]
    return table[[*order, "lr_chi2", "lr_df", "p_value", "against"]].sort_values("aic")


def _test(name: str, fits: Mapping[str, Fit]) -> tuple[float, float, str]:
    """Return the likelihood-ratio test of a fit with the largest one that is part of it."""
    fit = fits[name]
    inside = [
        other
        for other, smaller in fits.items()
        if smaller.parameters < fit.parameters and _is_part(smaller, fit)
    ]
    if not inside:
        return float("nan"), float("nan"), ""
    nearest = max(inside, key=lambda other: fits[other].parameters)
    smaller = fits[nearest]
    statistic = max(2 * (fit.loglik - smaller.loglik), 0.0)
    return statistic, float(fit.parameters - smaller.parameters), nearest


def _is_part(smaller: Fit, larger: Fit) -> bool:
    """Whether one model is the other with some coefficients held at 0."""
    plain = not {"bias_reduction"} & {*smaller.result.options, *larger.result.options}
    same = smaller.spec.link == larger.spec.link and np.array_equal(
        smaller.design.offset, larger.design.offset
    )
    return bool(plain and same and set(smaller.terms) <= set(larger.terms))

"""Leave-one-out cross-validation of a posterior, by importance sampling and by refits."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bayesglm.errors import BayesGLMWarning, SpecificationError, explain
from bayesglm.pointwise import log_likelihoods
from bayesglm.refitting import check_data, refit

if TYPE_CHECKING:
    from bayesglm.fit import Fit

__all__ = ["loo"]

# Rows without a good approximation that are held out for real, and rows of a sub-sample.
REFITS, SUBSAMPLE = 20, 2_000
# Numbers (draws times rows) beyond which a sub-sample of rows is taken.
LARGEST = 2**25


def loo(
    fit: Fit,
    *,
    unit: Literal["row", "copy"] = "row",
    refits: int = REFITS,
    subsample: int | None = None,
    seed: int = 0,
) -> Any:
    """Return the expected log predictive density of rows left out one at a time (PSIS-LOO).

    Where the importance weights of a row are not to be relied on (Pareto k above ArviZ's
    threshold), the model is fitted without it, if such rows are no more than ``refits``.

    Parameters
    ----------
    fit : Fit
        With draws. Those of ``laplace`` and ``svi`` were resampled by importance and count as
        independent draws of the posterior where their certificate holds.
    unit : {"row", "copy"}
        What is left out: a row with all copies that its weight stands for, or one copy of it.
    refits : int
        Most rows that are fitted without.
    subsample : int, optional
        Rows for which it is done; the others by the difference estimator. By default all, and
        2,000 where draws times rows exceed 33,554,432.
    seed : int
        Fixes the sub-sample, and the refits.

    Returns
    -------
    arviz_stats ELPDData
        elpd, se, p, and by row elpd_i and pareto_k (log scale).

    Raises
    ------
    SpecificationError
        For a point fit: use `kfold`.

    Warns
    -----
    BayesGLMWarning
        Where a certificate does not hold, or rows beyond ``refits`` are not to be relied on.

    References
    ----------
    Vehtari, Gelman & Gabry (2017), Statistics and Computing 27; Magnusson et al. (2020), AISTATS
    (sub-sampling).

    Examples
    --------
    >>> import bayesglm as bg
    >>> fit = bg.Model("damage ~ temperature", bg.datasets.challenger()).fit("laplace")
    >>> round(bg.loo(fit).elpd, 1)
    -11.8
    """
    check_data(fit)
    if not fit.result.draws:
        raise SpecificationError(
            explain(
                "leave-one-out by importance sampling needs draws",
                method=fit.method,
                advice='use fit("laplace") or fit("nuts"), or bg.kfold on this fit',
            )
        )
    if unit not in ("row", "copy"):
        raise SpecificationError(explain("unit must be row or copy", unit=unit))
    _certificate(fit)
    live = np.flatnonzero(fit.design.weights > 0)
    draws = int(np.prod(next(iter(fit.result.draws.values())).shape[:2]))
    if subsample is None and draws * len(live) > LARGEST:
        subsample = SUBSAMPLE
    at = live
    if subsample is not None and subsample < len(live):
        at = np.sort(np.random.default_rng(seed).choice(live, subsample, replace=False))
    found = _psis(fit, at, unit)
    high = np.flatnonzero(np.asarray(found.pareto_k) > found.good_k)
    if 0 < high.size <= refits:
        _refitted(fit, found, at, high, unit, seed)
    elif high.size:
        warnings.warn(
            f"{high.size:,} of {len(at):,} rows decide much by themselves (Pareto k above "
            f"{found.good_k:.2f}): elpd is not to be relied on. Raise refits=, or use bg.kfold.",
            BayesGLMWarning,
            stacklevel=2,
        )
    copies = fit.design.weights if unit == "copy" else np.ones(fit.design.n)
    return _totals(fit, found, at, live, copies)


def _certificate(fit: Fit) -> None:
    if fit.result.certified and fit.result.options["verdict"] != "holds":
        warnings.warn(
            "The draws of this approximation do not follow the posterior (see its findings): "
            'neither does LOO. Use fit("nuts").',
            BayesGLMWarning,
            stacklevel=3,
        )


def _psis(fit: Fit, at: np.ndarray, unit: str) -> Any:
    """Let ArviZ do PSIS-LOO on some rows."""
    import arviz_stats
    import xarray as xr

    _, rows = log_likelihoods(fit, fit, at)
    if unit == "row":
        rows = rows * fit.design.weights[at]
    shape = next(iter(fit.result.draws.values())).shape[:2]
    labels = np.asarray(fit.design.index)[at] if fit.design.index is not None else at
    values = xr.DataArray(
        rows.reshape(*shape, -1), dims=("chain", "draw", "obs"), coords={"obs": labels}
    )
    tree = xr.DataTree.from_dict(
        {"/log_likelihood": xr.Dataset({"y": values}), "/posterior": fit.posterior}
    )
    with warnings.catch_warnings():
        # What ArviZ warns of is told by us, with what to do.
        warnings.simplefilter("ignore")
        words = {"reff": 1.0} if fit.result.certified else {}
        return arviz_stats.loo(tree, pointwise=True, **words)


def _refitted(fit: Fit, found: Any, at: np.ndarray, high: np.ndarray, unit: str, seed: int) -> None:
    """Put exact values in the place of those that are not to be relied on."""
    from scipy.special import logsumexp

    shape = next(iter(fit.result.draws.values())).shape
    options = {"draws": shape[1], "chains": shape[0]}
    for k in high:
        row = at[k]
        weights = fit.design.weights.copy()
        weights[row] = 0.0 if unit == "row" else max(weights[row] - 1.0, 0.0)
        again = refit(fit, weights, options, seed=seed)
        _, rows = log_likelihoods(fit, again, np.array([row]))
        rows = rows * (fit.design.weights[row] if unit == "row" else 1.0)
        found.elpd_i[k] = logsumexp(rows) - np.log(rows.size)
        found.pareto_k[k] = 0.0


def _totals(fit: Fit, found: Any, at: np.ndarray, live: np.ndarray, copies: np.ndarray) -> Any:
    """Sum the rows up: all of them, or a sub-sample by the difference estimator."""
    from arviz_stats.utils import ELPDDataLOO, ELPDDataLOOSubsample
    from scipy.special import logsumexp

    by_copy = np.asarray(found.elpd_i)
    _, seen = log_likelihoods(fit, fit, at)
    if (copies == 1).all():
        seen = seen * fit.design.weights[at]
    lpd = logsumexp(seen, axis=0) - np.log(len(seen))
    share, n = copies[at], len(live)
    values = found.elpd_i.copy(data=share * by_copy)
    words = {
        "n_samples": found.n_samples,
        "n_data_points": n,
        "scale": "log",
        "warning": bool((np.asarray(found.pareto_k) > found.good_k).any()),
        "good_k": found.good_k,
        "elpd_i": values,
        "pareto_k": found.pareto_k,
    }
    p = share * (lpd - by_copy)
    if len(at) == n:
        spread = np.sqrt(_scatter(by_copy, share))
        return ELPDDataLOO(elpd=float(values.sum()), se=float(spread), p=float(p.sum()), **words)
    import xarray as xr

    _, rough = log_likelihoods(fit, fit, live, mean=True)
    weight = fit.design.weights if (copies == 1).all() else copies
    everywhere = rough[0] * weight[live]
    some = everywhere[np.searchsorted(live, at)]
    labels = np.asarray(fit.design.index)[live] if fit.design.index is not None else live
    whole = xr.DataArray(everywhere, dims="obs", coords={"obs": labels})
    elpd, subsampling, se = values.azstats.diff_srs_estimator(
        lpd_approx_sample=values.copy(data=some), lpd_approx_all=whole, n_data_points=n
    )
    return ELPDDataLOOSubsample(
        elpd=float(elpd),
        se=float(se),
        p=float(p.mean() * n),
        subsample_size=len(at),
        subsampling_se=float(subsampling),
        loo_subsample_observations=np.searchsorted(live, at),
        elpd_loo_approx=whole,
        **words,
    )


def _scatter(values: np.ndarray, share: np.ndarray) -> float:
    """Return the variance of a sum over copies: as of the copies one by one."""
    n = share.sum()
    mean = (share * values).sum() / n
    return float(n * (share * (values - mean) ** 2).sum() / max(n - 1, 1))

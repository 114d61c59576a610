"""What a posterior hangs on: single rows (leave-one-out), and the prior (power scaling)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from bayesglm.errors import Finding, SpecificationError, explain

if TYPE_CHECKING:
    import pandas as pd

    from bayesglm.fit import Fit

__all__ = ["influential_rows", "prior_sensitivity", "sensitive_priors"]

# Change of a posterior for a small change of the prior's power that counts, as Kallioinen et al.
SENSITIVE = 0.05
# Rows, or coefficients, that a finding names.
NAMED = 5


def influential_rows(fit: Fit) -> tuple[Finding, ...]:
    """Return the rows whose Pareto k says that leaving them out changes the posterior much.

    References
    ----------
    Vehtari, Gelman & Gabry (2017), Statistics and Computing 27; Vehtari et al. (2024), JMLR 25.
    """
    if not (fit.result.draws and fit.affordable and fit.design.matrix is not None):
        return ()
    import arviz_stats

    with warnings.catch_warnings():
        # ArviZ warns of what the finding says.
        warnings.simplefilter("ignore")
        found = arviz_stats.loo(fit.data, pointwise=True)
    k, limit = np.asarray(found.pareto_k).ravel(), float(found.good_k)
    high = np.flatnonzero(k > limit)
    if not high.size:
        return ()
    labels = [str(label) for label in fit.data["log_likelihood"]["obs"].to_numpy()]
    worst = high[np.argsort(-k[high])]
    named = ", ".join(f"{labels[i]} ({k[i]:.2f})" for i in worst[:NAMED])
    more = f" and {len(worst) - NAMED} more" if len(worst) > NAMED else ""
    return (
        Finding(
            "loo-k",
            "warning",
            f"{len(worst)} of {len(k):,} rows decide much by themselves (Pareto k of leave-one-out "
            f"above {limit:.2f}): {named}{more}.",
            value=float(k[worst[0]]),
            threshold=limit,
            where=labels[worst[0]],
            advice="Look at these rows, and fit without them; their LOO score is not to be relied on.",
        ),
    )


def prior_sensitivity(fit: Fit) -> pd.DataFrame:
    """Return how much the posterior hangs on the prior, and on the data, by power scaling.

    Parameters
    ----------
    fit : Fit
        With draws, a linear predictor and proper priors.

    Returns
    -------
    DataFrame
        Indexed by term: prior, likelihood (change of the posterior, in the cumulative
        Jensen-Shannon distance, per doubling of the power of either; 0.05 counts), diagnosis.

    Raises
    ------
    SpecificationError
        For a fit without draws or with flat priors.

    References
    ----------
    Kallioinen, Paananen, Bürkner & Vehtari (2024), Statistics and Computing 34.

    Examples
    --------
    >>> import bayesglm as bg
    >>> fit = bg.Model("damage ~ temperature", bg.datasets.challenger()).fit("laplace")
    >>> list(bg.prior_sensitivity(fit).columns)
    ['prior', 'likelihood', 'diagnosis']
    """
    import pandas as pd

    if not fit.result.draws or fit.design.inputs or fit.priors.is_flat:
        raise SpecificationError(
            explain(
                "prior sensitivity needs draws under proper priors, and no networks",
                method=fit.method,
                prior=fit.priors.name,
                advice='use fit("laplace") or fit("nuts")',
            )
        )
    numbers = _scaled(fit)
    table = pd.DataFrame(
        numbers.values(), columns=["prior", "likelihood"], index=pd.Index(numbers, name="term")
    )
    by_prior, by_data = table["prior"] > SENSITIVE, table["likelihood"] > SENSITIVE
    table["diagnosis"] = np.select(
        [by_prior & by_data, by_prior], ["prior against data", "prior instead of data"], ""
    )
    return table


def _scaled(fit: Fit) -> dict[str, tuple[float, float]]:
    """Return by term the sensitivity to the power of the prior, and of the likelihood."""
    from arviz_stats import psense

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = fit.with_groups("log_prior", "log_likelihood").data
        by_prior = psense(data, group="prior")
        by_data = psense(data, group="likelihood")
    numbers: dict[str, tuple[float, float]] = {}
    for name in ("Intercept", "beta", "sigma"):
        if name in by_prior:
            pairs = zip(np.atleast_1d(by_prior[name]), np.atleast_1d(by_data[name]), strict=True)
            terms = fit.design.terms if name == "beta" else (name,)
            numbers |= {t: (float(p), float(d)) for t, (p, d) in zip(terms, pairs, strict=True)}
    return numbers


def sensitive_priors(fit: Fit) -> tuple[Finding, ...]:
    """Return where the prior speaks against the data, or in their place; see `prior_sensitivity`."""
    ready = fit.result.draws and fit.affordable and fit.design.matrix is not None
    if not ready or fit.design.inputs or fit.priors.is_flat:
        return ()
    numbers = _scaled(fit)
    conflict = {t: p for t, (p, d) in numbers.items() if p > SENSITIVE and d > SENSITIVE}
    instead = {t: p for t, (p, d) in numbers.items() if p > SENSITIVE >= d}
    return tuple(
        _of_prior(code, words, found, advice)
        for code, words, found, advice in (
            (
                "prior-data-conflict",
                "The prior and the data pull in different directions on",
                conflict,
                "Compare with another prior, and report both.",
            ),
            (
                "strong-prior",
                "The data say little, and the prior much, about",
                instead,
                "Report the prior, or collect more data.",
            ),
        )
        if found
    )


def _of_prior(code: str, words: str, found: dict[str, float], advice: str) -> Finding:
    worst = sorted(found, key=lambda term: -found[term])
    named = ", ".join(f"{term} ({found[term]:.2f})" for term in worst[:NAMED])
    more = f" and {len(worst) - NAMED} more" if len(worst) > NAMED else ""
    return Finding(
        code,
        "warning",
        f"{words} {named}{more} (sensitivity to the power of the prior above {SENSITIVE}).",
        value=found[worst[0]],
        threshold=SENSITIVE,
        where=worst[0],
        advice=advice,
    )

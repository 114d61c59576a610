"""Tables of coefficients: from an estimate and its covariance, or from draws.

Estimates are on the link scale; with ``exponentiate`` they are ratios, where the link gives them a
name (odds ratio, risk ratio, hazard ratio).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.errors import SpecificationError, explain

if TYPE_CHECKING:
    import pandas as pd

    from bayesglm.link import Link

__all__ = ["RATIOS", "check_level", "draws_table", "estimates_table", "ratio_name", "to_text"]

# What exp(coefficient) is called under each link that makes it a ratio.
RATIOS = {"logit": "odds ratio", "log": "risk ratio", "cloglog": "hazard ratio"}


def check_level(level: float) -> float:
    """Return the level, refused unless it lies strictly between 0 and 1.

    Examples
    --------
    >>> check_level(0.9)
    0.9
    """
    if not 0 < level < 1:
        raise SpecificationError(
            explain("level must lie between 0 and 1", level=level, advice="use level=0.95")
        )
    return float(level)


def ratio_name(link: Link) -> str:
    """Return what exp(coefficient) is called under a link.

    Raises
    ------
    SpecificationError
        If it is no ratio of anything.
    """
    if link.label not in RATIOS:
        raise SpecificationError(
            explain(
                "exp(coefficient) has a meaning only under the links " + ", ".join(RATIOS),
                link=link.label,
                advice="leave exponentiate=False",
            )
        )
    return RATIOS[link.label]


def estimates_table(
    names: tuple[str, ...],
    estimate: np.ndarray,
    cov: np.ndarray,
    *,
    level: float,
    exponentiate: bool,
    tests: bool,
    limits: np.ndarray | None = None,
) -> pd.DataFrame:
    """Tabulate point estimates with normal intervals.

    Parameters
    ----------
    names : tuple of str
        Terms.
    estimate : ndarray, shape (k,)
        Link scale.
    cov : ndarray, shape (k, k)
        Their covariance; NaN gives NaN errors and intervals.
    level : float
        Coverage of the interval.
    exponentiate : bool
        Report exp(estimate) and exp(interval), with the delta method's error exp(estimate) * se.
    tests : bool
        Add the Wald z and its two-sided p-value (of coefficient = 0, on the link scale).
    limits : ndarray, shape (k, 2), optional
        Lower and upper, link scale, instead of the normal interval.

    Returns
    -------
    DataFrame
        Indexed by term: estimate, std_error, lower, upper (z, p_value).
    """
    import pandas as pd

    # scipy.stats has the same, but takes a second to load.
    from scipy.special import ndtr, ndtri

    error = np.sqrt(np.diagonal(cov))
    if limits is None:
        reach = ndtri(0.5 + level / 2) * error
        limits = np.column_stack([estimate - reach, estimate + reach])
    table = pd.DataFrame(
        {
            "estimate": estimate,
            "std_error": error,
            "lower": limits[:, 0],
            "upper": limits[:, 1],
        },
        index=pd.Index(names, name="term"),
    )
    if tests:
        with np.errstate(divide="ignore", invalid="ignore"):
            z = estimate / error
        table["z"], table["p_value"] = z, 2 * ndtr(-np.abs(z))
    if exponentiate:
        table["std_error"] *= np.exp(estimate)
        table[["estimate", "lower", "upper"]] = np.exp(table[["estimate", "lower", "upper"]])
    return table


def draws_table(
    names: tuple[str, ...], draws: np.ndarray, *, level: float, exponentiate: bool
) -> pd.DataFrame:
    """Tabulate posterior draws.

    Parameters
    ----------
    names : tuple of str
        Terms.
    draws : ndarray, shape (chains, draws, k)
        Link scale.
    level : float
        Mass of the equal-tailed interval.
    exponentiate : bool
        Tabulate exp(draws).

    Returns
    -------
    DataFrame
        Indexed by term: estimate (mean), std_error (sd), lower, upper, r_hat, ess_bulk, ess_tail.
    """
    import pandas as pd
    from arviz_stats.base import array_stats

    values = np.exp(draws) if exponentiate else draws
    tails = [(1 - level) / 2, (1 + level) / 2]
    lower, upper = np.quantile(values, tails, axis=(0, 1))
    columns = {
        "estimate": values.mean(axis=(0, 1)),
        "std_error": values.std(axis=(0, 1), ddof=1),
        "lower": lower,
        "upper": upper,
        # Rank-based, so the same on either scale.
        "r_hat": array_stats.rhat(draws, chain_axis=0, draw_axis=1),
        "ess_bulk": array_stats.ess(draws, chain_axis=0, draw_axis=1, method="bulk"),
        "ess_tail": array_stats.ess(
            draws, chain_axis=0, draw_axis=1, method="tail", prob=(0.05, 0.95)
        ),
    }
    return pd.DataFrame(columns, index=pd.Index(names, name="term"))


def to_text(table: pd.DataFrame) -> str:
    """Return a table as aligned text, each column in digits that suit it.

    Examples
    --------
    >>> import pandas as pd
    >>> print(to_text(pd.DataFrame({"estimate": [15.04294], "p_value": [0.0415]}, index=["a"])))
      estimate p_value
    a    15.04  0.0415
    """
    return str(table.to_string(formatters=formatters(table), index_names=False, na_rep="-"))


def formatters(table: pd.DataFrame) -> dict[str, Callable[[Any], str]]:
    """Return a formatter for each column of a table of coefficients."""

    def number(value: Any) -> str:
        return "-" if np.isnan(value) else f"{value:.4g}"

    special: dict[str, Callable[[Any], str]] = {
        "r_hat": lambda v: f"{v:.3f}",
        "k_hat": lambda v: f"{v:.2f}",
        "ess": lambda v: f"{v:.0f}",
        "ess_bulk": lambda v: f"{v:.0f}",
        "ess_tail": lambda v: f"{v:.0f}",
        "z": lambda v: f"{v:.2f}",
        "p_value": lambda v: "<0.0001" if v < 1e-4 else f"{v:.4f}",
    }
    special["scale"] = str
    return {name: special.get(name, number) for name in table.columns}

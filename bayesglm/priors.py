"""The priors of a model in numbers: one distribution for each term, and what they imply for p.

The prior of the intercept speaks of the centred predictors, so of the baseline probability.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpyro.distributions as dist

from bayesglm.precision import scope

if TYPE_CHECKING:
    import pandas as pd

    from bayesglm.links import Link

__all__ = ["Baseline", "ColumnFacts", "Priors", "describe"]

type Distribution = dist.Distribution

# Draws and rows behind the implied quantiles of p.
DRAWS, ROWS = 1_000, 500
SHOWN = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class ColumnFacts:
    """What a prior needs to know of a column of the matrix.

    Attributes
    ----------
    term : str
        Name of the column.
    variables : tuple of str
        Columns of the data it is made of.
    kind : str
        ``"numeric"``, ``"binary"`` (two values) or ``"constant"``.
    categorical : bool
        Whether it comes from factors alone.
    mean, sd : float
        Weighted by weights times trials (divisor n).
    minimum, maximum : float
    mean_rows, sd_rows : float
        Over rows, unweighted (divisor n - 1).
    """

    term: str
    variables: tuple[str, ...]
    kind: str
    categorical: bool
    mean: float
    sd: float
    minimum: float
    maximum: float
    mean_rows: float
    sd_rows: float


@dataclass(frozen=True)
class Baseline:
    """What a prior needs to know of the rows: their number, mean offset, and the outcome."""

    rows: int
    offset_mean: float
    y_mean: float
    y_sd: float


@dataclass(frozen=True)
class Priors:
    """The priors of a model, in numbers.

    Attributes
    ----------
    name : str
        The preset, or ``"custom"``.
    terms : tuple of str
        Coefficients, without the intercept.
    has_intercept : bool
    intercept : Distribution or None
        Of the intercept on centred predictors (link scale); None is flat.
    beta : tuple of Distribution or None
        One for each term (link scale); None is flat.
    sigma : Distribution or None
        Of the residual standard deviation.
    center : ndarray, shape (p,)
        What is subtracted from the columns.
    offset_center : float
        What is subtracted from the offset (link scale).
    link : Link
    gaussian : bool
    rows : tuple or None
        Matrix and offset of the rows for which the implied p is shown.
    """

    name: str
    terms: tuple[str, ...]
    has_intercept: bool
    intercept: Distribution | None
    beta: tuple[Distribution | None, ...]
    sigma: Distribution | None
    center: np.ndarray
    offset_center: float
    link: Link
    gaussian: bool = False
    rows: Any = None

    @property
    def is_flat(self) -> bool:
        """Whether every population-level prior is flat."""
        return all(b is None for b in self.beta) and self.intercept is None

    @property
    def _named(self) -> list[tuple[str, Distribution | None]]:
        head = [("Intercept (centred)", self.intercept)] if self.has_intercept else []
        tail = [("sigma", self.sigma)] if self.gaussian else []
        return [*head, *zip(self.terms, self.beta, strict=True), *tail]

    def table(self) -> pd.DataFrame:
        """Return one row for each parameter: distribution, location, scale, central 95 %.

        Returns
        -------
        DataFrame
            Indexed by term; the last two columns on the link scale.
        """
        import pandas as pd

        rows = []
        for term, prior in self._named:
            lower, upper = _central(prior)
            rows.append(
                {
                    "term": term,
                    "distribution": describe(prior),
                    "location": float(getattr(prior, "loc", np.nan)),
                    "scale": float(getattr(prior, "scale", np.nan)),
                    "lower": lower,
                    "upper": upper,
                }
            )
        return pd.DataFrame(rows).set_index("term")

    def with_rows(self, matrix: Any, offset: np.ndarray) -> Priors:
        """Return the same priors, able to say what they imply for p on these rows."""
        return replace(self, rows=(matrix, offset))

    def implied_quantiles(self, draws: int = DRAWS, seed: int = 0) -> tuple[float, ...]:
        """Return the 5, 50 and 95 % quantiles of p over prior draws and rows.

        Draws that give an impossible probability (links ``log`` and ``identity``) are left out,
        as the model leaves them out. Empty where a prior is flat.

        Parameters
        ----------
        draws : int
            Number of draws.
        seed : int
            Fixes them.
        """
        proper = all(prior is not None for _, prior in self._named)
        if self.rows is None or not proper:
            return ()
        eta = self._draw_eta(draws, seed)
        lower, upper = self.link.domain
        if self.link.partial and not self.gaussian:
            eta = eta[((eta >= lower) & (eta <= upper)).all(axis=1)]
        if not len(eta):
            return ()
        with scope("float64"):
            p = eta if self.gaussian else np.asarray(self.link.inverse(eta))
        return tuple(float(q) for q in np.quantile(p, SHOWN))

    def _draw_eta(self, draws: int, seed: int) -> np.ndarray:
        import jax

        matrix, offset = self.rows
        chosen = np.unique(np.linspace(0, len(offset) - 1, min(ROWS, len(offset))).astype(int))
        rows = (
            matrix[chosen] if isinstance(matrix, np.ndarray) else matrix.tocsr()[chosen].toarray()
        )
        with scope("float64"):
            keys = jax.random.split(jax.random.key(seed), len(self.terms) + 1)
            beta = [
                np.asarray(prior.sample(key, (draws,)))
                for key, prior in zip(keys, self.beta, strict=False)
                if prior is not None
            ]
            eta = np.column_stack(beta) @ (rows - self.center).T if beta else 0.0
            if self.intercept is not None:
                eta = eta + np.asarray(self.intercept.sample(keys[-1], (draws,)))[:, None]
        return np.broadcast_to(eta + (offset[chosen] - self.offset_center), (draws, len(chosen)))

    def __repr__(self) -> str:
        """Return the table as text, with what it implies for p."""
        shown = [(term, describe(prior)) for term, prior in self._named]
        width = max((len(term) for term, _ in shown), default=4) + 2
        lines = [f'prior "{self.name}", link {self.link.label}']
        lines += [f"  {term:<{width}}{text}" for term, text in shown]
        return "\n".join([*lines, self._implication()])

    def _implication(self) -> str:
        quantiles = self.implied_quantiles()
        if not quantiles:
            return "a flat prior implies no distribution of p"
        low, middle, high = quantiles
        what = "the mean of y" if self.gaussian else "p"
        return f"implied 5, 50, 95 % quantiles of {what}: {low:.3f}, {middle:.3f}, {high:.3f}"

    def _repr_html_(self) -> str:
        from html import escape

        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(term)}</th><td>{escape(describe(p))}</td></tr>"
            for term, p in self._named
        )
        title = escape(f'prior "{self.name}", link {self.link.label}')
        return f"<p>{title}</p><table>{rows}</table><p>{escape(self._implication())}</p>"


def describe(prior: Distribution | None) -> str:
    """Return a distribution in numbers.

    Examples
    --------
    >>> describe(dist.Normal(0.0, 2.5)), describe(None)
    ('Normal(0, 2.5)', 'flat')
    """
    if prior is None:
        return "flat"
    if isinstance(prior, dist.FoldedDistribution) and isinstance(prior.base_dist, dist.StudentT):
        return "Half" + describe(prior.base_dist)
    order = {"df": 0, "loc": 1}
    names = sorted(type(prior).arg_constraints, key=lambda name: (order.get(name, 2), name))
    values = ", ".join(f"{float(getattr(prior, name)):.4g}" for name in names)
    return f"{type(prior).__name__}({values})"


def _central(prior: Distribution | None) -> tuple[float, float]:
    if prior is None:
        return -np.inf, np.inf
    try:
        with scope("float64"):
            return float(prior.icdf(0.025)), float(prior.icdf(0.975))
    except NotImplementedError:
        return float("nan"), float("nan")

"""Priors in numbers: from a name and facts about the columns to one distribution for each term.

``weak`` (default) believes the same about the slope of p at one half under every link: with f the
density of F and k = 0.25 / f(eta at p = 1/2), coefficients are Normal(0, 1.5 k / scale of column).
``rstanarm``, ``bambi`` and ``gelman`` are the defaults of that software, so that people who come
from there get the numbers they had.

The prior of the intercept speaks of the centred predictors, so of the baseline probability.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpyro.distributions as dist

from bayesglm.errors import SpecificationError, explain, suggest

if TYPE_CHECKING:
    import pandas as pd

    from bayesglm.families import Family
    from bayesglm.links import Link

__all__ = ["PRIORS", "Baseline", "ColumnFacts", "Priors", "resolve"]

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
        from bayesglm.precision import scope

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

        from bayesglm.precision import scope

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
    from bayesglm.precision import scope

    try:
        with scope("float64"):
            return float(prior.icdf(0.025)), float(prior.icdf(0.975))
    except NotImplementedError:
        return float("nan"), float("nan")


@dataclass(frozen=True)
class _Scales:
    """A preset, worked out: sd of the intercept, of each coefficient, and how to centre."""

    make: Callable[[float, float], Distribution]
    location: float
    intercept: float
    beta: list[float]
    sigma: Distribution | None
    center_rows: bool
    center_offset: bool


def _width(column: ColumnFacts, sd: float) -> float:
    """Return what a coefficient is measured by: sd, range of two values, or 1."""
    if column.kind == "constant":
        return 1.0
    return column.maximum - column.minimum if column.kind == "binary" else sd


def _half_t(df: float, scale: float) -> Distribution:
    return dist.FoldedDistribution(dist.StudentT(df, 0.0, scale or 1.0))


def _weak(columns: Sequence[ColumnFacts], link: Link, family: Family, rows: Baseline) -> _Scales:
    k = 0.25 / link.density_half
    return _Scales(
        dist.Normal,
        link.half,
        1.5 * k,
        [1.5 * k / _width(column, column.sd) for column in columns],
        _half_t(3.0, rows.y_sd),
        center_rows=False,
        center_offset=True,
    )


def _rstanarm(
    columns: Sequence[ColumnFacts], link: Link, family: Family, rows: Baseline
) -> _Scales:
    factor = 1.595769121605731 if link.name == "probit" else 1.0  # dnorm(0) / dlogis(0)
    unit = rows.y_sd if family.has_sigma else factor
    return _Scales(
        dist.Normal,
        rows.y_mean if family.has_sigma else 0.0,
        2.5 * unit,
        [2.5 * unit / (column.sd_rows or 1.0) for column in columns],
        dist.Exponential(1 / (rows.y_sd or 1.0)),
        center_rows=True,
        center_offset=False,
    )


def _bambi(columns: Sequence[ColumnFacts], link: Link, family: Family, rows: Baseline) -> _Scales:
    shrink = np.sqrt((rows.rows - 1) / rows.rows) if rows.rows > 1 else 1.0
    sds = [column.sd_rows * shrink or 1.0 for column in columns]
    if link.name in ("logit", "probit"):
        beta = [
            1.0 if column.categorical else 1.0 / sd for column, sd in zip(columns, sds, strict=True)
        ]
        location, intercept = 0.0, 1.5
    else:
        unit = rows.y_sd if family.has_sigma else 1.0
        beta = [2.5 * unit / sd for sd in sds]
        location, intercept = (rows.y_mean if family.has_sigma else 0.0), 2.5 * unit
    return _Scales(
        dist.Normal, location, intercept, beta, _half_t(4.0, rows.y_sd),
        center_rows=True, center_offset=False,
    )  # fmt: skip


def _gelman(columns: Sequence[ColumnFacts], link: Link, family: Family, rows: Baseline) -> _Scales:
    unit = 2 * rows.y_sd if family.has_sigma else (1.6 if link.name == "probit" else 1.0)
    return _Scales(
        dist.Cauchy,
        0.0,
        10 * unit,
        [2.5 * unit / _width(column, 2 * column.sd_rows) for column in columns],
        _half_t(3.0, rows.y_sd),
        center_rows=True,
        center_offset=False,
    )


PRIORS: dict[str, Callable[..., _Scales] | None] = {
    "weak": _weak,
    "flat": None,
    "rstanarm": _rstanarm,
    "bambi": _bambi,
    "gelman": _gelman,
}


def resolve(
    prior: str | Mapping[str, Any],
    columns: Sequence[ColumnFacts],
    *,
    link: Link,
    family: Family,
    intercept: bool,
    center: bool,
    baseline: Baseline,
) -> Priors:
    """Return the priors in numbers.

    Parameters
    ----------
    prior : str or mapping
        A preset, or a mapping from term or column of the data to a NumPyro distribution (None is
        flat), with ``"Intercept"``, ``"sigma"`` and, for the rest, ``"default"``.
    columns : sequence of ColumnFacts
        The columns of the matrix.
    link, family : Link, Family
    intercept, center : bool
        Whether there is an intercept, and whether its prior is on centred predictors.
    baseline : Baseline
        Facts about the rows.

    Raises
    ------
    SpecificationError
        For an unknown preset or term, or a prior that is no scalar distribution.
    """
    own = dict(prior) if isinstance(prior, Mapping) else {}
    preset = own.pop("default", "weak") if isinstance(prior, Mapping) else prior
    if not isinstance(preset, str) or preset not in PRIORS:
        raise SpecificationError(
            explain(
                f"unknown prior.{suggest(preset, PRIORS)}",
                prior=preset,
                advice=f"use one of {', '.join(PRIORS)}, or a dict of NumPyro distributions",
            )
        )
    maker = PRIORS[preset]
    scales = None if maker is None else maker(columns, link, family, baseline)
    centred = intercept and center
    rows = scales is not None and scales.center_rows
    means = [column.mean_rows if rows else column.mean for column in columns]
    offset = scales is None or scales.center_offset
    beta: list[Distribution | None] = (
        [None] * len(columns) if scales is None else [scales.make(0.0, s) for s in scales.beta]
    )
    base = None if scales is None else scales.make(scales.location, scales.intercept)
    sigma = scales.sigma if scales is not None and family.has_sigma else None
    for key, given in own.items():
        _refuse_odd(key, given)
        places = [j for j, c in enumerate(columns) if c.term == key or c.variables == (key,)]
        if key == "Intercept" and intercept:
            base = given
        elif key == "sigma" and family.has_sigma:
            sigma = given
        elif places:
            for j in places:
                beta[j] = given
        else:
            known = ["Intercept"] * intercept + [column.term for column in columns]
            raise SpecificationError(
                explain(
                    f"the prior names no term or column.{suggest(key, known)}",
                    term=key,
                    advice="the terms are " + ", ".join(known),
                )
            )
    return Priors(
        name=f"custom, else {preset}" if own else preset,
        terms=tuple(column.term for column in columns),
        has_intercept=intercept,
        intercept=base if intercept else None,
        beta=tuple(beta),
        sigma=sigma,
        center=np.array(means if centred else [0.0] * len(columns), dtype=float),
        offset_center=baseline.offset_mean if centred and offset else 0.0,
        link=link,
        gaussian=family.has_sigma,
    )


def _refuse_odd(key: str, given: Any) -> None:
    if given is None:
        return
    if not isinstance(given, dist.Distribution):
        raise SpecificationError(
            explain(
                f"the prior of {key!r} must be a NumPyro distribution or None",
                prior=given,
                advice="use numpyro.distributions, such as Normal(0, 2.5)",
            )
        )
    if given.batch_shape or given.event_shape:
        raise SpecificationError(
            explain(
                f"the prior of {key!r} must be a scalar distribution",
                batch_shape=given.batch_shape,
                event_shape=given.event_shape,
            )
        )
    if given.is_discrete:
        raise SpecificationError(explain(f"the prior of {key!r} must be continuous"))

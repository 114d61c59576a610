"""From the name of a prior, or distributions by term, to the priors of a model in numbers.

``weak`` (default) believes the same about the slope of p at one half under every link: with f the
density of F and k = 0.25 / f(eta at p = 1/2), coefficients are Normal(0, 1.5 k / scale of column).
``rstanarm``, ``bambi`` and ``gelman`` are the defaults of that software, so that people who come
from there get the numbers they had.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpyro.distributions as dist

from bayesglm.errors import SpecificationError, explain, suggest
from bayesglm.priors import Baseline, ColumnFacts, Priors

if TYPE_CHECKING:
    from bayesglm.families import Family
    from bayesglm.link import Link

__all__ = ["PRIORS", "resolve"]

type Distribution = dist.Distribution


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


def _sample_sd(rows: Baseline) -> float:
    """Return the sd of y with divisor n - 1, as R's sd (1 for a constant y)."""
    return rows.y_sd_rows or 1.0


def _weak(columns: Sequence[ColumnFacts], link: Link, family: Family, rows: Baseline) -> _Scales:
    k = 0.25 / link.density_half
    return _Scales(
        dist.Normal,
        link.half,
        1.5 * k,
        [1.5 * k / _width(column, column.sd) for column in columns],
        _half_t(3.0, rows.y_sd) if family.has_sigma else None,
        center_rows=False,
        center_offset=True,
    )


def _rstanarm(
    columns: Sequence[ColumnFacts], link: Link, family: Family, rows: Baseline
) -> _Scales:
    factor = 1.595769121605731 if link.name == "probit" else 1.0  # dnorm(0) / dlogis(0)
    sd = _sample_sd(rows)
    unit = sd if family.has_sigma else factor
    return _Scales(
        dist.Normal,
        rows.y_mean_rows if family.has_sigma else 0.0,
        2.5 * unit,
        [2.5 * unit / (column.sd_rows or 1.0) for column in columns],
        dist.Exponential(1 / sd) if family.has_sigma else None,
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
        unit = rows.y_sd_rows * shrink if family.has_sigma else 1.0
        beta = [2.5 * unit / sd for sd in sds]
        location = rows.y_mean_rows if family.has_sigma else 0.0
        # As in its source: widened by the means of the columns, although these are centred.
        moved = [sd * column.mean_rows for sd, column in zip(beta, columns, strict=True)]
        intercept = float(np.hypot(2.5 * unit, np.linalg.norm(moved)))
    return _Scales(
        dist.Normal, location, intercept, beta, _half_t(4.0, rows.y_sd_rows * shrink) if family.has_sigma else None,
        center_rows=True, center_offset=False,
    )  # fmt: skip


def _gelman(columns: Sequence[ColumnFacts], link: Link, family: Family, rows: Baseline) -> _Scales:
    unit = 2 * _sample_sd(rows) if family.has_sigma else (1.6 if link.name == "probit" else 1.0)
    return _Scales(
        dist.Cauchy,
        0.0,
        10 * unit,
        [2.5 * unit / _width(column, 2 * column.sd_rows) for column in columns],
        _half_t(3.0, rows.y_sd) if family.has_sigma else None,
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
    _refuse_unknown(preset, "default" if isinstance(prior, Mapping) else "prior")
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
    terms = [column.term for column in columns]
    # A term is narrower than the column it is made of, so it is looked at last.
    for key in sorted(own, key=lambda key: key in terms):
        given = own[key]
        _refuse_odd(key, given)
        places = [j for j, column in enumerate(columns) if column.variables == (key,)]
        if key == "Intercept" and intercept:
            base = given
        elif key == "sigma" and family.has_sigma:
            sigma = given
        elif key in terms:
            beta[terms.index(key)] = given
        elif places:
            for j in places:
                beta[j] = given
        else:
            known = ["Intercept"] * intercept + ["sigma"] * family.has_sigma + terms
            sources = [name for column in columns for name in column.variables]
            raise SpecificationError(
                explain(
                    f"the prior names no term or column{suggest(key, [*known, *sources])}",
                    term=key,
                    advice="the terms are " + ", ".join(known),
                )
            )
    return Priors(
        name=f"custom, else {preset}" if own else preset,
        terms=tuple(terms),
        has_intercept=intercept,
        intercept=base if intercept else None,
        beta=tuple(beta),
        sigma=sigma,
        center=np.array(means if centred else [0.0] * len(columns), dtype=float),
        offset_center=baseline.offset_mean if centred and offset else 0.0,
        link=link,
        gaussian=family.has_sigma,
    )


def _refuse_unknown(preset: Any, word: str) -> None:
    if isinstance(preset, str) and preset in PRIORS:
        return
    names = ", ".join(PRIORS)
    if preset in ("horseshoe", "r2d2"):
        wrong, advice = "this shrinkage prior is not available yet", f"use one of {names}"
    elif word == "default":
        wrong = f"the default of a dict of priors must be a name{suggest(preset, PRIORS)}"
        advice = f"use one of {names}"
    else:
        wrong = f"unknown prior{suggest(preset, PRIORS)}"
        advice = f"use one of {names}, or a dict of NumPyro distributions"
    raise SpecificationError(explain(wrong, advice=advice, **{word: preset}))


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
                advice="give each term a distribution of its own",
            )
        )
    if given.is_discrete or isinstance(given, (dist.Delta, dist.ImproperUniform)):
        raise SpecificationError(
            explain(
                f"the prior of {key!r} must be continuous and proper",
                prior=type(given).__name__,
                advice="use a distribution such as Normal(0, 2.5); None is the flat prior",
            )
        )

"""The table of a fit: its coefficients, and with networks what their inputs do to p."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bayesglm import tables
from bayesglm.group_effects import shape_table
from bayesglm.input_effects import input_effects
from bayesglm.intervals import interval_of, profile_limits_of
from bayesglm.link_shapes import link_shape_table

if TYPE_CHECKING:
    import pandas as pd

    from bayesglm.fit import Fit

__all__ = ["summary_table"]


def summary_table(
    fit: Fit, *, level: float, exponentiate: bool, ci: str | None = None
) -> pd.DataFrame:
    """Return the table of a fit; see `Fit.summary`."""
    tables.check_level(level)
    kind = interval_of(fit, ci)
    if exponentiate:
        tables.ratio_name(fit.spec.link)
    limits = profile_limits_of(fit, level) if kind == "profile" else None
    import pandas as pd

    linear = _coefficients(fit, level, exponentiate, limits)
    for shapes, scale in ((shape_table(fit, level), "link"), (link_shape_table(fit, level), "own")):
        if shapes is None:
            continue
        if exponentiate:
            linear["scale"], shapes["scale"] = "ratio", scale
        if fit.result.certified:
            shapes = _certified(fit, shapes)
        linear = pd.concat([linear, shapes])
    if not fit.design.inputs:
        return linear

    linear["scale"] = "ratio" if exponentiate else "link"
    effects = input_effects(fit)
    if not effects:
        return linear
    names, values = tuple(effects), np.stack(list(effects.values()), axis=-1)
    if fit.result.draws:
        added = _of_draws(fit, names, values, level, exponentiate=False)
    else:
        # Of an ensemble its mean; the spread between its members is no sampling error.
        members = values.reshape(-1, len(names))
        added = tables.estimates_table(
            names,
            members.mean(axis=0),
            np.full((len(names),) * 2, np.nan),
            level=level,
            exponentiate=False,
            tests=fit.method == "mle",
        )
    added["scale"] = "mean" if fit.spec.family.has_sigma else "probability"
    return pd.concat([linear, added]) if len(linear) else added


def _coefficients(
    fit: Fit, level: float, exponentiate: bool, limits: np.ndarray | None
) -> pd.DataFrame:
    if fit.result.draws:
        return _of_draws(fit, fit.terms, fit.theta_draws(), level, exponentiate=exponentiate)
    return tables.estimates_table(
        fit.terms,
        fit.result.theta,
        fit.result.cov,
        level=level,
        exponentiate=exponentiate,
        tests=fit.method == "mle",
        limits=limits,
    )


def _of_draws(
    fit: Fit, names: tuple[str, ...], draws: np.ndarray, level: float, *, exponentiate: bool
) -> pd.DataFrame:
    table = tables.draws_table(names, draws, level=level, exponentiate=exponentiate)
    return _certified(fit, table) if fit.result.certified else table


def _certified(fit: Fit, table: pd.DataFrame) -> pd.DataFrame:
    # Of independent draws R-hat and ESS would say nothing; the certificate does.
    table = table.drop(columns=["r_hat", "ess_bulk", "ess_tail"])
    words = fit.result.options
    table["k_hat"], table["ess"] = words["k_hat"], words["importance_ess"]
    return table

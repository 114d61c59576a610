"""Groups of a fit's DataTree that are computed when asked for, all from the one model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bayesglm import datatree
from bayesglm.errors import SpecificationError, explain, suggest
from bayesglm.inference import predictive

if TYPE_CHECKING:
    import xarray as xr

    from bayesglm.design import Design
    from bayesglm.fit import Fit
    from bayesglm.inference.target import Target

__all__ = ["GROUPS", "flat_draws", "group", "joint_draws", "prior_groups"]

GROUPS = ("log_likelihood", "log_prior", "posterior_predictive", "prior", "prior_predictive")
# Draws of the prior and prior predictive groups.
PRIOR_DRAWS = 1_000
# Batches of draws among which enough possible ones are looked for, under a link with a domain.
BATCHES = 100


def group(fit: Fit, name: str, *, seed: int = 0) -> dict[str, xr.Dataset]:
    """Return a group by its name; ``prior`` and ``prior_predictive`` come together.

    Parameters
    ----------
    fit : Fit
    name : str
        One of ``GROUPS``.
    seed : int
        Fixes the simulated groups.

    Raises
    ------
    SpecificationError
        For an unknown name, draws that a point fit lacks, or a prior that is flat.
    """
    if name not in GROUPS:
        raise SpecificationError(
            explain(
                f"unknown group{suggest(name, GROUPS)}",
                group=name,
                advice="use one of " + ", ".join(GROUPS),
            )
        )
    coords = datatree.coordinates(fit.design)
    if name in ("prior", "prior_predictive"):
        return prior_groups(fit.rows_target, fit.design, PRIOR_DRAWS, seed=seed)
    flat = flat_draws(fit, name)
    shape = flat.shape[:2]
    flat = flat.reshape(-1, flat.shape[-1])
    if name == "log_prior":
        values = predictive.log_prior_draws(fit.target, flat).reshape(shape)
        return {name: datatree.dataset({"log_prior": values}, coords)}
    if name == "log_likelihood":
        values = predictive.pointwise_draws(fit.rows_target, flat)
        coords["obs"] = coords["obs"][fit.design.weights > 0]
    else:
        values = predictive.predictive_draws(fit.rows_target, flat, seed=seed)
    return {name: datatree.dataset({"y": values.reshape(*shape, -1)}, coords)}


def prior_groups(target: Target, design: Design, draws: int, *, seed: int) -> dict[str, xr.Dataset]:
    """Draw parameters and outcomes from the prior: groups ``prior`` and ``prior_predictive``.

    See `joint_draws` for links with a bounded domain.

    Raises
    ------
    SpecificationError
        If a prior is flat, or hardly any draw is possible.
    """
    coords = datatree.coordinates(design)
    drawn = joint_draws(target, design, draws, seed=seed)
    outcome = {"y": drawn.pop("y")[None]}
    prior = {name: values[None] for name, values in drawn.items()}
    return {
        "prior": datatree.dataset(prior, coords),
        "prior_predictive": datatree.dataset(outcome, coords),
    }


def joint_draws(target: Target, design: Design, draws: int, *, seed: int) -> dict[str, np.ndarray]:
    """Draw parameters from the prior, and an outcome given each: as `predictive.prior_draws`.

    Links with a bounded domain truncate the prior to the coefficients that give every row (of
    weight > 0) a possible probability, as the likelihood does; impossible draws are drawn again.

    Raises
    ------
    SpecificationError
        If a prior is flat, or hardly any draw is possible.
    """
    family, link = target.structure.family, target.structure.link
    if link.partial and not family.has_sigma:
        return _possible_draws(target, design, draws, seed)
    return predictive.prior_draws(target, draws, seed=seed)


def _possible_draws(target: Target, design: Design, draws: int, seed: int) -> dict[str, np.ndarray]:
    live = design.weights > 0
    matrix = design.matrix[live] if live.any() and not live.all() else design.matrix
    offset = design.offset[live]
    lower, upper = target.structure.link.domain
    generator = np.random.default_rng(seed)
    parts: list[dict[str, np.ndarray]] = []
    found = 0
    for _ in range(BATCHES):
        drawn = predictive.prior_draws(target, draws, seed=int(generator.integers(2**31)))
        eta = (matrix @ drawn["beta"].T).T + offset
        if design.intercept:
            eta = eta + drawn["Intercept"][:, None]
        kept = ((eta >= lower) & (eta <= upper)).all(axis=1)
        parts.append({name: values[kept] for name, values in drawn.items()})
        found += int(kept.sum())
        if found >= draws:
            return {n: np.concatenate([part[n] for part in parts])[:draws] for n in parts[0]}
    raise SpecificationError(
        explain(
            f"hardly any draw of the prior gives every row a possible probability under the "
            f"{target.structure.link.name} link",
            possible=found,
            draws=BATCHES * draws,
            advice='use narrower priors, or link="logit"',
        )
    )


def flat_draws(fit: Fit, name: str) -> np.ndarray:
    """Return the draws of the flat parameters, shape (chains, draws, k), for what is named."""
    if fit.result.flat_draws is None:
        raise SpecificationError(
            explain(
                f"{name} needs posterior draws",
                method=fit.method,
                advice='use model.fit("nuts")',
            )
        )
    return fit.result.flat_draws

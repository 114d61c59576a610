"""The log likelihood of single rows, those that a fit has seen or others, by draw."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from bayesglm.effects.rows import Rows, rows_of
from bayesglm.link_shapes import bound_link
from bayesglm.precision import in_double
from bayesglm.predicting import averaged_points, eta, points_of

if TYPE_CHECKING:
    from bayesglm.fit import Fit
    from bayesglm.link import Link
    from bayesglm.shaped import BoundLink

__all__ = ["log_likelihoods", "taken"]


def taken(rows: Rows, at: np.ndarray) -> Rows:
    """Return some rows, wherever they are."""
    return replace(
        rows,
        frame=rows.frame.iloc[at],
        matrix=rows.matrix[at],
        offset=rows.offset[at],
        inputs=tuple(values[at] for values in rows.inputs),
        groups={name: group[at] for name, group in rows.groups.items()},
        weights=rows.weights[at],
    )


def log_likelihoods(
    data: Fit, fit: Fit, at: np.ndarray, *, mean: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return eta and log p(y) of some rows of one fit's data, by the draws of another.

    Parameters
    ----------
    data : Fit
        Whose rows, outcomes and trials are meant.
    fit : Fit
        Whose draws, or estimate; it may have learned an encoding of its own.
    at : ndarray of int, shape (m,)
        The rows.
    mean : bool
        At the posterior mean of the coefficients instead of each draw.

    Returns
    -------
    eta, log_p : ndarray, shape (s, m)
        Link scale; log, of one copy of each row, binomial coefficients included.
    """
    design = data.design
    rows = rows_of(data, None, None)
    if fit.design.encoding is not design.encoding:
        found = rows_of(fit, design.frame, None)
        rows = replace(found, offset=design.offset, weights=design.weights)
    points = points_of(fit)
    if mean:
        points = averaged_points(points)
    values = eta(fit, points, taken(rows, at).plain(slice(None)))
    link = bound_link(fit.spec.link, points.shape)
    return values, _log_p(data, fit, link, values, at, mean)


@in_double
def _log_p(
    data: Fit, fit: Fit, link: Link | BoundLink, eta: np.ndarray, at: np.ndarray, mean: bool
) -> np.ndarray:
    design, family = data.design, data.spec.family
    y, trials = design.y[at], design.trials[at]
    sigma = None
    if family.has_sigma:
        drawn = np.asarray(fit.result.draws.get("sigma", fit.result.sigma), dtype=float)
        sigma = drawn.mean() if mean else drawn.reshape(-1, 1)
    found = family.log_prob(jnp.asarray(eta), jnp.asarray(y), jnp.asarray(trials), link, sigma)
    rows = np.asarray(found)
    return rows + family.log_coefficient(y, trials) if design.aggregated else rows

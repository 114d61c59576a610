"""Where optimisers start, and whether there is anything to find.

The default start has every slope 0 and the intercept at the observed share of events. Links with a
bounded domain need a feasible point; where the default is not, linear programming finds the one
farthest from the ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from bayesglm import processes
from bayesglm.errors import InferenceError, SeparationError, explain
from bayesglm.inference.aliasing import aliases
from bayesglm.inference.sharding import total
from bayesglm.precision import scope
from bayesglm.shards import local

if TYPE_CHECKING:
    from bayesglm.inference.target import Target

__all__ = ["refuse_impossible", "start"]

# Aliased columns named in a message.
NAMED = 5


def start(target: Target) -> np.ndarray:
    """Return a feasible point to start from, in flat coordinates.

    Raises
    ------
    InferenceError
        If the link's domain is bounded and no coefficients make every probability valid.
    """
    flat = np.zeros(target.size)
    data, link = target.data, target.structure.link
    if target.intercept:
        events = total(target, data.weights * data.y)
        if target.structure.family.has_sigma:
            # A mean of numbers, which need not lie between 0 and 1.
            flat[0] = events / target.effective
        else:
            flat[0] = float(link.eta((events + 0.5) / (target.effective + 1)))
        live = data.weights > 0
        if not link.partial or target.structure.family.has_sigma:
            mass = total(target, data.weights[live])
            flat[0] -= total(target, data.offset[live] * data.weights[live]) / mass
    if link.partial and not target.structure.family.has_sigma and not _feasible(target, flat):
        flat = _by_linear_programming(target)
    return flat


def _feasible(target: Target, flat: np.ndarray) -> bool:
    eta = _eta(target, flat)
    lower, upper = target.structure.link.domain
    return not total(target, (eta <= lower) | (eta >= upper))


def _eta(target: Target, flat: np.ndarray) -> np.ndarray:
    """Return eta of the rows with weight > 0."""
    with scope(target.precision):
        matrix = target.arrays.parts[0].matrix
        eta = matrix.dot(jnp.asarray(flat[: matrix.shape[0]], target.data.y.dtype))
        return (local(eta).astype(float) + target.data.offset)[target.data.weights > 0]


def _by_linear_programming(target: Target) -> np.ndarray:
    """Return the point whose least distance s to the ends of the domain is largest."""
    if processes.several(target.mesh):
        raise InferenceError(
            explain(
                "a start inside the link's domain cannot be found from the rows of one process",
                link=target.structure.link.name,
                advice="give init=, with every probability inside [0, 1]",
            )
        )
    from scipy.optimize import linprog

    k = len(target.places)
    rows = np.asarray(target.data.parts[0].matrix.values)[:k].T[target.data.weights > 0]
    offset = target.data.offset[target.data.weights > 0]
    lower, upper = target.structure.link.domain
    left, right = [], []
    if np.isfinite(upper):
        left.append(np.column_stack([rows, np.ones(len(rows))]))
        right.append(upper - offset)
    if np.isfinite(lower):
        left.append(np.column_stack([-rows, np.ones(len(rows))]))
        right.append(offset - lower)
    table, first = np.unique(np.vstack(left), axis=0, return_inverse=True)
    limits = np.full(len(table), np.inf)
    np.minimum.at(limits, first.ravel(), np.concatenate(right))
    # Some distance is enough: without the bound on s a cone would make the problem unbounded.
    answer = linprog(
        np.append(np.zeros(k), -1.0),
        A_ub=table,
        b_ub=limits,
        bounds=[(None, None)] * k + [(None, 1.0)],
    )
    if answer.status != 0 or answer.x[-1] <= 0:
        raise InferenceError(
            explain(
                f"no coefficients give every row a probability inside [0, 1] under the "
                f"{target.structure.link.name} link",
                advice='use link="logit", or an intercept, or a smaller offset',
            )
        )
    flat = np.zeros(target.size)
    flat[:k] = answer.x[:-1]
    return flat


def refuse_impossible(target: Target, *, one_outcome: bool = True) -> None:
    """Refuse a maximum-likelihood fit that has no unique finite answer whatever the optimiser.

    Parameters
    ----------
    target : Target
        The model on its data.
    one_outcome : bool
        Refuse an outcome with one value only.

    Raises
    ------
    SeparationError
        For an outcome with one value only.
    InferenceError
        For more coefficients than rows, or aliased columns.
    """
    data = target.data
    events = total(target, data.weights * data.y)
    single = not target.structure.family.has_sigma and events in (0.0, target.effective)
    if single and one_outcome:
        which = "no events" if events == 0 else "events only"
        raise SeparationError(
            explain(
                f"the outcome has {which}, so its maximum-likelihood estimate is at infinity",
                events=events,
                trials=target.effective,
                advice='use bias_reduction="jeffreys", or fit("map") or fit("nuts") with a proper '
                'prior such as prior="weak"',
            )
        )
    found = aliases(target)
    if not found:
        return
    rows, k = int(total(target, data.weights > 0)), len(target.places)
    advice = (
        'use aliased="drop", drop them yourself, or use a proper prior with fit("map") or "nuts"'
    )
    if k > rows:
        raise InferenceError(
            explain(
                f"there are more coefficients than {'different ' if target.merged else ''}rows, so "
                "they are not unique",
                coefficients=k,
                rows=rows,
                advice=advice,
            )
        )
    more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
    told = "; ".join(str(alias) for alias in found[:NAMED])
    raise InferenceError(
        explain(
            "some columns are linear combinations of others, so their coefficients are not unique: "
            f"{told}{more}",
            advice=advice,
        )
    )

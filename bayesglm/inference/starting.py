"""Where optimisers start, and whether there is anything to find.

The default start has every slope 0 and the intercept at the observed share of events. Links with a
bounded domain need a feasible point; where the default is not, linear programming finds the one
farthest from the ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bayesglm.errors import InferenceError, explain
from bayesglm.generative import Data
from bayesglm.precision import scope

if TYPE_CHECKING:
    from bayesglm.inference.target import Target

__all__ = ["aliased", "refuse_impossible", "start"]

# Smallest eigenvalue of the columns' correlation matrix that counts as full rank.
RANK = 1e-13


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
        events = float(np.sum(data.weights * data.y))
        if target.structure.family.has_sigma:
            # A mean of numbers, which need not lie between 0 and 1.
            flat[0] = events / target.effective
        else:
            flat[0] = float(link.eta((events + 0.5) / (target.effective + 1)))
        live = data.weights > 0
        if not link.partial or target.structure.family.has_sigma:
            flat[0] -= float(np.average(data.offset[live], weights=data.weights[live]))
    if link.partial and not target.structure.family.has_sigma and not _feasible(target, flat):
        flat = _by_linear_programming(target)
    return flat


def _feasible(target: Target, flat: np.ndarray) -> bool:
    eta = _eta(target, flat)
    lower, upper = target.structure.link.domain
    return bool((eta > lower).all() and (eta < upper).all())


def _eta(target: Target, flat: np.ndarray) -> np.ndarray:
    """Return eta of the rows with weight > 0."""
    with scope(target.precision):
        matrix = target.arrays.parts[0].matrix
        eta = matrix.dot(jnp.asarray(flat[: matrix.shape[0]], target.data.y.dtype))
        return (np.asarray(eta, float) + target.data.offset)[target.data.weights > 0]


def _by_linear_programming(target: Target) -> np.ndarray:
    """Return the point whose least distance s to the ends of the domain is largest."""
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


@jax.jit
def _gram(data: Data) -> Array:
    return data.parts[0].matrix.gram((data.weights > 0).astype(data.y.dtype))


def aliased(target: Target) -> tuple[str, ...]:
    """Return the names of columns that are linear combinations of each other.

    The rank is that of the weighted correlation matrix of the columns (rows with weight 0 out).
    """
    k = len(target.places)
    if not k:
        return ()
    with scope(target.precision):
        gram = np.asarray(_gram(target.arrays), float)
    gram = gram[:k, :k]
    size = np.sqrt(np.diagonal(gram))
    live = float((target.data.weights > 0).sum())
    magnitude = np.concatenate([np.zeros(int(target.intercept)), np.abs(target.center)])
    empty = size <= 1e-13 * magnitude * np.sqrt(live)
    if empty.any():
        constant = [name for name, flag in zip(target.names, empty, strict=True) if flag]
        return ("Intercept", *constant) if target.intercept else tuple(constant)
    values, vectors = np.linalg.eigh(gram / np.outer(size, size))
    if target.precision == "float32" or values[0] > RANK * k:
        return ()
    guilty = np.abs(vectors[:, 0]) > 1e-6
    return tuple(name for name, flag in zip(target.names, guilty, strict=True) if flag)


def refuse_impossible(target: Target) -> None:
    """Refuse a maximum-likelihood fit that has no unique finite answer whatever the optimiser.

    Raises
    ------
    InferenceError
        For an outcome with one value only, more coefficients than rows, or aliased columns.
    """
    data = target.data
    events = float(np.sum(data.weights * data.y))
    if not target.structure.family.has_sigma and events in (0.0, target.effective):
        which = "no events" if events == 0 else "events only"
        raise InferenceError(
            explain(
                f"the outcome has {which}, so its maximum-likelihood estimate is at infinity",
                events=events,
                trials=target.effective,
                advice='use fit("map") or fit("nuts") with a proper prior such as prior="weak"',
            )
        )
    names = aliased(target)
    if names:
        raise InferenceError(
            explain(
                "these columns are linear combinations of each other, so their coefficients are "
                f"not unique: {', '.join(names)}",
                advice='drop one of them, or use fit("map") or fit("nuts") with a proper prior',
            )
        )

"""A log likelihood that is a sum over rows, by eta and by the link's shape: its derivatives.

    l(theta, s) = sum_i l_i(eta_i, s),   eta = offset + X theta,

with s the unconstrained shape (df, lapses), which most links do not have. Gradient and Hessian take
a few passes over the rows, however many columns there are: with c = d²l/deta² and so on,

    H = [X' diag(c) X, X' d; d' X, e],   d = d²l / deta ds,   e = sum d²l / ds².
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from numpyro.distributions import biject_to

from bayesglm.generative import Data, Structure
from bayesglm.link import Link
from bayesglm.shaped import BoundLink, ShapedLink

__all__ = [
    "Rows",
    "derivatives",
    "gradient",
    "gram",
    "information",
    "link_at",
    "row_log_prob",
    "split",
]

type Value = Callable[[Array, Array], Array]


class Rows(NamedTuple):
    """Values of all rows, and derivatives in eta (first) and in each part of the shape.

    ``first`` has shape (1 + m, n); ``second`` is the lower triangle of the second derivatives,
    ``second[i][j]`` (n,) for j <= i.
    """

    value: Array
    first: list[Array]
    second: list[list[Array]]


def split(data: Data, flat: Array) -> tuple[Array, Array]:
    """Return the coefficients (with the intercept and padding) and the shape."""
    columns = data.parts[0].matrix.shape[0]
    return flat[:columns], flat[columns:]


def link_at(structure: Structure, data: Data, shape: Array) -> Link | BoundLink:
    """Return F at an unconstrained shape, (m,)."""
    link = structure.link
    if not isinstance(link, ShapedLink):
        return link
    values = {
        name: biject_to(prior.support)(shape[place])
        for place, (name, prior) in enumerate(zip(link.learned, data.shape, strict=True))
    }
    return link.at(**values)


def row_log_prob(structure: Structure, data: Data, eta: Array, shape: Array | None = None) -> Array:
    """Return w_i log p(y_i | eta_i) without the binomial coefficient, shape (n,)."""
    link = structure.link if shape is None else link_at(structure, data, shape)
    rows = structure.family.log_prob(eta, data.y, data.trials, link)
    if structure.unmasked:
        return data.weights * rows
    return jnp.where(data.weights > 0, data.weights * rows, 0.0)


def derivatives(value: Value, eta: Array, shape: Array) -> Rows:
    """Return the rows of ``value(eta, shape)``, shape (n,), with their first two derivatives."""
    ones = jnp.ones_like(eta)

    def by_eta(e: Array, s: Array) -> Array:
        # Of eta alone: with a tangent of the shape, even of 0, more would be computed.
        return jax.jvp(lambda x: value(x, s), (e,), (ones,))[1]

    def by_shape(place: int) -> Value:
        def slope(e: Array, s: Array) -> Array:
            unit = jnp.zeros_like(s).at[place].set(1)
            return jax.jvp(lambda x: value(e, x), (s,), (unit,))[1]

        return slope

    slopes = [by_eta, *(by_shape(place) for place in range(shape.shape[0]))]
    second = [[jax.jvp(lambda x: by_eta(x, shape), (eta,), (ones,))[1]]]
    for i in range(1, len(slopes)):
        unit = jnp.zeros_like(shape).at[i - 1].set(1)
        second.append(
            [jax.jvp(lambda s, j=j: slopes[j](eta, s), (shape,), (unit,))[1] for j in range(i + 1)]
        )
    return Rows(value(eta, shape), [slope(eta, shape) for slope in slopes], second)


def information(structure: Structure, data: Data, eta: Array, shape: Array) -> list[list[Array]]:
    """Return the expected information of each row as `Rows.second` (its sign turned).

    -t (d log p / d a)(d log q / d b), symmetric in a and b as p and q add up to 1.
    """
    if not shape.shape[0]:
        rows = structure.family.information(eta, data.trials, structure.link)
        return [[jnp.where(data.weights > 0, data.weights * rows, 0.0)]]
    ones = jnp.ones_like(eta)
    slopes = [jax.jvp(lambda e: link_at(structure, data, shape).pair(e), (eta,), (ones,))[1]]
    for place in range(shape.shape[0]):
        unit = jnp.zeros_like(shape).at[place].set(1)
        slopes.append(
            jax.jvp(lambda s: link_at(structure, data, s).pair(eta), (shape,), (unit,))[1]
        )
    mass = data.weights * data.trials
    return [
        [jnp.where(data.weights > 0, -mass * a[0] * b[1], 0.0) for b in slopes[: i + 1]]
        for i, a in enumerate(slopes)
    ]


def gradient(data: Data, first: list[Array]) -> Array:
    """Return the gradient by coefficients and shape, shape (k + m,)."""
    theta = data.parts[0].matrix.sums(first[0])
    return jnp.concatenate([theta, *(jnp.sum(rows)[None] for rows in first[1:])])


def gram(data: Data, second: list[list[Array]]) -> Array:
    """Return the matrix of second derivatives by coefficients and shape, (k + m, k + m)."""
    matrix = data.parts[0].matrix
    upper = matrix.gram(second[0][0])
    if len(second) == 1:
        return upper
    border = jnp.stack([matrix.sums(rows[0]) for rows in second[1:]])
    m = len(second) - 1
    corner = jnp.zeros((m, m), upper.dtype)
    for i in range(m):
        for j in range(i + 1):
            total = jnp.sum(second[i + 1][j + 1])
            corner = corner.at[i, j].set(total).at[j, i].set(total)
    return jnp.block([[upper, border.T], [border, corner]])

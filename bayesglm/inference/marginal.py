"""The likelihood with the group effects integrated out, by Laplace's method.

    log L(v) = log p(y, z*(v) | v) - 1/2 log det H(v),     z* the mode of z given v

with v the coefficients and what says how effects vary, and H the *expected* information of z at its
mode, as `lme4::glmer` has it with nAGQ = 1 (Bates et al. 2015). The effects of the largest factor
are independent given all else, so that H is a bordered block-diagonal matrix: blocks of q x q by
sums over codes, and a dense Schur complement for the effects of the smaller factors.

Derivatives are exact: z* moves with v by the implicit function theorem, dz*/dv = H_o^-1 d(score)/dv
with H_o the observed information, and autodiff does the rest at (v, z*).

Standard deviations may be 0 at the optimum. So v holds either the entries of L (*named*: the
likelihood is smooth through 0, an optimum there is one like any other), or their unconstrained
form (*flat*: what the samplers see, with the log Jacobian).

References
----------
Bates, Mächler, Bolker & Walker (2015), "Fitting linear mixed-effects models using lme4", JSS 67;
Breslow & Clayton (1993), JASA 88; Kristensen et al. (2016), "TMB", JSS 70.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from numpyro.distributions import biject_to, constraints

from bayesglm.generative import Data, Structure, log_prior
from bayesglm.grouped import Grouped, GroupedPart
from bayesglm.inference.bordered import Bordered, apply, solve_roots, sums, system
from bayesglm.inference.rowwise import row_log_prob

__all__ = [
    "Coordinates",
    "Mode",
    "factor_of",
    "factors",
    "flat_of",
    "hessian",
    "mode",
    "spread",
    "value_and_grad",
    "weights",
]

type Coordinates = Literal["named", "flat"]

# Inner steps at most, and the largest change of an effect (in its sd) that ends them.
LIMIT, STILL = 100, 1e-9


class Mode(NamedTuple):
    """The effects z at their mode, one (G, q) array for each factor; steps; the last change."""

    z: tuple[Array, ...]
    steps: Array
    moved: Array


def _groups(structure: Structure, data: Data) -> list[tuple[Grouped, GroupedPart]]:
    pairs = zip(structure.predictors, data.parts, strict=True)
    return [(p, part) for p, part in pairs if isinstance(p, Grouped)]


def factors(structure: Structure, data: Data, v: Array, coordinates: Coordinates) -> list[Array]:
    """Return L of each factor, shape (q, q)."""
    at = data.parts[0].matrix.shape[0]
    found = []
    for group, _ in _groups(structure, data):
        shape = v[at : at + group.shape_size]
        at += group.shape_size
        found.append(factor_of(group, shape, coordinates))
    return found


def factor_of(group: Grouped, shape: Array, coordinates: Coordinates) -> Array:
    """Return L of a factor, shape (q, q), from its part of v."""
    sd, at = shape[: group.sds], group.sds
    if coordinates == "flat":
        blocks = []
        for size in group.correlated:
            number = size * (size - 1) // 2
            blocks.append(biject_to(constraints.corr_cholesky)(shape[at : at + number]))
            at += number
        return group.factor(jnp.exp(sd), blocks)
    if group.tied:
        return sd[0] * jnp.eye(group.width, dtype=shape.dtype)
    whole, row = jnp.diag(sd), 0
    for size in group.blocks:
        number = size * (size - 1) // 2
        below = jnp.tril_indices(size, -1)
        whole = whole.at[row + below[0], row + below[1]].set(shape[at : at + number])
        at, row = at + number, row + size
    return whole


def weights(
    structure: Structure,
    data: Data,
    v: Array,
    z: Sequence[Array],
    coordinates: Coordinates,
) -> tuple[Array, Array]:
    """Return the slope and the observed curvature in eta of every row, (n,) each."""
    wide = _wide(structure, data, v, coordinates)
    return _rows(structure, data, _eta(structure, data, v, z, wide))[1:]


def _eta(
    structure: Structure, data: Data, v: Array, z: Sequence[Array], wide: Sequence[Array]
) -> Array:
    matrix = data.parts[0].matrix
    eta = data.offset + matrix.dot(v[: matrix.shape[0]])
    for (_, part), effects, columns in zip(_groups(structure, data), z, wide, strict=True):
        eta = eta + jnp.sum(columns * effects[part.codes], axis=1)
    return eta


def _rows(structure: Structure, data: Data, eta: Array) -> tuple[Array, Array, Array]:
    """Return log likelihood, slope and observed curvature (positive at a mode) of every row."""
    ones = jnp.ones_like(eta)

    def slope(e: Array) -> tuple[Array, Array]:
        return jax.jvp(lambda x: row_log_prob(structure, data, x), (e,), (ones,))

    (rows, first), (_, second) = jax.jvp(slope, (eta,), (ones,))
    return rows, first, -second


def _expected(structure: Structure, data: Data, eta: Array) -> Array:
    information = structure.family.information(eta, data.trials, structure.link)
    return jnp.where(data.weights > 0, data.weights * information, 0.0)


def _gradients(
    groups: Sequence[tuple[Grouped, GroupedPart]],
    wide: Sequence[Array],
    z: Sequence[Array],
    slopes: Array,
) -> list[Array]:
    return [
        sums(slopes[:, None] * columns, part.codes, group.levels) - effects
        for (group, part), columns, effects in zip(groups, wide, z, strict=True)
    ]


def _wide(structure: Structure, data: Data, v: Array, coordinates: Coordinates) -> list[Array]:
    """Return what multiplies z in each row, (n, q) for each factor."""
    pairs = zip(_groups(structure, data), factors(structure, data, v, coordinates), strict=True)
    return [part.matrix @ factor for (_, part), factor in pairs]


def _score(
    structure: Structure,
    data: Data,
    v: Array,
    z: Sequence[Array],
    coordinates: Coordinates,
) -> list[Array]:
    """Return the slope of log p(y, z | v) in the effects; 0 at their mode."""
    wide = _wide(structure, data, v, coordinates)
    slopes = _rows(structure, data, _eta(structure, data, v, z, wide))[1]
    return _gradients(_groups(structure, data), wide, z, slopes)


def _observed(
    structure: Structure,
    data: Data,
    v: Array,
    z: Sequence[Array],
    coordinates: Coordinates,
) -> Bordered:
    """Factor the observed information of the effects."""
    wide = _wide(structure, data, v, coordinates)
    observed = _rows(structure, data, _eta(structure, data, v, z, wide))[2]
    return system(_groups(structure, data), wide, observed)


@partial(jax.jit, static_argnames=("structure", "coordinates"))
def mode(
    structure: Structure,
    data: Data,
    v: Array,
    z: tuple[Array, ...],
    *,
    coordinates: Coordinates,
) -> Mode:
    """Find the effects at their mode given v, from a start.

    Where a row's observed curvature is small or negative (cauchit, student_t) a share of the
    expected one takes its place, so that every step goes up; steps are halved until they gain.
    """
    groups = _groups(structure, data)
    wide = _wide(structure, data, v, coordinates)

    def local(z: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
        eta = _eta(structure, data, v, z, wide)
        rows, slopes, observed = _rows(structure, data, eta)
        value = jnp.sum(rows) - 0.5 * sum(jnp.sum(each**2) for each in z)
        w = jnp.maximum(observed, 0.1 * _expected(structure, data, eta))
        return value, tuple(apply(system(groups, wide, w), _gradients(groups, wide, z, slopes)))

    def moved(step: Sequence[Array], length: Array) -> Array:
        return length * jnp.max(jnp.stack([jnp.max(jnp.abs(each)) for each in step]))

    def body(state: tuple[Any, ...]) -> tuple[Any, ...]:
        z, step, value, length, count, _ = state
        new = tuple(e + length * s for e, s in zip(z, step, strict=True))
        reached, next_step = local(new)
        # Close to the mode the gain drowns in rounding.
        better = (count == 0) | (reached >= value - 1e-12 * jnp.abs(value))
        change = jnp.where(better & (count > 0), moved(step, length), jnp.inf)

        def choose(one: Array, other: Array) -> Array:
            return jnp.where(better, one, other)

        return (
            jax.tree.map(choose, new, z),
            jax.tree.map(choose, next_step, step),
            choose(reached, value),
            choose(jnp.ones_like(length), length / 2),
            count + 1,
            change,
        )

    def going(state: tuple[Any, ...]) -> Array:
        return (state[4] < LIMIT) & (state[5] > STILL)

    one = jnp.ones((), v.dtype)
    still = tuple(jnp.zeros_like(each) for each in z)
    # The first round takes no step, and finds the direction: so the program has it but once.
    begin = (z, still, -jnp.inf * one, one, jnp.zeros((), jnp.int32), jnp.inf * one)
    end = jax.lax.while_loop(going, body, begin)
    return Mode(end[0], end[4], end[5])


def _log_prior(
    structure: Structure, data: Data, v: Array, z: Sequence[Array], coordinates: Coordinates
) -> Array:
    """Return the log prior density of v: unconstrained with its Jacobian, or as named."""
    if coordinates == "flat":
        # z at 0 adds a constant.
        flat = flat_of(structure, data, v, [jnp.zeros_like(each) for each in z])
        return log_prior(structure, data, flat, jacobian=True)
    linear, part = structure.predictors[0], data.parts[0]
    size = part.matrix.shape[0]
    alone = replace(structure, predictors=(linear,), sites=tuple(linear.sites), size=size)
    total = log_prior(alone, data._replace(parts=(part,)), v[:size], jacobian=False)
    pairs = zip(_groups(structure, data), factors(structure, data, v, coordinates), strict=True)
    for (group, own), factor in pairs:
        square = jnp.sum(factor**2, axis=1)
        # The root has no slope at 0, which a mode may come close to.
        sd = jnp.sqrt(jnp.maximum(square, 1e-24))
        total = total + own.sd.log_prob(sd[: group.sds])
        at, lkj = 0, iter(own.correlations)
        for block in group.blocks if not group.tied else ():
            if block > 1:
                units = factor[at : at + block, at : at + block] / sd[at : at + block, None]
                # Of a correlation matrix R the density is det(R)^(concentration - 1).
                half = jnp.sum(jnp.log(jnp.maximum(jnp.abs(jnp.diagonal(units)), 1e-12)))
                total = total + 2 * (next(lkj).concentration - 1) * half
            at += block
    return total


def flat_of(structure: Structure, data: Data, v: Array, z: Sequence[Array]) -> Array:
    """Return the flat vector of v (flat coordinates) and the effects."""
    at = data.parts[0].matrix.shape[0]
    pieces = [v[:at]]
    for (group, _), effects in zip(_groups(structure, data), z, strict=True):
        pieces += [v[at : at + group.shape_size], effects.ravel()]
        at += group.shape_size
    return jnp.concatenate(pieces)


def _value(
    structure: Structure,
    data: Data,
    v: Array,
    z: tuple[Array, ...],
    coordinates: Coordinates,
    prior: bool,
) -> Array:
    """Return the log marginal likelihood (and log prior) at v, if z is the mode there."""
    wide = _wide(structure, data, v, coordinates)
    eta = _eta(structure, data, v, z, wide)
    inner = system(_groups(structure, data), wide, _expected(structure, data, eta))
    value = jnp.sum(row_log_prob(structure, data, eta)) - 0.5 * inner.log_det
    value = value - 0.5 * sum(jnp.sum(each**2) for each in z)
    return value + (_log_prior(structure, data, v, z, coordinates) if prior else 0.0)


def _value_and_grad(
    structure: Structure,
    data: Data,
    v: Array,
    z: tuple[Array, ...],
    coordinates: Coordinates,
    prior: bool,
) -> tuple[Array, Array]:
    """Return the value and its total derivative in v, the effects moving along with it."""
    value, (slope, through) = jax.value_and_grad(
        lambda u, e: _value(structure, data, u, e, coordinates, prior), argnums=(0, 1)
    )(v, z)
    pull = apply(_observed(structure, data, v, z, coordinates), through)
    _, back = jax.vjp(lambda u: _score(structure, data, u, z, coordinates), v)
    return value, slope + back(pull)[0]


def _along(
    structure: Structure,
    data: Data,
    v: Array,
    z: tuple[Array, ...],
    inner: Bordered,
    step: Array,
    coordinates: Coordinates,
) -> tuple[Array, ...]:
    """Return how the effects move as v does, along a step."""
    moved = jax.jvp(lambda u: _score(structure, data, u, z, coordinates), (v,), (step,))[1]
    return tuple(apply(inner, moved))


_static = partial(jax.jit, static_argnames=("structure", "coordinates", "prior"))


@_static
def value_and_grad(
    structure: Structure,
    data: Data,
    v: Array,
    z: tuple[Array, ...],
    *,
    coordinates: Coordinates,
    prior: bool,
) -> tuple[Array, Array]:
    """Return the log marginal likelihood (with ``prior`` plus log prior) and its gradient in v."""
    return _value_and_grad(structure, data, v, z, coordinates, prior)


@_static
def hessian(
    structure: Structure,
    data: Data,
    v: Array,
    z: tuple[Array, ...],
    *,
    coordinates: Coordinates,
    prior: bool,
) -> Array:
    """Return the Hessian in v, shape (k, k), column by column: memory is that of one."""
    inner = _observed(structure, data, v, z, coordinates)

    def column(step: Array) -> Array:
        moved = _along(structure, data, v, z, inner, step, coordinates)
        return jax.jvp(
            lambda u, e: _value_and_grad(structure, data, u, e, coordinates, prior)[1],
            (v, z),
            (step, moved),
        )[1]

    return jax.lax.map(column, jnp.eye(len(v), dtype=v.dtype))


@partial(jax.jit, static_argnames=("structure", "coordinates", "effects"))
def spread(
    structure: Structure,
    data: Data,
    v: Array,
    z: tuple[Array, ...],
    root: Array,
    *,
    coordinates: Coordinates,
    effects: tuple[bool, ...],
) -> tuple[tuple[Array, ...], Array]:
    """Return how the effects vary jointly with v, in the Gaussian approximation at the mode.

        v = v* + root e,   z_f = z_f* + M_f (e, e'),   and z_last besides + C s

    with e, e', s independent standard normal; e' is for the effects of all factors but the last.

    Parameters
    ----------
    root : Array, shape (k, k)
        Root of the covariance of v.
    effects : tuple of bool
        For each factor whether u = L z is wanted, instead of z.

    Returns
    -------
    joint : tuple of Array, shape (G q, k + m)
        M_f of each factor.
    inner : Array, shape (G, q, q)
        C of the last factor.
    """
    groups = _groups(structure, data)

    inner = _observed(structure, data, v, z, coordinates)

    def moved(step: Array) -> tuple[Array, ...]:
        along = _along(structure, data, v, z, inner, step, coordinates)
        known, turned = jax.jvp(lambda u: factors(structure, data, u, coordinates), (v,), (step,))
        return tuple(
            dz @ factor.T + each @ turn.T if wanted else dz
            for dz, each, factor, turn, wanted in zip(along, z, known, turned, effects, strict=True)
        )

    moves = jax.lax.map(moved, root.T)
    identity = jnp.broadcast_to(jnp.eye(groups[-1][0].width, dtype=v.dtype), inner.roots.shape)
    own = jnp.moveaxis(jax.scipy.linalg.solve_triangular(inner.roots, identity, lower=True), -1, -2)
    pieces: list[list[Array]] = [[move.reshape(len(root), -1).T] for move in moves]
    known = factors(structure, data, v, coordinates)
    if inner.border is not None and inner.schur is not None:
        half = jax.scipy.linalg.solve_triangular(
            inner.schur, jnp.eye(len(inner.schur), dtype=v.dtype), lower=True
        ).T
        at = 0
        for f, (group, _) in enumerate(groups[:-1]):
            part = half[at : at + group.levels * group.width]
            if effects[f]:
                blocks = part.reshape(group.levels, group.width, -1)
                part = jnp.einsum("pq,gqm->gpm", known[f], blocks).reshape(part.shape)
            pieces[f].append(part)
            at += group.levels * group.width
        back = -solve_roots(inner.roots, jnp.einsum("gqm,mk->gqk", inner.border, half))
        if effects[-1]:
            back = jnp.einsum("pq,gqm->gpm", known[-1], back)
        pieces[-1].append(back.reshape(-1, half.shape[1]))
    if effects[-1]:
        own = jnp.einsum("pq,gqm->gpm", known[-1], own)
    return tuple(jnp.concatenate(each, axis=1) for each in pieces), own

"""Coordinates in which group effects are nearly independent of how much they vary.

Sampled as they are, effects do badly where their standard deviation is small; in units of it, where
the data know them well. Here each is sampled in units of what is left unknown of it: with the
likelihood of a group's effects approximated by exp(b'u - u'Iu / 2), and L as it is in this draw,

    z = H^-1 L'b + H^-T/2 e,   H = 1 + L'I L,   u = L z,   e ~ Normal(0, 1) nearly,

which is the centred form where I is large and the non-centred where it is small, for every group
and every draw by itself (Papaspiliopoulos, Roberts & Sköld 2007, "A general framework for the
parametrization of hierarchical models", Statistical Science 22). b moves with the coefficients and
with the effects of the factors before. The change of variables is exact whatever the approximation:
its log determinant is part of the density.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bayesglm.generative import Data, Structure
from bayesglm.grouped import Grouped
from bayesglm.inference import marginal
from bayesglm.inference.bordered import crossed, gram, solve_roots, sums
from bayesglm.inference.multilevel import climb
from bayesglm.precision import scope

if TYPE_CHECKING:
    from bayesglm.inference.target import Target

__all__ = ["Hierarchy", "located", "placed", "start_of"]


class Factor(NamedTuple):
    """What the data say of the effects u (G, q) of one factor, as a Gaussian likelihood.

    ``pull`` is b, ``information`` I, (G, q) and (G, q, q); b falls by ``coefficients`` (G, q, k)
    times the change of the coefficients and ``others`` (G, q, m) times that of the effects before.
    """

    pull: Any
    information: Any
    coefficients: Any
    others: Any
    effects: Any


class Hierarchy(NamedTuple):
    """The coordinates: a root of the covariance of v, (k, k), and what is known of each factor."""

    root: Any
    factors: tuple[Factor, ...]


def _predictors(structure: Structure) -> list[Grouped]:
    return [p for p in structure.predictors if isinstance(p, Grouped)]


def _shapes(structure: Structure, v: Array, head: int) -> list[Array]:
    """Return L of each factor from v in flat coordinates."""
    found, at = [], head
    for group in _predictors(structure):
        found.append(marginal.factor_of(group, v[at : at + group.shape_size], "flat"))
        at += group.shape_size
    return found


def _middle(factor: Factor, root: Array, moved: Array, before: list[Array]) -> tuple[Array, Array]:
    """Return the middle of z given all before it, (G, q), and the Cholesky roots of H."""
    pull = factor.pull - jnp.einsum("gqk,k->gq", factor.coefficients, moved)
    if before:
        pull = pull - jnp.einsum("gqm,m->gq", factor.others, jnp.concatenate(before))
    width = root.shape[0]
    if width == 1:
        roots = jnp.sqrt(1 + root[0, 0] ** 2 * factor.information)
        return root[0, 0] * pull / roots[..., 0] ** 2, roots
    inner = jnp.einsum("pi,gpq,qj->gij", root, factor.information, root)
    roots = jnp.linalg.cholesky(inner + jnp.eye(width, dtype=root.dtype))
    return solve_roots(roots, (pull @ root)[..., None])[..., 0], roots


def _split(structure: Structure, z: Array, size: int) -> tuple[Array, list[Array]]:
    found, at = [], size
    for group in _predictors(structure):
        number = group.levels * group.width
        found.append(z[at : at + number].reshape(group.levels, group.width))
        at += number
    return z[:size], found


def placed(structure: Structure, mode: Array, w: Hierarchy, z: Array) -> tuple[Array, Array]:
    """Map sampled coordinates to flat ones; return these and the log determinant of the map.

    Parameters
    ----------
    structure : Structure
    mode : Array, shape (k,)
        v at the top of its marginal density: coefficients, then what says how effects vary.
    w : Hierarchy
    z : Array, shape (size,)
    """
    size = len(mode)
    outer, inner = _split(structure, z, size)
    v = mode + w.root @ outer
    head = w.factors[0].coefficients.shape[2]
    before: list[Array] = []
    effects, determinant = [], jnp.zeros((), z.dtype)
    known = _shapes(structure, v, head)
    for factor, root, e in zip(w.factors, known, inner, strict=True):
        middle, roots = _middle(factor, root, v[:head] - mode[:head], before)
        if root.shape[0] == 1:
            own = middle + e / roots[..., 0]
        else:
            turned = jnp.swapaxes(roots, -1, -2)
            own = middle + jax.scipy.linalg.solve_triangular(turned, e[..., None])[..., 0]
        determinant -= jnp.sum(jnp.log(jnp.diagonal(roots, axis1=-2, axis2=-1)))
        effects.append(own)
        before.append((own @ root.T - factor.effects).ravel())
    pieces, at = [v[:head]], head
    for group, own in zip(_predictors(structure), effects, strict=True):
        pieces += [v[at : at + group.shape_size], own.ravel()]
        at += group.shape_size
    return jnp.concatenate(pieces), determinant


@partial(jax.jit, static_argnames=("structure",))
def located(structure: Structure, mode: Array, w: Hierarchy, flat: Array) -> Array:
    """Map flat vectors (s, size) to the sampled coordinates: the inverse of `placed`."""
    head = w.factors[0].coefficients.shape[2]
    groups = _predictors(structure)

    def one(flat: Array) -> Array:
        shapes = [flat[g.first : g.effects_at] for g in groups]
        v = jnp.concatenate([flat[:head], *shapes])
        before: list[Array] = []
        found = [jnp.linalg.solve(w.root, v - mode)]
        known = _shapes(structure, v, head)
        for group, factor, root in zip(groups, w.factors, known, strict=True):
            own = flat[group.effects_at : group.first + group.size]
            own = own.reshape(group.levels, group.width)
            middle, roots = _middle(factor, root, v[:head] - mode[:head], before)
            e = jnp.einsum("gpq,gp->gq", roots, own - middle)
            found.append(e.ravel())
            before.append((own @ root.T - factor.effects).ravel())
        return jnp.concatenate(found)

    return jax.lax.map(one, flat)


@partial(jax.jit, static_argnames=("structure",))
def _known(structure: Structure, data: Data, v: Array, z: tuple[Array, ...]) -> tuple[Factor, ...]:
    """Return what the data say of each factor, around the mode.

    Of the factors before the last it is what is left when the effects of that one are integrated
    out; of the last it is given theirs.
    """
    pairs = [(p, part) for p, part in zip(structure.predictors, data.parts, strict=True)
             if isinstance(p, Grouped)]  # fmt: skip
    matrix = data.parts[0].matrix
    k = matrix.shape[0]
    roots = _shapes(structure, v, k)
    slopes, w = marginal.weights(structure, data, v, z, "flat")
    unit = jnp.eye(k, dtype=v.dtype)

    def shared(part: Any, levels: int) -> Array:
        weighted = w[:, None] * part.matrix
        found = jax.lax.map(
            lambda e: sums(weighted * matrix.dot(e)[:, None], part.codes, levels), unit
        )
        return jnp.moveaxis(found, 0, -1)

    raw = []
    for (group, part), root, own in zip(pairs, roots, z, strict=True):
        columns = part.matrix
        information = gram(w, columns, part.codes, group.levels)
        score = sums(slopes[:, None] * columns, part.codes, group.levels)
        raw.append([information, score, shared(part, group.levels), own @ root.T])
    (last, part), root = pairs[-1], roots[-1]
    inner = jnp.einsum("pi,gpq,qj->gij", root, raw[-1][0], root) + jnp.eye(
        last.width, dtype=v.dtype
    )
    left = jnp.einsum("ip,gpq,jq->gij", root, jnp.linalg.inv(inner), root)
    found: list[Factor] = []
    borders = []
    for (group, own), (information, score, coefficients, effects) in zip(
        pairs[:-1], raw[:-1], strict=True
    ):
        border = crossed(
            w, part.matrix, own.matrix, (part.codes, last.levels), (own.codes, group.levels)
        )
        borders.append(border)
        # (G, q, G_f, q_f): of the same group of the factor twice.
        wide = border.reshape(last.levels, last.width, group.levels, group.width)
        less = jnp.einsum("gpfi,gpq,gqfj->fij", wide, left, wide)
        moved = jnp.einsum("gpfi,gpq,gqk->fik", wide, left, raw[-1][2])
        information = information - less
        pull = score + jnp.einsum("fij,fj->fi", information, effects)
        number = sum([p.levels * p.width for p, _ in pairs[: len(found)]])
        others = jnp.zeros((group.levels, group.width, number), v.dtype)
        found.append(Factor(pull, information, coefficients - moved, others, effects))
    information, score, coefficients, effects = raw[-1]
    pull = score + jnp.einsum("gij,gj->gi", information, effects)
    empty = jnp.zeros((last.levels, last.width, 0), v.dtype)
    others = jnp.concatenate(borders, axis=2) if borders else empty
    found.append(Factor(pull, information, coefficients, others, effects))
    return tuple(found)


def start_of(target: Target) -> tuple[np.ndarray, Hierarchy]:
    """Return where a sampler starts: v at the top of its marginal density, and coordinates.

    Parameters
    ----------
    target : Target
        The model on its data, its JAX arrays made.
    """
    peak = climb(target, "flat", prior=True)
    with scope(target.precision):
        known = _known(
            target.structure,
            target.arrays,
            jnp.asarray(peak.v),
            tuple(jnp.asarray(each) for each in peak.z),
        )
        host = jax.tree.map(lambda part: np.asarray(part, float), known)
    return peak.v, Hierarchy(_root(peak.hessian), host)


def _root(hessian: np.ndarray) -> np.ndarray:
    """Return a root of the inverse of a matrix, made positive definite where it is not."""
    scale = 1 / np.sqrt(np.maximum(np.abs(np.diagonal(hessian)), 1e-10))
    values, vectors = np.linalg.eigh(hessian * np.outer(scale, scale))
    return np.asarray(scale[:, None] * vectors / np.sqrt(np.maximum(np.abs(values), 1e-6)))

"""Linear algebra of group effects: a block-diagonal matrix with a border.

The information of all effects, given the rows' weights w in eta, is A' diag(w) A + 1 with A the
columns that multiply them. Effects of different groups of one factor share no row, so that the
largest factor gives blocks of q x q; the effects of the others are the border, dense, and are
eliminated last (a Schur complement). Everything is sums over codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from bayesglm.grouped import Grouped, GroupedPart

__all__ = ["Bordered", "apply", "crossed", "gram", "solve_roots", "sums", "system"]


class Bordered(NamedTuple):
    """The bordered system of the effects: blocks of the last factor, border, Schur complement."""

    roots: Array
    border: Array | None
    schur: Array | None

    @property
    def log_det(self) -> Array:
        """Log determinant of the whole matrix."""
        total = 2 * jnp.sum(jnp.log(jnp.diagonal(self.roots, axis1=-2, axis2=-1)))
        if self.schur is not None:
            total = total + 2 * jnp.sum(jnp.log(jnp.diagonal(self.schur)))
        return total


def sums(values: Array, codes: Array, levels: int) -> Array:
    """Return the sums of values (n, ...) over the rows of each group, shape (levels, ...)."""
    if levels == 1:
        return jnp.sum(values, axis=0, keepdims=True)
    return jax.ops.segment_sum(values, codes, levels)


def gram(w: Array, columns: Array, codes: Array, levels: int) -> Array:
    """Return the sums of w x x' over the rows of each group, shape (levels, q, q)."""
    if levels == 1:
        return ((w[:, None] * columns).T @ columns)[None]
    return sums(w[:, None, None] * columns[:, :, None] * columns[:, None, :], codes, levels)


def crossed(
    w: Array, one: Array, other: Array, a: tuple[Array, int], b: tuple[Array, int]
) -> Array:
    """Return the sums of w x x' over pairs of groups, shape (G_a, q_a, G_b q_b)."""
    (codes_a, levels_a), (codes_b, levels_b) = a, b
    if levels_a == levels_b == 1:
        return ((w[:, None] * one).T @ other)[None]
    products = w[:, None, None] * one[:, :, None] * other[:, None, :]
    found = sums(products, codes_a * levels_b + codes_b, levels_a * levels_b)
    found = found.reshape(levels_a, levels_b, one.shape[1], other.shape[1])
    return jnp.moveaxis(found, 1, 2).reshape(levels_a, one.shape[1], -1)


def solve_roots(roots: Array, right: Array) -> Array:
    """Solve by Cholesky factors, for every block; right has shape (G, q, m)."""
    if roots.shape[-1] == 1:
        return right / roots**2
    return jax.scipy.linalg.cho_solve((roots, True), right)


def system(
    groups: Sequence[tuple[Grouped, GroupedPart]], wide: Sequence[Array], w: Array
) -> Bordered:
    """Factor the information of the effects of all factors, given the rows' weights in eta."""
    (main, part), columns = groups[-1], wide[-1]
    own = gram(w, columns, part.codes, main.levels)
    own = own + jnp.eye(main.width, dtype=w.dtype)
    roots = jnp.sqrt(own) if main.width == 1 else jnp.linalg.cholesky(own)
    if len(groups) == 1:
        return Bordered(roots, None, None)
    rest = [(p.codes, g.levels) for g, p in groups[:-1]]
    here = (part.codes, main.levels)
    border = jnp.concatenate(
        [crossed(w, columns, x, here, each) for x, each in zip(wide[:-1], rest, strict=True)],
        axis=2,
    )
    lines = []
    for x, each in zip(wide[:-1], rest, strict=True):
        line = [crossed(w, x, y, each, other) for y, other in zip(wide[:-1], rest, strict=True)]
        lines.append(jnp.concatenate(line, axis=2).reshape(x.shape[1] * each[1], -1))
    dense = jnp.concatenate(lines)
    dense = dense + jnp.eye(len(dense), dtype=w.dtype)
    schur = dense - jnp.einsum("gqm,gqk->mk", border, solve_roots(roots, border))
    return Bordered(roots, border, jnp.linalg.cholesky(schur))


def apply(inner: Bordered, gradients: Sequence[Array]) -> list[Array]:
    """Return H^-1 times the gradients, in their shapes (G, q)."""
    last = solve_roots(inner.roots, gradients[-1][..., None])
    if inner.border is None or inner.schur is None:
        return [last[..., 0]]
    rest = jnp.concatenate([g.ravel() for g in gradients[:-1]])
    right = rest - jnp.einsum("gqm,gqk->mk", inner.border, last)[:, 0]
    steps = jax.scipy.linalg.cho_solve((inner.schur, True), right)
    back = jnp.einsum("gqm,m->gq", inner.border, steps)[..., None]
    found, at = [], 0
    for gradient in gradients[:-1]:
        found.append(steps[at : at + gradient.size].reshape(gradient.shape))
        at += gradient.size
    return [*found, (last - solve_roots(inner.roots, back))[..., 0]]

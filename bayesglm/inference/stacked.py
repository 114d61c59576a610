"""Matrices of many small fits, one beside the other: each with its own, or one that all share.

Both have the operations of `matrices`, with an axis of fits in front; inference never asks which
one it has.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

__all__ = ["Common", "Own", "Stack", "common"]


class Own(NamedTuple):
    """A matrix for each fit, columns first: ``values`` (s, k, n)."""

    values: Array

    @property
    def width(self) -> int:
        """Columns."""
        return self.values.shape[1]

    def dot(self, theta: Array) -> Array:
        """Return the (s, n) linear predictors of (s, k) coefficients."""
        return jnp.einsum("sk,skn->sn", theta, self.values)

    def sums(self, rows: Array) -> Array:
        """Return the (s, k) sums over rows of each column times (s, n) ``rows``."""
        return jnp.einsum("skn,sn->sk", self.values, rows)

    def gram(self, weights: Array) -> Array:
        """Return the (s, k, k) matrices sum_i w_i x_i x_i' of (s, n) weights."""
        return jnp.einsum("skn,sjn->skj", self.values * weights[:, None, :], self.values)

    def centred(self, weights: Array) -> tuple[Own, Array]:
        """Subtract the columns' means from all but the first; return the means (s, k - 1) too."""
        total = jnp.maximum(jnp.sum(weights, axis=1, keepdims=True), 1e-300)
        center = self.sums(weights / total)[:, 1:]
        return self.shifted(center), center

    def shifted(self, center: Array) -> Own:
        """Subtract ``center`` (s or 1, k - 1) from all columns but the first."""
        first = jnp.zeros((center.shape[0], 1), center.dtype)
        shift = jnp.concatenate([first, center], axis=1)
        return Own(self.values - shift[:, :, None])


class Common(NamedTuple):
    """The same columns for every fit, and columns of their own behind (none, or one).

    ``values`` (k, n) are shared, ``center`` (k - 1,) is what was subtracted from all but the first;
    ``pairs`` (k k, n) are their products, so that a Gram matrix is one product; ``own`` is (s, q, n).
    """

    values: Array
    center: Array
    pairs: Array
    own: Array

    @property
    def width(self) -> int:
        """Columns."""
        return self.values.shape[0] + self.own.shape[1]

    def dot(self, theta: Array) -> Array:
        """Return the (s, n) linear predictors of (s, k + q) coefficients."""
        k = self.values.shape[0]
        return theta[:, :k] @ self.values + jnp.einsum("sq,sqn->sn", theta[:, k:], self.own)

    def sums(self, rows: Array) -> Array:
        """Return the (s, k + q) sums over rows of each column times (s, n) ``rows``."""
        return jnp.concatenate(
            [rows @ self.values.T, jnp.einsum("sqn,sn->sq", self.own, rows)], axis=1
        )

    def gram(self, weights: Array) -> Array:
        """Return the (s, k + q, k + q) matrices sum_i w_i x_i x_i' of (s, n) weights."""
        k = self.values.shape[0]
        shared = (weights @ self.pairs.T).reshape(-1, k, k)
        weighted = self.own * weights[:, None, :]
        cross = weighted @ self.values.T
        corner = jnp.einsum("sqn,srn->sqr", weighted, self.own)
        above = jnp.concatenate([shared, jnp.swapaxes(cross, 1, 2)], axis=2)
        return jnp.concatenate([above, jnp.concatenate([cross, corner], axis=2)], axis=1)

    def centred(self, weights: Array) -> tuple[Common, Array]:
        """Subtract the means of the columns of their own; return all centres (s, k + q - 1) too."""
        total = jnp.maximum(jnp.sum(weights, axis=1, keepdims=True), 1e-300)
        mean = jnp.einsum("sqn,sn->sq", self.own, weights / total)
        shared = jnp.broadcast_to(self.center, (mean.shape[0], self.center.shape[0]))
        center = jnp.concatenate([shared, mean], axis=1)
        return self._replace(own=self.own - mean[:, :, None]), center


type Stack = Own | Common


def common(values: np.ndarray, center: np.ndarray, own: np.ndarray) -> Common:
    """Lay shared columns (k, n), less their centres, and own ones (s, q, n) out, in NumPy.

    Examples
    --------
    >>> common(np.ones((2, 5)), np.zeros(1), np.zeros((3, 1, 5))).width
    3
    """
    k, n = values.shape
    pairs = (values[:, None, :] * values[None, :, :]).reshape(k * k, n)
    return Common(values, center, pairs, own)  # type: ignore[arg-type]  # JAX's inside a scope

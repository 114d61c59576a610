"""Columns that are linear combinations of others: which, and of what.

The columns are taken in their order, as R does: one that adds nothing to those before it is
aliased. The work is done on their correlation matrix, so that the columns' scales play no part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import numpy as np
from jax import Array

from bayesglm.generative import Data
from bayesglm.inference.sharding import total
from bayesglm.precision import scope

if TYPE_CHECKING:
    from bayesglm.inference.target import Target

__all__ = ["Alias", "aliases", "aliases_of"]

# Smallest eigenvalue of the correlation matrix, over its size, that counts as full rank. The share
# of a column's variance that others leave has no digits left below it.
RANK = 1e-13
# Spread of a column relative to its magnitude that counts as none.
CONSTANT = 1e-13
# Smallest part of a combination that is named, in standard deviations of the column.
PART = 1e-6


@dataclass(frozen=True)
class Alias:
    """A column that is a combination of columns before it.

    Attributes
    ----------
    name : str
        The column.
    parts : dict of str to float
        What it is a combination of, ``Intercept`` among them, and how often; empty for zeros.

    Examples
    --------
    >>> print(Alias("x3", {"x1": 2.0, "x2": -1.0, "Intercept": 0.5}))
    x3 = 2 x1 - x2 + 0.5
    """

    name: str
    parts: dict[str, float]

    def __str__(self) -> str:
        """Return the combination as an equation."""
        words = []
        for name, number in self.parts.items():
            size = "" if f"{abs(number):.4g}" == "1" else f"{abs(number):.4g} "
            what = f"{abs(number):.4g}" if name == "Intercept" else f"{size}{name}"
            words.append(f"{'-' if number < 0 else '+'} {what}")
        told = " ".join(words).removeprefix("+ ") or "0"
        told = f"-{told[2:]}" if told.startswith("- ") else told
        return f"{self.name} = {told}"


@jax.jit
def _gram(data: Data) -> Array:
    return data.parts[0].matrix.gram((data.weights > 0).astype(data.y.dtype))


def aliases(target: Target) -> tuple[Alias, ...]:
    """Return the columns that are combinations of columns before them (rows of weight 0 out).

    Nothing is found in single precision, which cannot tell.
    """
    k = len(target.places)
    if not k or target.precision == "float32":
        return ()
    with scope(target.precision):
        gram = np.asarray(_gram(target.arrays), float)[:k, :k]
    return aliases_of(target, gram, total(target, target.data.weights > 0))


def aliases_of(target: Target, gram: np.ndarray, live: float) -> tuple[Alias, ...]:
    """Return the columns that are combinations of others, from the sums of their products.

    Parameters
    ----------
    target : Target
        Names, and centres of the columns.
    gram : ndarray, shape (k, k)
        sum w x x' with any weights w > 0.
    live : float
        Sum of these weights.
    """
    k = len(target.places)
    size = np.sqrt(np.diagonal(gram))
    first = int(target.intercept)
    center = np.concatenate([np.zeros(first), target.center])
    empty = size <= CONSTANT * np.abs(center) * np.sqrt(live)
    unit = np.where(empty, 1.0, size)
    scaled = gram / np.outer(unit, unit)
    scaled[empty, :] = scaled[:, empty] = 0.0
    full = ~empty
    if full.all() and np.linalg.eigvalsh(scaled)[0] > RANK * k:
        return ()
    found, kept = [], _independent(scaled, full, RANK * k)
    for j in np.setdiff1d(np.arange(k), kept):
        before = kept[kept < j]
        share = np.zeros(0)
        if before.size and not empty[j]:
            share = np.linalg.solve(scaled[np.ix_(before, before)], scaled[before, j])
        else:
            before = before[:0]
        parts = {
            target.names[i]: float(b * size[j] / size[i])
            for i, b in zip(before, share, strict=True)
            if abs(b) > PART and i >= first
        }
        if first:
            # The columns are centred: what is left of them is a multiple of the constant.
            rest = center[j] - sum(
                part * center[target.names.index(name)] for name, part in parts.items()
            )
            spread = max(size[j] / np.sqrt(live), abs(center[j]))
            if abs(rest) > PART * spread:
                parts["Intercept"] = float(rest)
        found.append(Alias(target.names[j], parts))
    return tuple(found)


def _independent(scaled: np.ndarray, full: np.ndarray, tolerance: float) -> np.ndarray:
    """Return the places of a maximal set of independent columns, the first ones, by Cholesky."""
    k = len(scaled)
    factor = np.zeros((k, k))
    kept: list[int] = []
    for j in np.flatnonzero(full):
        row = factor[kept, : len(kept)]
        half = np.linalg.solve(row, scaled[kept, j]) if kept else np.zeros(0)
        left = scaled[j, j] - half @ half
        if left > tolerance:
            factor[j, : len(kept)] = half
            factor[j, len(kept)] = np.sqrt(left)
            kept.append(int(j))
    return np.array(kept, dtype=int)

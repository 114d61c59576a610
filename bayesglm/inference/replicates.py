"""The same rows with many sets of weights: one compiled program finds the mode under each.

Weight 0 holds a row out (folds), weight 2 takes it twice (bootstrap). The data lie in memory once;
replicates run one after the other inside the program, halves of them in threads of their own.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bayesglm.generative import Data, Structure
from bayesglm.inference.newton import LIMIT, STILL, climb, tolerance_of
from bayesglm.matrices import bucket, pad_rows
from bayesglm.precision import scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from bayesglm.inference.target import Target

__all__ = ["Replicates", "replicate", "suits"]

# Replicates of one call: a bar moves, and Ctrl-C is heard, between calls.
TOGETHER = 64
THREADS = 2


@dataclass(frozen=True)
class Replicates:
    """Modes under many sets of weights.

    Attributes
    ----------
    flat : ndarray, shape (r, size)
        Flat coordinates.
    found : ndarray of bool, shape (r,)
        Whether there is a mode: else the optimiser stopped without, or the likelihood rises for
        ever (separation), and ``flat`` is where it was.
    """

    flat: np.ndarray
    found: np.ndarray


def suits(target: Target) -> bool:
    """Whether Newton's method alone, from a start in the neighbourhood, is sure to find the mode."""
    return target.linear and not target.structure.link.partial


def replicate(
    target: Target,
    weights: np.ndarray,
    start: np.ndarray,
    report: Callable[[int], None] | None = None,
) -> Replicates:
    """Find the mode (of the parameters as named) under each set of weights.

    Parameters
    ----------
    target : Target
        One that `suits`, its rows not merged.
    weights : ndarray, shape (r, n)
        Of the rows, in their order.
    start : ndarray, shape (size,)
        Flat coordinates, near the modes.
    report : callable, optional
        Told how many replicates are done.
    """
    r, rows = len(weights), len(target.data.y)
    size = min(TOGETHER, bucket(-(-r // THREADS), 4))
    flat, found = np.empty((r, target.size)), np.empty(r, dtype=bool)
    # Of the whole: it has the unit of the weights, and theirs is the same.
    tolerance = tolerance_of(target)
    with scope(target.precision):
        placed = target.placed()

    def work(begin: int) -> int:
        part = slice(begin, min(begin + size, r))
        some = pad_rows(weights[part], rows, fill=0.0)
        # The last call is filled up, so that there is one program for all.
        some = np.concatenate([some, np.repeat(some[:1], size - len(some), axis=0)])
        with scope(target.precision):
            number = target.data.y.dtype
            modes, decrements, moved = _modes(
                target.structure,
                placed.arrays,
                jnp.asarray(some, number),
                jnp.asarray(start, number),
                jnp.asarray(tolerance, number),
            )
            count = part.stop - part.start
            flat[part] = np.asarray(modes, float)[:count]
            ended = np.asarray(decrements)[:count] <= tolerance
            still = np.asarray(moved)[:count] <= STILL[target.precision]
            found[part] = ended & still & np.isfinite(flat[part]).all(axis=1)
        return part.stop - part.start

    done = 0
    with ThreadPoolExecutor(THREADS) as pool:
        for count in pool.map(work, range(0, r, size)):
            done += count
            if report is not None:
                report(done)
    return Replicates(flat, found)


@partial(jax.jit, static_argnames=("structure",))
def _modes(
    structure: Structure, data: Data, weights: Array, start: Array, tolerance: Array
) -> tuple[Array, Array, Array]:
    def one(w: Array) -> Any:
        state = climb(
            structure,
            data._replace(weights=w),
            start,
            jnp.zeros((), start.dtype),
            tolerance,
            jnp.sum(w * data.trials),
            jnp.asarray(LIMIT),
            linear=True,
            jacobian=False,
        )
        return state.flat, state.decrement, state.moved

    found: tuple[Array, Array, Array] = jax.lax.map(one, weights)
    return found

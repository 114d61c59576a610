"""Many fits of the same formula, each on its own rows: laid out in blocks, fitted in threads.

All get a few steps; those that have not arrived by then, few as a rule, are taken together and go
on, so that nobody waits for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from bayesglm.generative import Data, Structure
from bayesglm.inference.batched import LIMIT, Batch, Found, Prior, fit_batch, tolerances
from bayesglm.inference.stacked import Own
from bayesglm.precision import scope
from bayesglm.segments import Block, Segments, blocks, columns_of, row_sizes

if TYPE_CHECKING:
    from bayesglm.design import Design

__all__ = ["Layout", "Plan", "fit_segments", "in_blocks", "starts"]

# Steps that all fits get; of those with an optimum nearly all need fewer.
FIRST = 10
THREADS = 2


@dataclass(frozen=True)
class Plan:
    """What the fits have in common.

    Attributes
    ----------
    structure : Structure
    prior : Prior or None
        None is maximum likelihood.
    center : ndarray, shape (p,), or None
        What the columns are centred by: the priors' centres; each segment's own means if None.
    offset_center : float
        Subtracted from the offset.
    drop : bool
        Leave aliased columns out.
    some_flat : bool
        Whether some coefficient has a flat prior.
    """

    structure: Structure
    prior: Prior | None = None
    center: np.ndarray | None = None
    offset_center: float = 0.0
    drop: bool = False
    some_flat: bool = True


@dataclass(frozen=True)
class Layout:
    """Segments of a design, laid out in blocks as they are asked for.

    Attributes
    ----------
    design : Design
    segments : Segments
        Of its rows.
    plan : Plan
    members : ndarray of int
        The segments to fit, each of one row at least.
    effective : ndarray, shape (s,)
        Sum of weights times trials of every segment.
    """

    design: Design
    segments: Segments
    plan: Plan
    members: np.ndarray
    effective: np.ndarray

    @cached_property
    def padded(self) -> np.ndarray:
        """To how many rows each segment is padded, shape (s,)."""
        found = np.zeros(len(self.effective), dtype=np.int64)
        found[self.members] = row_sizes(self.segments.sizes[self.members])
        return found

    @cached_property
    def _columns(self) -> Sequence[Any]:
        return columns_of(self.design.matrix)

    @cached_property
    def _alike(self) -> dict[str, float | None]:
        names = ("y", "trials", "weights", "offset")
        return {name: _shared(getattr(self.design, name)) for name in names}

    def _values(self, name: str, index: np.ndarray) -> np.ndarray:
        # What all rows have alike needs no array of its own.
        number = self._alike[name]
        if number is None:
            return np.asarray(getattr(self.design, name)[index], float)
        return np.full((1, index.shape[1]), number)

    def blocks(self, members: np.ndarray) -> list[Block]:
        """Divide some of the members into blocks."""
        return blocks(members, self.padded)

    def batch(self, block: Block, start: np.ndarray) -> Batch:
        """Lay a block out, inside the precision scope; ``start`` (s, k) is of all segments."""
        index, live = self.segments.index(block)
        first, plan = int(self.design.intercept), self.plan
        matrix = np.empty((block.size, first + len(self._columns), block.rows))
        matrix[:, :first] = 1.0
        for j, column in enumerate(self._columns):
            matrix[:, first + j] = column(index)
        tolerance = tolerances(block.filled(self.effective), flat=plan.some_flat)
        return Batch(
            data=Data(
                y=jnp.asarray(self._values("y", index)),
                trials=jnp.asarray(self._values("trials", index)),
                weights=jnp.asarray(np.where(live, self._values("weights", index), 0.0)),
                offset=jnp.asarray(self._values("offset", index) - plan.offset_center),
                parts=(),
            ),
            matrix=Own(jnp.asarray(matrix)),
            center=None if plan.center is None else jnp.asarray(plan.center[None]),
            start=jnp.asarray(block.filled(start)),
            wanted=jnp.ones((block.size, matrix.shape[1]), bool),
            tolerance=jnp.asarray(tolerance),
        )


def fit_segments(
    layout: Layout, start: np.ndarray, report: Callable[[int], None] | None = None
) -> Found:
    """Fit the members of a layout.

    Parameters
    ----------
    layout : Layout
    start : ndarray, shape (s, k)
        Of every segment, on centred columns.
    report : callable, optional
        Told how many segments are done.

    Returns
    -------
    Found
        NumPy arrays for all s segments; of those that are not members NaN, or False.
    """
    plan, total = layout.plan, len(layout.effective)
    intercept = layout.design.intercept

    def work(begin: np.ndarray, limit: int, block: Block) -> Found:
        with scope("float64"):
            found = fit_batch(
                plan.structure,
                layout.batch(block, begin),
                plan.prior,
                jnp.asarray(limit),
                intercept=intercept,
                drop=plan.drop,
            )
            return Found(*(np.asarray(part)[: len(block.members)] for part in found))

    members = layout.members
    found = in_blocks(partial(work, start, FIRST), layout.blocks(members), total, report)
    late = members[~found.ended[members]]
    if late.size:
        more = in_blocks(partial(work, found.flat, LIMIT), layout.blocks(late), total)
        for old, new in zip(found, more, strict=True):
            old[late] = new[late]
    if intercept:
        found.theta[:, 0] -= plan.offset_center
    return found


def in_blocks[T](
    work: Callable[[Block], T],
    parts: Sequence[Block],
    total: int,
    report: Callable[[int], None] | None = None,
) -> T:
    """Work blocks off in threads, and put the arrays that they return together, by member.

    Parameters
    ----------
    work : callable
        From a block to a tree of arrays, their first axis its members.
    parts : sequence of Block
    total : int
        Length of the first axis put together; who is in no block has NaN, or 0.
    report : callable, optional
        Told how many members are done.
    """
    whole: list[np.ndarray] = []
    tree, done = None, 0
    pool = ThreadPoolExecutor(THREADS)
    try:
        for block, found in zip(parts, pool.map(work, parts), strict=True):
            leaves, tree = jax.tree.flatten(found)
            if not whole:
                whole = [_blank(total, part) for part in leaves]
            for old, new in zip(whole, leaves, strict=True):
                old[block.members] = new
            done += len(block.members)
            if report is not None:
                report(done)
    finally:
        # After an error, or Ctrl-C, nobody waits for the other blocks.
        pool.shutdown(cancel_futures=True)
    return cast("T", jax.tree.unflatten(tree, whole))


def _blank(total: int, like: Any) -> np.ndarray:
    fill: Any = np.nan if like.dtype.kind == "f" else 0
    return np.full((total, *like.shape[1:]), fill, dtype=like.dtype)


def _shared(values: np.ndarray) -> float | None:
    """Return the number that all rows have, or None."""
    first = float(values[0])
    return first if bool((values == first).all()) else None


def starts(
    structure: Structure,
    events: np.ndarray,
    effective: np.ndarray,
    offset: np.ndarray,
    *,
    intercept: bool,
    k: int,
) -> np.ndarray:
    """Return where fits start: slopes 0, the intercept at the share of events; shape (s, k).

    Parameters
    ----------
    structure : Structure
    events, effective, offset : ndarray, shape (s,)
        Weighted events, trials, and the mean offset.
    intercept : bool
    k : int
        Coefficients.
    """
    start = np.zeros((len(events), k))
    if intercept:
        link = structure.link
        start[:, 0] = np.asarray(link.eta((events + 0.5) / (effective + 1)))
        if not link.partial:
            start[:, 0] -= offset
    return start

"""Many fits to the same rows: each with a column, or an outcome, of its own.

The shared columns lie in memory once; rows that a fit lacks have weight 0 in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
import numpy as np

from bayesglm.generative import Data
from bayesglm.inference.batched import LIMIT, Batch, Found, fit_batch, scores_at, tolerances
from bayesglm.inference.segmented import FIRST, Plan, in_blocks
from bayesglm.inference.stacked import Common, common
from bayesglm.matrices import MIN_ROWS, bucket, pad_rows
from bayesglm.precision import scope
from bayesglm.segments import Block, dense

if TYPE_CHECKING:
    from bayesglm.design import Design

__all__ = ["Piece", "Screen", "Tested", "screen"]

# Rows times fits of a block.
CELLS = 2**19
MOST = 256


class Piece(NamedTuple):
    """What some fits have of their own: columns (s, q, n), outcomes and weights (s, n) or (1, n).

    Where it is ``complete`` no fit lacks a row, and their start without the columns of their own is
    an optimum.
    """

    own: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    complete: bool = False


class Tested(NamedTuple):
    """What is found in each fit, (s, ...) each, all NumPy.

    ``score`` is the score statistic of the last column, standard normal where that has no effect;
    ``rows``, ``events``, ``effective`` count rows of weight > 0, weighted events and trials.
    """

    found: Found
    score: np.ndarray
    rows: np.ndarray
    events: np.ndarray
    effective: np.ndarray


@dataclass(frozen=True)
class Screen:
    """What the fits share.

    Attributes
    ----------
    design : Design
        The rows; its outcome is not looked at.
    plan : Plan
    read : callable
        From numbers of fits to their `Piece`.
    start : callable
        From a `Piece` to where its fits start, (s, k + q), on centred columns.
    """

    design: Design
    plan: Plan
    read: Callable[[np.ndarray], Piece]
    start: Callable[[Piece], np.ndarray]


def screen(
    task: Screen,
    count: int,
    begun: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    report: Callable[[int], None] | None = None,
) -> Tested:
    """Fit them all.

    Parameters
    ----------
    task : Screen
    count : int
        Number of fits.
    begun : callable
        From rows, events and effective to which fits may have an estimate.
    report : callable, optional
        Told how many fits are done.
    """
    design, plan = task.design, task.plan
    first, n = int(design.intercept), design.n
    rows = bucket(n, MIN_ROWS)
    table = dense(design.matrix)
    mass = design.weights * design.trials
    center = np.zeros(0)
    if design.intercept:
        center = np.average(table, axis=0, weights=mass) if plan.center is None else plan.center
        table = table - center
    values = np.concatenate([np.ones((first, n)), table.T])
    offset = pad_rows(design.offset - plan.offset_center, rows)[None]
    trials = pad_rows(design.trials, rows)[None]
    shared = common(pad_rows(values, rows), center, np.zeros((1, 0, rows)))
    with scope("float64"):
        placed = Common(*(jnp.asarray(part) for part in shared))

    def batch_of(block: Block, piece: Piece, start: np.ndarray) -> Batch:
        effective = np.sum(piece.weights * design.trials, axis=-1)
        effective = np.broadcast_to(effective, (block.size,))
        shape = (block.size, piece.own.shape[1] + len(values))
        own = jnp.asarray(pad_rows(piece.own, rows))
        return Batch(
            data=Data(
                y=jnp.asarray(pad_rows(piece.y, rows)),
                trials=jnp.asarray(trials),
                weights=jnp.asarray(pad_rows(piece.weights, rows, fill=0.0)),
                offset=jnp.asarray(offset),
                parts=(),
            ),
            matrix=placed._replace(own=own),
            center=None,
            start=jnp.asarray(start),
            wanted=jnp.ones(shape, bool),
            tolerance=jnp.asarray(tolerances(effective, flat=plan.some_flat)),
        )

    def fit(batch: Batch, limit: int) -> Found:
        return fit_batch(
            plan.structure,
            batch,
            plan.prior,
            jnp.asarray(limit),
            intercept=design.intercept,
            drop=plan.drop,
        )

    def work(block: Block) -> Tested:
        piece = task.read(block.filled(np.arange(count)))
        with scope("float64"):
            batch = batch_of(block, piece, task.start(piece))
            score = np.full(block.size, np.nan)
            if piece.own.shape[1]:
                # Without the column, on the rows that have it: there the score is taken.
                null, ended = batch.start, np.ones(block.size, bool)
                if not piece.complete:
                    none = batch._replace(wanted=batch.wanted.at[:, -1].set(False))
                    first_fit = fit(none, FIRST)
                    null, ended = first_fit.flat, np.asarray(first_fit.ended)
                batch = batch._replace(start=null)
                scores = scores_at(plan.structure, batch, null, intercept=design.intercept)
                score = np.where(ended, np.asarray(scores), np.nan)
            found = fit(batch, FIRST)
            parts = [np.asarray(part) for part in found]
        live = np.broadcast_to(piece.weights > 0, (block.size, n))
        counts = (
            live.sum(axis=1),
            np.broadcast_to((piece.weights * piece.y).sum(axis=1), (block.size,)),
            np.broadcast_to((piece.weights * design.trials).sum(axis=1), (block.size,)),
        )
        some = slice(len(block.members))
        return Tested(
            Found(*(part[some] for part in parts)), score[some], *(c[some] for c in counts)
        )

    def again(block: Block, begin: np.ndarray) -> Found:
        piece = task.read(block.filled(np.arange(count)))
        with scope("float64"):
            found = fit(batch_of(block, piece, block.filled(begin)), LIMIT)
            return Found(*(np.asarray(part)[: len(block.members)] for part in found))

    size = _together(rows, count)
    tested = in_blocks(work, _blocks(np.arange(count), size, rows), count, report)
    found = tested.found
    late = np.flatnonzero(begun(tested.rows, tested.events, tested.effective) & ~found.ended)
    if late.size:
        more = in_blocks(lambda b: again(b, found.flat), _blocks(late, size, rows), count)
        for old, new in zip(found, more, strict=True):
            old[late] = new[late]
    if design.intercept:
        found.theta[:, 0] -= plan.offset_center
    return tested


def _together(rows: int, count: int) -> int:
    size = min(2 ** (max(CELLS // rows, 1).bit_length() - 1), MOST)
    while size // 2 >= count:
        size //= 2
    return size


def _blocks(members: np.ndarray, size: int, rows: int) -> list[Block]:
    parts = range(0, len(members), size)
    return [Block(members[begin : begin + size], size, rows) for begin in parts]

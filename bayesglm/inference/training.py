"""Training by mini-batches, from several starts at once, with early stopping.

The same loss as `optimize`: minus the log density over the sum of weights times trials. A batch of
B rows stands for all: its weights are multiplied by rows / B. Steps are taken in compiled blocks
(one epoch, or some full steps), so that progress and Ctrl-C work between them; all starts advance
together, vectorised. With a validation share, that share of the rows is held out of the loss, and
each start keeps the parameters that were best on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from bayesglm.errors import SpecificationError, Status, explain
from bayesglm.generative import Data, Structure, log_density, pointwise
from bayesglm.inference.coordinates import Coordinates
from bayesglm.precision import scope

if TYPE_CHECKING:
    from bayesglm.inference.target import Target

__all__ = ["Plan", "Trained", "train"]

# Full-batch steps in one compiled call.
BLOCK = 50


@dataclass(frozen=True)
class Plan:
    """How to train.

    Attributes
    ----------
    optimizer : str or optax.GradientTransformation
        ``"adam"``, ``"gd"``, or a transformation.
    steps : int
        Updates.
    learning_rate : float or None
        None: 0.05, falling to 0 along a cosine.
    batch_size : int or None
        Rows of a batch; None for all.
    validation : float or None
        Share of the rows that is held out.
    patience : int
        Blocks (epochs) without a better validation loss before a start stops.
    tolerance : float
        Largest gradient of the mean loss that counts as converged.
    """

    optimizer: Any = "adam"
    steps: int = 1_000
    learning_rate: float | None = None
    batch_size: int | None = None
    validation: float | None = None
    patience: int = 10
    tolerance: float = 5e-3


@dataclass(frozen=True)
class Trained:
    """What training returns, for each of s starts.

    Attributes
    ----------
    flat : ndarray, shape (s, size)
        Parameters in flat coordinates; the last finite ones where a start diverged.
    loss : ndarray, shape (s,)
        Mean loss on the held-out rows, or else on all.
    history : ndarray, shape (s, steps)
        Loss after each step, of the batch that follows it; the last of all rows.
    gradient_norm : ndarray, shape (s,)
        Largest entry of the gradient of the mean loss at the end.
    status : tuple of Status
    steps : int
    """

    flat: np.ndarray
    loss: np.ndarray
    history: np.ndarray
    gradient_norm: np.ndarray
    status: tuple[Status, ...]
    steps: int


class _State(NamedTuple):
    v: Array
    inner: Any
    # The last parameters whose loss and gradient were finite.
    last: Array
    failed: Array
    best: Array
    best_loss: Array
    waited: Array


class _Split(NamedTuple):
    """Data to train on, the weights held out, the rows that count, and the scale of the loss."""

    data: Data
    held_out: Array
    live: Array
    effective: Array
    held_effective: Array


def _transformation(optimizer: Any, rate: float | None, steps: int) -> Any:
    if not isinstance(optimizer, str):
        return optimizer
    schedule = optax.cosine_decay_schedule(0.05, steps) if rate is None else rate
    return {"adam": optax.adam, "gd": optax.sgd}[optimizer](schedule)


@partial(jax.jit, static_argnames=("structure", "plan", "jacobian", "length", "batched"))
def _advance(
    structure: Structure,
    split: _Split,
    coordinates: Coordinates,
    state: _State,
    keys: Array,
    count: Array,
    *,
    plan: Plan,
    jacobian: bool,
    length: int,
    batched: bool,
) -> tuple[_State, Array]:
    """Take ``count`` steps from every start, then look at the held-out rows."""
    optimizer = _transformation(plan.optimizer, plan.learning_rate, plan.steps)

    def loss(v: Array, data: Data) -> Array:
        flat = coordinates.flat(v)
        return -log_density(structure, data, flat, jacobian=jacobian) / split.effective

    def advance(state: _State, key: Array) -> tuple[_State, Array]:
        stopped = state.failed | (state.waited > plan.patience)
        order = jax.random.permutation(key, split.live) if batched else split.live

        def batch(i: Array) -> Data:
            if not batched:
                return split.data
            size = plan.batch_size or 1
            rows = jax.lax.dynamic_slice(order, (i * size,), (size,))
            return split.data.rows(rows, jnp.asarray(len(split.live) / size, state.v.dtype))

        def body(i: Array, carry: tuple[_State, Array]) -> tuple[_State, Array]:
            now, seen = carry
            value, gradient = jax.value_and_grad(loss)(now.v, batch(i))
            updates, inner = optimizer.update(gradient, now.inner, now.v)
            fine = jnp.isfinite(value) & jnp.isfinite(gradient).all()
            failed = now.failed | ~fine
            held = failed | stopped

            def keep(old: Any, new: Any) -> Any:
                return jnp.where(held, old, new)

            last = jnp.where(fine, now.v, now.last)
            after = now._replace(
                v=jnp.where(failed, last, keep(now.v, optax.apply_updates(now.v, updates))),
                inner=jax.tree.map(keep, now.inner, inner),
                last=last,
                failed=failed,
            )
            return after, seen.at[i].set(value)

        blank = jnp.full(length, jnp.nan, state.v.dtype)
        after, seen = jax.lax.fori_loop(0, count, body, (state, blank))
        if plan.validation is None:
            return after._replace(best=after.v), seen
        data = split.data._replace(weights=split.held_out)
        rows = pointwise(structure, data, coordinates.flat(after.v))
        value = -jnp.sum(rows) / split.held_effective
        better = value < after.best_loss
        return after._replace(
            best=jnp.where(better, after.v, after.best),
            best_loss=jnp.where(better, value, after.best_loss),
            waited=jnp.where(better, 0, after.waited + 1),
        ), seen

    return jax.vmap(advance)(state, keys)


@partial(jax.jit, static_argnames=("structure", "jacobian"))
def _assess(
    structure: Structure, split: _Split, coordinates: Coordinates, v: Array, *, jacobian: bool
) -> tuple[Array, Array, Array]:
    def loss(one: Array) -> Array:
        flat = coordinates.flat(one)
        return -log_density(structure, split.data, flat, jacobian=jacobian) / split.effective

    values, gradients = jax.vmap(jax.value_and_grad(loss))(v)
    return values, jnp.max(jnp.abs(gradients), axis=1), jax.vmap(coordinates.flat)(v)


def train(
    target: Target,
    starts: np.ndarray,
    plan: Plan,
    *,
    jacobian: bool = False,
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> Trained:
    """Minimise the mean loss from several starts.

    Parameters
    ----------
    target : Target
        The model on its data.
    starts : ndarray, shape (s, size)
        Flat coordinates.
    plan : Plan
        How.
    jacobian : bool
        Mode of the unconstrained density instead of the parameters as named.
    seed : int
        Fixes batches and the held-out rows.
    report : callable, optional
        Called after each block with the steps taken.

    Raises
    ------
    SpecificationError
        If the batch is larger than the rows to train on.
    """
    with scope(target.precision):
        number = target.data.y.dtype
        split = _split(target, plan, seed)
        rows = len(split.live)
        batched = plan.batch_size is not None
        if plan.batch_size is not None and plan.batch_size > rows:
            raise SpecificationError(
                explain(
                    "batch_size exceeds the rows to train on", batch_size=plan.batch_size, rows=rows
                )
            )
        coordinates = Coordinates(
            *(jnp.asarray(a, number) for a in target.coordinates("standardised"))
        )
        v = jax.vmap(coordinates.inverse)(jnp.asarray(starts, number))
        optimizer = _transformation(plan.optimizer, plan.learning_rate, plan.steps)
        infinite = jnp.full(len(v), jnp.inf, number)
        zeros = jnp.zeros(len(v), jnp.int32)
        inner, failed = jax.vmap(optimizer.init)(v), jnp.zeros(len(v), bool)
        state = _State(v, inner, v, failed, v, infinite, zeros)
        length = rows // plan.batch_size if plan.batch_size is not None else BLOCK
        keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(seed)))(jnp.arange(len(v)))
        done, seen = 0, []
        while done < plan.steps:
            count = min(length, plan.steps - done)
            state, losses = _advance(
                target.structure,
                split,
                coordinates,
                state,
                jax.vmap(partial(jax.random.fold_in, data=done))(keys),
                jnp.asarray(count),
                plan=plan,
                jacobian=jacobian,
                length=length,
                batched=batched,
            )
            seen.append(np.asarray(losses, float)[:, :count])
            done += count
            if report is not None:
                report(done, 0)
            if bool((state.failed | (state.waited > plan.patience)).all()):
                break
        loss, norm, flat = (
            np.asarray(part, float)
            for part in _assess(target.structure, split, coordinates, state.best, jacobian=jacobian)
        )
        ended = loss
        if plan.validation is not None:
            loss = np.asarray(state.best_loss, float)
        early = np.asarray(state.waited) > plan.patience
        diverged = np.asarray(state.failed)
    status = tuple(
        Status.DIVERGED
        if diverged[s]
        else Status.STOPPED_EARLY
        if early[s]
        else (Status.CONVERGED if norm[s] <= plan.tolerance else Status.STEP_LIMIT)
        for s in range(len(flat))
    )
    history = np.concatenate([*seen, ended[:, None]], axis=1)[:, 1:]
    return Trained(flat, loss, history, norm, status, done)


def _split(target: Target, plan: Plan, seed: int) -> _Split:
    """Hold a share of the rows out, chosen at random; padding belongs to neither side."""
    data = target.arrays
    weights, trials = np.asarray(target.data.weights), np.asarray(target.data.trials)
    live = np.flatnonzero(weights > 0)
    held = np.zeros(len(weights), bool)
    if plan.validation is not None:
        count = max(1, round(plan.validation * len(live)))
        held[np.random.default_rng(seed).choice(live, count, replace=False)] = True
    train_weights = np.where(held, 0, weights)
    number = data.y.dtype
    return _Split(
        data._replace(weights=jnp.asarray(train_weights, number)),
        jnp.asarray(np.where(held, weights, 0), number),
        jnp.asarray(np.flatnonzero(train_weights > 0)),
        jnp.asarray(np.sum(train_weights * trials), number),
        jnp.asarray(max(np.sum(weights[held] * trials[held]), 1e-300), number),
    )

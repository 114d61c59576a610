"""First-order optimisers (optax) on the mean loss, the whole loop compiled.

The loss is minus the log density over the sum of weights times trials: for maximum likelihood the
mean binary cross-entropy. `gd`, `adam` and a transformation of the user's own run in the reported
coordinates, so that their curves are those of a textbook; `lbfgs` runs in standardised ones.
"""

from __future__ import annotations

from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from bayesglm.errors import Status
from bayesglm.generative import Data, Structure, log_density
from bayesglm.inference.coordinates import Coordinates
from bayesglm.inference.newton import Optimum
from bayesglm.precision import scope

if TYPE_CHECKING:
    from bayesglm.inference.target import Target

__all__ = ["DEFAULTS", "optimize"]

# name -> (learning rate, steps, tolerance of the gradient's largest entry)
DEFAULTS: dict[str, tuple[float | None, int, float]] = {
    "lbfgs": (None, 500, 1e-8),
    "adam": (0.1, 2_000, 1e-6),
    "gd": (0.1, 10_000, 1e-6),
}
HALVINGS = 30


class _State(NamedTuple):
    v: Array
    value: Array
    gradient: Array
    inner: Any
    step: Array
    history: Array
    failed: Array


def _transformation(name: str, rate: Any, memory: int, custom: Any) -> Any:
    if custom is not None:
        return optax.with_extra_args_support(custom)
    if name == "lbfgs":
        return optax.lbfgs(rate, memory_size=memory)
    makers = {"adam": optax.adam, "gd": optax.sgd}
    return optax.with_extra_args_support(makers[name](rate))


@partial(jax.jit, static_argnames=("structure", "name", "memory", "custom", "jacobian", "limit"))
def _descend(
    structure: Structure,
    data: Data,
    coordinates: Coordinates,
    start: Array,
    rate: Array | None,
    tolerance: Array,
    effective: Array,
    *,
    name: str,
    memory: int,
    custom: Any,
    jacobian: bool,
    limit: int,
) -> _State:
    optimizer = _transformation(name, rate, memory, custom)

    def loss(v: Array) -> Array:
        flat = coordinates.flat(v)
        return -log_density(structure, data, flat, jacobian=jacobian) / effective

    # A line search leaves value and gradient of the accepted point in the optimiser's state.
    searching = name == "lbfgs" and custom is None

    def shortened(v: Array, updates: Array) -> Array:
        """Halve a step that leaves the domain of a partial link."""

        def outside(search: tuple[Array, Array]) -> Array:
            return ~jnp.isfinite(loss(v + search[0] * updates)) & (search[1] < HALVINGS)

        def halve(search: tuple[Array, Array]) -> tuple[Array, Array]:
            return search[0] / 2, search[1] + 1

        begin = (jnp.ones((), v.dtype), jnp.zeros((), jnp.int32))
        return updates * jax.lax.while_loop(outside, halve, begin)[0]

    def body(state: _State) -> _State:
        updates, inner = optimizer.update(
            state.gradient,
            state.inner,
            state.v,
            value=state.value,
            grad=state.gradient,
            value_fn=loss,
        )
        if structure.link.partial and not searching:
            updates = shortened(state.v, updates)
        v = optax.apply_updates(state.v, updates)
        if searching:
            value, gradient = optax.tree.get(inner, "value"), optax.tree.get(inner, "grad")
        else:
            value, gradient = jax.value_and_grad(loss)(v)
        failed = ~(jnp.isfinite(value) & jnp.isfinite(gradient).all())
        # The last finite parameters are kept.
        return _State(
            jnp.where(failed, state.v, v),
            jnp.where(failed, state.value, value),
            jnp.where(failed, state.gradient, gradient),
            inner,
            state.step + 1,
            state.history.at[state.step].set(value),
            failed,
        )

    def going(state: _State) -> Array:
        large = jnp.max(jnp.abs(state.gradient)) > tolerance
        return large & (state.step < limit) & ~state.failed

    value, gradient = jax.value_and_grad(loss)(start)
    begin = _State(
        start,
        value,
        gradient,
        optimizer.init(start),
        jnp.zeros((), jnp.int32),
        jnp.full(limit, jnp.nan, start.dtype),
        ~jnp.isfinite(value),
    )
    return jax.lax.while_loop(going, body, begin)


def optimize(
    target: Target,
    starts: np.ndarray,
    *,
    optimizer: str | optax.GradientTransformation,
    jacobian: bool = False,
    steps: int | None = None,
    learning_rate: float | None = None,
    memory: int = 10,
    tolerance: float | None = None,
) -> list[Optimum]:
    """Minimise the mean loss by a first-order method, from each of several starts.

    Parameters
    ----------
    target : Target
        The model on its data.
    starts : ndarray, shape (s, size)
        Flat coordinates; all advance together, vectorised.
    optimizer : {"lbfgs", "adam", "gd"} or optax.GradientTransformation
        The method; a transformation is used as it is.
    jacobian : bool
        Mode of the unconstrained density instead of the parameters as named.
    steps : int, optional
        Step limit; 500, 2,000 and 10,000 by default.
    learning_rate : float, optional
        0.1 for ``adam`` and ``gd``; ``lbfgs`` searches along the line instead.
    memory : int
        Gradients that ``lbfgs`` remembers.
    tolerance : float, optional
        Largest absolute entry of the gradient of the mean loss at which to stop.

    Returns
    -------
    list of Optimum
        One for each start, with the loss after each step as ``history``.
    """
    custom = None if isinstance(optimizer, str) else optimizer
    name = optimizer if isinstance(optimizer, str) else "custom"
    rate, limit, small = DEFAULTS.get(name, (None, 1_000, 1e-6))
    rate = learning_rate if learning_rate is not None else rate
    limit = steps if steps is not None else limit
    with scope(target.precision):
        number = target.data.y.dtype
        coordinates = target.coordinates("standardised" if name == "lbfgs" else "reported")
        coordinates = Coordinates(*(jnp.asarray(a, number) for a in coordinates))
        data = target.arrays
        threshold = small if tolerance is None else tolerance

        def descend(v: Array) -> _State:
            return _descend(
                target.structure,
                data,
                coordinates,
                v,
                None if rate is None else jnp.asarray(rate, number),
                jnp.asarray(threshold, number),
                jnp.asarray(target.effective, number),
                name=name,
                memory=memory,
                custom=custom,
                jacobian=jacobian,
                limit=limit,
            )

        v = [coordinates.inverse(jnp.asarray(start, number)) for start in starts]
        if len(v) == 1:
            states = [descend(v[0])]
        else:
            together = jax.vmap(descend)(jnp.stack(v))
            states = [jax.tree.map(itemgetter(s), together) for s in range(len(v))]
        return [_optimum(state, coordinates, threshold) for state in states]


def _optimum(state: _State, coordinates: Coordinates, threshold: float) -> Optimum:
    norm = float(jnp.max(jnp.abs(state.gradient)))
    if bool(state.failed):
        status = Status.DIVERGED
    else:
        status = Status.CONVERGED if norm <= threshold else Status.STEP_LIMIT
    count = int(state.step)
    return Optimum(
        np.asarray(coordinates.flat(state.v), float),
        status,
        norm,
        count,
        np.asarray(state.history, float)[:count],
    )

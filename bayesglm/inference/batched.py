"""Newton's method for many small fits at once: one program, a step of all of them together.

Each has the log density of `generative`, its own rows, coefficients and end:

    sum_i w_i log p(y_i | eta_i) + log p(theta),    eta_i = offset_i + x_i' theta

The iteration is that of `newton`: the observed Hessian, the expected one where that is not positive
definite, then a ridge; backtracking; the decrement g' H^-1 g ends it. A step that is tried is
evaluated with its slopes and Gram matrix, since nearly all are taken. Who has arrived waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bayesglm.generative import Data, Structure, log_prior
from bayesglm.inference.newton import HALVINGS, LIMIT, TOLERANCE
from bayesglm.inference.rowwise import row_log_prob
from bayesglm.inference.stacked import Common

if TYPE_CHECKING:
    from bayesglm.inference.stacked import Stack

__all__ = [
    "LIMIT",
    "Batch",
    "Found",
    "Prior",
    "fit_batch",
    "scores_at",
    "tolerances",
    "weigh_batch",
]

# Correlation matrices and columns are judged as `aliasing` does it.
RANK, CONSTANT = 1e-13, 1e-13
RIDGES = (1e-12, 1e-8, 1e-4, 1.0, 1e4)


class Prior(NamedTuple):
    """Priors of the coefficients: the data of a `Structure` whose likelihood is left out."""

    data: Data


class Batch(NamedTuple):
    """Fits of one shape.

    Attributes
    ----------
    data : Data
        Rows, each array (s, n) or (1, n); ``parts`` is empty.
    matrix : Stack
        The constant first, where there is one.
    center : Array, shape (1, k - 1), or None
        What is subtracted from the columns of `Own`; None is each fit's own means.
    start : Array, shape (s, k)
        Coefficients of the centred columns.
    wanted : Array of bool, shape (s, k)
        The coefficients that are to be estimated; the others stay 0.
    tolerance : Array, shape (s,)
    """

    data: Data
    matrix: Stack
    center: Array | None
    start: Array
    wanted: Array
    tolerance: Array


class Found(NamedTuple):
    """What a batch has come to, in arrays of JAX, or of NumPy outside a scope.

    ``theta`` and ``cov`` are as reported, ``flat`` and ``flat_cov`` on centred columns.

    Attributes
    ----------
    ended : (s,) bool
        Whether the decrement vanished, or there was nothing to do.
    moved : (s,)
        Largest change of eta in the last step.
    step : (s, k)
        That step, on centred columns.
    aliased : (s, k) bool
        Columns that are combinations of those before them.
    """

    theta: Any
    cov: Any
    loglik: Any
    flat: Any
    flat_cov: Any
    ended: Any
    moved: Any
    step: Any
    aliased: Any


def tolerances(effective: np.ndarray, *, flat: bool) -> np.ndarray:
    """Return the squared decrement at which each fit ends; see `newton.tolerance_of`.

    Parameters
    ----------
    effective : ndarray, shape (s,)
        Sum of weights times trials.
    flat : bool
        Whether some coefficient has a flat prior.
    """
    rounding = 100 * float(np.finfo(float).eps) ** 2
    unit = effective if flat else np.maximum(effective, 1.0)
    return np.maximum(TOLERANCE["float64"] * np.minimum(effective, 1.0), rounding * unit)


class _State(NamedTuple):
    theta: Array
    value: Array
    step: Array
    decrement: Array
    length: Array
    halvings: Array
    done: Array
    ended: Array
    steps: Array


@dataclass(frozen=True)
class _Density:
    """The log density of each fit of a batch, and its derivatives."""

    structure: Structure
    data: Data
    matrix: Stack
    prior: Prior | None
    used: Array

    def rows(self, theta: Array) -> tuple[Array, Array, Array]:
        """Return value, slope and curvature in eta of every row's term, (s, n)."""
        eta = self.data.offset + self.matrix.dot(theta)
        ones = jnp.ones_like(eta)

        def value(e: Array) -> Array:
            return row_log_prob(self.structure, self.data, e)

        def slope(e: Array) -> tuple[Array, Array]:
            return jax.jvp(value, (e,), (ones,))

        (rows, first), (_, second) = jax.jvp(slope, (eta,), (ones,))
        return rows, first, second

    def value(self, theta: Array) -> Array:
        """Return the log density (s,)."""
        eta = self.data.offset + self.matrix.dot(theta)
        total = jnp.sum(row_log_prob(self.structure, self.data, eta), axis=1)
        return total if self.prior is None else total + jax.vmap(self._prior)(theta)

    def _prior(self, flat: Array) -> Array:
        if self.prior is None:
            return jnp.zeros((), flat.dtype)
        return log_prior(self.structure, self.prior.data, flat, jacobian=False)

    def prior_at(self, theta: Array) -> tuple[Any, Any, Any]:
        """Return the log prior (s,), its gradient (s, k) and Hessian (s, k, k)."""
        if self.prior is None:
            return 0.0, 0.0, 0.0
        values, gradients = jax.vmap(jax.value_and_grad(self._prior))(theta)
        return values, gradients, jax.vmap(jax.hessian(self._prior))(theta)

    def local(self, theta: Array) -> tuple[Array, Array, Array]:
        """Return value (s,), gradient (s, k) and negative Hessian (s, k, k)."""
        rows, first, second = self.rows(theta)
        value, slope, bend = self.prior_at(theta)
        gradient = self.matrix.sums(first) + slope
        return jnp.sum(rows, axis=1) + value, gradient, self.matrix.gram(-second) - bend

    def expected(self, theta: Array) -> Array:
        """Return the expected information, less the prior's Hessian, (s, k, k)."""
        eta = self.data.offset + self.matrix.dot(theta)
        each = self.structure.family.information(eta, self.data.trials, self.structure.link)
        weights = jnp.where(self.data.weights > 0, self.data.weights * each, 0.0)
        return self.matrix.gram(weights) - self.prior_at(theta)[2]

    def masked(self, hessian: Array) -> Array:
        """Return Hessians in which coefficients that are not used are apart."""
        both = self.used[:, :, None] & self.used[:, None, :]
        eye = jnp.eye(hessian.shape[1], dtype=hessian.dtype)
        return jnp.where(both, hessian, jnp.where(self.used[:, :, None], 0.0, eye))

    def solve(self, hessian: Array, right: Array, ridge: Any = 0.0) -> Array:
        """Solve for right sides (s, k, r) by Cholesky, scaled to a unit diagonal; NaN if it fails."""
        hessian = self.masked(hessian)
        right = jnp.where(self.used[:, :, None], right, 0.0)
        diagonal = jnp.diagonal(hessian, axis1=1, axis2=2)
        scale = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1.0))
        scaled = hessian / scale[:, :, None] / scale[:, None, :]
        scaled = scaled + ridge * jnp.eye(scale.shape[1], dtype=scale.dtype)
        factor = jnp.linalg.cholesky(jnp.where(jnp.isfinite(scaled), scaled, jnp.nan))
        solved = jax.scipy.linalg.cho_solve((factor, True), right / scale[:, :, None])
        return solved / scale[:, :, None]

    def direction(self, theta: Array, gradient: Array, hessian: Array, busy: Array) -> Array:
        """Return Newton's step (s, k), by a Hessian that is positive definite."""

        def good(step: Array) -> Array:
            rising = jnp.sum(step * gradient, axis=1) >= 0
            return jnp.isfinite(step).all(axis=1) & rising

        def instead(step: Array) -> Array:
            other = self.expected(theta)

            def attempt(step: Array, ridge: Array) -> tuple[Array, None]:
                again = self.solve(other, gradient[:, :, None], ridge)[:, :, 0]
                return jnp.where(good(step)[:, None], step, again), None

            return jax.lax.scan(attempt, step, jnp.asarray((0.0, *RIDGES)))[0]

        plain = self.solve(hessian, gradient[:, :, None])[:, :, 0]
        wrong = (busy & ~good(plain)).any()
        return jax.lax.cond(wrong, instead, lambda step: step, plain)


def _climb(density: _Density, batch: Batch, busy: Array, limit: Array) -> _State:
    """Climb from the start, each fit to its top; ``busy`` (s,) are the fits that have one."""
    tolerance = batch.tolerance

    def body(state: _State) -> _State:
        tried = state.theta + state.length[:, None] * state.step
        value, gradient, hessian = density.local(tried)
        enough = value >= state.value + 1e-4 * state.length * state.decrement
        # Close to the optimum the gain drowns in rounding: any finite value will do.
        drowned = state.decrement < 1e4 * tolerance + 1e-15 * jnp.abs(state.value)
        taken = jnp.isfinite(value) & (enough | drowned) & ~state.done
        step = density.direction(tried, gradient, hessian, taken)
        decrement = jnp.sum(gradient * step, axis=1)
        over = taken & (decrement <= tolerance)
        theta = jnp.where(taken[:, None], tried, state.theta)
        # Convergence is quadratic: the last step is taken without a look.
        theta = jnp.where(over[:, None], theta + step, theta)
        halvings = jnp.where(taken, 0, state.halvings + 1)
        # A start where nothing is finite stays what it is.
        stuck = ~taken & ((halvings >= HALVINGS) | (state.steps == 0))
        stuck |= taken & ~jnp.isfinite(decrement)
        return _State(
            theta=theta,
            value=jnp.where(taken, value, state.value),
            step=jnp.where(taken[:, None], step, state.step),
            decrement=jnp.where(taken, decrement, state.decrement),
            length=jnp.where(taken, 1.0, state.length / 2),
            halvings=halvings,
            done=state.done | over | stuck,
            ended=state.ended | over,
            steps=state.steps + 1,
        )

    def going(state: _State) -> Array:
        return (~state.done).any() & (state.steps < limit)

    fits = batch.start.shape[0]
    zeros = jnp.zeros(fits, batch.start.dtype)
    begin = _State(
        theta=batch.start,
        value=zeros - jnp.inf,
        step=jnp.zeros_like(batch.start),
        decrement=zeros,
        length=zeros + 1,
        halvings=jnp.zeros(fits, jnp.int32),
        done=~busy,
        ended=~busy,
        steps=jnp.zeros((), jnp.int32),
    )
    return jax.lax.while_loop(going, body, begin)


def _aliased(matrix: Stack, live: Array, center: Array, first: int) -> Array:
    """Return which columns are combinations of those before them, (s, k); see `aliasing`."""
    k = matrix.width
    gram = matrix.gram(live)
    size = jnp.sqrt(jnp.diagonal(gram, axis1=1, axis2=2))
    rows = jnp.sum(live, axis=1, keepdims=True)
    whole = jnp.concatenate([jnp.zeros_like(size[:, :first]), center[:, :k]], axis=1)[:, :k]
    empty = size <= CONSTANT * jnp.abs(whole) * jnp.sqrt(rows)
    unit = jnp.where(empty, 1.0, size)
    scaled = gram / unit[:, :, None] / unit[:, None, :]

    def step(j: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        left, gone = state
        row = jax.lax.dynamic_index_in_dim(left, j, axis=1, keepdims=False)
        pivot = jax.lax.dynamic_index_in_dim(row, j, axis=1, keepdims=False)
        none = jax.lax.dynamic_index_in_dim(empty, j, axis=1, keepdims=False)
        none |= ~(pivot > RANK * k)
        row = jnp.where(none[:, None], 0.0, row)
        rest = left - row[:, :, None] * row[:, None, :] / jnp.where(none, 1.0, pivot)[:, None, None]
        return rest, jax.lax.dynamic_update_index_in_dim(gone, none, j, axis=1)

    _, gone = jax.lax.fori_loop(0, k, step, (scaled, empty))
    return gone


@partial(jax.jit, static_argnames=("structure", "intercept", "drop"))
def fit_batch(
    structure: Structure,
    batch: Batch,
    prior: Prior | None,
    limit: Array,
    *,
    intercept: bool,
    drop: bool,
) -> Found:
    """Fit a batch, at most ``limit`` steps of each.

    Parameters
    ----------
    structure : Structure
        Family and link; with ``prior`` also the sites of the coefficients.
    batch : Batch
    prior : Prior or None
        None is maximum likelihood: fits with aliased columns are then left out, unless ``drop``
        leaves out the columns; the covariance is by the expected information, else the curvature.
    limit : Array of int
    intercept, drop : bool
    """
    data = batch.data
    live = jnp.broadcast_to(data.weights > 0, (batch.start.shape[0], data.weights.shape[1]))
    mass = jnp.where(live, data.weights * data.trials, 0.0)
    matrix, center = _placed(batch, mass, intercept)
    used, busy = batch.wanted, jnp.ones(batch.start.shape[0], bool)
    aliased = jnp.zeros_like(used)
    if prior is None:
        aliased = _aliased(matrix, live.astype(mass.dtype), center, int(intercept)) & used
        used = used & ~aliased
        busy = busy if drop else ~aliased.any(axis=1)
    density = _Density(structure, data, matrix, prior, used)
    batch = batch._replace(start=jnp.where(used, batch.start, 0.0))
    state = _climb(density, batch, busy, limit)
    theta = state.theta
    rows, _, second = density.rows(theta)
    if prior is None:
        hessian = density.expected(theta)
    else:
        hessian = matrix.gram(-second) - density.prior_at(theta)[2]
    eye = jnp.broadcast_to(jnp.eye(matrix.width, dtype=theta.dtype), hessian.shape)
    inverse = density.solve(hessian, eye)
    along = jnp.where(live, matrix.dot(state.step), 0.0)
    reported, cov = _reported(theta, inverse, center, intercept)
    return Found(
        theta=reported,
        cov=cov,
        loglik=jnp.sum(rows, axis=1),
        flat=theta,
        flat_cov=inverse,
        ended=state.ended,
        moved=jnp.max(jnp.abs(along), axis=1),
        step=state.step,
        aliased=aliased,
    )


def _placed(batch: Batch, mass: Array, intercept: bool) -> tuple[Stack, Array]:
    fits = batch.start.shape[0]
    if not intercept:
        return batch.matrix, jnp.zeros((fits, batch.matrix.width), batch.start.dtype)
    if batch.center is None or isinstance(batch.matrix, Common):
        return batch.matrix.centred(mass)
    center = jnp.broadcast_to(batch.center, (fits, batch.matrix.width - 1))
    return batch.matrix.shifted(center), center


def _reported(theta: Array, inverse: Array, center: Array, intercept: bool) -> tuple[Array, Array]:
    """Return coefficients and covariance for columns that are not centred."""
    if not intercept:
        return theta, inverse
    first = theta[:, 0] - jnp.sum(center * theta[:, 1:], axis=1)
    jacobian = jnp.broadcast_to(jnp.eye(theta.shape[1], dtype=theta.dtype), inverse.shape)
    jacobian = jacobian.at[:, 0, 1:].set(-center)
    return theta.at[:, 0].set(first), jacobian @ inverse @ jnp.swapaxes(jacobian, 1, 2)


@partial(jax.jit, static_argnames=("structure", "intercept"))
def weigh_batch(
    structure: Structure,
    batch: Batch,
    prior: Prior | None,
    flat: Array,
    half: Array,
    z: Array,
    log_q: Array,
    *,
    intercept: bool,
) -> Array:
    """Return the log weights of proposals ``flat + half z``, up to a constant, (s, N).

    Parameters
    ----------
    structure : Structure
    batch : Batch
    prior : Prior or None
    flat : Array, shape (s, k)
        The modes, on centred columns.
    half : Array, shape (s, k, k)
        Square roots of the covariances there.
    z : Array, shape (N, k)
        Standardised proposals, the same for all.
    log_q : Array, shape (N,)
        Their log density, up to a constant.
    intercept : bool
    """
    data = batch.data
    live = jnp.broadcast_to(data.weights > 0, (batch.start.shape[0], data.weights.shape[1]))
    matrix, _ = _placed(batch, jnp.where(live, data.weights * data.trials, 0.0), intercept)
    density = _Density(structure, data, matrix, prior, batch.wanted)

    found: Array = jax.lax.map(lambda draw: density.value(flat + half @ draw), z)
    return found.T - log_q


@partial(jax.jit, static_argnames=("structure", "intercept"))
def scores_at(structure: Structure, batch: Batch, theta: Array, *, intercept: bool) -> Array:
    """Return the score statistic of the last coefficient, standard normal if that is 0; (s,).

    Parameters
    ----------
    structure : Structure
    batch : Batch
    theta : Array, shape (s, k)
        The estimate without it, on the centred columns of the batch.
    intercept : bool
    """
    data = batch.data
    live = jnp.broadcast_to(data.weights > 0, (batch.start.shape[0], data.weights.shape[1]))
    matrix, _ = _placed(batch, jnp.where(live, data.weights * data.trials, 0.0), intercept)
    density = _Density(structure, data, matrix, None, batch.wanted)
    slope = matrix.sums(density.rows(theta)[1])[:, -1]
    eye = jnp.eye(matrix.width, dtype=theta.dtype)
    right = jnp.broadcast_to(eye[:, -1:], (theta.shape[0], matrix.width, 1))
    variance = density.solve(density.expected(theta), right)[:, -1, 0]
    return slope * jnp.sqrt(variance)

"""Newton's method on the flat density, its whole loop compiled.

For a linear predictor a step is one pass over the rows: eta, the log likelihood with its first two
derivatives in eta, the Gram matrix. Where the observed Hessian is not positive definite (cauchit,
student_t) the expected one takes its place, then a ridge. A step is accepted by backtracking; the
loop ends by the Newton decrement g' H^-1 g, which is free of the columns' scales: its root is the
distance to the optimum in standard errors (Boyd & Vandenberghe 2004, section 9.5).

Links with a bounded domain: if the plain iteration jams at the boundary, a logarithmic barrier
with a vanishing factor takes over (ibid., section 11.3), and the optimum has status ``boundary``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bayesglm.errors import InferenceError, Status, explain
from bayesglm.generative import Data, Structure, log_density, log_prior
from bayesglm.inference.rowwise import Rows, derivatives, gram, information, row_log_prob, split
from bayesglm.inference.rowwise import gradient as gradient_of
from bayesglm.inference.sharding import total
from bayesglm.precision import scope
from bayesglm.shards import local

if TYPE_CHECKING:
    from bayesglm.inference.target import Target

__all__ = [
    "LIMIT",
    "STILL",
    "Optimum",
    "climb",
    "curvature",
    "least_squares",
    "newton",
    "tolerance_of",
]

LIMIT = 200
# Squared decrement below which one more full step ends the loop; convergence is quadratic, so that
# the step taken there leaves its square. Single precision cannot see below its rounding error.
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}
# Its last step moves eta by less than this at an optimum; under separation it goes on. Single
# precision ends its steps sooner.
STILL = {"float64": 1e-3, "float32": 3e-2}
HALVINGS = 40
BARRIERS = 10.0 ** -np.arange(1, 13)
# Distance of eta from the end of its domain below which an optimum counts as on the boundary.
NEAR = 1e-6
# A residual standard deviation below this share of the outcome's size is rounding.
EXACT = {"float64": 1e-10, "float32": 1e-5}


@dataclass(frozen=True)
class Optimum:
    """Where an optimiser stopped, in flat coordinates, and why.

    ``moved`` is the largest change of a row's eta in Newton's last step. At an optimum it vanishes;
    where the likelihood rises for ever (separation) it does not, however small the gradient.
    """

    flat: np.ndarray
    status: Status
    gradient_norm: float
    steps: int
    history: np.ndarray
    moved: float = 0.0
    # Whether a line search ended without a better point.
    stalled: bool = False


class _State(NamedTuple):
    flat: Array
    value: Array
    gradient_norm: Array
    decrement: Array
    moved: Array
    step: Array
    stalled: Array
    history: Array


def _barrier(structure: Structure, data: Data, eta: Array, factor: Array) -> Array:
    """Return factor times the log distances to the ends of the link's domain, 0 if none."""
    lower, upper = structure.link.domain
    total = jnp.zeros_like(eta)
    inside = (data.weights > 0) & (factor > 0)
    for distance, end in ((eta - lower, lower), (upper - eta, upper)):
        if np.isfinite(end):
            total = total + jnp.where(inside, factor * jnp.log(distance), 0.0)
    return total


def _rows(structure: Structure, data: Data, factor: Array, eta: Array, shape: Array) -> Rows:
    """Return value, slopes and curvatures of every row's term, by eta and by the link's shape."""

    def value(e: Array, s: Array) -> Array:
        rows = row_log_prob(structure, data, e, s)
        return rows + _barrier(structure, data, e, factor) if structure.link.partial else rows

    return derivatives(value, eta, shape)


def curvature(
    structure: Structure, data: Data, flat: Array, *, linear: bool, expected: bool, jacobian: bool
) -> Array:
    """Return the negative Hessian (observed) or the information (expected) at a flat point.

    With ``linear`` it is made of sums over rows (`rowwise`) plus the prior's Hessian; otherwise it
    is by autodiff.
    """

    def prior(f: Array) -> Array:
        return log_prior(structure, data, f, jacobian=jacobian)

    if not linear:
        return -jax.hessian(lambda f: log_density(structure, data, f, jacobian=jacobian))(flat)
    theta, shape = split(data, flat)
    eta = data.offset + data.parts[0].matrix.dot(theta)
    if expected:
        total = gram(data, information(structure, data, eta, shape))
    else:
        total = -gram(data, _rows(structure, data, jnp.zeros((), flat.dtype), eta, shape).second)
    return total - jax.hessian(prior)(flat)


def _solve(hessian: Array, gradient: Array, ridge: Array) -> Array:
    """Solve by Cholesky, scaled to a unit diagonal; NaN if it is not positive definite."""
    diagonal = jnp.diagonal(hessian)
    scale = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1.0))
    scaled = hessian / scale[:, None] / scale[None, :] + ridge * jnp.eye(len(scale))
    factor = jnp.linalg.cholesky(jnp.where(jnp.isfinite(scaled), scaled, jnp.nan))
    return jax.scipy.linalg.cho_solve((factor, True), gradient / scale) / scale


@partial(jax.jit, static_argnames=("structure", "linear", "jacobian"))
def climb(
    structure: Structure,
    data: Data,
    start: Array,
    factor: Array,
    tolerance: Array,
    effective: Array,
    limit: Array,
    *,
    linear: bool,
    jacobian: bool,
) -> _State:
    """Climb from a start to the top; see `newton`, which calls it."""

    def prior(f: Array) -> Array:
        return log_prior(structure, data, f, jacobian=jacobian)

    def value_at(f: Array, eta: Array) -> Array:
        if not linear:
            return log_density(structure, data, f, jacobian=jacobian)
        rows = row_log_prob(structure, data, eta, split(data, f)[1])
        if structure.link.partial:
            rows = rows + _barrier(structure, data, eta, factor)
        return jnp.sum(rows) + prior(f)

    def local(f: Array) -> tuple[Array, Array, Array, Array]:
        if not linear:
            none = jnp.zeros_like(data.y)
            value, gradient = jax.value_and_grad(value_at)(f, none)
            return value, gradient, -jax.hessian(value_at)(f, none), none
        theta, shape = split(data, f)
        eta = data.offset + data.parts[0].matrix.dot(theta)
        rows = _rows(structure, data, factor, eta, shape)
        value, slope = jax.value_and_grad(prior)(f)
        hessian = -gram(data, rows.second) - jax.hessian(prior)(f)
        return jnp.sum(rows.value) + value, gradient_of(data, rows.first) + slope, hessian, eta

    def direction(f: Array, gradient: Array, hessian: Array, eta: Array) -> Array:
        def good(step: Array) -> Array:
            return jnp.isfinite(step).all() & (step @ gradient >= 0)

        def expected(_: None) -> Array:
            if not linear or structure.shape:
                return hessian
            return curvature(structure, data, f, linear=True, expected=True, jacobian=jacobian)

        def ridged(_: None) -> Array:
            instead = expected(None)
            ridges = jnp.concatenate([jnp.zeros(1), 10.0 ** jnp.arange(-12, 9, 2)])
            steps = jax.vmap(lambda r: _solve(instead, gradient, r.astype(f.dtype)))(ridges)
            usable = jax.vmap(good)(steps)
            return steps[jnp.argmax(usable)]

        plain = _solve(hessian, gradient, jnp.zeros((), f.dtype))
        return jax.lax.cond(good(plain), lambda _: plain, ridged, None)

    def body(state: _State) -> _State:
        value, gradient, hessian, eta = local(state.flat)
        step = direction(state.flat, gradient, hessian, eta)
        decrement = gradient @ step
        along = jnp.zeros_like(eta)
        if linear:
            along = data.parts[0].matrix.dot(split(data, step)[0])

        def new_value(length: Array) -> Array:
            return value_at(state.flat + length * step, eta + length * along)

        def worse(search: tuple[Array, Array, Array]) -> Array:
            length, new, count = search
            enough = new >= value + 1e-4 * length * decrement
            # Close to the optimum the gain drowns in rounding: any finite value will do.
            drowned = decrement < 1e4 * tolerance + 1e-15 * jnp.abs(value)
            enough |= jnp.isfinite(new) & drowned
            return ~enough & (count < HALVINGS)

        def halve(search: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            length = search[0] / 2
            return length, new_value(length), search[2] + 1

        one = jnp.ones((), step.dtype)
        first = (one, new_value(one), jnp.zeros((), jnp.int32))
        length, new, count = jax.lax.while_loop(worse, halve, first)
        stalled = (count >= HALVINGS) | ~jnp.isfinite(decrement)
        flat = jnp.where(stalled, state.flat, state.flat + length * step)
        return _State(
            flat,
            new,
            jnp.max(jnp.abs(gradient)) / effective,
            jnp.where(stalled, jnp.inf, decrement),
            jnp.max(jnp.where(data.weights > 0, jnp.abs(along), 0.0)),
            state.step + 1,
            stalled,
            state.history.at[state.step].set(-new / effective),
        )

    def going(state: _State) -> Array:
        return (state.decrement > tolerance) & (state.step < limit) & ~state.stalled

    infinity = jnp.asarray(jnp.inf, start.dtype)
    history = jnp.full(LIMIT, jnp.nan, start.dtype)
    begin = _State(
        flat=start,
        value=-infinity,
        gradient_norm=infinity,
        decrement=infinity,
        moved=infinity,
        step=jnp.zeros((), jnp.int32),
        stalled=jnp.asarray(False),
        history=history,
    )
    return jax.lax.while_loop(going, body, begin)


def newton(target: Target, start: np.ndarray, *, jacobian: bool, steps: int = LIMIT) -> Optimum:
    """Find the mode of the flat density by Newton's method.

    Parameters
    ----------
    target : Target
        The model on its data.
    start : ndarray, shape (size,)
        Flat coordinates; feasible for a link with a bounded domain.
    jacobian : bool
        Mode of the unconstrained density (NUTS, Laplace), or of the parameters as named (MAP).
    steps : int
        Step limit, at most 200.

    Returns
    -------
    Optimum
        Its gradient is that of the density over the sum of weights times trials.
    """
    structure, precision = target.structure, target.precision
    tolerance = tolerance_of(target)
    with scope(precision):
        flat, data = jnp.asarray(start), target.arrays

        def attempt(begin: Array, factor: float) -> _State:
            return climb(
                structure,
                data,
                begin.astype(data.y.dtype),
                jnp.asarray(factor, data.y.dtype),
                jnp.asarray(tolerance, data.y.dtype),
                jnp.asarray(target.effective, data.y.dtype),
                jnp.asarray(min(steps, LIMIT)),
                linear=target.rowwise,
                jacobian=jacobian,
            )

        state = attempt(flat, 0.0)
        status = _status(state, tolerance)
        if structure.link.partial and target.linear and status != Status.CONVERGED:
            for factor in BARRIERS:
                state = attempt(flat, factor * target.effective)
                flat = jnp.where(jnp.isfinite(state.flat), state.flat, flat)
            status = Status.BOUNDARY if _at_boundary(target, data, state.flat) else status
        return Optimum(
            np.asarray(state.flat, float),
            status,
            float(state.gradient_norm),
            int(state.step),
            np.asarray(state.history, float)[: int(state.step)],
            float(state.moved),
            bool(state.stalled) and status == Status.STEP_LIMIT,
        )


def tolerance_of(target: Target) -> float:
    """Return the squared decrement at which to end; it has the unit of the weights."""
    rounding = 100 * float(np.finfo(target.precision).eps) ** 2
    unit = target.effective if target.some_flat else max(target.effective, 1.0)
    return max(TOLERANCE[target.precision] * min(target.effective, 1.0), rounding * unit)


def _status(state: _State, tolerance: float) -> Status:
    if not np.isfinite(state.flat).all() or not np.isfinite(state.value):
        return Status.DIVERGED
    if float(state.decrement) <= tolerance:
        return Status.CONVERGED
    return Status.STEP_LIMIT


def _at_boundary(target: Target, data: Data, flat: Array) -> bool:
    """Return whether some row's eta touches the end of the link's domain."""
    eta = local(data.offset + data.parts[0].matrix.dot(flat))[target.data.weights > 0]
    lower, upper = target.structure.link.domain
    return total(target, (eta - lower < NEAR) | (upper - eta < NEAR)) > 0


@jax.jit
def _normal_equations(data: Data) -> tuple[Array, Array]:
    matrix = data.parts[0].matrix
    gram = matrix.gram(data.weights)
    unused = jnp.diagonal(gram) == 0
    rhs = matrix.sums(data.weights * (data.y - data.offset))
    theta = _solve(gram + jnp.diag(unused.astype(gram.dtype)), rhs, jnp.zeros((), gram.dtype))
    residual = data.y - data.offset - matrix.dot(theta)
    # One step of refinement: the normal equations square the condition number.
    more = matrix.sums(data.weights * residual)
    theta = theta + _solve(
        gram + jnp.diag(unused.astype(gram.dtype)), more, jnp.zeros((), gram.dtype)
    )
    residual = data.y - data.offset - matrix.dot(theta)
    return theta, jnp.sum(data.weights * residual**2)


def least_squares(target: Target) -> Optimum:
    """Return the closed-form least-squares fit, log sigma last (its ML value sqrt(RSS / sum w)).

    Raises
    ------
    InferenceError
        Where nothing is left over: the density then rises for ever as sigma falls to 0.
    """
    data = target.data
    with scope(target.precision):
        theta, rss = _normal_equations(target.arrays)
        mass = total(target, data.weights)
        spread = np.sqrt(total(target, data.weights * (data.y - data.offset) ** 2) / mass)
        # Of aliased columns there is no solution; where one is not needed, any start will do.
        sigma = float(np.sqrt(float(rss) / mass)) if np.isfinite(float(rss)) else spread
        if sigma <= EXACT[target.precision] * spread:
            raise InferenceError(
                explain(
                    "the predictors reproduce the outcome without error, so sigma is 0 and the "
                    "density of the gaussian family has no maximum",
                    rows=target.n,
                    coefficients=len(target.places),
                    advice='leave predictors out, or use family="bernoulli" with a prior',
                )
            )
        flat = np.concatenate([np.asarray(theta, float), [math.log(max(sigma, 1e-300))]])
        loss = float(rss) / (2 * target.effective)
    status = Status.CONVERGED if np.isfinite(flat).all() else Status.DIVERGED
    return Optimum(flat, status, 0.0, 1, np.array([loss]))

"""The top of a likelihood, penalised or not, free or with one combination of coefficients held.

With W the expected information of each row in eta, I = X'WX and q_i = x_i' I^-1 x_i, the score is

    X'(d log p / d eta + a q / 2),

where a = 0 gives the likelihood itself; a = dW / d eta the likelihood times Jeffreys' prior,
log p + log det I / 2; and a = W f' / f the mean-bias-reducing adjusted score of Kosmidis & Firth
(2009), for which there is no objective unless the link is logit, where both are the same.

A step is one pass of O(n k²): Newton's for the likelihood, with Fisher's information where the
observed one is not positive definite; the derivative of the penalty is left out of the curvature,
so that convergence is linear, at a rate that falls with k / n. Where that is too slow, the exact
derivative of the adjusted score takes over, by forward mode, at O(n k³). Steps are halved until
the objective rises (for the adjusted score: until its norm falls).

With a constraint c the steps stay in the plane of equal c'theta. At the top the score is a multiple
of c; this multiplier is the slope of the profile (Venzon & Moolgavkar 1988, Applied Statistics 37).

References
----------
Firth (1993), Biometrika 80; Kosmidis & Firth (2009), Biometrika 96; Kosmidis & Firth (2021),
Biometrika 108 (finiteness).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bayesglm.inference.rowwise import row_log_prob

if TYPE_CHECKING:
    from bayesglm.generative import Data, Structure
    from bayesglm.inference.target import Target

__all__ = ["Reduction", "Top", "ascend"]

type Reduction = Literal["jeffreys", "firth"]

LIMIT = 200
HALVINGS = 40
# Squared length of a step in standard errors: what ends the loop, and what counts as converged
# where rounding (columns that are nearly aliased) allows no better. On the way to infinity standard
# errors grow faster than steps, so that eta must stand still too: MOVED, relative to its size.
TOLERANCE = {"float64": 1e-16, "float32": 1e-8}
ENOUGH = {"float64": 1e-10, "float32": 1e-5}
MOVED = 1e-2


@dataclass(frozen=True)
class Top:
    """Where a climb ended, as plain NumPy.

    Attributes
    ----------
    flat : ndarray, shape (size,)
        Flat coordinates.
    value : float
        The objective there, binomial coefficients left out; without one (the adjusted score of a
        link other than logit) the log likelihood.
    converged : bool
    steps : int
    multiplier : float
        Slope of the objective in the combination that is held.
    tangent : ndarray, shape (size,)
        How the top moves with that combination.
    gradient_norm : float
        Largest absolute entry of the score.
    history : ndarray
        Log likelihood after each step.
    """

    flat: np.ndarray
    value: float
    converged: bool
    steps: int
    multiplier: float
    tangent: np.ndarray
    gradient_norm: float
    history: np.ndarray


class _State(NamedTuple):
    flat: Array
    value: Array
    length: Array
    moved: Array
    step: Array
    stalled: Array
    multiplier: Array
    tangent: Array
    gradient_norm: Array
    history: Array


class _Metric(NamedTuple):
    """Cholesky factor of a matrix scaled to a unit diagonal; NaN if not positive definite."""

    factor: Array
    scale: Array

    @classmethod
    def of(cls, matrix: Array) -> _Metric:
        diagonal = jnp.diagonal(matrix)
        scale = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1.0))
        scaled = matrix / scale[:, None] / scale[None, :]
        return cls(jnp.linalg.cholesky(jnp.where(jnp.isfinite(scaled), scaled, jnp.nan)), scale)

    @property
    def log_det(self) -> Array:
        return 2 * jnp.sum(jnp.log(jnp.diagonal(self.factor)) + jnp.log(self.scale))

    @property
    def inverse(self) -> Array:
        half = jax.scipy.linalg.solve_triangular(self.factor, jnp.diag(1 / self.scale), lower=True)
        return half.T @ half

    def solve(self, columns: Array) -> Array:
        scaled = columns / self.scale[:, None]
        return jax.scipy.linalg.cho_solve((self.factor, True), scaled) / self.scale[:, None]


def _information(structure: Structure, data: Data, eta: Array) -> Array:
    """Return W of every row, 0 where the weight is 0."""
    rows = data.weights * structure.family.information(eta, data.trials, structure.link)
    return jnp.where(data.weights > 0, rows, 0.0)


def _with_bend(
    structure: Structure, data: Data, eta: Array, reduction: Reduction
) -> tuple[Array, Array]:
    """Return W and what its leverages are multiplied by: dW / d eta, or W f' / f."""
    if reduction == "jeffreys":
        return jax.jvp(lambda e: _information(structure, data, e), (eta,), (jnp.ones_like(eta),))
    _, _, a, b = structure.link.parts(eta)
    bent, _ = structure.link.curvatures(eta)
    # W = -t a b and f' / p = a² + a', so that nothing is divided by a density that underflows.
    rows = -data.weights * data.trials * b * (a * a + bent)
    return _information(structure, data, eta), jnp.where(data.weights > 0, rows, 0.0)


def _metric(data: Data, padding: Array, rows: Array) -> _Metric:
    """Return X' diag(rows) X of the coefficients, and the identity in the padding columns."""
    return _Metric.of(data.parts[0].matrix.gram(rows) + jnp.diag(padding))


def _score(
    structure: Structure, data: Data, padding: Array, flat: Array, reduction: Reduction | None
) -> tuple[Array, _Metric]:
    """Return the (adjusted) score and the expected information."""
    matrix = data.parts[0].matrix
    eta = data.offset + matrix.dot(flat)
    slope = jax.jvp(lambda e: row_log_prob(structure, data, e), (eta,), (jnp.ones_like(eta),))[1]
    if reduction is None:
        metric = _metric(data, padding, _information(structure, data, eta))
        return matrix.sums(slope), metric
    rows, bend = _with_bend(structure, data, eta, reduction)
    metric = _metric(data, padding, rows)
    return matrix.sums(slope + 0.5 * bend * matrix.quadratic(metric.inverse)), metric


@partial(jax.jit, static_argnames=("structure", "reduction", "exact"))
def _climb(
    structure: Structure,
    data: Data,
    padding: Array,
    start: Array,
    held: Array,
    tolerance: Array,
    limit: Array,
    *,
    reduction: Reduction | None,
    exact: bool,
) -> _State:
    matrix = data.parts[0].matrix
    norm = reduction == "firth"

    def score(flat: Array) -> tuple[Array, _Metric]:
        return _score(structure, data, padding, flat, reduction)

    def objective(eta: Array) -> tuple[Array, Array]:
        """Return the objective and the log likelihood."""
        loglik = jnp.sum(row_log_prob(structure, data, eta))
        if reduction != "jeffreys":
            return loglik, loglik
        metric = _metric(data, padding, _information(structure, data, eta))
        return loglik + 0.5 * metric.log_det, loglik

    def within(solved: Array) -> tuple[Array, Array, Array]:
        """Return step, multiplier and tangent from what the score and the constraint solve to."""
        free, along = solved[:, 0], solved[:, 1]
        reach = held @ along
        some = reach != 0
        reach = jnp.where(some, reach, 1.0)
        multiplier = jnp.where(some, held @ free / reach, 0.0)
        return free - multiplier * along, multiplier, along / reach

    def plain(flat: Array, eta: Array, metric: _Metric, sides: Array) -> Array:
        if not exact:
            ones = jnp.ones_like(eta)

            def slope(e: Array) -> Array:
                return jax.jvp(lambda x: row_log_prob(structure, data, x), (e,), (ones,))[1]

            return _metric(data, padding, -jax.jvp(slope, (eta,), (ones,))[1]).solve(sides)
        slopes = jax.lax.map(
            lambda e: jax.jvp(lambda f: score(f)[0], (flat,), (e,))[1], jnp.eye(len(flat))
        )
        scale = metric.scale[:, None]
        whole = (jnp.diag(padding) - slopes.T) / scale / scale.T
        return jnp.linalg.solve(whole, sides / scale) / scale

    def body(state: _State) -> _State:
        flat = state.flat
        eta = data.offset + matrix.dot(flat)
        gradient, metric = score(flat)
        value = jnp.sum(row_log_prob(structure, data, eta))
        if reduction == "jeffreys":
            value = value + 0.5 * metric.log_det
        sides = jnp.stack([gradient, held], axis=1)

        def good(step: Array) -> Array:
            return jnp.isfinite(step).all() & (norm | (step @ gradient >= 0))

        first = within(plain(flat, eta, metric, sides))
        step, multiplier, tangent = jax.lax.cond(
            good(first[0]), lambda: first, lambda: within(metric.solve(sides))
        )
        gain = step @ gradient
        scaled = metric.factor.T @ (metric.scale * step)
        length = scaled @ scaled
        along = matrix.dot(step)
        start_norm = gradient @ metric.solve(sides)[:, 0]

        def criterion(share: Array) -> tuple[Array, Array]:
            """Return what is to rise, and the log likelihood."""
            total, loglik = objective(eta + share * along)
            if not norm:
                return total, loglik
            there, _ = score(flat + share * step)
            return -(there @ metric.solve(there[:, None])[:, 0]), loglik

        begin, wanted = (-start_norm, start_norm) if norm else (value, gain)
        # Close to the top the gain drowns in rounding: any finite value will do.
        drowned = length < 1e4 * tolerance + 1e-14 * jnp.abs(value)

        def worse(search: tuple[Array, Array, Array, Array]) -> Array:
            share, new, _, count = search
            enough = (new >= begin + 1e-4 * share * wanted) | (jnp.isfinite(new) & drowned)
            return ~enough & (count < HALVINGS)

        def halve(
            search: tuple[Array, Array, Array, Array],
        ) -> tuple[Array, Array, Array, Array]:
            share = search[0] / 2
            new, loglik = criterion(share)
            return share, new, loglik, search[3] + 1

        one = jnp.ones((), flat.dtype)
        share, new, loglik, count = jax.lax.while_loop(
            worse, halve, (one, *criterion(one), jnp.zeros((), jnp.int32))
        )
        stalled = (count >= HALVINGS) | ~jnp.isfinite(length)
        return _State(
            jnp.where(stalled, flat, flat + share * step),
            jnp.where(stalled, value, loglik if norm else new),
            jnp.where(jnp.isfinite(length), length, jnp.inf),
            jnp.max(jnp.where(data.weights > 0, jnp.abs(along) / (1 + jnp.abs(eta)), 0.0)),
            state.step + 1,
            stalled,
            multiplier,
            tangent,
            jnp.max(jnp.abs(gradient - multiplier * held)),
            state.history.at[state.step].set(loglik),
        )

    def going(state: _State) -> Array:
        return (state.length > tolerance) & (state.step < limit) & ~state.stalled

    infinity = jnp.asarray(jnp.inf, start.dtype)
    return jax.lax.while_loop(
        going,
        body,
        _State(
            flat=start,
            value=-infinity,
            length=infinity,
            moved=infinity,
            step=jnp.zeros((), jnp.int32),
            stalled=jnp.asarray(False),
            multiplier=jnp.zeros((), start.dtype),
            tangent=jnp.zeros_like(start),
            gradient_norm=infinity,
            history=jnp.full(LIMIT, jnp.nan, start.dtype),
        ),
    )


def ascend(
    target: Target,
    start: np.ndarray,
    *,
    reduction: Reduction | None,
    held: np.ndarray | None = None,
    steps: int = LIMIT,
) -> Top:
    """Climb to the top from a point, inside the precision scope of the target.

    Parameters
    ----------
    target : Target
        A linear one with flat priors and a link without bounds.
    start : ndarray, shape (size,)
        Flat coordinates.
    reduction : {"jeffreys", "firth"} or None
        Which adjustment of the score; None is the likelihood itself.
    held : ndarray, shape (size,), optional
        Coefficients of the combination of flat coordinates that keeps its value.
    steps : int
        Step limit, at most 200, before the exact derivative takes over, and after.
    """
    data, number = target.arrays, target.data.y.dtype
    padding = np.arange(target.size) >= len(target.places)

    def climb(begin: np.ndarray, *, exact: bool, last: bool) -> Top:
        state = _climb(
            target.structure,
            data,
            jnp.asarray(padding, number),
            jnp.asarray(begin, number),
            jnp.asarray(np.zeros(target.size) if held is None else held, number),
            jnp.asarray(TOLERANCE[target.precision], number),
            jnp.asarray(min(steps, LIMIT)),
            reduction=reduction,
            exact=exact,
        )
        found = jax.tree.map(np.asarray, state)
        return Top(
            flat=np.asarray(found.flat, float),
            value=float(found.value),
            converged=float(found.length) <= (ENOUGH if last else TOLERANCE)[target.precision]
            and float(found.moved) <= MOVED,
            steps=int(found.step),
            multiplier=float(found.multiplier),
            tangent=np.asarray(found.tangent, float),
            gradient_norm=float(found.gradient_norm),
            history=np.asarray(found.history, float)[: int(found.step)],
        )

    last = reduction is None or steps < LIMIT
    top = climb(np.asarray(start, float), exact=False, last=last)
    return top if top.converged or last else climb(top.flat, exact=True, last=True)

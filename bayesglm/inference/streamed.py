"""Newton's method and its errors by passes over row blocks.

A pass gives the log likelihood with gradient g and information H in the coefficients c at once. Of
the flat vector f it is the surrogate

    g'(c(f) - c0) - (c(f) - c0)' H (c(f) - c0) / 2 + log prior(f)

that has the density's first and second derivatives at hand, whatever priors and their supports.
Passes are what costs: each step is tried at full length, judged by the pass that the next step
needs anyway, and the last one is not followed by another where it moves eta by less than STILL.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bayesglm.errors import InferenceError, SeparationError, Status, explain
from bayesglm.generative import Data, Structure, eta_at, log_prior
from bayesglm.inference.aliasing import Alias, aliases_of
from bayesglm.inference.newton import EXACT, HALVINGS, tolerance_of
from bayesglm.inference.newton import STILL as RUNNING
from bayesglm.matrices import DenseColumns
from bayesglm.precision import scope

if TYPE_CHECKING:
    from bayesglm.inference.passes import Expansion, Passes
    from bayesglm.inference.target import Target

__all__ = [
    "Summit",
    "climb",
    "coefficients",
    "least_squares",
    "local",
    "log_prior_at",
    "to_reported",
]

# Passes of a fit, at most.
LIMIT = 60
# Root mean square of the last step in eta below which it is taken without another pass: errors and
# log likelihood then have at least as many digits left as those of a fit in memory.
STILL = 2e-9


@dataclass(frozen=True)
class Summit:
    """Where Newton's method ended, with the last pass.

    ``value`` is the log likelihood without binomial coefficients, ``gradient`` (k,) and
    ``information`` (k, k) are those of the likelihood in the coefficients, the latter of the kind
    asked for.
    """

    flat: np.ndarray
    status: Status
    value: float
    gradient_norm: float
    information: np.ndarray
    steps: int
    passes: int
    history: np.ndarray
    gradient: np.ndarray
    aliased: tuple[Alias, ...] = ()
    sigma: float | None = None


@dataclass(frozen=True)
class _Point:
    flat: np.ndarray
    value: float
    step: np.ndarray
    decrement: float


def few_rows(target: Target) -> Data:
    """Return data whose eta are the coefficients themselves: the identity for a matrix."""
    data = target.data
    k = data.parts[0].matrix.shape[0]
    number = data.y.dtype
    ones, zeros = np.ones(k, number), np.zeros(k, number)
    matrix = DenseColumns(np.eye(k, dtype=number))  # type: ignore[arg-type]  # NumPy for JAX
    parts = (data.parts[0]._replace(matrix=matrix), *data.parts[1:])
    return data._replace(y=zeros, trials=ones, weights=ones, offset=zeros, parts=parts)  # type: ignore[arg-type]


@partial(jax.jit, static_argnames=("structure", "jacobian"))
def _surrogate(
    structure: Structure, few: Data, flat: Array, g: Array, h: Array, *, jacobian: bool
) -> tuple[Array, Array, Array]:
    c0 = eta_at(structure, few, flat)

    def value(f: Array) -> Array:
        away = eta_at(structure, few, f) - c0
        prior = log_prior(structure, few, f, jacobian=jacobian)
        return g @ away - 0.5 * away @ h @ away + prior

    prior = log_prior(structure, few, flat, jacobian=jacobian)
    return prior, jax.grad(value)(flat), -jax.hessian(value)(flat)


@partial(jax.jit, static_argnames=("structure",))
def _coefficients(structure: Structure, few: Data, flat: Array) -> Array:
    return jax.vmap(lambda f: eta_at(structure, few, f))(flat)


@partial(jax.jit, static_argnames=("structure",))
def _slopes(structure: Structure, few: Data, flat: Array) -> Array:
    return jax.jacobian(lambda f: eta_at(structure, few, f))(flat)


@partial(jax.jit, static_argnames=("structure", "jacobian"))
def _log_priors(structure: Structure, few: Data, flat: Array, *, jacobian: bool) -> Array:
    return jax.vmap(lambda f: log_prior(structure, few, f, jacobian=jacobian))(flat)


def coefficients(target: Target, flat: np.ndarray) -> np.ndarray:
    """Return the coefficients of flat vectors (m, size): shape (m, k)."""
    with scope(target.precision):
        few = jax.device_put(few_rows(target))
        return np.asarray(_coefficients(target.structure, few, jnp.asarray(flat)), float)


def to_reported(target: Target, flat: np.ndarray) -> np.ndarray:
    """Return the derivatives of the reported coefficients by the flat vector, whatever supports."""
    with scope(target.precision):
        few = jax.device_put(few_rows(target))
        slopes = np.asarray(_slopes(target.structure, few, jnp.asarray(flat)), float)
    return np.asarray(target.to_reported()[:, : len(slopes)] @ slopes)


def log_prior_at(target: Target, flat: np.ndarray, *, jacobian: bool) -> np.ndarray:
    """Return the log prior of flat vectors (m, size), shape (m,)."""
    with scope(target.precision):
        few = jax.device_put(few_rows(target))
        points = jnp.asarray(flat)
        return np.asarray(_log_priors(target.structure, few, points, jacobian=jacobian), float)


def local(
    target: Target, flat: np.ndarray, found: Expansion, *, jacobian: bool
) -> tuple[float, np.ndarray, np.ndarray]:
    """Return log prior, gradient and negative Hessian of the density at a flat point."""
    with scope(target.precision):
        few = jax.device_put(few_rows(target))
        prior, gradient, hessian = _surrogate(
            target.structure,
            few,
            jnp.asarray(flat),
            jnp.asarray(found.gradient),
            jnp.asarray(found.information),
            jacobian=jacobian,
        )
        return float(prior), np.asarray(gradient, float), np.asarray(hessian, float)


def climb(
    passes: Passes,
    start: np.ndarray,
    base: np.ndarray,
    reach: np.ndarray,
    *,
    jacobian: bool,
    expected: bool,
) -> Summit:
    """Find the mode of the flat density by Newton's method over row blocks.

    Parameters
    ----------
    passes : Passes
    start : ndarray, shape (size,)
        Flat coordinates; the mode of a sample.
    base : ndarray, shape (size,)
        A point with a finite density, should the start have none.
    reach : ndarray, shape (k,)
        Largest size of each centred column.
    jacobian : bool
        Mode of the unconstrained density, or of the parameters as named.
    expected : bool
        Whether the information wanted at the end is the expected one.

    Raises
    ------
    SeparationError
        If the likelihood rises for ever.
    InferenceError
        If there is no unique optimum, or none inside the link's domain.
    """
    target = passes.target
    structure = target.structure
    canonical = structure.link.name == "logit" and not structure.family.has_sigma
    tolerance = tolerance_of(target)
    flat, last, length, halvings = np.asarray(start, float), None, 1.0, 0
    scoring, aliased, history, number = False, None, list[float](), 0
    while number < LIMIT:
        number += 1
        c = coefficients(target, flat[None])[0]
        found = passes.expand(c, f"pass {number}", expected=scoring)
        prior, gradient, hessian = local(target, flat, found, jacobian=jacobian)
        value = found.value + prior
        if not np.isfinite(value) and last is None:
            halvings += 1
            flat = base + (flat - base) / 2 if halvings < 6 else np.array(base)
            if halvings > 6:
                raise _outside(target)
            continue
        if last is not None and not _better(value, last, length, tolerance):
            halvings += 1
            if halvings > HALVINGS // 2:
                raise _outside(target)
            length /= 2
            flat = last.flat + length * last.step
            continue
        if aliased is None:
            aliased = _aliases(target, found)
        step = _solved(hessian, gradient)
        if step is None:
            if scoring:
                raise _singular(target, aliased)
            # The curvature of this link may point the wrong way far from the optimum.
            scoring = True
            continue
        scoring &= canonical
        history.append(-found.value / target.effective)
        decrement = float(gradient @ step)
        norm = float(np.abs(gradient).max()) / target.effective
        last, length, halvings = _Point(flat, value, step, decrement), 1.0, 0
        flat = flat + step
        if decrement > tolerance:
            continue
        mass = found.information[0, 0] if target.intercept else 0.0
        still = mass > 0 and decrement / mass < STILL**2 and not target.groups
        running = (
            target.some_flat
            and float(np.abs(step[: len(reach)]) @ reach) > RUNNING[target.precision]
        )
        if still and not running and target.linear and (canonical or not expected):
            end = found._replace(value=found.value + decrement / 2)
        else:
            number += 1
            c = coefficients(target, flat[None])[0]
            along = c - coefficients(target, last.flat[None])[0]
            end = passes.expand(c, f"pass {number}", expected=expected, step=along)
            if target.some_flat and end.moved > RUNNING[target.precision]:
                raise _separated(number)
            history.append(-end.value / target.effective)
        return Summit(
            flat,
            Status.CONVERGED,
            end.value,
            norm,
            end.information,
            len(history),
            number,
            np.array(history),
            end.gradient,
            aliased,
        )
    raise (
        _separated(number)
        if target.some_flat
        else InferenceError(
            explain("Newton's method did not converge", passes=number, advice="use a DataFrame")
        )
    )


def _better(value: float, last: _Point, length: float, tolerance: float) -> bool:
    if not np.isfinite(value):
        return False
    drowned = last.decrement < 1e4 * tolerance + 1e-13 * abs(last.value)
    return drowned or value >= last.value + 1e-4 * length * last.decrement


def _solved(hessian: np.ndarray, gradient: np.ndarray) -> np.ndarray | None:
    """Return hessian^-1 gradient, scaled to a unit diagonal; None if it is not positive definite."""
    diagonal = np.diagonal(hessian)
    if not (np.isfinite(hessian).all() and (diagonal > 0).all()):
        return None
    scale = np.sqrt(diagonal)
    try:
        factor = np.linalg.cholesky(hessian / np.outer(scale, scale))
    except np.linalg.LinAlgError:
        return None
    half = np.linalg.solve(factor, gradient / scale)
    return np.asarray(np.linalg.solve(factor.T, half) / scale)


def _aliases(target: Target, found: Expansion) -> tuple[Alias, ...]:
    """Return aliased columns, refused where nothing but the likelihood tells them apart."""
    k = len(target.places)
    if target.precision == "float32" or not k:
        return ()
    live = found.information[0, 0] if target.intercept else target.effective
    aliased = aliases_of(target, found.information[:k, :k], float(live))
    if aliased and target.flat_priors:
        raise _singular(target, aliased)
    return aliased


def _singular(target: Target, aliased: tuple[Alias, ...] | None) -> InferenceError:
    del target
    if not aliased:
        return InferenceError(
            explain(
                "the information matrix is not positive definite",
                advice='use prior="weak" with fit("map"), or leave predictors out',
            )
        )
    told = "; ".join(str(alias) for alias in aliased[:5])
    return InferenceError(
        explain(
            "some columns are linear combinations of others, so their coefficients are not unique: "
            + told,
            advice='use aliased="drop", drop them yourself, or use a proper prior with fit("map")',
        )
    )


def _outside(target: Target) -> InferenceError:
    return InferenceError(
        explain(
            "no better point was found inside the link's domain: the optimum may lie where a "
            "probability is 0 or 1, which passes over files cannot follow",
            link=target.structure.link.label,
            advice='use link="logit", or fit a sample read into a DataFrame',
        )
    )


def _separated(number: int) -> SeparationError:
    return SeparationError(
        explain(
            "the likelihood rises for ever, so that its maximum does not exist",
            passes=number,
            advice='use fit("map") with prior="weak"',
        )
    )


def least_squares(passes: Passes) -> Summit:
    """Return the least-squares fit in two passes; see `newton.least_squares`.

    Raises
    ------
    InferenceError
        Where nothing is left over, or columns are aliased.
    """
    target = passes.target
    gram, moment, square, mass = passes.normal_equations("pass 1")
    k = len(target.places)
    places = target.places
    aliased = aliases_of(target, gram[:k, :k], mass)
    if aliased:
        raise _singular(target, aliased)
    theta = np.zeros(len(gram))
    for number in (2, 3):
        step = _solved(gram[np.ix_(places, places)], moment[places])
        if step is None:
            raise _singular(target, ())
        theta[places] += step
        moment, rss = passes.residual(theta, f"pass {number}")
        if number == 2:
            spread = float(np.sqrt(square / mass))
            if np.sqrt(rss / mass) <= EXACT[target.precision] * spread:
                raise InferenceError(
                    explain(
                        "the predictors reproduce the outcome without error, so sigma is 0",
                        advice="leave predictors out",
                    )
                )
    sigma = float(np.sqrt(rss / mass))
    value = -rss / (2 * sigma**2) - mass * (np.log(sigma) + np.log(2 * np.pi) / 2)
    flat = np.append(theta, np.log(sigma))
    loss = rss / (2 * target.effective)
    return Summit(
        flat, Status.CONVERGED, float(value), 0.0, gram, 1, 3, np.array([loss]), moment, (), sigma
    )

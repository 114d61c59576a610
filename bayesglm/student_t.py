"""Student's t distribution function with derivatives in eta and in the degrees of freedom.

For robit regression whose df is learned: ``betainc`` has no derivative in its shape arguments, and
the link of fixed df (`link_functions.student_t`) chooses its expansions by the number df. Here df
is traced, and the logarithm of the small tail is expanded as a Taylor series in df, whose
coefficients are sums of positive terms. All else follows from closed forms: with F the
distribution function, f its density, psi = -d log f / d eta, a = f / F and u = psi + a,

    d log F / d eta = a,    da / d eta = -a u,    du / d eta = dpsi / d eta - a u,

and a's own series in df is that of exp(log f - log F). So a state that holds the series to one
order gives, with the next order, its own derivatives, to any order; likewise for 1 - F, where
b = -f / (1 - F) takes a's place. A series is a list c of arrays, of c[k] = d^k / d df^k / k!.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero
U = int(os.environ.get("UNROLL", "4"))

__all__ = ["log_pair", "log_tail", "parts"]

# Terms of log(Γ(x + 1/2) / Γ(x)) - log(x) / 2 in 1/x, 1/x³, ... (DLMF 5.11.8), and how far x is
# shifted up before they are used.
GAMMA_RATIO = (-1 / 8, 1 / 192, -1 / 640, 17 / 14336, -31 / 18432)
SHIFT = 16

type Series = Sequence[Array]


class Terms(NamedTuple):
    """Where the expansions meet as df grows (in eta²), and how many terms each has there."""

    cut: float
    tail: int
    centre: int


# For value, first and second derivative in df at any df, where both converge slowest. The centre
# is subtracted from one half, which costs digits as the cut grows.
DOUBLE, SINGLE = Terms(10.0, 52, 50), Terms(4.0, 34, 24)


class State(NamedTuple):
    """The series of log F and log(1 - F) in df, and a, b, u and v = psi + b, elementwise."""

    log_p: Series
    log_q: Series
    slope_p: Array
    slope_q: Array
    bend_p: Array
    bend_q: Array


def _series(function: Callable[[Array], Array], df: Array, order: int) -> list[Array]:
    """Return the series of a function by nested forward differentiation."""
    if order == 0:
        return [function(df)]

    def slope(df: Array) -> Array:
        return jax.jvp(function, (df,), (jnp.ones_like(df),))[1]

    rest = _series(slope, df, order - 1)
    return [function(df), *(c / (k + 1) for k, c in enumerate(rest))]


def _times(a: Series, b: Series) -> list[Array]:
    return [sum(a[i] * b[k - i] for i in range(k + 1)) for k in range(len(a))]


def _over(a: Series, b: Series) -> list[Array]:
    c: list[Array] = []
    for k in range(len(a)):
        c.append((a[k] - sum(c[i] * b[k - i] for i in range(k))) / b[0])
    return c


def _exp(a: Series, first: Array) -> list[Array]:
    """Return the series of exp(a), whose first coefficient is known."""
    c = [first]
    for k in range(1, len(a)):
        c.append(sum(i / k * a[i] * c[k - i] for i in range(1, k + 1)))
    return c


def _log(a: Series, first: Array) -> list[Array]:
    """Return the series of log(a), whose first coefficient is known."""
    c = [first]
    for k in range(1, len(a)):
        c.append((a[k] - sum(i / k * c[i] * a[k - i] for i in range(1, k))) / a[0])
    return c


def _column(count: int, df: Array) -> Array:
    """Return 0, 1, ... in a new first axis before those of df."""
    return jnp.arange(count, dtype=df.dtype).reshape(-1, *[1] * df.ndim)


def _log_density(eta: Array, df: Array) -> Array:
    """Return log f; a difference of two lgamma would lose digits as df grows."""
    x = df / 2
    shifted = x + SHIFT
    series = jnp.zeros_like(df)
    for term in reversed(GAMMA_RATIO):
        series = term + series / (shifted * shifted)
    constant = series / shifted - math.log(2 * math.pi) / 2 + jnp.log1p(SHIFT / x) / 2
    constant -= jnp.log1p(0.5 / (x + _column(SHIFT, df))).sum(0)
    return constant - (df + 1) / 2 * jnp.log1p(eta * eta / df)


def _psi(eta: Array, df: Array) -> Array:
    return (df + 1) * eta / (df + eta * eta)


def _tail(terms: int, df: Array) -> Array:
    """Return the coefficients of the tail's continued fraction in 1/eta², in a new first axis."""
    n, rho = _column(terms // 2, df), 1 / df
    odd = (2 * n + 1) * (1 + 2 * n * rho) / ((1 + 4 * n * rho) * (1 + (4 * n + 2) * rho))
    n += 1
    even = 2 * n * (1 + (2 * n - 1) * rho) / ((1 + (4 * n - 2) * rho) * (1 + 4 * n * rho))
    return jnp.stack([odd, even], 1).reshape(terms, *df.shape)


def _centre(terms: int, df: Array) -> Array:
    """Return the ratios of the terms of the centre's series, in a new first axis."""
    n = _column(terms, df)
    return (0.5 + (n + 0.5) / df) / (n + 1.5)


def _small(order: int, eta: Array, df: Array) -> tuple[list[Array], Array, Array]:
    """Return the series of the log of the tail beyond |eta|, f / tail, and f / tail - psi.

    Beyond the cut: Gauss's continued fraction of 2F1(1/2, 1; df/2 + 1; -df/eta²) (DLMF 15.7.5; as
    df grows, Laplace's of Mills' ratio, Abramowitz & Stegun 26.2.14), by the backward recurrence of
    its continuants, which needs no division. Before it: the series of
    2F1((df+1)/2, 1; 3/2; eta²/(df + eta²)) (from A&S 26.5.4 and 26.7.1). Written in 1/df the
    coefficients of both have a limit as df grows, and so no derivative in df cancels. All terms are
    positive.
    """
    terms = DOUBLE if df.dtype == jnp.float64 else SINGLE
    size, rho = jnp.abs(eta), 1 / df
    end = 1 / jnp.sqrt(1 / terms.cut + rho)
    far, near = jnp.maximum(size, end), jnp.minimum(size, end)
    log_f = _series(lambda df: _log_density(eta, df), df, order)
    zero = [jnp.zeros_like(far)] * order

    y = 1 / (far * far)
    fraction = _series(partial(_tail, terms.tail), df, order)

    def continuant(pair: Any, coefficients: Any) -> Any:
        before, last = pair
        added = _times(coefficients, [y * c for c in before])
        return (last, [a + b for a, b in zip(last, added, strict=True)]), None

    one = [jnp.ones_like(far), *zero]
    (before, last), _ = jax.lax.scan(
        continuant, (one, one), [c[1:] for c in fraction], reverse=True, unroll=U
    )
    excess = _over(_times([c[0] * y for c in fraction], before), last)
    fraction = [1 + excess[0], *excess[1:]]
    shrunk = far / (1 + far * far * rho)
    outer_steep = shrunk * fraction[0]
    wide = _series(lambda df: jnp.log1p(far * far / df), df, order)
    log_fraction = _log(fraction, jnp.log(fraction[0]))
    tail = [a + b - c for a, b, c in zip(log_f, wide, log_fraction, strict=True)]
    tail[0] -= jnp.log(far)

    u = _series(lambda df: near * near / (1 + near * near / df), df, order)

    def horner(series: Any, ratio: Any) -> Any:
        product = _times(ratio, _times(u, series))
        return [1 + product[0], *product[1:]], None

    ratios = _series(partial(_centre, terms.centre), df, order)
    series, _ = jax.lax.scan(horner, one, ratios, reverse=True, unroll=U)
    density = jnp.exp(log_f[0])
    middle = [-near * c for c in _times(_exp(log_f, density), series)]
    middle[0] += 0.5
    centre = _log(middle, jnp.log(middle[0]))

    outer = size > end
    steep = jnp.where(outer, outer_steep, density / middle[0])
    bend = jnp.where(outer, shrunk * (excess[0] - rho), steep - _psi(size, df))
    return [jnp.where(outer, a, b) for a, b in zip(tail, centre, strict=True)], steep, bend


@partial(jax.jit, static_argnums=0)
def _compute(order: int, eta: Array, df: Array) -> State:
    small, steep, bend = _small(order, eta, df)
    part = jnp.exp(small[0])
    rest = [-c for c in _exp(small, part)]
    rest[0] += 1
    large = _log(rest, jnp.log1p(-part))
    flat = steep * part / rest[0]
    against = -_psi(jnp.abs(eta), df) - flat
    right = eta >= 0
    return State(
        [jnp.where(right, a, b) for a, b in zip(large, small, strict=True)],
        [jnp.where(right, b, a) for a, b in zip(large, small, strict=True)],
        jnp.where(right, flat, steep),
        -jnp.where(right, steep, flat),
        jnp.where(right, -against, bend),
        jnp.where(right, -bend, against),
    )


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _state(order: int, eta: Array, df: Array) -> State:
    return _compute(order, eta, df)


@partial(_state.defjvp, symbolic_zeros=True)
def _state_jvp(order: int, primals: Any, tangents: Any) -> tuple[State, State]:
    eta, df = primals
    eta_dot, df_dot = tangents
    fixed = isinstance(df_dot, SymbolicZero)
    eta_dot, df_dot = (
        jnp.zeros(t.shape, t.dtype) if isinstance(t, SymbolicZero) else t for t in tangents
    )
    known = order if fixed else order + 1
    state = _state(known, eta, df)
    log_f = _series(lambda df: _log_density(eta, df), df, known)
    _, psi_dot = jax.jvp(_psi, primals, (eta_dot, df_dot))

    def side(logs: Series, slope: Array, bend: Array) -> tuple[list[Array], Array, Array]:
        slopes = _exp([f - c for f, c in zip(log_f, logs, strict=True)], slope)
        logs_dot = [c * eta_dot for c in slopes[: order + 1]]
        slope_dot = -slope * bend * eta_dot
        if not fixed:
            logs_dot = [c + (k + 1) * logs[k + 1] * df_dot for k, c in enumerate(logs_dot)]
            slope_dot += slopes[1] * df_dot
        return logs_dot, slope_dot, psi_dot + slope_dot

    p_dot, a_dot, u_dot = side(state.log_p, state.slope_p, state.bend_p)
    q_dot, b_dot, v_dot = side(state.log_q, state.slope_q, state.bend_q)
    log_p, log_q = state.log_p[: order + 1], state.log_q[: order + 1]
    return State(log_p, log_q, *state[2:]), State(p_dot, q_dot, a_dot, b_dot, u_dot, v_dot)


def _floats(eta: Any, df: Any) -> tuple[Array, Array]:
    """Return both as arrays of eta's precision."""
    eta = jnp.asarray(eta)
    eta = eta.astype(jnp.result_type(eta.dtype, float))
    return eta, jnp.asarray(df).astype(eta.dtype)


def log_pair(eta: Any, df: Any) -> tuple[Array, Array]:
    """X."""
    s = _state(0, *_floats(eta, df))
    return s.log_p[0], s.log_q[0]


def log_tail(eta: Any, df: Any) -> Array:
    """X."""
    return log_pair(eta, df)[1]


def parts(eta: Any, df: Any) -> tuple[Array, Array, Array, Array]:
    """X."""
    s = _state(0, *_floats(eta, df))
    return s.log_p[0], s.log_q[0], s.slope_p, s.slope_q

"""Student's t distribution function with derivatives in eta and in the degrees of freedom.

For robit regression whose df is learned: ``betainc`` has no derivative in its shape arguments, and
`link_functions.student_t` chooses its expansions by the number df. Here df is traced, and the
logarithm of the small tail becomes a Taylor series in df, by arithmetic of series on expansions of
positive terms. All else has closed forms: with F the distribution function, f its density,
psi = -d log f / d eta, a = f / F and u = psi + a,

    d log F / d eta = a,    da / d eta = -a u,    du / d eta = dpsi / d eta - a u,

and a's series in df is that of exp(log f - log F). So a state that holds the series to one order
more gives the derivatives of a state, to any order; likewise for 1 - F, where b = -f / (1 - F)
takes a's place. A series is a list c of arrays, c[k] being the k-th derivative in df over k!.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero

__all__ = ["log_pair", "log_tail", "parts"]

# Coefficients of log(Γ(x + 1/2) / Γ(x)) - log(x) / 2 in 1/x, 1/x³, ... (from DLMF 5.11.8), and how
# far x is shifted up before they are used.
GAMMA_RATIO = (-1 / 8, 1 / 192, -1 / 640, 17 / 14336, -31 / 18432)
SHIFT = 16
# Steps of an expansion compiled as one: with all of them compilation took twice as long, and the
# program ran no faster.
UNROLL = 4

# Where the expansions meet as df grows (in eta²), and how many terms the tail and the centre have:
# enough for two derivatives in df where they converge slowest, at any df. The centre is subtracted
# from one half, which costs digits as the cut grows.
DOUBLE, SINGLE = (10.0, 52, 50), (4.0, 34, 24)

type Series = Sequence[Array]
# Of F the series of its logarithm, a and u; or of 1 - F its own, b and v = psi + b.
type Side = tuple[Series, Array, Array]


def _series(function: Callable[[Array], Array], df: Array, order: int) -> list[Array]:
    """Return the series of a function by nested forward differentiation."""
    if order == 0:
        return [function(df)]

    def slope(df: Array) -> Array:
        return jax.jvp(function, (df,), (jnp.ones_like(df),))[1]

    return [function(df), *(c / k for k, c in enumerate(_series(slope, df, order - 1), 1))]


def _times(a: Series, b: Series) -> list[Any]:
    return [sum(a[i] * b[k - i] for i in range(k + 1)) for k in range(len(a))]


def _exp(a: Series, first: Array) -> list[Any]:
    """Return the series of exp(a), whose first coefficient is known."""
    c: list[Any] = [first]
    for k in range(1, len(a)):
        c.append(sum(i / k * a[i] * c[k - i] for i in range(1, k + 1)))
    return c


def _log(a: Series, first: Array) -> list[Any]:
    """Return the series of log(a), whose first coefficient is known."""
    c: list[Any] = [first]
    for k in range(1, len(a)):
        c.append((a[k] - sum(i / k * c[i] * a[k - i] for i in range(1, k))) / a[0])
    return c


def _column(count: int, df: Array) -> Array:
    """Return 0, 1, ... along a new first axis."""
    return jnp.arange(count, dtype=df.dtype).reshape(-1, *[1] * df.ndim)


def _log_density(eta: Array, df: Array) -> Array:
    """Return log f; a difference of two lgamma would lose digits as df grows."""
    x = df / 2
    shifted = x + SHIFT
    series = jnp.zeros_like(df)
    for coefficient in reversed(GAMMA_RATIO):
        series = coefficient + series / (shifted * shifted)
    constant = series / shifted - math.log(2 * math.pi) / 2 + jnp.log1p(SHIFT / x) / 2
    constant -= jnp.log1p(0.5 / (x + _column(SHIFT, df))).sum(0)
    return constant - (df + 1) / 2 * jnp.log1p(eta * eta / df)


def _psi(eta: Array, df: Array) -> Array:
    return (df + 1) * eta / (df + eta * eta)


def _tail(terms: int, df: Array) -> Array:
    """Return the coefficients of the tail's continued fraction in 1/eta², along a new axis."""
    n, rho = _column(terms // 2, df), 1 / df
    odd = (2 * n + 1) * (1 + 2 * n * rho) / ((1 + 4 * n * rho) * (1 + (4 * n + 2) * rho))
    m = n + 1
    even = 2 * m * (1 + (2 * m - 1) * rho) / ((1 + (4 * m - 2) * rho) * (1 + 4 * m * rho))
    return jnp.stack([odd, even], 1).reshape(terms, *df.shape)


def _small(order: int, eta: Array, df: Array) -> tuple[list[Array], Array, Array]:
    """Return the series of the log of the tail beyond |eta|, h = f / tail, and h - psi.

    Beyond the cut: Gauss's continued fraction of 2F1(1/2, 1; df/2 + 1; -df/eta²) (DLMF 15.7.5; as
    df grows, Laplace's of Mills' ratio, Abramowitz & Stegun 26.2.14), by the backward recurrence of
    its continuants, which needs no division. Before it: the series of
    2F1((df+1)/2, 1; 3/2; eta²/(df + eta²)) (from A&S 26.5.4 and 26.7.1). Written in 1/df the
    coefficients of both have a limit as df grows, so that derivatives there lose few digits.
    """
    cut, tail_terms, centre_terms = DOUBLE if df.dtype == jnp.float64 else SINGLE
    size, rho = jnp.abs(eta), 1 / df
    end = 1 / jnp.sqrt(1 / cut + rho)
    far, near = jnp.maximum(size, end), jnp.minimum(size, end)
    log_f = _series(partial(_log_density, eta), df, order)
    one = [jnp.ones_like(far), *[jnp.zeros_like(far)] * order]

    y = 1 / (far * far)
    fraction = _series(partial(_tail, tail_terms), df, order)

    def continuant(pair: Any, coefficients: Any) -> Any:
        before, last = pair
        added = _times(coefficients, [y * c for c in before])
        return (last, [a + b for a, b in zip(last, added, strict=True)]), None

    rest = [c[1:] for c in fraction]
    (before, last), _ = jax.lax.scan(continuant, (one, one), rest, reverse=True, unroll=UNROLL)
    (_, ahead), _ = continuant((before, last), [c[0] for c in fraction])
    excess = fraction[0][0] * y * before[0] / last[0]
    shrunk = far / (1 + far * far * rho)
    wide = _series(lambda df: jnp.log1p(far * far / df), df, order)
    below, above = _log(ahead, jnp.log(far * (1 + excess))), _log(last, jnp.zeros_like(far))
    tail = [f + w - (b - a) for f, w, b, a in zip(log_f, wide, below, above, strict=True)]

    u = _series(lambda df: near * near / (1 + near * near / df), df, order)

    def horner(series: Any, ratio: Any) -> Any:
        first, *rest = _times(ratio, _times(u, series))
        return [1 + first, *rest], None

    n = _column(centre_terms, df)
    ratios = _series(lambda df: (0.5 + (n + 0.5) / df) / (n + 1.5), df, order)
    series, _ = jax.lax.scan(horner, one, ratios, reverse=True, unroll=UNROLL)
    density = jnp.exp(log_f[0])
    first, *rest = [-near * c for c in _times(_exp(log_f, density), series)]
    middle = [0.5 + first, *rest]
    centre = _log(middle, jnp.log(middle[0]))

    outer = size > end
    steep = jnp.where(outer, shrunk * (1 + excess), density / middle[0])
    bend = jnp.where(outer, shrunk * (excess - rho), steep - _psi(size, df))
    return [jnp.where(outer, a, b) for a, b in zip(tail, centre, strict=True)], steep, bend


# Compiled even where the caller is not: the operations one by one would take seconds at first.
@partial(jax.jit, static_argnums=0)
def _compute(order: int, eta: Array, df: Array) -> tuple[Side, Side]:
    small, steep, bend = _small(order, eta, df)
    part = jnp.exp(small[0])
    first, *rest = [-c for c in _exp(small, part)]
    large = _log([1 + first, *rest], jnp.log1p(-part))
    flat = steep * part / (1 - part)
    other = _psi(jnp.abs(eta), df) + flat

    def side(where: Array, sign: int) -> Side:
        logs = [jnp.where(where, a, b) for a, b in zip(small, large, strict=True)]
        return logs, sign * jnp.where(where, steep, flat), sign * jnp.where(where, bend, other)

    return side(eta < 0, 1), side(eta >= 0, -1)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _sides(order: int, eta: Array, df: Array) -> tuple[Side, Side]:
    """Return the two sides, with series up to an order, and with derivatives of every order."""
    return _compute(order, eta, df)


# With symbolic zeros derivatives in eta alone compute no series.
@partial(_sides.defjvp, symbolic_zeros=True)
def _sides_jvp(order: int, primals: Any, tangents: Any) -> tuple[Any, Any]:
    eta, df = primals
    learned = not isinstance(tangents[1], SymbolicZero)
    eta_dot, df_dot = (
        jnp.zeros(t.shape, t.dtype) if isinstance(t, SymbolicZero) else t for t in tangents
    )
    log_f = _series(partial(_log_density, eta), df, order + learned)
    _, psi_dot = jax.jvp(_psi, primals, (eta_dot, df_dot))
    kept, moved = [], []
    for logs, slope, bend in _sides(order + learned, eta, df):
        slopes = _exp([f - c for f, c in zip(log_f, logs, strict=True)], slope)
        logs_dot = [c * eta_dot for c in slopes[: order + 1]]
        slope_dot = -slope * bend * eta_dot
        if learned:
            logs_dot = [c + k * logs[k] * df_dot for k, c in enumerate(logs_dot, 1)]
            slope_dot += slopes[1] * df_dot
        kept.append((logs[: order + 1], slope, bend))
        moved.append((logs_dot, slope_dot, psi_dot + slope_dot))
    return tuple(kept), tuple(moved)


def _floats(eta: Any, df: Any) -> tuple[Array, Array]:
    """Return both as arrays of eta's precision."""
    eta = jnp.asarray(eta)
    eta = eta.astype(jnp.result_type(eta, float))
    return eta, jnp.asarray(df).astype(eta.dtype)


def log_tail(eta: Any, df: Any) -> Array:
    """Return log(1 - F(eta)), F being Student's t of df degrees of freedom.

    Parameters
    ----------
    eta : array_like of shape (n,)
        Link scale, at most 1e75 in size (single precision: 1e8); the answer has its precision.
    df : float or Array of shape ()
        Degrees of freedom, positive; traced or not. Or of a shape that broadcasts with eta's.

    Returns
    -------
    Array of shape (n,)
        Natural logarithm, with derivatives of every order; log F(eta) is ``log_tail(-eta, df)``.

    Examples
    --------
    >>> tail, slope = jax.value_and_grad(log_tail, argnums=1)(1.0, 1.0)
    >>> round(float(jnp.exp(tail)), 4), round(float(slope), 4)
    (0.25, -0.2648)
    """
    return log_pair(eta, df)[1]


def log_pair(eta: Any, df: Any) -> tuple[Array, Array]:
    """Return log F(eta) and log(1 - F(eta)), each of shape (n,); arguments as of `log_tail`."""
    (log_p, _, _), (log_q, _, _) = _sides(0, *_floats(eta, df))
    return log_p[0], log_q[0]


def parts(eta: Any, df: Any) -> tuple[Array, Array, Array, Array]:
    """Return log F, log(1 - F) and their slopes in eta, each (n,); arguments as of `log_tail`."""
    (log_p, a, _), (log_q, b, _) = _sides(0, *_floats(eta, df))
    return log_p[0], log_q[0], a, b

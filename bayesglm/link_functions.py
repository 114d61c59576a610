"""The arithmetic of the links: log p, log(1-p) and their derivatives as functions of eta.

With p = F(eta), q = 1 - p, f = F' and psi = -f' / f, every link computes six things from shared
transcendentals: log p and log q, their slopes a = f / p and b = -f / q, and their bends
u = psi + a and v = psi + b. The bends carry every higher derivative, for any F:

    a' = -a u,    b' = -b v,    u' = psi' - a u,    v' = psi' - b v,

so a link is one function that returns `Parts`, and psi'. `links` makes them differentiable. The
bends are formed without the cancellation of psi + a in the tail, which would lose the curvature
there. Nothing here is differentiated but psi', so an infinite branch not taken does no harm.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.lax import reduce_precision
from jax.scipy import special

__all__ = [
    "Parts",
    "cauchit",
    "cauchit_psi_slope",
    "cloglog",
    "cloglog_psi_slope",
    "identity",
    "log",
    "logit",
    "logit_psi_slope",
    "loglog",
    "loglog_psi_slope",
    "probit",
    "probit_psi_slope",
    "student_t",
    "student_t_psi_slope",
    "zero_psi_slope",
]

LOG_2 = math.log(2)


class Parts(NamedTuple):
    """What a link computes of eta, elementwise."""

    log_p: Array
    log_q: Array
    slope_p: Array
    slope_q: Array
    bend_p: Array
    bend_q: Array


def _mirror(
    eta: Array, small: Array, large: Array, steep: Array, flat: Array, bend: Array, other: Array
) -> Parts:
    """Give the six of |eta|'s small and large tail to p and q: F is symmetric around 0.

    ``steep`` is f over the small tail, ``flat`` f over the large one; the bends are those of the
    left tail (eta < 0: ``bend`` is psi + steep, ``other`` psi - flat).
    """
    right = eta >= 0
    return Parts(
        jnp.where(right, large, small),
        jnp.where(right, small, large),
        jnp.where(right, flat, steep),
        -jnp.where(right, steep, flat),
        jnp.where(right, -other, bend),
        jnp.where(right, -bend, other),
    )


def log1mexp(x: Array) -> Array:
    """Return log(1 - exp(x)) for x <= 0 (Mächler 2012, "Accurately computing log(1-exp(-|a|))")."""
    return jnp.where(x > -LOG_2, jnp.log(-jnp.expm1(x)), jnp.log1p(-jnp.exp(x)))


def logit(eta: Array) -> Parts:
    """F is the logistic distribution; one exponential and one log1p for all six."""
    e = jnp.exp(-jnp.abs(eta))
    tail = jnp.log1p(e)
    large = 1 / (1 + e)
    small = e * large
    right = eta >= 0
    p, q = jnp.where(right, large, small), jnp.where(right, small, large)
    return Parts(jnp.minimum(eta, 0) - tail, -jnp.maximum(eta, 0) - tail, q, -p, p, -q)


def logit_psi_slope(eta: Array) -> Array:
    """Return psi' = 2 p q; psi = p - q."""
    e = jnp.exp(-jnp.abs(eta))
    return 2 * e / (1 + e) ** 2


def _exp_half_square(size: Array) -> Array:
    """Return exp(-size²/2) to rounding: size² is split so that its large part is exact (Cody)."""
    size = jnp.minimum(size, 200.0)
    coarse = jnp.round(size * 16) / 16
    rest = (size - coarse) * (size + coarse)
    return jnp.exp(-coarse * coarse / 2) * jnp.exp(-rest / 2)


def probit(eta: Array) -> Parts:
    """F is the standard normal; the small tail by erfcx, the large one by log1p of the small."""
    size = jnp.abs(eta)
    scaled = special.erfcx(size / math.sqrt(2))
    kernel = _exp_half_square(size)
    small = kernel * scaled / 2
    steep = math.sqrt(2 / math.pi) / scaled
    flat = math.sqrt(0.5 / math.pi) * kernel / (1 - small)
    # steep - size cancels far out; there Laplace's continued fraction of Mills' ratio.
    fraction = jnp.maximum(size, 1.0)
    for k in range(10, 1, -1):
        fraction = size + k / fraction
    return _mirror(
        eta,
        jnp.log(scaled) - LOG_2 - 0.5 * size * size,
        jnp.log1p(-small),
        steep,
        flat,
        jnp.where(size > 12, 1 / fraction, steep - size),
        -size - flat,
    )


def probit_psi_slope(eta: Array) -> Array:
    """Return psi' = 1; psi = eta."""
    return jnp.ones_like(eta)


def _largest(eta: Array) -> float:
    return float(np.finfo(eta.dtype).max)


def cloglog(eta: Array) -> Parts:
    """F(eta) = 1 - exp(-exp(eta)), the minimum extreme-value distribution."""
    t = jnp.exp(eta)
    # The slope of log q stays finite where log q itself overflows to -inf.
    rate = jnp.minimum(t, _largest(eta))
    log_p = jnp.where(eta < -40, eta - t / 2, log1mexp(-t))
    slope = jnp.where(rate < 1e-30, 1.0, rate / jnp.expm1(jnp.maximum(rate, 1e-30)))
    # e^t - 1 overflows before f = exp(eta - t) ends, and there p is 1.
    slope = jnp.where(rate > 50, jnp.exp(eta - rate), slope)
    # t - 1 + t / (e^t - 1) cancels for small t; its series has the Bernoulli numbers.
    x = jnp.minimum(t, 0.5)
    x2 = x * x
    series = 1 / 47900160 + x2 * (-691 / 1307674368000 + x2 * (1 / 74724249600))
    series = 1 / 12 + x2 * (-1 / 720 + x2 * (1 / 30240 + x2 * (-1 / 1209600 + x2 * series)))
    bend = jnp.where(t < 0.5, x / 2 + x2 * series, (rate - 1) + slope)
    return Parts(log_p, -t, slope, -rate, bend, -jnp.ones_like(t))


def cloglog_psi_slope(eta: Array) -> Array:
    """Return psi' = exp(eta), kept finite; psi = exp(eta) - 1."""
    return jnp.exp(jnp.minimum(eta, math.log(_largest(eta)) - 1))


def loglog(eta: Array) -> Parts:
    """F(eta) = exp(-exp(-eta)), the maximum extreme-value distribution: cloglog mirrored."""
    log_p, log_q, a, b, u, v = cloglog(-eta)
    return Parts(log_q, log_p, -b, -a, -v, -u)


def loglog_psi_slope(eta: Array) -> Array:
    """Return psi' = exp(-eta), kept finite; psi = 1 - exp(-eta)."""
    return cloglog_psi_slope(-eta)


def cauchit(eta: Array) -> Parts:
    """F is the Cauchy distribution; the small tail is an angle, so nothing cancels."""
    size = jnp.abs(eta)
    small = jnp.arctan2(jnp.ones_like(eta), size) / math.pi
    h = jnp.hypot(jnp.ones_like(eta), eta)
    steep = 1 / (math.pi * small) / h / h
    flat = 1 / (math.pi * (1 - small)) / h / h
    psi = -2 * (size / h) / h
    return _mirror(eta, jnp.log(small), jnp.log1p(-small), steep, flat, psi + steep, psi - flat)


def cauchit_psi_slope(eta: Array) -> Array:
    """Return psi' = 2 (1 - eta²) / (1 + eta²)², without overflow; psi = 2 eta / (1 + eta²)."""
    return student_t_psi_slope(eta, 1.0)


def _gamma_ratio(x: float) -> float:
    """Return Γ(x + 1/2) / Γ(x); a difference of lgamma loses digits as x grows."""
    factor = 1.0
    while x < 30:
        factor *= x / (x + 0.5)
        x += 1
    terms = (1, -1 / 8, 1 / 128, 5 / 1024, -21 / 32768, -399 / 262144, 869 / 4194304)
    series = sum(term / x**k for k, term in enumerate((*terms, 39325 / 33554432)))
    return factor * math.sqrt(x) * series


type Coefficients = tuple[float, ...]


@lru_cache(maxsize=256)
def _expansions(df: float, double: bool) -> tuple[float, Coefficients, Coefficients]:
    """Return where Student's tail and centre meet, and the coefficients of their expansions.

    Above eta² / df = cut: Gauss's continued fraction of 2F1(1/2, 1; df/2 + 1; -df/eta²) (DLMF
    15.7.5). Below it: the series of 2F1((df+1)/2, 1; 3/2; eta²/(df + eta²)). All terms of both are
    positive, so that nothing cancels. The centre is subtracted from one half, which costs digits
    as the cut grows: single precision has a smaller one. There are as many terms as the cut asks
    for, where both converge slowest.
    """
    cut = min(1.0, (9.0 if double else 4.0) / df)
    a, rounding = df / 2, 1e-16 if double else 1e-8
    centre: list[float] = []
    term, total = 1.0, 1.0
    while term > rounding * total:
        centre.append((a + 0.5 + len(centre)) / (1.5 + len(centre)))
        term *= centre[-1] * cut / (1 + cut)
        total += term
    tail: list[float] = []
    for n in range(200):
        m = n + 1
        tail.append((0.5 + n) / (a + 2 * n) * (a + n) / (a + 2 * n + 1))
        tail.append(m / (a + 2 * m - 1) * (a - 0.5 + m) / (a + 2 * m))

    def worth(terms: int) -> float:
        value = 1.0
        for coefficient in reversed(tail[:terms]):
            value = 1 + coefficient / cut / value
        return value

    exact = worth(len(tail))
    terms = next(
        k
        for k in range(4, len(tail))
        if max(abs(worth(k) - exact), abs(worth(k + 1) - exact)) < 10 * rounding * exact
    )
    return cut, tuple(tail[:terms]), tuple(centre)


def _halves(x: Array) -> tuple[Array, Array]:
    """Split x into two numbers of half its digits, whose products are exact."""
    large = reduce_precision(x, *((11, 25) if x.dtype == jnp.float64 else (8, 11)))
    return large, x - large


def student_t(eta: Array, df: float) -> Parts:
    """F is Student's t; the tail by continued fractions, as ``betainc`` is not accurate enough."""
    size = jnp.abs(eta)
    root = math.sqrt(df)
    ratio = size * (1 / root)
    # Beyond, 1 + eta²/df is eta²/df in double precision, and its square could overflow.
    far = ratio > 1e8
    near = jnp.where(far, 1.0, size)
    # s: eta²/df to half the digits; s_rest: what it lacks. All products here are exact, so that a
    # compiler's fused multiply-adds (which differ from one fusion to the next) change nothing.
    s, _ = _halves(near * near * (1 / df))
    (n, n_rest), (d, d_rest) = _halves(near), _halves(jnp.full_like(near, df))
    s_rest = ((n * n - s * d) + (2 * n * n_rest - s * d_rest) + n_rest * n_rest) * (1 / df)
    w = 1 + s
    w_rest = jnp.where(s > 1, 1 - (w - s), s - (w - 1)) + s_rest
    s = s + s_rest
    # w^(-df/2) by pow, which is right to rounding where exp(-df/2 log w) is not.
    power = jnp.where(far, ratio**-df, w ** (-df / 2) * jnp.exp(-df / 2 * jnp.log1p(w_rest / w)))
    log_w = jnp.where(far, 2 * jnp.log(ratio), jnp.log1p(s))
    hypotenuse = jnp.hypot(jnp.ones_like(ratio), ratio)
    sine = ratio / hypotenuse
    beta = math.sqrt(math.pi) / _gamma_ratio(df / 2)

    cut, tail, centre = _expansions(df, eta.dtype == jnp.float64)
    outer = (s > cut) | far
    fraction, series = jnp.ones_like(ratio), jnp.ones_like(ratio)
    z = jnp.where(far, 0.0, 1 / jnp.maximum(s, cut))
    for coefficient in reversed(tail[1:]):
        fraction = 1 + coefficient * z / fraction
    excess = tail[0] * z / fraction
    fraction = 1 + excess
    y = jnp.minimum(s, cut) / (1 + jnp.minimum(s, cut))
    for coefficient in reversed(centre):
        series = 1 + coefficient * y * series

    scale = df * beta * sine * fraction
    small = jnp.where(outer, power / scale, 0.5 - sine * power * series / beta)
    log_small = jnp.where(small > 1e-30, jnp.log(small), -df / 2 * log_w - jnp.log(scale))
    density = power / (root * beta) / hypotenuse
    shrunk = sine / hypotenuse / root  # |eta| / (df + eta²)
    steep = jnp.where(outer, df * shrunk * fraction, density / small)
    flat = density / (1 - small)
    psi = -(df + 1) * shrunk
    bend = jnp.where(outer, shrunk * (df * excess - 1), psi + steep)
    return _mirror(eta, log_small, jnp.log1p(-small), steep, flat, bend, psi - flat)


def student_t_psi_slope(eta: Array, df: float) -> Array:
    """Return psi' of psi = (df + 1) eta / (df + eta²), without overflow."""
    root = math.sqrt(df)
    h = jnp.hypot(jnp.full_like(eta, root), eta)
    return (df + 1) / h / h * ((root - eta) / h) * ((root + eta) / h)


def log(eta: Array) -> Parts:
    """F(eta) = exp(eta) for eta <= 0; outside both logarithms are -inf, with slopes 0."""
    allowed, inside = eta <= 0, eta < 0
    below = jnp.where(inside, eta, -1.0)
    return Parts(
        jnp.where(allowed, eta, -jnp.inf),
        jnp.where(inside, log1mexp(below), -jnp.inf),
        jnp.where(allowed, jnp.ones_like(eta), 0.0),
        jnp.where(inside, -1 / jnp.expm1(-below), 0.0),
        jnp.zeros_like(eta),
        jnp.where(inside, 1 / jnp.expm1(below), 0.0),
    )


def identity(eta: Array) -> Parts:
    """F(eta) = eta for 0 <= eta <= 1; outside both logarithms are -inf, with slopes 0."""
    up, down = (eta > 0) & (eta <= 1), (eta >= 0) & (eta < 1)
    p, q = jnp.where(up, eta, 0.5), 1 - jnp.where(down, eta, 0.5)
    a, b = jnp.where(up, 1 / p, 0.0), jnp.where(down, -1 / q, 0.0)
    return Parts(
        jnp.where(up, jnp.log(p), -jnp.inf),
        jnp.where(down, jnp.log1p(-jnp.where(down, eta, 0.5)), -jnp.inf),
        a,
        b,
        a,
        b,
    )


def zero_psi_slope(eta: Array) -> Array:
    """Return psi' = 0, of ``log`` (psi = -1) and ``identity`` (psi = 0)."""
    return jnp.zeros_like(eta)

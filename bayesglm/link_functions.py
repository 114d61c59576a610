"""The arithmetic of the links: log p, log(1-p) and their slopes as functions of eta.

Each function returns ``(log_p, log_q, a, b)`` with a = d log p / d eta = f / p and
b = d log q / d eta = -f / q, where p = F(eta), q = 1 - p and f is the density of F, from
transcendentals computed once. Higher derivatives need nothing new: with psi = -f' / f,

    da/d eta = -a (psi + a),    db/d eta = -b (psi + b),

which holds for every F. So a link is one of these functions and its psi; `links` differentiates.

Every branch is finite where it is not taken: an infinite value in the branch not taken would come
back as NaN (0 times infinity) in a derivative.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array
from jax.scipy import special

__all__ = [
    "Parts",
    "cauchit",
    "cauchit_psi",
    "cloglog",
    "cloglog_psi",
    "identity",
    "identity_psi",
    "log",
    "log_psi",
    "logit",
    "logit_psi",
    "loglog",
    "loglog_psi",
    "probit",
    "probit_psi",
    "student_t",
    "student_t_psi",
]

type Parts = tuple[Array, Array, Array, Array]

LOG_2 = math.log(2)
# exp(t) of larger t overflows in single precision; exp(-exp(t)) is 0 long before.
LARGE = 80.0


def log1mexp(x: Array) -> Array:
    """Return log(1 - exp(x)) for x <= 0 (Mächler 2012, "Accurately computing log(1-exp(-|a|))")."""
    near = x > -LOG_2
    small = jnp.log(-jnp.expm1(jnp.where(near & (x < 0), x, -LOG_2)))
    return jnp.where(
        near, jnp.where(x < 0, small, -jnp.inf), jnp.log1p(-jnp.exp(jnp.minimum(x, -LOG_2)))
    )


def logit(eta: Array) -> Parts:
    """F is the logistic distribution; one exponential and one logarithm for all four."""
    e = jnp.exp(-jnp.abs(eta))
    tail = jnp.log1p(e)
    small = e / (1 + e)
    large = 1 / (1 + e)
    right = eta >= 0
    p, q = jnp.where(right, large, small), jnp.where(right, small, large)
    return jnp.minimum(eta, 0) - tail, -jnp.maximum(eta, 0) - tail, q, -p


def logit_psi(eta: Array) -> Array:
    """Return p - q = tanh(eta / 2)."""
    return jnp.tanh(eta / 2)


def probit(eta: Array) -> Parts:
    """F is the standard normal; the small tail by erfcx, the other by log1p of the small one."""
    size = jnp.abs(eta)
    scaled = special.erfcx(size / math.sqrt(2))
    log_small = jnp.log(scaled) - LOG_2 - size * size / 2
    small = jnp.exp(log_small)
    log_large = jnp.log1p(-small)
    steep = math.sqrt(2 / math.pi) / scaled
    flat = math.sqrt(0.5 / math.pi) * jnp.exp(-size * size / 2) / (1 - small)
    right = eta >= 0
    return (
        jnp.where(right, log_large, log_small),
        jnp.where(right, log_small, log_large),
        jnp.where(right, flat, steep),
        -jnp.where(right, steep, flat),
    )


def probit_psi(eta: Array) -> Array:
    """Return eta."""
    return eta


def cloglog(eta: Array) -> Parts:
    """F(eta) = 1 - exp(-exp(eta)), the minimum extreme-value distribution."""
    t = jnp.exp(eta)
    capped = jnp.minimum(t, LARGE)
    log_p = jnp.where(eta < -LARGE / 2, eta - t / 2, log1mexp(-jnp.where(eta < -LARGE / 2, 1.0, t)))
    # t / (e^t - 1) tends to 1 for small t, where it would be 0 / 0.
    tiny = capped < 1e-30
    safe = jnp.where(tiny, 1.0, capped)
    a = jnp.where(tiny, 1.0, safe / jnp.expm1(safe))
    a = jnp.where(t > LARGE, t * jnp.exp(-jnp.where(t > LARGE, t, 0.0)), a)
    return log_p, -t, jnp.where(jnp.isfinite(t), a, 0.0), -t


def cloglog_psi(eta: Array) -> Array:
    """Return exp(eta) - 1, kept finite."""
    return jnp.expm1(jnp.minimum(eta, LARGE))


def loglog(eta: Array) -> Parts:
    """F(eta) = exp(-exp(-eta)), the maximum extreme-value distribution: cloglog mirrored."""
    log_p, log_q, a, b = cloglog(-eta)
    return log_q, log_p, -b, -a


def loglog_psi(eta: Array) -> Array:
    """Return 1 - exp(-eta), kept finite."""
    return -jnp.expm1(jnp.minimum(-eta, LARGE))


def cauchit(eta: Array) -> Parts:
    """F is the Cauchy distribution; both tails are angles, so nothing cancels."""
    p = jnp.arctan2(1.0, -eta) / math.pi
    q = jnp.arctan2(1.0, eta) / math.pi
    h = jnp.hypot(1.0, eta)
    right = eta >= 0
    small = jnp.where(right, q, p)
    log_small, log_large = jnp.log(small), jnp.log1p(-jnp.minimum(small, 0.5))
    return (
        jnp.where(right, log_large, log_small),
        jnp.where(right, log_small, log_large),
        1 / (math.pi * p) / h / h,
        -1 / (math.pi * q) / h / h,
    )


def cauchit_psi(eta: Array) -> Array:
    """Return 2 eta / (1 + eta²), without overflow."""
    h = jnp.hypot(1.0, eta)
    return 2 * (eta / h) / h


def student_t(eta: Array, df: float) -> Parts:
    """F is Student's t; the small tail by the incomplete beta function, far out by its power law."""
    size = jnp.abs(eta)
    ratio = size / math.sqrt(df)
    far = ratio > 1e8
    square = jnp.where(far, 1.0, ratio) ** 2
    x = 1 / (1 + square)
    log_beta = math.lgamma(df / 2) + math.lgamma(0.5) - math.lgamma((df + 1) / 2)
    # I_x(df/2, 1/2) -> x^(df/2) / (df/2 B) as x -> 0.
    power = -df * jnp.log(jnp.where(far, ratio, 1.0)) - math.log(df / 2) - log_beta - LOG_2
    half = jnp.asarray(0.5, eta.dtype)
    outer = special.betainc(jnp.asarray(df / 2, eta.dtype), half, x) / 2
    # Close to 0 the argument 1 - x loses digits of eta; the complement keeps them.
    inner = 0.5 - special.betainc(half, jnp.asarray(df / 2, eta.dtype), square * x) / 2
    tail = jnp.where(square < 0.5, inner, outer)
    vanished = (tail <= 0) & ~far
    series = _log_tail_series(jnp.where(far, 1.0, square), df, log_beta)
    log_tail = jnp.where(vanished, series, jnp.log(jnp.where(tail > 0, tail, 1.0)))
    log_small = jnp.where(far, power, log_tail)
    small = jnp.exp(log_small)
    log_large = jnp.log1p(-jnp.minimum(small, 0.5))
    log_f = -0.5 * math.log(df) - log_beta - (df + 1) / 2 * jnp.log1p(square)
    steep = jnp.where(far, df / jnp.maximum(size, 1.0), jnp.exp(log_f - log_small))
    flat = jnp.where(far, 0.0, jnp.exp(log_f)) / (1 - jnp.minimum(small, 0.5))
    right = eta >= 0
    return (
        jnp.where(right, log_large, log_small),
        jnp.where(right, log_small, log_large),
        jnp.where(right, flat, steep),
        -jnp.where(right, steep, flat),
    )


def _log_tail_series(square: Array, df: float, log_beta: float) -> Array:
    """Return the log tail where its value underflows: x^(df/2) / (df B) * 2F1(df/2, 1/2; ...; x)."""
    x = 1 / (1 + square)
    total, term = jnp.ones_like(x), jnp.ones_like(x)
    for k in range(60):
        term = term * x * (0.5 + k) * (df / 2 + k) / ((df / 2 + 1 + k) * (k + 1))
        total = total + term
    return -df / 2 * jnp.log1p(square) - math.log(df) - log_beta + jnp.log(total)


def student_t_psi(eta: Array, df: float) -> Array:
    """Return (df + 1) eta / (df + eta²), without overflow."""
    h = jnp.hypot(math.sqrt(df), eta)
    return (df + 1) * (eta / h) / h


def log(eta: Array) -> Parts:
    """F(eta) = exp(eta) for eta <= 0; outside both logarithms are -inf."""
    inside = eta < 0
    safe = jnp.where(inside, eta, -1.0)
    log_q = jnp.where(inside, log1mexp(safe), -jnp.inf)
    a = jnp.where(eta <= 0, 1.0, 0.0)
    return (
        jnp.where(eta <= 0, eta, -jnp.inf),
        log_q,
        a.astype(eta.dtype),
        jnp.where(inside, -1 / jnp.expm1(-safe), 0.0),
    )


def log_psi(eta: Array) -> Array:
    """Return -1."""
    return -jnp.ones_like(eta)


def identity(eta: Array) -> Parts:
    """F(eta) = eta for 0 <= eta <= 1; outside both logarithms are -inf."""
    up, down = (eta > 0) & (eta <= 1), (eta >= 0) & (eta < 1)
    p, q = jnp.where(up, eta, 0.5), jnp.where(down, eta, 0.5)
    return (
        jnp.where(up, jnp.log(p), -jnp.inf),
        jnp.where(down, jnp.log1p(-q), -jnp.inf),
        jnp.where(up, 1 / p, 0.0),
        jnp.where(down, -1 / (1 - q), 0.0),
    )


def identity_psi(eta: Array) -> Array:
    """Return 0."""
    return jnp.zeros_like(eta)

"""The links again, in 400 digits: what the tests of links and families compare with.

``tails(name, df, eta)`` gives p and q = 1 - p, the smaller one from a formula of its own, the
other as its complement: 400 digits hold 1 - 1e-308 with 90 digits to spare.
"""

from __future__ import annotations

from functools import cache

import mpmath as mp
import numpy as np

from bayesglm.links import Link

__all__ = ["exact", "grid"]

DIGITS = 400
SIDE = (
    *(
        1e-30,
        1e-8,
        1e-4,
        0.01,
        0.1,
        0.3,
        0.5,
        0.7,
        0.9,
        1.0,
        1.3,
        1.7,
        2.0,
        2.5,
        3.0,
        3.7,
        5.0,
        6.5,
    ),
    *(8.0, 10.0, 13.0, 20.0, 30.0, 36.5, 38.4, 50.0, 70.0, 87.0, 100.0, 150.0, 300.0, 500.0, 700.0),
    *(708.0, 745.0, 800.0, 1e3, 1e4, 1e6, 3e7, 1e9, 1e12, 1e15),
)


def grid(link: Link, dtype: type) -> np.ndarray:
    """Return values of eta inside the domain, both tails and both ends, rounded to the precision."""
    side = np.array(SIDE)
    if link.name == "identity":
        small = side[side < 0.5]
        points = np.concatenate([[0.0, 0.5, 1.0], small, 1 - small])
    else:
        points = np.concatenate([-side[::-1], [0.0], side])
    points = np.unique(points.astype(dtype))
    return points[(points >= link.domain[0]) & (points <= link.domain[1])]


def tails(name: str, df: float | None, eta: mp.mpf) -> tuple[mp.mpf, mp.mpf, mp.mpf]:
    """Return p, q and the density at eta."""
    if name == "cloglog":
        q = mp.exp(-mp.exp(eta))
        p = -mp.expm1(-mp.exp(eta))
        return p, q, mp.exp(eta) * q
    if name == "loglog":
        q, p, f = tails("cloglog", None, -eta)
        return p, q, f
    if name == "log":
        return mp.exp(eta), -mp.expm1(eta), mp.exp(eta)
    if name == "identity":
        return eta, 1 - eta, mp.mpf(1)
    size = abs(eta)
    if name == "logit":
        small = 1 / (1 + mp.exp(size))
        density = small * (1 - small)
    elif name == "probit":
        small = mp.erfc(size / mp.sqrt(2)) / 2
        density = mp.npdf(eta)
    elif name == "cauchit":
        small = mp.atan2(1, size) / mp.pi
        density = 1 / (mp.pi * (1 + eta**2))
    else:
        square = eta**2
        if square < df:
            half = mp.betainc(0.5, df / 2, 0, square / (df + square), regularized=True) / 2
            small = mp.mpf(0.5) - half
        else:
            small = mp.betainc(df / 2, 0.5, 0, df / (df + square), regularized=True) / 2
        density = (1 + square / df) ** (-(df + 1) / 2) / mp.sqrt(df) / mp.beta(df / 2, 0.5)
    return (1 - small, small, density) if eta >= 0 else (small, 1 - small, density)


@cache
def exact(link: Link, eta: float) -> tuple[mp.mpf, mp.mpf, mp.mpf, mp.mpf]:
    """Return log p, log(1-p) and their slopes at a float eta; -inf where p or q is 0."""
    with mp.workdps(DIGITS):
        df = mp.mpf(link.parameters[0][1]) if link.parameters else None
        p, q, f = tails(link.name, df, mp.mpf(eta))
        log_p = _log(p, q)
        log_q = _log(q, p)
        return log_p, log_q, f / p if p else mp.mpf(0), -f / q if q else mp.mpf(0)


def _log(of: mp.mpf, other: mp.mpf) -> mp.mpf:
    if of == 0:
        return mp.ninf
    return mp.log1p(-other) if other < of else mp.log(of)

"""Time value and gradient of a likelihood: the package's links against plain autodiff.

Run by ``run.py gradients``; prints medians. n = 10,000 rows, p = 11 columns.
Plain autodiff of the logit likelihood is written in two ways: by softplus, and as every link is, by
log p and log(1-p). The first table is of eta alone; in the second the two products with the matrix,
the same for all, come on top.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from bayesglm.families import FAMILIES
from bayesglm.links import LINKS
from bayesglm.precision import scope

ROWS, COLUMNS, INNER = 10_000, 11, 40


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the matrix, the outcome and the coefficients at which the gradient is taken."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((ROWS, COLUMNS))
    beta = rng.standard_normal(COLUMNS) / 4
    return X, (rng.uniform(size=ROWS) < 1 / (1 + np.exp(-X @ beta))).astype(float), beta


def plain(by_columns: bool = False) -> Callable:
    """Return the log likelihood of a logit, by softplus; the matrix may be stored p x n."""

    def loglik(beta, X, y, ones):
        return softplus(beta @ X if by_columns else X @ beta, y, ones)

    return loglik


def pair(eta, y, ones):
    """Return the log likelihood of a logit by log p and log(1-p)."""
    return (y * jax.nn.log_sigmoid(eta) + (ones - y) * jax.nn.log_sigmoid(-eta)).sum()


def softplus(eta, y, ones):
    """Return the log likelihood of a logit by softplus."""
    return (y * eta - jax.nn.softplus(eta)).sum()


def own(eta, y, ones):
    """Return the log likelihood of a logit by the package."""
    return FAMILIES["bernoulli"].log_prob(eta, y, ones, LINKS["logit"]).sum()


def fused(name: str, by_columns: bool = False) -> Callable:
    """Return the log likelihood by a link of the package; the matrix may be stored p x n."""

    def loglik(beta, X, y, ones):
        eta = beta @ X if by_columns else X @ beta
        return FAMILIES["bernoulli"].log_prob(eta, y, ones, LINKS[name]).sum()

    return loglik


def compare(functions: dict[str, tuple[Callable, tuple]], repeats: int) -> dict[str, float]:
    """Return median milliseconds of a call; the contestants take turns, so that noise is shared."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    compiled = {name: jax.jit(jax.value_and_grad(f)) for name, (f, _) in functions.items()}
    for repeat in range(repeats + 1):
        for name, (_, arguments) in functions.items():
            start = time.perf_counter()
            for _ in range(INNER):
                answer = compiled[name](*arguments)
            jax.block_until_ready(answer)
            if repeat:  # the first turn compiles
                times[name].append((time.perf_counter() - start) / INNER * 1e3)
    return {name: float(np.median(values)) for name, values in times.items()}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"jax {jax.__version__}, numpy {np.__version__}, device {jax.devices()[0].device_kind}"
    )
    print(f"one value-and-gradient, n={ROWS:,}, p={COLUMNS}, median of {repeats} x {INNER}\n")
    print(f"{'likelihood':34s}{'precision':>10s}{'ms':>9s}{'of plain':>10s}")
    X, y, beta = data()
    for precision in ("float64", "float32"):
        with scope(precision):
            rows = tuple(jnp.asarray(part.astype(precision)) for part in (beta, X, y, 0 * y + 1))
            columns = (rows[0], jnp.asarray(X.T.astype(precision)), *rows[2:])
            contestants = {"logit, autodiff of softplus": (plain(), rows)}
            contestants["the same, columns first"] = (plain(True), columns)
            contestants["logit, fused, columns first"] = (fused("logit", True), columns)
            contestants |= {
                f"{name}, fused": (fused(name), rows) for name in LINKS if not LINKS[name].partial
            }
            eta = (rows[1] @ rows[0], *rows[2:])
            alone = compare(
                {
                    "logit, eta alone, log p and log q": (pair, eta),
                    "logit, eta alone, softplus": (softplus, eta),
                    "logit, eta alone, fused": (own, eta),
                },
                repeats,
            )
            times = compare(contestants, repeats)
        for name, ms in alone.items():
            print(f"{name:34s}{precision:>10s}{ms:9.3f}{ms / next(iter(alone.values())):10.2f}")
        base = times["logit, autodiff of softplus"]
        for name, ms in times.items():
            print(f"{name:34s}{precision:>10s}{ms:9.3f}{ms / base:10.2f}")


if __name__ == "__main__":
    main()

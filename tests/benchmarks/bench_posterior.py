"""Time posteriors: Laplace with its certificate, NUTS, and NumPyro's own NUTS on a plain model.

Run with ``python tests/benchmarks/bench_posterior.py``. Logit, correlated predictors (0.7), 4 chains
of 1,000 draws. "first" is the first fit of its kind, compilation in; "again" the median of three fits
of other data of the same shape. ESS is the least bulk ESS over the coefficients (for Laplace the
number of independent draws), the last column that per second of "again".
"""

from __future__ import annotations

import time
from collections.abc import Callable

import arviz_stats.base as stats
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC, NUTS

import bayesglm as bg

SHAPES = ((1_000, 5), (10_000, 10), (100_000, 20))
REPEATS = 3


def data(n: int, p: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return correlated predictors and an outcome."""
    rng = np.random.default_rng(seed)
    X = np.sqrt(0.3) * rng.standard_normal((n, p)) + np.sqrt(0.7) * rng.standard_normal((n, 1))
    beta = rng.standard_normal(p) / np.sqrt(p)
    return X, rng.binomial(1, 1 / (1 + np.exp(-X @ beta)))


def own(method: str) -> Callable:
    """Return a function that fits by a method of the package and gives its least ESS."""

    def run(X, y) -> float:
        fit = bg.Model.from_arrays(X, y).fit(method, seed=1)
        if method == "laplace":
            return float(np.prod(fit.result.draws["Intercept"].shape))
        return float(fit.summary()["ess_bulk"].min())

    return run


def plain(X, y) -> float:
    """Fit by NumPyro with its defaults, the model as anybody would write it."""

    def model(X, y):
        a = numpyro.sample("a", dist.Normal(0, 1.5))
        b = numpyro.sample("b", dist.Normal(jnp.zeros(X.shape[1]), 1.5).to_event(1))
        numpyro.sample("y", dist.Bernoulli(logits=a + X @ b), obs=y)

    sampler = MCMC(
        NUTS(model), num_warmup=1_000, num_samples=1_000, num_chains=4,
        chain_method="sequential", progress_bar=False,
    )  # fmt: skip
    with jax.enable_x64(True):
        sampler.run(jax.random.key(1), jnp.asarray(X), jnp.asarray(y))
        draws = np.asarray(sampler.get_samples(group_by_chain=True)["b"])
    return float(np.min(stats.array_stats.ess(draws, chain_axis=0, draw_axis=1, method="bulk")))


def main() -> None:
    """Print the table."""
    print(f"jax {jax.__version__}, numpyro {numpyro.__version__}, {jax.devices()[0].device_kind}\n")
    print(f"{'n x p':>14s}  {'method':<16s}{'first s':>9s}{'again s':>9s}{'ESS':>8s}{'ESS/s':>9s}")
    for n, p in SHAPES:
        for name, run in (("laplace", own("laplace")), ("nuts", own("nuts")), ("NumPyro", plain)):
            times, least = [], []
            # The plain model takes minutes at the largest size: once is enough.
            for repeat in range(1 if name == "NumPyro" and n > 10_000 else REPEATS + 1):
                X, y = data(n, p, repeat)
                start = time.perf_counter()
                least.append(run(X, y))
                times.append(time.perf_counter() - start)
            again = float(np.median(times[1:] or times))
            print(
                f"{n:>9,} x {p:<3d} {name:<16s}{times[0]:9.2f}{again:9.2f}"
                f"{np.median(least):8.0f}{np.median(least) / again:9.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()

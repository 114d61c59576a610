"""Peers of NUTS: 4 chains of 1,000 kept draws, each with its own default warm-up and precision.

The model is the same everywhere: Normal(0, 1.5) on the intercept and on each slope.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["bambi", "blackjax", "grouped", "numpyro", "nutpie"]

CHAINS, DRAWS, CORES, SCALE, SEED = 4, 1_000, 2, 1.5, 1


def numpyro(x64: bool = False) -> tuple[Callable, Callable]:
    """Sample by NumPyro: a device for each chain, as its documentation recommends on a CPU.

    Its default ``chain_method`` is ``"parallel"``, which needs as many devices as chains; without
    them it draws one chain after the other.
    """
    import numpyro as library

    library.set_host_device_count(CHAINS)
    library.enable_x64(x64)
    import jax
    import jax.numpy as jnp
    import numpyro.distributions as dist
    from numpyro.infer import MCMC, NUTS

    def model(X: Any, y: Any) -> None:
        intercept = library.sample("Intercept", dist.Normal(0, SCALE))
        beta = library.sample("beta", dist.Normal(0, SCALE).expand([X.shape[1]]).to_event(1))
        library.sample("y", dist.Bernoulli(logits=intercept + X @ beta), obs=y)

    def fit(X: np.ndarray, y: np.ndarray) -> Any:
        sampler = MCMC(
            NUTS(model), num_warmup=1_000, num_samples=DRAWS, num_chains=CHAINS,
            progress_bar=False,
        )  # fmt: skip
        sampler.run(jax.random.key(SEED), jnp.asarray(X), jnp.asarray(y))
        return {name: np.asarray(v) for name, v in sampler.get_samples(group_by_chain=True).items()}

    return fit, _read


def nutpie(adaptation: str | None = None) -> tuple[Callable, Callable]:
    """Sample a PyMC model by nutpie; a second data set goes into the compiled model."""
    import nutpie as library
    import pymc as pm

    compiled: dict[tuple[int, ...], Any] = {}
    words = {} if adaptation is None else {"adaptation": adaptation}

    def fit(X: np.ndarray, y: np.ndarray) -> Any:
        if X.shape in compiled:
            program = compiled[X.shape].with_data(X=X, outcome=y)
        else:
            with pm.Model() as model:
                data, outcome = pm.Data("X", X), pm.Data("outcome", y)
                intercept = pm.Normal("Intercept", 0, SCALE)
                beta = pm.Normal("beta", 0, SCALE, shape=X.shape[1])
                pm.Bernoulli("y", logit_p=intercept + data @ beta, observed=outcome)
            program = compiled[X.shape] = library.compile_pymc_model(model)
        trace = library.sample(
            program, draws=DRAWS, chains=CHAINS, cores=CORES, seed=SEED, progress_bar=False, **words
        )
        return {name: trace.posterior[name].to_numpy() for name in ("Intercept", "beta")}

    return fit, _read


def bambi() -> tuple[Callable, Callable]:
    """Sample by bambi, its default sampler (PyMC's own)."""
    import bambi as library
    import pandas as pd

    def fit(X: np.ndarray, y: np.ndarray) -> Any:
        names = [f"x{number + 1}" for number in range(X.shape[1])]
        prior = library.Prior("Normal", mu=0, sigma=SCALE)
        model = library.Model(
            "y ~ " + " + ".join(names),
            pd.DataFrame(X, columns=names).assign(y=y),
            family="bernoulli",
            priors=dict.fromkeys(["Intercept", *names], prior),
        )
        trace = model.fit(
            draws=DRAWS, chains=CHAINS, cores=CORES, random_seed=SEED, progressbar=False
        )
        posterior = trace.posterior
        beta = np.stack([posterior[name].to_numpy() for name in names], axis=-1)
        return {"Intercept": posterior["Intercept"].to_numpy(), "beta": beta}

    return fit, _read


def grouped(method: str = "pymc") -> tuple[Callable, Callable]:
    """Sample a formula with group-level effects by bambi, with its own priors."""
    import bambi as library
    from arviz_stats.base import array_stats

    def fit(formula: str, frame: Any) -> Any:
        model = library.Model(formula, frame, family="bernoulli")
        words = {} if method == "nutpie" else {"progressbar": False}
        trace = model.fit(
            draws=DRAWS,
            chains=CHAINS,
            cores=CORES,
            random_seed=SEED,
            inference_method=method,
            **words,
        )
        return trace.posterior

    def read(posterior: Any) -> dict[str, Any]:
        names = [name for name in posterior.data_vars if str(name).startswith("x")]
        wanted = ["Intercept", *names, "1|g_sigma"]
        draws = np.stack([posterior[name].to_numpy() for name in wanted], axis=-1)
        effects = posterior["1|g"].to_numpy()
        worst = array_stats.rhat(effects, chain_axis=0, draw_axis=1)
        return {"draws": draws, "worst": float(np.max(worst))}

    return fit, read


def blackjax(x64: bool = False) -> tuple[Callable, Callable]:
    """Sample by BlackJAX after window adaptation of 1,000 steps, a device for each chain.

    The data are arguments of the compiled function, so that a second fit need not compile.
    """
    import jax

    jax.config.update("jax_num_cpu_devices", CHAINS)
    jax.config.update("jax_enable_x64", x64)
    import blackjax as library
    import jax.numpy as jnp
    from blackjax.util import run_inference_algorithm

    def density(at: Any, X: Any, y: Any) -> Any:
        eta = at["Intercept"] + X @ at["beta"]
        prior = -0.5 * (at["Intercept"] ** 2 + (at["beta"] ** 2).sum()) / SCALE**2
        return prior + (y * eta - jax.nn.softplus(eta)).sum()

    def chain(key: Any, X: Any, y: Any) -> Any:
        def logdensity(at: Any) -> Any:
            return density(at, X, y)

        first, warm, run = jax.random.split(key, 3)
        start = jax.random.uniform(first, (X.shape[1] + 1,), minval=-2, maxval=2)
        at = {"Intercept": start[0], "beta": start[1:]}
        adaptation = library.window_adaptation(library.nuts, logdensity)
        (state, parameters), _ = adaptation.run(warm, at, num_steps=1_000)
        kernel = library.nuts(logdensity, **parameters)
        _, visited = run_inference_algorithm(
            rng_key=run, initial_state=state, inference_algorithm=kernel, num_steps=DRAWS,
            transform=lambda state, _: state.position,
        )  # fmt: skip
        return visited

    chains = jax.pmap(chain, in_axes=(0, None, None))

    def fit(X: np.ndarray, y: np.ndarray) -> Any:
        keys = jax.random.split(jax.random.key(SEED), CHAINS)
        found = chains(keys, jnp.asarray(X), jnp.asarray(y, jnp.asarray(X).dtype))
        return jax.tree.map(np.asarray, found)

    return fit, _read


def _read(result: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"draws": np.concatenate([result["Intercept"][..., None], result["beta"]], axis=-1)}

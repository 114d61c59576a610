"""The no-U-turn sampler (NumPyro's kernel) on the flat density, preconditioned by the Laplace fit.

The sampler moves z with flat = mode + W z, W W' the inverse Hessian at the mode: in z the posterior
is nearly a standard normal, so that a short warm-up and short trajectories do. Chains start from
over-dispersed draws of the Laplace approximation. One compiled block of draws, with the data as
arguments, serves every chain and every data set of the same padded size; chains run in threads of
their own, each from Python block by block, so that progress and Ctrl-C work from the main thread.

Block b of chain c uses the key fold_in(fold_in(key(seed), c), b), whatever the number of threads.

References
----------
Hoffman & Gelman (2014), JMLR 15; Betancourt (2017), arXiv:1701.02434.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.infer.hmc import hmc

from bayesglm.generative import Data, Structure, log_density
from bayesglm.precision import scope

if TYPE_CHECKING:
    from bayesglm.inference.target import Target

__all__ = ["Draws", "Settings", "sample"]

# Draws of one call of the compiled program.
BLOCK = 100
# Starts are this many times as dispersed as the Laplace approximation.
DISPERSION = 1.5
# Warm-up where the Hessian at the mode says little.
LONG_WARMUP = 1_000


@dataclass(frozen=True)
class Settings:
    """Options of the sampler."""

    draws: int = 1_000
    warmup: int = 300
    chains: int = 4
    target_accept: float = 0.8
    max_tree_depth: int = 10


@dataclass(frozen=True)
class Draws:
    """Draws in flat coordinates (chains, draws, size) and the sampler's statistics."""

    flat: np.ndarray
    stats: dict[str, np.ndarray] = field(default_factory=dict)


class _Frame(NamedTuple):
    """The change of coordinates flat = mode + W z."""

    mode: Array
    w: Array


@partial(jax.jit, static_argnames=("structure", "settings"))
def _start(
    structure: Structure, data: Data, frame: _Frame, z: Array, key: Array, *, settings: Settings
) -> Any:
    init, _ = _kernel(structure)
    # Under a link with a bounded domain a dispersed start may be infeasible: draw it in.
    shrunk = z[None, :] * 2.0 ** -jnp.arange(12, dtype=z.dtype)[:, None]
    shrunk = shrunk.at[-1].set(0)
    densities = jax.vmap(_potential(structure)(data, frame))(shrunk)
    return init(
        shrunk[jnp.argmax(jnp.isfinite(densities))],
        settings.warmup,
        inverse_mass_matrix=jnp.ones_like(z),
        target_accept_prob=settings.target_accept,
        max_tree_depth=settings.max_tree_depth,
        model_args=(data, frame),
        rng_key=key,
    )


@partial(jax.jit, static_argnames=("structure", "settings"))
def _advance(
    structure: Structure,
    data: Data,
    frame: _Frame,
    state: Any,
    key: Array,
    count: Array,
    *,
    settings: Settings,
) -> tuple[Any, dict[str, Array]]:
    """Take ``count`` (at most BLOCK) steps; return the state and what was visited."""
    init, step = _kernel(structure)
    # The kernel learns its settings by its `init`, which leaves nothing in the compiled program.
    init(
        state.z,
        settings.warmup,
        inverse_mass_matrix=jnp.ones_like(state.z),
        target_accept_prob=settings.target_accept,
        max_tree_depth=settings.max_tree_depth,
        model_args=(data, frame),
        rng_key=key,
    )
    visited = {
        "flat": jnp.zeros((BLOCK, len(state.z)), state.z.dtype),
        "lp": jnp.zeros(BLOCK, state.z.dtype),
        "energy": jnp.zeros(BLOCK, state.z.dtype),
        "acceptance_rate": jnp.zeros(BLOCK, state.z.dtype),
        "step_size": jnp.zeros(BLOCK, state.z.dtype),
        "n_steps": jnp.zeros(BLOCK, jnp.int32),
        "diverging": jnp.zeros(BLOCK, bool),
    }

    def body(i: Array, carry: tuple[Any, dict[str, Array]]) -> tuple[Any, dict[str, Array]]:
        now, seen = carry
        now = step(now, (data, frame))
        values = {
            "flat": frame.mode + frame.w @ now.z,
            "lp": -now.potential_energy,
            "energy": now.energy,
            "acceptance_rate": now.accept_prob,
            "step_size": now.adapt_state.step_size,
            "n_steps": now.num_steps.astype(jnp.int32),
            "diverging": now.diverging,
        }
        return now, {name: seen[name].at[i].set(values[name]) for name in seen}

    return jax.lax.fori_loop(0, count, body, (state._replace(rng_key=key), visited))


def _potential(structure: Structure) -> Callable[[Data, _Frame], Callable[[Array], Array]]:
    def given(data: Data, frame: _Frame) -> Callable[[Array], Array]:
        return lambda z: -log_density(structure, data, frame.mode + frame.w @ z, jacobian=True)

    return given


def _kernel(structure: Structure) -> Any:
    return hmc(potential_fn_gen=_potential(structure), algo="NUTS")


def precondition(hessian: np.ndarray) -> np.ndarray:
    """Return W with W W' = hessian^-1; diagonal where the Hessian is not positive definite."""
    diagonal = np.diagonal(hessian)
    safe = np.where(np.isfinite(diagonal) & (diagonal > 0), diagonal, 1.0)
    scale = 1 / np.sqrt(safe)
    try:
        factor = np.linalg.cholesky(hessian * np.outer(scale, scale))
    except np.linalg.LinAlgError:
        return np.diag(scale)
    return np.asarray(scale[:, None] * np.linalg.inv(factor).T)


def sample(
    target: Target,
    mode: np.ndarray,
    hessian: np.ndarray,
    *,
    settings: Settings,
    seed: int,
    starts: np.ndarray | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Draws:
    """Draw from the flat density by NUTS.

    Parameters
    ----------
    target : Target
        The model on its data.
    mode : ndarray, shape (size,)
        Mode of the unconstrained density.
    hessian : ndarray, shape (size, size)
        Negative Hessian there; its inverse is the starting mass matrix.
    settings : Settings
        Draws, warm-up, chains.
    seed : int
        Fixes the draws, together with machine, versions and thread count.
    starts : ndarray, shape (chains, size), optional
        Where each chain starts, instead of around the mode.
    report : callable, optional
        Called in the main thread with the steps taken by all chains and the divergences so far.

    Returns
    -------
    Draws
        After warm-up.
    """
    progress = [0] * settings.chains
    divergences = [0] * settings.chains
    stop = threading.Event()
    arguments: dict[str, Any] = {"structure": target.structure, "settings": settings}

    with scope(target.precision):
        number = target.data.y.dtype
        data = jax.tree.map(jnp.asarray, target.data)
        w = precondition(hessian)
        frame = _Frame(jnp.asarray(mode, number), jnp.asarray(w, number))
        places = None if starts is None else np.linalg.solve(w, (starts - mode).T).T
        keys = [jax.random.fold_in(jax.random.key(seed), c) for c in range(settings.chains)]

        def begin(chain: int) -> Any:
            key = keys[chain]
            z = DISPERSION * jax.random.normal(key, (target.size,), number)
            if places is not None:
                z = jnp.asarray(places[chain], number)
            return _start(data=data, frame=frame, z=z, key=key, **arguments)

        # A call with no step compiles the program, before the threads would all do it.
        first = begin(0)
        _advance(
            data=data, frame=frame, state=first, key=keys[0], count=jnp.asarray(0), **arguments
        )

    def run(chain: int) -> dict[str, np.ndarray]:
        with scope(target.precision):
            state, parts, done, block = begin(chain), [], 0, 0
            total = settings.warmup + settings.draws
            while done < total and not stop.is_set():
                edge = settings.warmup if done < settings.warmup else total
                count = min(BLOCK, edge - done)
                state, seen = _advance(
                    data=data,
                    frame=frame,
                    state=state,
                    key=jax.random.fold_in(keys[chain], block),
                    count=jnp.asarray(count),
                    **arguments,
                )
                part = {name: np.asarray(values)[:count] for name, values in seen.items()}
                if done >= settings.warmup:
                    parts.append(part)
                    divergences[chain] += int(part["diverging"].sum())
                done, block = done + count, block + 1
                progress[chain] = done
            return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}

    def tick() -> None:
        if report is not None:
            report(sum(progress), sum(divergences))

    results = _in_threads(run, settings.chains, tick, stop)
    stacked = {name: np.stack([r[name] for r in results]) for name in results[0]}
    flat = stacked.pop("flat").astype(float)
    stacked["tree_depth"] = np.ceil(np.log2(stacked["n_steps"] + 1)).astype(np.int64)
    stacked["reached_max_treedepth"] = stacked["tree_depth"] >= settings.max_tree_depth
    return Draws(flat, stacked)


def _in_threads[R](
    run: Callable[[int], R], chains: int, tick: Callable[[], None], stop: threading.Event
) -> list[R]:
    """Run the chains in threads; call ``tick`` meanwhile; stop them all when one fails."""
    with ThreadPoolExecutor(min(chains, os.cpu_count() or 1)) as pool:
        futures: list[Future[R]] = [pool.submit(run, chain) for chain in range(chains)]
        waiting: set[Future[R]] = set(futures)
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=0.1, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                tick()
        except BaseException:
            stop.set()
            raise
        return [future.result() for future in futures]

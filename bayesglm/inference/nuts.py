"""The no-U-turn sampler (NumPyro's kernel) on the flat density, preconditioned by the Laplace fit.

Chains start from over-dispersed draws of the Laplace approximation, in coordinates where that is a
standard normal, so that a short warm-up and short trajectories do. Where the Hessian at the mode
said too little, warm-up goes on in rounds, each in coordinates learned from the last. Chains run in
threads of their own, each from Python block by block, so that progress, Ctrl-C and checkpoints work
from the main thread; on an accelerator they advance together.

Block b of chain c uses the key fold_in(fold_in(key(seed), c), b), whatever the number of threads,
and what comes next depends on whole phases only: a resumed run ends with the same draws.

References
----------
Hoffman & Gelman (2014), JMLR 15; Betancourt (2017), arXiv:1701.02434; Vehtari et al. (2021),
Bayesian Analysis 16(2) for R-hat and ESS.
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

from bayesglm.errors import StorageError, explain
from bayesglm.inference import kernel
from bayesglm.precision import scope

if TYPE_CHECKING:
    from bayesglm.inference.checkpoint import Checkpoint
    from bayesglm.inference.target import Target

__all__ = ["Draws", "Settings", "sample"]

# Starts are this many times as dispersed as the Laplace approximation.
DISPERSION = 1.5
# Steps of a round of warm-up, and rounds at most; steps where the Hessian cannot be had at all.
WARMUP, ROUNDS = 300, 5
LONG_WARMUP = 1_000
# What the second half of a round must reach: R-hat, steps of a trajectory, share of divergences.
AGREED, LENGTHY, DIVERGING = 1.1, 31, 0.02
# Draws a chain before the first look at R-hat and ESS, and the R-hat that ends a run.
FIRST, CONVERGED = 300, 1.01
# Draws a chain worth keeping when a run is interrupted.
LEAST = 10
# Keys of starts lie beyond those of blocks.
STARTS = 2**30


@dataclass(frozen=True)
class Settings:
    """Options of the sampler.

    ``draws="auto"`` goes on until every parameter has R-hat < 1.01 and a bulk and tail ESS of
    ``ess``, or ``max_draws`` a chain. ``warmup=None`` is 300, and goes on where that was too short.
    """

    draws: int | str = 1_000
    warmup: int | None = None
    chains: int = 4
    target_accept: float = 0.8
    max_tree_depth: int = 10
    ess: int = 1_000
    max_draws: int = 10_000

    @property
    def kernel(self) -> kernel.Kernel:
        """What the compiled programs need to know."""
        steps = WARMUP if self.warmup is None else self.warmup
        return kernel.Kernel(steps, self.target_accept, self.max_tree_depth)


@dataclass(frozen=True)
class Draws:
    """Draws in flat coordinates (chains, draws, size) and the sampler's statistics.

    Attributes
    ----------
    flat : ndarray, shape (chains, draws, size)
    stats : dict of ndarray, shape (chains, draws)
    warmup : int
        Steps of warm-up of each chain.
    reached : tuple of float or None
        Worst R-hat and least ESS, where the draws were to go on until these were good.
    interrupted : bool
        Whether the run was stopped before its end.
    """

    flat: np.ndarray
    stats: dict[str, np.ndarray] = field(default_factory=dict)
    warmup: int = 0
    reached: tuple[float, float] | None = None
    interrupted: bool = False


class _Unit(NamedTuple):
    """Chains that advance together: the kernel's state, the next block, and what was visited.

    ``done`` steps of the present phase; ``parts`` holds arrays with axes (chains, steps, ...).
    """

    state: Any
    block: int = 0
    done: int = 0
    parts: tuple[dict[str, np.ndarray], ...] = ()

    def visited(self) -> dict[str, np.ndarray]:
        """Return what the present phase visited."""
        return {
            name: np.concatenate([part[name] for part in self.parts], axis=1)
            for name in (self.parts[0] if self.parts else ())
        }


def sample(
    target: Target,
    mode: np.ndarray,
    w: np.ndarray,
    *,
    settings: Settings,
    seed: int,
    starts: np.ndarray | None = None,
    watched: Callable[[np.ndarray], np.ndarray] | None = None,
    report: Callable[..., None] | None = None,
    checkpoint: Checkpoint | None = None,
    together: bool | None = None,
) -> Draws:
    """Draw from the flat density by NUTS.

    Parameters
    ----------
    target : Target
        The model on its data.
    mode : ndarray, shape (size,)
        Mode of the unconstrained density.
    w : ndarray, shape (size, size) or (size,)
        W with W W' the inverse negative Hessian there.
    settings : Settings
        Draws, warm-up, chains.
    seed : int
        Fixes the draws, together with machine, versions and thread count.
    starts : ndarray, shape (chains, size), optional
        Where each chain starts, instead of around the mode.
    watched : callable, optional
        Turns flat draws (chains, draws, size) into what must converge, (chains, draws, k).
    report : callable, optional
        Called in the main thread with the steps taken by all chains, the divergences so far, and
        the steps expected.
    checkpoint : Checkpoint, optional
        Written block by block; a state in it is where the run goes on.
    together : bool, optional
        Advance all chains in one program; by default on accelerators.

    Returns
    -------
    Draws
        After warm-up. Interrupted (Ctrl-C), the draws that all chains have finished, if there are
        any; the interrupt goes on where there are none.
    """
    if together is None:
        together = jax.default_backend() != "cpu"
    with scope(target.precision):
        run = _Run(target, settings, seed, report, checkpoint, together)
        if checkpoint is not None and checkpoint.saved is not None:
            run.restore(*checkpoint.saved)
        else:
            run.frame = mode, w
            run.begin(starts)
        reached, interrupted = None, False
        try:
            run.warm_up()
            reached = run.draw(watched or (lambda flat: flat))
        except KeyboardInterrupt:
            if not run.sampling or run.finished < LEAST:
                raise
            interrupted = True
        finally:
            run.save()
    seen = run.visited(run.finished)
    flat = seen.pop("flat").astype(float)
    seen["tree_depth"] = np.ceil(np.log2(seen["n_steps"] + 1)).astype(np.int64)
    seen["reached_max_treedepth"] = seen["tree_depth"] >= settings.max_tree_depth
    return Draws(flat, seen, run.warmed, reached, interrupted)


class _Run:
    """A run of all chains, phase by phase: rounds of warm-up, then draws."""

    def __init__(
        self,
        target: Target,
        settings: Settings,
        seed: int,
        report: Callable[..., None] | None,
        checkpoint: Checkpoint | None,
        together: bool,
    ) -> None:
        self.target, self.settings = target, settings
        self.report, self.checkpoint, self.together = report, checkpoint, together
        self.kernel = settings.kernel
        self.data = jax.tree.map(jnp.asarray, target.data)
        self.number = target.data.y.dtype
        self.keys = [jax.random.fold_in(jax.random.key(seed), c) for c in range(settings.chains)]
        self.length = kernel.block_length(*target.data.parts[0].matrix.shape[::-1])
        self.frame: tuple[np.ndarray, np.ndarray] = np.empty(0), np.empty(0)
        self.units: list[_Unit] = []
        self.round, self.warmed, self.sampling = 0, 0, False
        self.compiled = False
        self.stop = threading.Event()

    # -- programs -------------------------------------------------------------------------------

    def _place(self) -> dict[str, Any]:
        mode, w = (jnp.asarray(part, self.number) for part in self.frame)
        frame = kernel.Frame(mode, w)
        return {
            "structure": self.target.structure,
            "data": self.data,
            "frame": frame,
            "kernel": self.kernel,
        }

    def _keys(self, unit: int, number: int) -> Any:
        """Return the key of a block: of one chain, or of all that advance together."""
        if self.together:
            return jnp.stack([jax.random.fold_in(key, number) for key in self.keys])
        return jax.random.fold_in(self.keys[unit], number)

    def begin(self, starts: np.ndarray | None) -> None:
        """Start a round of warm-up, at given flat vectors (chains, size) or around the mode."""
        mode, w = self.frame
        size = self.target.size
        if starts is None:
            z = jnp.stack(
                [DISPERSION * jax.random.normal(key, (size,), self.number) for key in self.keys]
            )
        else:
            z = jnp.asarray(kernel.locate(mode, w, starts), self.number)
        number = STARTS + self.round
        words = self._place()
        if self.together:
            found = [kernel.start_all(z=z, key=self._keys(0, number), **words)]
        else:
            found = [
                kernel.start(z=z[c], key=self._keys(c, number), **words) for c in range(len(z))
            ]
        blocks = [unit.block for unit in self.units] or [0] * len(found)
        self.units = [_Unit(state, block) for state, block in zip(found, blocks, strict=True)]

    # -- phases ---------------------------------------------------------------------------------

    def warm_up(self) -> None:
        """Adapt, in rounds until the chains agree in short trajectories."""
        steps = self.kernel.warmup
        while not self.sampling:
            self.advance(steps)
            self.warmed += steps
            last = self.settings.warmup is not None or self.round + 1 == ROUNDS
            if not (last or self._adapted()):
                half = self.visited(steps)["flat"][:, steps // 2 :].astype(float)
                mode, w = self.frame
                self.frame = mode, kernel.learn(mode, w, half.reshape(-1, half.shape[-1]))
                self.round += 1
                self.begin(half[:, -1])
            else:
                self.sampling = True
                self.units = [unit._replace(done=0, parts=()) for unit in self.units]

    def _adapted(self) -> bool:
        """Whether the second half of a round moved freely."""
        half = {n: v[:, v.shape[1] // 2 :] for n, v in self.visited(self.kernel.warmup).items()}
        if half["n_steps"].mean() > LENGTHY or half["diverging"].mean() > DIVERGING:
            return False
        z = kernel.locate(*self.frame, half["flat"].reshape(-1, self.target.size))
        return _r_hat(z.reshape(half["flat"].shape)) < AGREED

    def draw(self, watched: Callable[[np.ndarray], np.ndarray]) -> tuple[float, float] | None:
        """Draw as many as asked; return R-hat and ESS where these decided."""
        wanted, limit = self.settings.draws, self.settings.max_draws
        if not isinstance(wanted, str):
            self.advance(wanted)
            return None
        total = min(FIRST, limit)
        while True:
            self.advance(total)
            draws = watched(self.visited(total)["flat"].astype(float))
            r_hat, ess = _r_hat(draws), _least_ess(draws)
            # Written so that NaN goes on.
            if (r_hat < CONVERGED and ess >= self.settings.ess) or total >= limit:
                return r_hat, ess
            needed = 1.1 * self.settings.ess / ess if ess > 0 and r_hat < CONVERGED else 2.0
            total = min(100 * int(np.ceil(total * min(max(needed, 1.2), 2.0) / 100)), limit)

    def advance(self, total: int) -> None:
        """Bring every chain to ``total`` steps of the present phase."""
        words = self._place()
        if not self.compiled and any(unit.done < total for unit in self.units):
            # A call with no step compiles the program, before the threads would all do it.
            self._step(0, words, 0)
            self.compiled = True

        def go(place: int) -> None:
            with scope(self.target.precision):
                while self.units[place].done < total and not self.stop.is_set():
                    count = min(self.length, total - self.units[place].done)
                    self.units[place] = self._step(place, words, count)

        _in_threads(go, len(self.units), partial(self._tick, total), self.stop)

    def _step(self, place: int, words: dict[str, Any], count: int) -> _Unit:
        """Return a unit after a block of ``count`` steps."""
        unit = self.units[place]
        program = kernel.advance_all if self.together else kernel.advance
        state, seen = program(
            state=unit.state, key=self._keys(place, unit.block), count=jnp.asarray(count), **words
        )
        arrays = {name: np.asarray(values) for name, values in seen.items()}
        part = {
            name: values[:, :count] if self.together else values[None, :count]
            for name, values in arrays.items()
        }
        return _Unit(state, unit.block + 1, unit.done + count, (*unit.parts, part))

    # -- what there is --------------------------------------------------------------------------

    @property
    def finished(self) -> int:
        """Steps of the present phase that all chains have taken."""
        return min(unit.done for unit in self.units)

    def visited(self, total: int) -> dict[str, np.ndarray]:
        """Return the first ``total`` steps of the present phase of all chains."""
        parts = [unit.visited() for unit in self.units]
        return {
            name: np.concatenate([part[name][:, :total] for part in parts]) for name in parts[0]
        }

    def _tick(self, total: int) -> None:
        if self.report is not None:
            width = self.settings.chains // len(self.units)
            done = sum(unit.done for unit in self.units) * width
            parts = [part for unit in self.units for part in unit.parts] if self.sampling else []
            divergences = sum(int(part["diverging"].sum()) for part in parts)
            chains, wanted = self.settings.chains, self.settings.draws
            left = 0 if self.sampling else total if isinstance(wanted, str) else wanted
            before = self.warmed * chains
            self.report(before + done, divergences, before + (total + left) * chains)
        if self.checkpoint is not None and self.checkpoint.due:
            self.save()

    # -- checkpoints ----------------------------------------------------------------------------

    def save(self) -> None:
        """Write the state of all chains, each after its last finished block."""
        if self.checkpoint is None or not self.units:
            return
        # The threads put new units in the place of old ones, which stay as they are.
        units = list(self.units)
        words = {
            "round": self.round,
            "warmed": self.warmed,
            "sampling": self.sampling,
            "together": self.together,
            "units": [{"block": unit.block, "done": unit.done} for unit in units],
        }
        arrays = {"mode": self.frame[0], "w": self.frame[1]}
        for number, unit in enumerate(units):
            leaves = jax.tree.leaves(unit.state)
            arrays |= {f"{number}_leaf_{i}": _plain(leaf) for i, leaf in enumerate(leaves)}
            arrays |= {f"{number}_{name}": v for name, v in unit.visited().items()}
        self.checkpoint.write(words, arrays)

    def restore(self, words: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Take up the state of a checkpoint.

        Raises
        ------
        StorageError
            If it is not one of this run.
        """
        try:
            self.round, self.warmed = int(words["round"]), int(words["warmed"])
            self.sampling, self.together = bool(words["sampling"]), bool(words["together"])
            self.frame = arrays["mode"], arrays["w"]
            self.begin(None)
            for number, (told, unit) in enumerate(zip(words["units"], self.units, strict=True)):
                leaves, tree = jax.tree.flatten(unit.state)
                leaves = [
                    _like(leaf, arrays[f"{number}_leaf_{i}"]) for i, leaf in enumerate(leaves)
                ]
                prefix, other = f"{number}_", f"{number}_leaf_"
                seen = {
                    name.removeprefix(prefix): values
                    for name, values in arrays.items()
                    if name.startswith(prefix) and not name.startswith(other)
                }
                if any(v.shape[1] != told["done"] for v in seen.values()):
                    raise ValueError("draws and their number differ")
                state = jax.tree.unflatten(tree, leaves)
                parts = (seen,) if seen else ()
                self.units[number] = _Unit(state, int(told["block"]), int(told["done"]), parts)
        except (LookupError, TypeError, ValueError) as error:
            raise StorageError(
                explain(f"the checkpoint does not belong to this run: {error}")
            ) from error


def _plain(leaf: Any) -> np.ndarray:
    """Return a leaf of the kernel's state as numbers; keys by their data."""
    keys = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if keys else leaf)


def _like(leaf: Any, values: np.ndarray) -> Any:
    """Return numbers as a leaf of the kernel's state."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        found = jax.random.wrap_key_data(jnp.asarray(values))
    else:
        found = jnp.asarray(values, leaf.dtype)
    if found.shape != leaf.shape:
        raise ValueError("an array has another shape")
    return found


def _r_hat(draws: np.ndarray) -> float:
    """Return the largest rank-normalised split R-hat of (chains, draws, k)."""
    from arviz_stats.base import array_stats

    return float(np.max(array_stats.rhat(draws, chain_axis=0, draw_axis=1), initial=1.0))


def _least_ess(draws: np.ndarray) -> float:
    """Return the least bulk or tail (5 and 95 %) ESS of (chains, draws, k)."""
    from arviz_stats.base import array_stats

    axes = {"chain_axis": 0, "draw_axis": 1}
    bulk = array_stats.ess(draws, method="bulk", **axes)
    tail = array_stats.ess(draws, method="tail", prob=(0.05, 0.95), **axes)
    return float(np.min(np.minimum(bulk, tail), initial=np.inf))


def _in_threads(
    run: Callable[[int], None], number: int, tick: Callable[[], None], stop: threading.Event
) -> None:
    """Run units in threads; call ``tick`` meanwhile; stop them all when one fails."""
    with ThreadPoolExecutor(min(number, os.cpu_count() or 1)) as pool:
        futures: list[Future[None]] = [pool.submit(run, place) for place in range(number)]
        waiting: set[Future[None]] = set(futures)
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=0.1, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                tick()
        except BaseException:
            stop.set()
            raise

"""Chains of the sampler, advanced block by block in threads of their own, or all in one program.

Progress, Ctrl-C and checkpoints work from the main thread. Block b of chain c uses the key
fold_in(fold_in(key(seed), c), b), whatever the number of threads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bayesglm.errors import StorageError, explain
from bayesglm.inference import kernel
from bayesglm.precision import scope

if TYPE_CHECKING:
    from bayesglm.inference.checkpoint import Checkpoint
    from bayesglm.inference.target import Target

__all__ = ["Chains"]

# Starts are this many times as dispersed as the Laplace approximation.
DISPERSION = 1.5
# Keys of starts lie beyond those of blocks.
STARTS = 2**30


class Unit(NamedTuple):
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


class Chains:
    """All chains of a run, in its present phase: a round of warm-up, or the draws.

    Attributes
    ----------
    frame : tuple of ndarray
        Mode and W of the present coordinates.
    round : int
        Rounds of warm-up before this one.
    warmed : int
        Steps of warm-up so far, of each chain.
    sampling : bool
        Whether warm-up is over.
    """

    def __init__(
        self,
        target: Target,
        words: kernel.Kernel,
        keys: list[Array],
        report: Callable[[int, int, int], None] | None,
        checkpoint: Checkpoint | None,
        together: bool,
    ) -> None:
        self.target, self.kernel, self.keys = target, words, keys
        self.report, self.checkpoint, self.together = report, checkpoint, together
        self.data = target.arrays
        self.number = target.data.y.dtype
        self.length = kernel.block_length(*target.data.parts[0].matrix.shape[::-1])
        self.frame: tuple[np.ndarray, Any] = np.empty(0), np.empty(0)
        self.units: list[Unit] = []
        self.round, self.warmed, self.sampling = 0, 0, False
        self.compiled = False
        self.stop = threading.Event()

    # -- programs -------------------------------------------------------------------------------

    def _frame(self) -> Any:
        return kernel.Frame(*self.frame)  # type: ignore[arg-type]

    def _place(self) -> dict[str, Any]:
        frame = jax.tree.map(lambda part: jnp.asarray(part, self.number), self._frame())
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

    def begin(self, mode: np.ndarray, w: Any, starts: np.ndarray | None = None) -> None:
        """Start a round of warm-up in new coordinates, at flat vectors (chains, size) if given."""
        self.frame = mode, w
        size = self.target.size
        if starts is None:
            z = jnp.stack(
                [DISPERSION * jax.random.normal(key, (size,), self.number) for key in self.keys]
            )
        else:
            z = jnp.asarray(kernel.locate(self.target.structure, mode, w, starts), self.number)
        number = STARTS + self.round
        words = self._place()
        if self.together:
            found = [kernel.start_all(z=z, key=self._keys(0, number), **words)]
        else:
            found = [
                kernel.start(z=z[c], key=self._keys(c, number), **words) for c in range(len(z))
            ]
        blocks = [unit.block for unit in self.units] or [0] * len(found)
        self.units = [Unit(state, block) for state, block in zip(found, blocks, strict=True)]

    # -- steps ----------------------------------------------------------------------------------

    def advance(self, total: int) -> None:
        """Bring every chain to ``total`` steps of the present phase."""
        if not self.compiled and any(unit.done < total for unit in self.units):
            # A call with no step compiles the program, before the threads would all do it.
            self._step(0, self._place(), 0)
            self.compiled = True
        words = self._place()

        def go(place: int) -> None:
            with scope(self.target.precision):
                while self.units[place].done < total and not self.stop.is_set():
                    count = min(self.length, total - self.units[place].done)
                    self.units[place] = self._step(place, words, count)

        _in_threads(go, len(self.units), partial(self._tick, total), self.stop)

    def _step(self, place: int, words: dict[str, Any], count: int) -> Unit:
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
        return Unit(state, unit.block + 1, unit.done + count, (*unit.parts, part))

    def settle(self) -> None:
        """End warm-up."""
        self.sampling = True
        self.units = [unit._replace(done=0, parts=()) for unit in self.units]

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
            done = sum(unit.done for unit in self.units) * len(self.keys) // len(self.units)
            parts = [part for unit in self.units for part in unit.parts] if self.sampling else []
            divergences = sum(int(part["diverging"].sum()) for part in parts)
            self.report(self.warmed * len(self.keys) + done, divergences, total)
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
        mode, w = self.frame
        parts = jax.tree.leaves(w)
        arrays = {"mode": mode} | {f"frame_{i}": np.asarray(part) for i, part in enumerate(parts)}
        for number, unit in enumerate(units):
            leaves = jax.tree.leaves(unit.state)
            arrays |= {f"{number}_leaf_{i}": _plain(leaf) for i, leaf in enumerate(leaves)}
            arrays |= {f"{number}_{name}": v for name, v in unit.visited().items()}
        self.checkpoint.write(words, arrays)

    def restore(self, words: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Take up the state of a checkpoint, in a frame of the kind that is set.

        Raises
        ------
        StorageError
            If it is not one of this run.
        """
        try:
            self.round, self.warmed = int(words["round"]), int(words["warmed"])
            self.sampling, self.together = bool(words["sampling"]), bool(words["together"])
            leaves, tree = jax.tree.flatten(self.frame[1])
            held = [arrays[f"frame_{i}"] for i in range(len(leaves))]
            self.begin(arrays["mode"], jax.tree.unflatten(tree, held))
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
                self.units[number] = Unit(state, int(told["block"]), int(told["done"]), parts)
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

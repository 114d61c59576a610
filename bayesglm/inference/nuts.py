"""The no-U-turn sampler (NumPyro's kernel) on the flat density, preconditioned by the Laplace fit.

Chains start from over-dispersed draws of the Laplace approximation, in coordinates where that is a
standard normal, so that a short warm-up and short trajectories do. Where the Hessian at the mode
said too little, warm-up goes on in rounds, each in coordinates learned from the last.

What comes next depends on whole phases only: a resumed run ends with the same draws.

References
----------
Hoffman & Gelman (2014), JMLR 15; Betancourt (2017), arXiv:1701.02434; Vehtari et al. (2021),
Bayesian Analysis 16(2) for R-hat and ESS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from bayesglm.inference import kernel
from bayesglm.inference.chains import Chains
from bayesglm.precision import scope

if TYPE_CHECKING:
    from bayesglm.inference.checkpoint import Checkpoint
    from bayesglm.inference.target import Target

__all__ = ["Draws", "Settings", "sample"]

# Steps of a round of warm-up, and rounds at most; steps where the Hessian cannot be had at all.
WARMUP, ROUNDS = 300, 5
LONG_WARMUP = 1_000
# What the second half of a round must reach: R-hat, and steps of a trajectory (7 to 15 are usual).
AGREED, LENGTHY = 1.1, 24
# Draws a chain before the first look at R-hat and ESS, and the R-hat that ends a run.
FIRST, CONVERGED = 300, 1.01
# Draws a chain worth keeping when a run is interrupted.
LEAST = 10


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


def sample(
    target: Target,
    mode: np.ndarray,
    w: Any,
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
    w : ndarray, shape (size, size) or (size,), or Hierarchy
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
        Advance all chains in one program; by default on accelerators, and on several devices.

    Returns
    -------
    Draws
        After warm-up. Interrupted (Ctrl-C), the draws that all chains have finished, if there are
        any; the interrupt goes on where there are none.
    """
    if together is None:
        # In threads, programs that talk between devices could wait for one another for ever.
        together = jax.default_backend() != "cpu" or target.mesh is not None

    def tick(done: int, divergences: int, total: int) -> None:
        if report is not None:
            left = 0 if chains.sampling else _planned(settings)
            report(done, divergences, (chains.warmed + total + left) * settings.chains)

    with scope(target.precision):
        keys = [jax.random.fold_in(jax.random.key(seed), c) for c in range(settings.chains)]
        chains = Chains(target, settings.kernel, keys, tick, checkpoint, together)
        if checkpoint is not None and checkpoint.saved is not None:
            chains.frame = mode, w
            chains.restore(*checkpoint.saved)
        else:
            chains.begin(mode, w, starts)
        reached, stopped = None, False
        try:
            _warm_up(chains, settings)
            reached = _draw(chains, settings, watched or (lambda flat: flat))
        except KeyboardInterrupt:
            if not chains.sampling or chains.finished < LEAST:
                raise
            stopped = True
        finally:
            chains.save()
    seen = chains.visited(chains.finished)
    flat = seen.pop("flat").astype(float)
    seen["tree_depth"] = np.ceil(np.log2(seen["n_steps"] + 1)).astype(np.int64)
    seen["reached_max_treedepth"] = seen["tree_depth"] >= settings.max_tree_depth
    return Draws(flat, seen, chains.warmed, reached, stopped)


def _warm_up(chains: Chains, settings: Settings) -> None:
    """Adapt, in rounds until the chains agree in short trajectories."""
    while not chains.sampling:
        chains.advance(chains.kernel.warmup)
        chains.warmed += chains.kernel.warmup
        last = settings.warmup is not None or chains.round + 1 == ROUNDS
        if last or _adapted(chains):
            chains.settle()


def _adapted(chains: Chains) -> bool:
    """Whether the second half of a round moved freely; else begin the next round."""
    half = {n: v[:, v.shape[1] // 2 :] for n, v in chains.visited(chains.kernel.warmup).items()}
    flat = half["flat"].astype(float)
    rows = flat.reshape(-1, flat.shape[-1])
    mode, w = chains.frame
    located = kernel.locate(chains.target.structure, mode, w, rows).reshape(flat.shape)
    # The effects of groups follow what they depend on; of thousands the worst is bad by chance.
    agreed = _r_hat(located[..., : len(mode)]) < AGREED
    lengthy = half["n_steps"].mean() > LENGTHY
    if agreed and not lengthy:
        return True
    if agreed:
        # Draws of chains that have not met would teach nothing.
        w = kernel.learn(chains.target.structure, mode, w, rows)
    chains.round += 1
    chains.begin(mode, w, flat[:, -1])
    return False


def _draw(
    chains: Chains, settings: Settings, watched: Callable[[np.ndarray], np.ndarray]
) -> tuple[float, float] | None:
    """Draw as many as asked; return R-hat and ESS where these decided."""
    wanted, limit = settings.draws, settings.max_draws
    if not isinstance(wanted, str):
        chains.advance(wanted)
        return None
    total = _planned(settings)
    while True:
        chains.advance(total)
        draws = watched(chains.visited(total)["flat"].astype(float))
        r_hat, ess = _r_hat(draws), _least_ess(draws)
        # Written so that NaN goes on.
        if (r_hat < CONVERGED and ess >= settings.ess) or total >= limit:
            return r_hat, ess
        needed = 1.1 * settings.ess / ess if ess > 0 and r_hat < CONVERGED else 2.0
        total = min(100 * int(np.ceil(total * min(max(needed, 1.2), 2.0) / 100)), limit)


def _planned(settings: Settings) -> int:
    """Return the draws a chain that are sure to be taken."""
    wanted = settings.draws
    return min(FIRST, settings.max_draws) if isinstance(wanted, str) else wanted


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

"""The compiled programs of the sampler: NumPyro's NUTS kernel in the coordinates z.

    flat = mode + W z,   W W' the inverse Hessian at the mode,

so that in z the posterior is nearly a standard normal. W is a matrix; in high dimension the
diagonal of one, and with group effects the map of `hierarchical`. The data are arguments: one program serves every chain, every round of warm-up and
every data set of the same padded size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.infer.hmc import hmc

from bayesglm.generative import Data, Structure, log_density
from bayesglm.inference.hierarchical import Hierarchy, located, placed

__all__ = [
    "DENSE",
    "Frame",
    "Kernel",
    "advance",
    "advance_all",
    "block_length",
    "learn",
    "locate",
    "precondition",
    "start",
    "start_all",
]

# Draws of one call of the compiled program, at most.
BLOCK = 100
# Above this size W is diagonal: a product with it would cost more than the gradient.
DENSE = 2_000
# Nanoseconds that a row and column take in a trajectory, roughly; a block is to last a second.
COST = 7.0


class Kernel(NamedTuple):
    """What is fixed when the programs are compiled."""

    warmup: int
    target_accept: float
    max_tree_depth: int


class Frame(NamedTuple):
    """The change of coordinates flat = mode + W z.

    ``w`` has shape (size, size), or (size,) for a diagonal; or it is a `Hierarchy`, whose map is not
    linear.
    """

    mode: Array
    w: Any

    def place(self, structure: Structure, z: Array) -> tuple[Array, Array]:
        """Map z to flat coordinates; return these and the log determinant, up to a constant."""
        if isinstance(self.w, Hierarchy):
            return placed(structure, self.mode, self.w, z)
        flat = self.mode + (self.w * z if self.w.ndim == 1 else self.w @ z)
        return flat, jnp.zeros((), z.dtype)


def precondition(hessian: np.ndarray, *, dense: bool = True) -> np.ndarray:
    """Return W with W W' = hessian^-1; diagonal where that is not positive definite.

    Without ``dense`` the diagonal alone, shape (size,).
    """
    diagonal = np.diagonal(hessian)
    safe = np.where(np.isfinite(diagonal) & (diagonal > 0), diagonal, 1.0)
    scale = 1 / np.sqrt(safe)
    if not dense:
        return np.asarray(scale)
    try:
        factor = np.linalg.cholesky(hessian * np.outer(scale, scale))
    except np.linalg.LinAlgError:
        return np.diag(scale)
    return np.asarray(scale[:, None] * np.linalg.inv(factor).T)


def locate(structure: Structure, mode: np.ndarray, w: Any, flat: np.ndarray) -> np.ndarray:
    """Return z of flat vectors (k, size)."""
    if isinstance(w, Hierarchy):
        return np.asarray(located(structure, jnp.asarray(mode), _on_device(w), jnp.asarray(flat)))
    return (flat - mode) / w if w.ndim == 1 else np.linalg.solve(w, (flat - mode).T).T


def _on_device(w: Hierarchy) -> Hierarchy:
    return jax.tree.map(jnp.asarray, w)


def learn(structure: Structure, mode: np.ndarray, w: Any, flat: np.ndarray) -> Any:
    """Return W as draws (k, size) have it, correlations drawn in by k / (k + 5 + size).

    A covariance of few draws is noise, hence the shrinkage towards its diagonal. Draws beyond three (robust) standard deviations are pulled back to there: of heavy tails, whose variance may
    be infinite, the metric is to fit the bulk.
    """
    z = locate(structure, mode, w, flat)
    if isinstance(w, Hierarchy):
        z = z[:, : len(mode)]
    low, middle, high = np.quantile(z, [0.25, 0.5, 0.75], axis=0)
    reach = 3 * (high - low) / 1.349
    z = np.clip(z, middle - reach, middle + reach)
    variance = np.maximum(z.var(axis=0), 1e-20)
    if not isinstance(w, Hierarchy) and w.ndim == 1:
        return np.asarray(w * np.sqrt(variance))
    size = z.shape[1]
    share = len(z) / (len(z) + 5 + size)
    cov = share * np.cov(z, rowvar=False).reshape(size, size) + (1 - share) * np.diag(variance)
    root = np.linalg.cholesky(cov)
    # The effects of groups are in their own units whatever the rest is in.
    return w._replace(root=w.root @ root) if isinstance(w, Hierarchy) else np.asarray(w @ root)


def block_length(rows: int, columns: int) -> int:
    """Return the draws of a block, so that it lasts about a second: fixed by the padded sizes.

    Examples
    --------
    >>> block_length(1_024, 8), block_length(1_000_000, 24)
    (100, 4)
    """
    return int(np.clip(1e9 / (COST * rows * (columns + 10)), 1, BLOCK))


def _potential(structure: Structure) -> Callable[[Data, Frame], Callable[[Array], Array]]:
    def given(data: Data, frame: Frame) -> Callable[[Array], Array]:
        def potential(z: Array) -> Array:
            flat, determinant = frame.place(structure, z)
            return -log_density(structure, data, flat, jacobian=True) - determinant

        return potential

    return given


def _initialised(
    structure: Structure, data: Data, frame: Frame, z: Array, key: Array, kernel: Kernel
) -> tuple[Any, Any]:
    """Return the kernel's state at z and its step."""
    init, step = hmc(potential_fn_gen=_potential(structure), algo="NUTS")
    state = init(
        z,
        kernel.warmup,
        inverse_mass_matrix=jnp.ones_like(z),
        target_accept_prob=kernel.target_accept,
        max_tree_depth=kernel.max_tree_depth,
        model_args=(data, frame),
        rng_key=key,
    )
    return state, step


def _start(
    structure: Structure, data: Data, frame: Frame, z: Array, key: Array, kernel: Kernel
) -> Any:
    """Return the state at z, or on the way from it to the mode where the density is 0."""
    # Under a link with a bounded domain a dispersed start may be infeasible.
    shrunk = z[None, :] * 2.0 ** -jnp.arange(12, dtype=z.dtype)[:, None]
    shrunk = shrunk.at[-1].set(0)
    densities = jax.vmap(_potential(structure)(data, frame))(shrunk)
    first = shrunk[jnp.argmax(jnp.isfinite(densities))]
    return _initialised(structure, data, frame, first, key, kernel)[0]


def _advance(
    structure: Structure,
    data: Data,
    frame: Frame,
    state: Any,
    key: Array,
    count: Array,
    kernel: Kernel,
) -> tuple[Any, dict[str, Array]]:
    """Take ``count`` (at most BLOCK) steps; return the state and what was visited."""
    # The kernel learns its settings by its `init`, which leaves nothing in the compiled program.
    _, step = _initialised(structure, data, frame, state.z, key, kernel)
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
        flat, determinant = frame.place(structure, now.z)
        values = {
            "flat": flat,
            "lp": -now.potential_energy - determinant,
            "energy": now.energy,
            "acceptance_rate": now.accept_prob,
            "step_size": now.adapt_state.step_size,
            "n_steps": now.num_steps.astype(jnp.int32),
            "diverging": now.diverging,
        }
        return now, {name: seen[name].at[i].set(values[name]) for name in seen}

    return jax.lax.fori_loop(0, count, body, (state._replace(rng_key=key), visited))


_static = partial(jax.jit, static_argnames=("structure", "kernel"))
start, advance = _static(_start), _static(_advance)


@_static
def start_all(
    structure: Structure, data: Data, frame: Frame, z: Array, key: Array, kernel: Kernel
) -> Any:
    """Start all chains at once: z and key have an axis of chains first, and so has the state."""
    return jax.vmap(lambda z, key: _start(structure, data, frame, z, key, kernel))(z, key)


@_static
def advance_all(
    structure: Structure,
    data: Data,
    frame: Frame,
    state: Any,
    key: Array,
    count: Array,
    kernel: Kernel,
) -> tuple[Any, dict[str, Array]]:
    """Advance all chains at once, as an accelerator likes it."""
    return jax.vmap(lambda state, key: _advance(structure, data, frame, state, key, count, kernel))(
        state, key
    )

"""Stochastic variational inference: NumPyro's Gaussian guides, weighed by the exact density.

A guide q is fitted by maximising the evidence lower bound

    ELBO(q) = E_q[log p(y, theta) - log q(theta)]

over its parameters, by Adam with a learning rate that falls to 0, through `numpyro.infer.SVI`. The
unknown is z with flat = mode + W z, so that a guide starts where the Laplace approximation is: W is
a factor of the inverse Hessian for ``"full"``, and diagonal for the others, whose families a
rotation would change. Its draws are proposals for importance weights, as Laplace's are.

At an optimum of any of the three families the ELBO gains nothing by moving the guide, or by
stretching a coordinate of it; how much it would gain says whether the steps sufficed. Rotations are
not looked at: k-hat sees what they leave.

References
----------
Kucukelbir, Tran, Ranganath, Gelman & Blei (2017), "Automatic differentiation variational
inference", JMLR 18; Yao, Vehtari, Simpson & Gelman (2018), "Yes, but did it work?", ICML.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
from jax import Array
from numpyro import handlers
from numpyro.distributions import constraints
from numpyro.infer import SVI, Trace_ELBO, init_to_value
from numpyro.infer.autoguide import (
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
    AutoNormal,
)

from bayesglm.errors import InferenceError, explain
from bayesglm.generative import Data, Structure, log_density
from bayesglm.inference.importance import (
    FACTOR,
    LOST,
    MOST,
    Certificate,
    Weighed,
    factor,
    resample,
    smooth,
)
from bayesglm.precision import scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from bayesglm.inference.target import Target

__all__ = [
    "FULL",
    "GUIDES",
    "LARGEST_FULL",
    "STEPS",
    "Frame",
    "Guided",
    "Settings",
    "approximate",
    "leading",
]

GUIDES = {
    "full": AutoMultivariateNormal,
    "low_rank": AutoLowRankMultivariateNormal,
    "mean_field": AutoNormal,
}
# Unknowns up to which the full guide is the default, and beyond which it is refused.
FULL, LARGEST_FULL = 200, 1_000
STEPS = 1_000
# Where the learning rate begins. The low-rank guide has to turn; the others start in place.
RATES = {"full": 0.02, "low_rank": 0.1, "mean_field": 0.02}
# Steps of one call of the compiled program.
BLOCK = 100
# Draws by which convergence is judged.
JUDGED = 2_000
# What the ELBO (nats) may still gain: as much as a move by a fifth of an sd.
GAIN = 0.02
# A gain this many times what noise looks like is one: chi-squared on 1 degree of freedom, p < 0.002.
NOISE = 10.0
# Bytes that rows times a block of proposals may take: about what a cache holds.
MEMORY = 32 * 2**20


@dataclass(frozen=True)
class Settings:
    """How a guide is fitted; the learning rate falls to 0 as a cosine."""

    guide: str
    learning_rate: float
    steps: int = STEPS
    particles: int = 8

    @classmethod
    def make(cls, guide: str, **chosen: Any) -> Settings:
        """Return settings with the learning rate of the guide, unless one is chosen."""
        words: dict[str, Any] = {"guide": guide, "learning_rate": RATES[guide]} | chosen
        return cls(**words)


class Frame(NamedTuple):
    """The change of coordinates flat = mode + W z; ``w`` is W, or its diagonal."""

    mode: Array
    w: Array
    log_det: Array

    def flat(self, z: Array) -> Array:
        """Map z (size,) to flat coordinates."""
        return self.mode + (self.w @ z if self.w.ndim == 2 else self.w * z)

    @classmethod
    def make(cls, mode: np.ndarray, w: np.ndarray, number: Any) -> Frame:
        """Return the frame in the precision of the scope."""
        log_det = np.linalg.slogdet(w)[1] if w.ndim == 2 else np.log(w).sum()
        return cls(*(jnp.asarray(part, number) for part in (mode, w, log_det)))


@dataclass(frozen=True)
class Guided:
    """A fitted guide.

    Attributes
    ----------
    flat : ndarray, shape (draws, size)
        Independent draws, resampled without replacement.
    log_density : ndarray, shape (draws,)
        Their log posterior density, unconstrained.
    certificate : Certificate
    history : ndarray, shape (steps,)
        Negative ELBO (nats) before each step, noisy.
    elbo : float
        ELBO at the end (nats), from all proposals.
    rising : float
        What it would still gain (nats), roughly; 0 where that is within the noise.
    """

    flat: np.ndarray
    log_density: np.ndarray
    certificate: Certificate
    history: np.ndarray
    elbo: float
    rising: float

    @property
    def converged(self) -> bool:
        """Whether more steps would gain next to nothing."""
        return self.rising <= GAIN


def _unknown(size: int) -> Array:
    """Declare z, of which alone a guide must know."""
    improper = dist.ImproperUniform(constraints.real_vector, (), event_shape=(size,))
    return numpyro.sample("z", improper)


def _svi(structure: Structure, settings: Settings) -> SVI:
    def model(data: Data, frame: Frame) -> None:
        z = _unknown(structure.size)
        # The sites inside are placed by their own trace; neither guide nor ELBO may see them.
        with handlers.block():
            density = log_density(structure, data, frame.flat(z), jacobian=True)
        numpyro.factor("density", density + frame.log_det)

    def prototype(data: Data, frame: Frame) -> None:
        del data, frame
        _unknown(structure.size)

    guide = GUIDES[settings.guide](
        prototype,
        init_loc_fn=init_to_value(values={"z": jnp.zeros(structure.size)}),
        init_scale=1.0,
    )
    schedule = optax.cosine_decay_schedule(settings.learning_rate, settings.steps)
    loss = Trace_ELBO(num_particles=settings.particles)
    return SVI(model, guide, optax.adam(schedule), loss)


@partial(jax.jit, static_argnames=("structure", "settings"))
def _start(
    structure: Structure,
    data: Data,
    frame: Frame,
    init: dict[str, Array],
    key: Array,
    *,
    settings: Settings,
) -> Any:
    return _svi(structure, settings).init(key, data, frame, init_params=init)


@partial(jax.jit, static_argnames=("structure", "settings"))
def _advance(
    structure: Structure, data: Data, frame: Frame, state: Any, count: Array, *, settings: Settings
) -> tuple[Any, Array, dict[str, Array]]:
    """Take ``count`` (at most BLOCK) steps; return state, negative ELBO of each, parameters."""
    svi = _svi(structure, settings)
    # SVI learns its constraints by its `init`, which leaves nothing in the compiled program.
    svi.init(state.rng_key, data, frame)

    def body(i: Array, carry: tuple[Any, Array]) -> tuple[Any, Array]:
        now, seen = carry
        now, loss = svi.update(now, data, frame)
        return now, seen.at[i].set(loss)

    blank = jnp.full(BLOCK, jnp.nan, frame.mode.dtype)
    state, seen = jax.lax.fori_loop(0, count, body, (state, blank))
    return state, seen, svi.get_params(state)


def _fitted(structure: Structure, params: dict[str, Array], settings: Settings) -> Any:
    """Return the guide's distribution of z."""
    if settings.guide == "mean_field":
        return dist.Normal(params["z_auto_loc"], params["z_auto_scale"]).to_event(1)
    return _svi(structure, settings).guide.get_posterior(params)


def _log_weight(structure: Structure, data: Data, frame: Frame, q: Any, z: Array) -> Any:
    flat = frame.flat(z)
    log_p = log_density(structure, data, flat, jacobian=True)
    return log_p + frame.log_det - q.log_prob(z), (flat, log_p)


@partial(jax.jit, static_argnames=("structure", "settings", "count"))
def _propose(
    structure: Structure,
    data: Data,
    frame: Frame,
    params: dict[str, Array],
    key: Array,
    *,
    settings: Settings,
    count: int,
) -> tuple[Array, Array, Array]:
    """Return ``count`` flat vectors, their log density and their log weights."""
    q = _fitted(structure, params, settings)
    z = q.sample(key, (count,))
    log_w, (flat, log_p) = jax.vmap(partial(_log_weight, structure, data, frame, q))(z)
    return flat, log_p, jnp.where(jnp.isnan(log_w), -jnp.inf, log_w)


@partial(jax.jit, static_argnames=("structure", "settings", "together"))
def _gain(
    structure: Structure,
    data: Data,
    frame: Frame,
    params: dict[str, Array],
    key: Array,
    *,
    settings: Settings,
    together: int,
) -> tuple[Array, Array]:
    """Return what the ELBO (nats) would still gain, and what noise alone would look like.

    With z = m + s e, its derivative by m is g = E[d log w / dz], that by log s is
    r = E[(z - m) d log w / dz], both 0 at an optimum; the guide's own share in log w has mean 0 and
    makes both exact where q = p. A step of the guide's covariance S gains g'Sg / 2 + r'r / 4.
    """
    q = _fitted(structure, params, settings)
    z = q.sample(key, (JUDGED,))
    slope = jax.grad(lambda v: _log_weight(structure, data, frame, q, v)[0])
    g = jax.lax.map(slope, z, batch_size=min(together, JUDGED))
    r = (z - q.mean) * g

    def gain(shift: Array, stretch: Array) -> Array:
        return _spread(q, shift) / 2 + jnp.sum(stretch**2, axis=-1) / 4

    mean_g, mean_r = g.mean(axis=0), r.mean(axis=0)
    return gain(mean_g, mean_r), gain(g - mean_g, r - mean_r).mean() / JUDGED


def _spread(q: Any, v: Array) -> Array:
    """Return v'Sv for the covariance S of a guide; v is (..., size)."""
    if isinstance(q, dist.MultivariateNormal):
        return jnp.sum((v @ q.scale_tril) ** 2, axis=-1)
    if isinstance(q, dist.LowRankMultivariateNormal):
        return jnp.sum(q.cov_diag * v**2, axis=-1) + jnp.sum((v @ q.cov_factor) ** 2, axis=-1)
    return jnp.sum(q.variance * v**2, axis=-1)


def leading(hessian: np.ndarray) -> dict[str, np.ndarray]:
    """Return parameters of the low-rank guide near the inverse of a Hessian.

    Parameters
    ----------
    hessian : ndarray, shape (size, size)
        In z, with 1 on its diagonal.
    """
    size = len(hessian)
    values, vectors = np.linalg.eigh(hessian)
    few = round(size**0.5)
    # The rank of NumPyro's guide; a small or negative eigenvalue would let it start too wide.
    excess = 1 / np.clip(values[:few], 1e-4, 1.0) - 1
    return {"auto_cov_factor": vectors[:, :few] * np.sqrt(excess), "auto_scale": np.ones(size)}


def approximate(
    target: Target,
    mode: np.ndarray,
    w: np.ndarray,
    *,
    settings: Settings,
    init: dict[str, np.ndarray] | None = None,
    draws: int,
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> Guided:
    """Fit a guide, draw from the posterior by it, and say how good that is.

    Parameters
    ----------
    target : Target
        The model on its data.
    mode : ndarray, shape (size,)
        Where the guide starts.
    w : ndarray, shape (size, size) or (size,)
        Units of z: a matrix W, or its diagonal.
    settings : Settings
        Guide, steps, learning rate, particles.
    init : dict, optional
        Parameters of the guide to start from, by their NumPyro names; else the unit normal of z.
    draws : int
        Draws wanted; at least five times as many are proposed, more where the weights are uneven.
    seed : int
        Fixes everything random.
    report : callable, optional
        Called with the steps taken.

    Raises
    ------
    InferenceError
        If the ELBO leaves the finite numbers.
    """
    structure = target.structure
    with scope(target.precision):
        number = target.data.y.dtype
        data = target.arrays
        frame = Frame.make(mode, w, number)
        begin = {name: jnp.asarray(value, number) for name, value in (init or {}).items()}
        fitting, weighing, judging = jax.random.split(jax.random.key(seed), 3)
        state = _start(structure, data, frame, begin, fitting, settings=settings)
        done, seen = 0, []
        while done < settings.steps:
            count = min(BLOCK, settings.steps - done)
            state, losses, params = _advance(
                structure, data, frame, state, jnp.asarray(count), settings=settings
            )
            seen.append(np.asarray(losses, float)[:count])
            done += count
            if not np.isfinite(seen[-1]).all():
                raise InferenceError(
                    explain(
                        "the ELBO left the finite numbers",
                        step=done - count + int(np.argmin(np.isfinite(seen[-1]))) + 1,
                        learning_rate=settings.learning_rate,
                        advice='lower learning_rate=, or use fit("nuts")',
                    )
                )
            if report is not None:
                report(done, 0)
        length = max(1, min(2_000, MEMORY // (8 * target.breadth * data.y.shape[0])))
        given = (structure, data, frame, params)

        def weigh(wanted: int) -> tuple[Weighed, float]:
            drawn = []
            for block in range(-(-wanted // length)):
                own = jax.random.fold_in(weighing, block)
                parts = _propose(*given, own, settings=settings, count=length)
                drawn.append(tuple(np.asarray(part, float) for part in parts))
            flat, log_p, log_w = (np.concatenate(part) for part in zip(*drawn, strict=True))
            return Weighed(flat, log_p, *smooth(log_w)), float(log_w.mean())

        found, elbo = weigh(FACTOR * draws)
        if found.lost(draws) > 0 and found.lost(draws * FACTOR // MOST) <= LOST:
            # More proposals, so that none has more than the weight of one draw, where that helps.
            found, elbo = weigh(factor(found, draws) * draws)
        gains = _gain(*given, judging, settings=settings, together=length)
        gain, noise = map(float, gains)
    rising = gain - noise if gain > NOISE * noise else 0.0
    words = f"{settings.guide} guide"
    flat, density, certificate = resample(found, draws, seed=seed, proposal=words)
    return Guided(flat, density, certificate, np.concatenate(seen), elbo, rising)

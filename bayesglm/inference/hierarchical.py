"""Where the sampler starts with group effects, in which coordinates, and how draws come back.

The frame is the Gaussian approximation around the top of the marginal posterior density: the joint
mode of effects and standard deviations would not do, as its density has spikes where these are small.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from bayesglm.grouped import Grouped
from bayesglm.inference import marginal
from bayesglm.inference.kernel import Blocks
from bayesglm.inference.multilevel import climb
from bayesglm.precision import scope

if TYPE_CHECKING:
    from bayesglm.inference.multilevel import Peak
    from bayesglm.inference.target import Target

__all__ = ["Start", "start_of"]

# Effects of which the data know this share of the variance are sampled themselves, others in units
# of their standard deviation.
INFORMED = 0.8


@dataclass(frozen=True)
class Start:
    """Where a sampler starts, and in which coordinates.

    Attributes
    ----------
    target : Target
        The model, with informed factors in centred form.
    mode : ndarray, shape (size,)
        Flat coordinates of that target.
    w : Blocks
    peak : Peak
        The top of the marginal posterior density, unconstrained.
    """

    target: Target
    mode: np.ndarray
    w: Blocks
    peak: Peak

    def back(self, flat: np.ndarray) -> np.ndarray:
        """Return draws (..., size) in the flat coordinates of the model as it was given."""
        found = flat.copy()
        for group, _ in self.target.groups:
            if not group.centered:
                continue
            shape = flat[..., group.first : group.effects_at]
            effects = flat[..., group.effects_at : group.first + group.size]
            lead = flat.shape[:-1]
            effects = effects.reshape(*lead, group.levels, group.width)
            if group.correlated:
                roots = self._factors(group, shape.reshape(-1, shape.shape[-1]))
                roots = roots.reshape(*lead, group.width, group.width)
                z = np.linalg.solve(roots, np.swapaxes(effects, -1, -2))
                z = np.swapaxes(z, -1, -2)
            else:
                z = effects / np.exp(shape)[..., None, :]
            found[..., group.effects_at : group.first + group.size] = z.reshape(*lead, -1)
        return found

    def _factors(self, group: Grouped, shapes: np.ndarray) -> np.ndarray:
        with scope(self.target.precision):
            return np.asarray(marginal.factor_of_draws(group, jnp.asarray(shapes)))


def start_of(target: Target) -> Start:
    """Return where a sampler starts.

    Parameters
    ----------
    target : Target
        The model on its data, in non-centred form.
    """
    peak = climb(target, "flat", prior=True)
    with scope(target.precision):
        v, arrays = jnp.asarray(peak.v), target.arrays
        z = tuple(jnp.asarray(each) for each in peak.z)
        root = _root(peak.hessian)
        plain, inner = _spread(target, v, z, root, (False,) * len(z))
        centered = tuple(
            _informed(part, inner if f == len(z) - 1 else None) for f, part in enumerate(plain)
        )
        if any(centered):
            plain, inner = _spread(target, v, z, root, centered)
        known = marginal.factors(target.structure, arrays, v, "flat")
        effects = [
            np.asarray(each @ factor.T) if wanted else np.asarray(each)
            for each, factor, wanted in zip(z, known, centered, strict=True)
        ]
    head = target.data.parts[0].matrix.shape[0]
    mode, rows = [peak.v[:head]], [np.zeros((head, plain[-1].shape[1]))]
    rows[0][:, : len(peak.v)] = root[:head]
    at = head
    for (group, _), each, part in zip(target.groups, effects, plain, strict=True):
        more = np.zeros((group.shape_size, part.shape[1]))
        more[:, : len(peak.v)] = root[at : at + group.shape_size]
        mode += [peak.v[at : at + group.shape_size], each.ravel()]
        rows += [more, part]
        at += group.shape_size
    w = Blocks(np.concatenate(rows[:-1]), rows[-1], inner)
    return Start(_centred(target, centered), np.concatenate(mode), w, peak)


def _root(hessian: np.ndarray) -> np.ndarray:
    """Return a root of the inverse of a matrix, made positive definite where it is not."""
    scale = 1 / np.sqrt(np.maximum(np.abs(np.diagonal(hessian)), 1e-10))
    values, vectors = np.linalg.eigh(hessian * np.outer(scale, scale))
    return np.asarray(scale[:, None] * vectors / np.sqrt(np.maximum(np.abs(values), 1e-6)))


def _spread(
    target: Target,
    v: jnp.ndarray,
    z: tuple[jnp.ndarray, ...],
    root: np.ndarray,
    effects: tuple[bool, ...],
) -> tuple[list[np.ndarray], np.ndarray]:
    parts, inner = marginal.spread(
        target.structure,
        target.arrays,
        v,
        z,
        jnp.asarray(root),
        coordinates="flat",
        effects=effects,
    )
    return [np.asarray(part, float) for part in parts], np.asarray(inner, float)


def _informed(part: np.ndarray, inner: np.ndarray | None) -> bool:
    """Whether the data know most of the variance of the effects, 1 each before them."""
    left = np.sum(part**2, axis=1) if inner is None else np.sum(inner**2, axis=2).ravel()
    return bool(np.median(1 - left) > INFORMED)


def _centred(target: Target, centered: tuple[bool, ...]) -> Target:
    """Return the target with some factors in centred form; places in the flat vector stay."""
    given = iter(centered)
    predictors = tuple(
        replace(p, centered=next(given)) if isinstance(p, Grouped) else p
        for p in target.structure.predictors
    )
    sites = tuple(site for predictor in predictors for site in predictor.sites)
    structure = replace(target.structure, predictors=predictors, sites=sites)
    return replace(target, structure=structure)

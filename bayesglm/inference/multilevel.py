"""The top of a marginal likelihood, and everything that is reported of it.

Newton's method, with the exact Hessian where the climb begins and where it ends and BFGS updates in
between: a Hessian costs as many passes over the rows as there are unknowns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import biject_to, constraints

from bayesglm.errors import Finding, Status
from bayesglm.generative import Structure
from bayesglm.grouped import Grouped
from bayesglm.inference import marginal
from bayesglm.inference.covariance import invert
from bayesglm.inference.evaluation import evaluate
from bayesglm.inference.mode import refuse_divergence, runs_away
from bayesglm.inference.newton import LIMIT, Optimum, newton
from bayesglm.inference.result import Result
from bayesglm.inference.starting import start
from bayesglm.inference.verdicts import findings_of
from bayesglm.precision import scope

if TYPE_CHECKING:
    from bayesglm.inference.target import Target

__all__ = ["Peak", "climb", "flat_shape", "marginal_mode"]

# Squared decrement below which a full step ends the climb, and Hessians at most.
TOLERANCE, ROUNDS = 1e-8, 12
# The last move of the effects (in their sds) at which they count as at their mode.
SETTLED = 1e-6
# Steps between two Hessians, and of Newton on the model without groups.
STEPS, PLAIN = 30, 20
# A standard deviation below this share of the link's unit, or a correlation this near to 1, is at
# the end of its range.
SMALL = 1e-4
# Trials of a group in the middle, below which Laplace's method is rough.
FEW = 4.0
# A standard deviation that is 0 but for rounding.
NONE = 1e-8
# Bytes of the joint covariance of effects and coefficients beyond which it is not kept.
LARGEST = 128 * 2**20


@dataclass(frozen=True)
class Peak:
    """Where a climb ended.

    Attributes
    ----------
    v : ndarray, shape (k,)
        Coefficients, then what says how effects vary, in the coordinates of the climb.
    z : tuple of ndarray, shape (G, q)
        The effects at their mode, in units of their standard deviations.
    value : float
        Log marginal likelihood (with the prior where there is one), without binomial coefficients.
    hessian : ndarray, shape (k, k)
        Minus the second derivatives.
    """

    v: np.ndarray
    z: tuple[np.ndarray, ...]
    value: float
    hessian: np.ndarray
    status: Status
    gradient_norm: float
    steps: int
    history: np.ndarray
    moved: float


def climb(target: Target, coordinates: marginal.Coordinates, *, prior: bool) -> Peak:
    """Climb to the top of the marginal likelihood, or of the marginal posterior density.

    Parameters
    ----------
    target : Target
        The model on its data, with groups.
    coordinates : {"named", "flat"}
        See `bayesglm.inference.marginal`.
    prior : bool
        Add the log prior.
    """
    words: dict[str, Any] = {"coordinates": coordinates, "prior": prior}
    data, structure, number = target.arrays, target.structure, target.data.y.dtype
    held = [tuple(jnp.zeros((g.levels, g.width), number) for g, _ in target.groups)]

    def look(v: np.ndarray) -> tuple[float, np.ndarray, Any]:
        point = jnp.asarray(v, number)
        found = marginal.mode(structure, data, point, held[0], coordinates=coordinates)
        z = found.z
        value, gradient = marginal.value_and_grad(structure, data, point, z, **words)
        # Where the effects are not at their mode the value is no likelihood.
        settled = float(found.moved) <= SETTLED
        return float(value) if settled else -np.inf, np.asarray(gradient, float), z

    v = _begin(target, coordinates)
    value, gradient, held[0] = look(v)
    history, taken, moved, status = [value], 0, np.inf, Status.STEP_LIMIT
    hessian = np.eye(len(v))
    for _ in range(ROUNDS):
        hessian = -np.asarray(
            marginal.hessian(structure, data, jnp.asarray(v, number), held[0], **words), float
        )
        inverse, definite = _definite(hessian)
        settled = False
        for step in range(STEPS):
            direction = inverse @ gradient
            decrement = float(gradient @ direction)
            settled = decrement < TOLERANCE
            length = 1.0
            new, slope, z = look(v + direction)
            # A little below, where the gain drowns in rounding.
            while not new >= value + 1e-4 * length * decrement - 1e-11 * abs(value):
                length /= 2
                if length < 1e-10:
                    break
                new, slope, z = look(v + length * direction)
            if length < 1e-10:
                break
            moved = _moved(target, length * direction)
            inverse = _updated(inverse, length * direction, gradient - slope)
            v, value, gradient, held[0] = v + length * direction, new, slope, z
            taken += 1
            history.append(value)
            if settled:
                settled = step == 0
                break
        if settled and definite:
            status = Status.CONVERGED
            break
    if not np.isfinite(value):
        status = Status.DIVERGED
    return Peak(
        v,
        tuple(np.asarray(each, float) for each in held[0]),
        value,
        hessian,
        status,
        float(np.max(np.abs(gradient))) / target.effective,
        taken,
        -np.array(history[1:]) / target.effective,
        moved,
    )


def _begin(target: Target, coordinates: marginal.Coordinates) -> np.ndarray:
    """Return coefficients of the model without groups, and middling standard deviations."""
    linear, part = target.structure.predictors[0], target.data.parts[0]
    size = part.matrix.shape[0]
    plain = Structure(
        target.structure.family,
        target.structure.link,
        (linear,),
        target.structure.aggregated,
        tuple(linear.sites),
        size,
    )
    alone = replace(
        target, structure=plain, data=target.data._replace(parts=(part,)), device=None
    ).placed()
    pieces = [newton(alone, start(alone), jacobian=False, steps=min(PLAIN, LIMIT)).flat]
    unit = 0.5 * _unit(target)
    for group, own in target.groups:
        root = np.sqrt(np.mean(np.asarray(own.matrix) ** 2, axis=0))
        sd = unit / np.where(root > 0, root, 1.0)
        sd = np.array([unit]) if group.tied else sd
        shape = np.zeros(group.shape_size)
        shape[: group.sds] = sd if coordinates == "named" else np.log(sd)
        pieces.append(shape)
    return np.concatenate(pieces)


def _unit(target: Target) -> float:
    return 0.25 / float(target.structure.link.density_half)


def _definite(hessian: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return the inverse of a matrix made positive definite, and whether it was so."""
    if not np.isfinite(hessian).all():
        return np.eye(len(hessian)), False
    scale = 1 / np.sqrt(np.maximum(np.abs(np.diagonal(hessian)), 1e-10))
    values, vectors = np.linalg.eigh(hessian * np.outer(scale, scale))
    safe = np.maximum(np.abs(values), 1e-8)
    inverse = (vectors / safe) @ vectors.T * np.outer(scale, scale)
    return inverse, bool(values.min() > 1e-10)


def _updated(inverse: np.ndarray, step: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Return the inverse Hessian after a step, by BFGS; as it was where curvature is not positive."""
    along = float(step @ change)
    if not along > 1e-12 * float(np.linalg.norm(step) * np.linalg.norm(change)):
        return inverse
    left = np.eye(len(step)) - np.outer(step, change) / along
    return np.asarray(left @ inverse @ left.T + np.outer(step, step) / along)


def _moved(target: Target, step: np.ndarray) -> float:
    """Return the largest change of a row's eta by the coefficients."""
    matrix = target.arrays.parts[0].matrix
    eta = matrix.dot(jnp.asarray(step[: matrix.shape[0]], target.data.y.dtype))
    return float(jnp.max(jnp.where(target.arrays.weights > 0, jnp.abs(eta), 0.0)))


def marginal_mode(target: Target, method: str, options: Mapping[str, Any]) -> Result:
    """Maximise the marginal likelihood (``mle``), or times the prior (``map``), and report.

    Parameters
    ----------
    target : Target
        The model on its data, with flat priors for ``mle``.
    method : {"mle", "map"}
    options : mapping

    Raises
    ------
    SeparationError, InferenceError
        Where there is no top.
    """
    with scope(target.precision):
        peak = climb(target, "named", prior=method == "map")
        found = [np.asarray(f) for f in _factors(target, peak.v)]
        # L and L times a change of signs are one: diagonals are reported as positive.
        signs = [np.where(np.diagonal(f) < 0, -1.0, 1.0) for f in found]
        found = [f * s for f, s in zip(found, signs, strict=True)]
        z = [e * s for e, s in zip(peak.z, signs, strict=True)]
        shapes, edge = [], list[str]()
        for (group, part), factor in zip(target.groups, found, strict=True):
            shapes.append(flat_shape(group, factor))
            edge += _at_edge(group, factor, np.asarray(part.matrix), _unit(target))
        flat = _flat(target, peak.v, shapes, z)
        optimum = Optimum(
            flat, peak.status, peak.gradient_norm, peak.steps, peak.history, peak.moved
        )
        if options.get("separation") == "warn" and runs_away(target, optimum):
            optimum = replace(optimum, status=Status.SEPARATED)
        refuse_divergence(target, optimum)
        covariance = invert(peak.hessian)
        groups, joint = _estimates(target, peak, found, covariance)
    moved = target.to_reported()[:, : target.p + int(target.intercept)]
    k = moved.shape[1]
    cov = moved @ covariance[:k, :k] @ moved.T
    findings = findings_of(target, method, optimum, cov, ())
    straight = [f"sd_{group.name}" for group, _ in target.groups if group.tied]
    lines = [name for name in edge if name in straight]
    edge = [name for name in edge if name not in straight]
    if lines:
        findings = (*findings, _line(lines))
    if edge and optimum.status == Status.CONVERGED:
        optimum = replace(optimum, status=Status.BOUNDARY)
        findings = (*findings, _no_variation(edge))
    findings = (*findings, *_small_groups(target))
    numbers = evaluate(target, flat)
    numbers["loglik" if method == "mle" else "log_posterior"] = peak.value + target.log_coefficient
    return Result(
        method=method,
        status=optimum.status,
        flat=flat,
        cov=cov,
        gradient_norm=optimum.gradient_norm,
        steps=optimum.steps,
        history=optimum.history,
        groups=groups,
        joint=joint,
        findings=findings,
        **numbers,
    )


def _factors(target: Target, v: np.ndarray) -> list[Any]:
    return marginal.factors(target.structure, target.arrays, jnp.asarray(v), "named")


def flat_shape(group: Grouped, factor: np.ndarray) -> np.ndarray:
    """Return log standard deviations and unconstrained correlations of L."""
    sd = np.maximum(np.linalg.norm(factor, axis=1), 1e-12)
    pieces, at = [np.log(sd[: group.sds])], 0
    for size in group.blocks if group.correlated else ():
        if size > 1:
            units = factor[at : at + size, at : at + size] / sd[at : at + size, None]
            # At the end of their range correlations would be infinite.
            units = units + np.diag(np.maximum(1e-7 - np.diagonal(units), 0))
            units = units / np.linalg.norm(units, axis=1, keepdims=True)
            inverse = biject_to(constraints.corr_cholesky).inv(jnp.asarray(units))
            pieces.append(np.asarray(inverse))
        at += size
    return np.concatenate(pieces)


def _flat(
    target: Target, v: np.ndarray, shapes: list[np.ndarray], z: list[np.ndarray]
) -> np.ndarray:
    flat = np.zeros(target.size)
    head = target.data.parts[0].matrix.shape[0]
    flat[:head] = v[:head]
    for (group, _), shape, effects in zip(target.groups, shapes, z, strict=True):
        flat[group.first : group.effects_at] = shape
        flat[group.effects_at : group.first + group.size] = effects.ravel()
    return flat


def _at_edge(group: Grouped, factor: np.ndarray, matrix: np.ndarray, unit: float) -> list[str]:
    """Return what lies at the end of its range: standard deviations of 0, correlations of 1."""
    sd = np.linalg.norm(factor, axis=1)
    size = np.sqrt(np.mean(matrix**2, axis=0))
    found = [f"sd_{group.name}" for j in range(group.sds) if sd[j] * size[j] < SMALL * unit]
    inner = np.diagonal(factor) < SMALL * np.maximum(sd, 1e-300)
    if group.correlated and not found and inner.any():
        found.append(f"cor_{group.name}")
    return list(dict.fromkeys(found))


def _no_variation(edge: list[str]) -> Finding:
    what = "standard deviation is 0" if edge[0].startswith("sd_") else "correlation is 1 or -1"
    return Finding(
        "boundary",
        "warning",
        f"The estimate of {', '.join(edge)} lies at the end of its range (a {what}): the groups "
        "differ no more than chance, or tell too little. Its standard error means nothing.",
        where=edge[0],
        advice='Use fit("nuts"), or leave this effect out.',
    )


def _small_groups(target: Target) -> list[Finding]:
    """Say where groups are so small that Laplace's method is rough."""
    found = []
    mass = target.data.weights * target.data.trials
    for group, part in target.groups:
        if group.tied:
            continue
        counts = np.bincount(np.asarray(part.codes), weights=mass, minlength=group.levels)
        middle = float(np.median(counts[counts > 0]))
        if middle < FEW:
            found.append(
                Finding(
                    "small-groups",
                    "note",
                    f"Half of the groups of {group.name} have {middle:g} trials or fewer: their "
                    "effects are integrated out by Laplace's method, which is rough for so few and "
                    "makes their standard deviation too small.",
                    value=middle,
                    threshold=FEW,
                    where=group.name,
                    advice='fit("nuts") integrates exactly.',
                )
            )
    return found


def _line(names: list[str]) -> Finding:
    terms = ", ".join(name.removeprefix("sd_") for name in names)
    return Finding(
        "smooth-line",
        "note",
        f"No bend was found in {terms}: the estimate is a line (a standard deviation of 0).",
        where=names[0],
        advice='fit("nuts") says how much it may bend.',
    )


def _estimates(
    target: Target, peak: Peak, found: list[np.ndarray], covariance: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return sds, correlations and effects with their errors, and how all vary jointly."""
    v, arrays = jnp.asarray(peak.v), target.arrays

    def sds(v: Any) -> Any:
        known = marginal.factors(target.structure, arrays, v, "named")
        rows = (jnp.sqrt(jnp.maximum(jnp.sum(f**2, axis=1), 1e-300)) for f in known)
        return jnp.concatenate(
            [row[: g.sds] for row, (g, _) in zip(rows, target.groups, strict=True)]
        )

    slopes = np.asarray(jax.jacfwd(sds)(v))
    with np.errstate(invalid="ignore"):
        errors = np.sqrt(np.diagonal(slopes @ covariance @ slopes.T))
    estimates: dict[str, np.ndarray] = {}
    at = 0
    for (group, _), factor, z in zip(target.groups, found, peak.z, strict=True):
        sd = np.linalg.norm(factor, axis=1)
        none = sd[: group.sds] < NONE * _unit(target)
        estimates[f"sd_{group.name}"] = np.where(none, 0.0, sd[: group.sds])
        estimates[f"sd_{group.name}_std_error"] = np.where(
            none, np.nan, errors[at : at + group.sds]
        )
        at += group.sds
        if group.correlated:
            units = factor / np.maximum(sd, 1e-300)[:, None]
            estimates[f"cor_{group.name}"] = units @ units.T
        known = _factors(target, peak.v)[[g.name for g, _ in target.groups].index(group.name)]
        whole = sd > NONE * _unit(target)
        estimates[group.name] = np.where(whole, z @ np.asarray(known).T, 0.0)
    joint: dict[str, np.ndarray] = {}
    border = sum(g.levels * g.width for g, _ in target.groups[:-1])
    total = border + target.groups[-1][0].levels * target.groups[-1][0].width
    if np.isfinite(covariance).all() and total * (len(v) + border) * 8 <= LARGEST:
        root = np.linalg.cholesky(covariance + 1e-300 * np.eye(len(v)))
        parts, inner = marginal.spread(
            target.structure,
            arrays,
            v,
            tuple(jnp.asarray(z) for z in peak.z),
            jnp.asarray(root),
            coordinates="named",
            effects=(True,) * len(target.groups),
        )
        width = parts[-1].shape[1]
        k = target.p + int(target.intercept)
        moved = target.to_reported()[:, :k]
        joint["theta"] = np.zeros((k, width))
        joint["theta"][:, : len(v)] = moved @ root[:k]
        for place, ((group, _), part) in enumerate(zip(target.groups, parts, strict=True)):
            joint[group.name] = np.asarray(part)
            own = np.sum(joint[group.name] ** 2, axis=1)
            if place == len(parts) - 1:
                joint[f"{group.name}_inner"] = np.asarray(inner)
                own = own + np.sum(joint[f"{group.name}_inner"] ** 2, axis=2).ravel()
            error = np.sqrt(own).reshape(group.levels, group.width)
            moving = np.broadcast_to(estimates[f"sd_{group.name}"] > 0, error.shape[1:])
            estimates[f"{group.name}_std_error"] = np.where(moving, error, 0.0)
    return estimates, joint

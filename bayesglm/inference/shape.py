"""Modes of models that learn the shape of their link, and how sure they are of it.

Far from the data the likelihood of a robust link is nearly flat, and it may have several tops: Newton
climbs from several starts, and the highest top counts. Where the data have no sign of lapses, or of
heavier tails than the normal's, the top lies at the end of the range: at lapse = 0 or df = infinity.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import biject_to

from bayesglm.errors import Finding, SpecificationError, Status, explain
from bayesglm.inference.covariance import hessian_at, invert
from bayesglm.inference.newton import LIMIT, Optimum, newton
from bayesglm.inference.starting import start
from bayesglm.links import get_link
from bayesglm.precision import in_double

if TYPE_CHECKING:
    from bayesglm.inference.target import Target

__all__ = ["Spread", "highest", "refuse_shaped", "spread_of"]

# Shapes that a climb begins from, and Newton's steps from the start on the link without them.
STARTS = {"df": (3.0, 20.0), "lapse": (0.02, 0.2)}
STEPS = 10
# An unconstrained shape that runs away, and is known no better than this (standard error), is at
# the end of its range.
FAR, UNKNOWN = 5.0, 10.0
ENDS = {"df": np.inf, "lapse": 0.0}


@dataclass(frozen=True)
class Spread:
    """Covariance of the coefficients, and the shape with its errors.

    Attributes
    ----------
    cov : ndarray, shape (k, k)
        Of the reported coefficients, the shape unknown as well.
    shape : dict of ndarray
        Each part of the shape, and its standard error under ``<name>_std_error`` (NaN at the end of
        its range).
    joint : dict of ndarray
        As `Result.joint`: ``theta`` (k, d), and each part of the shape (d,).
    ends : tuple of str
        What lies at the end of its range.
    """

    cov: np.ndarray
    shape: dict[str, np.ndarray]
    joint: dict[str, np.ndarray]
    ends: tuple[str, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What a reader must know of a shape at the end of its range."""
        return tuple(_at_end(name) for name in self.ends)


def refuse_shaped(options: Mapping[str, Any], weights_kind: str) -> None:
    """Refuse what a link with a learned shape has no answer for.

    Raises
    ------
    SpecificationError
    """
    for name, allowed in (("cov", "nonrobust"), ("cluster", None), ("bias_reduction", None)):
        value = options.get(name)
        if value is not None and value != allowed:
            told = (
                "sampling weights, which ask for robust errors,"
                if weights_kind == "sampling"
                else name
            )
            raise SpecificationError(
                explain(
                    f"{told} {'are' if told != name else 'is'} not available where the link's shape "
                    "is learned",
                    advice='use a fixed shape, as link="student_t(4)"',
                    **{name: value},
                )
            )


def highest(target: Target, *, jacobian: bool, steps: int = LIMIT) -> Optimum:
    """Return the highest of the tops that Newton reaches from several starts.

    Parameters
    ----------
    target : Target
        With a shape to learn.
    jacobian : bool
        Mode of the unconstrained density, or of the parameters as named.
    steps : int
        Newton's limit.
    """
    found = [newton(target, begin, jacobian=jacobian, steps=steps) for begin in _starts(target)]
    usable = [one for one in found if one.status != Status.DIVERGED] or found
    return min(usable, key=lambda one: np.nan_to_num(one.history[-1], nan=np.inf))


@in_double
def _starts(target: Target) -> list[np.ndarray]:
    structure = target.structure
    base, names = structure.link.base, structure.shape  # type: ignore[attr-defined]
    size = target.size - len(names)
    # Instead of Student's t, the logistic function at the same slope: it is cheap to compile.
    link = get_link("logit") if "df" in names else base
    plain = replace(
        target,
        structure=replace(
            structure,
            link=link,
            sites=structure.sites[: -len(names)],
            size=size,
        ),
        data=target.data._replace(shape=()),
        device=None if target.device is None else target.device._replace(shape=()),
    )
    begin = start(plain)
    # Under separation it would run away: a few steps give a direction.
    found = newton(plain, begin, jacobian=True, steps=STEPS).flat
    theta = found * (link.density_half / base.density_half) if np.isfinite(found).all() else begin
    shapes = itertools.product(*(STARTS[name] for name in names))
    points = [np.array(values) for values in shapes]
    return [
        np.concatenate([at, _unconstrained(target, values)])
        for at, values in [*((theta, v) for v in points), (begin, points[-1])]
    ]


def _unconstrained(target: Target, values: np.ndarray) -> np.ndarray:
    """Return values of the shape, drawn into their priors' supports, unconstrained."""
    found = []
    for prior, value in zip(target.data.shape, values, strict=True):
        low = float(getattr(prior.support, "lower_bound", 0.0))
        high = float(getattr(prior.support, "upper_bound", np.inf))
        if not low < value < high:
            value = low + 0.2 * (high - low) if np.isfinite(high) else low + 1.0
        found.append(float(biject_to(prior.support).inv(jnp.asarray(value))))
    return np.array(found)


@in_double
def spread_of(target: Target, flat: np.ndarray, *, information: str) -> Spread:
    """Return the covariance at an optimum, of coefficients and shape together.

    Parameters
    ----------
    target : Target
        With a shape to learn; with flat priors for maximum likelihood.
    flat : ndarray, shape (size,)
        The optimum.
    information : {"expected", "observed"}
    """
    hessian = hessian_at(target, flat, information=information, jacobian=False)
    names, k = target.structure.shape, len(target.places)
    first = target.size - len(names)
    values, slopes, ends = {}, {}, []
    free = [int(place) for place in target.places]
    for place, (name, prior) in enumerate(zip(names, target.data.shape, strict=True), first):
        bijection = biject_to(prior.support)
        value, slope = jax.value_and_grad(bijection)(jnp.asarray(flat[place]))
        end = abs(flat[place]) > FAR and hessian[place, place] * UNKNOWN**2 < 1
        values[name] = np.asarray(ENDS[name] if end else value, float)
        slopes[name] = 0.0 if end else float(slope)
        if end:
            ends.append(name)
        else:
            free.append(place)
    inverse = np.zeros_like(hessian)
    inverse[np.ix_(free, free)] = invert(hessian[np.ix_(free, free)])
    jacobian = np.zeros((k + len(names), target.size))
    jacobian[:k] = target.to_reported()
    for row, name in enumerate(names):
        jacobian[k + row, first + row] = slopes[name]
    cov = jacobian @ inverse @ jacobian.T
    shape = dict(values)
    for row, name in enumerate(names, k):
        error = np.sqrt(cov[row, row]) if np.isfinite(cov[row, row]) else np.nan
        shape[f"{name}_std_error"] = np.asarray(np.nan if name in ends else error)
    joint = {}
    if np.isfinite(cov).all():
        values_of, vectors = np.linalg.eigh(cov)
        root = vectors * np.sqrt(np.maximum(values_of, 0))
        joint = {"theta": root[:k]} | {name: root[row] for row, name in enumerate(names, k)}
    return Spread(cov[:k, :k], shape, joint, tuple(ends))


def _at_end(name: str) -> Finding:
    what = {
        "df": "The degrees of freedom of the link are estimated as infinite (probit): the tails of "
        "the data are no heavier than the normal distribution's.",
        "lapse": "The share of lapses is estimated as 0: the data have no sign of rows with a wrong "
        "outcome.",
    }[name]
    return Finding(
        "boundary",
        "note",
        f"{what} The standard errors are those of the model without it.",
        where=name,
        advice='fit("nuts") says how far from there it may be.',
    )

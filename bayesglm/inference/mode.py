"""The mode of a density that has one: by Newton or an optimiser of the user's choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.errors import InferenceError, SeparationError, Status, explain
from bayesglm.inference.newton import LIMIT, STILL, Optimum, least_squares, newton
from bayesglm.inference.optimize import optimize
from bayesglm.inference.shape import highest
from bayesglm.inference.starting import start

if TYPE_CHECKING:
    from bayesglm.inference.target import Target

__all__ = ["checked", "find_mode", "refuse_divergence", "runs_away"]

# Up to this many coefficients Newton checks that another optimiser's optimum exists.
CHECKED = 1_000


def find_mode(target: Target, options: Mapping[str, Any], *, jacobian: bool) -> Optimum:
    """Find the mode; closed form for least squares.

    Parameters
    ----------
    target : Target
        The model on its data.
    options : mapping
        ``optimizer`` ("newton" by default), ``init``, and those of `newton` or `optimize`.
    jacobian : bool
        Mode of the unconstrained density instead of the parameters as named.
    """
    init = options.get("init")
    optimizer = options.get("optimizer", "newton")
    gaussian = target.structure.family.has_sigma
    if target.structure.shape and target.rowwise and optimizer == "newton" and init is None:
        return highest(target, jacobian=jacobian, steps=options.get("steps") or LIMIT)
    if gaussian and target.flat_priors and optimizer == "newton":
        return least_squares(target)
    begin = start(target) if init is None else target.locate(init)
    if gaussian:
        begin[-1] = least_squares(target).flat[-1]
    if optimizer != "newton":
        names = ("steps", "learning_rate", "memory", "tolerance")
        chosen = {name: options[name] for name in names if options.get(name) is not None}
        (found,) = optimize(target, begin[None], optimizer=optimizer, jacobian=jacobian, **chosen)
        return checked(target, found, jacobian=jacobian)
    return newton(target, begin, jacobian=jacobian, steps=options.get("steps") or LIMIT)


def checked(target: Target, found: Optimum, *, jacobian: bool) -> Optimum:
    """Return an optimum with Newton's last step from it, where its existence is not sure.

    A small gradient alone does not tell an optimum from a likelihood that rises for ever.
    """
    unsure = target.some_flat and target.rowwise and target.size <= CHECKED
    if not unsure or found.status == Status.DIVERGED:
        return found
    return replace(found, moved=newton(target, found.flat, jacobian=jacobian).moved)


def refuse_divergence(target: Target, optimum: Optimum) -> None:
    """Refuse an optimum at infinity.

    Raises
    ------
    SeparationError
        If the likelihood rises for ever.
    InferenceError
        If the optimiser left the finite numbers.
    """
    if not np.isfinite(optimum.flat[target.places]).all():
        raise InferenceError(
            explain(
                "the optimiser left the finite numbers",
                steps=optimum.steps,
                advice='lower learning_rate, or use optimizer="newton"',
            )
        )
    if runs_away(target, optimum):
        reduction = "" if target.groups or target.structure.shape else 'bias_reduction="jeffreys", '
        raise SeparationError(
            explain(
                "the likelihood rises for ever, so that its maximum does not exist",
                steps=optimum.steps,
                advice=f'use {reduction}fit("map") or fit("nuts") with prior="weak"',
            )
        )


def runs_away(target: Target, optimum: Optimum) -> bool:
    """Return whether Newton's last step still went on, though the gradient had vanished.

    Where it stood still, with a positive definite Hessian, the optimum exists.
    """
    running = optimum.status in (Status.CONVERGED, Status.STEP_LIMIT, Status.DIVERGED)
    return target.some_flat and running and optimum.moved > STILL[target.precision]

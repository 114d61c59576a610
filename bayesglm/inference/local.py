"""Optima that are local: of models with networks, from several starts, by batches if asked.

The best of the starts is the answer; an ensemble keeps several as a mixture with equal shares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.errors import SpecificationError, explain
from bayesglm.inference.newton import Optimum, least_squares, newton
from bayesglm.inference.optimize import optimize
from bayesglm.inference.starting import start
from bayesglm.inference.training import Plan, train

if TYPE_CHECKING:
    from bayesglm.inference.target import Target

__all__ = ["TRAINING", "local_optima", "starts"]

# How often a network is trained by default; the best is the answer.
STARTS = 4
# The options that only training knows.
TRAINING = ("batch_size", "validation", "patience", "starts", "ensemble")
# Beyond, neither Newton's Hessian nor a covariance is computed.
LARGEST_HESSIAN = 1_000


def starts(target: Target, count: int, seed: int) -> np.ndarray:
    """Return points to start from, shape (count, size), flat coordinates.

    The linear part starts as ever; the networks' weights are drawn anew for each.
    """
    first = start(target)
    if target.structure.family.has_sigma:
        first[-1] = least_squares(target).flat[-1]
    found = np.repeat(first[None], count, axis=0)
    for predictor, part in target.networks:
        places = slice(predictor.first, predictor.first + predictor.size)
        for s in range(count):
            found[s, places] = predictor.initial(part, _seed(seed, s))
    return found


def _seed(seed: int, start: int) -> int:
    """Return 0 for the first start of seed 0 (a module's own), else a seed for each start."""
    if seed == start == 0:
        return 0
    return int(np.random.SeedSequence((seed, start)).generate_state(1)[0] % 2**31)


def local_optima(
    target: Target,
    options: Mapping[str, Any],
    *,
    seed: int,
    jacobian: bool = False,
    report: Callable[[int, int], None] | None = None,
) -> tuple[Optimum, np.ndarray | None]:
    """Find the best of several local optima, and keep an ensemble of them if asked.

    Parameters
    ----------
    target : Target
        The model on its data.
    options : mapping
        ``optimizer`` (``"adam"`` by default), ``starts``, ``ensemble``, and those of `Plan`, of
        `optimize` for ``"lbfgs"`` or of `newton`.
    seed : int
        Fixes starts, batches and held-out rows.
    jacobian : bool
        Mode of the unconstrained density instead of the parameters as named.
    report : callable, optional
        Called with the steps taken.

    Returns
    -------
    optimum : Optimum
    members : ndarray, shape (ensemble, size), or None
    """
    for name in ("starts", "ensemble"):
        if options.get(name) is not None and not target.networks:
            raise SpecificationError(
                explain(
                    f"{name} is for models with networks; a linear one has a single optimum",
                    **{name: options[name]},
                )
            )
    ensemble = options.get("ensemble") or 1
    # Vectorised starts cost little where a step takes all rows; batches are for what is large.
    several = STARTS if target.networks and options.get("batch_size") is None else 1
    count = max(options.get("starts") or several, ensemble)
    begin = starts(target, count, seed)
    init = options.get("init")
    if init is not None:
        head = len(target.places)
        begin[:, :head] = target.locate(init)[:head]
    optimizer = options.get("optimizer", "adam")
    if optimizer in ("lbfgs", "newton"):
        found = _deterministic(target, begin, options, jacobian)
    else:
        chosen = {f.name: options[f.name] for f in fields(Plan) if options.get(f.name) is not None}
        trained = train(target, begin, Plan(**chosen), jacobian=jacobian, seed=seed, report=report)
        found = [
            (
                trained.loss[s],
                Optimum(
                    trained.flat[s],
                    trained.status[s],
                    float(trained.gradient_norm[s]),
                    trained.steps,
                    trained.history[s],
                ),
            )
            for s in range(count)
        ]
    order = np.argsort([np.nan_to_num(loss, nan=np.inf) for loss, _ in found], kind="stable")
    best = found[order[0]][1]
    if ensemble == 1:
        return best, None
    return best, np.stack([found[s][1].flat for s in order[:ensemble]])


def _deterministic(
    target: Target, begin: np.ndarray, options: Mapping[str, Any], jacobian: bool
) -> list[tuple[float, Optimum]]:
    odd = [name for name in ("batch_size", "validation") if options.get(name) is not None]
    if odd:
        raise SpecificationError(
            explain(
                f"{odd[0]} is for first-order optimisers",
                optimizer=options["optimizer"],
                advice='use optimizer="adam", or another optax transformation',
            )
        )
    if options["optimizer"] == "newton":
        if target.size > LARGEST_HESSIAN:
            raise SpecificationError(
                explain(
                    "Newton's Hessian would be too large",
                    parameters=target.size,
                    advice='use optimizer="adam" or "lbfgs"',
                )
            )
        optima = [newton(target, one, jacobian=jacobian) for one in begin]
    else:
        names = ("steps", "learning_rate", "memory", "tolerance")
        chosen = {name: options[name] for name in names if options.get(name) is not None}
        optima = optimize(target, begin, optimizer="lbfgs", jacobian=jacobian, **chosen)
    return [(o.history[-1] if len(o.history) else np.inf, o) for o in optima]

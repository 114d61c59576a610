"""Data sets simulated from a model, one after the other: each is fitted, and its truth ranked.

The road is that of `Model.fit`: the same layout of the data, the same priors in numbers, the same
compiled programs, which are those of the first replication for all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bayesglm.errors import InferenceError, SpecificationError, explain, suggest
from bayesglm.implied import target_of
from bayesglm.inference.multilevel import flat_shape
from bayesglm.inference.options import check_options
from bayesglm.inference.predictive import pointwise_draws
from bayesglm.inference.run import run
from bayesglm.merging import Repeated, sliceable
from bayesglm.precision import scope
from bayesglm.requested import joint_draws

if TYPE_CHECKING:
    from bayesglm.design import Design
    from bayesglm.inference.result import Result
    from bayesglm.inference.target import Target
    from bayesglm.model import Model
    from bayesglm.spec import Spec

__all__ = ["Plan", "Replication", "copies", "names_of", "plan_of", "replicated"]

# L, and how many draws are made for each that is ranked among. Those of NUTS are dependent.
DRAWS = {"laplace": (999, 1), "svi": (999, 1), "nuts": (199, 5)}
CHAINS = 4
# Numbers of simulated outcomes held at a time.
HELD = 2**24


class Replication(NamedTuple):
    """Ranks (k,) and correlations of neighbouring draws (k,); None and why, where none was found."""

    number: int
    ranks: np.ndarray | None
    certified: bool = True
    divergences: int = 0
    correlations: np.ndarray | None = None
    why: str = ""


class Plan(NamedTuple):
    """How many data sets, L, every which draw, and the options of a fit."""

    replications: int
    draws: int
    thin: int
    options: dict[str, Any]


def plan_of(
    method: str,
    replications: Any,
    draws: Any,
    thin: Any,
    level: float,
    options: Mapping[str, Any],
) -> Plan:
    """Check the words of `simulation_based_calibration`, and say what each fit has to do.

    Raises
    ------
    SpecificationError
        For a method without draws, an unknown option, or a number that makes no sense.
    """
    if method not in DRAWS:
        raise SpecificationError(
            explain(
                f"this method has no posterior to calibrate{suggest(method, DRAWS)}",
                method=method,
                advice="use one of " + ", ".join(DRAWS),
            )
        )
    usual = DRAWS[method]
    draws = usual[0] if draws is None else draws
    thin = usual[1] if thin is None else thin
    for name, value, least in (
        ("replications", replications, 2),
        ("draws", draws, 1),
        ("thin", thin, 1),
    ):
        if not (isinstance(value, (int, np.integer)) and value >= least):
            raise SpecificationError(
                explain(f"{name} must be a whole number, {least} or more", **{name: value})
            )
    if not (isinstance(level, (int, float)) and 0 < level < 1):
        raise SpecificationError(explain("level must be a number between 0 and 1", level=level))
    if options.get("checkpoint") is not None:
        raise SpecificationError(explain("calibration keeps no checkpoint"))
    chosen = {name: value for name, value in options.items() if value is not None}
    chains = chosen.setdefault("chains", CHAINS if method == "nuts" else 1)
    check_options(method, chosen)
    chosen["draws"] = -(-draws * thin // chains)
    return Plan(int(replications), int(draws), int(thin), chosen)


def names_of(model: Model) -> list[str]:
    """Return the parameters that are ranked."""
    head = ["Intercept"] if model.design.intercept else []
    tail = ["sigma"] if model.spec.family.has_sigma else []
    for each in model.design.varying:
        tail += [f"sd_{each.name}"] if each.tied else [f"sd_{each.name}[{t}]" for t in each.terms]
    return [*head, *model.design.terms, *tail]


def _ranks_of(target: Target) -> list[str]:
    """Return the variables that are ranked, in the order of `names_of`."""
    asked = {group.name: f"sd_{group.name}" for group, _ in target.groups}
    return ["Intercept", "beta", "sigma", *asked.values()]


def copies(spec: Spec, design: Design) -> Design:
    """Return the design with a row for each copy that a weight stands for.

    The copies of a row have outcomes of their own, which one weighted row cannot have.
    """
    if spec.add:
        raise SpecificationError(
            explain(
                "networks cannot be calibrated by ranks: their weights are not identified",
                networks=len(spec.add),
                advice="leave add= out",
            )
        )
    weights = design.weights
    if np.isin(weights, (0.0, 1.0)).all():
        return design
    if spec.weights_kind == "sampling" or not (weights == np.round(weights)).all():
        raise SpecificationError(
            explain(
                "no outcome can be simulated from a likelihood raised to a weight",
                weights_kind=spec.weights_kind,
                advice="leave the weights out, or use whole numbers of copies",
            )
        )
    rows = np.repeat(np.arange(design.n), weights.astype(int))
    matrix = design.matrix
    matrix = matrix[rows] if isinstance(matrix, Repeated) else Repeated(sliceable(matrix), rows)
    return replace(
        design,
        matrix=matrix,
        weights=np.ones(len(rows)),
        frame=None,
        groups=tuple(replace(each, rows=each.rows[rows]) for each in design.groups),
        smooths=tuple(replace(each, rows=each.rows[rows]) for each in design.smooths),
        **{name: getattr(design, name)[rows] for name in ("y", "trials", "offset")},
    )


def replicated(
    model: Model, design: Design, method: str, plan: Plan, generator: np.random.Generator
) -> Iterator[Replication]:
    """Simulate, fit and rank; end (with KeyboardInterrupt) at a run that was interrupted."""
    simulator = target_of(model.spec, design, model.priors, merged=False)
    live = design.weights > 0
    batch = max(1, min(plan.replications, HELD // design.n))
    for first in range(0, plan.replications, batch):
        count = min(batch, plan.replications - first)
        drawn = joint_draws(simulator, design, batch, seed=int(generator.integers(2**31)))
        for i in range(count):
            one = replace(design, y=np.where(live, drawn["y"][i], design.y))
            # As `Model.fit` lays data out: equal rows merged, the priors as they are.
            target = target_of(model.spec, one, model.priors)
            truth = {name: values[i] for name, values in drawn.items() if name != "y"}
            seed = int(generator.integers(2**31))
            try:
                result = run(target, method, plan.options, seed=seed)
            except InferenceError as error:
                yield Replication(first + i, None, why=str(error))
                continue
            if any(finding.code == "interrupted" for finding in result.findings):
                raise KeyboardInterrupt
            yield _ranked(first + i, target, truth, result, plan)


def _ranked(
    number: int, target: Target, truth: Mapping[str, np.ndarray], result: Result, plan: Plan
) -> Replication:
    """Rank the truth among every ``thin``-th draw."""
    if result.flat_draws is None:
        raise InferenceError(explain("the method returned no draws", method=result.method))
    flat = result.flat_draws.reshape(-1, target.size)[:: plan.thin][: plan.draws]
    columns, ranked = [], _ranks_of(target)
    for name in ranked:
        if name in truth:
            values = result.draws[name]
            values = values.reshape(values.shape[0] * values.shape[1], -1)
            columns.append(values[:: plan.thin][: plan.draws])
    true = np.concatenate([np.atleast_1d(truth[n]) for n in ranked if n in truth])
    points = np.concatenate([_flat(target, truth)[None], flat])
    density = pointwise_draws(target, points).sum(axis=1)
    values = np.column_stack([*columns, density[1:]])
    stats = result.sample_stats
    return Replication(
        number,
        (values < np.append(true, density[0])).sum(axis=0),
        not result.certified or result.options["verdict"] == "holds",
        int(stats["diverging"].sum()) if "diverging" in stats else 0,
        _correlations(values),
    )


def _flat(target: Target, truth: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the flat vector of parameters as named."""
    head = [truth["Intercept"][None]] if target.intercept else []
    with scope(target.precision):
        flat = target.locate(np.concatenate([*head, truth["beta"]]))
        for group, _ in target.groups:
            sd = np.broadcast_to(truth[f"sd_{group.name}"], (group.width,))
            cor = truth.get(f"cor_{group.name}", np.eye(group.width))
            factor = sd[:, None] * np.linalg.cholesky(cor)
            flat[group.first : group.effects_at] = flat_shape(group, factor)
            z = np.linalg.solve(factor, truth[group.name].T).T
            flat[group.effects_at : group.first + group.size] = z.ravel()
    if "sigma" in truth:
        flat[-1] = np.log(truth["sigma"])
    return flat


def _correlations(values: np.ndarray) -> np.ndarray:
    """Return the correlation of each draw with the next, of each column (s, k)."""
    off = values - values.mean(axis=0)
    total = np.maximum((off**2).sum(axis=0), np.finfo(float).tiny)
    return np.asarray((off[1:] * off[:-1]).sum(axis=0) / total)

"""A fit as an ArviZ DataTree, with named coordinates.

Groups: ``posterior`` and ``sample_stats`` (or ``point_estimate``), ``observed_data``,
``constant_data``, and on request ``log_likelihood``, ``log_prior``, ``prior``,
``prior_predictive``, ``posterior_predictive``. Dimensions: ``chain``, ``draw``, ``term``, ``obs``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

    from bayesglm.design import Design
    from bayesglm.fit import Fit
    from bayesglm.inference.result import Result

__all__ = ["assemble", "attributes", "dataset", "words_of"]

# What the attributes of an approximation say besides.
CERTIFICATE = ("k_hat", "importance_ess", "verdict", "independent_draws")

# Dimensions by the name of a variable; those of groups have names made of theirs.
DIMS: dict[str, list[str]] = {"beta": ["term"], "y": ["obs"]}


def dataset(
    values: Mapping[str, np.ndarray],
    coords: Mapping[str, Any],
    *,
    sample_dims: tuple[str, ...] = ("chain", "draw"),
) -> xr.Dataset:
    """Return arrays as a Dataset: sample dimensions first, then those of the variable's name.

    Parameters
    ----------
    values : mapping of str to ndarray
        Arrays (chains, draws, ...), or without sample dimensions.
    coords : mapping
        Coordinates ``term`` and ``obs``.
    sample_dims : tuple of str
        Dimensions that come before the variable's own.
    """
    import xarray as xr

    variables, used = {}, set()
    for name, array in values.items():
        extra = np.ndim(array) - len(sample_dims)
        # A network's weights have dimensions of their own, named as ArviZ does.
        own = _own_dims(name, extra, coords)
        dims = [*sample_dims, *own]
        variables[name] = (dims, array)
        used.update(dims)
    chosen = {name: coord for name, coord in coords.items() if name in used}
    for dim in sample_dims:
        length = next(iter(values.values())).shape[sample_dims.index(dim)]
        chosen[dim] = np.arange(length)
    return xr.Dataset(variables, coords=chosen)


def _own_dims(name: str, number: int, coords: Mapping[str, Any]) -> list[str]:
    if name in DIMS:
        return DIMS[name]
    kind, _, group = name.partition("_")
    if f"{name}_spline" in coords:
        return [f"{name}_curve", f"{name}_spline"]
    if f"{group}_spline" in coords:
        return [f"{group}_curve"]
    if f"{name}_group" in coords:
        return [f"{name}_group", f"{name}_effect"]
    if name.endswith("_std_error"):
        return _own_dims(name.removesuffix("_std_error"), number, coords)
    if f"{group}_effect" in coords and kind in ("sd", "cor"):
        return [f"{group}_effect", f"{group}_effect_"][:number]
    return [f"{name}_dim_{axis}" for axis in range(number)]


def words_of(fit: Fit) -> dict[str, Any]:
    """Return what the attributes of a fit say: its model, method, options and findings."""
    return {
        "formula": fit.spec.formula,
        "family": fit.spec.family.name,
        "link": fit.spec.link.label,
        "prior": "flat" if fit.method == "mle" else fit.priors.name,
        "outcome": fit.design.outcome.name,
        "event": str(fit.design.outcome.event),
        "method": fit.method,
        "status": str(fit.status),
        "seconds": fit.seconds,
        "loglik": fit.loglik,
        "options": fit.result.options or None,
        **{name: fit.result.options.get(name) for name in CERTIFICATE},
        "errors": fit.errors or None,
        "inference_library": "bayesglm",
        "inference_library_version": version("bayesglm"),
        "findings": [str(finding) for finding in fit.findings] or None,
    }


def attributes(words: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes that netCDF can hold: text and numbers; the rest as JSON.

    Examples
    --------
    >>> attributes({"link": "logit", "steps": 3, "options": {"cov": "HC1"}})
    {'link': 'logit', 'steps': 3, 'options': '{"cov": "HC1"}'}
    """
    plain = (str, int, float, np.integer, np.floating)
    return {
        name: value
        if isinstance(value, plain) and not isinstance(value, bool)
        else json.dumps(value, default=str)
        for name, value in words.items()
        if value is not None
    }


def coordinates(design: Design) -> dict[str, Any]:
    """Return the coordinates of terms and observations."""
    # A fit saved without its columns still has the labels of its rows.
    labels = getattr(design.source, "index", None) if design.index is None else design.index
    index = np.arange(len(design.y)) if labels is None else np.asarray(labels)
    if labels is not None and index.dtype.kind not in "iu":
        # Over the labels of pandas, not of NumPy: a date is then the same text after a round trip.
        index = np.array([str(label) for label in labels], dtype=str)
    found = {"term": np.array(design.terms, dtype=str), "obs": index}
    for group in design.groups:
        effects = np.array(group.terms, dtype=str)
        found |= {f"{group.name}_group": np.array(group.labels, dtype=str)}
        found |= {f"{group.name}_effect": effects, f"{group.name}_effect_": effects}
    for smooth in design.smooths:
        found |= {f"{smooth.name}_spline": np.arange(1, smooth.size + 1)}
    return found


def assemble(
    design: Design,
    result: Result,
    *,
    words: Mapping[str, Any],
    extra: Mapping[str, xr.Dataset],
) -> xr.DataTree:
    """Put the DataTree of a fit together.

    Parameters
    ----------
    design : Design
        The data of the fit.
    result : Result
        What inference returned.
    words : mapping
        Attributes: formula, link, method, seconds, versions, ...
    extra : mapping of str to Dataset
        Groups computed on request.
    """
    import xarray as xr

    coords = coordinates(design)
    groups: dict[str, xr.Dataset] = {}
    if result.draws:
        groups["posterior"] = dataset(result.draws, coords)
        groups["sample_stats"] = dataset(result.sample_stats, coords)
    else:
        point = dict(zip(("Intercept",) * design.intercept, result.theta, strict=False))
        point["beta"] = result.theta[int(design.intercept) :]
        if result.sigma is not None:
            point["sigma"] = np.asarray(result.sigma)
        point |= result.weights | result.groups | result.shape
        estimate = dataset(point, coords, sample_dims=())
        names = [*(["Intercept"] if design.intercept else []), *design.terms]
        estimate["cov"] = (("coefficient", "coefficient_"), result.cov)
        estimate = estimate.assign_coords(coefficient=names, coefficient_=names)
        groups["point_estimate"] = estimate
    groups["observed_data"] = dataset({"y": design.y}, coords, sample_dims=())
    rows = {"trials": design.trials, "weights": design.weights, "offset": design.offset}
    groups["constant_data"] = xr.Dataset(
        {name: (["obs"], values) for name, values in rows.items()}, coords={"obs": coords["obs"]}
    )
    groups.update(extra)
    shown = attributes(words)
    tree = xr.DataTree.from_dict({f"/{name}": group for name, group in groups.items()})
    tree.attrs.update(shown)
    for group in ("posterior", "point_estimate"):
        if group in tree.children:
            tree[group].attrs.update(shown)
    return tree

"""The parts of a fit as plain JSON and arrays, and back: encoding, priors, table.

What is read is looked up in lists of what is allowed; nothing of it is executed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import numpyro.distributions as dist

from bayesglm.encoding import Column, Encoding
from bayesglm.errors import StorageError, explain

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = [
    "encoding_from_json",
    "encoding_to_json",
    "frame_from_dataset",
    "frame_to_dataset",
    "prior_from_json",
    "prior_to_json",
]

# The distributions that a file may name.
DISTRIBUTIONS = frozenset(
    [
        "Beta",
        "Cauchy",
        "Exponential",
        "Gamma",
        "Gumbel",
        "HalfCauchy",
        "HalfNormal",
        "InverseGamma",
        "Laplace",
        "LogNormal",
        "Logistic",
        "Normal",
        "SoftLaplace",
        "StudentT",
        "Uniform",
    ]
)


def encoding_to_json(encoding: Encoding) -> dict[str, Any]:
    """Return an encoding as plain data."""
    return {
        "names": encoding.names,
        "columns": {name: asdict(column) for name, column in encoding.columns.items()},
        "transforms": _tag(encoding.transforms),
        "categories": encoding.categories,
        "sparse": encoding.sparse,
    }


def encoding_from_json(told: Mapping[str, Any], right: str) -> Encoding:
    """Return the encoding described by `encoding_to_json`; ``right`` has been checked before."""
    return Encoding(
        right=right,
        names=tuple(told["names"]),
        columns={
            name: Column(**{**column, "levels": tuple(column["levels"])})
            for name, column in told["columns"].items()
        },
        transforms=_untag(told["transforms"]),
        categories=told["categories"],
        sparse=told["sparse"],
    )


def _tag(value: Any) -> Any:
    """Keep keys that are numbers, which JSON would turn into text."""
    if isinstance(value, Mapping):
        return {"pairs": [[key, _tag(entry)] for key, entry in value.items()]}
    return [_tag(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def _untag(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _untag(entry) for key, entry in value["pairs"]}
    return [_untag(entry) for entry in value] if isinstance(value, list) else value


def prior_to_json(prior: dist.Distribution | None) -> Any:
    """Return a distribution as its name and numbers; one of the user's own by its name only."""
    if prior is None:
        return None
    if isinstance(prior, dist.FoldedDistribution) and type(prior.base_dist).__name__ == "StudentT":
        return {"half": prior_to_json(prior.base_dist)}
    name = type(prior).__name__
    if name not in DISTRIBUTIONS:
        return {"own": name}
    return {
        "class": name,
        "parameters": {key: float(getattr(prior, key)) for key in type(prior).arg_constraints},
    }


def prior_from_json(value: Any, term: str, custom: Mapping[str, Any]) -> Any:
    """Return the distribution of a term; one of the user's own is taken from ``custom``."""
    if value is None:
        return None
    if "half" in value:
        return dist.FoldedDistribution(prior_from_json(value["half"], term, custom))
    if "own" in value:
        if term not in custom:
            raise StorageError(
                explain(
                    f"the fit has a prior of its own for {term!r}, {value['own']}",
                    advice=f"hand it over: load(path, custom={{{term!r}: distribution}})",
                )
            )
        return custom[term]
    if value["class"] not in DISTRIBUTIONS:
        raise StorageError(explain("the file names an unknown distribution", name=value["class"]))
    numbers = {str(key): float(number) for key, number in value["parameters"].items()}
    return getattr(dist, value["class"])(**numbers)


def frame_to_dataset(frame: pd.DataFrame) -> xr.Dataset:
    """Return columns as arrays: numbers as they are, everything else as codes and levels."""
    import pandas as pd
    import xarray as xr

    variables, kinds = {}, []
    columns = [*((str(name), frame[name]) for name in frame.columns), ("", frame.index.to_series())]
    for number, (name, values) in enumerate(columns):
        kind: dict[str, Any] = {"name": name}
        if pd.api.types.is_numeric_dtype(values.dtype):
            array = values.to_numpy()
        else:
            codes, levels = pd.factorize(values)
            array = codes
            kind["levels"] = [
                level if isinstance(level, (str, int, float, bool)) else str(level)
                for level in levels
            ]
            if isinstance(values.dtype, pd.CategoricalDtype):
                kind["order"] = [str(level) for level in values.cat.categories]
        variables[f"c{number}"] = (["row"], np.asarray(array))
        kinds.append(kind)
    return xr.Dataset(variables, attrs={"columns": json.dumps(kinds)})


def frame_from_dataset(stored: xr.Dataset) -> pd.DataFrame:
    """Return the table that `frame_to_dataset` stored."""
    import pandas as pd

    columns, index = {}, None
    for number, kind in enumerate(json.loads(stored.attrs["columns"])):
        values: Any = stored[f"c{number}"].to_numpy()
        if "levels" in kind:
            levels = np.empty(len(kind["levels"]), dtype=object)
            levels[:] = kind["levels"]
            texts = [str(level) for level in kind["levels"]]
            order = [levels[texts.index(t)] for t in kind.get("order", ()) if t in texts]
            values = pd.Series(levels[values])
            if "order" in kind:
                values = pd.Categorical(values, categories=order)
        if kind["name"]:
            columns[kind["name"]] = values
        else:
            index = pd.Index(values)
    frame = pd.DataFrame(columns, index=range(len(index)) if index is not None else None)
    return frame.set_index(index) if index is not None else frame

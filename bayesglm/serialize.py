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
from bayesglm.networks import Network

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from bayesglm.group_priors import GroupPrior
    from bayesglm.grouping import Grouping
    from bayesglm.inputs import Inputs
    from bayesglm.smoothing import Smooth

__all__ = [
    "encoding_from_json",
    "encoding_to_json",
    "frame_from_dataset",
    "frame_to_dataset",
    "group_prior_to_json",
    "grouping_to_json",
    "level_from_json",
    "level_to_json",
    "network_from_json",
    "network_to_json",
    "prior_from_json",
    "prior_to_json",
    "smooth_to_json",
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
        "columns": {
            name: asdict(column) | {"levels": [level_to_json(level) for level in column.levels]}
            for name, column in encoding.columns.items()
        },
        "transforms": _tag(encoding.transforms),
        "categories": {
            name: [level_to_json(level) for level in levels]
            for name, levels in encoding.categories.items()
        },
        "sparse": encoding.sparse,
        "left_out": encoding.left_out,
    }


def encoding_from_json(told: Mapping[str, Any], right: str) -> Encoding:
    """Return the encoding described by `encoding_to_json`; ``right`` has been checked before."""
    return Encoding(
        right=right,
        names=tuple(told["names"]),
        columns={
            name: Column(**{**column, "levels": tuple(map(level_from_json, column["levels"]))})
            for name, column in told["columns"].items()
        },
        transforms=_untag(told["transforms"]),
        categories={
            name: [level_from_json(level) for level in levels]
            for name, levels in told["categories"].items()
        },
        sparse=told["sparse"],
        left_out=tuple(told.get("left_out", ())),
    )


def level_to_json(level: Any) -> Any:
    """Return a level of a factor, or a label of an index, as plain data.

    Raises
    ------
    StorageError
        For a level that is no number, text, truth value, date or interval.
    """
    import pandas as pd

    if isinstance(level, np.generic):
        level = level.item()
    if isinstance(level, pd.Interval):
        ends = [level_to_json(level.left), level_to_json(level.right)]
        return {"interval": [*ends, level.closed]}
    if isinstance(level, pd.Timestamp):
        return {"time": level.isoformat()}
    if isinstance(level, (str, int, float, bool)):
        return level
    raise StorageError(
        explain(
            "a file cannot keep a level of this kind",
            level=str(level),
            type=type(level).__name__,
            advice="turn the column into text first",
        )
    )


def level_from_json(value: Any) -> Any:
    """Return the level that `level_to_json` described."""
    import pandas as pd

    if not isinstance(value, dict):
        return value
    if "time" in value:
        return pd.Timestamp(value["time"])
    left, right, closed = value["interval"]
    return pd.Interval(level_from_json(left), level_from_json(right), closed)


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
    if isinstance(prior, dist.FoldedDistribution) and type(prior.base_dist) is dist.StudentT:
        return {"half": prior_to_json(prior.base_dist)}
    name = type(prior).__name__
    # A class of the user's own may bear the same name.
    if name not in DISTRIBUTIONS or type(prior) is not getattr(dist, name):
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
        if not isinstance(custom.get(term), dist.Distribution):
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

    columns = [(str(name), frame[name]) for name in frame.columns]
    stored = [_column_to_json(name, values, strict=True) for name, values in columns]
    index = frame.index
    # The labels of an index are only shown: what is no level (a tuple, a missing one) is text.
    label = (
        index
        if isinstance(index, pd.CategoricalIndex)
        else pd.Index(list(index), tupleize_cols=False)
    )
    name = index.name if isinstance(index.name, str) else None
    stored.append(_column_to_json(name, pd.Series(label), strict=False))
    return xr.Dataset(
        {f"c{number}": (["row"], values) for number, (_, values) in enumerate(stored)},
        attrs={"columns": json.dumps([kind for kind, _ in stored])},
    )


def _column_to_json(
    name: str | None, values: pd.Series, *, strict: bool
) -> tuple[dict[str, Any], np.ndarray]:
    """Return what a column is, and its numbers or codes."""
    import pandas as pd

    kind: dict[str, Any] = {"name": name}
    if pd.api.types.is_numeric_dtype(values.dtype):
        return kind, values.to_numpy()
    if isinstance(values.dtype, pd.CategoricalDtype):
        kind["ordered"] = bool(values.cat.ordered)
        codes, levels = values.cat.codes.to_numpy(), values.cat.categories
    else:
        codes, levels = pd.factorize(values)
    try:
        kind["levels"] = [level_to_json(level) for level in levels]
    except StorageError:
        if strict:
            raise
        kind["levels"] = [str(level) for level in levels]
    return kind, np.asarray(codes)


def frame_from_dataset(stored: xr.Dataset) -> pd.DataFrame:
    """Return the table that `frame_to_dataset` stored."""
    import pandas as pd

    *kinds, label = json.loads(stored.attrs["columns"])
    columns = {
        kind["name"]: _column_from_json(kind, stored[f"c{number}"].to_numpy())
        for number, kind in enumerate(kinds)
    }
    index = _column_from_json(label, stored[f"c{len(kinds)}"].to_numpy())
    return pd.DataFrame(
        {name: pd.Series(values).set_axis(index) for name, values in columns.items()},
        index=pd.Index(index, name=label["name"]),
    )


def _column_from_json(kind: dict[str, Any], values: np.ndarray) -> Any:
    import pandas as pd

    if "levels" not in kind:
        return values
    levels = [level_from_json(level) for level in kind["levels"]]
    if "ordered" in kind:
        dtype = pd.CategoricalDtype(levels, ordered=bool(kind["ordered"]))
        return pd.Categorical.from_codes(values.astype(np.int64), dtype=dtype)
    # A missing label has code -1.
    return pd.Index([*levels, None])[values] if (values < 0).any() else pd.Index(levels)[values]


def grouping_to_json(grouping: Grouping) -> dict[str, Any]:
    """Return a grouping factor without its rows."""
    return {
        "factor": list(grouping.groups.factor),
        "effects": [
            {
                # As it was read: "." may mean other columns later.
                "right": each.formula.right,
                "correlated": each.correlated,
                "encoding": None if each.encoding is None else encoding_to_json(each.encoding),
            }
            for each in grouping.groups.effects
        ],
        "levels": [[level_to_json(value) for value in level] for level in grouping.levels],
        "scale": [float(number) for number in grouping.scale],
    }


def smooth_to_json(smooth: Smooth) -> dict[str, Any]:
    """Return a smooth term without its rows."""
    return {
        "variable": smooth.variable,
        "encoding": encoding_to_json(smooth.encoding),
        "basis": smooth.basis.tolist(),
        "line": smooth.line.tolist(),
    }


def group_prior_to_json(prior: GroupPrior) -> dict[str, Any]:
    """Return the priors of how groups vary."""
    return {
        "sd": [prior_to_json(each) for each in prior.sd],
        "concentration": float(prior.concentration),
    }


def network_to_json(network: Network, inputs: Inputs) -> dict[str, Any]:
    """Return a network's words and the encoding of its inputs; its own module by its name only."""
    return {
        "name": network.name,
        "formula": network.formula,
        "hidden": [int(width) for width in network.hidden],
        "activation": network.activation,
        "own_module": network.module is not None,
        "prior": {"own": "function"}
        if network.prior is not None and not isinstance(network.prior, dist.Distribution)
        else prior_to_json(network.prior),
        "orthogonal": network.orthogonal,
        # As it was read: "." may mean other columns later.
        "right": inputs.formula.right,
        "encoding": encoding_to_json(inputs.encoding),
        "center": [float(number) for number in inputs.center],
        "scale": [float(number) for number in inputs.scale],
        "shared": list(inputs.shared),
    }


def network_from_json(told: Mapping[str, Any], custom: Mapping[str, Any]) -> Network:
    """Return the network of `network_to_json`; what is the user's own is taken from ``custom``."""
    name, own = told["name"], f"{told['name']}.prior"
    if told["own_module"] and name not in custom:
        raise StorageError(
            explain(
                f"the fit has a network with a module of its own, {name!r}",
                advice=f"hand it over: load(path, custom={{{name!r}: module}})",
            )
        )
    prior = told["prior"]
    if prior == {"own": "function"}:
        if not callable(custom.get(own)):
            raise StorageError(
                explain(
                    f"the network {name!r} has a function for its priors",
                    advice=f"hand it over: load(path, custom={{{own!r}: function}})",
                )
            )
        prior = custom[own]
    else:
        prior = prior_from_json(prior, own, custom)
    return Network(
        told["formula"],
        hidden=tuple(told["hidden"]),
        activation=told["activation"],
        module=custom[name] if told["own_module"] else None,
        prior=prior,
        orthogonal=bool(told["orthogonal"]),
        name=name,
    )

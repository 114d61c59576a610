"""A fit in one netCDF file: its DataTree, and what is needed to predict again, as JSON and arrays.

No pickle, and nothing from a file is executed: formulas pass the same allow-list as any other,
distributions are looked up among those of NumPyro, links and functions of the user's own are named
in the file and must be handed to `read`. A file is written whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.design import Design, encode
from bayesglm.errors import BayesGLMError, Finding, Status, StorageError, explain
from bayesglm.files import replacing
from bayesglm.formulas import split
from bayesglm.implied import with_data
from bayesglm.inference.result import Result
from bayesglm.inputs import Inputs, split_inputs
from bayesglm.links import Link, get_link
from bayesglm.merging import Repeated
from bayesglm.outcome import Outcome
from bayesglm.priors import ColumnFacts, Priors
from bayesglm.regrouping import group_priors, with_groups, with_smooths
from bayesglm.serialize import (
    encoding_from_json,
    encoding_to_json,
    frame_from_dataset,
    frame_to_dataset,
    group_prior_to_json,
    grouping_to_json,
    network_from_json,
    network_to_json,
    prior_from_json,
    prior_to_json,
    smooth_to_json,
)
from bayesglm.spec import Spec
from bayesglm.streaming.streamed import StreamedDesign, Totals

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["FIELDS", "read", "write"]

FORMAT = 1
FIELDS = ("spec", "design", "priors", "result", "seconds", "errors")
OWN = ("bayesglm_arrays", "bayesglm_frame")
STANDARD = ("posterior", "sample_stats", "point_estimate", "observed_data", "constant_data")
SPARSE = ("data", "indices", "indptr")
# What the libraries below raise at a damaged file, and Python at words that are not there.
DAMAGE = (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, MemoryError)
# The arrays of a result, and those that may be absent.
ARRAYS = ("theta", "flat", "cov", "history", "flat_draws", "members")


def write(path: Any, fields: Mapping[str, Any], tree: xr.DataTree, *, data: bool) -> None:
    """Write the fields of a fit and its DataTree.

    Parameters
    ----------
    path : str or Path
    fields : mapping
        The fields named in ``FIELDS``.
    tree : DataTree
        The fit's ``data``.
    data : bool
        Keep the columns of the data.

    Raises
    ------
    StorageError
        If the file cannot be written.
    """
    import xarray as xr

    path = Path(path)
    design: Design = fields["design"]
    if design.inputs and not data:
        raise StorageError(
            explain(
                "a fit with networks is saved with its data: predictions need the projection of "
                "the training rows",
                data=data,
            )
        )
    groups = {f"/{name}": group.to_dataset() for name, group in tree.children.items()}
    groups["/bayesglm_arrays"] = _arrays(fields["result"], fields["priors"], design, data=data)
    if data and design.frame is not None:
        groups["/bayesglm_frame"] = frame_to_dataset(_columns(design, fields["errors"]))
    whole = xr.DataTree.from_dict(groups)
    whole.attrs.update(tree.attrs)
    whole.attrs["bayesglm_format"] = FORMAT
    whole.attrs["bayesglm"] = json.dumps(_describe(fields, data=data))
    try:
        with replacing(path) as part:
            whole.to_netcdf(part, engine="h5netcdf")
    except OSError as error:
        raise StorageError(
            explain(f"the fit cannot be saved: {error.strerror or error}", path=str(path))
        ) from error


def _columns(design: Design, errors: Mapping[str, Any]) -> pd.DataFrame:
    """Return the columns of formula, weights and offset, and the clusters of the errors."""
    frame: pd.DataFrame = design.frame
    cluster = errors.get("cluster")
    if cluster is None or cluster in frame.columns:
        return frame
    return frame.assign(**{cluster: design.cluster(cluster)})


def _arrays(result: Result, priors: Priors, design: Design, *, data: bool) -> xr.Dataset:
    import scipy.sparse as sp
    import xarray as xr

    found = {name: getattr(result, name) for name in ARRAYS}
    found |= {"center": priors.center, "copies": design.copies}
    found |= {f"joint_{name}": values for name, values in result.joint.items()}
    found |= {f"group_{name}": values for name, values in result.groups.items()}
    found |= {f"shape_{name}": values for name, values in result.shape.items()}
    if result.profile:
        found["profile_levels"] = np.array(list(result.profile))
        found["profile"] = np.stack(list(result.profile.values()))
    if data and design.encoding is None:
        matrix = design.matrix
        if isinstance(matrix, Repeated):
            found |= {"matrix": matrix.values, "matrix_rows": matrix.rows}
        elif sp.issparse(matrix):
            found |= {f"matrix_{part}": getattr(matrix, part) for part in SPARSE}
        else:
            found["matrix"] = matrix
    return xr.Dataset(
        {
            name: ([f"{name}_{axis}" for axis in range(np.ndim(value))], value)
            for name, value in found.items()
            if value is not None
        }
    )


def _describe(fields: Mapping[str, Any], *, data: bool) -> dict[str, Any]:
    """Return everything that is not an array, as plain JSON data."""
    spec: Spec = fields["spec"]
    design: Design = fields["design"]
    priors: Priors = fields["priors"]
    result: Result = fields["result"]
    words = {
        name: getattr(spec, name)
        for name in ("formula", "trials", "weights", "offset", "weights_kind", "missing", "center",
                     "precision")
    }  # fmt: skip
    event = spec.event.item() if isinstance(spec.event, np.generic) else spec.event
    own = spec.prior if isinstance(spec.prior, str) else None
    return {
        "spec": words
        | {
            "family": spec.family.name,
            "link": spec.plain_link.label,
            "lapse": "lapse" in spec.shape,
            "own_link": not spec.link.builtin,
            "event": event if isinstance(event, (str, int, float, bool, type(None))) else str(event),
            "prior": own,
        },
        "design": {
            "intercept": design.intercept,
            "terms": design.terms,
            "given": design.given,
            "aggregated": design.aggregated,
            "columns": [asdict(column) for column in design.columns],
            "outcome": asdict(design.outcome),
            "encoding": None if design.encoding is None else encoding_to_json(design.encoding),
            "offset_column": design.offset_column,
            "context": sorted(design.context or {}),
            "findings": [asdict(finding) for finding in design.findings],
            "data": data,
            "streamed": asdict(design.totals) if isinstance(design, StreamedDesign) else None,
            "frame": None if design.frame is None else [str(name) for name in design.frame.columns],
        },
        "add": [
            network_to_json(network, inputs)
            for network, inputs in zip(spec.add, design.inputs, strict=True)
        ],
        "groups": [grouping_to_json(each) for each in design.groups],
        "smooths": [smooth_to_json(each) for each in design.smooths],
        "priors": {
            "groups": [group_prior_to_json(each) for each in priors.groups],
            "name": priors.name,
            "intercept": prior_to_json(priors.intercept),
            "beta": [prior_to_json(prior) for prior in priors.beta],
            "sigma": prior_to_json(priors.sigma),
            "shape": [(name, prior_to_json(prior)) for name, prior in priors.shape],
            "offset_center": priors.offset_center,
        },
        "result": {
            name: getattr(result, name)
            for name in ("method", "loglik", "loss", "log_posterior", "gradient_norm", "steps",
                         "sigma", "options")
        }
        | {
            "status": str(result.status),
            "findings": [asdict(finding) for finding in result.findings],
        },
        "seconds": fields["seconds"],
        "errors": fields["errors"],
    }  # fmt: skip


def read(path: Any, custom: Mapping[str, Any]) -> dict[str, Any]:
    """Read what `write` wrote; return the fields of a fit.

    Raises
    ------
    StorageError
        If the file is missing, damaged, foreign or newer, or needs something in ``custom``.
    """
    import xarray as xr

    path = Path(path)
    if not path.is_file():
        raise StorageError(explain("no such file", path=str(path)))
    try:
        with xr.open_datatree(path, engine="h5netcdf") as opened:
            if "bayesglm_format" not in opened.attrs:
                raise StorageError(explain("the file holds no fit of bayesglm", path=str(path)))
            if int(opened.attrs["bayesglm_format"]) > FORMAT:
                raise StorageError(
                    explain("the file is from a newer version of bayesglm", path=str(path),
                            advice="upgrade bayesglm")
                )  # fmt: skip
            tree = opened.load()
        return _fields(tree, json.loads(tree.attrs["bayesglm"]), custom)
    except StorageError:
        raise
    except BayesGLMError as error:
        raise StorageError(explain(f"the file cannot be used: {error}", path=str(path))) from error
    except DAMAGE as error:
        told = str(error).partition("\n")[0]
        raise StorageError(
            explain(
                f"the file is damaged or foreign: {type(error).__name__}: {told}", path=str(path)
            )
        ) from error


def _fields(tree: xr.DataTree, told: dict[str, Any], custom: Mapping[str, Any]) -> dict[str, Any]:
    arrays = tree["bayesglm_arrays"].to_dataset()
    spec = _spec(told["spec"], told["priors"], custom)
    spec = replace(spec, add=tuple(network_from_json(each, custom) for each in told.get("add", [])))
    design = _design(tree, told["design"], spec, arrays, custom)
    design = replace(design, inputs=tuple(_inputs(each, design) for each in told.get("add", [])))
    design = with_groups(design, spec, told.get("groups", []))
    design = with_smooths(design, told.get("smooths", []))
    words = told["priors"]
    priors = Priors(
        name=words["name"],
        terms=design.terms,
        has_intercept=design.intercept,
        intercept=prior_from_json(words["intercept"], "Intercept", custom),
        beta=tuple(
            prior_from_json(value, term, custom)
            for term, value in zip(design.terms, words["beta"], strict=True)
        ),
        sigma=prior_from_json(words["sigma"], "sigma", custom),
        center=arrays["center"].to_numpy(),
        offset_center=words["offset_center"],
        link=spec.link,
        gaussian=spec.family.has_sigma,
        shape=tuple(
            (name, prior_from_json(value, name, custom)) for name, value in words.get("shape", [])
        ),
        groups=group_priors(design, words.get("groups", []), custom),
    )
    if design.matrix is not None:
        priors = with_data(priors, spec, design)
    extra = {
        name: group.to_dataset()
        for name, group in tree.children.items()
        if name not in (*STANDARD, *OWN)
    }
    result = _result(tree, told["result"], arrays)
    size = int(design.intercept) + len(design.terms)
    shapes = {limits.shape for limits in result.profile.values()} - {(size, 2)}
    if result.theta.shape != (size,) or result.cov.shape != (size, size) or shapes:
        raise StorageError(
            explain("the file is damaged: estimates and terms differ in number", terms=design.terms)
        )
    return {
        "spec": spec,
        "design": design,
        "priors": priors,
        "result": result,
        "seconds": told["seconds"],
        "errors": told["errors"],
        "extra": extra,
    }


def _spec(words: dict[str, Any], priors: dict[str, Any], custom: Mapping[str, Any]) -> Spec:
    link: str | Link = words.pop("link")
    own, prior = words.pop("own_link"), words.pop("prior")
    if own:
        if not isinstance(custom.get(str(link)), Link):
            raise StorageError(
                explain(
                    f"the fit has a link of its own, {link!r}",
                    advice=f"hand it over: load(path, custom={{{link!r}: link}})",
                )
            )
        link = custom[str(link)]
    spec = Spec.make(words.pop("formula"), family=words.pop("family"), link=get_link(link), **words)
    return replace(spec, prior=prior if prior is not None else priors["name"])


def _design(
    tree: xr.DataTree,
    words: dict[str, Any],
    spec: Spec,
    arrays: xr.Dataset,
    custom: Mapping[str, Any],
) -> Design:
    context = {}
    for name in words["context"]:
        if not callable(custom.get(name)):
            raise StorageError(
                explain(
                    f"the formula calls a function of its own, {name!r}",
                    advice=f"hand it over: load(path, custom={{{name!r}: function}})",
                )
            )
        context[name] = custom[name]
    import pandas as pd

    # Without the columns the labels of the rows remain.
    source, frame = pd.DataFrame(index=pd.Index(tree["constant_data"]["obs"].to_numpy())), None
    if "bayesglm_frame" in tree.children:
        source = frame_from_dataset(tree["bayesglm_frame"].to_dataset())
        frame = source[words["frame"]]
    formula, encoding, matrix = None, None, None
    if words["encoding"] is not None and spec.formula is not None:
        told = words["encoding"]
        known = [] if frame is None else [str(name) for name in frame.columns]
        taken = {name for name in (spec.trials, spec.weights, spec.offset) if name is not None}
        if frame is None:
            known = list(told["columns"])
        # The formula of the file passes the allow-list here, before anything is made of it.
        formula = split(spec.formula, known, context=context, taken=taken)
        encoding = encoding_from_json(told, formula.right)
        if frame is not None and spec.add:
            matrix = encoding.apply(frame, context)
        elif frame is not None:
            matrix = encode(encoding, formula, frame, context)
    elif "matrix_rows" in arrays:
        matrix = Repeated(arrays["matrix"].to_numpy(), arrays["matrix_rows"].to_numpy())
        if not matrix.sound:
            raise StorageError(explain("the file is damaged: rows of the matrix are not there"))
    elif "matrix" in arrays:
        matrix = arrays["matrix"].to_numpy()
    rows = tree["constant_data"]
    if "matrix_data" in arrays:
        import scipy.sparse as sp

        parts = tuple(arrays[f"matrix_{part}"].to_numpy() for part in SPARSE)
        matrix = sp.csc_array(parts, shape=(len(rows["offset"]), len(words["terms"])))
        # Products of sparse matrices trust the indices: a wrong one reads memory of others.
        matrix.check_format(full_check=True)
    if matrix is not None and matrix.shape != (len(rows["offset"]), len(words["terms"])):
        raise StorageError(
            explain("the file is damaged: the matrix has another shape", shape=matrix.shape)
        )
    fields: dict[str, Any] = dict(  # noqa: C408  (as keywords of the class)
        matrix=matrix,
        intercept=words["intercept"],
        terms=tuple(words["terms"]),
        given=tuple(words.get("given", ())),
        y=tree["observed_data"]["y"].to_numpy(),
        trials=rows["trials"].to_numpy(),
        weights=rows["weights"].to_numpy(),
        offset=rows["offset"].to_numpy(),
        aggregated=words["aggregated"],
        columns=tuple(
            ColumnFacts(**{**column, "variables": tuple(column["variables"])})
            for column in words["columns"]
        ),
        outcome=Outcome(**words["outcome"]),
        encoding=encoding,
        formula=formula,
        offset_column=words["offset_column"],
        frame=frame,
        source=source,
        context=context,
        findings=tuple(Finding(**finding) for finding in words["findings"]),
        copies=arrays["copies"].to_numpy() if "copies" in arrays else None,
    )
    if words.get("streamed") is None:
        return Design(**fields)
    return StreamedDesign(**fields, spec=spec, totals=Totals(**words["streamed"]))


def _inputs(told: dict[str, Any], design: Design) -> Inputs:
    """Return the inputs of a network; its formula passes the allow-list here."""
    if design.formula is None or design.frame is None:
        raise StorageError(explain("the file is damaged: a network has no columns"))
    known, context = [str(name) for name in design.frame.columns], design.context or {}
    formula = split_inputs(f"~ {told['right']}", design.formula, known, context, set())
    encoding = encoding_from_json(told["encoding"], formula.right)
    bare = Inputs(
        name=told["name"],
        formula=formula,
        encoding=encoding,
        center=np.array(told["center"], float),
        scale=np.array(told["scale"], float),
        matrix=np.empty((0, 0)),
        shared=tuple(map(int, told["shared"])),
    )
    return replace(bare, matrix=bare.apply(design.frame, context))


def _result(tree: xr.DataTree, words: dict[str, Any], arrays: xr.Dataset) -> Result:
    found: dict[str, Any] = {name: arrays[name].to_numpy() for name in ARRAYS if name in arrays}
    for word, name in (("joint", "joint"), ("group", "groups"), ("shape", "shape")):
        held = [str(n) for n in arrays if str(n).startswith(f"{word}_")]
        found[name] = {n.removeprefix(f"{word}_"): arrays[n].to_numpy() for n in held}
    if "profile" in arrays:
        levels = arrays["profile_levels"].to_numpy().tolist()
        found["profile"] = dict(zip(levels, arrays["profile"].to_numpy(), strict=True))
    found |= words
    found["status"] = Status(words["status"])
    found["findings"] = tuple(Finding(**finding) for finding in words["findings"])
    for group, name in (("posterior", "draws"), ("sample_stats", "sample_stats")):
        if group in tree.children:
            found[name] = {str(n): v.to_numpy() for n, v in tree[group].data_vars.items()}
    if "point_estimate" in tree.children:
        point = tree["point_estimate"].data_vars
        found["weights"] = {str(n): v.to_numpy() for n, v in point.items() if "." in str(n)}
    return Result(**found)

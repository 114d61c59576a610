"""A design from a matrix of predictors and an outcome, without a formula."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bayesglm import frames
from bayesglm.columns import facts
from bayesglm.design import Design
from bayesglm.errors import DataError, SpecificationError, explain
from bayesglm.merging import Repeated, repeats_of_matrix
from bayesglm.outcome import respond
from bayesglm.rows import (
    aligned,
    column,
    far_columns,
    odd_outcomes,
    refuse_infinite,
    refuse_numbers,
    row_weights,
)
from bayesglm.spec import Spec

__all__ = ["build_arrays"]


def build_arrays(
    X: Any,
    y: Any,
    *,
    names: Sequence[str] | None = None,
    intercept: bool = True,
    spec: Spec,
    trials: Any = None,
    weights: Any = None,
    offset: Any = None,
) -> Design:
    """Make a design from arrays; see `Model.from_arrays`."""
    import pandas as pd
    import scipy.sparse as sp

    sparse = sp.issparse(X)
    if frames.has_names(X):
        X = frames.select(X, frames.column_names(X))
        names = list(X.columns) if names is None else names
    try:
        if np.iscomplexobj(X):
            raise TypeError("they are complex")
        matrix = sp.csc_array(X, dtype=float) if sparse else np.asarray(X, dtype=float)
    except (TypeError, ValueError) as error:
        raise DataError(explain(f"X must hold numbers: {error}")) from error
    if matrix.ndim != 2:
        raise DataError(explain("X must have two dimensions", shape=matrix.shape))
    n, p = matrix.shape
    terms = (
        tuple(str(name) for name in names)
        if names is not None
        else tuple(f"x{j + 1}" for j in range(p))
    )
    if len(terms) != p or len(set(terms)) != p or "Intercept" in terms:
        raise DataError(
            explain(f"names must be {p} different words, none of them Intercept", names=terms)
        )
    if not n:
        raise DataError(explain("the data have no rows"))
    if spec.missing == "drop":
        raise SpecificationError(
            explain('missing="drop" is for tables', advice="drop the rows of the arrays yourself")
        )
    if not p and not intercept:
        raise DataError(explain("the model has no coefficients", shape=matrix.shape))
    given = {"y": y, "__trials": trials, "__weights": weights, "__offset": offset}
    # An array has no index: the rows are those of the first Series of their length, if there is one.
    labelled = (
        v.index
        for v in (X, *given.values())
        if isinstance(v, (pd.DataFrame, pd.Series)) and len(v) == n
    )
    frame = pd.DataFrame(index=next(labelled, pd.RangeIndex(n)))
    for name, values in given.items():
        if values is not None:
            frame = frame.assign(**{name: aligned(values, frame, name)})
    refuse_infinite(matrix, terms)
    frames.refuse_missing(frame, advice="drop these rows first")
    spec = replace(
        spec,
        trials=None if trials is None else "__trials",
        weights=None if weights is None else "__weights",
        offset=None if offset is None else "__offset",
    )
    w, findings = row_weights(frame, spec)
    counts = None if trials is None else column(frame, "__trials")
    events, counted, outcome = respond("y", "y", frame[["y"]], spec, counts)
    refuse_numbers(spec, outcome.name, events[w > 0], w[w > 0], counted[w > 0])
    words = {name: ((name,), False) for name in terms}
    live, mass = w > 0, w * counted
    found = repeats_of_matrix(matrix)
    if found is None:
        columns = facts(matrix, terms, mass, live, words)
    else:
        copies = found.sums(live)
        distinct = matrix[found.first]
        columns = facts(distinct, terms, found.sums(mass), copies > 0, words, copies)
        matrix = Repeated(distinct, found.rows)
    return Design(
        matrix=matrix,
        intercept=intercept,
        terms=terms,
        y=events,
        trials=counted,
        weights=w,
        offset=np.zeros(n) if offset is None else column(frame, "__offset"),
        aggregated=trials is not None,
        columns=columns,
        outcome=outcome,
        offset_column=spec.offset,
        frame=frame,
        findings=(*findings, *far_columns(columns), *odd_outcomes(events, counted, w, spec)),
    )

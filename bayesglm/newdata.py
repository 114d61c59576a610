"""New data, encoded as the training data were."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm import frames
from bayesglm.errors import DataError, Finding, explain
from bayesglm.merging import sliceable
from bayesglm.rows import RESERVED, column, evaluated, refuse_infinite

if TYPE_CHECKING:
    from bayesglm.design import Design
    from bayesglm.grouping import GroupRows, NewGroups

__all__ = ["NewRows", "encode"]


@dataclass(frozen=True)
class NewRows:
    """New data, encoded as the training data were.

    Attributes
    ----------
    matrix : ndarray or scipy.sparse.csc_array, shape (n, p)
    offset : ndarray, shape (n,)
    index : pandas Index or None
    findings : tuple of Finding
    inputs : tuple of ndarray, shape (n, q)
        Of the predictors beside the linear part, standardised as in training.
    groups : mapping of str to GroupRows
        By factor, those that were asked for.
    """

    matrix: Any
    offset: np.ndarray
    index: Any
    findings: tuple[Finding, ...] = ()
    inputs: tuple[np.ndarray, ...] = ()
    groups: Mapping[str, GroupRows] = field(default_factory=dict)

    def __getitem__(self, part: slice) -> NewRows:
        return NewRows(
            sliceable(self.matrix)[part],
            self.offset[part],
            None if self.index is None else self.index[part],
            self.findings,
            tuple(values[part] for values in self.inputs),
            {name: rows[part] for name, rows in self.groups.items()},
        )

    @property
    def n(self) -> int:
        """Rows."""
        return len(self.offset)


def encode(
    design: Design,
    newdata: Any,
    groups: Collection[str] | None = None,
    new: NewGroups | None = None,
) -> NewRows:
    """Encode new data with what was learned in training.

    Parameters
    ----------
    design : Design
        The training data.
    newdata : DataFrame, dict or array
        The columns of the right side (an array for a model of arrays); scalars of a dict are
        repeated.
    groups : collection of str, optional
        Factors with group-level effects whose columns are needed; all if absent.
    new : NewGroups, optional
        What new groups get; an error if absent.

    Raises
    ------
    DataError
        For a missing column or value, an unseen level, a value beyond the knots of ``bs``.
    """
    if design.encoding is None or design.formula is None:
        return _encode_arrays(design, newdata)
    wanted = list(design.formula.right_columns)
    for inputs in design.inputs:
        wanted += [name for name in inputs.formula.right_columns if name not in wanted]
    # A smooth term belongs to the population.
    asked = [e for e in design.varying if e.tied or groups is None or e.name in groups]
    for each in asked:
        wanted += [name for name in each.columns if name not in wanted]
    if design.offset_column is not None:
        if design.offset_column.startswith(RESERVED):
            raise DataError(
                explain(
                    "the model was given its offset as an array, so it cannot predict for new data",
                    advice="put the offset into a column",
                )
            )
        wanted.append(design.offset_column)
    frame = frames.select(newdata, wanted) if wanted else frames.bare(newdata)
    frames.refuse_missing(frame, advice="drop or fill these rows of the new data")
    matrix = design.encoding.apply(frame, design.context)
    refuse_infinite(matrix, design.terms)
    offset = np.zeros(len(frame))
    if design.offset_column is not None:
        offset += column(frame, design.offset_column)
    for expression in design.formula.offsets:
        offset += evaluated(expression, design.formula, frame)
    if not np.isfinite(offset).all():
        raise DataError(explain("the offset of the new data has missing or infinite values"))
    found = design.encoding.extrapolations(frame)
    added = tuple(inputs.apply(frame, design.context) for inputs in design.inputs)
    for inputs, values in zip(design.inputs, added, strict=True):
        refuse_infinite(values, inputs.terms)
    rows = {each.name: each.apply(frame, design.context, new) for each in asked}
    return NewRows(matrix, offset, frame.index, found, added, rows)


def _encode_arrays(design: Design, newdata: Any) -> NewRows:
    import scipy.sparse as sp

    if design.offset_column is not None:
        raise DataError(
            explain("the model was given its offset as an array, so it cannot predict for new data")
        )
    index = None
    given = design.given or design.terms
    if isinstance(newdata, Mapping) or frames.has_names(newdata):
        newdata = frames.select(newdata, given)
        index = newdata.index
    try:
        matrix = sp.csc_array(newdata) if sp.issparse(newdata) else np.asarray(newdata, dtype=float)
    except (TypeError, ValueError) as error:
        raise DataError(explain(f"new data must hold numbers: {error}")) from error
    if matrix.ndim != 2 or matrix.shape[1] != len(given):
        raise DataError(
            explain(f"new data must have {len(given)} columns", shape=tuple(matrix.shape))
        )
    if design.given:
        matrix = matrix[:, [given.index(term) for term in design.terms]]
    refuse_infinite(matrix, design.terms)
    return NewRows(matrix, np.zeros(matrix.shape[0]), index)

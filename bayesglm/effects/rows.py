"""The rows a question is about: encoded in blocks, with columns changed, and averaged in cells."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm import frames
from bayesglm.errors import DataError, SpecificationError, explain, suggest
from bayesglm.expressions import check
from bayesglm.group_effects import Which, chosen, known_groups
from bayesglm.grouping import GroupRows, NewGroups
from bayesglm.merging import sliceable
from bayesglm.newdata import NewRows, encode
from bayesglm.rows import RESERVED, refuse_infinite

if TYPE_CHECKING:
    import pandas as pd

    from bayesglm.fit import Fit

__all__ = [
    "Cells",
    "Rows",
    "cells_of",
    "check_variable",
    "group_columns",
    "rows_of",
    "variables_of",
]


@dataclass(frozen=True)
class Rows:
    """Rows of the training data, or new ones.

    Attributes
    ----------
    fit : Fit
    frame : DataFrame
        The columns that the predictors use.
    matrix : ndarray, sparse array or Repeated, shape (n, p)
        Encoded as they are.
    offset : ndarray, shape (n,)
        Link scale.
    inputs : tuple of ndarray
        Those of networks.
    groups : mapping of str to GroupRows
        By factor with group-level effects, those that were asked for.
    new : NewGroups
        What groups get that were not there in training.
    weights : ndarray, shape (n,)
        Of the averages over rows.
    source : object
        The table that the columns of ``by`` come from.
    kept : ndarray of bool or None
        Which of its rows these are.
    training : bool
    """

    fit: Fit
    frame: pd.DataFrame
    matrix: Any
    offset: np.ndarray
    inputs: tuple[np.ndarray, ...]
    groups: Mapping[str, GroupRows]
    new: NewGroups
    weights: np.ndarray
    source: Any
    kept: np.ndarray | None
    training: bool

    @property
    def n(self) -> int:
        """Rows."""
        return len(self.offset)

    def plain(self, part: slice) -> NewRows:
        """Return some rows as they are."""
        inputs = tuple(values[part] for values in self.inputs)
        groups = {name: rows[part] for name, rows in self.groups.items()}
        matrix = _dense(self.matrix[part])
        return NewRows(matrix, self.offset[part], None, inputs=inputs, groups=groups)

    def changed(self, part: slice, changes: Mapping[str, Any]) -> NewRows:
        """Return some rows with columns set to a value, or to values for all rows, encoded anew."""
        if not changes:
            return self.plain(part)
        design = self.fit.design
        new = {
            name: value[part] if isinstance(value, np.ndarray) else value
            for name, value in changes.items()
        }
        if design.encoding is None:
            matrix = _dense(self.matrix[part]).copy()
            for name, value in new.items():
                matrix[:, design.terms.index(name)] = value
            return NewRows(matrix, self.offset[part], None)
        frame = self.frame.iloc[part].assign(**new)
        if set(changes) & _in_offset(self.fit):
            found = encode(design, frame, self.groups, self.new)
            return replace(found, matrix=_dense(found.matrix), index=None, findings=())
        matrix = _dense(design.encoding.apply(frame, design.context))
        refuse_infinite(matrix, design.terms)
        inputs = tuple(given.apply(frame, design.context) for given in design.inputs)
        groups = {
            each.name: each.apply(frame, design.context, self.new)
            if set(each.columns) & set(changes)
            else self.groups[each.name][part]
            for each in design.varying
            if each.name in self.groups
        }
        return NewRows(matrix, self.offset[part], None, inputs=inputs, groups=groups)

    def column(self, name: str) -> pd.Series:
        """Return a column of the user's table, used in the formula or not.

        Raises
        ------
        DataError
            If there is no such column.
        """
        if name in self.frame.columns:
            return self.frame[name]
        if self.source is None:
            raise DataError(explain("the fit was kept without this column", column=name))
        values = frames.select(self.source, [name])[name]
        values = values if self.kept is None else values[self.kept]
        return values.set_axis(self.frame.index)


@dataclass(frozen=True)
class Cells:
    """Groups of rows over which is averaged; ``codes`` is None where each row is a cell.

    Attributes
    ----------
    labels : DataFrame
        One row for each cell: the values of the columns of ``by``.
    codes : ndarray of int, shape (n,), or None
        Each row's cell.
    shares : ndarray, shape (n,)
        Each row's share in the average of its cell.
    """

    labels: pd.DataFrame
    codes: np.ndarray | None
    shares: np.ndarray

    @property
    def count(self) -> int:
        """Cells."""
        return len(self.labels)

    def averaging(self, part: slice) -> np.ndarray:
        """Return the matrix that averages values of some rows, shape (rows, cells)."""
        shares = self.shares[part]
        found = np.zeros((len(shares), self.count))
        if self.codes is not None:
            found[np.arange(len(shares)), self.codes[part]] = shares
        return found


def rows_of(
    fit: Any, newdata: Any, weights: Any, groups: Which = "all", new_groups: str = "error"
) -> Rows:
    """Return the rows a question is about.

    Parameters
    ----------
    fit : Fit, or Model for what needs no estimate
    newdata : DataFrame, dict or None
        None: the training rows.
    weights : str, array or None
        Of averages. None: the model's, times trials; 1 for new data.
    groups, new_groups
        As for `Fit.predict`.
    """
    import pandas as pd

    design = fit.design
    new = NewGroups.make(new_groups)
    if new.kind == "sample" and not fit.result.draws:
        raise SpecificationError(
            explain(
                "the effects of new groups can be drawn from a posterior only",
                method=fit.method,
                advice='use fit.predict, which averages over them, new_groups="zero", or fit("nuts")',
            )
        )
    if newdata is None:
        if design.frame is None:
            raise design.no_rows()
        frame = design.frame if design.encoding is not None else _of_arrays(design)
        matrix, offset = sliceable(design.matrix), design.offset
        inputs = tuple(part.matrix for part in design.inputs)
        known: Mapping[str, GroupRows] = known_groups(design, groups)
        source, kept = design.source, design.kept
        own = design.weights * design.trials
    else:
        found = encode(design, newdata, chosen(design, groups), new)
        matrix, offset, inputs = sliceable(found.matrix), found.offset, found.inputs
        known, named = found.groups, frames.has_names(newdata) or isinstance(newdata, Mapping)
        if isinstance(newdata, Mapping):
            # Scalars are repeated, also where they stand for a column of ``by``.
            newdata = frames.select(newdata, frames.column_names(newdata))
        if named:
            names = variables_of(fit)
            extra = [*_offset_columns(fit), *group_columns(design, known)]
            extra = [name for name in dict.fromkeys(extra) if name not in names]
            frame = frames.select(newdata, [*names, *extra])
        else:
            frame = pd.DataFrame(np.asarray(newdata), columns=list(design.given or design.terms))
        if len(frame) != found.n:
            frame = pd.DataFrame(index=range(found.n))
        source, kept, own = (newdata if named else None), None, np.ones(found.n)
    rows = Rows(fit, frame, matrix, offset, inputs, known, new, own, source, kept, newdata is None)
    if weights is None:
        return rows
    values = rows.column(weights) if isinstance(weights, str) else weights
    own = np.asarray(values, dtype=float)
    if own.shape != (rows.n,) or not np.isfinite(own).all() or (own < 0).any() or not own.sum():
        raise DataError(
            explain(
                "weights must be numbers of at least 0, one for each row, not all 0",
                shape=own.shape,
                rows=rows.n,
            )
        )
    return replace(rows, weights=own)


def cells_of(rows: Rows, by: bool | str | list[str] | None) -> Cells:
    """Return the cells of ``by``: None or False for each row, True for all rows together.

    Raises
    ------
    SpecificationError
        If ``by`` is none of True, False, a column, or a list of columns.
    """
    import pandas as pd

    if by is None or by is False:
        return Cells(pd.DataFrame(index=rows.frame.index), None, np.ones(rows.n))
    if by is True:
        if not rows.weights.sum():
            raise DataError(explain("there are no rows to average over", rows=rows.n))
        codes, labels = np.zeros(rows.n, dtype=np.int64), pd.DataFrame(index=[0])
    else:
        names = [by] if isinstance(by, str) else by
        if not isinstance(names, (list, tuple)) or not all(isinstance(n, str) for n in names):
            raise SpecificationError(
                explain("by must be True, a column, or a list of columns", by=by)
            )
        table = pd.DataFrame({name: rows.column(name) for name in names})
        live = table[rows.weights > 0]
        frames.refuse_missing(live, advice="fill the columns of by=")
        groups = live.groupby(names, observed=True, sort=True).ngroup()
        labels = live.assign(_cell=groups).drop_duplicates("_cell").set_index("_cell").sort_index()
        labels = labels[names].reset_index(drop=True)
        codes = np.zeros(rows.n, dtype=np.int64)
        codes[rows.weights > 0] = groups.to_numpy()
    totals = np.bincount(codes, weights=rows.weights, minlength=len(labels))
    return Cells(labels, codes, rows.weights / totals[codes])


def variables_of(fit: Fit) -> list[str]:
    """Return the columns of the data that the predictors use, in the order of the formula."""
    design = fit.design
    if design.formula is None:
        return list(design.terms)
    found = dict.fromkeys(design.formula.right_columns)
    for given in design.inputs:
        found |= dict.fromkeys(given.formula.right_columns)
    return list(found)


def group_columns(design: Any, names: Collection[str]) -> list[str]:
    """Return the columns that the group-level effects of some factors need."""
    parts = (each.columns for each in design.varying if each.name in names)
    return list(dict.fromkeys(name for part in parts for name in part))


def check_variable(fit: Fit, name: str) -> str:
    """Return the name of a variable, refused with the nearest one if the model has none such."""
    known = variables_of(fit)
    factors = {column for each in fit.design.groups for column in each.groups.factor}
    if name not in known and name in factors:
        raise SpecificationError(
            explain(
                f"{name} is a group, whose levels are not compared as those of a variable",
                advice="use fit.group_table or bg.plots.groups",
            )
        )
    if name not in known:
        raise SpecificationError(
            explain(
                f"the model has no variable {name!r}{suggest(name, known)}",
                advice="its variables are " + ", ".join(known[:20]),
            )
        )
    return name


def _of_arrays(design: Any) -> pd.DataFrame:
    import pandas as pd

    if isinstance(design.matrix, np.ndarray):
        return pd.DataFrame(design.matrix, columns=list(design.terms), index=design.frame.index)
    return pd.DataFrame(index=design.frame.index)


def _offset_columns(fit: Fit) -> list[str]:
    name = fit.design.offset_column
    return [] if name is None or name.startswith(RESERVED) else [name]


def _in_offset(fit: Fit) -> set[str]:
    """Return the columns that the offset is made of."""
    formula = fit.design.formula
    found = set(_offset_columns(fit))
    if formula is None:
        return found
    for text in formula.offsets:
        found |= check(text, formula.text)
    return found


def _dense(matrix: Any) -> np.ndarray:
    return matrix if isinstance(matrix, np.ndarray) else np.asarray(matrix.toarray())

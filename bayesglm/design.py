"""The data of a model as numbers: matrix, outcome, weights, and how new data become the same.

`build` starts from a formula, `arrays.build_arrays` from a matrix; `newdata` encodes other rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm import frames
from bayesglm.columns import facts
from bayesglm.encoding import Encoding, learn, used
from bayesglm.errors import DataError, Finding, explain
from bayesglm.formulas import Formula, split
from bayesglm.grouping import Grouping, Groups, read_groups, split_groups
from bayesglm.inputs import Inputs, read_inputs, split_inputs
from bayesglm.merging import Repeated, repeats, sliceable
from bayesglm.outcome import Outcome, respond
from bayesglm.priors import ColumnFacts
from bayesglm.rows import (
    aligned,
    column,
    complete,
    far_columns,
    odd_outcomes,
    offsets,
    refuse_infinite,
    refuse_numbers,
    refuse_reserved,
    row_weights,
)
from bayesglm.smoothing import Smooth, read_smooth
from bayesglm.spec import Spec

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Design", "build", "encode"]


@dataclass(frozen=True)
class Design:
    """The training data, encoded.

    Attributes
    ----------
    matrix : ndarray, scipy.sparse.csc_array or Repeated, shape (n, p)
        Predictors without the constant.
    intercept : bool
        Whether the model has a constant.
    terms : tuple of str
        Names of the columns.
    y, trials, weights, offset : ndarray, shape (n,)
        Events (or numbers), trials, weights, offset (link scale).
    aggregated : bool
        Whether y counts events in trials.
    columns : tuple of ColumnFacts
        What priors need to know of each column.
    outcome : Outcome
        What y means.
    encoding : Encoding or None
        None for a model of arrays.
    formula : Formula or None
    frame : DataFrame
        The rows kept, of the columns used.
    kept : ndarray of bool or None
        Rows of the user's data that were kept, where some were dropped.
    source : object
        The user's data, by reference (for clusters).
    inputs : tuple of Inputs
        Those of the predictors beside the linear part.
    groups : tuple of Grouping
        Factors with group-level effects.
    smooths : tuple of Smooth
        Smooth terms.
    context : mapping or None
        The user's own functions in the formula.
    findings : tuple of Finding
    given : tuple of str
        The terms as they came, where some were left out since.
    elsewhere : (int, float)
        Rows of positive weight, and their weights times trials, that other processes hold.
    copies : ndarray, shape (n,), or None
        How many rows of the files each row stands for, where equal ones were counted while they
        were read; their weights are in ``weights``.
    """

    matrix: Any
    intercept: bool
    terms: tuple[str, ...]
    y: np.ndarray
    trials: np.ndarray
    weights: np.ndarray
    offset: np.ndarray
    aggregated: bool
    columns: tuple[ColumnFacts, ...]
    outcome: Outcome
    encoding: Encoding | None = None
    formula: Formula | None = None
    offset_column: str | None = None
    frame: Any = None
    kept: np.ndarray | None = None
    source: Any = None
    inputs: tuple[Inputs, ...] = ()
    context: Mapping[str, Any] | None = None
    findings: tuple[Finding, ...] = field(default_factory=tuple)
    given: tuple[str, ...] = ()
    groups: tuple[Grouping, ...] = ()
    smooths: tuple[Smooth, ...] = ()
    elsewhere: tuple[int, float] = (0, 0.0)
    copies: np.ndarray | None = None

    @property
    def varying(self) -> tuple[Grouping | Smooth, ...]:
        """What has effects with a standard deviation to estimate: groups, smooth terms."""
        return (*self.groups, *self.smooths)

    @property
    def n(self) -> int:
        """Rows."""
        return len(self.y)

    @property
    def p(self) -> int:
        """Columns without the constant."""
        return len(self.terms)

    @property
    def nobs(self) -> int:
        """Rows with positive weight, those that other processes hold among them."""
        live = self.weights > 0
        own = live.sum() if self.copies is None else self.copies[live].sum()
        return int(own) + self.elsewhere[0]

    @property
    def different(self) -> int:
        """Rows of different predictors, where many are equal; else all rows."""
        return int(self.matrix.values.shape[0]) if isinstance(self.matrix, Repeated) else self.n

    @property
    def events(self) -> float:
        """Sum of weights times y."""
        return float(np.sum(self.weights * self.y))

    @property
    def saturated(self) -> float:
        """Sum of weights times the log likelihood of a model that fits each row (log)."""
        from scipy.special import xlogy

        y, t = self.y, self.trials
        return float(np.sum(self.weights * (xlogy(y, y / t) + xlogy(t - y, (t - y) / t))))

    @property
    def effective(self) -> float:
        """Sum of weights times trials, over the rows of all processes."""
        return float(np.sum(self.weights * self.trials)) + self.elsewhere[1]

    @property
    def index(self) -> Any:
        """The index of the rows kept (pandas), or None."""
        return None if self.frame is None else self.frame.index

    def no_rows(self) -> DataError:
        """Return the error for a question about rows that are not here."""
        return DataError(explain("the fit was saved without its data", advice="give newdata"))

    def without(self, names: Collection[str]) -> Design:
        """Return the design without some columns of its matrix."""
        kept = [j for j, term in enumerate(self.terms) if term not in names]
        place = {old: new for new, old in enumerate(kept)}
        matrix = self.matrix
        some = (
            Repeated(matrix.values[:, kept], matrix.rows)
            if isinstance(matrix, Repeated)
            else matrix[:, kept]
        )
        return replace(
            self,
            matrix=some,
            terms=tuple(self.terms[j] for j in kept),
            columns=tuple(self.columns[j] for j in kept),
            encoding=None if self.encoding is None else self.encoding.without(names),
            given=self.given or self.terms,
            inputs=tuple(
                replace(part, shared=tuple(place[j] for j in part.shared if j in place))
                for part in self.inputs
            ),
        )

    def blocks(self, rows: int) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the matrix in dense blocks of at most ``rows`` rows, each with its slice."""
        matrix = sliceable(self.matrix)
        for begin in range(0, self.n, rows):
            part = slice(begin, min(begin + rows, self.n))
            block = matrix[part]
            yield part, block if isinstance(block, np.ndarray) else block.toarray()

    def cluster(self, name: str) -> np.ndarray:
        """Return the values of a column as codes 0, 1, ..., shape (n,).

        Raises
        ------
        DataError
            If there is no such column, or a value is missing.
        """
        return self.clusters(name)[0]

    def clusters(self, name: str) -> tuple[np.ndarray, Any]:
        """Return the values of a column as codes, and what each code stands for."""
        import pandas as pd

        if self.frame is not None and name in self.frame.columns:
            values = self.frame[name]
        elif self.source is None:
            raise DataError(explain("the fit was kept without this column", column=name))
        else:
            values = frames.select(self.source, [name])[name]
            values = values if self.kept is None else values[self.kept]
        codes, labels = pd.factorize(values)
        if (codes < 0).any():
            raise DataError(explain(f"the column {name!r} has missing values"))
        return np.asarray(codes, dtype=np.int32), labels


def build(
    spec: Spec,
    data: Any,
    *,
    arrays: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
    copies: np.ndarray | None = None,
    teacher: Callable[[], pd.DataFrame] | None = None,
    states: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None,
) -> Design:
    """Encode a table by a formula.

    Parameters
    ----------
    spec : Spec
        The words of the model.
    data : DataFrame or dict
        The table.
    arrays : mapping of str to array, optional
        Columns that the user gave as arrays, by their reserved names.
    context : mapping of str to callable, optional
        The user's own functions.
    copies : ndarray, optional
        How many rows of a larger table each row stands for.
    teacher : callable, optional
        Returns rows of that table, to learn knots and centres from.
    states : callable, optional
        Corrects what was learned (formulaic's states) to what all of its rows would have given.

    Raises
    ------
    FormulaError, DataError
        With what is wrong, what was got, and what to do.
    """
    known = frames.column_names(data)
    refuse_reserved(known)
    context = dict(context or {})
    named = {name for name in (spec.trials, spec.weights, spec.offset) if name is not None}
    formula = split(spec.formula or "", known, context=context, taken=named)
    if "Intercept" in formula.columns:
        raise DataError(explain('no column may be called "Intercept"', advice="rename it"))
    own = dict(arrays or {})
    added = {
        network.name: split_inputs(network.formula, formula, known, context, named)
        for network in spec.add
    }
    grouped = split_groups(formula, known, context, named)
    parts: tuple[Any, ...] = (formula, *added.values(), *grouped)
    columns = dict.fromkeys(name for part in parts for name in part.columns)
    wanted = [*columns, *(name for name in named if name not in own)]
    frame = frames.select(data, wanted)
    for name, values in own.items():
        frame = frame.assign(**{name: aligned(values, frame, name)})
    if not len(frame):
        raise DataError(explain("the data have no rows"))
    frame, kept, findings = complete(frame, spec.missing, spec.weights)
    design = partial(
        _assemble,
        *(spec, formula, added, grouped),
        source=data,
        context=context,
        larger=(copies, teacher, states),
    )
    live = row_weights(frame, spec)[0] > 0
    if live.all():
        return design(frame, kept, findings)
    try:
        return design(frame, kept, findings)
    except DataError:
        # Weight 0 is absence: what only such a row has (a level, a value) must not stop a fit.
        note = Finding(
            "left-out",
            "note",
            f"{int((~live).sum())} rows of weight 0 were left out: some of them cannot be used "
            "(values or levels that no other row has).",
            value=float((~live).sum()),
        )
        rest = np.ones(len(live), dtype=bool) if kept is None else kept.copy()
        rest[rest] = live
        return design(frame[live], rest, (*findings, note))


def _assemble(
    spec: Spec,
    formula: Formula,
    added: Mapping[str, Formula],
    grouped: Sequence[Groups],
    frame: pd.DataFrame,
    kept: np.ndarray | None,
    findings: tuple[Finding, ...],
    *,
    source: Any,
    context: Mapping[str, Any],
    larger: tuple[Any, Any, Any],
) -> Design:
    """Encode rows that are complete."""
    many, teacher, states = larger
    weights, more = row_weights(frame, spec)
    trials = None if spec.trials is None else column(frame, spec.trials)
    y, counted, outcome = respond(
        formula.left, formula.text, frame[list(formula.left_columns)], spec, trials
    )
    live = weights > 0
    refuse_numbers(spec, outcome.name, y[live], weights[live], counted[live])
    right = frame[list(formula.right_columns)]
    # Functions of the user's own may look at all rows, and so does what networks do.
    found = None if context or added else repeats(right)
    each = live.astype(float) if many is None else live * many
    copies = each if found is None else found.sums(each)
    rows = right if found is None else right.iloc[found.first]
    # Knots, centres and levels are learned on the rows that count, then used on all.
    known = rows if (copies > 0).all() else rows[copies > 0]
    encoding, matrix, structure = learn(formula, known, context)
    if found is not None and encoding.transforms:
        # Knots and centres are those of all rows, not of the different ones.
        known = right[live]
        encoding, matrix, structure = learn(formula, known, context)
    if teacher is not None and encoding.transforms:
        known = teacher()[list(formula.right_columns)]
        encoding, matrix, structure = learn(formula, known, context)
    if states is not None and encoding.transforms:
        encoding = replace(encoding, transforms=states(encoding.transforms))
        matrix = encoding.apply(rows, context)
    elif known is not rows:
        matrix = encoding.apply(rows, context)
    if not encoding.names and not added:
        raise DataError(explain("the model has no coefficients", formula=formula.text))
    refuse_infinite(matrix, encoding.terms)
    mass = weights * counted
    columns = facts(
        matrix,
        encoding.terms,
        mass if found is None else found.sums(mass),
        copies > 0,
        used(structure, encoding, formula, context),
        copies,
    )
    if found is not None:
        matrix = Repeated(sliceable(matrix), found.rows)
    inputs = tuple(
        read_inputs(name, part, frame, mass, columns, context) for name, part in added.items()
    )
    for part in inputs:
        refuse_infinite(part.matrix, part.terms)
    groups = tuple(read_groups(each, frame, live, context) for each in grouped)
    smooths = tuple(
        read_smooth(curve, formula, frame, mass, list(frame.columns), context)
        for curve in formula.curves
    )
    return Design(
        matrix=matrix,
        intercept=encoding.intercept,
        terms=encoding.terms,
        y=y,
        trials=counted,
        weights=weights,
        offset=offsets(formula, spec, frame),
        aggregated=trials is not None or formula.left.startswith("cbind("),
        columns=columns,
        outcome=outcome,
        encoding=encoding,
        formula=formula,
        offset_column=spec.offset,
        frame=frame,
        kept=kept,
        source=source,
        inputs=inputs,
        groups=groups,
        smooths=smooths,
        copies=many,
        context=context,
        findings=(
            *findings,
            *more,
            *encoding.single_levels(),
            *far_columns(columns),
            *odd_outcomes(y, counted, weights, spec),
            *(finding for each in groups for finding in each.findings(weights)),
        ),
    )


def encode(
    encoding: Encoding, formula: Formula, frame: pd.DataFrame, context: Mapping[str, Any]
) -> Any:
    """Encode training rows anew with what was learned from them, equal rows once."""
    right = frame[list(formula.right_columns)]
    found = None if context else repeats(right)
    if found is None:
        return encoding.apply(right, context)
    matrix = encoding.apply(right.iloc[found.first], context)
    return Repeated(sliceable(matrix), found.rows)

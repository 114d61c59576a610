"""What each row carries beside predictors and outcome: weights, offset; and which rows stay."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm import frames
from bayesglm.arithmetic import evaluate
from bayesglm.errors import DataError, Finding, explain
from bayesglm.formulas import Formula
from bayesglm.priors import ColumnFacts
from bayesglm.spec import Spec

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "RESERVED",
    "aligned",
    "column",
    "complete",
    "evaluated",
    "far_columns",
    "odd_outcomes",
    "offsets",
    "refuse_infinite",
    "refuse_numbers",
    "refuse_reserved",
    "row_weights",
]

# Columns made from arrays of the user's start so; no column of the data may.
RESERVED = "__"
# Squares of larger values, summed over rows, would overflow; those of smaller ones vanish.
LARGEST = 1e140
# With more rows than this an sd of the posterior would be below the last digit of its mean.
HEAVIEST = 1e30
# Beyond so many standard deviations from 0 a variance, the difference of squares, is right to less
# than four digits.
FAR = 1e6


def refuse_reserved(known: Sequence[str]) -> None:
    """Refuse a column that has the name of one of ours."""
    bad = [name for name in known if name in frames.OWN]
    if bad:
        raise DataError(explain("this column name is reserved", column=bad[0]))


def aligned(values: Any, frame: pd.DataFrame, name: str) -> np.ndarray:
    """Return an array of the user's, checked against the rows; a Series must have their index."""
    import pandas as pd

    word = name.removeprefix(RESERVED)
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(explain(f"{word} must be one number for each row: {error}")) from error
    if array.shape != (len(frame),):
        raise DataError(
            explain(f"{word} must have one value for each of {len(frame)} rows", shape=array.shape)
        )
    if isinstance(values, pd.Series) and not values.index.equals(frame.index):
        raise DataError(
            explain(
                f"the index of {word} differs from that of the data",
                advice=f"use {word}.to_numpy() if the order is the same",
            )
        )
    return array


def complete(
    frame: pd.DataFrame, missing: str, weights: str | None
) -> tuple[pd.DataFrame, np.ndarray | None, tuple[Finding, ...]]:
    """Refuse or drop rows with missing or infinite values; rows with weight 0 may have them."""
    rows, counts = frames.missing_mask(frame)
    if not counts:
        return frame, None, ()
    if missing == "error" and (weights is None or (rows & ~absent(frame[weights])).any()):
        frames.refuse_missing(frame, advice='use missing="drop", or fill them in')
    # A column of objects that held None may now be one of booleans.
    kept = frame[~rows].infer_objects()
    if not len(kept):
        raise DataError(explain("every row has a missing value", columns=counts))
    note = Finding(
        "dropped",
        "note",
        f"{int(rows.sum())} of {len(frame)} rows were dropped for missing or infinite values in "
        + ", ".join(f"{name} ({count})" for name, count in counts.items())
        + ".",
        value=float(rows.sum()),
    )
    return kept, ~rows, (note,)


def absent(weights: pd.Series) -> np.ndarray:
    """Return which weights are 0, shape (n,)."""
    import pandas as pd

    return pd.to_numeric(weights, errors="coerce").eq(0).fillna(False).to_numpy(dtype=bool)


def column(frame: pd.DataFrame, name: str) -> np.ndarray:
    """Return a column as floats, shape (n,)."""
    import pandas as pd

    values = frame[name]
    kind = values.dtype
    # Dates would become nanoseconds, text that looks like a number one, complex numbers real.
    if kind == np.dtype(object):
        plain = all(isinstance(value, (bool, Real, Decimal)) for value in values)
    else:
        plain = pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind)
    try:
        if not plain:
            raise TypeError("not numbers")
        return values.to_numpy(dtype=float)
    except (TypeError, ValueError, OverflowError) as error:
        word = frames.OWN.get(name, name)
        raise DataError(explain(f"{word!r} must hold numbers", dtype=str(values.dtype))) from error


def row_weights(frame: pd.DataFrame, spec: Spec) -> tuple[np.ndarray, tuple[Finding, ...]]:
    """Return the weights, shape (n,), and what is odd about them."""
    if spec.weights is None:
        return np.ones(len(frame)), ()
    weights = column(frame, spec.weights)
    if (weights < 0).any() or not (weights > 0).any():
        raise DataError(
            explain("weights must not be negative, nor all 0", smallest=float(weights.min()))
        )
    if spec.weights_kind == "frequency" and (weights != np.round(weights)).any():
        return weights, (
            Finding(
                "non-integer-weights",
                "note",
                "Frequency weights are not whole numbers; they count as that many copies of a row.",
                advice='Use weights_kind="sampling" for survey or inverse-probability weights.',
            ),
        )
    return weights, ()


def offsets(formula: Formula, spec: Spec, frame: pd.DataFrame) -> np.ndarray:
    """Return the sum of the offset column and the formula's offset() terms, shape (n,)."""
    offset = np.zeros(len(frame))
    if spec.offset is not None:
        offset += column(frame, spec.offset)
    for expression in formula.offsets:
        offset += evaluated(expression, formula, frame)
    if not np.isfinite(offset).all():
        raise DataError(explain("the offset has missing or infinite values"))
    refuse_infinite(offset[:, None], ("offset",))
    return offset


def evaluated(expression: str, formula: Formula, frame: pd.DataFrame) -> np.ndarray:
    """Return the values of an expression on the columns of a table, shape (n,)."""
    values = evaluate(
        expression, formula.text, {str(c): frame[c].to_numpy() for c in frame.columns}
    )
    try:
        return np.broadcast_to(np.asarray(values, dtype=float), (len(frame),))
    except (TypeError, ValueError) as error:
        raise DataError(
            explain(f"offset({expression}) must be a number for each row", formula=formula.text)
        ) from error


def refuse_infinite(matrix: Any, terms: Sequence[str]) -> None:
    """Refuse a matrix with missing or infinite values, or some whose squares would overflow."""
    values = matrix if isinstance(matrix, np.ndarray) else matrix.data
    if not values.size:
        return
    if isinstance(matrix, np.ndarray):
        # Two passes without a copy; NaN and infinity end up in the extremes.
        sizes = np.maximum(-matrix.min(axis=0), matrix.max(axis=0))
        columns = [matrix[:, j] for j in range(len(terms))]
    else:
        columns = [_stored(matrix, j) for j in range(len(terms))]
        sizes = np.array([np.abs(part).max(initial=0.0) for part in columns])
    for term, size, part in zip(terms, sizes.tolist(), columns, strict=True):
        if size == 0 or 1 / LARGEST <= size <= LARGEST:
            continue
        if not np.isfinite(part).all():
            raise DataError(
                explain(
                    f"the term {term} has missing or infinite values",
                    advice="check its function, such as a logarithm of 0",
                )
            )
        raise DataError(
            explain(
                f"the values of the term {term} are too {'large' if size > 1 else 'small'} to "
                "compute with",
                largest=size,
                advice="change its unit",
            )
        )


def _stored(matrix: Any, j: int) -> np.ndarray:
    """Return the stored values of a column of a sparse matrix."""
    return np.asarray(matrix.data[matrix.indptr[j] : matrix.indptr[j + 1]])


def refuse_numbers(
    spec: Spec, name: str, y: np.ndarray, weights: np.ndarray, trials: np.ndarray
) -> None:
    """Refuse rows that count for more than numbers can tell, and gaussian outcomes without spread.

    Parameters
    ----------
    spec : Spec
    name : str
        The outcome's.
    y, weights, trials : ndarray, shape (n,)
        Of the rows that count.
    """
    with np.errstate(over="ignore"):
        total = float((weights * trials).sum())
    if total > HEAVIEST:
        raise DataError(
            explain(
                "the weights times trials are too large to compute with",
                sum=total,
                advice="change their unit",
            )
        )
    if not spec.family.has_sigma:
        return
    refuse_infinite(y[:, None], (name,))
    if (y == y[0]).all():
        raise DataError(
            explain(
                f"the outcome {name!r} has one value only, so sigma is 0",
                value=float(y[0]),
                advice='use family="bernoulli" with a prior',
            )
        )


def far_columns(columns: Sequence[ColumnFacts]) -> tuple[Finding, ...]:
    """Return a finding for each column so far from 0 that its differences have lost digits."""
    found = []
    for column in columns:
        far = abs(column.mean) / column.sd if column.sd > 0 else 0.0
        if column.kind != "constant" and far > FAR:
            found.append(
                Finding(
                    "far-from-zero",
                    "warning",
                    f"The values of {column.term} lie {far:.1g} standard deviations from 0: the "
                    "intercept, and the intervals of predictions, have lost digits.",
                    value=far,
                    threshold=FAR,
                    where=column.term,
                    advice="Subtract a constant, such as their mean.",
                )
            )
    return tuple(found)


def odd_outcomes(
    y: np.ndarray, trials: np.ndarray, weights: np.ndarray, spec: Spec
) -> tuple[Finding, ...]:
    """Return findings about outcomes that are all the same, or no whole numbers."""
    if spec.family.has_sigma:
        return ()
    found = []
    if (y != np.round(y)).any() or (trials != np.round(trials)).any():
        found.append(
            Finding(
                "non-integer-counts",
                "note",
                "Events or trials are not whole numbers; the likelihood takes them as they are.",
            )
        )
    events, total = float(np.sum(weights * y)), float(np.sum(weights * trials))
    if not 0 < events < total:
        which = "no events" if events <= 0 else "events only"
        found.append(
            Finding(
                "one-class",
                "warning",
                f"The outcome has {which}: the answer rests on the priors.",
                value=events,
            )
        )
    return tuple(found)

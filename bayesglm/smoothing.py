"""Smooth terms: ``s(x)`` is a line in x and a penalised spline for what is left of it.

    f(x) = b x + Z(x) z sd,   z ~ Normal(0, 1)

with Z from cubic B-splines whose second differences are a random walk's steps (P-splines: Eilers &
Marx 1996, Statistical Science 11): the larger sd, the more f may bend. It is a group-level effect
under the hood (Wood 2017, *Generalized Additive Models*, section 5.8), estimated and sampled as
these are. Differences are divided by the distances of the Greville abscissae, at which a spline of
equal coefficients is a line, so that exactly the lines go unpenalised. Z has no line in it over the
training rows, and a mean square of 1: b is the trend, sd the typical distance from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.encoding import Encoding, learn
from bayesglm.errors import DataError, explain
from bayesglm.formulas import Curve, Formula, split
from bayesglm.grouping import GroupRows, NewGroups

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Smooth", "read_smooth", "splines"]


@dataclass(frozen=True)
class Smooth:
    """A smooth term on the training rows.

    Attributes
    ----------
    variable : str
        The column.
    encoding : Encoding
        Its B-splines.
    basis : ndarray, shape (df, q)
        From B-splines to Z.
    line : ndarray, shape (2, q)
        What is taken off: a constant and a multiple of x.
    rows : GroupRows
        Z of the training rows; all are one group.
    """

    variable: str
    encoding: Encoding
    basis: np.ndarray
    line: np.ndarray
    rows: GroupRows

    # All effects have one standard deviation, and stand for the curve alone.
    tied = True
    count = 1

    @property
    def name(self) -> str:
        """What it is called: ``s(x)``."""
        return f"s({self.variable})"

    @property
    def columns(self) -> tuple[str, ...]:
        """The column needed."""
        return (self.variable,)

    @property
    def terms(self) -> tuple[str, ...]:
        """Numbers of the coefficients."""
        return tuple(str(j + 1) for j in range(self.basis.shape[1]))

    @property
    def blocks(self) -> tuple[int, ...]:
        """The coefficients are independent."""
        return (1,) * self.basis.shape[1]

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return int(self.basis.shape[1])

    @property
    def parameters(self) -> int:
        """One standard deviation."""
        return 1

    @property
    def scale(self) -> np.ndarray:
        """The mean square of Z is 1."""
        return np.ones(1)

    @property
    def keys(self) -> list[np.ndarray]:
        """Rows of equal x are one row."""
        return [self.rows.matrix[:, 0]]

    def apply(
        self,
        frame: pd.DataFrame,
        context: Mapping[str, Any] | None,
        new: NewGroups | None = None,
    ) -> GroupRows:
        """Return Z of any rows.

        Raises
        ------
        DataError
            For a value beyond those of training.
        """
        del new
        frame = self.encoding.prepare(frame)
        x = np.asarray(frame[self.variable], dtype=float)
        learned = self.encoding.columns[self.variable]
        if len(x) and not (x.min() >= learned.lower and x.max() <= learned.upper):
            raise DataError(
                explain(
                    f"{self.name} knows its curve over the range of the training rows alone",
                    values=[float(x.min()), float(x.max())],
                    range=[learned.lower, learned.upper],
                    advice=f"keep {self.variable} within it, or let it be a line, without s()",
                )
            )
        splines = _dense(self.encoding.apply(frame, context))
        line = np.column_stack([np.ones(len(x)), x]) @ self.line
        return GroupRows(np.zeros(len(x), dtype=np.int64), splines @ self.basis - line)


def read_smooth(
    curve: Curve,
    model: Formula,
    frame: pd.DataFrame,
    weights: np.ndarray,
    known: Sequence[str],
    context: Mapping[str, Any],
) -> Smooth:
    """Learn a smooth term from the training rows.

    Parameters
    ----------
    curve : Curve
        Its column and number of B-splines.
    model : Formula
    frame : DataFrame
        The rows kept.
    weights : ndarray, shape (n,)
        Weights times trials; rows with 0 teach nothing.
    known : sequence of str
        Columns of the data.
    context : mapping
        The user's own functions.

    Raises
    ------
    DataError
        For a column that is no number, or has too few different values.
    """
    import pandas as pd

    name = f"s({curve.variable})"
    values = frame[curve.variable]
    if not pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_bool_dtype(values.dtype):
        raise DataError(explain(f"{name} takes a column of numbers", dtype=str(values.dtype)))
    live = frame[weights > 0]
    distinct = int(live[curve.variable].nunique())
    if distinct < curve.df:
        raise DataError(
            explain(
                f"{name} has more splines than the column has different values",
                df=curve.df,
                values=distinct,
                advice=f"use s({curve.variable}, df={max(distinct, 4)}), or the column as it is",
            )
        )
    text = f"{model.left} ~ 0 + {splines(curve)}"
    formula = split(text, list(known), context=context, taken=set())
    encoding, _, _ = learn(formula, live[[curve.variable]], context)
    basis = _penalised(encoding)
    bare = Smooth(curve.variable, encoding, basis, np.zeros((2, basis.shape[1])), _NONE)
    raw = bare.apply(frame, context).matrix
    lines = np.column_stack([np.ones(len(frame)), np.asarray(values, dtype=float)])
    root = np.sqrt(weights)[:, None]
    line = np.linalg.lstsq(root * lines, root * raw, rcond=None)[0]
    left = raw - lines @ line
    size = np.sqrt(np.average(np.sum(left**2, axis=1), weights=weights))
    rows = GroupRows(np.zeros(len(frame), dtype=np.int64), left / size)
    return Smooth(curve.variable, encoding, basis / size, line / size, rows)


def splines(curve: Curve) -> str:
    """Return the B-splines of a smooth term as formulaic names them.

    Examples
    --------
    >>> splines(Curve("age", 8))
    'bs(`age`, df=8, include_intercept=True)'
    """
    return f"bs(`{curve.variable}`, df={curve.df}, include_intercept=True)"


_NONE = GroupRows(np.empty(0, dtype=np.int64), np.empty((0, 0)))


def _penalised(encoding: Encoding) -> np.ndarray:
    """Return how steps of the random walk become coefficients of B-splines, shape (df, df - 2)."""
    (state,) = encoding.transforms.values()
    knots = np.asarray(state["knots"], dtype=float)
    # At the Greville abscissae a spline with coefficients equal to them is the identity.
    places = np.array([knots[j + 1 : j + 4].mean() for j in range(len(knots) - 4)])
    count = len(places) - 2
    steps = np.zeros((count, len(places)))
    for j in range(count):
        a, b, c = places[j : j + 3]
        steps[j, j : j + 3] = [
            2 / ((b - a) * (c - a)),
            -2 / ((b - a) * (c - b)),
            2 / ((c - b) * (c - a)),
        ]
        # So that their sum of squares is near the integral of the squared second derivative.
        steps[j] *= np.sqrt((c - a) / 2)
    return np.linalg.pinv(steps)


def _dense(matrix: Any) -> np.ndarray:
    return matrix if isinstance(matrix, np.ndarray) else np.asarray(matrix.toarray())

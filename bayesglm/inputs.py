"""Inputs of an added predictor: encoded by a formula of its own, then standardised.

The formula has a right side only (``"~ x2 + x3"``). What was learned in training (levels, knots,
mean and sd of each column) is kept for new data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.encoding import Encoding, learn
from bayesglm.errors import FormulaError, explain
from bayesglm.formulas import Formula, split

if TYPE_CHECKING:
    import pandas as pd

    from bayesglm.priors import ColumnFacts

__all__ = ["Inputs", "read_inputs", "split_inputs"]


@dataclass(frozen=True)
class Inputs:
    """The inputs of one added predictor.

    Attributes
    ----------
    name : str
        The predictor's name.
    formula : Formula
        Its outcome side is that of the model.
    encoding : Encoding
        How columns become numbers.
    center, scale : ndarray, shape (q,)
        Mean and sd of each column in training (weighted by weights times trials; 1 where constant).
    matrix : ndarray, shape (n, q)
        The training rows, standardised.
    shared : tuple of int
        Columns of the linear part all of whose variables are among the inputs.
    """

    name: str
    formula: Formula
    encoding: Encoding
    center: np.ndarray
    scale: np.ndarray
    matrix: np.ndarray
    shared: tuple[int, ...]

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the columns."""
        return self.encoding.terms

    def apply(self, frame: pd.DataFrame, context: Mapping[str, Any] | None) -> np.ndarray:
        """Encode and standardise rows with what was learned in training, shape (n, q)."""
        return (_dense(self.encoding.apply(frame, context)) - self.center) / self.scale


def split_inputs(
    text: str, model: Formula, known: Sequence[str], context: Mapping[str, Any], taken: set[str]
) -> Formula:
    """Split and check the formula of an added predictor, ``"~ terms"``.

    Raises
    ------
    FormulaError
        If it has an outcome or an offset of its own, or no columns.
    """
    right = text.strip() if isinstance(text, str) else ""
    if not right.startswith("~"):
        raise FormulaError(
            explain(
                "the formula of a network has a right side only", formula=text, advice='"~ x1 + x2"'
            )
        )
    found = split(f"{model.left} {right}", list(known), context=context, taken=taken)
    if found.offsets or not found.right_columns:
        what = "no offset" if found.offsets else "at least one column"
        raise FormulaError(explain(f"the formula of a network takes {what}", formula=text))
    return found


def read_inputs(
    name: str,
    formula: Formula,
    frame: pd.DataFrame,
    weights: np.ndarray,
    columns: Sequence[ColumnFacts],
    context: Mapping[str, Any],
) -> Inputs:
    """Learn the encoding and the standardisation of a predictor's inputs.

    Parameters
    ----------
    name : str
        The predictor's name.
    formula : Formula
        From `split_inputs`.
    frame : DataFrame
        The rows kept.
    weights : ndarray, shape (n,)
        Weights times trials; rows with 0 teach nothing.
    columns : sequence of ColumnFacts
        The columns of the linear part.
    context : mapping
        The user's own functions.
    """
    right = frame[list(formula.right_columns)]
    encoding, _, _ = learn(formula, right[weights > 0], context)
    raw = _dense(encoding.apply(right, context))
    center = np.average(raw, axis=0, weights=weights)
    sd = np.sqrt(np.average((raw - center) ** 2, axis=0, weights=weights))
    scale = np.where(sd > 1e-12 * np.maximum(np.abs(center), 1.0), sd, 1.0)
    seen = set(formula.right_columns)
    shared = tuple(j for j, c in enumerate(columns) if c.variables and set(c.variables) <= seen)
    return Inputs(name, formula, encoding, center, scale, (raw - center) / scale, shared)


def _dense(matrix: Any) -> np.ndarray:
    return matrix if isinstance(matrix, np.ndarray) else np.asarray(matrix.toarray())

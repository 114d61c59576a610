"""The border to formulaic, which turns columns into the matrix of a formula; its errors are ours here."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.errors import DataError, explain

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["materialize"]

BOUNDED = ("bs",)
# Functions that formulaic has under np only; the user's stand above ours.
OURS = {"sqrt": np.sqrt, "log1p": np.log1p, "expm1": np.expm1}


def _as_learned(state: Any) -> Any:
    """Return the state of a transform as formulaic wants it: constraints of a spline as a matrix."""
    if not isinstance(state, Mapping) or state.get("constraints") is None:
        return state
    return {**state, "constraints": np.atleast_2d(np.asarray(state["constraints"], float))}


def materialize(
    right: str,
    frame: pd.DataFrame,
    context: Mapping[str, Any] | None,
    *,
    sparse: bool,
    transforms: Mapping[str, Any] | None = None,
    categories: Mapping[str, Any] | None = None,
) -> tuple[Any, Any]:
    """Let formulaic encode; with a state given, by that state."""
    from formulaic import Formula as Parsed
    from formulaic import ModelSpec
    from formulaic.errors import DataMismatchWarning
    from formulaic.materializers.types import FactorValues  # noqa: F401  (loads the materialisers)
    from formulaic.parser.types import Factor

    state = {
        expr: (Factor.Kind.CATEGORICAL, {"categories": list(levels)})
        for expr, levels in (categories or {}).items()
    }
    spec = ModelSpec(
        formula=Parsed(right),
        na_action="ignore",
        output="sparse" if sparse else "numpy",
        transform_state={name: _as_learned(held) for name, held in (transforms or {}).items()},
        encoder_state=state,
    )
    if not len(frame.columns):
        frame = frame.assign(_rows_=0.0)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", DataMismatchWarning)
            matrix = spec.get_model_matrix(frame, context={**OURS, **(context or {})})
    except DataMismatchWarning as error:
        strange = re.sub(r"np\.\w+\((.*?)\)", r"\1", "".join(re.findall(r"\{.*\}", str(error))))
        raise DataError(
            explain(
                f"the data have levels that were not there in training: {strange}", formula=right
            )
        ) from error
    except Exception as error:
        # formulaic wraps whatever a transform raises; the border translates it once.
        cause = error.__cause__ or error
        told = str(cause).splitlines()[0] if str(cause) else repr(cause)
        wrong, advice = f"the columns cannot be encoded: {told}", ""
        if "upper and/or lower bounds" in told:
            wrong, advice = "values lie beyond the knots of bs()", _ranges(transforms)
        elif "string multiply" in told:
            advice = "put C() around a function whose values are text"
        elif isinstance(cause, (IndexError, ValueError)) and "C(" in right:
            advice = "a reference level is named by C(x, Treatment('level'))"
        raise DataError(explain(wrong, formula=right, advice=advice)) from error
    plain = matrix.__wrapped__ if hasattr(matrix, "__wrapped__") else matrix
    if sparse:
        import scipy.sparse as sp

        return sp.csc_array(plain), matrix.model_spec
    plain = np.asarray(plain)
    return plain.astype(float, copy=False), matrix.model_spec


def _ranges(transforms: Mapping[str, Any] | None) -> str:
    known = [
        f"{expr} reaches from {state['lower_bound']:g} to {state['upper_bound']:g}"
        for expr, state in (transforms or {}).items()
        if expr.startswith(BOUNDED) and "lower_bound" in state
    ]
    return "; ".join(known)

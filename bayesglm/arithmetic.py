"""A small evaluator of expressions of columns: the left side of a formula, and offsets."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bayesglm.errors import FormulaError, explain
from bayesglm.expressions import NUMPY, parse

__all__ = ["evaluate"]

_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
    ast.Pow: operator.pow, ast.BitAnd: operator.and_, ast.BitOr: operator.or_,
}  # fmt: skip
_COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt,
    ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
_UNARY: dict[type, Callable[[Any], Any]] = {
    ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Invert: operator.invert,
    ast.Not: np.logical_not,
}  # fmt: skip


def evaluate(text: str, formula: str, columns: Mapping[str, Any], *, functions: Any = np) -> Any:
    """Evaluate an expression of columns: the left side of a formula, or an offset.

    Parameters
    ----------
    text : str
        Arithmetic, comparisons, ``&``, ``|``, ``~`` and NumPy functions of columns.
    formula : str
        The whole formula, for messages.
    columns : mapping of str to array
        Values by column. In arithmetic whole numbers become floats, which do not wrap around.
    functions : module
        NumPy, or what has the same functions.
    """
    tree, quoted = parse(text, formula)
    texts = {name for name, values in columns.items() if _is_text(values)}

    def value(node: ast.expr) -> Any:
        match node:
            case ast.Name(id=name) if quoted.get(name, name) in columns:
                return columns[quoted.get(name, name)]
            case ast.Constant(value=constant):
                return constant
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                for part in (left, right):
                    if isinstance(part, ast.Name) and quoted.get(part.id, part.id) in texts:
                        # 'a' * 1_000_000_000 would fill the memory.
                        raise TypeError(f"{ast.unparse(part)} is text")
                return _BINARY[type(op)](value(left), value(right))
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
                return _UNARY[type(op)](value(operand))
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE:
                return _COMPARE[type(op)](value(left), value(right))
            case ast.Call(func=func, args=args, keywords=[]):
                name = ast.unparse(func).removeprefix("np.")
                if name == "I" and len(args) == 1:
                    return value(args[0])
                if name in NUMPY:
                    return getattr(functions, name)(*(value(argument) for argument in args))
        raise FormulaError(
            explain(f"{ast.unparse(node)!r} cannot stand here in a formula", formula=formula)
        )

    try:
        if not isinstance(tree, ast.Name):
            columns = {name: _floats(values) for name, values in columns.items()}
        # What is not finite is refused by whoever asked, with the name of the column.
        with np.errstate(all="ignore"):
            return value(tree)
    except (ArithmeticError, TypeError, ValueError) as error:
        if isinstance(error, FormulaError):
            raise
        raise FormulaError(
            explain(f"{text!r} cannot be computed: {error}", formula=formula)
        ) from error


def _floats(values: Any) -> Any:
    """Return whole numbers as floats, those of Python's without end too; anything else as it is."""
    import pandas as pd

    whole = pd.api.types.is_integer_dtype(values.dtype)
    if values.dtype == np.dtype(object) and all(type(value) in (int, float) for value in values):
        whole = True
    return np.asarray(values, dtype=float) if whole else values


def _is_text(values: Any) -> bool:
    """Whether some values are text or lists, of which arithmetic makes copies."""
    import pandas as pd

    if values.dtype == np.dtype(object):
        return any(isinstance(value, (str, bytes, list, tuple)) for value in values)
    return isinstance(values.dtype, pd.StringDtype) or values.dtype.kind in "SU"

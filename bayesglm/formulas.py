"""A formula in its parts, every word of it checked: outcome, right side, offsets, columns of each.

Parsing is formulaic's; what may be said in a factor is `expressions`' allow-list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bayesglm.errors import FormulaError, explain
from bayesglm.expressions import check, split_top

__all__ = ["Formula", "split"]


@dataclass(frozen=True)
class Formula:
    """A formula in its parts: outcome, right side without offsets, offsets, columns of each."""

    text: str
    left: str
    right: str
    offsets: tuple[str, ...]
    left_columns: tuple[str, ...]
    right_columns: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Return every column named, the outcome's first."""
        return tuple(dict.fromkeys((*self.left_columns, *self.right_columns)))


def split(text: str, known: list[str], *, context: Mapping[str, Any], taken: set[str]) -> Formula:
    """Split a formula and check every word of it.

    Parameters
    ----------
    text : str
        ``"outcome ~ terms"``.
    known : list of str
        Columns of the data, for ``.``.
    context : mapping
        The user's own functions.
    taken : set of str
        Columns of weights, trials and offset, which ``.`` leaves out.

    Raises
    ------
    FormulaError
        If it does not parse, or says something that formulas may not say.
    """
    if not isinstance(text, str):
        raise FormulaError(explain("the formula must be text", formula=text))
    sides = split_top(text, "~")
    # "~x" inside the left side would be a negation; a formula has one ~ at the top.
    if len(sides) != 2 or not sides[0][1].strip() or not sides[1][1].strip():
        raise FormulaError(explain('a formula has the form "y ~ x1 + x2"', formula=text))
    left, right = sides[0][1].strip(), sides[1][1].strip()
    left_columns = _left_columns(left, text)
    if right == "." or any(piece.strip() == "." for _, piece in split_top(right, "+-")):
        rest = [name for name in known if name not in left_columns and name not in taken]
        odd = [name for name in rest if not name.strip() or "`" in name]
        if odd:
            raise FormulaError(
                explain("this column name cannot stand in a formula", column=odd[0],
                        advice="rename the column")
            )  # fmt: skip
        everything = " + ".join(f"`{name}`" for name in rest) or "1"
        right = "".join(
            f"{sign} {everything if piece.strip() == '.' else piece}"
            for sign, piece in split_top(right, "+-")
        )
    kept, offsets = [], []
    for sign, piece in split_top(right, "+-"):
        if piece.strip().startswith("offset(") and piece.strip().endswith(")"):
            if sign == "-":
                raise FormulaError(explain("an offset can only be added", formula=text))
            offsets.append(piece.strip()[len("offset(") : -1])
        else:
            kept.append(f"{sign} {piece.strip()}")
        if _has_bar(piece):
            raise FormulaError(
                explain(
                    "group-level terms such as (1 | g) are not available yet",
                    formula=text,
                    advice="use the group as a column, C(g)",
                )
            )
    right = " ".join(kept).strip().removeprefix("+").strip() or "1"
    columns: dict[str, None] = {}
    for part in [*offsets, *_factors(right, text)]:
        used = sorted(check(part, text, context=context))
        if not used:
            raise FormulaError(explain(f"{part} names no column", formula=text))
        columns |= dict.fromkeys(used)
    if left.strip("`") in columns:
        raise FormulaError(
            explain(
                f"the outcome {left} stands on the right side too",
                formula=text,
                advice="a model cannot predict its outcome from itself",
            )
        )
    return Formula(text, left, right, tuple(offsets), left_columns, tuple(columns))


def _left_columns(left: str, formula: str) -> tuple[str, ...]:
    if left.startswith("cbind(") and left.endswith(")"):
        parts = [piece for _, piece in split_top(left[len("cbind(") : -1], ",")]
        if len(parts) != 2:
            raise FormulaError(explain("cbind takes events and non-events", formula=formula))
        return tuple(dict.fromkeys(name for p in parts for name in sorted(check(p, formula))))
    return tuple(sorted(check(left, formula)))


def _has_bar(piece: str) -> bool:
    inner = piece.strip()
    return inner.startswith("(") and inner.endswith(")") and len(split_top(inner[1:-1], "|")) > 1


def _factors(right: str, formula: str) -> list[str]:
    """Return the factors of a right side as formulaic reads them."""
    import formulaic

    if len(split_top(right, "|")) > 1:
        raise FormulaError(
            explain(
                "| may not stand between terms",
                formula=formula,
                advice="+ adds terms, * crosses them; I(a | b) is a condition",
            )
        )
    try:
        terms = list(formulaic.Formula(right))
    except Exception as error:
        # formulaic raises its own errors, and SyntaxErrors of Python, from deep within.
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FormulaError(
            explain(
                f"the formula does not parse: {message.rstrip('.')}",
                formula=formula,
                advice="conditions are written I(x > 0)" if ">" in right or "<" in right else "",
            )
        ) from error
    found = []
    for term in terms:
        for factor in term.factors:
            kind = factor.eval_method.value
            if kind == "lookup":
                found.append(f"`{factor.expr}`")
            elif kind == "python":
                found.append(factor.expr)
    return list(dict.fromkeys(found))

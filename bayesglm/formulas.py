"""A formula in its parts, every word of it checked: outcome, right side, offsets, columns of each.

Parsing is formulaic's; what may be said in a factor is `expressions`' allow-list.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from bayesglm.errors import FormulaError, explain
from bayesglm.expressions import called, check, check_quotes, split_top

__all__ = ["Bar", "Curve", "Formula", "split"]

# More terms than this are a slip, such as a power of many columns, and would take hours.
MOST_TERMS = 100_000
# Longer ones, and brackets inside brackets inside brackets, are no work of people: reading them would
# take minutes.
LONGEST, DEEPEST = 200_000, 50
# B-splines of a smooth term, and the fewest.
SPLINES, FEWEST = 10, 4
# A full stop that stands for all other columns, not one in a name or a number.
DOT = re.compile(r"(?<![\w.)])\.(?![\w.(])")


class Bar(NamedTuple):
    """A group-level term ``(effects | factor)``; ``||`` leaves correlations out.

    ``factor`` holds the columns whose combined levels are the groups.
    """

    effects: str
    factor: tuple[str, ...]
    correlated: bool


class Curve(NamedTuple):
    """A smooth term ``s(variable, df=df)``."""

    variable: str
    df: int


@dataclass(frozen=True)
class Formula:
    """A formula in its parts: outcome, right side, offsets, group-level and smooth terms, columns.

    The right side, and its columns, are without offsets and group-level terms; of a smooth term the
    column stays.
    """

    text: str
    left: str
    right: str
    offsets: tuple[str, ...]
    left_columns: tuple[str, ...]
    right_columns: tuple[str, ...]
    bars: tuple[Bar, ...] = ()
    curves: tuple[Curve, ...] = ()

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
    if len(text) > LONGEST or _depth(text) > DEEPEST:
        what = "long" if len(text) > LONGEST else "deeply nested"
        raise FormulaError(explain(f"the formula is too {what}", begins=text[:40]))
    sides = split_top(text, "~")
    # "~x" inside the left side would be a negation; a formula has one ~ at the top.
    if len(sides) != 2 or not sides[0][1].strip() or not sides[1][1].strip():
        raise FormulaError(explain('a formula has the form "y ~ x1 + x2"', formula=text))
    left, right = sides[0][1].strip(), sides[1][1].strip()
    left_columns = _left_columns(left, text)
    pieces = split_top(right, "+-")
    if not pieces[-1][1].strip():
        raise FormulaError(
            explain(f"the formula does not parse: it ends with {pieces[-1][0]}", formula=text)
        )
    parts = [p.strip()[len("offset(") : -1] for _, p in pieces if _is_offset(p)]
    bars = tuple(bar for sign, p in pieces if _has_bar(p) for bar in _bars(sign, p, text))
    hidden = {name for part in parts for name in check(part, text, context=context)}
    hidden |= {name for bar in bars for name in bar.factor}
    rest = [name for name in known if name not in {*left_columns, *taken, *hidden}]
    plain = " ".join(f"{sign} {piece.strip()}" for sign, piece in pieces if not _has_bar(piece))
    kept, offsets, curves = [], [], []
    for sign, piece in split_top(_without_dots(plain, rest), "+-"):
        if _is_offset(piece):
            if sign == "-":
                raise FormulaError(explain("an offset can only be added", formula=text))
            offsets.append(piece.strip()[len("offset(") : -1])
        elif _is_smooth(piece) and "s" not in context:
            curves.append(_curve(sign, piece, text))
            kept.append(f"+ `{curves[-1].variable}`")
        elif sign or piece.strip():
            kept.append(f"{sign} {piece.strip()}")
    right = " ".join(kept).strip().removeprefix("+").strip() or "1"
    columns: dict[str, None] = {}
    functions: set[str] = set()
    for part in [*offsets, *_factors(right, text)]:
        used = sorted(check(part, text, context=context))
        if not used:
            raise FormulaError(explain(f"{part} names no column", formula=text))
        columns |= dict.fromkeys(used)
        functions |= called(part, text)
    for name in sorted(functions & set(columns)):
        raise FormulaError(
            explain(
                f"the column {name!r} has the name of a function that the formula calls",
                formula=text,
                advice="rename the column",
            )
        )
    # cbind(s, n - s) ~ n is a model; y == 1 ~ y is none.
    if len(left_columns) == 1 and left_columns[0] in columns:
        raise FormulaError(
            explain(
                f"the outcome {left_columns[0]} stands on the right side too",
                formula=text,
                advice="a model cannot predict its outcome from itself",
            )
        )
    once = tuple(dict.fromkeys(curves))
    if len({curve.variable for curve in once}) < len(once):
        raise FormulaError(explain("two smooth terms have the same column", formula=text))
    return Formula(text, left, right, tuple(offsets), left_columns, tuple(columns), bars, once)


def _depth(text: str) -> int:
    """Return how deep brackets stand in brackets, whatever stands in quotes."""
    depth = deepest = 0
    for letter in text:
        depth = max(depth + (letter in "([{") - (letter in ")]}"), 0)
        deepest = max(deepest, depth)
    return deepest


def _left_columns(left: str, formula: str) -> tuple[str, ...]:
    if left.startswith("cbind(") and left.endswith(")"):
        parts = [piece for _, piece in split_top(left[len("cbind(") : -1], ",")]
        if len(parts) != 2:
            raise FormulaError(explain("cbind takes events and non-events", formula=formula))
        return tuple(dict.fromkeys(name for p in parts for name in sorted(check(p, formula))))
    return tuple(sorted(check(left, formula)))


def _is_offset(piece: str) -> bool:
    return piece.strip().startswith("offset(") and piece.strip().endswith(")")


def _is_smooth(piece: str) -> bool:
    return piece.strip().startswith("s(") and piece.strip().endswith(")")


def _curve(sign: str, piece: str, formula: str) -> Curve:
    """Return the column and the number of splines of ``s(x)``, ``s(x, 8)`` or ``s(x, df=8)``."""
    found = re.fullmatch(
        r"s\(\s*(?:`([^`]+)`|([^\W\d]\w*))\s*(?:,\s*(?:df\s*=\s*)?(\d{1,4})\s*)?\)", piece.strip()
    )
    df = int(found[3] or SPLINES) if found else 0
    if found is None or sign == "-" or df < FEWEST:
        raise FormulaError(
            explain(
                f"a smooth term has the form s(x) or s(x, df={SPLINES}), with a column and at least "
                f"{FEWEST} splines, and is added",
                term=piece.strip(),
                formula=formula,
                advice="make a column of anything else; (1 + x | g) lets a slope vary by group",
            )
        )
    return Curve(found[1] or found[2], df)


def _without_dots(right: str, rest: list[str]) -> str:
    """Write the other columns in the place of a full stop."""
    pieces = re.split(r"(`[^`]*`|'[^']*'|\"[^\"]*\")", right)
    if not any(DOT.search(piece) for piece in pieces[::2]):
        return right
    odd = [name for name in rest if not name.strip() or "`" in name]
    if odd:
        raise FormulaError(
            explain(
                "this column name cannot stand in a formula",
                column=odd[0],
                advice="rename the column",
            )
        )
    # As text, not as a template: a name may hold a backslash.
    everything = "(" + (" + ".join(f"`{name}`" for name in rest) or "1") + ")"
    pieces[::2] = [DOT.sub(lambda _: everything, piece) for piece in pieces[::2]]
    return "".join(pieces)


def _check_powers(right: str, formula: str) -> None:
    """Refuse powers that mean nothing, and formulas that multiply out without end."""
    # formulaic takes a column called 1 for the constant, one without a name for nothing.
    quoted = re.findall(r"`([^`]*)`", right)
    misread = [name for name in quoted if not name.strip() or _is_number(name)]
    if misread:
        raise FormulaError(
            explain(
                "neither a number nor nothing can be the name of a column in a formula",
                column=misread[0],
                advice="rename the column",
            )
        )
    # Names and calls become v, so that what is left is arithmetic that Python can parse.
    plain = re.sub(r"`[^`]*`|'[^']*'|\"[^\"]*\"|\{[^{}]*\}", "v", right)
    plain = re.sub(r"[^\W\d][\w.]*", "v", plain)
    plain = _without_calls(plain)
    plain = plain.replace("^", "**").replace("%v%", "@").replace(":", "@")
    try:
        nodes = list(ast.walk(ast.parse(plain.strip(), mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # formulaic says what is wrong
    terms: dict[ast.AST, float] = {}
    # Breadth first, backwards: each node comes after its parts, without recursion.
    for node in reversed(nodes):
        terms[node] = 1.0
        if not isinstance(node, ast.BinOp):
            continue
        one, other = terms[node.left], terms[node.right]
        parts = (node.left, node.right)
        if isinstance(node.op, (ast.Mult, ast.MatMult)) and any(
            isinstance(part, ast.Constant) for part in parts
        ):
            # formulaic would call the double of x x, and drop 0:x.
            raise FormulaError(
                explain(
                    "a number cannot stand in a product of terms",
                    formula=formula,
                    advice="write I(2 * x) for a multiple of a column",
                )
            )
        if isinstance(node.op, ast.Pow):
            terms[node] = _power(node, one, formula)
        elif isinstance(node.op, ast.MatMult):
            terms[node] = one * other
        elif isinstance(node.op, ast.Mult):
            terms[node] = one * other + one + other
        else:
            terms[node] = one + other
        if terms[node] > MOST_TERMS:
            raise FormulaError(
                explain(
                    "the formula has too many terms",
                    terms=f"about {terms[node]:.0g}",
                    advice=f"keep to {MOST_TERMS:,}",
                )
            )


def _without_calls(plain: str) -> str:
    """Replace each call of v, whatever stands in its brackets, by v."""
    kept, depth, inside = [], 0, 0
    for place, letter in enumerate(plain):
        depth += (letter == "(") - (letter == ")")
        if not inside and letter == "(" and plain[:place].rstrip().endswith("v"):
            inside = depth
        elif inside and letter == ")" and depth < inside:
            inside = 0
        elif not inside:
            kept.append(letter)
    return "".join(kept)


def _power(node: ast.BinOp, terms: float, formula: str) -> float:
    exponent = node.right.value if isinstance(node.right, ast.Constant) else None
    if type(exponent) is not int or exponent < 1:
        raise FormulaError(
            explain("an exponent between terms must be a positive whole number", formula=formula)
        )
    if isinstance(node.left, ast.Name):
        raise FormulaError(
            explain(
                "a power of one term is the term itself",
                formula=formula,
                advice="write I(x**2) for the square of a column, (a + b)**2 for interactions",
            )
        )
    return terms**exponent if exponent < 1_000 or terms == 1 else float("inf")


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def _has_bar(piece: str) -> bool:
    inner = piece.strip()
    return inner.startswith("(") and inner.endswith(")") and len(split_top(inner[1:-1], "|")) > 1


def _bars(sign: str, piece: str, formula: str) -> list[Bar]:
    """Return the group-level terms of ``(effects | factor)``: of a/b those of a and of a:b."""
    parts = [part.strip() for _, part in split_top(piece.strip()[1:-1], "|")]
    independent = len(parts) == 3 and not parts[1]
    if sign == "-" or not (len(parts) == 2 or independent) or not (parts[0] and parts[-1]):
        raise FormulaError(
            explain(
                "a group-level term has the form (effects | group), and is added",
                term=f"{sign} {piece.strip()}".strip("+ "),
                formula=formula,
                advice="write (1 | g) for an intercept of each group, (1 + x | g) for a slope too",
            )
        )
    nested = [part.strip() for _, part in split_top(parts[-1], "/")]
    names: list[str] = []
    bars = []
    for level in nested:
        for _, name in split_top(level, ":"):
            plain = re.fullmatch(r"\s*(?:`([^`]+)`|([^\W\d][\w.]*))\s*", name)
            if plain is None or (len(nested) > 1 and ":" in level):
                raise FormulaError(
                    explain(
                        "the group of a group-level term is a column, or columns joined by : or /",
                        group=parts[-1],
                        formula=formula,
                        advice="make a column of anything else; + between groups is (1 | a) + (1 | b)",
                    )
                )
            names.append(plain[1] or plain[2])
        bars.append(Bar(parts[0], tuple(dict.fromkeys(names)), not independent))
    return bars


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
    _check_powers(right, formula)
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
                check_quotes(factor.expr, formula)
                found.append(factor.expr)
    return list(dict.fromkeys(found))

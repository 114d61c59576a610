"""What a formula may say: the allow-list of functions, and what else is refused.

Formulas come from notebooks, command lines and files. formulaic evaluates the Python in them, so
every factor passes `check` first: names, numbers, text, arithmetic, comparisons and calls to listed
functions; no attribute but ``np.<listed>``, no subscript, no lambda, no comprehension. What is
checked must also be what formulaic evaluates: it reads backticks, quotes and backslashes by rules of
its own, so that text in which they meet is refused.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Collection

import numpy as np

from bayesglm.errors import FormulaError, explain, suggest

__all__ = [
    "FUNCTIONS",
    "NUMPY",
    "called",
    "check",
    "check_quotes",
    "parse",
    "quoted_names",
    "split_top",
]

NUMPY = frozenset(
    [
        "abs",
        "absolute",
        "arccos",
        "arcsin",
        "arctan",
        "cbrt",
        "ceil",
        "clip",
        "cos",
        "cosh",
        "exp",
        "exp2",
        "expm1",
        "floor",
        "fmax",
        "fmin",
        "hypot",
        "log",
        "log10",
        "log1p",
        "log2",
        "maximum",
        "minimum",
        "mod",
        "power",
        "rint",
        "round",
        "sign",
        "sin",
        "sinh",
        "sqrt",
        "square",
        "tan",
        "tanh",
        "where",
    ]
)
TRANSFORMS = frozenset(
    [
        "C",
        "I",
        "bs",
        "cc",
        "center",
        "cr",
        "cs",
        "poly",
        "scale",
        "standardize",
        "Treatment",
        "Sum",
        "Helmert",
        "Poly",
        "Diff",
    ]
)
CONTRASTS = frozenset(["treatment", "sum", "helmert", "poly", "diff", "SAS"])
BARE = frozenset(["log", "log10", "log2", "exp", "exp2", "exp10", "log1p", "expm1", "sqrt", "abs"])
CONTRAST_CALLS = frozenset(f"contr.{name}" for name in CONTRASTS)
# Names that mean something without being called, as in C(g, Sum).
CODINGS = frozenset(["Treatment", "Sum", "Helmert", "Poly", "Diff"])
FUNCTIONS = TRANSFORMS | BARE | CONTRAST_CALLS | {f"np.{name}" for name in NUMPY}

_ALLOWED = (
    ast.Expression, ast.Name, ast.Load, ast.Constant, ast.Call, ast.keyword, ast.Attribute,
    ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Tuple, ast.List,
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.BitAnd, ast.BitOr,
    ast.unaryop, ast.boolop, ast.cmpop,
)  # fmt: skip
CURVES = frozenset(["bs", "cc", "cr", "cs", "poly"])
LARGEST_DEGREE = 1_000
# Python's own functions that walk a tree give up at about 200 levels.
DEEPEST = 150
# In a quoted text or name they would end it, for one reader or another.
ODD = re.compile(r"['\"`\\]")
# What people from other software write, and what it is called here.
ALIASES = {"factor": "C", "as_factor": "C", "s": "cr", "ns": "cr", "rcs": "cr", "ln": "log"}


def quoted_names(text: str) -> tuple[str, dict[str, str]]:
    """Replace backtick-quoted column names by plain ones.

    Examples
    --------
    >>> quoted_names("log(`my column`) + x")
    ('log(_quoted_0_) + x', {'_quoted_0_': 'my column'})
    """
    names: dict[str, str] = {}

    def swap(match: re.Match[str]) -> str:
        plain = f"_quoted_{len(names)}_"
        names[plain] = match[1]
        return plain

    return re.sub(r"`([^`]*)`", swap, text), names


def parse(text: str, formula: str) -> tuple[ast.expr, dict[str, str]]:
    """Parse one expression.

    Raises
    ------
    FormulaError
        If it is no expression.
    """
    plain, names = quoted_names(text.strip())
    try:
        with warnings.catch_warnings():
            # Python's opinion of 'a\d' is not for users of formulas.
            warnings.simplefilter("ignore")
            tree = ast.parse(plain, mode="eval").body
        if _is_deep(tree):
            raise RecursionError
        return tree, names
    except (RecursionError, MemoryError) as error:
        raise FormulaError(
            explain(
                f"the formula is nested too deeply or too long at {_short(text)!r}",
                advice="compute the column beforehand",
            )
        ) from error
    except (SyntaxError, ValueError) as error:
        raise FormulaError(
            explain(
                f"the formula does not parse at {_short(text)!r}",
                formula=formula,
                advice="names with other signs are quoted by backticks, as `my column`",
            )
        ) from error


def _is_deep(tree: ast.AST) -> bool:
    """Whether a tree has more levels than functions that call themselves can walk."""
    level, depth = [tree], 0
    while level and depth <= DEEPEST:
        level, depth = [child for node in level for child in ast.iter_child_nodes(node)], depth + 1
    return bool(level)


def _short(text: str) -> str:
    text = text.strip()
    return text if len(text) <= 60 else text[:57] + "..."


def check(text: str, formula: str, *, context: Collection[str] = ()) -> set[str]:
    """Refuse everything but the allow-list; return the columns that an expression uses.

    Parameters
    ----------
    text : str
        One factor of a formula.
    formula : str
        The whole formula, for messages.
    context : collection of str
        Names of the user's own functions.

    Raises
    ------
    FormulaError
        Naming what is not allowed.

    Examples
    --------
    >>> sorted(check("np.log(x) + poly(z, 2)", "y ~ ..."))
    ['x', 'z']
    """
    tree, quoted = parse(text, formula)
    columns: set[str] = set()
    functions: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            _check_call(node, formula, context)
            functions.update(id(part) for part in ast.walk(node.func))
    for node in ast.walk(tree):
        if not isinstance(node, _ALLOWED):
            raise FormulaError(
                explain(
                    f"{type(node).__name__} is not allowed in a formula",
                    formula=formula,
                    advice="formulas take columns, numbers, arithmetic and listed functions",
                )
            )
        if id(node) in functions:
            continue
        if isinstance(node, ast.BinOp):
            _check_size(node, formula)
        if isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            if name not in FUNCTIONS:
                raise FormulaError(explain(f"{name} is not allowed in a formula", formula=formula))
            functions.update(id(part) for part in ast.walk(node))
        elif isinstance(node, ast.Name) and node.id not in CODINGS | set(context):
            columns.add(quoted.get(node.id, node.id))
    return columns


def check_quotes(text: str, formula: str) -> None:
    """Refuse text that formulaic would take for code, or code that it would take for text.

    formulaic looks for backticks outside of quotes, `quoted_names` everywhere; and it writes the
    text of a call between double quotes, to be evaluated. Neither matters where no quoted text and
    no quoted name has quotes of its own.

    Raises
    ------
    FormulaError
        For quotes, backticks and backslashes in text or in the names of columns.

    Examples
    --------
    >>> check_quotes("C(`my column`, Treatment('a'))", "y ~ ...")
    """
    tree, names = parse(text, formula)
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    inside = [name for name in names if any(name in each for each in texts)]
    odd = [each for each in (*texts, *names.values()) if ODD.search(each) or not each.isprintable()]
    if inside or odd:
        told = f"`{names[inside[0]]}`" if inside else odd[0]
        raise FormulaError(
            explain(
                f"quotes, backticks and backslashes cannot stand inside quotes: {_short(told)!r}",
                formula=formula,
                advice="rename the level or the column",
            )
        )


def called(text: str, formula: str) -> set[str]:
    """Return the names of functions that an expression calls; ``np.log`` counts as ``np``.

    Examples
    --------
    >>> sorted(called("scale(np.log(x))", "y ~ ..."))
    ['np', 'scale']
    """
    tree, _ = parse(text, formula)
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {ast.unparse(function).split(".")[0] for function in calls}


def _check_call(node: ast.Call, formula: str, context: Collection[str]) -> None:
    name = ast.unparse(node.func)
    if name not in FUNCTIONS and name not in context:
        near = ALIASES.get(name)
        hint = suggest(near or name, sorted(FUNCTIONS | set(context)))
        raise FormulaError(
            explain(
                f"the function {name} is not allowed in a formula{hint}",
                formula=formula,
                advice=f"pass your own as context={{{name!r}: function}}, compute the column "
                "beforehand, or use C, I, poly, bs, cr, scale, center, log, exp, sqrt, np.where, ...",
            )
        )
    if any(keyword.arg is None for keyword in node.keywords):
        raise FormulaError(explain("** is not allowed in a call in a formula", formula=formula))
    if name in CURVES:
        _check_curve(node, formula, context)
    bare = name.removeprefix("np.")
    if bare in NUMPY | BARE and name not in context and len(node.args) > _arity(bare):
        # np.abs(x, x) would write into the data, too.
        raise FormulaError(
            explain(f"{name} takes at most {_arity(bare)} values in a formula", formula=formula)
        )
    if node.keywords and name not in TRANSFORMS | CONTRAST_CALLS and name not in context:
        # np.log(x, out=x) would write into the data.
        raise FormulaError(explain(f"{name} takes no keywords in a formula", formula=formula))


def _arity(name: str) -> int:
    others = {"where": 3, "clip": 3, "round": 2}
    return others.get(name) or int(getattr(getattr(np, name, None), "nin", 1))


def _check_curve(node: ast.Call, formula: str, context: Collection[str]) -> None:
    """Refuse a curve that asks for more columns than there can be, or hides how many it asks for."""
    for size, word in [
        *((argument, None) for argument in node.args[1:]),
        *((keyword.value, keyword.arg) for keyword in node.keywords),
    ]:
        if isinstance(size, ast.Name) and size.id in context:
            continue
        try:
            number = ast.literal_eval(size)
        except (ValueError, TypeError) as error:
            raise FormulaError(
                explain(
                    f"{ast.unparse(size)} is not allowed in {ast.unparse(node.func)}()",
                    formula=formula,
                    advice="write the number itself",
                )
            ) from error
        # A bound of the range of x may be any number.
        if word in ("lower_bound", "upper_bound") or isinstance(number, (bool, str, list, tuple)):
            continue
        if number is not None and not abs(number) <= LARGEST_DEGREE:
            raise FormulaError(
                explain(
                    f"{ast.unparse(node)} asks for more columns than {LARGEST_DEGREE}",
                    formula=formula,
                )
            )


def _check_size(node: ast.BinOp, formula: str) -> None:
    """Refuse arithmetic whose size a formula alone could make boundless."""
    named = any(isinstance(part, ast.Name) for part in ast.walk(node))
    texts = any(
        isinstance(part, (ast.Tuple, ast.List))
        or (isinstance(part, ast.Constant) and not isinstance(part.value, (int, float)))
        for part in (node.left, node.right)
    )
    if texts or (isinstance(node.op, ast.Pow) and not named):
        raise FormulaError(
            explain(
                f"{ast.unparse(node)} is not allowed in a formula",
                formula=formula,
                advice="write the number itself",
            )
        )


def split_top(text: str, separators: str) -> list[tuple[str, str]]:
    """Split at separators outside brackets, quotes and backticks; give each piece its separator.

    Examples
    --------
    >>> split_top("x + log(a + b) - 1", "+-")
    [('', 'x '), ('+', ' log(a + b) '), ('-', ' 1')]
    """
    pieces, depth, quote, start, sign = [], 0, "", 0, ""
    for i, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"`":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        elif depth == 0 and letter in separators:
            pieces.append((sign, text[start:i]))
            start, sign = i + 1, letter
    pieces.append((sign, text[start:]))
    return pieces

"""How the matrix of predictors changes with a column of the data: its derivative, by rule.

A column of the matrix is a product of factors. Where x stands in one as itself or in arithmetic
(``x:z``, ``np.log(x)``, ``I(x**2)``) JAX differentiates the expression. ``poly``, ``bs``, ``cr`` and
their like are polynomials between knots: found from their values at degree + 1 points between each
two, and differentiated as polynomials. What is left is a central difference.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial import chebyshev

from bayesglm.arithmetic import evaluate
from bayesglm.errors import FormulaError
from bayesglm.expressions import check, parse
from bayesglm.materials import materialize
from bayesglm.precision import in_double

if TYPE_CHECKING:
    from bayesglm.effects.rows import Rows
    from bayesglm.encoding import Encoding
    from bayesglm.formulas import Formula

__all__ = ["Derivative", "Tangent", "derivative_of"]

# Calls that are polynomials of their first argument between knots, of this degree (poly: its own).
DEGREES = {"bs": 3, "cr": 3, "cs": 3, "cc": 3, "scale": 1, "center": 1, "standardize": 1}
# The best step of a central difference, relative to the size of a column.
STEP = float(np.finfo(float).eps ** (1 / 3))


@dataclass(frozen=True)
class _Words:
    """A formula and what was learned for it."""

    encoding: Encoding
    formula: Formula
    context: Mapping[str, Any] | None

    def columns_of(self, factor: str) -> set[str]:
        """Return the columns of the data in a factor."""
        return check(self.quoted(factor), self.formula.text, context=self.context or {})

    def quoted(self, factor: str) -> str:
        """Return a factor as it stands in a formula: the name of a column may need backticks."""
        return f"`{factor}`" if factor in self.encoding.columns else factor


@dataclass(frozen=True)
class Tangent:
    """The derivative of the matrix of some rows in one variable.

    Attributes
    ----------
    columns : ndarray of int, shape (m,)
        The columns that change.
    values : ndarray, shape (rows, m)
        Their derivatives.
    offset : ndarray, shape (rows,), or None
        That of the offset.
    """

    columns: np.ndarray
    values: np.ndarray
    offset: np.ndarray | None = None

    def __getitem__(self, part: slice) -> Tangent:
        return Tangent(
            self.columns, self.values[part], None if self.offset is None else self.offset[part]
        )


@dataclass(frozen=True)
class _Curve:
    """Columns that are polynomials of x between knots, as Chebyshev series on each piece.

    ``values`` and ``slopes`` have shape (pieces, degree + 1 or degree, columns).
    """

    edges: np.ndarray
    series: np.ndarray

    def at(self, x: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return values and slopes in x of some columns, shape (rows, columns)."""
        piece = np.clip(np.searchsorted(self.edges, x, side="right") - 1, 0, len(self.edges) - 2)
        low, high = self.edges[piece], self.edges[piece + 1]
        local = (2 * x - low - high) / (high - low)
        values = np.empty((len(x), len(places)))
        slopes = np.empty((len(x), len(places)))
        for k in np.unique(piece):
            here = piece == k
            series = self.series[k][:, places]
            values[here] = chebyshev.chebval(local[here], series).T
            scale = 2 / (self.edges[k + 1] - self.edges[k])
            slopes[here] = scale * chebyshev.chebval(local[here], chebyshev.chebder(series)).T
        return values, slopes


@dataclass(frozen=True)
class Derivative:
    """The derivative of the matrix in one variable, for any rows.

    Attributes
    ----------
    rows : Rows
    name : str
        The variable.
    identical : tuple of int
        Columns that are the variable itself.
    arithmetic : dict of int to (str, bool)
        Columns with the product of their factors of x, and whether there are others.
    curves : dict of str to (_Curve, list of (int, bool))
        Curves with their columns.
    differences : tuple of int
        Columns without a rule.
    step : float or None
        Of the central difference, in units of the variable.
    offsets : tuple of str
        Terms of the offset that hold the variable.
    text : str
        The formula, for messages.
    range : (float, float) or None
        That of the variable in training.
    """

    rows: Rows
    name: str
    identical: tuple[int, ...] = ()
    arithmetic: dict[int, tuple[str, bool]] = field(default_factory=dict)
    curves: dict[str, tuple[_Curve, list[tuple[int, bool]]]] = field(default_factory=dict)
    differences: tuple[int, ...] = ()
    step: float | None = None
    offsets: tuple[str, ...] = ()
    text: str = ""
    range: tuple[float, float] | None = None

    @property
    def constant(self) -> bool:
        """Whether the derivative is the same in every row: eta is linear in the variable."""
        rest = self.arithmetic or self.curves or self.differences or self.offsets
        return bool(self.identical) and not rest

    def at(self, part: slice) -> Tangent:
        """Return the derivative at some rows."""
        if self.constant:
            n = len(range(*part.indices(self.rows.n)))
            return Tangent(np.array(self.identical), np.ones((n, len(self.identical))))
        frame = self.rows.frame.iloc[part]
        columns = {name: frame[name] for name in frame.columns}
        x = np.asarray(frame[self.name], dtype=float)
        found: dict[int, np.ndarray] = {j: np.ones(len(x)) for j in self.identical}
        lone = not any(more for _, more in self.arithmetic.values()) and not any(
            more for _, entries in self.curves.values() for _, more in entries
        )
        others = _Others(self, part, x, skip=lone)
        for j, (text, more) in self.arithmetic.items():
            value, slope = _with_slope(text, self.text, columns, self.name)
            if more:
                again, _ = _with_slope(text, self.text, columns | {self.name: others.x}, self.name)
                slope = slope * others.factor(j, value, again)
            found[j] = slope
        for curve, entries in self.curves.values():
            places = np.arange(len(entries))
            values, slopes = curve.at(x, places)
            again = curve.at(others.x, places)[0] if not lone else values
            for k, (j, more) in enumerate(entries):
                rest = others.factor(j, values[:, k], again[:, k]) if more else 1.0
                found[j] = slopes[:, k] * rest
        if self.differences:
            change = self._difference(part, x)
            found |= {j: change[:, k] for k, j in enumerate(self.differences)}
        offset = None
        for text in self.offsets:
            slope = _with_slope(text, self.text, columns, self.name)[1]
            offset = slope if offset is None else offset + slope
        js = np.array(sorted(found), dtype=np.int64)
        values = np.column_stack([found[int(j)] for j in js]) if len(js) else np.empty((len(x), 0))
        return Tangent(js, values, offset)

    def _difference(self, part: slice, x: np.ndarray) -> np.ndarray:
        js, step = list(self.differences), self.step or 1.0
        above, below = x + step, x - step
        if self.range is not None:
            # A spline ends where the data do.
            low, high = self.range
            above = np.where(x <= high, np.minimum(above, high), above)
            below = np.where(x >= low, np.maximum(below, low), below)
        ends = [self._moved(part, v)[:, js] for v in (above, below)]
        return np.asarray((ends[0] - ends[1]) / (above - below)[:, None])

    def _moved(self, part: slice, x: np.ndarray) -> np.ndarray:
        whole = np.empty(self.rows.n)
        whole[part] = x
        return np.asarray(self.rows.changed(part, {self.name: whole}).matrix)


class _Others:
    """What x is multiplied with in a column: the column over the value of its factors of x.

    Those may be 0 where x is; there the column is taken at another x close by.
    """

    def __init__(self, derivative: Derivative, part: slice, x: np.ndarray, *, skip: bool) -> None:
        self.x = x
        if skip:
            return
        self._here = derivative.rows.plain(part).matrix
        known = [curve.edges for curve, _ in derivative.curves.values()]
        edges = np.unique(np.concatenate([np.empty(0), *known]))
        if len(edges) > 1:
            # Inside the same piece, at no point of symmetry.
            inner = edges if len(edges) < 4 else edges[1:-1]
            at = np.clip(np.searchsorted(inner, x, side="right") - 1, 0, len(inner) - 2)
            low, high = inner[at], inner[at + 1]
            share = np.where(np.abs((x - low) / (high - low) - 0.4) < 0.2, 0.83, 0.41)
            self.x = low + share * (high - low)
        else:
            size = float(np.abs(x).max(initial=0.0)) or 1.0
            self.x = np.where(x == 0, size, x * 1.37)
        self._there = derivative._moved(part, self.x)

    def factor(self, j: int, here: np.ndarray, there: np.ndarray) -> np.ndarray:
        """Return the other factors of column j, given those of x at both points."""
        nearer = np.abs(here) >= np.abs(there)
        top = np.where(nearer, self._here[:, j], self._there[:, j])
        below = np.where(nearer, here, there)
        return np.asarray(np.divide(top, below, out=np.zeros_like(top), where=below != 0))


def derivative_of(rows: Rows, name: str) -> Derivative:
    """Return how the matrix changes with a variable.

    Parameters
    ----------
    rows : Rows
    name : str
        A column of numbers.
    """
    design = rows.fit.design
    if design.encoding is None or design.formula is None:
        return Derivative(rows, name, identical=(design.terms.index(name),))
    words = _Words(design.encoding, design.formula, design.context)
    identical, arithmetic, differences = [], {}, []
    curves: dict[str, list[tuple[int, bool]]] = {}
    for j, factors in enumerate(_structure(rows, words)):
        own = [f for f in factors if name in words.columns_of(f)]
        if not own:
            continue
        more = len(own) < len(factors)
        curved = [f for f in own if _degree(f, name, words.encoding.transforms) is not None]
        if own == [name] and not more:
            identical.append(j)
        elif len(own) == 1 and curved:
            curves.setdefault(own[0], []).append((j, more))
        elif all(_is_arithmetic(rows, words, f) for f in own):
            arithmetic[j] = " * ".join(f"({words.quoted(f)})" for f in own), more
        else:
            differences.append(j)
    text = words.formula.text
    fitted = {
        factor: (_fit_curve(rows, words, name, factor, [j for j, _ in entries]), entries)
        for factor, entries in curves.items()
    }
    step = None
    if differences:
        x = np.asarray(rows.frame[name], dtype=float)
        step = STEP * max(float(np.abs(x).max(initial=0.0)), float(np.ptp(x)), 1e-300)
    return Derivative(
        rows,
        name,
        tuple(identical),
        arithmetic,
        fitted,
        tuple(differences),
        step,
        tuple(held for held in words.formula.offsets if name in check(held, text)),
        text,
        (words.encoding.columns[name].lower, words.encoding.columns[name].upper),
    )


def _structure(rows: Rows, words: _Words) -> list[tuple[str, ...]]:
    """Return for each column of the matrix the factors it is made of."""
    encoding = words.encoding
    one = encoding.prepare(rows.frame.iloc[:1])
    state: dict[str, Any] = {"transforms": encoding.transforms, "categories": encoding.categories}
    _, spec = materialize(encoding.right, one, words.context, sparse=encoding.sparse, **state)
    factors = {
        str(column): tuple(str(factor.expr) for factor in row.term.factors)
        for row in spec.structure
        for column in row.columns
    }
    return [factors[term] for term in rows.fit.design.terms]


def _degree(factor: str, name: str, transforms: Mapping[str, Any]) -> int | None:
    """Return the degree of a curve through a column itself; None for anything else."""
    state = transforms.get(factor)
    if state is None:
        return None
    tree, quoted = parse(factor, factor)
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name) or not tree.args:
        return None
    first = tree.args[0]
    if not isinstance(first, ast.Name) or quoted.get(first.id, first.id) != name:
        return None
    if "norms2" in state:
        return len(state["norms2"]) - 1
    degree = DEGREES.get(tree.func.id)
    for keyword in tree.keywords:
        if keyword.arg == "degree" and isinstance(keyword.value, ast.Constant):
            degree = int(str(keyword.value.value))
    # What stands by place in bs may be its degree.
    return None if len(tree.args) > 1 and tree.func.id == "bs" else degree


def _is_arithmetic(rows: Rows, words: _Words, factor: str) -> bool:
    """Whether an expression is one that can be evaluated, and differentiated, by JAX."""
    if factor in words.encoding.categories or factor in words.encoding.transforms:
        return False
    one = rows.frame.iloc[:1]
    try:
        columns = {name: one[name] for name in words.columns_of(factor)}
        if any(values.dtype.kind not in "fiub" for values in columns.values()):
            return False
        _with_slope(words.quoted(factor), words.formula.text, columns, next(iter(columns)))
    except (FormulaError, TypeError):
        return False
    return True


@in_double
def _with_slope(
    text: str, formula: str, columns: Mapping[str, Any], name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return an expression of columns and its derivative in one of them."""
    used = check(text, formula)
    arrays = {n: jnp.asarray(np.asarray(columns[n], dtype=float)) for n in used}
    x = arrays[name]

    def value(x: Any) -> Any:
        return jnp.asarray(evaluate(text, formula, {**arrays, name: x}, functions=jnp), float)

    found, slope = jax.jvp(value, (x,), (jnp.ones_like(x),))
    shape = x.shape
    return np.broadcast_to(np.asarray(found), shape), np.broadcast_to(np.asarray(slope), shape)


def _fit_curve(rows: Rows, words: _Words, name: str, factor: str, columns: list[int]) -> _Curve:
    """Return the polynomials behind the columns of a curve, up to a constant for each column."""
    encoding = words.encoding
    state = encoding.transforms[factor]
    degree = _degree(factor, name, encoding.transforms) or 1
    low, high = encoding.columns[name].lower, encoding.columns[name].upper
    knots = np.unique(np.asarray(state.get("knots", []), dtype=float))
    inner = np.unique(np.concatenate([[low, high], knots[(knots > low) & (knots < high)]]))
    if len(inner) < 2:
        inner = np.array([low - 0.5, low + 0.5])
    if factor.startswith("bs("):
        edges = inner
    else:
        # Beyond the data the curve goes on, by a piece of its own on either side.
        width = inner[-1] - inner[0]
        edges = np.concatenate([[inner[0] - width], inner, [inner[-1] + width]])
    nodes = chebyshev.chebpts1(degree + 1)
    places = 0.5 * (edges[1:] + edges[:-1])[:, None] + 0.5 * np.diff(edges)[:, None] * nodes
    # For each column a row in which its other factors are not 0.
    sample = np.unique(np.linspace(0, rows.n - 1, min(rows.n, 2_000)).astype(int))
    block = rows.matrix[sample]
    block = block if isinstance(block, np.ndarray) else block.toarray()
    chosen = sample[np.abs(block[:, columns]).argmax(axis=0)]
    which, place = np.unique(chosen, return_inverse=True)
    frame = rows.frame.iloc[np.repeat(which, places.size)].reset_index(drop=True)
    frame = frame.assign(**{name: np.tile(places.ravel(), len(which))})
    matrix = encoding.apply(frame, words.context)
    matrix = matrix if isinstance(matrix, np.ndarray) else matrix.toarray()
    shaped = matrix.reshape(len(which), *places.shape, -1)
    values = np.stack([shaped[place[k], :, :, j] for k, j in enumerate(columns)], axis=-1)
    vander = np.linalg.inv(chebyshev.chebvander(nodes, degree))
    return _Curve(edges, np.einsum("ab,pbk->pak", vander, values))

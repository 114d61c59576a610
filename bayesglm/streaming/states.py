"""States of ``scale``, ``center`` and ``poly`` of all rows, from sums that blocks add up to.

Knots are quantiles, and are learned on a sample; these three need sums of powers only, and so are
exact however many rows there are.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bayesglm.errors import FormulaError
from bayesglm.expressions import parse

__all__ = ["Powers", "exact"]

# Sums of higher powers have lost too many digits.
DEGREE = 8


def _call(factor: str) -> tuple[str, str, list[ast.expr], dict[str, ast.expr]] | None:
    """Return function, column, other arguments and keywords of a call such as ``poly(x, 2)``."""
    try:
        tree, quoted = parse(factor, factor)
    except FormulaError:
        return None
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name) or not tree.args:
        return None
    first = tree.args[0]
    if not isinstance(first, ast.Name):
        return None
    words = {str(word.arg): word.value for word in tree.keywords}
    return tree.func.id, quoted.get(first.id, first.id), list(tree.args[1:]), words


@dataclass
class Powers:
    """Sums of powers of columns, in units in which they lose no digits.

    Attributes
    ----------
    columns : set of str
        That stand in a polynomial.
    units : dict of str to (float, float)
        Centre and scale of each, from the first block.
    sums : dict of str to ndarray
        Sums of ((x - centre) / scale)**k for k = 0, 1, ...
    """

    columns: set[str]
    units: dict[str, tuple[float, float]] = field(default_factory=dict)
    sums: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, right: str, numeric: Sequence[str]) -> Powers:
        """Return the powers that the polynomials of a formula need."""
        return cls({name for name in numeric if "poly(" in right and name in right})

    def add(self, columns: Mapping[str, np.ndarray]) -> None:
        """Add a block."""
        for name in self.columns:
            x = columns[name]
            if name not in self.units:
                spread = float(x.std())
                self.units[name] = float(x.mean()), spread if spread > 0 else 1.0
                self.sums[name] = np.zeros(2 * DEGREE + 1)
            center, scale = self.units[name]
            z = (x - center) / scale
            power = np.ones_like(z)
            for k in range(2 * DEGREE + 1):
                self.sums[name][k] += power.sum()
                power *= z

    def knows(self, factor: str) -> bool:
        """Whether the state of a factor is that of all rows."""
        call = _call(factor)
        if call is None:
            return False
        function, column, arguments, words = call
        if function in ("scale", "center"):
            return not arguments and not words
        return function == "poly" and column in self.columns

    def poly(self, column: str, degree: int) -> dict[str, Any]:
        """Return formulaic's state of a polynomial: monic, by the three-term recurrence."""
        center, scale = self.units[column]
        sums = self.sums[column]

        def mean(p: np.ndarray) -> float:
            return float(p @ sums[: len(p)])

        before, now = np.zeros(1), np.ones(1)
        alpha: dict[Any, float] = {}
        norms: dict[Any, float] = {0: mean(np.ones(1))}
        z = np.array([0.0, 1.0])
        for k in range(degree):
            square = np.convolve(now, now)
            own = mean(np.convolve(z, square)) / mean(square)
            alpha[k] = center + scale * own
            later = np.convolve(np.array([-own, 1.0]), now)
            if k >= 1:
                beta = mean(square) / mean(np.convolve(before, before))
                later[: len(before)] -= beta * before
            before, now = now, later
            norms[k + 1] = mean(np.convolve(now, now)) * scale ** (2 * (k + 1))
        return {"alpha": alpha, "norms2": norms}


def exact(
    transforms: Mapping[str, Any], *, moments: Any, numeric: Sequence[str], powers: Powers
) -> dict[str, Any]:
    """Return formulaic's states, those that need sums only as all rows have them.

    Parameters
    ----------
    transforms : mapping
        State by factor, learned on a sample.
    moments : Moments
        Of the columns ``numeric``.
    powers : Powers
    """
    found = dict(transforms)
    for factor, state in transforms.items():
        call = _call(factor)
        if call is None:
            continue
        function, column, _, _ = call
        if column not in numeric or not powers.knows(factor):
            continue
        j = list(numeric).index(column)
        if function in ("scale", "center"):
            new = dict(state)
            mean, n = float(moments.mean_rows[j]), moments.rows
            if new.get("center") is not None:
                new["center"] = mean
                if new.get("scale") is not None:
                    new["scale"] = float(np.sqrt(moments.square_rows[j] / (n - new.get("ddof", 1))))
                found[factor] = new
        elif function == "poly" and column in powers.columns and "norms2" in state:
            degree = len(state["norms2"]) - 1
            if degree <= DEGREE:
                found[factor] = powers.poly(column, degree)
    return found

"""Which values of a variable are compared: from where to where, and how that is called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.effects.rows import Rows, check_variable, variables_of
from bayesglm.errors import SpecificationError, explain

if TYPE_CHECKING:
    from bayesglm.encoding import Column

__all__ = ["Contrasts", "contrasts_of", "is_numeric", "levels_of", "wanted"]

NUMERIC = ("sd", "2sd", "iqr", "minmax")
CATEGORICAL = ("reference", "pairwise", "sequential")


@dataclass(frozen=True)
class Contrasts:
    """The comparisons of a variable.

    Attributes
    ----------
    name : str
    versions : list of dict
        What the variable is set to in each version of the rows.
    pairs : list of (int, int)
        Which version is compared with which: (low, high).
    labels : list of (str, str)
        What the two are called; the first is empty where it is each row's own value.
    """

    name: str
    versions: list[dict[str, Any]]
    pairs: list[tuple[int, int]]
    labels: list[tuple[str, str]]


def wanted(rows: Rows, variables: Any) -> dict[str, Any]:
    """Return the variables asked for, each with what was said of it (None where nothing was)."""
    if variables is None:
        found: dict[str, Any] = dict.fromkeys(variables_of(rows.fit))
    elif isinstance(variables, str):
        found = {variables: None}
    elif isinstance(variables, Mapping):
        found = dict(variables)
    elif isinstance(variables, Iterable):
        found = dict.fromkeys(variables)
    else:
        raise SpecificationError(
            explain("variables must be a name, a list, or a dict", variables=variables)
        )
    if not found:
        raise SpecificationError(explain("the model has no variables"))
    return {check_variable(rows.fit, name): value for name, value in found.items()}


def levels_of(rows: Rows, name: str) -> list[Any]:
    """Return the levels of a factor, True and False, or the values of numbers inside C()."""
    design = rows.fit.design
    if design.encoding is None:
        return []
    column = _column(rows, name)
    if column is not None and column.kind == "category":
        return list(column.levels)
    if column is not None and column.kind == "bool":
        return [False, True]
    for factor, levels in design.encoding.categories.items():
        if factor == f"C({name})" or factor.startswith(f"C({name},"):
            return list(levels)
    return []


def is_numeric(rows: Rows, name: str) -> bool:
    """Whether a variable takes numbers, and is not a factor."""
    return not levels_of(rows, name)


def contrasts_of(rows: Rows, name: str, asked: Any) -> Contrasts:
    """Return the comparisons of a variable.

    Parameters
    ----------
    rows : Rows
    name : str
    asked : None, number, pair, or str
        For a number: the step up from what each row has (1 by default; from 0 to 1 where it takes
        these two values only), the two ends, or ``"sd"``, ``"2sd"``, ``"iqr"``, ``"minmax"`` of the
        rows. For a factor: ``"reference"``, ``"pairwise"``, ``"sequential"``, or two levels.
    """
    levels = levels_of(rows, name)
    return _of_levels(name, levels, asked) if levels else _of_numbers(rows, name, asked)


def _of_levels(name: str, levels: list[Any], asked: Any) -> Contrasts:
    if asked is None or asked == "reference":
        pairs = [(0, k) for k in range(1, len(levels))]
    elif asked == "pairwise":
        pairs = list(combinations(range(len(levels)), 2))
    elif asked == "sequential":
        pairs = list(pairwise(range(len(levels))))
    elif _is_pair(asked) and all(level in levels for level in asked):
        pairs = [(levels.index(asked[0]), levels.index(asked[1]))]
    else:
        raise SpecificationError(
            explain(
                f"what to compare of {name!r} must be {', '.join(CATEGORICAL)}, or two levels",
                got=asked,
                levels=levels[:20],
            )
        )
    if not pairs:
        raise SpecificationError(
            explain(f"{name!r} has one level only", level=levels[0], advice="leave it out")
        )
    used = sorted({k for pair in pairs for k in pair})
    place = {k: v for v, k in enumerate(used)}
    return Contrasts(
        name,
        [{name: levels[k]} for k in used],
        [(place[a], place[b]) for a, b in pairs],
        [(str(levels[a]), str(levels[b])) for a, b in pairs],
    )


def _of_numbers(rows: Rows, name: str, asked: Any) -> Contrasts:
    x = _values(rows, name)
    live = x[rows.weights > 0]
    if asked is None:
        trained = _values_of_training(rows, name)
        asked = (0.0, 1.0) if set(np.unique(trained)) <= {0.0, 1.0} else 1.0
    if isinstance(asked, str):
        if asked not in NUMERIC:
            raise SpecificationError(
                explain(
                    f"what to compare of {name!r} must be a step, two ends, or one of "
                    + ", ".join(NUMERIC),
                    got=asked,
                )
            )
        if asked in ("iqr", "minmax"):
            ends = np.quantile(live, [0.25, 0.75] if asked == "iqr" else [0.0, 1.0])
            asked = (float(ends[0]), float(ends[1]))
        else:
            asked = float(live.std(ddof=1)) * (2 if asked == "2sd" else 1)
    if _is_pair(asked):
        low, high = (float(end) for end in asked)
        labels = (f"{low:.6g}", f"{high:.6g}")
        return Contrasts(name, [{name: low}, {name: high}], [(0, 1)], [labels])
    if isinstance(asked, bool) or not isinstance(asked, (int, float, np.number)):
        raise SpecificationError(
            explain(f"what to compare of {name!r} must be a step or two ends", got=asked)
        )
    step = float(asked)
    labels = ("", f"{step:+.6g}")
    return Contrasts(name, [{}, {name: x + step}], [(0, 1)], [labels])


def _is_pair(value: Any) -> bool:
    return isinstance(value, (list, tuple, np.ndarray)) and len(value) == 2


def _column(rows: Rows, name: str) -> Column | None:
    design = rows.fit.design
    for encoding in (design.encoding, *(given.encoding for given in design.inputs)):
        if encoding is not None and name in encoding.columns:
            return encoding.columns[name]
    return None


def _values(rows: Rows, name: str) -> np.ndarray:
    design = rows.fit.design
    if design.encoding is None and name not in rows.frame.columns:
        j = design.terms.index(name)
        return np.asarray(rows.matrix[:, [j]].toarray()).ravel()
    return np.asarray(rows.frame[name], dtype=float)


def _values_of_training(rows: Rows, name: str) -> np.ndarray:
    frame = rows.fit.design.frame
    known = frame is not None and name in frame.columns
    return np.asarray(frame[name], dtype=float) if known else _values(rows, name)

"""Separation in the user's words: which column or level leaves the estimate without an end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.merging import merge
from bayesglm.recession import recession, sparsest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bayesglm.design import Design
    from bayesglm.link import Link

__all__ = ["Separation", "separation"]

# Reasons named in a message, and columns beyond which no sparse direction is looked for.
NAMED, SPARSE = 3, 200


@dataclass(frozen=True)
class Separation:
    """How the predictors separate an outcome.

    Attributes
    ----------
    complete : bool
        Whether every row is on its side; else some rows, and the others lie between (quasi-complete).
    rows : int
        Rows (of weight > 0) that are predicted perfectly in the limit.
    nobs : int
        Rows of weight > 0.
    terms : tuple of str
        The coefficients that have no finite estimate.
    reasons : tuple of str
        Sentences that say what separates, the simplest found.
    guilty : tuple of str
        The columns that these speak of.
    """

    complete: bool
    rows: int
    nobs: int
    terms: tuple[str, ...]
    reasons: tuple[str, ...]
    guilty: tuple[str, ...]

    def __str__(self) -> str:
        """Return the separation as one sentence."""
        kind = "completely" if self.complete else f"in {self.rows:,} of {self.nobs:,} rows"
        told = "; ".join(self.reasons) or f"by {', '.join(self.terms)} together"
        return f"the predictors separate the outcome {kind}: {told}"


def separation(
    design: Design, link: Link, free: np.ndarray | None = None, center: np.ndarray | None = None
) -> Separation | None:
    """Return how the outcome is separated, or None if a finite estimate exists.

    Exact up to margins of 1e-6 of a column's size; for the bounded ends of a link's domain too: a
    probability of 1 is reached, not approached, under ``log``.

    Parameters
    ----------
    design : Design
        The data; rows of weight 0 count for nothing.
    link : Link
    free : ndarray of bool, shape (k,), optional
        The coefficients without a proper prior, the intercept first; all by default. The others
        cannot run away.
    center : ndarray, shape (p,), optional
        Centres of the columns, where it is the prior of the intercept on centred ones that holds it.

    Examples
    --------
    >>> import bayesglm as bg
    >>> data = {"y": [0, 0, 0, 1, 1], "dose": [1.0, 2.0, 3.0, 4.0, 5.0]}
    >>> print(separation(bg.Model("y ~ dose", data).design, bg.links.get_link("logit")))
    the predictors separate the outcome completely: dose > 3.5 in every row with the event, dose < 3.5 in all others
    """
    rows, _ = merge(design.matrix, design.y, design.trials, design.weights, 0 * design.offset)
    live = np.flatnonzero(rows.weights > 0)
    y, trials = rows.y[live], rows.trials[live]
    lower, upper = link.domain
    rising, falling = (y == trials) & np.isposinf(upper), (y == 0) & np.isneginf(lower)
    sides = rising.astype(int) - falling
    names = (("Intercept",) if design.intercept else ()) + tuple(design.terms)
    chosen = np.arange(len(names)) if free is None else np.flatnonzero(free)
    if not chosen.size or not sides.any():
        return None
    matrix, center = _columns(rows.matrix, live, design.intercept, chosen, center)
    cone = recession(matrix, sides)
    if cone is None:
        return None
    if (sides == sides[0]).all():
        every = "every" if sides[0] > 0 else "no"
        told = f"{every} row has the event"
        return Separation(True, design.nobs, design.nobs, names, (told,), ())
    guilty = cone.coefficients
    if center.any() and names[chosen[0]] == "Intercept":
        # Back from centred columns: the intercept makes up for the centres of what moves.
        parts = center[:, None] * cone.span
        rest = np.abs(cone.span[0] - parts.sum(axis=0))
        guilty[0] = (rest > 1e-9 * (np.abs(cone.span[0]) + np.abs(parts).sum(axis=0))).any()
    moved = {names[j] for j in chosen[guilty]}
    terms = tuple(name for name in names if name in moved)
    found = dict(_levels(design, moved)) or dict(
        _alone(matrix, center, sides, [names[j] for j in chosen], design.intercept)
    )
    if not found and len(chosen) <= SPARSE:
        found = _together(matrix, center, sides, [names[j] for j in chosen])
    count = np.ones(len(live)) if len(live) == design.nobs else _copies(design, rows, live)
    return Separation(
        complete=cone.complete,
        rows=round(float(count[cone.rows].sum())),
        nobs=design.nobs,
        terms=terms,
        reasons=tuple(found.values())[:NAMED],
        guilty=tuple(found)[:NAMED],
    )


def _copies(design: Design, rows: Any, live: np.ndarray) -> np.ndarray:
    """Return how many rows of weight > 0 each merged row stands for."""
    alone, _ = merge(
        design.matrix,
        (design.weights > 0).astype(float),
        np.ones(design.n),
        np.ones(design.n),
        0 * design.offset,
    )
    if len(alone.y) != len(rows.y):
        return np.ones(len(live))
    return np.asarray(alone.y[live])


def _columns(
    matrix: Any, live: np.ndarray, intercept: bool, chosen: np.ndarray, center: np.ndarray | None
) -> tuple[Any, np.ndarray]:
    """Return the chosen columns of the live rows, the constant among them, and their centres."""
    if isinstance(matrix, np.ndarray):
        table = matrix[live]
        # With a constant only differences matter; those of large numbers would be lost in scaling.
        shift: np.ndarray = table.mean(axis=0) if intercept else np.zeros(table.shape[1])
        shift = shift if center is None else center
        table = table - shift
        if intercept:
            table = np.column_stack([np.ones(len(live)), table])
            shift = np.concatenate([[0.0], shift])
        return (table if len(chosen) == table.shape[1] else table[:, chosen]), shift[chosen]
    import scipy.sparse as sp

    table = sp.csr_array(matrix)[live]
    if center is not None and center.any() and 0 not in chosen:
        # The prior holds the intercept of centred columns, and these are not sparse.
        return table.toarray()[:, chosen - 1] - center[chosen - 1], center[chosen - 1]
    if intercept:
        table = sp.hstack([np.ones((len(live), 1)), table], format="csc")
    return sp.csr_array(table)[:, chosen], np.zeros(len(chosen))


def _levels(design: Design, moved: set[str]) -> Iterator[tuple[str, str]]:
    """Yield the levels of factors that have one outcome only, each with its sentence."""
    if design.encoding is None or design.frame is None:
        return
    import pandas as pd

    used = {facts.variables for facts in design.columns if facts.term in moved}
    factors = [n for n, column in design.encoding.columns.items() if column.kind != "number"]
    single = [(name,) for name in factors if any(name in names for names in used)]
    crossed = sorted(
        {tuple(n for n in names if n in factors) for names in used}, key=lambda names: len(names)
    )
    live = design.weights > 0
    share = pd.Series((design.y / design.trials)[live])
    found = False
    for names in [*single, *(names for names in crossed if len(names) > 1)]:
        # Cells of crossed factors are of interest only where no level alone is to blame.
        if found and len(names) > 1:
            return
        keys = [np.asarray(design.frame[name])[live] for name in names]
        table = share.groupby(keys).agg(["min", "max", "size"])
        for level, row in table[table["min"] == table["max"]].iterrows():
            if row["min"] not in (0.0, 1.0):
                continue
            found = True
            levels = level if isinstance(level, tuple) else (level,)
            cell = ", ".join(f"{n} = {v!r}" for n, v in zip(names, levels, strict=True))
            yield cell, _cell(int(row["size"]), cell, bool(row["min"]), design.aggregated)


def _cell(rows: int, cell: str, event: bool, aggregated: bool) -> str:
    """Say that the rows of a cell have one outcome only."""
    what = ("events only" if event else "no events") if aggregated else "the event"
    have, without = ("have", "do not have") if rows > 1 else ("has", "does not have")
    verb = have if event or aggregated else without
    told = {1: "the one row", 2: "both rows"}.get(rows, f"all {rows:,} rows")
    return f"{told} with {cell} {verb} {what}"


def _alone(
    matrix: Any, center: np.ndarray, sides: np.ndarray, names: list[str], intercept: bool
) -> Iterator[tuple[str, str]]:
    """Yield the columns that separate the outcome by themselves, each with its sentence."""
    first = int(intercept and names[:1] == ["Intercept"])
    for j in range(first, len(names)):
        values = matrix[:, j] if isinstance(matrix, np.ndarray) else matrix[:, [j]].toarray()[:, 0]
        # Rows with both outcomes stand on either side.
        up, down = values[sides >= 0], values[sides <= 0]
        if not first:
            up, down = np.append(up, 0.0), np.append(down, 0.0)
        if not (up.size and down.size) or values.min() == values.max():
            continue
        if up.min() >= down.max():
            yield names[j], _split(names[j], ">", "<", down.max(), up.min(), center[j])
        elif up.max() <= down.min():
            yield names[j], _split(names[j], "<", ">", up.max(), down.min(), center[j])


def _split(
    name: str, above: str, below: str, lower: float, upper: float, center: float = 0.0
) -> str:
    """Say on which side of a value the rows with and without the event lie."""
    if lower < upper:
        at = _between(float(lower + center), float(upper + center))
        return f"{name} {above} {at} in every row with the event, {name} {below} {at} in all others"
    at = f"{lower + center:.6g}"
    return f"{name} {above}= {at} in every row with the event, {name} {below}= {at} in all others"


def _between(lower: float, upper: float) -> str:
    """Return the shortest decimal number near the middle of two others."""
    middle = (lower + upper) / 2
    for digits in range(-15, 16):
        near = round(middle, digits)
        if lower < near < upper:
            return f"{near:.15g}"
    return f"{middle:.15g}"


def _together(
    matrix: Any, center: np.ndarray, sides: np.ndarray, names: list[str]
) -> dict[str, str]:
    """Return the columns of a sparse direction, with a sentence."""
    penalty = np.array([float(name != "Intercept") for name in names])
    direction = sparsest(matrix, sides, penalty)
    if direction is None or not (direction * penalty).any():
        return {}
    # The least absolute sum is nearly the least number: what is not needed goes.
    used = np.flatnonzero(direction)
    size = np.abs(direction * penalty)
    for j in np.argsort(size)[(size == 0).sum() :]:
        rest = used[used != j]
        if (penalty[rest] > 0).any() and recession(matrix[:, rest], sides) is not None:
            used = rest
    found = sparsest(matrix[:, used], sides, penalty[used])
    if found is None:
        return {}
    direction = np.zeros(len(names))
    direction[used] = found
    slopes = [j for j in used if names[j] != "Intercept" and direction[j]]
    unit = np.abs(direction[slopes]).max()
    weights = np.array([float(f"{direction[j] / unit:.3g}") for j in slopes])
    words = " ".join(
        f"{'-' if w < 0 else '+'} {'' if abs(w) == 1 else f'{abs(w):g} '}{names[j]}"
        for j, w in zip(slopes, weights, strict=True)
    ).removeprefix("+ ")
    constant = direction[names.index("Intercept")] if "Intercept" in names else 0.0
    at = (-constant + direction[slopes] @ center[slopes]) / unit
    at = 0.0 if abs(at) < 1e-9 * np.abs(weights).max() else at
    sentence = (
        f"{words} is {at:.4g} or more in every row with the event, and {at:.4g} or less in all "
        "others"
    )
    return {", ".join(names[j] for j in slopes): sentence}

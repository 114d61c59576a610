"""Effects on the probability scale."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bayesglm.effects.rows import variables_of
from bayesglm.effects.slope import slopes
from bayesglm.plots.conditional import effects
from bayesglm.reporting.blocks import (
    Block,
    Gallery,
    Material,
    Picture,
    Section,
    Table,
    Text,
    attempt,
    interval,
)
from bayesglm.reporting.pictures import picture

if TYPE_CHECKING:
    from bayesglm.fit import Fit

__all__ = ["section"]

# Variables that are drawn.
DRAWN = 8


def section(material: Material) -> Section:
    """Return average effects as a table, and the probability over each variable."""
    blocks: list[Block] = [
        Text(
            "Coefficients are on the link scale; these are changes of the probability itself: on "
            "average over the rows of the data, for a number per unit, for a factor against its "
            "first level."
        )
    ]
    attempt(blocks, lambda: _table(material), "Average effects")
    pictures: list[Block] = []
    names = variables_of(material.fit)
    for name in names[:DRAWN]:
        attempt(pictures, partial(_drawn, material, name), f"The effect of {name}")
    blocks += [block for block in pictures if not isinstance(block, Picture)]
    drawn = [block for block in pictures if isinstance(block, Picture)]
    blocks += [Gallery(drawn)] if drawn else []
    if len(names) > DRAWN:
        blocks.append(Text(f"The first {DRAWN} of {len(names)} variables are drawn."))
    return Section("effects", "Effects on the probability", blocks)


def _table(material: Material) -> Table:
    rows: dict[tuple[str, str], list[str]] = {}
    for place, fit in enumerate(material.light.values()):
        found = slopes(fit, by=True, level=material.level)
        for _, row in found.iterrows():
            cells = rows.setdefault((row["term"], row["contrast"]), ["–"] * len(material.fits))
            cells[place] = interval(row["estimate"], row["lower"], row["upper"])
    percent = f"{material.level:.0%}"
    names = list(material.fits) if material.several else [f"Estimate ({percent} interval)"]
    shown = [
        [term, "per unit" if contrast.startswith("dp/d") else contrast, *cells]
        for (term, contrast), cells in rows.items()
    ]
    caption = f"Average change of P({material.fit.design.outcome})"
    caption += f", with {percent} intervals" if material.several else ""
    return Table(caption, ["Variable", "Change", *names], shown, 2)


def _drawn(material: Material, name: str) -> Picture:
    fit = material.light_fit
    by = _partner(fit, name)
    beside = f", by {by}" if by else ""
    return picture(
        effects,
        fit,
        name,
        by=by,
        level=material.level,
        figsize=(4.2, 3.1),
        alt=f"Probability of {fit.design.outcome} over {name}{beside}",
        caption=f"{name}{beside}",
    )


def _partner(fit: Fit, name: str) -> str | None:
    """Return a variable that it interacts with, a factor before a number."""
    found = [
        (facts.categorical, other)
        for facts in fit.design.columns
        if name in facts.variables
        for other in facts.variables
        if other != name
    ]
    factors = {v for facts in fit.design.columns if facts.categorical for v in facts.variables}
    others = list(dict.fromkeys(other for _, other in found))
    return next((o for o in others if o in factors), others[0] if others else None)

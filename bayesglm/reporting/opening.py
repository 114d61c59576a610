"""The first thing a reader sees: what was found, and whether to rely on it."""

from __future__ import annotations

import numpy as np

from bayesglm.effects.slope import slopes
from bayesglm.errors import Finding
from bayesglm.findings import diagnose
from bayesglm.reporting.blocks import (
    Alerts,
    Block,
    Facts,
    Material,
    Section,
    Text,
    attempt,
    interval,
)
from bayesglm.reporting.words import short_method

__all__ = ["section"]

# Effects that are told in a sentence.
TOLD = 3
# Diagnostics that read every row for every draw are left to the user beyond this many rows.
ROWS = 100_000


def section(material: Material) -> Section:
    """Return findings, the largest effects in sentences, and the facts of the fits."""
    blocks: list[Block] = [Alerts(_findings(material))]
    attempt(blocks, lambda: _sentences(material), "Average effects")
    fit = material.fit
    rows = f"{fit.nobs:,}"
    if not fit.spec.family.has_sigma:
        events = float(np.sum(fit.design.weights * fit.design.y))
        rows += f", with {events:,.10g} events in {fit.design.effective:,.10g} trials"
    pairs = [("Outcome", str(fit.design.outcome)), ("Rows", rows)]
    for name, one in material.fits.items():
        told = f"{short_method(one)}, {one.status}, {one.seconds:.1f} s"
        pairs.append((f"Fit “{name}”" if material.several else "Fit", told))
    blocks.append(Facts(pairs))
    return Section("summary", "In short", blocks)


def _findings(material: Material) -> list[tuple[str, Finding]]:
    found: list[tuple[str, Finding]] = []
    for name, fit in material.fits.items():
        deep = name == material.main and fit.result.draws and fit.nobs <= ROWS
        # A fit that was saved without its data can say only what it knew before.
        listed = diagnose(fit) if deep and fit.design.matrix is not None else fit.findings
        found += [(name if material.several else "", finding) for finding in listed]
    order = ("error", "warning", "note")
    return sorted(found, key=lambda pair: order.index(pair[1].severity))


def _sentences(material: Material) -> list[Block] | None:
    """Return the effects that stand out most from 0, in words."""
    fit = material.light_fit
    table = slopes(fit, by=True, level=material.level)
    if table.empty:
        return None
    strength = np.abs(table["estimate"] / table["std_error"]).fillna(0.0)
    percent = f"{material.level:.0%}"
    blocks: list[Block] = []
    for place in np.argsort(-strength.to_numpy(), kind="stable")[:TOLD]:
        row = table.iloc[place]
        told = interval(row["estimate"], row["lower"], row["upper"])
        told = told.replace("(", f"({percent} interval ")
        term = row["term"]
        if row["contrast"].startswith("dp/d"):
            what = f"With each unit of {term}, P({fit.design.outcome}) changes by"
        else:
            what = f"{term}, {row['contrast']}: the difference of P({fit.design.outcome}) is"
        blocks.append(Text(f"{what} {told}, on average over the data."))
    return blocks

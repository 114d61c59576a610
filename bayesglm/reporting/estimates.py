"""Coefficients, as a table and as intervals side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bayesglm.canvas import label_of
from bayesglm.plots.forest import coefficients
from bayesglm.plots.varying import groups
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
    number,
)
from bayesglm.reporting.pictures import picture
from bayesglm.tables import RATIOS

__all__ = ["section"]

# Terms that are shown; more make a table that nobody reads.
MOST = 60
# Groups beyond which their picture is left out.
LARGEST = 1_000


def section(material: Material) -> Section:
    """Return the coefficients of all fits."""
    blocks: list[Block] = []
    terms = list(dict.fromkeys(t for fit in material.fits.values() for t in fit.terms))
    if len(terms) > MOST:
        blocks.append(Text(f"The first {MOST} of {len(terms)} terms."))
    terms = terms[:MOST]
    attempt(blocks, lambda: _table(material, terms), "Coefficients")
    shown = [term for term in terms if term != "Intercept"]
    if shown:
        attempt(blocks, lambda: Gallery([_forest(material, shown)]), "A picture of them")
    if material.fit.design.varying:
        attempt(blocks, lambda: _varying(material), "How effects vary")
    if material.fit.spec.shape:
        attempt(blocks, lambda: _shape(material), "The link's shape")
    drawn = [g for g in material.fit.design.groups if len(g.levels) <= LARGEST]
    if drawn:
        attempt(
            blocks,
            lambda: Gallery([_groups(material, g.name, term) for g in drawn for term in g.terms]),
            "The effects of groups",
        )
    if material.fit.spec.add:
        blocks.append(
            Text(
                "Coefficients are those of the linear part; what the network adds has no "
                "coefficients that mean anything alone (see the effects below)."
            )
        )
    return Section("estimates", "Estimates", blocks)


def _table(material: Material, terms: list[str]) -> Table:
    percent = f"{material.level:.0%}"
    if material.several:
        tables = {n: f.summary(level=material.level) for n, f in material.fits.items()}
        rows = []
        for term in terms:
            cells = []
            for table in tables.values():
                cells.append(_interval(table.loc[term]) if term in table.index else "–")
            rows.append([label_of(term), *cells])
        caption = f"Coefficients with {percent} intervals, link scale"
        return Table(caption, ["Term", *tables], rows)
    fit = material.fit
    table = fit.summary(level=material.level)
    ratio = RATIOS.get(fit.spec.link.label)
    header = ["Term", "Estimate", "Error", f"{percent} interval"]
    more: list[tuple[str, str, Callable[[float], str]]] = [
        ("z", "z", lambda v: number(v)),
        ("p_value", "p", lambda v: "< 0.0001" if v < 1e-4 else f"{v:.4f}"),
        ("r_hat", "R-hat", lambda v: f"{v:.3f}"),
        ("ess_bulk", "ESS", lambda v: f"{v:,.0f}"),
        ("k_hat", "k-hat", lambda v: f"{v:.2f}"),
        ("ess", "ESS", lambda v: f"{v:,.0f}"),
    ]
    more = [column for column in more if column[0] in table.columns]
    exponents = fit.summary(level=material.level, exponentiate=True) if ratio else None
    rows = []
    for term in terms:
        row = table.loc[term]
        told = _interval(row).partition(" (")
        cells = [label_of(term), told[0], number(row["std_error"]), told[2].rstrip(")") or "–"]
        if exponents is not None:
            other = exponents.loc[term]
            cells.append("–" if term == "Intercept" else _ratio(other))
        rows.append([*cells, *(write(float(table[name][term])) for name, _, write in more)])
    header += [ratio.capitalize()] if ratio else []
    header += [word for _, word, _ in more]
    return Table(f"Coefficients, link scale ({fit.spec.link.label})", header, rows)


def _varying(material: Material) -> Table:
    """Return standard deviations and correlations of group-level effects and smooth terms."""
    counts = {group.name: len(group.levels) for group in material.fit.design.groups}
    told = ", ".join(f"{count:,} groups of {name}" for name, count in counts.items())
    caption = "How effects vary: standard deviations (sd) and correlations (cor), link scale"
    return _beside(material, f"{caption}; {told}" if told else caption)


def _shape(material: Material) -> Table:
    """Return df and lapse, as they were learned."""
    words = {"df": "df: degrees of freedom", "lapse": "lapse: share of rows that are a coin's"}
    told = ", ".join(words[name] for name in material.fit.spec.shape)
    return _beside(material, f"The link's shape ({told}), on its own scale")


def _beside(material: Material, caption: str) -> Table:
    """Return the rows of the fit's table that are not coefficients."""
    table = material.fit.summary(level=material.level).iloc[len(material.fit.terms) :]
    rows = [
        [str(name), number(row["estimate"]), number(row["std_error"]), _ends(row)]
        for name, row in table.iterrows()
    ]
    header = ["", "Estimate", "Error", f"{material.level:.0%} interval"]
    return Table(caption, header, rows)


def _ends(row: Any) -> str:
    if not (np.isfinite(row["lower"]) and np.isfinite(row["upper"])):
        return "–"
    return f"{number(row['lower'])} to {number(row['upper'])}"


def _groups(material: Material, name: str, term: str) -> Picture:
    return picture(
        groups,
        material.fit,
        name,
        term,
        level=material.level,
        alt=f"Effects of the groups of {name}: {term}",
        caption=f"{label_of(term)} by {name}: differences from the population, with intervals; "
        "groups with few rows are drawn towards 0.",
    )


def _interval(row: Any) -> str:
    return interval(row["estimate"], row["lower"], row["upper"], 3)


def _ratio(row: Any) -> str:
    """Return a ratio with three digits: its intervals are even on the logarithmic scale."""
    middle, low, high = (number(row[name]) for name in ("estimate", "lower", "upper"))
    return f"{middle} ({low} to {high})" if np.isfinite(row["lower"]) else middle


def _forest(material: Material, terms: list[str]) -> Picture:
    fits = material.fits if material.several else material.fit
    count = len(material.fits)
    height = max(1.6, len(terms) * (0.22 + 0.12 * count) + 0.8)
    return picture(
        coefficients,
        fits,
        terms,
        level=material.level,
        figsize=(5.6, height),
        alt="Coefficients with their intervals",
        caption="Coefficients with their intervals; the dashed line is no effect.",
    )

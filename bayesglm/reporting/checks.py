"""Does the model look like the data."""

from __future__ import annotations

from functools import partial

from bayesglm.checking import predictive_check
from bayesglm.effects.contrasts import is_numeric
from bayesglm.effects.rows import rows_of, variables_of
from bayesglm.plots.goodness import calibration, residuals, separation
from bayesglm.reporting.blocks import (
    Block,
    Gallery,
    Material,
    Picture,
    Section,
    Table,
    Text,
    attempt,
    number,
)
from bayesglm.reporting.pictures import picture

__all__ = ["section"]

# Variables whose residuals are drawn, and factors whose shares are simulated.
DRAWN, FACTORS = 6, 3
# Probabilities that a predictive check may simulate: draws times rows.
SIMULATED = 20_000_000


def section(material: Material) -> Section:
    """Return calibration, separation, residuals, and simulated shares of events."""
    fit = material.fit
    blocks: list[Block] = []
    if fit.spec.family.has_sigma:
        words = "The checks of this report are for models of yes/no outcomes (family bernoulli)."
        return Section("checks", "Does the model fit?", [Text(words)])
    blocks.append(
        Text("Made on the data that the model was fitted to, which flatters it; kfold does not.")
    )
    drawn: list[Block] = []
    attempt(drawn, lambda: _calibration(material), "Calibration")
    attempt(drawn, lambda: _residuals(material, None), "Residuals")
    for name in variables_of(fit)[:DRAWN]:
        attempt(drawn, partial(_residuals, material, name), f"Residuals over {name}")
    blocks += [block for block in drawn if not isinstance(block, Picture)]
    pictures = [block for block in drawn if isinstance(block, Picture)]
    blocks += [Gallery(pictures)] if pictures else []
    attempt(blocks, lambda: _separation(material), "Separation")
    attempt(blocks, lambda: _shares(material), "Simulated outcomes")
    return Section("checks", "Does the model fit?", blocks)


def _calibration(material: Material) -> Picture:
    return picture(
        calibration,
        material.light_fit,
        level=material.level,
        figsize=(4.2, 3.8),
        alt="Share of events against the predicted probability",
        caption="Calibration: the curve should stay inside the band.",
    )


def _separation(material: Material) -> Picture:
    return picture(
        separation,
        material.light_fit,
        figsize=(8.6, 2.2),
        alt="Outcomes in the order of their predicted probability",
        caption="Separation: events (in colour) should gather at the right.",
    )


def _residuals(material: Material, name: str | None) -> Picture:
    over = name or "the predicted probability"
    return picture(
        residuals,
        material.light_fit,
        name,
        figsize=(4.2, 2.8),
        alt=f"Average residuals over {over}",
        caption=f"Residuals over {over}: about 95 % of the points should lie in the band.",
    )


def _shares(material: Material) -> Table | None:
    fit = material.light_fit
    rows = rows_of(fit, None, None)
    factors = [name for name in variables_of(fit) if not is_numeric(rows, name)][:FACTORS]
    draws = int(min(1_000, SIMULATED // max(rows.n, 1)))
    if draws < 100:
        return None
    shown = []
    cells: list[bool | str] = [True, *factors]
    for by in cells:
        table = predictive_check(fit, by=by, draws=draws, level=material.level)
        for _, row in table[table["observed"].notna()].head(12).iterrows():
            name = row["quantity"].removeprefix("share of events").removeprefix(", ")
            told = f"{row['lower']:.3f} to {row['upper']:.3f}"
            shown.append(
                [name or "all rows", f"{row['observed']:.3f}", told, number(row["p_value"], 2)]
            )
    header = ["Share of events in", "Observed", f"Simulated ({material.level:.0%})", "p-value"]
    return Table("Observed shares beside those that the model simulates", header, shown)

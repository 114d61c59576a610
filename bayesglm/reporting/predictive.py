"""How well the fits predict."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from bayesglm.comparing import compare
from bayesglm.fit import Fit
from bayesglm.loocv import loo
from bayesglm.plots.classifying import decision_curve, precision_recall, roc
from bayesglm.reporting.blocks import (
    Block,
    Facts,
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
from bayesglm.scoring import scores

__all__ = ["section"]

NAMES = {
    "log_score": "Log score (mean log p of what happened)",
    "brier": "Brier score",
    "calibration": "of which miscalibration",
    "refinement": "of which refinement",
    "auc": "AUC",
    "accuracy": "Accuracy at 0.5",
    "ece": "Expected calibration error",
    "ici": "Integrated calibration index",
    "tjur_r2": "Tjur’s R²",
    "mcfadden_r2": "McFadden’s R²",
}
# Draws times rows beyond which leave-one-out is left to the user.
LARGEST = 33_554_432


def section(material: Material) -> Section:
    """Return scores, leave-one-out, and comparisons of fits."""
    blocks: list[Block] = []
    attempt(blocks, lambda: _scores(material), "Scores")
    if material.fit.result.draws:
        attempt(blocks, lambda: _loo(material), "Leave-one-out")
    if material.several:
        drawn = {name: fit for name, fit in material.fits.items() if fit.result.draws}
        points = {name: fit for name, fit in material.fits.items() if fit.method == "mle"}
        for fits in (drawn, points):
            # A mode has no score of its own to be compared by.
            if len(fits) > 1:
                attempt(blocks, partial(_comparison, fits), "A comparison")
    if not material.fit.spec.family.has_sigma:
        attempt(blocks, lambda: Gallery(_curves(material)), "ROC, precision, net benefit")
    return Section("scores", "How well it predicts", blocks)


def _scores(material: Material) -> Table:
    tables = {name: scores(fit, level=material.level) for name, fit in material.light.items()}
    first = next(iter(tables.values()))
    rows = []
    for score in first.index:
        cells = [_score(table.loc[score]) for table in tables.values()]
        rows.append([NAMES.get(str(score), str(score).replace("_", " ")), *cells])
    names = list(tables) if material.several else [f"Estimate ({material.level:.0%} interval)"]
    return Table("Scores on the data of the fit (in-sample)", ["Score", *names], rows)


def _score(row: Any) -> str:
    middle, low, high = (
        f"{row[name]:.3f}".replace("-", "−") for name in ("estimate", "lower", "upper")
    )
    return f"{middle} ({low} to {high})"


def _loo(material: Material) -> list[Block] | None:
    fit = material.fit
    count = fit.nobs * next(iter(fit.result.draws.values()))[..., 0].size
    if count > LARGEST:
        return [Text("Leave-one-out takes long for so many rows: bg.loo(fit) samples them.")]
    found = loo(fit)
    rows = "rows (cells of several trials)" if fit.design.aggregated else "rows"
    pairs = [
        ("Expected log predictive density", f"{number(found.elpd, 4)} (error {number(found.se)})"),
        ("Effective number of parameters", number(found.p)),
    ]
    if found.pareto_k is not None:
        worst = float(max(found.pareto_k))
        pairs.append(("Largest Pareto k", f"{worst:.2f} (may be relied on below 0.7)"))
    return [Text(f"Leave-one-out cross-validation (PSIS-LOO), of {rows} not used to predict them:"),
            Facts(pairs)]  # fmt: skip


def _comparison(fits: Mapping[str, Fit]) -> Table:
    table = compare(fits)
    rows = [
        [str(name), *(_cell(value) for value in row)]
        for name, row in zip(table.index, table.to_numpy(), strict=True)
    ]
    how = "by leave-one-out" if next(iter(fits.values())).result.draws else "by likelihood"
    return Table(f"Fits compared {how}, the best first", ["Fit", *map(str, table.columns)], rows)


def _cell(value: object) -> str:
    return number(float(value), 4) if isinstance(value, (int, float)) else str(value)


def _curves(material: Material) -> list[Picture]:
    fit, size = material.light_fit, (4.2, 3.6)
    return [
        picture(roc, fit, level=material.level, figsize=size, alt="Hits against false alarms",
                caption="ROC curve, with a band by bootstrap"),
        picture(precision_recall, fit, level=material.level, figsize=size,
                alt="Precision against recall", caption="Precision and recall"),
        picture(decision_curve, fit, figsize=size, alt="Net benefit by threshold",
                caption="Net benefit of acting on the prediction"),
    ]  # fmt: skip

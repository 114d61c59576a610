"""The data: rows, events, missing values, and each column in a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bayesglm.effects.rows import variables_of
from bayesglm.reporting.blocks import Block, Facts, Material, Section, Table, Text, number

if TYPE_CHECKING:
    import pandas as pd

    from bayesglm.fit import Fit

__all__ = ["section"]

# Levels of a factor that are written out; columns in the table.
LEVELS, COLUMNS = 4, 40


def section(material: Material) -> Section:
    """Return what the fit was made of."""
    fit = material.fit
    design = fit.design
    if design.frame is None:
        words = "The fit was saved without its data, so that nothing can be said of them here."
        return Section("data", "The data", [Text(words)])
    pairs = [("Rows used", f"{fit.nobs:,}")]
    if not fit.spec.family.has_sigma:
        events = float(np.sum(design.weights * design.y))
        share = events / design.effective
        pairs.append((f"Events ({fit.design.outcome})", f"{events:,.10g}, {share:.1%}"))
    if design.aggregated:
        pairs.append(("Trials", f"{design.effective:,.10g}, counted by row"))
    if design.kept is not None:
        why = ", with missing values" if fit.spec.missing == "drop" else ", of weight 0"
        pairs.append(("Rows left out", f"{int((~design.kept).sum()):,}{why}"))
    else:
        pairs.append(("Missing values", "none"))
    if fit.spec.weights is not None:
        pairs.append(("Weights", f"{fit.spec.weights_kind}, sum {number(design.weights.sum(), 6)}"))
    frame, names = design.frame, variables_of(fit)
    frame = frame if design.formula is not None else None
    blocks: list[Block] = [Facts(pairs)]
    if frame is not None and names:
        rows = [_row(frame[name], fit) for name in names[:COLUMNS] if name in frame]
        header = ["Column", "Kind", "What is in it"]
        blocks.append(Table("Predictors", header, rows, 3))
    return Section("data", "The data", blocks)


def _row(column: pd.Series, fit: Fit) -> list[str]:
    import pandas as pd

    kind = column.dtype.kind
    if kind in "iuf" and column.nunique() > 2:
        told = (
            f"mean {number(column.mean())}, sd {number(column.std())}, "
            f"from {number(column.min())} to {number(column.max())}"
        )
        return [str(column.name), "number", told]
    shares = pd.Series(column).value_counts(normalize=True)
    shown = [f"{level} {share:.0%}" for level, share in shares.head(LEVELS).items()]
    more = len(shares) - LEVELS
    told = ", ".join(shown) + (f" and {more} more" if more > 0 else "")
    return [str(column.name), "two values" if len(shares) == 2 else f"{len(shares)} levels", told]

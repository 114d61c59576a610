"""Pictures of answers: intervals side by side, or a curve with its band."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.canvas import COLOURS, FAINT, axes_on, plain

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["draw"]

ANSWERS = (
    *("estimate", "std_error", "lower", "upper", "z", "p_value", "p_direction"),
    *("p_noninferior", "p_nonsuperior", "p_equivalent", "in_region"),
)
# More rows than this are drawn as a curve, or by their first.
MOST = 60


def draw(
    table: pd.DataFrame,
    kind: str,
    null: float | None,
    ax: Any = None,
    figsize: tuple[float, float] | None = None,
) -> Any:
    """Draw a table of answers.

    A number that varies over the rows is the axis of a curve with its band, a factor that varies
    gives each level a colour; without such a number each row is a point with its interval.

    Parameters
    ----------
    table : DataFrame
        With estimate, lower and upper.
    kind : str
        What the estimates are.
    null : float or None
        "No effect", drawn as a line.
    ax : matplotlib Axes, optional
        Where; a new figure if absent.
    figsize : (float, float), optional
        Inches, of a new figure.

    Returns
    -------
    matplotlib Figure
    """
    import pandas as pd

    labels = [name for name in table.columns if name not in ANSWERS]
    if "contrast" in labels and table["contrast"].nunique() == 1 and "term" in labels:
        # What does not vary names the axis.
        term, contrast = table[["term", "contrast"]].iloc[0]
        kind = f"{kind} ({contrast if str(contrast).startswith('d') else f'{term}: {contrast}'})"
    varying = [name for name in labels if table[name].nunique() > 1]
    numbers = [n for n in varying if pd.api.types.is_numeric_dtype(table[n].dtype)]
    curves = [n for n in numbers if table[n].nunique() > 2]
    height = 0.35 * min(len(table), MOST) + 1.2
    ax = axes_on(ax, figsize, (6, 4) if curves else (6.4, max(2.0, height)))
    if curves:
        # The number that takes most values, and what else varies by colour.
        axis = max(curves, key=lambda n: table[n].nunique())
        others = [n for n in varying if n != axis and n not in numbers]
        _curves(ax, table, axis, others[:2], kind)
        if null is not None:
            ax.axhline(null, color=FAINT, linewidth=1, linestyle="--", zorder=0)
    else:
        _forest(ax, table.iloc[:MOST], varying or labels[:1], kind)
        if null is not None:
            ax.axvline(null, color=FAINT, linewidth=1, linestyle="--", zorder=0)
    return ax.get_figure(root=True)


def _curves(ax: Any, table: pd.DataFrame, axis: str, by: list[str], kind: str) -> None:
    groups = table.groupby(by, observed=True, sort=False) if by else [((), table)]
    for k, (level, rows) in enumerate(groups):
        rows = rows.sort_values(axis, kind="stable")
        colour = COLOURS[k % len(COLOURS)]
        name = ", ".join(str(part) for part in np.atleast_1d(np.asarray(level, dtype=object)))
        x = rows[axis].to_numpy(float)
        ax.plot(x, rows["estimate"].to_numpy(), color=colour, label=plain(name) or None)
        ax.fill_between(
            x, rows["lower"].to_numpy(float), rows["upper"].to_numpy(float),
            color=colour, alpha=0.2, linewidth=0,
        )  # fmt: skip
    ax.set_xlabel(plain(axis))
    ax.set_ylabel(plain(kind))
    if by:
        ax.legend(title=plain(", ".join(by)), frameon=False)


def _forest(ax: Any, table: pd.DataFrame, names: list[str], kind: str) -> None:
    rows = table[names].astype(str)
    labels = [plain(", ".join(row)) for row in rows.to_numpy()] if names else [""] * len(table)
    y = np.arange(len(table))[::-1]
    ax.hlines(y, table["lower"], table["upper"], color=COLOURS[0], linewidth=2)
    ax.plot(table["estimate"], y, "o", color=COLOURS[0])
    ax.set_yticks(y, labels)
    ax.set_ylim(-0.6, len(table) - 0.4)
    ax.set_xlabel(plain(kind))

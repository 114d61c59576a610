"""The effects of groups, in the order of their size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.canvas import ACCENT, FAINT, axes_on, plain
from bayesglm.errors import SpecificationError, explain, suggest
from bayesglm.group_effects import grouping_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bayesglm.fit import Fit

__all__ = ["groups"]

# Groups whose names can be read, one below the other.
NAMED = 60


def groups(
    fit: Fit,
    group: str | None = None,
    term: str | None = None,
    *,
    level: float = 0.95,
    ax: Any = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw the effects of the groups of a factor with their intervals, from the least to the largest.

    Parameters
    ----------
    fit : Fit
    group : str, optional
        The factor; may be absent where there is one.
    term : str, optional
        Which effect, where several vary; the first by default.
    level : float
        Coverage of the intervals.
    ax : matplotlib Axes, optional
        Where; a new figure if absent.
    figsize : (float, float), optional
        Inches, of a new figure.

    Returns
    -------
    matplotlib Figure
        Differences from the population, link scale. Beyond 60 groups without their names.

    Raises
    ------
    SpecificationError
        For an unknown factor or term.

    Examples
    --------
    >>> import bayesglm as bg
    >>> herds = bg.datasets.cbpp()
    >>> model = bg.Model("cbind(incidence, size - incidence) ~ C(period) + (1 | herd)", herds)
    >>> figure = bg.plots.groups(model.fit("mle"))
    """
    grouping = grouping_of(fit, group)
    known = grouping.terms
    term = known[0] if term is None else term
    if term not in known:
        raise SpecificationError(
            explain(
                f"no effect {term!r} varies between the groups of {grouping.name}"
                f"{suggest(term, known)}",
                advice=f"those that do are {', '.join(known)}",
            )
        )
    table: Any = fit.group_table(grouping.name, level=level)
    if len(known) > 1:
        table = table.xs(term, level="term")
    table = table.sort_values("estimate")
    count = len(table)
    named = count <= NAMED
    height = max(1.8, 0.22 * count + 1.0) if named else 4.5
    ax = axes_on(ax, figsize, (6.4, height))
    y = np.arange(count, dtype=float)
    width, size = (2.0, 5.0) if named else (max(0.3, 60 / count), 2.0)
    ax.hlines(y, table["lower"], table["upper"], color=ACCENT, linewidth=width, alpha=0.75)
    ax.plot(table["estimate"], y, "o", color=ACCENT, markersize=size)
    ax.axvline(0, color=FAINT, linewidth=1, linestyle="--", zorder=0)
    ax.set_ylim(-0.6, count - 0.4)
    if named:
        ax.set_yticks(y, [plain(str(name)) for name in table.index])
    else:
        ax.set_yticks([])
    ax.set_ylabel(plain(grouping.name) if named else f"{count:,} groups of {plain(grouping.name)}")
    what = "intercept" if term == "Intercept" else plain(term)
    ax.set_xlabel(f"difference of {what} ({plain(fit.spec.link.label)} scale)")
    return ax.get_figure(root=True)

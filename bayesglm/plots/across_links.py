"""Average effects under several links, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bayesglm.effects.slope import slopes
from bayesglm.plots.forest import intervals

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bayesglm.comparing_links import LinkComparison

__all__ = ["link_comparison"]


def link_comparison(
    comparison: LinkComparison,
    *,
    level: float = 0.95,
    ax: Any = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw average effects on the probability scale under each link.

    Parameters
    ----------
    comparison : LinkComparison
        What `bayesglm.compare_links` returns.
    level : float
        Coverage of the intervals.
    ax : matplotlib Axes, optional
        Where; a new figure if absent.
    figsize : (float, float), optional
        Inches, of a new figure.

    Returns
    -------
    matplotlib Figure

    Examples
    --------
    >>> import bayesglm as bg
    >>> model = bg.Model("damage ~ temperature", bg.datasets.challenger())
    >>> figure = bg.plots.link_comparison(bg.compare_links(model, ["logit", "probit"]))
    """
    tables = {name: slopes(fit, by=True, level=level) for name, fit in comparison.fits.items()}
    first = next(iter(tables.values()))
    labels = [
        term if contrast.startswith("dp/d") else f"{term}: {contrast}"
        for term, contrast in zip(first["term"], first["contrast"], strict=True)
    ]
    scale = "average change of the probability"
    return intervals(tables, labels, scale, null=0.0, ax=ax, figsize=figsize)

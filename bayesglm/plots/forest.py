"""Coefficients side by side: of one fit, or of several of the same terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.canvas import ACCENT, COLOURS, FAINT, axes_on, label_of, plain
from bayesglm.errors import SpecificationError, explain, suggest
from bayesglm.fit import Fit
from bayesglm.tables import RATIOS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["coefficients", "intervals"]


def coefficients(
    fits: Fit | Mapping[str, Fit],
    terms: list[str] | None = None,
    *,
    exponentiate: bool = False,
    level: float = 0.95,
    ax: Any = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw coefficients with their intervals, link scale.

    Parameters
    ----------
    fits : Fit or dict of str to Fit
        Of several, each has a colour; they must have the same link.
    terms : list of str, optional
        All but the intercept by default.
    exponentiate : bool
        Draw odds ratios (``logit``), risk ratios (``log``) or hazard ratios (``cloglog``), on a
        logarithmic axis.
    level : float
        Coverage of the intervals.
    ax : matplotlib Axes, optional
        Where; a new figure if absent.
    figsize : (float, float), optional
        Inches, of a new figure.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    SpecificationError
        For an unknown term, or fits under different links: their coefficients are on different
        scales (see `link_comparison`).

    Examples
    --------
    >>> import bayesglm as bg
    >>> model = bg.Model("survived ~ sex + pclass", bg.datasets.titanic(), trials="total")
    >>> figure = bg.plots.coefficients({m: model.fit(m) for m in ("mle", "map")})
    """
    named = {"": fits} if isinstance(fits, Fit) else fits
    if (
        not isinstance(named, Mapping)
        or not named
        or not all(isinstance(fit, Fit) for fit in named.values())
    ):
        raise SpecificationError(explain("fits must be a Fit, or a dict of some", fits=fits))
    links = {fit.spec.link.label for fit in named.values()}
    if len(links) > 1:
        raise SpecificationError(
            explain(
                "coefficients under different links are on different scales",
                links=sorted(links),
                advice="use bg.plots.link_comparison(bg.compare_links(model))",
            )
        )
    known = list(dict.fromkeys(term for fit in named.values() for term in fit.terms))
    shown = [term for term in known if term != "Intercept"] if terms is None else list(terms)
    for term in shown:
        if term not in known:
            raise SpecificationError(
                explain(f"no term {term!r}{suggest(term, known)}", terms=known)
            )
    tables = {}
    for name, fit in named.items():
        table = fit.summary(level=level, exponentiate=exponentiate)
        tables[name] = table.iloc[: len(fit.terms)].reindex(shown)
    link = links.pop()
    scale = RATIOS.get(link, "exp(coefficient)") if exponentiate else f"coefficient ({link} scale)"
    return intervals(
        tables,
        [label_of(term) for term in shown],
        scale,
        null=1.0 if exponentiate else 0.0,
        logarithmic=exponentiate,
        ax=ax,
        figsize=figsize,
    )


def intervals(
    tables: Mapping[str, pd.DataFrame],
    labels: list[str],
    scale: str,
    *,
    null: float | None,
    logarithmic: bool = False,
    ax: Any = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw tables of estimate, lower and upper with the same rows, each in its colour.

    Parameters
    ----------
    tables : dict of str to DataFrame
    labels : list of str
        Of the rows.
    scale : str
        What the numbers are.
    null : float or None
        "No effect", drawn as a line.
    logarithmic : bool
    ax, figsize
        As of `coefficients`.
    """
    count, lines = len(tables), len(labels)
    gap = 0.2 if count > 1 else 0.0
    ax = axes_on(ax, figsize, (6.4, max(1.8, lines * (0.26 + 0.14 * count) + 1.0)))
    base = np.arange(lines)[::-1].astype(float)
    for k, (name, table) in enumerate(tables.items()):
        y = base + (0.5 * (count - 1) - k) * min(gap, 0.7 / count)
        colour = COLOURS[k % len(COLOURS)] if count > 1 else ACCENT
        low, high = (table[end].to_numpy(float) for end in ("lower", "upper"))
        ax.hlines(y, low, high, color=colour, linewidth=2)
        marker = "osD^v<>"[k % 7]
        middle = table["estimate"].to_numpy(float)
        ax.plot(middle, y, marker, color=colour, markersize=5, label=plain(name) or None)
    if null is not None:
        ax.axvline(null, color=FAINT, linewidth=1, linestyle="--", zorder=0)
    if logarithmic:
        ax.set_xscale("log")
        _plain_ticks(ax)
    ax.set_yticks(base, [plain(label) for label in labels])
    ax.set_ylim(-0.6, lines - 0.4)
    ax.set_xlabel(plain(scale))
    if count > 1:
        # Beside the intervals, which leave no room where rows are few.
        ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax.get_figure(root=True)


def _plain_ticks(ax: Any) -> None:
    """Write 0.5, 1, 2 on a logarithmic axis, not powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.xaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0), numticks=12))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())

"""Probability as a function of one variable, the others held where they are typical."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.canvas import COLOURS, EVENT, OTHER, axes_on, plain, spread
from bayesglm.effects.contrasts import is_numeric, levels_of
from bayesglm.effects.prediction import predictions
from bayesglm.effects.representative import grid
from bayesglm.effects.rows import Rows, check_variable, rows_of
from bayesglm.errors import SpecificationError, explain
from bayesglm.scoring import outcomes

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.figure import Figure

    from bayesglm.fit import Fit

__all__ = ["effects"]

# Points of a curve, marks of a rug, and values of a number that are told apart by colour.
POINTS, MARKS, FEW = 101, 400, 4


def effects(
    fit: Fit,
    variable: str,
    *,
    by: str | None = None,
    at: Mapping[str, Any] | None = None,
    limits: tuple[float, float] | None = None,
    level: float = 0.95,
    rug: bool = True,
    ax: Any = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw the probability of the event over a variable, with its band.

    Parameters
    ----------
    fit : Fit
    variable : str
        The axis: a number (a curve) or a factor (points).
    by : str, optional
        A second variable, told by colour: the levels of a factor; of a number with more than four
        values its 10, 50 and 90 % quantiles.
    at : dict, optional
        Values of other variables; else their mean (of whole numbers the median) or most frequent
        level. They stand above the axes.
    limits : (float, float), optional
        Ends of the axis of a number; the smallest and largest value of the data if absent.
    level : float
        Coverage of the band.
    rug : bool
        Mark rows with the event above and those without below (some of them, where many).
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
        For an unknown variable.
    DataError
        If the fit was saved without its data.

    Examples
    --------
    >>> import bayesglm as bg
    >>> fit = bg.Model("damage ~ temperature", bg.datasets.challenger()).fit("laplace")
    >>> figure = bg.plots.effects(fit, "temperature")
    """
    rows = rows_of(fit, None, None)
    check_variable(fit, variable)
    fixed = dict(at or {})
    if variable in fixed or by == variable or (by is not None and by in fixed):
        raise SpecificationError(
            explain("a variable stands twice", variable=variable, by=by, at=list(fixed))
        )
    values = {variable: _axis(rows, variable, limits), **fixed}
    if by is not None:
        check_variable(fit, by)
        values[by] = _levels(rows, by)
    table = predictions(fit, grid(fit, **values), level=level)
    number = is_numeric(rows, variable)
    ax = axes_on(ax, figsize)
    groups = [("", table)] if by is None else list(table.groupby(by, observed=True, sort=False))
    for k, (name, part) in enumerate(groups):
        colour = COLOURS[k % len(COLOURS)]
        shift = 0.0 if number else 0.12 * (k - 0.5 * (len(groups) - 1))
        _draw(ax, part, variable, number, colour, plain(_written(name)) or None, shift)
    if rug and number and not fit.spec.family.has_sigma:
        _rug(ax, fit, rows.column(variable).to_numpy(float))
    if number:
        ax.set_xlabel(plain(variable))
    else:
        levels = list(dict.fromkeys(table[variable]))
        ax.set_xticks(range(len(levels)), [plain(level) for level in levels])
        ax.set_xlim(-0.5, len(levels) - 0.5)
        ax.set_xlabel(plain(variable))
    ax.set_ylabel(plain(f"P({fit.design.outcome})"))
    if not fit.spec.family.has_sigma:
        ax.set_ylim(-0.04, 1.04)
    others = [n for n in table.columns if n in rows.frame.columns and n not in (variable, by)]
    told = ", ".join(f"{name} = {_written(table[name].iloc[0])}" for name in others)
    if told:
        ax.set_title(plain(f"at {told}"), fontsize="small", loc="left", wrap=True)
    if by is not None:
        ax.legend(title=plain(by), frameon=False)
    return ax.get_figure(root=True)


def _axis(rows: Rows, name: str, limits: tuple[float, float] | None) -> list[Any]:
    if not is_numeric(rows, name):
        if limits is not None:
            raise SpecificationError(explain("limits are for numbers", variable=name))
        return list(levels_of(rows, name))
    if limits is None:
        column = rows.column(name).to_numpy(float)[rows.weights > 0]
        limits = column.min(), column.max()
    ends = np.asarray(limits, dtype=float)
    if ends.shape != (2,) or not np.isfinite(ends).all() or ends[0] > ends[1]:
        raise SpecificationError(
            explain("limits must be two numbers, the lower first", limits=limits)
        )
    return list(np.linspace(ends[0], ends[1], POINTS))


def _levels(rows: Rows, name: str) -> list[Any]:
    if not is_numeric(rows, name):
        return list(levels_of(rows, name))
    column = rows.column(name)[rows.weights > 0]
    different = np.sort(column.unique())
    if len(different) <= FEW:
        return list(different)
    return list(column.quantile([0.1, 0.5, 0.9], interpolation="nearest"))


def _written(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)


def _draw(
    ax: Any, table: pd.DataFrame, axis: str, number: bool, colour: str, name: Any, shift: float
) -> None:
    middle, low, high = (table[c].to_numpy(float) for c in ("estimate", "lower", "upper"))
    if number:
        x = table[axis].to_numpy(float)
        ax.plot(x, middle, color=colour, label=name)
        ax.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
        return
    x = np.arange(len(table)) + shift
    ax.vlines(x, low, high, color=colour, linewidth=2)
    ax.plot(x, middle, "o", color=colour, label=name)


def _rug(ax: Any, fit: Fit, x: np.ndarray) -> None:
    """Mark rows with the event at the top, and those without at the bottom."""
    events, others = outcomes(fit)
    across = ax.get_xaxis_transform()
    for mass, height, colour in ((events, 0.985, EVENT), (others, 0.015, OTHER)):
        some = np.sort(x[mass > 0])
        some = some[spread(len(some), MARKS)]
        ax.plot(some, np.full(len(some), height), "|", color=colour, transform=across,
                markersize=6, alpha=0.4, zorder=0)  # fmt: skip

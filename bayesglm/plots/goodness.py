"""Does the model look like the data: calibration, separation, residuals, simulated outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.canvas import ACCENT, EVENT, FAINT, OTHER, axes_on, plain
from bayesglm.checking import calibration_curve, predictive_check
from bayesglm.effects.contrasts import is_numeric, levels_of
from bayesglm.effects.rows import check_variable, rows_of
from bayesglm.errors import SpecificationError, explain
from bayesglm.fit import Fit
from bayesglm.scoring import outcomes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bayesglm.model import Model
    from bayesglm.resampling import CrossValidation

__all__ = ["calibration", "predictive", "residuals", "separation"]

# Strips of a separation plot; rows that one bin of residuals has at least, and bins at most.
STRIPS, EACH, BINS = 1_000, 5, 40
# Stands out on the strips, whatever is behind the figure.
DARK = "#1F2933"


def calibration(
    fit: Fit | CrossValidation,
    newdata: Any = None,
    *,
    level: float = 0.95,
    seed: int = 0,
    ax: Any = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw the share of events against the predicted probability.

    The grey band is where the curve would lie, point by point, were the probabilities right; the
    bars below count the predictions.

    Parameters
    ----------
    fit : Fit or CrossValidation
    newdata, level, seed
        As for `bayesglm.calibration_curve`.
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
    >>> fit = bg.Model("damage ~ temperature", bg.datasets.challenger()).fit("mle")
    >>> figure = bg.plots.calibration(fit)
    """
    table = calibration_curve(fit, newdata, level=level, seed=seed)
    ax = axes_on(ax, figsize, (5.0, 4.6))
    p = table["p"].to_numpy()
    ax.fill_between(p, table["lower"], table["upper"], color=OTHER, alpha=0.35, linewidth=0,
                    label=f"{level:.0%} band of a calibrated model")  # fmt: skip
    ax.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--", zorder=0)
    ax.plot(p, table["calibrated"], color=ACCENT, label="this model")
    heights, edges = np.histogram(p, bins=40, range=(0, 1), weights=table["n"])
    ax.bar(edges[:-1], 0.12 * heights / max(heights.max(), 1e-300), np.diff(edges), align="edge",
           color=ACCENT, alpha=0.35, zorder=0)  # fmt: skip
    ax.set_xlim(-0.02, 1.02)
    ax.set_ylim(-0.02, 1.02)
    ax.set_xlabel("predicted probability")
    ax.set_ylabel("share of events")
    ax.legend(frameon=False, loc="upper left")
    return ax.get_figure(root=True)


def separation(
    fit: Fit,
    newdata: Any = None,
    *,
    ax: Any = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw the rows from the lowest predicted probability to the highest, events in colour.

    A model that tells them apart has the colour at the right end. The line is the prediction.

    Parameters
    ----------
    fit : Fit
    newdata : DataFrame or dict, optional
        With the outcome; the training data (which flatter) if absent.
    ax : matplotlib Axes, optional
        Where; a new figure if absent.
    figsize : (float, float), optional
        Inches, of a new figure.

    Returns
    -------
    matplotlib Figure

    References
    ----------
    Greenhill, Ward & Sacks (2011), American Journal of Political Science 55.

    Examples
    --------
    >>> import bayesglm as bg
    >>> fit = bg.Model("damage ~ temperature", bg.datasets.challenger()).fit("mle")
    >>> figure = bg.plots.separation(fit)
    """
    from matplotlib.colors import LinearSegmentedColormap

    p, (events, others) = fit.predict(newdata), outcomes(fit, newdata)
    order = np.argsort(p, kind="stable")
    # Of a row with several outcomes the events come last.
    widths = np.stack([others[order], events[order]], axis=1).ravel()
    ends = np.append(0.0, widths.cumsum())
    reached = np.append(0.0, np.stack([0 * events[order], events[order]], axis=1).ravel().cumsum())
    edges = np.linspace(0, ends[-1], STRIPS + 1)
    share = np.diff(np.interp(edges, ends, reached)) / (edges[1] - edges[0])
    ax = axes_on(ax, figsize, (7.0, 2.2))
    colours = LinearSegmentedColormap.from_list("events", ["#EEF1F4", EVENT])
    ax.imshow(share[None], aspect="auto", extent=(0, 1, 0, 1), cmap=colours, vmin=0, vmax=1,
              interpolation="nearest")  # fmt: skip
    middles = 0.5 * (ends[:-1] + ends[1:]) / ends[-1]
    live = widths > 0
    x, height = middles[live], np.repeat(p[order], 2)[live]
    if len(x) > 2 * STRIPS:
        some = np.linspace(0, len(x) - 1, 2 * STRIPS).astype(int)
        x, height = x[some], height[some]
    ax.plot(x, height, color=DARK, linewidth=1.2)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_xticks([])
    ax.set_xlabel("rows, from the lowest prediction to the highest")
    ax.set_ylabel("P(event)")
    return ax.get_figure(root=True)


def residuals(
    fit: Fit,
    variable: str | None = None,
    *,
    ax: Any = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw average residuals, events less expected events, over a variable.

    Numbers are cut into bins of as many rows each. The band is plus and minus two standard errors
    of a bin's average were the probabilities right: of 20 points about one may lie outside.

    Parameters
    ----------
    fit : Fit
    variable : str, optional
        The predicted probability if absent.
    ax : matplotlib Axes, optional
        Where; a new figure if absent.
    figsize : (float, float), optional
        Inches, of a new figure.

    Returns
    -------
    matplotlib Figure

    References
    ----------
    Gelman, Goegebeur, Tuerlinckx & Van Mechelen (2000), Applied Statistics 49 (binned residuals).

    Examples
    --------
    >>> import bayesglm as bg
    >>> fit = bg.Model("damage ~ temperature", bg.datasets.challenger()).fit("mle")
    >>> figure = bg.plots.residuals(fit, "temperature")
    """
    if fit.spec.family.has_sigma:
        raise SpecificationError(
            explain("binned residuals are of yes/no outcomes", family="gaussian")
        )
    p, (events, others) = fit.predict(), outcomes(fit)
    mass = events + others
    levels: list[Any] = []
    if variable is None:
        x = p
    else:
        rows = rows_of(fit, None, None)
        check_variable(fit, variable)
        if is_numeric(rows, variable):
            x = rows.column(variable).to_numpy(float)
        else:
            levels = list(levels_of(rows, variable))
            place = {level: k for k, level in enumerate(levels)}
            x = np.array([place[value] for value in rows.column(variable)], dtype=float)
    codes = x.astype(int) if levels else _bins(x, mass)
    total = np.maximum(np.bincount(codes, mass), 1e-300)
    average = np.bincount(codes, events - mass * p) / total
    reach = 2 * np.sqrt(np.bincount(codes, mass * p * (1 - p))) / total
    middle = np.bincount(codes, mass * x) / total
    ax = axes_on(ax, figsize)
    ax.axhline(0, color=FAINT, linewidth=1, linestyle="--", zorder=0)
    if levels:
        middle = np.arange(len(total), dtype=float)
        ax.vlines(middle, -reach, reach, color=OTHER, alpha=0.5, linewidth=10)
        ax.set_xticks(range(len(levels)), [plain(level) for level in levels])
    else:
        ax.fill_between(middle, -reach, reach, color=OTHER, alpha=0.35, linewidth=0)
    ax.plot(middle, average, "o", color=ACCENT, markersize=5)
    ax.set_xlabel(plain(variable or "predicted probability"))
    ax.set_ylabel("events less expected, a row")
    return ax.get_figure(root=True)


def _bins(x: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Return the bin of each row: bins of about as much mass each, equal values together."""
    values, place = np.unique(x, return_inverse=True)
    held = np.bincount(place, mass)
    count = int(np.clip(np.sqrt(mass.sum()), 2, min(BINS, max(mass.sum() / EACH, 2))))
    if len(values) <= count:
        return np.asarray(place)
    share = (held.cumsum() - held / 2) / held.sum()
    return np.unique((share * count).astype(int), return_inverse=True)[1][place]


def predictive(
    fit: Fit | Model,
    by: bool | str | list[str] = True,
    *,
    draws: int = 1_000,
    level: float = 0.95,
    seed: int = 0,
    ax: Any = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw observed shares of events beside those that the model simulates.

    Parameters
    ----------
    fit : Fit or Model
        Of a model, the prior simulates.
    by, draws, level, seed
        As for `bayesglm.predictive_check`.
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
    >>> fit = bg.Model("survived ~ sex", bg.datasets.titanic(), trials="total").fit("mle")
    >>> figure = bg.plots.predictive(fit, by="pclass")
    """
    table = predictive_check(fit, by=by, draws=draws, level=level, seed=seed)
    table = table[table["observed"].notna()]
    y = np.arange(len(table))[::-1]
    ax = axes_on(ax, figsize, (6.4, max(1.8, 0.4 * len(table) + 1.2)))
    ax.hlines(y, table["lower"], table["upper"], color=ACCENT, linewidth=5, alpha=0.4,
              label=f"simulated ({level:.0%})")  # fmt: skip
    ax.plot(table["mean"], y, "|", color=ACCENT, markersize=12)
    ax.plot(table["observed"], y, "o", color=EVENT, label="observed")
    names = table["quantity"].str.removeprefix("share of events").str.removeprefix(", ")
    if isinstance(by, str):
        names = names.str.removeprefix(f"{by} = ")
        ax.set_ylabel(plain(by))
    ax.set_yticks(y, [plain(name) or "all rows" for name in names])
    ax.set_ylim(-0.6, len(table) - 0.4)
    ax.set_xlabel("share of events")
    ax.legend(frameon=False, loc="best")
    return ax.get_figure(root=True)

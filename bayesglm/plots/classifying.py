"""How well probabilities tell events from others: ROC, precision and recall, net benefit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.canvas import COLOURS, FAINT, axes_on, plain
from bayesglm.errors import SpecificationError, explain
from bayesglm.fit import Fit
from bayesglm.resampling import CrossValidation
from bayesglm.scoring import net_benefit, outcomes, score_values
from bayesglm.tables import check_level

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["decision_curve", "precision_recall", "roc"]

# Bootstrap samples behind a band; fewer of many rows.
SAMPLES, MOST = 200, 20_000_000
# Points of a curve.
GRID = np.linspace(0, 1, 201)

type Fits = Fit | CrossValidation | Mapping[str, Fit | CrossValidation]


def roc(
    fits: Fits,
    newdata: Any = None,
    *,
    level: float = 0.95,
    seed: int = 0,
    ax: Any = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw the receiver operating characteristic: hits against false alarms over all thresholds.

    Parameters
    ----------
    fits : Fit, CrossValidation, or dict of them
        Of a cross-validation the predictions of rows held out.
    newdata : DataFrame or dict, optional
        With the outcome; the training data (which flatter) if absent.
    level : float
        Coverage of the band, point by point (bootstrap of the rows).
    seed : int
        Fixes the bootstrap.
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
    >>> figure = bg.plots.roc(fit)
    """
    ax = _curves(fits, newdata, _hits_by_alarms, "auc", "AUC", level, seed, ax, figsize)
    ax.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--", zorder=0)
    ax.set_xlabel("false alarms (share of non-events)")
    ax.set_ylabel("hits (share of events)")
    return ax.get_figure(root=True)


def precision_recall(
    fits: Fits,
    newdata: Any = None,
    *,
    level: float = 0.95,
    seed: int = 0,
    ax: Any = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw precision (share of events among the rows chosen) against recall (events found).

    Parameters
    ----------
    fits, newdata, level, seed, ax, figsize
        As for `roc`.

    Returns
    -------
    matplotlib Figure

    Examples
    --------
    >>> import bayesglm as bg
    >>> fit = bg.Model("damage ~ temperature", bg.datasets.challenger()).fit("mle")
    >>> figure = bg.plots.precision_recall(fit)
    """
    ax = _curves(fits, newdata, _precision_by_recall, None, "", level, seed, ax, figsize)
    _, events, others = _asked(next(iter(_named(fits).values())), newdata)
    share = events.sum() / (events.sum() + others.sum())
    ax.axhline(share, color=FAINT, linewidth=1, linestyle="--", zorder=0)
    ax.set_xlabel("recall (share of events found)")
    ax.set_ylabel("precision (events among those chosen)")
    return ax.get_figure(root=True)


def decision_curve(
    fits: Fits,
    newdata: Any = None,
    *,
    ax: Any = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw the net benefit of acting on the prediction, by threshold.

    Parameters
    ----------
    fits, newdata, ax, figsize
        As for `roc`.

    Returns
    -------
    matplotlib Figure

    Examples
    --------
    >>> import bayesglm as bg
    >>> fit = bg.Model("damage ~ temperature", bg.datasets.challenger()).fit("mle")
    >>> figure = bg.plots.decision_curve(fit)
    """
    ax = axes_on(ax, figsize)
    named = _named(fits)
    for k, (name, fit) in enumerate(named.items()):
        table = net_benefit(*_asked(fit, newdata))
        colour = COLOURS[k % len(COLOURS)]
        ax.plot(table.index, table["model"], color=colour, label=plain(name) or "by the model")
    ax.plot(table.index, table["all"], color=FAINT, linewidth=1, label="act on all")
    ax.axhline(0, color=FAINT, linewidth=1, linestyle="--", label="act on none")
    top = max(float(table["all"].max()), float(table["model"].max()))
    ax.set_ylim(-0.25 * top, 1.08 * top)
    ax.set_xlabel("threshold: act where P(event) is at least")
    ax.set_ylabel("net benefit (events a row)")
    ax.legend(frameon=False)
    return ax.get_figure(root=True)


def _named(fits: Any) -> dict[str, Any]:
    named = {"": fits} if isinstance(fits, (Fit, CrossValidation)) else fits
    if not isinstance(named, Mapping) or not named:
        raise SpecificationError(explain("there is no fit to draw", fits=fits))
    return dict(named)


def _asked(fit: Any, newdata: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return p, events and other outcomes of the rows that stand for something."""
    if isinstance(fit, CrossValidation):
        if newdata is not None:
            raise SpecificationError(
                explain("a cross-validation has predictions of its own rows only")
            )
        p, (events, others) = fit.predicted, outcomes(fit.fit)
    else:
        p, (events, others) = fit.predict(newdata), outcomes(fit, newdata)
    live = events + others > 0
    if not events.sum() or not others.sum():
        raise SpecificationError(
            explain("there are outcomes of one kind only", rows=int(live.sum()))
        )
    return p[live], events[live], others[live]


def _curves(
    fits: Any,
    newdata: Any,
    curve: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    score: str | None,
    word: str,
    level: float,
    seed: int,
    ax: Any,
    figsize: tuple[float, float] | None,
) -> Any:
    """Draw a curve of each fit with its band, and name its score."""
    level = check_level(level)
    ax = axes_on(ax, figsize, (5.0, 4.6))
    for k, (name, fit) in enumerate(_named(fits).items()):
        p, events, others = _asked(fit, newdata)
        colour = COLOURS[k % len(COLOURS)]
        label = plain(name)
        if score is not None:
            value = score_values(p, events, others, 0.5)[score]
            label = f"{label}, {word} {value:.3f}" if name else f"{word} {value:.3f}"
        lower, upper = _band(p, events, others, curve, level, seed)
        ax.fill_between(GRID, lower, upper, color=colour, alpha=0.18, linewidth=0)
        ax.plot(*curve(*_ordered(p, events, others)), color=colour, label=label or None)
    ax.set_xlim(-0.02, 1.02)
    ax.set_ylim(-0.02, 1.02)
    if ax.get_legend_handles_labels()[1]:
        ax.legend(frameon=False, loc="lower right")
    return ax


def _ordered(
    p: np.ndarray, events: np.ndarray, others: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return events and others among the rows chosen, from the highest p down; ties together."""
    values, place = np.unique(-p, return_inverse=True)
    return (
        np.append(0.0, np.bincount(place, events, len(values)).cumsum()),
        np.append(0.0, np.bincount(place, others, len(values)).cumsum()),
    )


def _hits_by_alarms(yes: np.ndarray, no: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return no / no[-1], yes / yes[-1]


def _precision_by_recall(yes: np.ndarray, no: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return yes[1:] / yes[-1], yes[1:] / (yes[1:] + no[1:])


def _band(
    p: np.ndarray,
    events: np.ndarray,
    others: np.ndarray,
    curve: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    level: float,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return limits of the curve at points of its axis, over bootstrap samples of the rows."""
    generator = np.random.default_rng(seed)
    count = int(np.clip(MOST / len(p), 20, SAMPLES))
    order = np.argsort(-p, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(-p[order]) > 0, True))
    heights = []
    for _ in range(count):
        some = np.bincount(generator.integers(len(p), size=len(p)), minlength=len(p))[order]
        yes = np.append(0.0, (events[order] * some).cumsum()[ends])
        no = np.append(0.0, (others[order] * some).cumsum()[ends])
        if yes[-1] and no[-1]:
            kept = np.append(True, np.diff(yes + no) > 0)
            heights.append(np.interp(GRID, *curve(yes[kept], no[kept])))
    lower, upper = np.quantile(heights, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return lower, upper

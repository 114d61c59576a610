"""Scores of predicted probabilities: how sharp they are, how right, how well they rank.

Every score is a function of p and of how many events and non-events each row stands for, so that
weights, and rows that count trials, are the copies they stand for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bayesglm import frames
from bayesglm.effects.rows import rows_of
from bayesglm.errors import DataError, SpecificationError, explain
from bayesglm.outcome import respond
from bayesglm.predicting import eta, points_of, response
from bayesglm.rows import RESERVED, column
from bayesglm.scoring_streamed import Binned, binned
from bayesglm.streaming.streamed import StreamedDesign
from bayesglm.tables import check_level

if TYPE_CHECKING:
    import pandas as pd

    from bayesglm.fit import Fit

__all__ = [
    "SCORES",
    "decision_curve",
    "isotonic",
    "net_benefit",
    "outcomes",
    "resampled",
    "score_values",
    "scores",
    "table_of",
]

SCORES = (
    "log_score",
    "brier",
    "calibration",
    "refinement",
    "auc",
    "accuracy",
    "ece",
    "ici",
    "tjur_r2",
    "mcfadden_r2",
)
BINS = 10
# Posterior draws, or bootstrap samples of rows, behind the intervals.
DRAWS = 500


def isotonic(p: np.ndarray, events: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the share of events as a monotone function of p (pool adjacent violators), by row.

    Each row must stand for something.
    """
    from scipy.optimize import isotonic_regression

    values, place = np.unique(p, return_inverse=True)
    yes = np.bincount(place, weights=events, minlength=len(values))
    mass = yes + np.bincount(place, weights=others, minlength=len(values))
    return np.asarray(isotonic_regression(yes / mass, weights=mass).x[place])


def score_values(
    p: np.ndarray, events: np.ndarray, others: np.ndarray, threshold: float = 0.5
) -> dict[str, float]:
    """Return every score of predicted probabilities.

    Parameters
    ----------
    p : ndarray, shape (n,)
        Probability of the event.
    events, others : ndarray, shape (n,)
        How many events and non-events each row stands for.
    threshold : float
        At which p an event is predicted.

    References
    ----------
    Dimitriadis, Gneiting & Jordan (2021), PNAS 118 (the decomposition, by isotonic regression);
    Austin & Steyerberg (2019), Statistics in Medicine 38 (ICI); Tjur (2009), American Statistician
    63; McFadden (1974).
    """
    from scipy.special import xlogy

    live = events + others > 0
    p, events, others = p[live], events[live], others[live]
    mass = events + others
    total = mass.sum()
    inside = np.clip(p, 0.0, 1.0)
    rate = events.sum() / total
    with np.errstate(divide="ignore", invalid="ignore"):
        log_score = (xlogy(events, inside) + xlogy(others, 1 - inside)).sum() / total
        null = xlogy(rate, rate) + xlogy(1 - rate, 1 - rate)

    def brier(q: np.ndarray) -> float:
        return float((events * (1 - q) ** 2 + others * q**2).sum() / total)

    curve = isotonic(p, events, others)
    refined = brier(curve)
    both = 0 < rate < 1
    edges = np.clip(np.ceil(inside * BINS) - 1, 0, BINS - 1).astype(int)
    weight = np.bincount(edges, weights=mass, minlength=BINS)
    said = np.bincount(edges, weights=mass * p, minlength=BINS)
    seen = np.bincount(edges, weights=events, minlength=BINS)
    predicted = p >= threshold
    return {
        "log_score": float(log_score),
        "brier": brier(p),
        "calibration": brier(p) - refined,
        "refinement": refined,
        "auc": _auc(p, events, others) if both else np.nan,
        "accuracy": float((np.where(predicted, events, others)).sum() / total),
        "ece": float(np.abs(seen - said)[weight > 0].sum() / total),
        "ici": float((mass * np.abs(p - curve)).sum() / total),
        "tjur_r2": float(np.average(p, weights=events) - np.average(p, weights=others))
        if both
        else np.nan,
        "mcfadden_r2": float(1 - log_score / null) if both else np.nan,
    }


def _auc(p: np.ndarray, events: np.ndarray, others: np.ndarray) -> float:
    """Return the probability that an event has the larger p than a non-event, ties by half."""
    values, place = np.unique(p, return_inverse=True)
    yes = np.bincount(place, weights=events, minlength=len(values))
    no = np.bincount(place, weights=others, minlength=len(values))
    below = np.cumsum(no) - no
    return float((yes * (below + no / 2)).sum() / (yes.sum() * no.sum()))


def outcomes(fit: Fit, newdata: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the events and non-events that each row of the data, or of new data, stands for.

    Raises
    ------
    DataError
        If the outcome is a number (``gaussian``) other than 0 and 1.
    """
    design = fit.design
    if newdata is None:
        y, trials, w = design.y, design.trials, design.weights
    else:
        y, trials, w = _new_outcomes(fit, newdata)
    if fit.spec.family.has_sigma and not np.isin(y, (0.0, 1.0)).all():
        raise DataError(
            explain(
                "scores are for yes/no outcomes", outcome=design.outcome.name, family="gaussian"
            )
        )
    return w * y, w * (trials - y)


def _new_outcomes(fit: Fit, newdata: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return y, trials and weights of new data, read as the training data were."""
    design, spec = fit.design, fit.spec
    if design.formula is None:
        raise DataError(
            explain("new outcomes need a formula", advice="score the arrays by scikit-learn")
        )
    given = [spec.trials, spec.weights]
    names = [name for name in given if name is not None and not name.startswith(RESERVED)]
    known = frames.column_names(newdata)
    if spec.trials is not None and spec.trials.startswith(RESERVED):
        raise DataError(
            explain("the model was given its trials as an array", advice="put them into a column")
        )
    left = design.formula.left_columns
    frame = frames.select(newdata, [*left, *(name for name in names if name in known)])
    frames.refuse_missing(frame, advice="drop these rows of the new data")
    trials = None if spec.trials is None else column(frame, spec.trials)
    words = replace(spec, event=design.outcome.event or spec.event)
    y, counted, _ = respond(
        design.formula.left, design.formula.text, frame[list(left)], words, trials
    )
    weighted = spec.weights is not None and spec.weights in frame.columns
    return y, counted, column(frame, str(spec.weights)) if weighted else np.ones(len(y))


def scores(
    fit: Fit,
    newdata: Any = None,
    *,
    threshold: float = 0.5,
    level: float = 0.95,
    interval: Literal["posterior", "bootstrap"] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Return scores of the predicted probabilities.

    Parameters
    ----------
    fit : Fit
    newdata : DataFrame or dict, optional
        With the outcome. The training data if absent: such scores flatter, and are labelled so; see
        `kfold` for those of rows held out.
    threshold : float
        At which p an event is predicted (accuracy).
    level : float
        Coverage of the interval.
    interval : {"posterior", "bootstrap"}, optional
        Over posterior draws (the default where there are any): what is not known of the
        coefficients. Or over bootstrap samples of the rows (the default of point fits): what
        another sample of rows would have given.
    seed : int
        Fixes the samples.

    Returns
    -------
    DataFrame
        Indexed by score: estimate (of the mean p of each row), lower, upper, sample. Scores:
        log_score (mean log probability of what happened: higher is better), brier = calibration +
        refinement (lower is better; by isotonic regression), auc, accuracy, ece (10 equal bins),
        ici (mean distance of p from the calibration curve), tjur_r2, mcfadden_r2. Under
        ``gaussian`` also ``outside``, the share of p outside [0, 1].

    Raises
    ------
    DataError
        If the new data lack the outcome.

    References
    ----------
    Dimitriadis, Gneiting & Jordan (2021), PNAS 118; Austin & Steyerberg (2019), Statistics in
    Medicine 38; Tjur (2009), American Statistician 63.

    Examples
    --------
    >>> import bayesglm as bg
    >>> fit = bg.Model("damage ~ temperature", bg.datasets.challenger()).fit("mle")
    >>> bg.scores(fit).loc[["brier", "auc"], ["estimate", "sample"]].round(3).rename_axis(None)
           estimate     sample
    brier     0.139  in-sample
    auc       0.781  in-sample
    """
    level = check_level(level)
    if not 0 <= threshold <= 1:
        raise SpecificationError(explain("threshold must be a probability", threshold=threshold))
    points = points_of(fit)
    several = len(points) > 1
    chosen = interval or ("posterior" if several else "bootstrap")
    if chosen not in ("posterior", "bootstrap") or (chosen == "posterior" and not several):
        raise SpecificationError(
            explain(
                "interval must be posterior (of a fit with draws) or bootstrap",
                interval=interval,
                method=fit.method,
            )
        )
    if newdata is None and isinstance(fit.design, StreamedDesign):
        return _streamed_scores(fit, threshold, level, chosen, seed)
    events, others = outcomes(fit, newdata)
    rows = rows_of(fit, newdata, None)
    p = np.asarray(fit.predict(None if newdata is None else newdata))
    samples = []
    if chosen == "posterior":
        for k in np.unique(np.linspace(0, len(points) - 1, _samples(rows.n)).astype(int)):
            one = points[k : k + 1]
            drawn = response(fit, eta(fit, one, rows.plain(slice(None))), one)[0]
            samples.append(score_values(drawn, events, others, threshold))
    else:
        samples = resampled(p, events, others, threshold, seed)
    return table_of(
        p, events, others, samples, threshold, level,
        sample="in-sample" if newdata is None else "new data",
        outside=fit.spec.family.has_sigma,
    )  # fmt: skip


def _streamed_scores(
    fit: Fit, threshold: float, level: float, interval: str, seed: int
) -> pd.DataFrame:
    """Return the scores of rows that stay on disk; ranks and curves by narrow bins of p."""
    if fit.spec.family.has_sigma and fit.design.outcome.event == "":
        raise DataError(explain("scores are for yes/no outcomes", outcome=fit.design.outcome.name))
    number = _samples(fit.nobs)
    found = binned(fit, threshold, number if interval == "posterior" else 0)
    if interval == "posterior":
        samples = [
            score_values(one.p, one.events, one.others, threshold) | _exact(one)
            for one in found.drawn
        ]
    else:
        samples = [
            score_values(found.p, events, others, threshold)
            for events, others in found.resampled(number, seed)
        ]
    return table_of(
        found.p, found.events, found.others, samples, threshold, level,
        sample="in-sample", outside=fit.spec.family.has_sigma, exact=found.exact,
    )  # fmt: skip


def _exact(found: Binned) -> dict[str, float]:
    return {name: value for name, value in found.exact.items() if name in SCORES}


def table_of(
    p: np.ndarray,
    events: np.ndarray,
    others: np.ndarray,
    samples: list[dict[str, float]],
    threshold: float,
    level: float,
    *,
    sample: str,
    outside: bool = False,
    exact: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Return scores as a table, with intervals from samples of them.

    Those in ``exact`` stand for what p, of bins, would give.
    """
    import pandas as pd

    found = score_values(p, events, others, threshold)
    if exact is not None:
        found |= {name: value for name, value in exact.items() if name in found}
        found["calibration"] = found["brier"] - found["refinement"]
    table = pd.DataFrame({"estimate": found}, index=pd.Index(SCORES, name="score"))
    spread = np.array([[sample[name] for name in SCORES] for sample in samples])
    # A log score may be minus infinity, between which there is no interpolation.
    tails = [(1 - level) / 2, (1 + level) / 2]
    ends = np.quantile(spread, tails, axis=0, method="inverted_cdf")
    table["lower"], table["upper"] = ends[0], ends[1]
    table["sample"] = sample
    if not outside:
        return table
    mass = events + others
    share = float(mass[(p < 0) | (p > 1)].sum() / mass.sum()) if exact is None else exact["outside"]
    row = {"estimate": share, "lower": np.nan, "upper": np.nan, "sample": sample}
    return pd.concat([table, pd.DataFrame(row, index=pd.Index(["outside"], name="score"))])


def resampled(
    p: np.ndarray, events: np.ndarray, others: np.ndarray, threshold: float, seed: int
) -> list[dict[str, float]]:
    """Return the scores of bootstrap samples of the rows that stand for something."""
    live = np.flatnonzero(events + others > 0)
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(_samples(len(p))):
        some = np.bincount(generator.choice(live, len(live)), minlength=len(p))
        found.append(score_values(p, events * some, others * some, threshold))
    return found


def _samples(n: int) -> int:
    """Return how many samples, or draws, of n rows are behind an interval."""
    return int(np.clip(2e7 / max(n, 1), 20, DRAWS))


def decision_curve(fit: Fit, newdata: Any = None, *, thresholds: Any = None) -> pd.DataFrame:
    """Return the net benefit of acting on the prediction, by threshold.

    Acting where p is at least t is worth its true positives less t / (1 - t) times its false ones,
    per row; it is of use where it beats acting on all and acting on none (0).

    Parameters
    ----------
    fit : Fit
    newdata : DataFrame or dict, optional
        With the outcome; the training data (which flatter) if absent.
    thresholds : array, optional
        Probabilities below 1; 0.01 to 0.99 if absent.

    Returns
    -------
    DataFrame
        Indexed by threshold: model, all, none (net benefit per row, in events).

    References
    ----------
    Vickers & Elkin (2006), Medical Decision Making 26.

    Examples
    --------
    >>> import bayesglm as bg
    >>> fit = bg.Model("damage ~ temperature", bg.datasets.challenger()).fit("mle")
    >>> bg.decision_curve(fit, thresholds=[0.2, 0.4]).round(3).rename_axis(None)
         model    all  none
    0.2  0.174  0.130     0
    0.4  0.145 -0.159     0
    """
    return net_benefit(fit.predict(newdata), *outcomes(fit, newdata), thresholds)


def net_benefit(
    p: np.ndarray, events: np.ndarray, others: np.ndarray, thresholds: Any = None
) -> pd.DataFrame:
    """Return the net benefit of acting on probabilities; see `decision_curve`."""
    import pandas as pd

    at = np.linspace(0.01, 0.99, 99) if thresholds is None else np.asarray(thresholds, dtype=float)
    if at.ndim != 1 or not ((at >= 0) & (at < 1)).all():
        raise SpecificationError(
            explain("thresholds must be probabilities below 1", thresholds=thresholds)
        )
    total, odds = (events + others).sum(), at / (1 - at)
    order = np.argsort(p, kind="stable")
    first = np.searchsorted(p[order], at, side="left")
    hits, alarms = (
        np.append(values[order][::-1].cumsum()[::-1], 0.0)[first] for values in (events, others)
    )
    table = {
        "model": (hits - odds * alarms) / total,
        "all": (events.sum() - odds * others.sum()) / total,
        "none": np.zeros(len(at), dtype=int),
    }
    return pd.DataFrame(table, index=pd.Index(at, name="threshold"))

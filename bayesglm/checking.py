"""Does the model look like the data: calibration, simulated outcomes, leave-one-out residuals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from bayesglm.effects.rows import cells_of, rows_of
from bayesglm.errors import SpecificationError, explain
from bayesglm.fit import Fit
from bayesglm.implied import target_of
from bayesglm.link_shapes import bound_link
from bayesglm.loocv import loo
from bayesglm.precision import in_double
from bayesglm.predicting import eta, points_of, response
from bayesglm.requested import joint_draws
from bayesglm.resampling import CrossValidation
from bayesglm.scoring import isotonic, outcomes
from bayesglm.tables import check_level

if TYPE_CHECKING:
    import pandas as pd

    from bayesglm.link import Link
    from bayesglm.model import Model
    from bayesglm.shaped import BoundLink

__all__ = ["calibration_curve", "loo_pit", "predictive_check"]

# Sets of outcomes simulated for a band, and most predictions told apart in it.
SIMULATED, APART = 500, 2_000
QUANTILES = (0.05, 0.5, 0.95)
# Bytes that the probabilities of a block of draws may take.
MEMORY = 32 * 2**20


def calibration_curve(
    fit: Fit | CrossValidation, newdata: Any = None, *, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """Return the share of events as a function of the predicted probability, with a band.

    The curve is monotone (pool adjacent violators), so that no bins have to be chosen. The band is
    where it would lie, point by point, were the probabilities right. More than 2,000 different
    predictions are taken in 2,000 groups of about equal weight.

    Parameters
    ----------
    fit : Fit or CrossValidation
        Of a cross-validation, the predictions of rows held out.
    newdata : DataFrame or dict, optional
        With the outcome; the training data (which flatter) if absent.
    level : float
        Coverage of the band.
    seed : int
        Fixes the simulated outcomes of the band.

    Returns
    -------
    DataFrame
        Sorted by p: p, calibrated, lower, upper, n (outcomes with this p).

    References
    ----------
    Dimitriadis, Gneiting & Jordan (2021), PNAS 118.

    Examples
    --------
    >>> import bayesglm as bg
    >>> fit = bg.Model("damage ~ temperature", bg.datasets.challenger()).fit("mle")
    >>> bg.calibration_curve(fit).iloc[[0, -1]].round(2)[["p", "calibrated"]]
           p  calibrated
    0   0.02         0.0
    15  0.94         1.0
    """
    import pandas as pd

    level = check_level(level)
    if isinstance(fit, CrossValidation):
        if newdata is not None:
            raise SpecificationError(
                explain("a cross-validation has predictions of its own rows only")
            )
        p, (events, others) = fit.predicted, outcomes(fit.fit)
    else:
        p, (events, others) = fit.predict(newdata), outcomes(fit, newdata)
    live = events + others > 0
    p, events, others = p[live], events[live], others[live]
    values, place = np.unique(p, return_inverse=True)
    if len(values) > APART:
        held = np.bincount(place, weights=events + others).cumsum()
        groups = np.unique(np.ceil(held / held[-1] * APART), return_inverse=True)[1]
        place = groups[place]
        values = np.bincount(place, p * (events + others)) / np.bincount(place, events + others)
    yes = np.bincount(place, weights=events)
    mass = yes + np.bincount(place, weights=others)
    generator = np.random.default_rng(seed)
    count = np.maximum(np.round(mass), 1).astype(int)
    inside = np.clip(values, 0, 1)
    bands = np.empty((SIMULATED, len(values)))
    for k in range(SIMULATED):
        share = generator.binomial(count, inside) / count
        bands[k] = isotonic(values, share * mass, (1 - share) * mass)
    lower, upper = np.quantile(bands, [(1 - level) / 2, (1 + level) / 2], axis=0)
    curve = isotonic(values, yes, mass - yes)
    return pd.DataFrame(
        {"p": values, "calibrated": curve, "lower": lower, "upper": upper, "n": mass}
    )


def predictive_check(
    fit: Fit | Model,
    statistics: Mapping[str, Callable[[np.ndarray], float]] | None = None,
    *,
    by: bool | str | list[str] = True,
    draws: int = 1_000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare the data with outcomes that the model simulates.

    Outcomes are drawn from the posterior predictive distribution (of a point fit: at the estimate),
    of a `Model`, which knows no data yet, from the prior predictive one.

    Parameters
    ----------
    fit : Fit or Model
    statistics : dict of str to callable, optional
        Functions of the outcomes (n,) of the rows: shares of events. The share of events in each
        cell of ``by`` if absent.
    by : bool, str or list of str
        True: over all rows; a column: over the rows of each of its values.
    draws : int
        Sets of outcomes.
    level : float
        Coverage of the interval.
    seed : int
        Fixes them.

    Returns
    -------
    DataFrame
        quantity, observed, mean, lower, upper (of the simulated), p_value (two-sided: how often the
        simulated are as far out); then quantiles over rows of p itself, which has no observed value.

    References
    ----------
    Gelman, Meng & Stern (1996), Statistica Sinica 6.

    Examples
    --------
    >>> import bayesglm as bg
    >>> fit = bg.Model("survived ~ sex", bg.datasets.titanic(), trials="total").fit("mle")
    >>> table = bg.predictive_check(fit, by="pclass")
    >>> table[["quantity", "observed", "p_value"]].head(3).round(3)
                            quantity  observed  p_value
    0  share of events, pclass = 1st     0.625    0.000
    1  share of events, pclass = 2nd     0.414    0.782
    2  share of events, pclass = 3rd     0.252    0.000
    """
    import pandas as pd

    level = check_level(level)
    if not isinstance(draws, (int, np.integer)) or draws < 2:
        raise SpecificationError(explain("draws must be a whole number, 2 or more", draws=draws))
    design = fit.design
    trials = np.round(design.trials).astype(int)
    observed = (design.y / design.trials)[None]
    generator = np.random.default_rng(seed)
    functions = statistics or _shares(fit, by)
    mass = design.weights > 0
    simulated: list[list[np.ndarray]] = [[] for _ in functions]
    quantiles = []
    for p in _p_blocks(fit, int(draws), seed):
        outcomes = generator.binomial(trials, np.clip(p, 0, 1)) / design.trials
        for kept, function in zip(simulated, functions.values(), strict=True):
            kept.append(np.array([float(function(row)) for row in outcomes]))
        quantiles.append(np.quantile(p[:, mass], QUANTILES, axis=1))
    found = [
        (name, float(function(observed[0])), np.concatenate(kept))
        for (name, function), kept in zip(functions.items(), simulated, strict=True)
    ]
    for q, values in zip(QUANTILES, np.concatenate(quantiles, axis=1), strict=True):
        found.append((f"p, quantile {q:g} of rows", np.nan, values))
    tails = [(1 - level) / 2, (1 + level) / 2]
    table = []
    for name, value, values in found:
        lower, upper = np.quantile(values, tails)
        # Equal numbers of events are a tie, whatever rounding makes of their share.
        close = np.abs(values - value) <= 1e-12
        below, above = (close | (values < value)).mean(), (close | (values > value)).mean()
        p_value = np.nan if np.isnan(value) else min(1.0, 2 * min(below, above))
        table.append((name, value, values.mean(), lower, upper, p_value))
    return pd.DataFrame(
        table, columns=["quantity", "observed", "mean", "lower", "upper", "p_value"]
    )


def _shares(
    fit: Fit | Model, by: bool | str | list[str]
) -> dict[str, Callable[[np.ndarray], float]]:
    """Return for each cell the function that averages outcomes over its rows."""
    rows = rows_of(fit, None, None)
    cells = cells_of(rows, by)
    codes = np.zeros(rows.n, dtype=int) if cells.codes is None else cells.codes
    found: dict[str, Callable[[np.ndarray], float]] = {}
    for k in range(cells.count):
        label = ", ".join(f"{n} = {v}" for n, v in cells.labels.iloc[k].items())
        where = np.flatnonzero((codes == k) & (cells.shares > 0))
        share = cells.shares[where]
        name = f"share of events{', ' if label else ''}{label}"
        found[name] = partial(_share, where, share)
    return found


def _share(where: np.ndarray, share: np.ndarray, row: np.ndarray) -> float:
    return float(row[where] @ share)


def _p_blocks(fit: Fit | Model, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Yield probabilities (some draws, n): of the posterior, the estimate, or the prior."""
    if fit.spec.family.has_sigma:
        raise SpecificationError(
            explain("predictive checks simulate yes/no outcomes", family="gaussian")
        )
    length = max(1, MEMORY // (8 * max(fit.design.n, 1)))
    parts = [slice(begin, min(begin + length, draws)) for begin in range(0, draws, length)]
    if not isinstance(fit, Fit):
        yield from _prior_blocks(fit, draws, parts, seed)
    elif not fit.result.draws:
        p = fit.predict()
        yield from (np.broadcast_to(p, (part.stop - part.start, len(p))) for part in parts)
    else:
        points, rows = points_of(fit), rows_of(fit, None, None).plain(slice(None))
        chosen = np.linspace(0, len(points) - 1, draws).astype(int)
        for part in parts:
            some = points[chosen[part]]
            yield response(fit, eta(fit, some, rows), some)


def _prior_blocks(model: Model, draws: int, parts: list[slice], seed: int) -> Iterator[np.ndarray]:
    """Yield probabilities (some draws, n) of the prior."""
    design, spec = model.design, model.spec
    if spec.add:
        raise SpecificationError(
            explain("prior checks are for models without networks; see Model.prior_predictive")
        )
    target = target_of(spec, design, model.priors, merged=False)
    drawn = joint_draws(target, design, draws, seed=seed)
    for part in parts:
        linear = (design.matrix @ drawn["beta"][part].T).T + design.offset
        if design.intercept:
            linear = linear + drawn["Intercept"][part, None]
        shape = {name: drawn[name][part] for name in spec.shape}
        yield _inverse(bound_link(spec.link, shape), linear)


@in_double
def _inverse(link: Link | BoundLink, eta: np.ndarray) -> np.ndarray:
    return np.asarray(link.inverse(jnp.asarray(eta)))


def loo_pit(fit: Fit, *, seed: int = 0) -> np.ndarray:
    """Return randomised leave-one-out probability integral transforms: uniform if all is well.

    Parameters
    ----------
    fit : Fit
        With draws; each row one outcome.
    seed : int
        Fixes what is random: where in its step a yes or no falls.

    Returns
    -------
    ndarray, shape (n,)
        In (0, 1); NaN for rows of weight 0.

    References
    ----------
    Czado, Gneiting & Held (2009), Biometrics 65 (discrete outcomes).

    Examples
    --------
    >>> import bayesglm as bg
    >>> fit = bg.Model("damage ~ temperature", bg.datasets.challenger()).fit("laplace")
    >>> bg.loo_pit(fit).shape
    (23,)
    """
    design = fit.design
    if design.aggregated or fit.spec.family.has_sigma:
        raise SpecificationError(
            explain("loo_pit is for rows with one yes/no outcome each", rows=design.n)
        )
    live = np.flatnonzero(design.weights > 0)
    found = loo(fit, unit="copy", subsample=len(live))
    likely = np.exp(np.asarray(found.elpd_i) / design.weights[live])
    u = np.random.default_rng(seed).uniform(size=len(live))
    pit = np.full(design.n, np.nan)
    event = design.y[live] == 1
    # A no takes the step from 0 to q, a yes that from q to 1.
    pit[live] = np.where(event, 1 - likely + u * likely, u * likely)
    return pit

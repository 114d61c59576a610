"""What the inputs of networks do to p: weights are not identified, their effects are.

For each input the average, over rows of the data, of the change in p as that input alone goes from
its lower to its upper quartile (from False to True, from the first level to each other one).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.newdata import NewRows
from bayesglm.predicting import eta, points_of, response

if TYPE_CHECKING:
    import pandas as pd

    from bayesglm.encoding import Column
    from bayesglm.fit import Fit

__all__ = ["input_effects", "probabilities"]

# Rows over which effects are averaged, and rows whose probabilities are diagnosed.
ROWS = 200
QUARTILES = (0.25, 0.75)


def input_effects(fit: Fit) -> dict[str, np.ndarray]:
    """Return the effect of each input of the networks, on the probability scale.

    Returns
    -------
    dict of str to ndarray, shape (chains, draws)
        By a label that says from where to where the input goes; (1, 1) for a point fit, (1, k) for
        an ensemble. Empty for a fit without its data.
    """
    frame = fit.design.frame
    if frame is None:
        return {}
    live = np.flatnonzero(fit.design.weights > 0)
    places = _spread(live)
    found = {}
    columns: dict[str, Column] = {}
    for inputs in fit.design.inputs:
        columns |= inputs.encoding.columns
    for name, column in columns.items():
        for low, high in _contrasts(frame[name].iloc[live], column):
            change = _mean_p(fit, places, name, high) - _mean_p(fit, places, name, low)
            found[f"{name}: {_shown(low)} to {_shown(high)}"] = change
    return found


def probabilities(fit: Fit) -> np.ndarray:
    """Return the draws of p for some rows of the data, shape (chains, draws, rows)."""
    live = np.flatnonzero(fit.design.weights > 0)
    return _by_chain(fit, _p(fit, _spread(live)))


def _spread(live: np.ndarray) -> np.ndarray:
    chosen = np.linspace(0, len(live) - 1, min(ROWS, len(live))).astype(int)
    return live[np.unique(chosen)]


def _contrasts(values: pd.Series, column: Column) -> list[tuple[Any, Any]]:
    if column.kind == "category":
        return [(column.levels[0], level) for level in column.levels[1:]]
    if column.kind == "bool":
        return [(False, True)]
    numbers = values.to_numpy(dtype=float)
    # Inverted, so that a whole number stays one.
    low, high = np.quantile(numbers, QUARTILES, method="inverted_cdf")
    if low == high:
        low, high = numbers.min(), numbers.max()
    return [] if low == high else [(low.astype(values.dtype), high.astype(values.dtype))]


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, np.number) else str(value)


def _mean_p(fit: Fit, places: np.ndarray, name: str, value: Any) -> np.ndarray:
    return _by_chain(fit, _p(fit, places, **{name: value}).mean(axis=1))


def _p(fit: Fit, places: np.ndarray, **changed: Any) -> np.ndarray:
    """Return p of training rows with some columns changed, shape (s, n); offsets stay."""
    design = fit.design
    frame = design.frame.iloc[places].assign(**changed)
    matrix = (
        design.matrix[places]
        if design.encoding is None
        else design.encoding.apply(frame, design.context)
    )
    inputs = tuple(part.apply(frame, design.context) for part in design.inputs)
    rows = NewRows(matrix, design.offset[places], None, inputs=inputs)
    points = points_of(fit)
    return response(fit, eta(fit, points, rows), points)


def _by_chain(fit: Fit, values: np.ndarray) -> np.ndarray:
    draws = fit.result.flat_draws
    shape = (1, len(values)) if draws is None else draws.shape[:2]
    return values.reshape(*shape, *values.shape[1:])

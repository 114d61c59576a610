"""Slopes through a network: central differences of p."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from bayesglm.effects.answers import scale_of
from bayesglm.effects.encodings import STEP
from bayesglm.effects.engine import probabilities
from bayesglm.effects.questions import asked, collect
from bayesglm.effects.rows import Cells, Rows
from bayesglm.errors import SpecificationError, explain

__all__ = ["network_slopes"]


def network_slopes(
    rows: Rows, cells: Cells, names: list[str], slope: str, *, level: float, memory: int
) -> dict[str, Any]:
    """Return a table of slopes for each variable of a model with networks.

    Raises
    ------
    SpecificationError
        For elasticities.
    """
    if slope != "dydx":
        raise SpecificationError(
            explain("elasticities are not made for models with networks", slope=slope)
        )
    tables = {}
    for name in names:
        x = np.asarray(rows.frame[name], dtype=float)
        step = STEP * max(float(np.abs(x).max(initial=0.0)), float(np.ptp(x)), 1e-300)
        reach = 2 * step
        columns, behind = collect(
            rows,
            probabilities(rows, cells, [{name: x - step}, {name: x + step}], memory),
            lambda values, reach=reach: np.diff(values, axis=-2) / reach,  # type: ignore[misc]
            lambda values: np.zeros((1, *values.shape)),
            scale=scale_of("identity"),
            level=level,
            memory=memory,
        )
        note = f"{name}: a central difference of p, step {step:.3g}"
        behind = replace(behind, question="slopes", kind="slope of the probability", notes=(note,))
        labels = [{"term": name, "contrast": f"dp/d{name}"}]
        tables[name] = asked(rows, cells, columns, behind, labels)
    return tables

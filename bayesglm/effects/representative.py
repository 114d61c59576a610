"""Representative rows: values of interest for some variables, typical ones for the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bayesglm.effects.contrasts import levels_of
from bayesglm.effects.rows import Rows, check_variable, group_columns, rows_of, variables_of
from bayesglm.errors import DataError, SpecificationError, explain

if TYPE_CHECKING:
    import pandas as pd

    from bayesglm.fit import Fit
    from bayesglm.model import Model

__all__ = ["KINDS", "grid"]

KINDS = ("typical", "balanced", "counterfactual")


def grid(
    model: Model | Fit,
    *,
    kind: Literal["typical", "balanced", "counterfactual"] = "typical",
    **values: Any,
) -> pd.DataFrame:
    """Return rows with all combinations of some values, for `predictions` and its like.

    Parameters
    ----------
    model : Model or Fit
    kind : {"typical", "balanced", "counterfactual"}
        What the other variables are: their mean (numbers; the median of whole ones) and most
        frequent level; numbers as before and every combination of levels; or all rows of the data
        as they are, once for each combination of the values.
    **values
        For each variable a value, several, or a function of its column that returns them (such as
        ``lambda x: x.quantile([0.1, 0.9])``).

    Returns
    -------
    DataFrame
        The columns of the model's predictors.

    Raises
    ------
    SpecificationError
        For an unknown variable or kind.

    Examples
    --------
    >>> import bayesglm as bg
    >>> model = bg.Model("survived ~ sex + pclass", bg.datasets.titanic(), trials="total")
    >>> bg.grid(model, pclass=["1st", "3rd"])
        sex pclass
    0  Male    1st
    1  Male    3rd
    """
    import pandas as pd

    if kind not in KINDS:
        raise SpecificationError(
            explain("unknown kind of grid", kind=kind, advice="use one of " + ", ".join(KINDS))
        )
    if model.design.frame is None:
        raise DataError(
            explain("the fit was saved without its data", advice="make the rows by hand")
        )
    rows = rows_of(model, None, None)
    names, beside = variables_of(rows.fit), _beside(rows)
    wanted = {
        name if name in beside else check_variable(rows.fit, name): _listed(rows, name, value)
        for name, value in values.items()
    }
    extra = [name for name in rows.frame.columns if name in beside and name not in names]
    if kind == "counterfactual":
        base = rows.frame[[*names, *extra]]
        combined = [
            base.assign(**dict(zip(wanted, combination, strict=True)))
            for combination in product(*wanted.values())
        ]
        return pd.concat(combined, ignore_index=True)
    for name in [*names, *extra]:
        if name not in wanted:
            levels = levels_of(rows, name) if name in names else []
            wanted[name] = levels if levels and kind == "balanced" else [_typical(rows, name)]
    columns = [*names, *extra]
    combinations = list(product(*(wanted[name] for name in columns)))
    return pd.DataFrame(combinations, columns=columns)


def _beside(rows: Rows) -> set[str]:
    """Return the columns beside the variables that rows must have: offset, groups."""
    design = rows.fit.design
    return {design.offset_column or "", *group_columns(design, rows.groups)}


def _listed(rows: Rows, name: str, value: Any) -> list[Any]:
    if isinstance(value, Callable):  # type: ignore[arg-type]
        value = value(rows.column(name))
    if isinstance(value, str) or not isinstance(value, Iterable):
        return [value]
    found = list(value)
    if not found:
        raise SpecificationError(explain(f"there are no values for {name!r}"))
    return found


def _typical(rows: Rows, name: str) -> Any:
    """Return the most frequent level, or the mean (of whole numbers the median), by weight."""
    values, weights = rows.column(name), rows.weights
    factors = {column for each in rows.fit.design.groups for column in each.groups.factor}
    if name in factors or (name in variables_of(rows.fit) and levels_of(rows, name)):
        import pandas as pd

        totals = pd.Series(weights).groupby(np.asarray(values, dtype=object)).sum()
        return totals.idxmax()
    numbers = np.asarray(values, dtype=float)
    mean = float(np.average(numbers, weights=weights))
    if values.dtype.kind not in "iu":
        return mean
    order = np.argsort(numbers, kind="stable")
    half = np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)
    return int(numbers[order][min(half, len(numbers) - 1)])

"""Predicted probabilities: of each row, or averaged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bayesglm.effects.engine import Chunk, link_scale, probabilities
from bayesglm.effects.questions import MEMORY, asked, check_memory, collect
from bayesglm.effects.rows import Cells, Rows, cells_of, rows_of
from bayesglm.effects.streamed import is_streamed, over_blocks
from bayesglm.tables import check_level

if TYPE_CHECKING:
    from bayesglm.fit import Fit
    from bayesglm.group_effects import Which

__all__ = ["predictions"]


def predictions(
    fit: Fit,
    newdata: Any = None,
    *,
    by: bool | str | list[str] | None = None,
    level: float = 0.95,
    weights: Any = None,
    memory: int = MEMORY,
    groups: Which = "all",
    new_groups: Literal["error", "sample", "zero"] = "error",
) -> Any:
    """Return probabilities of the event, of each row or averaged over rows.

    Parameters
    ----------
    fit : Fit
        Of any method: a point fit gives errors by the delta method from its covariance (robust and
        clustered ones too), a posterior by its draws.
    newdata : DataFrame or dict, optional
        The rows; those of the data if absent. See `grid` for representative ones.
    by : bool, str or list of str, optional
        True averages over all rows, a column (or several) over the rows of each of its values.
    level : float
        Coverage of the equal-tailed interval. Of a point fit it is normal on the link scale, and so
        stays in [0, 1].
    weights : str or array, optional
        Weights of averages; the model's own, times trials, for the data, and 1 for new data.
    memory : int
        Bytes that blocks, and the draws or Jacobian kept behind the table, may take.
    groups : "all", None or sequence of str
        Factors whose group-level effects count; None is the population level. A point fit's errors
        count that they are estimates (of more than 1,000 effects of a factor: in part).
    new_groups : {"error", "sample", "zero"}
        As for `Fit.predict`; of a point fit "sample" is refused.

    Returns
    -------
    DataFrame
        estimate, std_error, lower, upper (probability; the mean for ``gaussian``), with the columns
        of ``by`` or of the rows. It has ``.draws`` or ``.vcov`` besides.

    Examples
    --------
    >>> import bayesglm as bg
    >>> fit = bg.Model("damage ~ temperature", bg.datasets.challenger()).fit("mle")
    >>> bg.predictions(fit, {"temperature": [31, 70]}).round(3)
       estimate  std_error  lower  upper  temperature
    0      1.00      0.002  0.482   1.00           31
    1      0.23      0.105  0.085   0.49           70
    """
    level, memory = check_level(level), check_memory(memory)

    def averages(rows: Rows, cells: Cells) -> Iterable[Chunk]:
        return probabilities(rows, cells, [{}], memory)

    chunks: Iterable[Chunk]
    if is_streamed(fit, newdata):
        rows, cells, chunks = over_blocks(fit, by, weights, averages)
    else:
        rows = rows_of(fit, newdata, weights, groups, new_groups)
        cells = cells_of(rows, by)
        chunks = averages(rows, cells)
    columns, behind = collect(
        rows,
        chunks,
        lambda values: values,
        lambda values: np.ones((1, *values.shape)),
        scale=link_scale(fit.spec.link, fit.spec.family.has_sigma),
        level=level,
        memory=memory,
    )
    behind = replace(behind, question="predictions", kind=f"P({fit.design.outcome})")
    return asked(rows, cells, columns, behind, [{}])

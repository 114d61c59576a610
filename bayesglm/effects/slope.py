"""Slopes: how fast the probability changes with a variable."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bayesglm.effects.answers import scale_of
from bayesglm.effects.comparison import comparisons
from bayesglm.effects.contrasts import is_numeric, wanted
from bayesglm.effects.encodings import derivative_of
from bayesglm.effects.engine import Chunk
from bayesglm.effects.marginal import SLOPES, slopes_of
from bayesglm.effects.networks import network_slopes
from bayesglm.effects.questions import MEMORY, asked, check_memory, collect, stacked
from bayesglm.effects.rows import Cells, Rows, cells_of, rows_of
from bayesglm.effects.streamed import is_streamed, over_blocks, some_rows
from bayesglm.errors import SpecificationError, explain
from bayesglm.tables import check_level

if TYPE_CHECKING:
    from bayesglm.fit import Fit
    from bayesglm.group_effects import Which

__all__ = ["slopes"]

SHOWN = {"dydx": "dp/d{0}", "eyex": "dlnp/dln{0}", "eydx": "dlnp/d{0}", "dyex": "dp/dln{0}"}


def slopes(
    fit: Fit,
    variables: Any = None,
    newdata: Any = None,
    *,
    by: bool | str | list[str] | None = None,
    slope: str = "dydx",
    level: float = 0.95,
    weights: Any = None,
    memory: int = MEMORY,
    groups: Which = "all",
    new_groups: Literal["error", "sample", "zero"] = "error",
) -> Any:
    """Return slopes of the probability (marginal effects), of each row or averaged.

    Derivatives are exact through link and predictor, and through the encoding for columns as they
    are, arithmetic and functions of them, interactions, ``poly``, ``bs``, ``cr``, ``scale``; else a
    central difference of the encoding (of p, for networks) whose step stands in ``.notes``.

    Parameters
    ----------
    fit : Fit
        Of any method; see `predictions`.
    variables : str or list, optional
        All by default. For a factor: the difference of each level with the first.
    newdata, by, level, weights, memory, groups, new_groups
        As for `predictions`. ``by`` averages the slopes of the rows.
    slope : {"dydx", "eyex", "eydx", "dyex"}
        Change of p per unit of x, or elasticities: relative change of p (ey), per relative change
        of x (ex).

    Returns
    -------
    DataFrame
        term, contrast, the columns of ``by``, estimate, std_error, lower, upper (probability per
        unit of the variable); z and p_value for an MLE, p_direction for draws.

    References
    ----------
    Bartus (2005), Stata Journal 5 (average marginal effects); Oehlert (1992), American Statistician
    46 (delta method).

    Examples
    --------
    >>> import bayesglm as bg
    >>> fit = bg.Model("damage ~ temperature", bg.datasets.challenger()).fit("mle")
    >>> bg.slopes(fit, "temperature", by=True)[["estimate", "std_error"]].round(4)
       estimate  std_error
    0   -0.0329     0.0094
    """
    level, memory = check_level(level), check_memory(memory)
    if slope not in SLOPES:
        raise SpecificationError(
            explain("unknown slope", slope=slope, advice="use one of " + ", ".join(SLOPES))
        )
    streamed = is_streamed(fit, newdata)
    rows = some_rows(fit) if streamed else rows_of(fit, newdata, weights, groups, new_groups)
    cells = cells_of(rows, True if streamed else by)
    names = list(wanted(rows, variables))
    numbers = [name for name in names if is_numeric(rows, name)]
    tables: dict[str, Any] = {}
    # Effects of groups and of smooth terms, and the link's shape, vary together with the
    # coefficients.
    apart = fit.design.inputs or fit.design.varying or fit.spec.shape
    whole = numbers if apart else []
    plain = [] if whole else numbers
    if whole:
        tables |= network_slopes(
            rows, cells, whole, slope, level=level, memory=memory, shown=SHOWN[slope]
        )
    if plain:
        derivatives = [derivative_of(rows, name) for name in plain]
        chunks: Iterable[Chunk]
        if streamed:

            def averages(rows: Rows, cells: Cells) -> Iterable[Chunk]:
                here = [derivative_of(rows, name) for name in plain]
                return slopes_of(rows, cells, here, slope, memory)

            rows, cells, chunks = over_blocks(fit, by, weights, averages)
        else:
            chunks = slopes_of(rows, cells, derivatives, slope, memory)
        columns, behind = collect(
            rows,
            chunks,
            lambda values: values,
            lambda values: np.eye(len(values))[:, :, None] * np.ones(values.shape[-1]),
            scale=scale_of("identity"),
            level=level,
            memory=memory,
        )
        labels = [{"term": name, "contrast": SHOWN[slope].format(name)} for name in plain]
        notes = tuple(
            f"{d.name}: a central difference of the encoding, step {d.step:.3g}"
            for d in derivatives
            if d.step is not None
        )
        behind = replace(behind, question="slopes", kind="slope of the probability", notes=notes)
        tables[""] = asked(rows, cells, columns, behind, labels)
    factors = [name for name in names if name not in numbers]
    if factors and slope != "dydx":
        raise SpecificationError(
            explain(
                "elasticities are for numbers",
                variable=factors[0],
                slope=slope,
                advice="name the variables, or compare levels by bg.comparisons",
            )
        )
    if factors:
        words: dict[str, Any] = {"by": by, "level": level, "weights": weights, "memory": memory}
        words |= {"groups": groups, "new_groups": new_groups}
        tables["factors"] = comparisons(fit, factors, newdata, **words)
    return stacked(list(tables.values()), names)

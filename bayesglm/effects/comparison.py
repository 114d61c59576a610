"""Comparisons: how the probability differs as a variable goes from one value to another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from bayesglm.effects.answers import scale_of
from bayesglm.effects.contrasts import Contrasts, contrasts_of, wanted
from bayesglm.effects.engine import Chunk, probabilities
from bayesglm.effects.questions import MEMORY, asked, check_memory, collect, stacked
from bayesglm.effects.rows import Cells, Rows, cells_of, rows_of
from bayesglm.effects.streamed import is_streamed, over_blocks, settled, some_rows
from bayesglm.errors import SpecificationError, explain
from bayesglm.precision import in_double
from bayesglm.tables import check_level

if TYPE_CHECKING:
    from bayesglm.fit import Fit
    from bayesglm.group_effects import Which

__all__ = ["COMPARISONS", "comparisons"]


def _log_odds(p: Any) -> Any:
    return jnp.log(p) - jnp.log1p(-p)


# What is made of the probabilities (low, high), how it is written, and where intervals are made.
COMPARISONS: dict[str, tuple[Callable[[Any, Any], Any], str, str]] = {
    "difference": (lambda a, b: b - a, "{1} - {0}", "identity"),
    "ratio": (lambda a, b: b / a, "{1} / {0}", "log"),
    "lift": (lambda a, b: b / a - 1, "({1} - {0}) / {0}", "log1p"),
    "lnratio": (lambda a, b: jnp.log(b / a), "ln({1} / {0})", "identity"),
    "lnor": (lambda a, b: _log_odds(b) - _log_odds(a), "ln(odds {1} / odds {0})", "identity"),
    "odds_ratio": (
        lambda a, b: jnp.exp(_log_odds(b) - _log_odds(a)),
        "odds {1} / odds {0}",
        "log",
    ),
}


def comparisons(
    fit: Fit,
    variables: Any = None,
    newdata: Any = None,
    *,
    by: bool | str | list[str] | None = None,
    comparison: str = "difference",
    level: float = 0.95,
    weights: Any = None,
    memory: int = MEMORY,
    groups: Which = "all",
    new_groups: Literal["error", "sample", "zero"] = "error",
) -> Any:
    """Compare probabilities as a variable changes and all others stay.

    Parameters
    ----------
    fit : Fit
        Of any method; see `predictions`.
    variables : str, list or dict, optional
        All by default. A dict says what to compare: for a number a step up from each row's value
        (1 by default, and from 0 to 1 where it has these values only), two ends, ``"sd"``,
        ``"2sd"``, ``"iqr"`` or ``"minmax"``; for a factor ``"reference"`` (the default: each level
        with the first), ``"pairwise"``, ``"sequential"``, or two levels.
    newdata, by, level, weights, memory, groups, new_groups
        As for `predictions`. With ``by`` the *average* probabilities are compared: the ratio is one
        of averages (a standardised risk ratio), not an average of ratios.
    comparison : {"difference", "ratio", "odds_ratio", "lift", "lnratio", "lnor"}
        Risk difference, risk ratio, odds ratio; lift is the ratio less 1; ln is for the natural
        logarithm. Intervals of a point fit are normal, on the logarithm for ratios.

    Returns
    -------
    DataFrame
        term, contrast, the columns of ``by``, estimate, std_error, lower, upper; z and p_value (of
        no difference) for an MLE, p_direction (the posterior probability that the effect has the
        sign it is likelier to have) for draws.

    Raises
    ------
    SpecificationError
        For an unknown variable or comparison.

    References
    ----------
    Lane & Nelder (1982), Biometrics 38 (standardisation).

    Examples
    --------
    >>> import bayesglm as bg
    >>> people = bg.datasets.titanic()
    >>> fit = bg.Model("survived ~ sex + pclass + age", people, trials="total").fit("mle")
    >>> bg.comparisons(fit, "sex", by="pclass")[["pclass", "contrast", "estimate"]].round(3)
      pclass       contrast  estimate
    0    1st  Male - Female    -0.475
    1    2nd  Male - Female    -0.532
    2    3rd  Male - Female    -0.471
    3   Crew  Male - Female    -0.541
    """
    level, memory = check_level(level), check_memory(memory)
    if comparison not in COMPARISONS:
        raise SpecificationError(
            explain(
                "unknown comparison",
                comparison=comparison,
                advice="use one of " + ", ".join(COMPARISONS),
            )
        )
    streamed = is_streamed(fit, newdata)
    rows = some_rows(fit) if streamed else rows_of(fit, newdata, weights, groups, new_groups)
    cells = cells_of(rows, True if streamed else by)
    function, text, scale = COMPARISONS[comparison]
    tables = []
    chosen = wanted(rows, variables)
    for name, what in (settled(rows, chosen) if streamed else chosen).items():
        found = contrasts_of(rows, name, what)

        def averages(
            rows: Rows, cells: Cells, name: str = name, what: Any = what
        ) -> Iterable[Chunk]:
            return probabilities(rows, cells, contrasts_of(rows, name, what).versions, memory)

        chunks: Iterable[Chunk]
        if streamed:
            _, cells, chunks = over_blocks(fit, by, weights, averages)
        else:
            chunks = averages(rows, cells)
        columns, behind = collect(
            rows,
            chunks,
            partial(_combined, function, found),
            partial(_partials, function, found),
            scale=scale_of(scale),
            level=level,
            memory=memory,
        )
        labels = [
            {"term": name, "contrast": _label(text, name, low, high)} for low, high in found.labels
        ]
        behind = replace(behind, question="comparisons", kind=comparison.replace("_", " "))
        tables.append(asked(rows, cells, columns, behind, labels))
    return stacked(tables)


def _label(text: str, name: str, low: str, high: str) -> str:
    """Write a comparison: with the two values, or "+1" where each row has its own."""
    if low:
        return text.format(low, high)
    return high if text == "{1} - {0}" else text.format(name, f"({name} {high[0]} {high[1:]})")


@in_double
def _combined(function: Any, found: Contrasts, values: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        made = [function(jnp.asarray(a), jnp.asarray(b)) for a, b in _ends(found, values)]
    return np.stack([np.asarray(m) for m in made], axis=-2)


@in_double
def _partials(function: Any, found: Contrasts, values: np.ndarray) -> np.ndarray:
    out = np.zeros((len(found.pairs), *values.shape))
    gradient = jax.vmap(jax.grad(function, argnums=(0, 1)))
    for c, ((low, high), (a, b)) in enumerate(zip(found.pairs, _ends(found, values), strict=True)):
        by_low, by_high = gradient(jnp.asarray(a), jnp.asarray(b))
        out[c, low], out[c, high] = np.asarray(by_low), np.asarray(by_high)
    return out


def _ends(found: Contrasts, values: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for low, high in found.pairs:
        yield values[..., low, :], values[..., high, :]

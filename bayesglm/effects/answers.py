"""The answer to a question: a table, with the draws or the covariance behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.effects.drawing import draw
from bayesglm.errors import SpecificationError, explain
from bayesglm.frames import to_library

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["Behind", "Quantity", "Scale", "answer", "scale_of", "tabulate"]


@dataclass(frozen=True)
class Scale:
    """The scale on which a normal interval of an answer is made.

    ``forward`` takes the answer there, ``slope`` is its derivative, ``back`` returns; ``null`` is
    the answer that says "no effect", or None.
    """

    forward: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]
    back: Callable[[np.ndarray], np.ndarray]
    null: float | None = 0.0


@dataclass(frozen=True)
class Quantity:
    """Answers for some cells: values and errors of a point fit, or draws.

    Attributes
    ----------
    value : ndarray, shape (m,)
    error : ndarray, shape (m,)
        Standard errors; NaN where there are none.
    jacobian : ndarray, shape (m, k), or None
    draws : ndarray, shape (s, m), or None
    """

    value: np.ndarray
    error: np.ndarray
    jacobian: np.ndarray | None = None
    draws: np.ndarray | None = None


@dataclass(frozen=True)
class Behind:
    """What stands behind a table.

    Attributes
    ----------
    question : str
    kind : str
        What the estimates are, for the axis of a plot.
    draws : ndarray, shape (chains, draws, rows), or None
    jacobian : ndarray, shape (rows, k), or None
    cov : ndarray, shape (k, k), or None
    level : float
    null : float or None
    missing : str
        Why there are neither draws nor a covariance.
    notes : tuple of str
    library : str
        Whose tables the data were.
    """

    question: str
    kind: str
    level: float
    null: float | None = None
    draws: np.ndarray | None = None
    jacobian: np.ndarray | None = None
    cov: np.ndarray | None = None
    missing: str = ""
    notes: tuple[str, ...] = ()
    library: str = "pandas"


class _Answer:
    """What a DataFrame of answers has besides."""

    # Selections, copies and sums of it are plain DataFrames: what stands behind is for all rows.
    behind: Behind

    @property
    def draws(self) -> xr.DataArray:
        """The posterior draws, dimensions ``chain``, ``draw`` and ``row`` (the table's rows).

        Raises
        ------
        SpecificationError
            For a point fit, or where they are too many to keep.
        """
        import xarray as xr

        if self.behind.draws is None:
            raise SpecificationError(
                explain(
                    "there are no draws behind this table",
                    advice=self.behind.missing or 'ask a posterior, such as model.fit("nuts")',
                )
            )
        return xr.DataArray(
            self.behind.draws,
            dims=("chain", "draw", "row"),
            coords={"row": np.arange(self.behind.draws.shape[-1])},
            name=self.behind.question,
        )

    @property
    def vcov(self) -> np.ndarray:
        """The covariance of the estimates, shape (rows, rows): delta method, or of the draws."""
        behind = self.behind
        if behind.draws is not None:
            flat = behind.draws.reshape(-1, behind.draws.shape[-1])
            return np.atleast_2d(np.cov(flat, rowvar=False))
        if behind.jacobian is None or behind.cov is None:
            raise SpecificationError(
                explain("there is no covariance behind this table", advice=behind.missing)
            )
        return np.asarray(behind.jacobian @ behind.cov @ behind.jacobian.T)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of how the answers were found."""
        return self.behind.notes

    def to_native(self) -> Any:
        """Return the table in the library that the data came in, without what stands behind it.

        Returns
        -------
        DataFrame or Table
            Of polars for polars' data, of pyarrow for pyarrow's, and so on; else of pandas.
        """
        return to_library(_plain(self), self.behind.library)

    def plot(self, ax: Any = None, figsize: tuple[float, float] | None = None) -> Any:
        """Draw the estimates with their intervals.

        Over a number that varies from row to row as a curve with a band, in a colour for each level
        of a factor; else as points side by side.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where; a new figure if absent.
        figsize : (float, float), optional
            Inches, of a new figure.

        Returns
        -------
        matplotlib Figure
        """
        return draw(_plain(self), self.behind.kind, self.behind.null, ax, figsize)

    def __reduce__(self) -> Any:
        """Pickle as a plain table and what stands behind it."""
        return answer, (_plain(self), self.behind)


@cache
def _class() -> type:
    """Return the class, made when pandas is first needed."""
    import pandas as pd

    return type("Answer", (_Answer, pd.DataFrame), {"_constructor": pd.DataFrame})


def _plain(table: Any) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({name: table[name] for name in table.columns}, index=table.index)


def answer(table: pd.DataFrame, behind: Behind) -> Any:
    """Return a DataFrame that knows what stands behind it."""
    found = _class()(table)
    object.__setattr__(found, "behind", behind)
    return found


def scale_of(name: str) -> Scale:
    """Return a scale by its name: ``"identity"``, ``"log"`` or ``"log1p"``."""
    return {
        "identity": Scale(lambda v: v, np.ones_like, lambda v: v, 0.0),
        "log": Scale(np.log, lambda v: 1 / v, np.exp, 1.0),
        "log1p": Scale(np.log1p, lambda v: 1 / (1 + v), np.expm1, 0.0),
    }[name]


def tabulate(quantity: Quantity, *, level: float, scale: Scale, tests: bool) -> dict[str, Any]:
    """Return the columns of a table.

    Parameters
    ----------
    quantity : Quantity
    level : float
        Coverage of the equal-tailed interval.
    scale : Scale
        Where normal intervals, and z, are made.
    tests : bool
        Add z and its two-sided p-value (a maximum-likelihood estimate).
    """
    from scipy.special import ndtr, ndtri

    if quantity.draws is not None:
        tails = (1 - level) / 2, (1 + level) / 2
        lower, upper = np.quantile(quantity.draws, tails, axis=0)
        found = {
            "estimate": quantity.value,
            "std_error": quantity.draws.std(axis=0, ddof=1),
            "lower": lower,
            "upper": upper,
        }
        if scale.null is not None:
            above = (quantity.draws > scale.null).mean(axis=0)
            found["p_direction"] = np.maximum(above, (quantity.draws < scale.null).mean(axis=0))
        return found
    with np.errstate(all="ignore"):
        middle = scale.forward(quantity.value)
        error = quantity.error * np.abs(scale.slope(quantity.value))
        reach = ndtri(0.5 + level / 2) * error
        ends = np.sort([scale.back(middle - reach), scale.back(middle + reach)], axis=0)
        found = {
            "estimate": quantity.value,
            "std_error": quantity.error,
            "lower": ends[0],
            "upper": ends[1],
        }
        if tests and scale.null is not None:
            z = (middle - scale.forward(np.asarray(scale.null))) / error
            found |= {"z": z, "p_value": 2 * ndtr(-np.abs(z))}
    return found

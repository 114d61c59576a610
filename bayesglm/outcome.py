"""The left side of a model: which value is the event, how many events in how many trials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.arithmetic import evaluate
from bayesglm.errors import DataError, SpecificationError, explain
from bayesglm.expressions import split_top

if TYPE_CHECKING:
    import pandas as pd

    from bayesglm.spec import Spec

__all__ = ["Outcome", "respond", "word"]


@dataclass(frozen=True)
class Outcome:
    """What y means.

    Attributes
    ----------
    name : str
        The left side of the formula.
    event, other : str
        The values that count as 1 and 0, as text; empty for counts and numbers.
    """

    name: str
    event: str = ""
    other: str = ""

    def __str__(self) -> str:
        """Return the event in words, as ``damage`` or ``status = died``."""
        told = self.event and self.event not in ("1", "True", self.name)
        return f"{self.name} = {self.event}" if told else self.name


def respond(
    left: str, formula: str, frame: pd.DataFrame, spec: Spec, trials: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, Outcome]:
    """Compute the outcome.

    Parameters
    ----------
    left : str
        Left side of the formula.
    formula : str
        The whole of it, for messages.
    frame : DataFrame
        The columns of the left side, nothing missing.
    spec : Spec
        Family and event.
    trials : ndarray or None
        Trials, where the outcome counts events.

    Returns
    -------
    y, trials : ndarray, shape (n,)
    outcome : Outcome

    Raises
    ------
    DataError
        If the outcome has more than two values, needs ``event``, or exceeds its trials.
    """
    columns = {str(name): frame[name] for name in frame.columns}
    if spec.family.has_sigma and (trials is not None or left.startswith("cbind(")):
        raise SpecificationError(
            explain(
                "the gaussian family takes no counts",
                advice='use family="bernoulli", with link="identity" for probabilities linear in x',
            )
        )
    if spec.event is not None and (trials is not None or left.startswith("cbind(")):
        raise SpecificationError(
            explain("counts of events need no event", event=spec.event, advice="leave event out")
        )
    if left.startswith("cbind("):
        if trials is not None:
            raise DataError(
                explain("cbind(events, non_events) has its own trials; leave trials out")
            )
        parts = [piece for _, piece in split_top(left[len("cbind(") : -1], ",")]
        counts = [_numbers(evaluate(p, formula, columns), p) for p in parts]
        if all(values.ndim == 0 for values in counts):
            raise DataError(explain("the left side of the formula has no column", formula=formula))
        events, others = (np.broadcast_to(values, len(frame)).copy() for values in counts)
        if (events < 0).any() or (others < 0).any():
            raise DataError(explain("counts must not be negative", formula=formula))
        return events, _whole_trials(events + others), Outcome(left)
    values = evaluate(left, formula, columns)
    if np.ndim(values) != 1:
        raise DataError(explain("the left side of the formula has no column", formula=formula))
    name = left.strip("`")
    if trials is not None:
        events = _numbers(values, name)
        if (events < 0).any() or (events > trials).any():
            row = int(np.argmax((events < 0) | (events > trials)))
            raise DataError(
                explain(
                    f"events must lie between 0 and the trials (first bad row: {row})",
                    events=float(events[row]),
                    trials=float(trials[row]),
                )
            )
        return events, _whole_trials(trials), Outcome(name)
    ones = np.ones(len(values))
    if spec.family.has_sigma and spec.event is None and _is_number(values):
        return _numbers(values, name), ones, Outcome(name)
    y, event, other = two_valued(values, name, spec.event)
    return y, ones, Outcome(name, event, other)


def two_valued(values: Any, name: str, event: Any) -> tuple[np.ndarray, str, str]:
    """Turn a two-valued column into 0 and 1.

    The event is True, 1, the last category, or the last of sorted texts; other codes need
    ``event``.

    Returns
    -------
    y : ndarray of 0.0 and 1.0
    event, other : str
        The two values as text; ``other`` is empty where only one occurs.
    """
    import pandas as pd

    if event is not None and (not pd.api.types.is_scalar(event) or pd.isna(event)):
        raise SpecificationError(explain("event must be one value of the outcome", event=event))
    series = pd.Series(values).reset_index(drop=True)
    kinds = {type(value).__name__ for value in series} if series.dtype == object else set()
    if len(kinds) > 1:
        raise DataError(
            explain(
                f"the outcome {name!r} mixes values of different types",
                types=sorted(kinds),
                advice="convert it to one type",
            )
        )
    if isinstance(series.dtype, pd.CategoricalDtype):
        levels = [level for level in series.cat.categories if (series == level).any()]
        if len(levels) == 1 and len(series.cat.categories) == 2:
            levels = list(series.cat.categories)
    else:
        try:
            levels = sorted(pd.unique(series))
        except TypeError as error:
            raise DataError(
                explain(
                    f"the outcome {name!r} must hold numbers, text, booleans or categories",
                    type=type(series.iloc[0]).__name__,
                )
            ) from error
    if _is_number(series) and not np.isfinite(series.to_numpy(dtype=float)).all():
        raise DataError(explain(f"the outcome {name!r} has missing or infinite values"))
    if len(levels) > 2:
        value = f"{levels[-1]:g}" if _is_number(series) else repr(str(levels[-1]))
        raise DataError(
            explain(
                f"the outcome {name!r} has {len(levels)} values; it must have two",
                values=[str(level) for level in levels[:5]],
                advice=f'use a condition such as "{name} == {value}" on the left, or trials= for counts',
            )
        )
    if event is not None:
        match = [level for level in levels if level == event or str(level) == str(event)]
        if not match and len(levels) == 1:
            # One class only: a fit under priors answers, and a finding says so.
            return np.zeros(len(series)), word(event), word(levels[0])
        if not match:
            raise DataError(
                explain(
                    f"the outcome {name!r} never equals the event",
                    event=event,
                    advice=f"its values are {[word(level) for level in levels]}",
                )
            )
        chosen = match[0]
    elif _is_number(series):
        if not set(levels) <= {0, 1}:
            raise DataError(
                explain(
                    f"the outcome {name!r} is coded by numbers other than 0 and 1",
                    values=[float(level) for level in levels],
                    advice=f"say which is the event, as event={float(levels[-1]):g}",
                )
            )
        chosen = type(levels[0])(1)
        levels = [type(levels[0])(0), chosen]
    elif len(levels) == 1 and not isinstance(levels[0], (bool, np.bool_)):
        raise DataError(
            explain(
                f"the outcome {name!r} has one value only",
                value=word(levels[0]),
                advice="say which value is the event, as event=...",
            )
        )
    elif isinstance(series.dtype, pd.CategoricalDtype) or isinstance(
        levels[0], (str, bool, np.bool_)
    ):
        chosen = levels[-1]
    else:
        raise DataError(
            explain(
                f"which value of the outcome {name!r} is the event is unclear",
                values=[str(level) for level in levels],
                advice=f"say it, as event={str(levels[-1])!r}",
            )
        )
    others = [word(level) for level in levels if level != chosen]
    return (series == chosen).to_numpy(dtype=float), word(chosen), others[0] if others else ""


def word(value: Any) -> str:
    """Return a value as text, 1.0 as "1"."""
    return f"{value:g}" if isinstance(value, (float, np.floating)) else str(value)


def _is_number(values: Any) -> bool:
    import pandas as pd

    kind = pd.Series(values).dtype
    return pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind)


def _numbers(values: Any, name: str) -> np.ndarray:
    if not _is_number(values):
        raise DataError(explain(f"{name.strip()!r} must hold numbers"))
    return np.asarray(values, dtype=float)


def _whole_trials(trials: np.ndarray) -> np.ndarray:
    if not (np.isfinite(trials).all() and (trials > 0).all()):
        row = int(np.argmin(np.where(np.isfinite(trials), trials, -np.inf)))
        raise DataError(
            explain(
                f"trials must be positive (first bad row: {row})",
                trials=float(trials[row]),
                advice="leave out rows without trials",
            )
        )
    return trials

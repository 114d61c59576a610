"""Every exception, warning, outcome status and finding of the package.

An error message has three parts: what is wrong; what was got; what to do. `explain` puts them
together, so that they read alike everywhere.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

__all__ = [
    "BayesGLMError",
    "BayesGLMWarning",
    "DataError",
    "Finding",
    "FormulaError",
    "InferenceError",
    "SeparationError",
    "SpecificationError",
    "Status",
    "StorageError",
    "explain",
    "suggest",
]


# Letters of a value shown in a message.
LONGEST = 400


class BayesGLMError(Exception):
    """Base of every error that this package raises on purpose."""


class SpecificationError(BayesGLMError, ValueError):
    """A word of the model is wrong: link, family, prior, method or option."""


class FormulaError(SpecificationError):
    """The formula does not parse, or calls something that formulas may not call."""


class DataError(BayesGLMError, ValueError):
    """The data cannot be used as they are."""


class InferenceError(BayesGLMError, RuntimeError):
    """No answer exists, or none was found that may be returned."""


class SeparationError(InferenceError):
    """The predictors separate the outcome, so that its likelihood rises for ever."""


class StorageError(BayesGLMError, OSError):
    """A file could not be written, or is not a fit that this version can read."""


class BayesGLMWarning(UserWarning):
    """Something that a reader of the result must know; the fit carries it as a finding too."""


class Status(StrEnum):
    """How an optimisation or a sampling run ended."""

    CONVERGED = "converged"
    STEP_LIMIT = "step limit"
    DIVERGED = "diverged"
    SEPARATED = "separated"
    BOUNDARY = "boundary"
    STOPPED_EARLY = "stopped early"
    SAMPLED = "sampled"
    APPROXIMATED = "approximated"


@dataclass(frozen=True)
class Finding:
    """Say one thing about a model or a fit that its reader must know.

    Parameters
    ----------
    code : str
        Stable short name, for programs (``"step-limit"``).
    severity : {"note", "warning", "error"}
        A note explains; a warning may change the conclusion; with an error the numbers are unusable.
    message : str
        One sentence in plain words.
    value, threshold : float or None
        The number found and the number it is held against.
    where : str or None
        The term, column, row or chain concerned.
    advice : str
        What to do.

    Examples
    --------
    >>> print(Finding("step-limit", "warning", "Stopped before converging.", advice="Raise steps=."))
    warning [step-limit] Stopped before converging. Raise steps=.
    """

    code: str
    severity: Literal["note", "warning", "error"]
    message: str
    value: float | None = None
    threshold: float | None = None
    where: str | None = None
    advice: str = ""

    def __str__(self) -> str:
        """Return the finding as one line."""
        return f"{self.severity} [{self.code}] {self.message} {self.advice}".rstrip()


def explain(wrong: str, *, advice: str = "", **got: Any) -> str:
    """Put an error message together: what is wrong; got (name=value); what to do.

    Examples
    --------
    >>> explain("draws must be a positive whole number", draws=-3, advice="use draws=1000")
    'draws must be a positive whole number; got draws=-3; use draws=1000'
    """
    parts = [_short(wrong, 2 * LONGEST)]
    if got:
        told = (f"{name}={_short(repr(value), LONGEST)}" for name, value in got.items())
        parts.append("got " + ", ".join(told))
    if advice:
        parts.append(advice)
    return "; ".join(parts)


def _short(text: str, most: int) -> str:
    """Return text that somebody may read: the rest of what is longer stays out."""
    return text if len(text) <= most else f"{text[:most]}..."


def suggest(word: object, words: Iterable[str]) -> str:
    """Return a hint that names the nearest known word, or nothing.

    Examples
    --------
    >>> suggest("probitt", ["logit", "probit"])
    ' (did you mean "probit"?)'
    """
    near = difflib.get_close_matches(str(word), [str(w) for w in words], n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""

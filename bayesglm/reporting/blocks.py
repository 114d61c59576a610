"""What a report is made of: sections of blocks, which the template knows how to show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from bayesglm.errors import BayesGLMError, Finding
from bayesglm.fit import Fit

__all__ = [
    "Alerts",
    "Block",
    "Code",
    "Facts",
    "Fold",
    "Gallery",
    "Material",
    "Picture",
    "Section",
    "Table",
    "Text",
    "attempt",
    "interval",
    "number",
]


@dataclass(frozen=True)
class Material:
    """What a report speaks of.

    Attributes
    ----------
    fits : dict of str to Fit
        By the names that the user gave them.
    main : str
        The one that answers where one has to: draws before a point estimate.
    level : float
        Coverage of intervals.
    light : dict of str to Fit
        The same fits for what reads every row for every draw: with fewer draws, where rows are many.
    """

    fits: dict[str, Fit]
    main: str
    level: float
    light: dict[str, Fit]

    @property
    def fit(self) -> Fit:
        """The main fit."""
        return self.fits[self.main]

    @property
    def light_fit(self) -> Fit:
        """The main fit, perhaps with fewer draws."""
        return self.light[self.main]

    @property
    def several(self) -> bool:
        """Whether there are fits beside the main one."""
        return len(self.fits) > 1


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    words: str
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Facts:
    """Pairs of a word and its value."""

    pairs: list[tuple[str, str]]
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Table:
    """A table of text; the first column names its rows.

    Attributes
    ----------
    caption : str
    header : list of str
    rows : list of list of str
    words : int
        Columns from the left that hold words; the others hold numbers.
    """

    caption: str
    header: list[str]
    rows: list[list[str]]
    words: int = 1
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Picture:
    """An image as markup, what it shows in words, and its caption."""

    markup: str
    alt: str
    caption: str
    width: float
    kind: ClassVar[str] = "picture"


@dataclass(frozen=True)
class Gallery:
    """Pictures beside one another, where there is room."""

    pictures: list[Picture]
    kind: ClassVar[str] = "gallery"


@dataclass(frozen=True)
class Fold:
    """What a reader opens who wants to know more."""

    summary: str
    blocks: list[Block]
    kind: ClassVar[str] = "fold"


@dataclass(frozen=True)
class Code:
    """Lines of a program."""

    lines: str
    kind: ClassVar[str] = "code"


@dataclass(frozen=True)
class Alerts:
    """Findings, the worst first, each with the fit that it is of."""

    findings: list[tuple[str, Finding]]
    kind: ClassVar[str] = "alerts"

    @property
    def worst(self) -> str:
        """``"error"``, ``"warning"`` or ``"good"``: notes are no reason for worry."""
        found = {finding.severity for _, finding in self.findings}
        return next((s for s in ("error", "warning") if s in found), "good")


type Block = Text | Facts | Table | Picture | Gallery | Fold | Code | Alerts


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes
    ----------
    name : str
        Its anchor.
    title : str
    blocks : list of Block
    """

    name: str
    title: str
    blocks: list[Block] = field(default_factory=list)


def attempt(blocks: list[Block], make: Callable[[], Any], what: str) -> None:
    """Append what is made, a block or several; where it has no answer, say why.

    Parameters
    ----------
    blocks : list of Block
        Extended in place.
    make : callable
        Returns a block, a list of them, or None.
    what : str
        What is then missing.
    """
    try:
        made = make()
    except BayesGLMError as error:
        blocks.append(Text(f"{what}: not shown, as {error}."))
        return
    if made is not None:
        blocks.extend(made if isinstance(made, list) else [made])


def number(value: Any, digits: int = 3) -> str:
    """Return a number for a reader.

    Examples
    --------
    >>> number(0.012345), number(-12345.6), number(float("nan")), number(2.0)
    ('0.0123', '−12,346', '–', '2')
    """
    if value is None or np.isnan(value):
        return "–"
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    shown = f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"
    return shown.replace("-", "−")


def interval(estimate: Any, lower: Any, upper: Any, digits: int = 2) -> str:
    """Return an estimate with its interval, all to so many digits of the interval's width.

    Examples
    --------
    >>> interval(-0.03289, -0.0513, -0.01449)
    '−0.033 (−0.051 to −0.014)'
    """
    ends = [v for v in (estimate, lower, upper) if np.isfinite(v)]
    width = abs(upper - lower) if np.isfinite(upper - lower) else max(map(abs, ends), default=1.0)
    places = int(np.clip(digits - 1 - np.floor(np.log10(width)), 0, 8)) if width > 0 else 3
    written = [f"{v:,.{places}f}".replace("-", "−") if np.isfinite(v) else "–" for v in
               (estimate, lower, upper)]  # fmt: skip
    if not np.isfinite(lower) and not np.isfinite(upper):
        return written[0]
    return f"{written[0]} ({written[1]} to {written[2]})"

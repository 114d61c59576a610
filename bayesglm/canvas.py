"""Something to draw on: figures that notebooks show by themselves, colours, names for readers."""

from __future__ import annotations

import io
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.errors import SpecificationError, explain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "ACCENT",
    "COLOURS",
    "EVENT",
    "FAINT",
    "OTHER",
    "axes_on",
    "figure",
    "label_of",
    "plain",
    "spread",
]

# Okabe & Ito's colours, which the colour-blind tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
ACCENT = COLOURS[0]
# Rows with the event and without it; lines that only guide the eye.
EVENT, OTHER, FAINT = COLOURS[1], "#9AA5B1", "0.6"

# Coding of levels in names of terms, as in "C(g)[T.b]" or "g[S.b]".
LEVEL = re.compile(r"(?:C\((\w+)[^)]*\)|(\w+))\[(?:\w\.)?([^\]]*)\]")


class _Picture:
    """What a figure has besides: it shows itself, also where pyplot was never loaded."""

    savefig: Any

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()


@cache
def _class() -> Any:
    """Return the class, made when matplotlib is first needed."""
    from matplotlib.figure import Figure

    return type("Picture", (_Picture, Figure), {})


def figure(figsize: tuple[float, float], **words: Any) -> Figure:
    """Return an empty figure.

    Parameters
    ----------
    figsize : (float, float)
        Inches.
    **words
        As of a matplotlib figure.
    """
    made: Figure = _class()(figsize=figsize, layout="constrained", **words)
    return made


def axes_on(
    ax: Any, figsize: tuple[float, float] | None, default: tuple[float, float] = (6.0, 4.0)
) -> Axes:
    """Return axes to draw on, without a frame above and at the right.

    Parameters
    ----------
    ax : matplotlib Axes or None
        Used as it is; a new figure if None.
    figsize : (float, float), optional
        Inches, of a new figure.
    default : (float, float)
        Where that is absent.

    Raises
    ------
    SpecificationError
        If ``ax`` is no Axes.
    """
    if ax is None:
        ax = figure(figsize or default).subplots()
    elif not hasattr(ax, "get_figure") or not hasattr(ax, "plot"):
        raise SpecificationError(explain("ax must be a matplotlib Axes", ax=type(ax).__name__))
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    found: Axes = ax
    return found


def label_of(term: str) -> str:
    """Return the name of a term for a reader.

    Examples
    --------
    >>> label_of("C(g)[T.b]:x"), label_of("poly(age, 2)[1]")
    ('g = b × x', 'poly(age, 2)[1]')
    """
    found = LEVEL.sub(lambda match: f"{match[1] or match[2]} = {match[3]}", term)
    return found.replace(":", " \N{MULTIPLICATION SIGN} ")


def plain(text: Any) -> str:
    r"""Return text from the data as matplotlib shows it as it is.

    Dollars begin no formula, and a legend hides no name that begins with an underscore.

    Examples
    --------
    >>> print(plain("US$ and $x^"))
    US\$ and \$x^
    """
    written = str(text).replace("$", r"\$")
    return f" {written}" if written.startswith("_") else written


def spread(n: int, most: int) -> np.ndarray:
    """Return at most so many places out of n, evenly spaced."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(int)) if n else np.arange(0)

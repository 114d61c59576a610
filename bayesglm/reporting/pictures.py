"""Figures as markup inside the page, in the colours of its light or dark theme."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from bayesglm.canvas import COLOURS
from bayesglm.reporting.blocks import Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["picture"]

# Larger drawings become bitmaps.
LARGEST = 200_000
# How a drawing is written: text stays text, and takes the page's font.
STYLE: Any = {
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.edgecolor": "#000000",
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}
# Each colour of a drawing is one of the page's, which knows a light and a dark one.
PALETTE = {"#000000": "currentColor"} | {
    colour.lower(): f"var(--c{k})" for k, colour in enumerate(COLOURS[:-1])
}
FONT = re.compile(r"font: (?:[a-z0-9]+ )*?([\d.]+)px [^;\"]*")
SIZE = re.compile(r'(<svg[^>]*?) width="[^"]*"', re.DOTALL)
HEIGHT = re.compile(r'(<svg[^>]*?) height="[^"]*"', re.DOTALL)


def picture(
    draw: Callable[..., Figure], *args: Any, alt: str, caption: str, **words: Any
) -> Picture:
    """Draw, and return what goes into the page.

    Parameters
    ----------
    draw : callable
        Returns a figure.
    *args, **words
        For it.
    alt : str
        What it shows, for who cannot see it.
    caption : str
    """
    from matplotlib import rc_context

    with rc_context({**STYLE, "svg.hashsalt": alt}):
        figure = draw(*args, **words)
        width = 96 * figure.get_figwidth()
        buffer = io.BytesIO()
        figure.savefig(
            buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
        drawn = buffer.getvalue().decode()
        if len(drawn) > LARGEST:
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", dpi=160)
            data = base64.b64encode(buffer.getvalue()).decode()
            markup = f'<img src="data:image/png;base64,{data}" alt="{escape(alt)}">'
            return Picture(markup, alt, caption, width)
    return Picture(_inline(drawn, alt), alt, caption, width)


def _inline(drawn: str, alt: str) -> str:
    """Return an SVG file as an element: no fixed size, the page's ink and font."""
    drawn = drawn[drawn.index("<svg") :]
    for pattern in (SIZE, HEIGHT):
        drawn = pattern.sub(r"\1", drawn, count=1)
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, count=1, flags=re.DOTALL)
    drawn = FONT.sub(r"font-size: \1px", drawn)
    for colour, named in PALETTE.items():
        drawn = drawn.replace(colour, named)
    return drawn.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1)

"""Tables in aligned text, medians over repeats, and the footer that says with what and on what."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from processes import Outcome

__all__ = ["footer", "median", "problem", "show", "target"]


def show(title: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; the first column is text, numbers get three significant digits."""
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[j]) for row in cells) for j in range(len(header))]
    print(f"\n{title}\n")
    for number, row in enumerate(cells):
        first = row[0].ljust(widths[0])
        rest = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join([first, *rest]).rstrip())
        if number == 0:
            print("-" * (sum(widths) + 2 * (len(widths) - 1)))
    print(flush=True)


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or not np.isfinite(value):
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def median(outcomes: list[Outcome], number: int, what: str | Callable[[dict], float]) -> float:
    """Return the median over repeats of a number of the fit with this place; NaN without one."""
    values = [
        outcome.fits[number][what] if isinstance(what, str) else what(outcome.fits[number])
        for outcome in outcomes
        if len(outcome.fits) > number
    ]
    return float(np.median(values)) if values else float("nan")


def problem(outcomes: list[Outcome], number: int) -> str | None:
    """Return why there is no fit with this place in any repeat, or None where there is one."""
    if any(len(outcome.fits) > number for outcome in outcomes):
        return None
    return next((outcome.problem for outcome in outcomes if outcome.problem), "-")


def target(words: str, got: float, wanted: float, *, least: bool = True, unit: str = "x") -> None:
    """Print what the benchmark is held against, and whether it is reached."""
    if not np.isfinite(got):
        verdict = "not measured"
    else:
        verdict = "reached" if (got >= wanted if least else got <= wanted) else "SHORT"
    sign = ">=" if least else "<="
    print(f"  {verdict:12s} {words}: {_cell(got)}{unit}, wanted {sign} {wanted:g}{unit}")


def footer(*groups: dict[str, list[Outcome]], notes: Sequence[str] = ()) -> None:
    """Print notes, versions, processor and date."""
    versions: dict[str, str] = {}
    for group in groups:
        for outcomes in group.values():
            for outcome in outcomes:
                versions |= outcome.versions
    print()
    for note in notes:
        print(f"  {note}")
    print("  " + ", ".join(f"{name} {number}" for name, number in sorted(versions.items())))
    print(
        f"  Python {platform.python_version()}, {_processor()}, {os.cpu_count()} cores, "
        f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}",
        flush=True,
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()

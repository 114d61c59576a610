"""Progress bars: on a terminal and in a notebook, quiet otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["bar", "in_notebook", "rows_bar", "wanted"]

type Update = Callable[..., None]


def in_notebook() -> bool:
    """Return whether the code runs in a Jupyter kernel."""
    shell = sys.modules.get("IPython")
    running = None if shell is None else shell.get_ipython()
    return type(running).__name__ == "ZMQInteractiveShell"


def wanted(progress: bool | None) -> bool:
    """Return whether to show a bar: as asked, else on a terminal or in a notebook.

    Examples
    --------
    >>> wanted(False)
    False
    """
    return (in_notebook() or sys.stderr.isatty()) if progress is None else progress


@contextmanager
def bar(label: str, total: int, *, progress: bool | None = None) -> Iterator[Update | None]:
    """Show a bar while the block runs; yield its update, or None when quiet.

    Parameters
    ----------
    label : str
        What is being done.
    total : int
        Steps in all.
    progress : bool, optional
        Show it or not, whatever the terminal.

    Yields
    ------
    callable or None
        ``update(done, divergences)``, with a third number where the total changes.
    """
    if not wanted(progress):
        yield None
        return
    with (_notebook if in_notebook() else _terminal)(label, total) as update:
        yield update


@contextmanager
def rows_bar(
    label: str, total: int, *, progress: bool | None = None
) -> Iterator[Callable[[int], None] | None]:
    """Show a bar of rows read, with rows a second, while the block runs.

    Parameters
    ----------
    label : str
        What is being done.
    total : int
        Rows in all.
    progress : bool, optional
        Show it or not, whatever the terminal.

    Yields
    ------
    callable or None
        ``update(rows)``.
    """
    begin = time.monotonic()
    with bar(label, total, progress=progress) as update:
        if update is None:
            yield None
            return

        def rows(done: int) -> None:
            speed = done / max(time.monotonic() - begin, 1e-9)
            update(done, 0, None, f"{_short(speed)} rows/s")

        yield rows


def _short(number: float) -> str:
    """Return a number in few letters.

    Examples
    --------
    >>> _short(12_345_678.0), _short(950.0)
    ('12.3 million', '950')
    """
    return f"{number / 1e6:.1f} million" if number >= 1e6 else f"{number:,.0f}"


@contextmanager
def _terminal(label: str, total: int) -> Iterator[Update]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(label, total=total, note="")

        def update(
            done: int, divergences: int, expected: int | None = None, note: str = ""
        ) -> None:
            whole = total if expected is None else expected
            shown.update(task, completed=done, total=whole, note=note or _note(divergences))

        yield update


@contextmanager
def _notebook(label: str, total: int) -> Iterator[Update]:
    """Show an HTML progress element; rich and tqdm would need ipywidgets here, or warn."""
    from html import escape

    from IPython.display import HTML, display

    begin = time.monotonic()
    shown = display(HTML(""), display_id=True)

    def update(done: int, divergences: int, expected: int | None = None, note: str = "") -> None:
        whole = total if expected is None else expected
        facts = (
            f"{done:,}/{whole:,}",
            note or _note(divergences),
            f"{time.monotonic() - begin:.0f} s",
        )
        words = ", ".join(fact for fact in facts if fact)
        element = f"<progress max={whole} value={done} style='width:40ex'></progress>"
        shown.update(HTML(f"{escape(label)} {element} {words}"))

    try:
        yield update
    finally:
        shown.update(HTML(""))


def _note(divergences: int) -> str:
    if not divergences:
        return ""
    return "1 divergence" if divergences == 1 else f"{divergences:,} divergences"

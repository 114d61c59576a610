"""Progress bars: on a terminal and in a notebook, quiet otherwise."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["bar", "wanted"]


def wanted(progress: bool | None) -> bool:
    """Return whether to show a bar: as asked, else on a terminal or in a notebook.

    Examples
    --------
    >>> wanted(False)
    False
    """
    if progress is not None:
        return progress
    shell = sys.modules.get("IPython")
    if shell is not None:
        running = shell.get_ipython()
        if running is not None and type(running).__name__ == "ZMQInteractiveShell":
            return True
    return sys.stderr.isatty()


@contextmanager
def bar(
    label: str, total: int, *, progress: bool | None = None
) -> Iterator[Callable[[int, int], None] | None]:
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
        ``update(done, divergences)``.
    """
    if not wanted(progress):
        yield None
        return
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

        def update(done: int, divergences: int) -> None:
            note = f"{divergences} divergences" if divergences else ""
            shown.update(task, completed=done, note=note)

        yield update

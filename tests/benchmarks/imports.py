"""How much of a call is spent on loading modules: what a library puts off until it is needed."""

from __future__ import annotations

import builtins
import importlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Loading", "loading"]


class Loading:
    """Seconds spent so far in import statements that loaded something."""

    seconds: float = 0.0


@contextmanager
def loading() -> Iterator[Loading]:
    """Measure import statements and `importlib.import_module`, the outermost only."""
    found, inside = Loading(), [False]
    originals = builtins.__import__, importlib.import_module

    def measured(original: Callable) -> Callable:
        def replacement(*args: Any, **words: Any) -> Any:
            if inside[0]:
                return original(*args, **words)
            inside[0] = True
            known, start = len(sys.modules), time.perf_counter()
            try:
                return original(*args, **words)
            finally:
                inside[0] = False
                if len(sys.modules) > known:
                    found.seconds += time.perf_counter() - start

        return replacement

    builtins.__import__, importlib.import_module = (measured(each) for each in originals)
    try:
        yield found
    finally:
        builtins.__import__, importlib.import_module = originals

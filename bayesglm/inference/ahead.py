"""Modules that a fit will need at its end, loaded while it compiles.

Only modules: NumPyro's handlers are one stack for all threads, so that nothing may be traced in two
of them at once.
"""

from __future__ import annotations

import importlib
import sys
import threading

__all__ = ["load"]


def load(module: str) -> None:
    """Import a module in the background; whoever imports it later waits for the rest."""
    if module not in sys.modules:
        threading.Thread(target=importlib.import_module, args=(module,)).start()

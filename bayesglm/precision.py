"""Double precision around a computation, and nowhere else.

Importing the package leaves JAX as it was. Every entry point computes inside `scope`, which is
local to the thread; NumPy arrays become JAX arrays inside it, and only NumPy arrays leave it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import jax
import numpy as np

__all__ = ["PRECISIONS", "dtype", "in_double", "scope"]

PRECISIONS = ("float64", "float32")


@contextmanager
def scope(precision: str = "float64") -> Iterator[None]:
    """Compute with JAX in the given precision inside the ``with`` block.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> with scope("float64"):
    ...     str(jnp.asarray(0.1).dtype)
    'float64'
    """
    with jax.enable_x64(precision == "float64"):
        yield


def dtype(precision: str) -> type[np.floating[Any]]:
    """Return the NumPy type of a precision's name."""
    return np.float64 if precision == "float64" else np.float32


def in_double[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that its body computes in double precision."""

    @wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with scope("float64"):
            return function(*args, **kwargs)

    return inside

"""From a file back to a fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bayesglm import storage
from bayesglm.fit import Fit

__all__ = ["load"]


def load(path: Any, custom: Mapping[str, Any] | None = None) -> Fit:
    """Read a fit that `Fit.save` wrote. Nothing in the file is executed.

    Parameters
    ----------
    path : str or Path
        The file.
    custom : mapping, optional
        Links and functions of your own that the fit needs, by name.

    Returns
    -------
    Fit

    Raises
    ------
    StorageError
        If the file is missing, damaged, foreign, or from a newer version.

    Examples
    --------
    >>> import tempfile
    >>> import bayesglm as bg
    >>> path = f"{tempfile.mkdtemp()}/fit.nc"
    >>> bg.Model("damage ~ temperature", bg.datasets.challenger()).fit("mle").save(path)
    >>> bg.load(path).predict({"temperature": [70]}).round(2)
    array([0.23])
    """
    return Fit(**storage.read(path, custom or {}))

"""Compiled programs kept on disk, so that another process need not compile them again."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from bayesglm.errors import StorageError, explain

__all__ = ["cache"]

# Oldest programs beyond these bytes are deleted when a cache is opened.
LARGEST = 512 * 2**20


def cache(folder: Any = None) -> Path:
    """Keep compiled programs in a folder: JAX's persistent compilation cache, for this process.

    A program serves all data of the same padded size, on the same machine with the same versions.
    JAX's settings are changed until the process ends, so other JAX code of it is cached too.
    Programs that were not used for longest go when the folder exceeds 512 MB.

    Parameters
    ----------
    folder : str or Path, optional
        Made if it is not there. By default the user's cache folder: ``$XDG_CACHE_HOME/bayesglm``
        (``~/.cache``), ``~/Library/Caches`` on macOS, ``%LOCALAPPDATA%`` on Windows.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    StorageError
        If it cannot be made or written to.

    Examples
    --------
    In a new process, before the first fit (the settings stay, so it is not run here):

    >>> import bayesglm as bg
    >>> folder = bg.cache()  # doctest: +SKIP
    """
    from jax import config
    from jax.experimental.compilation_cache import compilation_cache

    path = _default() if folder is None else Path(folder).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".{os.getpid()}.part"
        probe.touch()
        probe.unlink()
        _prune(path)
    except OSError as error:
        raise StorageError(
            explain(
                f"the cache cannot be used: {error.strerror or error}",
                folder=str(path),
                advice="take another folder",
            )
        ) from error
    # Small programs are many, and each takes longer to compile than to read.
    settings = {
        "jax_compilation_cache_dir": str(path),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    for name, value in settings.items():
        config.update(name, value)  # type: ignore[no-untyped-call]
    # What was compiled before has settled for this process that there is no cache.
    compilation_cache.reset_cache()
    return path


def _default() -> Path:
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "bayesglm"


def _prune(path: Path) -> None:
    """Delete the programs that were used longest ago, until the rest fits."""
    entries = [(file.stat(), file) for file in path.glob("*-cache")]
    entries.sort(key=lambda entry: max(entry[0].st_atime, entry[0].st_mtime))
    total = sum(told.st_size for told, _ in entries)
    for told, file in entries:
        if total <= LARGEST:
            break
        file.unlink(missing_ok=True)
        total -= told.st_size

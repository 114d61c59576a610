"""Files written whole or not at all, whenever the process is killed."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["replacing"]

# Seconds after which a file left behind by a killed process is swept away by the next one.
STALE = 3_600.0


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a place to write to; what was written there takes the place of ``path`` at the end.

    The place is ``<name>.<8 letters>.part`` in the same folder. A process that is killed leaves it
    behind; it is removed by the next writer of the same file an hour later, when no other writer
    can still be at work on it.

    Parameters
    ----------
    path : Path
        The file, which may exist.

    Yields
    ------
    Path
        An empty file.

    Raises
    ------
    OSError
        If it cannot be written; ``path`` is then as before.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "numbers.txt"
    >>> with replacing(path) as part:
    ...     _ = part.write_text("1 2 3")
    >>> path.read_text(), len(list(path.parent.iterdir()))
    ('1 2 3', 1)
    """
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        # Opened here first: the message of a folder that is not there is then a plain one.
        part.open("xb").close()
        yield part
        with part.open("rb+") as file:
            # On the disk before it has the name: a crash of the machine loses neither.
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    _sweep(path)


def _sweep(path: Path) -> None:
    """Remove what killed writers of a file left behind long ago."""
    before = time.time() - STALE
    # What cannot be listed or removed does no harm: the file itself is written.
    with suppress(OSError):
        for part in path.parent.iterdir():
            middle = part.name.removeprefix(f"{path.name}.").removesuffix(".part")
            ours = part.name == f"{path.name}.{middle}.part" and len(middle) == 8
            if ours and part.stat().st_mtime < before:
                part.unlink(missing_ok=True)

"""The state of a long run in one ``.npz`` file, written whole or not at all; no pickle."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from bayesglm.errors import StorageError, explain
from bayesglm.files import replacing

__all__ = ["Checkpoint", "read"]

FORMAT = 1
# Seconds between two writes at least, and the share of the time that writing may take.
PAUSE, SHARE = 1.0, 0.05
WORDS = "words"


class Checkpoint:
    """A file that a run writes its state to.

    Parameters
    ----------
    path : Path
        The file.
    head : mapping of str to ndarray
        What does not change during the run: the model.
    told : mapping
        The same for words and numbers: seed, options, versions.
    saved : tuple of dict and dict, optional
        Words and arrays of the state, where the file was read.
    """

    def __init__(
        self,
        path: Path,
        head: Mapping[str, np.ndarray],
        told: Mapping[str, Any],
        saved: tuple[dict[str, Any], dict[str, np.ndarray]] | None = None,
    ) -> None:
        self.path, self.head, self.told, self.saved = path, dict(head), dict(told), saved
        self._next = 0.0

    @property
    def due(self) -> bool:
        """Whether it is time to write again."""
        return time.monotonic() >= self._next

    def write(self, words: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Write the state in the place of the one before.

        Raises
        ------
        StorageError
            If the file cannot be written.
        """
        begin = time.monotonic()
        told = json.dumps({"format": FORMAT, "told": self.told, "state": words})
        named = {f"head_{name}": value for name, value in self.head.items()}
        named |= {f"state_{name}": value for name, value in arrays.items()}
        try:
            with replacing(self.path) as part, part.open("wb") as file:
                np.savez(file, allow_pickle=False, **{WORDS: np.array(told)}, **named)
        except OSError as error:
            raise StorageError(
                explain(
                    f"the checkpoint cannot be written: {error.strerror or error}",
                    checkpoint=str(self.path),
                )
            ) from error
        end = time.monotonic()
        self._next = end + max(PAUSE, (end - begin) / SHARE)


def read(path: Any) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    StorageError
        If the file is missing, damaged, foreign or newer.
    """
    path = Path(path)
    if not path.is_file():
        raise StorageError(explain("no such file", path=str(path)))
    try:
        # Opened here: of a damaged file NumPy would leave it open.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
        words = json.loads(str(found.pop(WORDS)))
        version, told, state = words["format"], words["told"], words["state"]
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        EOFError,
        BadZipFile,
    ) as error:
        raise StorageError(
            explain("the file is damaged, or no checkpoint of bayesglm", path=str(path))
        ) from error
    if version > FORMAT:
        raise StorageError(
            explain(
                "the checkpoint is from a newer version of bayesglm",
                path=str(path),
                advice="upgrade bayesglm",
            )
        )

    def under(prefix: str) -> dict[str, np.ndarray]:
        return {n.removeprefix(prefix): v for n, v in found.items() if n.startswith(prefix)}

    return Checkpoint(path, under("head_"), told, (state, under("state_")))

"""What several processes tell each other: words, numbers, bytes; and sums over all of them.

Every function is a meeting: it returns when all processes have called it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bayesglm.errors import InferenceError, explain

__all__ = ["first", "gather", "gather_bytes", "index", "meeting", "own_path", "several", "total"]

# What errors of collective operations say when a connection breaks.
LOST = ("gloo", "connection", "closed by peer", "collective", "coordination", "deadline")


def several(mesh: Any) -> bool:
    """Whether a mesh spreads rows over more than one process."""
    return mesh is not None and len({device.process_index for device in mesh.devices.flat}) > 1


def index() -> int:
    """Return which process this is."""
    return jax.process_index()


@contextmanager
def meeting(mesh: Any) -> Iterator[None]:
    """Say in words what happened where a process does not come to a meeting.

    Raises
    ------
    InferenceError
        If another process has ended or cannot be reached.
    """
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        told = str(error).splitlines()[0] if str(error) else ""
        if not several(mesh) or not any(word in told.lower() for word in LOST):
            raise
        raise InferenceError(
            explain(
                f"another process has ended, or cannot be reached: {told}",
                process=index(),
                processes=jax.process_count(),
                advice="look at the messages of the others, and start all of them again; with "
                "checkpoint= a sampler goes on where it was",
            )
        ) from error


def gather_bytes(raw: bytes) -> list[bytes]:
    """Return what each process gave, in their order."""
    from jax.experimental.multihost_utils import process_allgather

    own = np.frombuffer(raw, np.uint8)
    sizes = np.asarray(process_allgather(np.array([len(own)], np.int32))).reshape(-1)
    padded = np.zeros(max(int(sizes.max()), 1), np.uint8)
    padded[: len(own)] = own
    found = np.asarray(process_allgather(padded)).reshape(jax.process_count(), -1)
    return [row[:size].tobytes() for row, size in zip(found, sizes, strict=True)]


def gather(value: Any) -> list[Any]:
    """Return the plain data (what JSON can say) that each process gave, in their order."""
    return [json.loads(each) for each in gather_bytes(json.dumps(value).encode())]


def first(
    words: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the words and arrays that process 0 gave."""
    raw = BytesIO()
    if index() == 0:
        np.savez(raw, allow_pickle=False, **arrays)
    with np.load(BytesIO(gather_bytes(raw.getvalue())[0]), allow_pickle=False) as file:
        found = {name: file[name] for name in file.files}
    return gather(dict(words))[0], found


def own_path(path: Any) -> Path:
    """Return the path of the file of this process: ``run.npz`` is ``run.0.npz`` in process 0."""
    return Path(path).with_stem(f"{Path(path).stem}.{index()}")


def total(values: Any) -> np.ndarray:
    """Return the sums over processes of numbers in double precision, the same on each, to the bit."""
    own = np.asarray(values, float)
    parts = [np.frombuffer(each, float) for each in gather_bytes(own.tobytes())]
    return np.sum(parts, axis=0).reshape(own.shape)

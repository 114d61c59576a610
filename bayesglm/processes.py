"""What several processes tell each other: words, numbers, bytes; and sums over all of them.

Every function is a meeting: it returns when all processes have called it.
"""

from __future__ import annotations

import json
from typing import Any

import jax
import numpy as np

__all__ = ["gather", "gather_bytes", "several", "total"]


def several(mesh: Any) -> bool:
    """Whether a mesh spreads rows over more than one process."""
    return mesh is not None and len({device.process_index for device in mesh.devices.flat}) > 1


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


def total(values: Any) -> np.ndarray:
    """Return the sums over processes of numbers in double precision, the same on each, to the bit."""
    own = np.asarray(values, float)
    parts = [np.frombuffer(each, float) for each in gather_bytes(own.tobytes())]
    return np.sum(parts, axis=0).reshape(own.shape)

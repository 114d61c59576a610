"""A model as bytes, for what must carry its data along: the format of `Fit.save`, no pickle."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm import datatree, storage
from bayesglm.errors import Status
from bayesglm.inference.result import Result

if TYPE_CHECKING:
    from bayesglm.design import Design
    from bayesglm.priors import Priors
    from bayesglm.spec import Spec

__all__ = ["pack", "unpack"]


def pack(spec: Spec, design: Design, priors: Priors) -> np.ndarray:
    """Return a model as an array of bytes."""
    k = int(design.intercept) + design.p
    # The format is that of fits; this one has no estimates yet.
    nothing = Result("map", Status.STEP_LIMIT, np.zeros(k), np.zeros(k), np.eye(k), np.nan, np.nan)
    fields = {
        "spec": spec,
        "design": design,
        "priors": priors,
        "result": nothing,
        "seconds": 0.0,
        "errors": {},
    }
    tree = datatree.assemble(design, nothing, words={}, extra={})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.nc"
        storage.write(path, fields, tree, data=True)
        return np.frombuffer(path.read_bytes(), dtype=np.uint8)


def unpack(packed: np.ndarray, custom: Mapping[str, Any]) -> tuple[Spec, Design, Priors]:
    """Return the spec, design and priors that were packed.

    Raises
    ------
    StorageError
        If the bytes are damaged, or need something in ``custom``.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.nc"
        path.write_bytes(packed.tobytes())
        found = storage.read(path, custom)
    return found["spec"], found["design"], found["priors"]

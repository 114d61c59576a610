"""A target whose rows lie on several devices, and what must be asked of all processes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm import processes
from bayesglm.errors import SpecificationError, explain
from bayesglm.matrices import pad_rows
from bayesglm.shards import as_mesh, lengthened, local

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from jax.sharding import Mesh

    from bayesglm.inference.target import Target

__all__ = ["largest", "local_total", "mesh_of", "over", "total", "totals"]


def mesh_of(options: MutableMapping[str, Any]) -> Mesh | None:
    """Take the mesh out of the options of a fit.

    Raises
    ------
    SpecificationError
        If it is no mesh, or does not go with another option.
    """
    mesh = as_mesh(options.pop("mesh", None))
    if mesh is not None and options.get("batch_size") is not None:
        raise SpecificationError(
            explain(
                "mini-batches are chosen from the rows of one device",
                batch_size=options["batch_size"],
                advice="leave out batch_size, or mesh",
            )
        )
    if processes.several(mesh) and options.get("validation") is not None:
        raise SpecificationError(
            explain(
                "held-out rows are chosen from the rows of one process",
                validation=options["validation"],
                advice="leave out validation",
            )
        )
    return mesh


def over(build: Callable[..., Target], words: Mapping[str, Any], mesh: Mesh | None) -> Target:
    """Build a target and spread its rows over the devices of a mesh.

    Rows of weight 0 fill the parts up to one length; in every process as many, so that each has the
    rows of as many devices.
    """
    target = build(**words)
    if mesh is None:
        return target
    devices = len(mesh.local_devices)
    rows = len(target.data.y)
    if processes.several(mesh):
        told = processes.gather((rows, target.merged))
        if len({merged for _, merged in told}) > 1:
            # Merged rows leave out a constant of the density: all do, or none.
            return over(build, {**words, "merged": False}, mesh)
        rows = max(each for each, _ in told)
    rows = -(-rows // devices) * devices
    left_out, coefficient = target.left_out, target.log_coefficient
    if processes.several(mesh):
        coefficient = float(processes.total(coefficient))
        left_out = coefficient if target.merged else 0.0
    return replace(
        target,
        left_out=left_out,
        log_coefficient=coefficient,
        data=lengthened(target.data, rows),
        copies=None if target.copies is None else pad_rows(target.copies, rows, fill=1.0),
        mesh=mesh,
        device=None,
    )


def largest(target: Target, value: int) -> int:
    """Return the largest number that a process has."""
    return max(processes.gather(value)) if processes.several(target.mesh) else value


def totals(target: Target, values: np.ndarray) -> np.ndarray:
    """Return the sums of an array over processes."""
    return processes.total(values) if processes.several(target.mesh) else values


def total(target: Target, rows: Any) -> float:
    """Return the sum of numbers of the rows held here, and in all other processes."""
    own = float(np.sum(rows))
    return float(processes.total(own)) if processes.several(target.mesh) else own


def local_total(target: Target, rows: Any) -> float:
    """Return the sum of an array over rows, on whatever devices, in double precision."""
    return total(target, np.asarray(local(rows), float))

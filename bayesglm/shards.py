"""Rows on several devices: which arrays have rows, where they lie, and the matrix cut into parts.

Every array with an axis of rows is cut along it, one part for each device of a mesh; all others are
on every device. Compiled programs stay as they are: XLA runs each on all devices at once and puts
an all-reduce where a sum goes over rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bayesglm.errors import SpecificationError, explain
from bayesglm.grouped import GroupedPart
from bayesglm.matrices import DenseColumns, Matrix, SparseColumns, pad_rows
from bayesglm.neural import NeuralPart
from bayesglm.predictors import LinearPart

if TYPE_CHECKING:
    from bayesglm.generative import Data

__all__ = ["SplitColumns", "as_mesh", "lengthened", "local", "on_device", "on_rows"]

AXIS = "rows"


class SplitColumns(NamedTuple):
    """A matrix in parts of equal length, one for each device.

    ``parts`` is a matrix of which every array has an axis of devices first. Each operation is that
    of the parts, on the device where each lies; sums over rows end with one sum over devices.
    """

    parts: Matrix

    @property
    def shape(self) -> tuple[int, int]:
        """Columns and rows."""
        # Every array of a part has an axis of devices first.
        if isinstance(self.parts, DenseColumns):
            _, columns, rows = self.parts.values.shape
        else:
            columns, rows = self.parts.center.shape[1], self.parts.columns.shape[1]
        return (columns, rows * self._count)

    @property
    def _count(self) -> int:
        return int(self.parts[0].shape[0])

    def _split(self, rows: Array) -> Array:
        return rows.reshape(self._count, -1, *rows.shape[1:])

    def dot(self, coefficients: Array) -> Array:
        """Return the (n,) linear predictor of (k,) coefficients."""
        return jax.vmap(lambda part: part.dot(coefficients))(self.parts).reshape(-1)

    def sums(self, rows: Array) -> Array:
        """Return the (k,) sums over rows of each column times ``rows``."""
        found = jax.vmap(lambda part, own: part.sums(own))(self.parts, self._split(rows))
        return jnp.sum(found, axis=0)

    def gram(self, weights: Array) -> Array:
        """Return the (k, k) matrix sum_i w_i x_i x_i'."""
        found = jax.vmap(lambda part, own: part.gram(own))(self.parts, self._split(weights))
        return jnp.sum(found, axis=0)

    def quadratic(self, matrix: Array) -> Array:
        """Return the (n,) values x_i' V x_i."""
        return jax.vmap(lambda part: part.quadratic(matrix))(self.parts).reshape(-1)

    def rows(self, index: Array) -> Any:
        """Return some rows, on every device."""
        whole = jax.tree.map(lambda leaf, axis: _joined(leaf, axis), self.parts, _axes(self.parts))
        return whole.rows(index)

    def group_sums(self, rows: Array, codes: Array, groups: int) -> Array:
        """Return the (groups, k) sums of x_i times ``rows`` within each group."""
        found = jax.vmap(lambda part, own, of: part.group_sums(own, of, groups))(
            self.parts, self._split(rows), self._split(codes)
        )
        return jnp.sum(found, axis=0)


def _joined(leaf: Array, axis: int) -> Array:
    """Return an array of parts as one; what has no rows is the same in all."""
    if axis < 0:
        return leaf[0]
    moved = jnp.moveaxis(leaf, 0, axis)
    return moved.reshape(*moved.shape[:axis], -1, *moved.shape[axis + 2 :])


def _axes(matrix: Any) -> Any:
    """Return which axis of each array of a matrix is that of rows; -1 for none."""
    if isinstance(matrix, DenseColumns):
        return DenseColumns(1)  # type: ignore[arg-type]
    return SparseColumns(1, -1, 0, 0, -1)  # type: ignore[arg-type]


def _row_axes(data: Data) -> Any:
    """Return the tree of the data with the axis of rows in the place of each array; -1 for none."""
    parts = []
    for part in data.parts:
        none = jax.tree.map(lambda _: -1, part)
        if isinstance(part, LinearPart):
            none = none._replace(matrix=_axes(part.matrix))
        elif isinstance(part, GroupedPart):
            none = none._replace(matrix=0, codes=0)
        elif isinstance(part, NeuralPart):
            none = none._replace(inputs=0, columns=1, projector=1)
        parts.append(none)
    return jax.tree.map(lambda _: -1, data)._replace(
        y=0,
        trials=0,
        weights=0,
        offset=0,
        parts=tuple(parts),
        reference=None if data.reference is None else 0,
    )


def lengthened(data: Data, rows: int) -> Data:
    """Return data (NumPy) with more rows: copies of the first one, of weight 0."""

    def more(leaf: Any, axis: int) -> Any:
        if axis < 0:
            return leaf
        return np.moveaxis(pad_rows(np.moveaxis(np.asarray(leaf), axis, -1), rows), -1, axis)

    longer: Data = jax.tree.map(more, data, _row_axes(data))
    words: dict[str, Any] = {"weights": pad_rows(np.asarray(data.weights), rows, fill=0.0)}
    if data.reference is not None:
        words["reference"] = pad_rows(np.asarray(data.reference), rows, fill=0.0)
    # What gives a network's projection has the rows' weights in it.
    parts = tuple(
        longer_part._replace(projector=pad_rows(np.asarray(part.projector), rows, fill=0.0))
        if isinstance(part, NeuralPart)
        else longer_part
        for part, longer_part in zip(data.parts, longer.parts, strict=True)
    )
    return longer._replace(parts=parts, **words)


def _place(data: Data, mesh: Mesh) -> Data:
    """Return data as JAX arrays on the devices of a mesh, rows in equal parts.

    Of several processes each gives the rows of its own devices.
    """
    here = len(mesh.local_devices)

    def put(leaf: Any, axis: int) -> Array:
        return _put(np.asarray(leaf), axis, mesh)

    axes = _row_axes(data)
    head, *rest = data.parts
    cut = jax.tree.map(lambda leaf, axis: _cut(leaf, axis, here), head.matrix, _axes(head.matrix))
    whole: Data = jax.tree.map(
        put,
        data._replace(parts=(head._replace(matrix=None), *rest)),
        axes._replace(parts=(axes.parts[0]._replace(matrix=None), *axes.parts[1:])),
    )
    matrix = SplitColumns(jax.tree.map(lambda leaf: put(leaf, 0), cut))
    return whole._replace(parts=(whole.parts[0]._replace(matrix=matrix), *whole.parts[1:]))


def on_device(data: Any, mesh: Mesh | None = None) -> Any:
    """Return the arrays of a tree as JAX arrays; on a CPU aligned ones share their memory."""
    if mesh is not None:
        return _place(data, mesh)
    leaves, tree = jax.tree.flatten(data)
    # One call for all of them: a call costs more than a small array.
    return jax.tree.unflatten(tree, jax.device_put([np.asarray(leaf) for leaf in leaves]))


def _cut(leaf: Any, axis: int, count: int) -> np.ndarray:
    """Return an array in ``count`` parts of its rows, along a new first axis."""
    values = np.asarray(leaf)
    if axis < 0:
        return np.broadcast_to(values, (count, *values.shape))
    shape = values.shape
    parts = values.reshape(*shape[:axis], count, shape[axis] // count, *shape[axis + 1 :])
    return np.moveaxis(parts, axis, 0)


def _put(values: np.ndarray, axis: int, mesh: Mesh) -> Array:
    """Place an array on a mesh, cut along an axis; -1: whole on every device."""
    shape, spec = list(values.shape), PartitionSpec()  # type: ignore[no-untyped-call]
    if axis >= 0:
        shape[axis] *= mesh.size // len(mesh.local_devices)
        spec = PartitionSpec(*[None] * axis, AXIS)  # type: ignore[no-untyped-call]
    sharding = NamedSharding(mesh, spec)
    make: Any = jax.make_array_from_process_local_data
    return cast("Array", make(sharding, values, tuple(shape)))


def on_rows(values: np.ndarray, mesh: Mesh | None) -> Array:
    """Return numbers of rows (first axis) as a JAX array that lies where the rows are."""
    return jnp.asarray(values) if mesh is None else _put(np.asarray(jnp.asarray(values)), 0, mesh)


def local(array: Any) -> np.ndarray:
    """Return an array as NumPy; of one spread over processes, the rows (first axis) held here."""
    if not isinstance(array, Array) or array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    shards = sorted(array.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    return np.concatenate([np.asarray(shard.data) for shard in shards])


def as_mesh(mesh: Any) -> Mesh | None:
    """Check what a user gave as ``mesh``; return one with an axis of rows.

    Parameters
    ----------
    mesh : Mesh, int, "auto" or None
        One axis of devices; the first so many of this process; all of all processes; no mesh.

    Raises
    ------
    SpecificationError
        With what it may be.
    """
    if mesh is None:
        return None
    advice = 'use mesh="auto", a number of devices, or a jax.sharding.Mesh of one axis'
    whole = isinstance(mesh, (int, np.integer)) and not isinstance(mesh, (bool, np.bool_))
    if not (whole or isinstance(mesh, Mesh) or (isinstance(mesh, str) and mesh == "auto")):
        raise SpecificationError(
            explain("mesh is no mesh of devices", mesh=mesh, advice=advice)
            if isinstance(mesh, str)
            else explain("mesh is no mesh of devices", type=type(mesh).__name__, advice=advice)
        )
    if isinstance(mesh, Mesh):
        if len(mesh.axis_names) != 1:
            raise SpecificationError(
                explain(
                    "the mesh must have one axis, which the rows are spread over",
                    axes=mesh.axis_names,
                    advice='use Mesh(mesh.devices.ravel(), ("rows",))',
                )
            )
        devices = list(mesh.devices.ravel())
    elif whole:
        devices = jax.local_devices()
        if not 1 <= mesh <= len(devices):
            raise SpecificationError(
                explain(
                    f"there are {len(devices)} devices here",
                    mesh=mesh,
                    advice='use mesh="auto" for all; jax.config.update("jax_num_cpu_devices", n) '
                    "before JAX starts makes n of a CPU",
                )
            )
        devices = devices[:mesh]
    else:
        devices = jax.devices()
    # The rows of a process lie together, in the order of the processes.
    devices.sort(key=lambda device: (device.process_index, device.id))
    held = [device.process_index for device in devices]
    counts = [held.count(process) for process in range(jax.process_count())]
    if len(set(counts)) > 1 and set(held) != {jax.process_index()}:
        raise SpecificationError(
            explain(
                "the mesh must have as many devices of every process, or devices of this one only",
                devices=counts,
                advice='use mesh="auto"',
            )
        )
    return Mesh(np.array(devices), (AXIS,))

"""Networks as predictors: a Flax module adds to eta beside the linear part.

    eta = offset + b_0 + X b + f(z)        or, orthogonalised,    ... + f(z) - C c

with z the standardised inputs and c = (C'WC)^-1 C'W f(z_train) the weighted projection of the
network on C, the intercept and those columns of X whose variables it also sees. So b keeps its
meaning: the projection of eta. c is always that of all training rows, for new data and mini-batches
too (Rügamer, Kolb & Klein 2024, "Semi-structured distributional regression").

Every weight is a NumPyro site ``<name>.<path>``. This is the only file that knows Flax.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro.distributions import biject_to

from bayesglm.errors import SpecificationError, explain
from bayesglm.networks import Network, prior_of
from bayesglm.predictors import Flat, Site

if TYPE_CHECKING:
    from bayesglm.link import Link

__all__ = ["Neural", "NeuralPart", "bind"]


class Leaf(NamedTuple):
    """An array of weights: its name, its path in the module, its shape."""

    name: str
    path: tuple[Any, ...]
    shape: tuple[int, ...]


class NeuralPart(NamedTuple):
    """The arrays of a `Neural` predictor.

    ``inputs`` (n, q) are standardised; ``priors`` one for each leaf; ``columns`` (k, n) are what the
    network is orthogonalised against, ``projector`` (k, N) gives c from the network's values on all
    N training rows. Those are ``inputs``, or ``training`` where ``inputs`` are other rows;
    ``projection`` is c itself where it is known.
    """

    inputs: Array
    priors: tuple[dist.Distribution, ...]
    columns: Array
    projector: Array
    training: Array | None = None
    projection: Array | None = None

    def rows(self, index: Array) -> NeuralPart:
        """Return the part of some training rows."""
        training = self.inputs if self.projector.shape[0] else None
        return self._replace(
            inputs=self.inputs[index], columns=self.columns[:, index], training=training
        )


@dataclass(frozen=True)
class Neural:
    """The predictor f(z): a module and the layout of its weights.

    Parameters
    ----------
    name : str
        Prefix of the sites.
    body : object
        Hashable, with ``apply(weights, inputs)``.
    leaves : tuple of Leaf
        The arrays of weights, in the order of the flat vector.
    first : int
        Where they begin in the flat vector.
    """

    name: str
    body: Any
    leaves: tuple[Leaf, ...]
    first: int

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites and their places in the flat vector."""
        found, at = [], self.first
        for leaf in self.leaves:
            size = math.prod(leaf.shape)
            found.append(Site(f"{self.name}.{leaf.name}", range(at, at + size), leaf.shape))
            at += size
        return tuple(found)

    @property
    def size(self) -> int:
        """Number of weights."""
        return sum(math.prod(leaf.shape) for leaf in self.leaves)

    @property
    def last_layer(self) -> tuple[int, ...]:
        """Places of the weights of the layer with the one output.

        Raises
        ------
        SpecificationError
            If several layers have one output, or none has a matrix of weights.
        """
        single = [leaf for leaf in self.leaves if len(leaf.shape) > 1 and leaf.shape[-1] == 1]
        parents = {leaf.path[:-1] for leaf in single}
        if len(parents) > 1:
            parents = {parent for parent in parents if parent == ("output",)}
        if len(parents) != 1:
            raise SpecificationError(
                explain(
                    f"which layer of {self.name} is the last is not clear",
                    layers=[leaf.name for leaf in self.leaves],
                    advice='use fit("nuts")',
                )
            )
        pairs = zip(self.sites, self.leaves, strict=True)
        return tuple(at for site, leaf in pairs if leaf.path[:-1] in parents for at in site.places)

    @property
    def projection(self) -> str:
        """Name of the deterministic site that holds c."""
        return f"{self.name}.projection"

    def eta(self, part: NeuralPart) -> Array:
        """Declare the sites and return the (n,) share of eta, on the link scale."""
        weights = {
            leaf.path: numpyro.sample(
                f"{self.name}.{leaf.name}", prior.expand(leaf.shape).to_event(len(leaf.shape))
            )
            for leaf, prior in zip(self.leaves, part.priors, strict=True)
        }
        values = self._values(weights, part.inputs)
        if not part.projector.shape[0]:
            return values
        c = part.projection
        if c is None:
            known = values if part.training is None else self._values(weights, part.training)
            c = numpyro.deterministic(self.projection, part.projector @ known)
        return values - c @ part.columns

    def _values(self, weights: Mapping[tuple[Any, ...], Array], inputs: Array) -> Array:
        return self.body.apply(weights, inputs).reshape(inputs.shape[0]).astype(inputs.dtype)

    def initial(self, part: NeuralPart, seed: int) -> np.ndarray:
        """Return weights to start from, flat and unconstrained, shape (size,)."""
        values = self.body.initial(seed)
        pieces = []
        for leaf, prior in zip(self.leaves, part.priors, strict=True):
            bijection = biject_to(prior.support)
            raw = np.asarray(bijection.inv(jnp.asarray(values[leaf.path])), float)
            pieces.append(np.where(np.isfinite(raw), raw, 0.0).ravel())
        return np.concatenate(pieces)

    def scales(self, part: NeuralPart) -> np.ndarray:
        """Return the prior scale of each weight (1 where it has none), shape (size,)."""
        return np.concatenate(
            [
                np.full(math.prod(leaf.shape), float(getattr(prior, "scale", 1.0)))
                for leaf, prior in zip(self.leaves, part.priors, strict=True)
            ]
        )


@dataclass(frozen=True)
class _Linen:
    """A `flax.linen` module; the package's own are known by their widths."""

    module: Any
    width: int
    hidden: tuple[int, ...] = ()
    activation: str = "relu"

    def _made(self) -> Any:
        if self.module is not None:
            return self.module
        return _perceptron(self.hidden, self.activation)

    def initial(self, seed: int) -> dict[tuple[Any, ...], np.ndarray]:
        from flax.traverse_util import flatten_dict

        variables = self._made().init(jax.random.key(seed), jnp.zeros((2, self.width)))
        extra = sorted(set(variables) - {"params"})
        if extra:
            raise _refuse_state(extra)
        found = {path: np.asarray(v) for path, v in flatten_dict(variables["params"]).items()}
        if self.module is None:
            # Close to the model without the network; the hidden layers differ already.
            found["output", "kernel"] = 0.1 * found["output", "kernel"]
        return found

    def apply(self, weights: Mapping[tuple[Any, ...], Array], inputs: Array) -> Array:
        from flax.traverse_util import unflatten_dict

        return self._made().apply({"params": unflatten_dict(dict(weights))}, inputs)


@lru_cache(maxsize=64)
def _perceptron(hidden: tuple[int, ...], activation: str) -> Any:
    import flax.linen as nn

    class Perceptron(nn.Module):
        @nn.compact
        def __call__(self, values: Array) -> Array:
            for depth, width in enumerate(hidden):
                layer = nn.Dense(width, name=f"hidden_{depth}")
                values = getattr(jax.nn, activation)(layer(values))
            return nn.Dense(1, name="output")(values)

    return Perceptron()


@dataclass(frozen=True)
class _Nnx:
    """A `flax.nnx` module, split into its graph and its weights."""

    graph: Any
    start: Any = field(compare=False, hash=False, repr=False)
    width: int = 0

    def initial(self, seed: int) -> dict[tuple[Any, ...], np.ndarray]:
        if seed == 0:
            return dict(self.start)
        # The module was made by its owner: other starts are drawn, of the size of its own.
        generator = np.random.default_rng(seed)
        return {
            path: generator.normal(0, value.std() if value.ndim > 1 else 0.0, value.shape)
            + (0 if value.ndim > 1 else value)
            for path, value in self.start.items()
        }

    def apply(self, weights: Mapping[tuple[Any, ...], Array], inputs: Array) -> Array:
        from flax import nnx

        state = nnx.from_flat_state({path: nnx.Param(value) for path, value in weights.items()})
        return nnx.merge(self.graph, state)(inputs)


def _refuse_state(names: Sequence[str]) -> SpecificationError:
    return SpecificationError(
        explain(
            "a network may have weights only, no running statistics and no randomness",
            has=list(names),
            advice="leave out BatchNorm and Dropout; the priors of the weights regularise",
        )
    )


def _body(network: Network, width: int) -> Any:
    """Return the module in the one shape that `Neural` knows."""
    module = network.module
    if module is None:
        return _Linen(None, width, network.hidden, network.activation)
    import flax.linen as nn
    from flax import nnx

    if isinstance(module, nn.Module):
        try:
            hash(module)
        except TypeError as error:
            raise SpecificationError(
                explain(
                    f"the fields of the module must be hashable: {error}",
                    module=type(module).__name__,
                    advice="use tuples instead of lists",
                )
            ) from error
        return _Linen(module, width)
    if isinstance(module, nnx.Module):
        graph, weights, rest = nnx.split(module, nnx.Param, ...)
        odd = sorted({type(leaf).__name__ for _, leaf in nnx.to_flat_state(rest)})
        if odd:
            raise _refuse_state(odd)
        flat = {path: np.asarray(leaf.get_value()) for path, leaf in nnx.to_flat_state(weights)}
        return _Nnx(graph, flat, width)
    raise SpecificationError(
        explain(
            "module must be an instance of a flax.linen or flax.nnx module",
            module=module if isinstance(module, type) else type(module).__name__,
            advice="give MyModule(), not MyModule" if isinstance(module, type) else "",
        )
    )


def bind(
    network: Network,
    inputs: np.ndarray,
    against: np.ndarray,
    weights: np.ndarray,
    *,
    first: int,
    link: Link,
    flat: bool,
    number: type[np.floating[Any]],
) -> tuple[Neural, NeuralPart]:
    """Give a network its inputs: return the predictor and its arrays.

    Parameters
    ----------
    network : Network
        What the user asked for.
    inputs : ndarray, shape (n, q)
        Standardised, padded.
    against : ndarray, shape (k, n)
        What it is orthogonalised against; k may be 0.
    weights : ndarray, shape (n,)
        Weights times trials, 0 in the padding.
    first : int
        Where its weights begin in the flat vector.
    link : Link
        Sets the scale of the default prior.
    flat : bool
        Flat priors (maximum likelihood).
    number : type
        Precision of every array.

    Raises
    ------
    SpecificationError
        If the module is no module, fails on the inputs, or has the wrong output shape.
    """
    body = _body(network, inputs.shape[1])
    try:
        start = body.initial(0)
        given = {path: jnp.asarray(value) for path, value in start.items()}
        shape = jax.eval_shape(body.apply, given, jnp.zeros((3, inputs.shape[1]))).shape
    except SpecificationError:
        raise
    except Exception as error:
        # Whatever a module of the user's raises; the border translates it once.
        raise SpecificationError(
            explain(
                f"the network's module fails on {inputs.shape[1]} inputs: "
                f"{str(error).splitlines()[0]}",
                network=network.name,
            )
        ) from error
    if shape not in ((3, 1), (3,)):
        raise SpecificationError(
            explain(
                "the network's module must map inputs (n, q) to (n, 1) or (n,)",
                input_shape=(3, inputs.shape[1]),
                output_shape=tuple(shape),
                advice="end it with a layer of width 1",
            )
        )
    leaves = tuple(
        Leaf(".".join(map(str, path)), tuple(path), tuple(value.shape))
        for path, value in sorted(start.items(), key=lambda item: str(item[0]))
    )
    predictor = Neural(network.name, body, leaves, first)
    k = 0.25 / link.density_half
    priors = jax.tree.map(
        lambda value: np.asarray(value, number),
        tuple(
            Flat(0.0) if flat else prior_of(network, leaf.name, leaf.shape, k) for leaf in leaves
        ),
    )
    scaled = against * weights
    projector = np.linalg.pinv(scaled @ against.T, hermitian=True) @ scaled
    arrays: list[Any] = [inputs.astype(number), priors, against.astype(number)]
    arrays.append(projector.astype(number))
    return predictor, NeuralPart(*arrays)

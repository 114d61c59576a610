"""Predictors: what turns a design into eta on the link scale.

Each predictor declares its own NumPyro sites in ``eta(part)``, where ``part`` holds its arrays. A
predictor itself holds no arrays, only words and sizes, so that it can be a static argument of
compiled programs; the sum of all predictors and the offset is the eta of the model.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro.distributions import constraints

if TYPE_CHECKING:
    from bayesglm.matrices import Matrix

__all__ = ["Flat", "Linear", "LinearPart", "Predictor", "Site", "stack"]


class Site(NamedTuple):
    """A NumPyro site of unknowns: its name, its places in the flat vector, and its shape."""

    name: str
    places: Sequence[int]
    shape: tuple[int, ...]


class Predictor(Protocol):
    """Anything that adds to eta: hashable, without arrays of its own."""

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites of its unknowns."""
        ...

    def eta(self, part: Any) -> Array:
        """Declare the sites and return this predictor's (n,) share of eta, on the link scale."""
        ...


class Flat(dist.Distribution):
    """The flat (improper) prior on real numbers, proper in the padding.

    Where ``padding`` is 1 the density is a standard normal: a padding column has no data, and an
    improper prior there would leave the Hessian singular.
    """

    arg_constraints = {"padding": constraints.real}
    support = constraints.real
    pytree_data_fields = ("padding",)

    def __init__(self, padding: Any, *, validate_args: bool | None = None) -> None:
        self.padding = padding
        super().__init__(np.shape(padding), (), validate_args=validate_args)

    def log_prob(self, value: Array) -> Array:
        """Return 0, or half the negative square in the padding (log scale)."""
        return -0.5 * self.padding * value**2

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Array:
        """Refuse: a flat prior has nothing to draw from."""
        del key, sample_shape
        raise ValueError("a flat prior cannot be sampled")


class LinearPart(NamedTuple):
    """The arrays of a `Linear` predictor.

    ``intercept`` is the prior of the centred intercept, ``blocks`` the priors of the coefficients,
    one batched distribution for each kind; ``center`` (p,) and ``offset_center`` are what was
    subtracted from the columns and the offset (all on the link scale).
    """

    matrix: Matrix
    intercept: dist.Distribution | None
    blocks: tuple[dist.Distribution, ...]
    center: Array
    offset_center: Array

    def rows(self, index: Array) -> LinearPart:
        """Return the part of some rows."""
        return self._replace(matrix=self.matrix.rows(index))


@dataclass(frozen=True)
class Linear:
    """The linear predictor: an intercept on centred columns, and coefficients.

    Parameters
    ----------
    intercept : bool
        Whether the first column is the constant.
    size : int
        Number of coefficients, padding included.
    blocks : tuple of tuple of int
        For each prior of `LinearPart.blocks`, the coefficients it speaks of. A single block (the
        usual case) is the site ``beta`` itself; several are the sites ``beta_0``, ``beta_1``, ...
    """

    intercept: bool
    size: int
    blocks: tuple[tuple[int, ...], ...]

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites, the intercept's first; this predictor's are the first of the flat vector."""
        first = int(self.intercept)
        head = (Site("Intercept_centered", (0,), ()),) if self.intercept else ()
        if len(self.blocks) == 1:
            return (*head, Site("beta", range(first, first + self.size), (self.size,)))
        return head + tuple(
            Site(f"beta_{k}", tuple(first + j for j in block), (len(block),))
            for k, block in enumerate(self.blocks)
        )

    def coefficients(self, part: LinearPart) -> Array:
        """Declare the sites; return the coefficients, the centred intercept first."""
        if len(self.blocks) == 1:
            beta = numpyro.sample("beta", part.blocks[0].to_event(1))
        else:
            beta = jnp.zeros(self.size, part.center.dtype)
            for k, (places, prior) in enumerate(zip(self.blocks, part.blocks, strict=True)):
                block = numpyro.sample(f"beta_{k}", prior.to_event(1))
                beta = beta.at[np.asarray(places)].set(block)
            numpyro.deterministic("beta", beta)
        if not self.intercept:
            return beta
        centred = numpyro.sample("Intercept_centered", part.intercept)
        numpyro.deterministic("Intercept", centred - part.center @ beta - part.offset_center)
        return jnp.concatenate([centred[None], beta])

    def eta(self, part: LinearPart) -> Array:
        """Declare the sites and return the (n,) linear predictor, offset not included."""
        return part.matrix.dot(self.coefficients(part))


def stack(
    priors: Sequence[dist.Distribution | None], size: int, *, flat: bool = False
) -> tuple[Any, Any]:
    """Batch scalar priors by kind, so that one site holds all coefficients of a kind.

    Parameters
    ----------
    priors : sequence of numpyro Distribution or None
        One for each coefficient; None is flat.
    size : int
        Number of coefficients with padding.
    flat : bool
        Put padding into a flat batch even where no coefficient has a flat prior.

    Returns
    -------
    blocks : tuple of tuple of int
        The coefficients of each batch.
    batches : tuple of numpyro Distribution
        The batched priors; the padding joins a flat or normal batch, or is one by itself.

    Examples
    --------
    >>> blocks, batches = stack([dist.Normal(0.0, 2.5), None, dist.Normal(0.0, 1.0)], 4)
    >>> blocks
    ((0, 2), (1, 3))
    """
    kinds: dict[Any, list[int]] = {}
    for j, prior in enumerate(priors):
        kinds.setdefault(_kind(prior), []).append(j)
    # Padding must sample well and have a Hessian, so it joins only a flat or a normal batch.
    host = next((kind for kind in (None, dist.Normal) if kind in kinds), "padding")
    if flat:
        host = None
    padding = list(range(len(priors), size))
    if padding:
        kinds.setdefault(host, [])
    blocks, batches = [], []
    for kind, places in kinds.items():
        extra = padding if kind == host else []
        blocks.append((*places, *extra))
        batches.append(_batch([priors[j] for j in places], len(extra), flat))
    return tuple(blocks), tuple(batches)


def _kind(prior: dist.Distribution | None) -> Any:
    """Return what two priors must share to be batched."""
    if prior is None or _parameters(prior):
        return prior if prior is None else type(prior)
    return id(prior)


def _parameters(prior: dist.Distribution) -> tuple[str, ...]:
    """Return the names of all parameters, or none if the prior is not made of numbers alone."""
    words = set(inspect.signature(type(prior).__init__).parameters) - {"self", "validate_args"}
    return tuple(sorted(words)) if words == set(type(prior).arg_constraints) else ()


def _batch(
    members: Sequence[dist.Distribution | None], extra: int, flat: bool
) -> dist.Distribution:
    """Put priors of one kind, and ``extra`` places of padding, into one batched distribution."""
    if not members and flat:
        return Flat(np.ones(extra))
    if not members:
        return dist.Normal(np.zeros(extra), np.ones(extra))
    example = members[0]
    if example is None:
        return Flat(np.array([0.0] * len(members) + [1.0] * extra))
    names = _parameters(example)
    if not names:
        return example.expand((len(members),))
    values = {name: [float(getattr(m, name)) for m in members] for name in names}
    if extra:
        values = {"loc": values["loc"] + [0.0] * extra, "scale": values["scale"] + [1.0] * extra}
    return type(example)(**{name: np.array(numbers) for name, numbers in values.items()})

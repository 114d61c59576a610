"""The words of a network: its inputs, its layers, its priors. No array, and no Flax, is here."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist

from bayesglm.errors import SpecificationError, explain, suggest

__all__ = ["Network", "distinct", "prior_of"]

ACTIVATIONS = ("relu", "tanh", "gelu", "silu", "sigmoid", "softplus", "elu")
# Names that other sites and variables have.
TAKEN = ("Intercept", "beta", "sigma", "df", "lapse", "y", "term", "obs", "chain", "draw")

type Prior = dist.Distribution | Callable[[str, tuple[int, ...]], dist.Distribution] | None


@dataclass(frozen=True)
class Network:
    """A network that adds to eta; give it to `Model` as ``add=[Network(...)]``.

    Parameters
    ----------
    formula : str
        Its inputs, ``"~ x2 + x3"``; categories become indicators, every column is standardised.
    hidden : tuple of int
        Widths of the hidden layers.
    activation : str
        ``"relu"``, ``"tanh"``, ``"gelu"``, ``"silu"``, ``"sigmoid"``, ``"softplus"``, ``"elu"``.
    module : flax.linen or flax.nnx module, optional
        A network of your own instead, from (n, q) inputs to (n, 1) or (n,).
    prior : Distribution or callable, optional
        Of every weight, or a function of (name, shape) that returns one. By default normal, scaled
        by the fan-in so that the prior of p does not depend on the width; see `Model.priors`.
    orthogonal : bool
        Orthogonalise against the intercept and the linear columns whose variables it also sees, so
        that their coefficients are the linear projection of eta. Set it to False where the network
        adjusts a coefficient for confounders: there the coefficient is *given* the network.
    name : str
        Prefix of its sites.

    Raises
    ------
    SpecificationError
        If Flax is not installed, or a word makes no sense.

    Examples
    --------
    >>> Network("~ age + income", hidden=(8, 8), activation="tanh").hidden
    (8, 8)
    """

    formula: str
    hidden: tuple[int, ...] = (10,)
    activation: str = "relu"
    module: Any = None
    prior: Prior = None
    orthogonal: bool = True
    name: str = "network"

    def __post_init__(self) -> None:
        """Check the words."""
        if find_spec("flax") is None:
            raise SpecificationError(
                explain("networks need Flax", advice='pip install "bayesglm[neural]"')
            )
        if self.activation not in ACTIVATIONS:
            raise SpecificationError(
                explain(
                    f"unknown activation{suggest(self.activation, ACTIVATIONS)}",
                    activation=self.activation,
                    advice="use one of " + ", ".join(ACTIVATIONS),
                )
            )
        widths: Any = tuple(np.atleast_1d(np.asarray(self.hidden, dtype=object)))
        object.__setattr__(self, "hidden", widths)
        if not all(isinstance(w, (int, np.integer)) and w >= 1 for w in widths):
            raise SpecificationError(
                explain("hidden must be widths of layers, as (10, 10)", hidden=self.hidden)
            )
        if not str(self.name).isidentifier() or self.name in TAKEN:
            raise SpecificationError(
                explain("the name of a network must be a plain word of its own", name=self.name)
            )
        proper = self.prior is None or callable(self.prior)
        if not (proper or isinstance(self.prior, dist.Distribution)):
            raise SpecificationError(
                explain(
                    "the prior of a network must be a NumPyro distribution, or a function of "
                    "(name, shape)",
                    prior=self.prior,
                )
            )


def distinct(add: Any) -> tuple[Network, ...]:
    """Return networks with a name of its own for each; refuse what is no network.

    Raises
    ------
    SpecificationError
        If something else is among them.
    """
    given = (add,) if isinstance(add, Network) else tuple(add)
    odd = [network for network in given if not isinstance(network, Network)]
    if odd:
        raise SpecificationError(
            explain('add takes networks, as [bg.Network("~ x2 + x3")]', add=odd[0])
        )
    names: list[str] = []
    for network in given:
        rank = names.count(network.name) + 1
        names.append(network.name)
        if rank > 1:
            given = tuple(replace(n, name=f"{n.name}_{rank}") if n is network else n for n in given)
    return given


def prior_of(network: Network, name: str, shape: tuple[int, ...], k: float) -> dist.Distribution:
    """Return the prior of an array of weights, the default or the user's (link scale).

    By default normal. Weights of the package's own layers have the sd 2 / sqrt(fan-in) in the first
    (its inputs are standardised) and sqrt(2 / fan-in) in the others, biases 1; the output weights
    are scaled so that the network's values have the sd 2.5 k, whatever its widths, depth and
    activation. In a module of the user's own, whose activations are not known, weights have the sd
    sqrt(2 / fan-in), and 2.5 k / sqrt(fan-in) where the layer has one output.

    Parameters
    ----------
    network : Network
    name : str
        Path of the array in the module.
    shape : tuple of int
        Its shape; all axes but the last are the fan-in.
    k : float
        0.25 / f(eta at p = 1/2), as for the prior ``weak``.

    Raises
    ------
    SpecificationError
        If the user's is no continuous scalar distribution.

    References
    ----------
    Neal (1996), Bayesian Learning for Neural Networks, section 2.1.
    """
    if network.prior is None:
        return dist.Normal(float(name.endswith("scale")), _scale(network, name, shape, k))
    given = network.prior
    found = given if isinstance(given, dist.Distribution) else given(name, shape)
    if not isinstance(found, dist.Distribution) or found.is_discrete or found.event_shape:
        raise SpecificationError(
            explain(
                f"the prior of {network.name}.{name} must be a continuous scalar distribution",
                prior=found,
                advice="use numpyro.distributions, such as Normal(0, 1)",
            )
        )
    return found


def _scale(network: Network, name: str, shape: tuple[int, ...], k: float) -> float:
    """Return the sd of the default prior of an array of weights."""
    output = bool(shape) and shape[-1] == 1 and (network.module is not None or "output" in name)
    if len(shape) < 2:
        if name.endswith("scale"):  # of a normalising layer, around 1
            return 0.5
        return 1.5 * k if output else 1.0
    fan_in = math.prod(shape[:-1])
    if network.module is not None:
        return 2.5 * k / math.sqrt(fan_in) if output else math.sqrt(2 / fan_in)
    if output:
        return 2.5 * k / math.sqrt(fan_in * _mean_square(len(network.hidden), network.activation))
    return (2 if name.startswith("hidden_0") else math.sqrt(2)) / math.sqrt(fan_in)


def _mean_square(depth: int, activation: str) -> float:
    """Return the prior mean square of a unit of the last hidden layer, layer by layer."""
    nodes = np.linspace(-8, 8, 4_001)
    weights = np.exp(-(nodes**2) / 2)
    size = 1.0
    for layer in range(depth):
        spread = math.sqrt((4 if layer == 0 else 2) * size + 1)
        values = np.asarray(getattr(jax.nn, activation)(spread * nodes), float)
        size = float(weights @ values**2 / weights.sum())
    return size

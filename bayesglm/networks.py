"""The words of a network: its inputs, its layers, its priors. No array, and no Flax, is here."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpyro.distributions as dist

from bayesglm.errors import SpecificationError, explain, suggest

__all__ = ["Network", "default_prior", "prior_of"]

ACTIVATIONS = ("relu", "tanh", "gelu", "silu", "sigmoid", "softplus", "elu")
# Names that other sites and variables have.
TAKEN = ("Intercept", "beta", "sigma", "y", "term", "obs", "chain", "draw")

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
        Of every weight, or a function of (name, shape) that returns one. By default normal: weights
        with sd 1 / sqrt(fan-in), biases with sd 1; in the output layer times the scale of the
        ``weak`` prior, so that the prior of p does not depend on the width.
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


def default_prior(name: str, shape: tuple[int, ...], k: float) -> dist.Distribution:
    """Return the default prior of an array of weights (link scale), ``k`` that of `weak`."""
    output = 1.5 * k if shape and shape[-1] == 1 else 1.0
    if len(shape) > 1:
        return dist.Normal(0.0, output / math.sqrt(math.prod(shape[:-1])))
    if name.endswith("scale"):
        return dist.Normal(1.0, 0.5)  # of a normalising layer
    return dist.Normal(0.0, output)


def prior_of(network: Network, name: str, shape: tuple[int, ...], k: float) -> dist.Distribution:
    """Return the prior of an array of weights, the default or the user's.

    Raises
    ------
    SpecificationError
        If the user's is no continuous scalar distribution.
    """
    given = network.prior
    if given is None:
        found = default_prior(name, shape, k)
    elif isinstance(given, dist.Distribution):
        found = given
    else:
        found = given(name, shape)
    if not isinstance(found, dist.Distribution) or found.is_discrete or found.event_shape:
        raise SpecificationError(
            explain(
                f"the prior of {network.name}.{name} must be a continuous scalar distribution",
                prior=found,
                advice="use numpyro.distributions, such as Normal(0, 1)",
            )
        )
    return found

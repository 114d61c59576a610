"""The model, written once.

    y_i ~ Bernoulli(F(eta_i)),   eta_i = offset_i + sum of the predictors

as one NumPyro function. The flat log density that optimisers and NUTS see, the pointwise log
likelihood, and prior and posterior predictive draws are all read off this function's trace:

    log p(y, theta) = sum_i w_i log p(y_i | eta_i) + log p(theta)

Rows with weight 0 (absent rows, padding) are masked where a log probability may be minus infinity,
because 0 times that is not 0.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro import handlers
from numpyro.distributions import biject_to

from bayesglm.shaped import ShapedLink

if TYPE_CHECKING:
    from bayesglm.families import Family
    from bayesglm.link import Link
    from bayesglm.predictors import Predictor, Site
    from bayesglm.shaped import BoundLink

__all__ = [
    "Data",
    "Structure",
    "declared_link",
    "draw",
    "eta_at",
    "linear_predictor",
    "log_density",
    "log_prior",
    "model",
    "pointwise",
    "reported",
    "unravel",
]


class Data(NamedTuple):
    """Everything numeric that the model sees; an argument of every compiled program.

    Attributes
    ----------
    y, trials, weights, offset : Array, shape (n,)
        Successes, trials, weights, and the offset on the link scale.
    parts : tuple
        The arrays of each predictor.
    sigma : Distribution or None
        Prior of the residual standard deviation, for families that have one.
    shape : tuple of Distribution
        Priors of what is learned of the link's shape.
    reference : Array, shape (n,), or None
        Subtracted from the rows' log likelihood before they are summed. In single precision the sum
        of a million rows would be rounded to a few hundredths, which is what draws differ by;
        relative to the mode it is small.
    """

    y: Array
    trials: Array
    weights: Array
    offset: Array
    parts: tuple[Any, ...]
    sigma: dist.Distribution | None = None
    shape: tuple[dist.Distribution, ...] = ()
    reference: Array | None = None

    def rows(self, index: Array, factor: Array) -> Data:
        """Return a batch of rows, each of which stands for ``factor`` rows."""
        return self._replace(
            y=self.y[index],
            trials=self.trials[index],
            weights=self.weights[index] * factor,
            offset=self.offset[index],
            parts=tuple(part.rows(index) for part in self.parts),
            reference=None,
        )


@dataclass(frozen=True)
class Structure:
    """Everything about the model that is not a number: a static argument of compiled programs.

    Attributes
    ----------
    sites : tuple of Site
        Each site's name, its places in the flat unconstrained vector, and its shape.
    size : int
        Length of that vector.
    """

    family: Family
    link: Link
    predictors: tuple[Predictor, ...]
    aggregated: bool
    sites: tuple[Site, ...]
    size: int

    @property
    def shape(self) -> tuple[str, ...]:
        """What is learned of the link's shape: the last sites."""
        return self.link.learned if isinstance(self.link, ShapedLink) else ()

    @property
    def unmasked(self) -> bool:
        """Whether rows of weight 0 need no mask: 0 times a finite number is 0."""
        return self.link.branchless and not self.family.has_sigma


def linear_predictor(structure: Structure, data: Data) -> Array:
    """Declare the sites of the predictors; return eta of the rows, shape (n,), link scale."""
    eta = data.offset
    for predictor, part in zip(structure.predictors, data.parts, strict=True):
        eta = eta + predictor.eta(part)
    return eta


def declared_link(structure: Structure, data: Data) -> Link | BoundLink:
    """Declare the sites of the link's shape, if it has any to learn; return F."""
    link = structure.link
    if not isinstance(link, ShapedLink):
        return link
    priors = zip(link.learned, data.shape, strict=True)
    return link.at(**{name: numpyro.sample(name, prior) for name, prior in priors})


def model(structure: Structure, data: Data, *, observed: bool = True) -> None:
    """Declare the model to NumPyro: the sites of the predictors, then the outcome ``y``."""
    eta = linear_predictor(structure, data)
    sigma = numpyro.sample("sigma", data.sigma) if structure.family.has_sigma else None
    link = declared_link(structure, data)
    outcome = structure.family.distribution(
        eta, data.trials, link, sigma=sigma, aggregated=structure.aggregated
    )
    masked = nullcontext() if structure.unmasked else handlers.mask(mask=data.weights > 0)
    with masked, handlers.scale(scale=data.weights):
        numpyro.sample("y", outcome, obs=data.y if observed else None)


def unravel(structure: Structure, flat: Array) -> dict[str, Array]:
    """Split the flat unconstrained vector into its sites."""
    return {site.name: _piece(flat, site).reshape(site.shape) for site in structure.sites}


def _piece(flat: Array, site: Site) -> Array:
    places = site.places
    # A slice, where it is one, is cheaper to run and to differentiate than a gather.
    return (
        flat[places[0] : places[-1] + 1] if isinstance(places, range) else flat[jnp.asarray(places)]
    )


def _trace(
    structure: Structure, data: Data, flat: Array, run: Callable[..., Any] = model
) -> tuple[dict[str, Any], Array, Any]:
    """Run the model at an unconstrained point; return trace, log Jacobian and what it returned."""
    values = unravel(structure, flat)
    jacobian = [jnp.zeros((), flat.dtype)]

    def place(site: dict[str, Any]) -> Array | None:
        if site["type"] != "sample" or site["is_observed"]:
            return None
        bijection = biject_to(site["fn"].support)
        raw = values[site["name"]]
        value = bijection(raw)
        jacobian.append(jnp.sum(bijection.log_abs_det_jacobian(raw, value)))
        return value

    with handlers.trace() as trace:
        returned = handlers.substitute(run, substitute_fn=place)(structure, data)
    return trace, sum(jacobian[1:], jacobian[0]), returned


def eta_at(structure: Structure, data: Data, flat: Array) -> Array:
    """Return eta of the rows at an unconstrained point, shape (n,), link scale."""
    return _trace(structure, data, flat, linear_predictor)[2]


def _prior_of(trace: dict[str, Any]) -> Array:
    latent = (s for s in trace.values() if s["type"] == "sample" and not s["is_observed"])
    return sum((jnp.sum(s["fn"].log_prob(s["value"])) for s in latent), jnp.zeros(()))


def _likelihood_of(structure: Structure, trace: dict[str, Any]) -> Array:
    site = trace["y"]
    weight = site["scale"]
    if structure.unmasked:
        return weight * site["fn"].log_prob(site["value"])
    # The inner `where` keeps an infinite masked value from reaching the product and its gradient.
    rows = jnp.where(weight > 0, site["fn"].log_prob(site["value"]), 0.0)
    return weight * rows


def log_prior(structure: Structure, data: Data, flat: Array, *, jacobian: bool) -> Array:
    """Return the log prior density at an unconstrained point.

    With ``jacobian`` it is the density of the unconstrained vector itself (NUTS, Laplace);
    without, that of the parameters as the user names them (MAP).
    """
    trace, log_jacobian, _ = _trace(structure, data, flat)
    return _prior_of(trace) + (log_jacobian if jacobian else 0.0)


def pointwise(structure: Structure, data: Data, flat: Array) -> Array:
    """Return w_i log p(y_i | eta_i) for every row, shape (n,), 0 where the weight is 0."""
    return _likelihood_of(structure, _trace(structure, data, flat)[0])


def log_density(structure: Structure, data: Data, flat: Array, *, jacobian: bool) -> Array:
    """Return log p(y, theta) at an unconstrained point, less the sum of the data's reference.

    See `log_prior` for ``jacobian``.
    """
    trace, log_jacobian, _ = _trace(structure, data, flat)
    rows = _likelihood_of(structure, trace)
    if data.reference is not None:
        rows = rows - data.reference
    density = jnp.sum(rows) + _prior_of(trace)
    return density + (log_jacobian if jacobian else 0.0)


def reported(structure: Structure, data: Data, flat: Array) -> dict[str, Array]:
    """Return the parameters as the user names them: Intercept, beta (padded), sigma, df, lapse."""
    trace = _trace(structure, data, flat)[0]
    kinds = ("sample", "deterministic")
    return {n: s["value"] for n, s in trace.items() if s["type"] in kinds and n != "y"}


def draw(structure: Structure, data: Data, key: Array, flat: Array | None = None) -> dict[str, Any]:
    """Draw outcomes ``y`` (n,): from the prior, or given the parameters at ``flat``.

    Returns
    -------
    dict
        Every site and deterministic of the model, ``y`` among them.
    """
    run = handlers.seed(model, key)
    if flat is not None:
        values = reported(structure, data, flat)
        run = handlers.substitute(run, data=values)
    trace = handlers.trace(run).get_trace(structure, data, observed=False)
    return {name: site["value"] for name, site in trace.items() if "value" in site}

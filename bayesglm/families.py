"""Families: what y is, given eta.

``bernoulli`` covers aggregated rows (y events in t trials): per row

    log p(y | eta) = y log F(eta) + (t - y) log(1 - F(eta))    (+ log of the binomial coefficient)

``gaussian`` is the linear probability model: y ~ Normal(eta, sigma), identity link.
A term with y = 0 (or t - y = 0) is left out, not multiplied by 0: its logarithm may be -inf.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from numpyro.distributions import constraints

from bayesglm.errors import SpecificationError, explain, suggest
from bayesglm.link import Link, as_float
from bayesglm.shaped import BoundLink

__all__ = ["FAMILIES", "BinomialLink", "Family", "get_family"]


def _combine(link: Link | BoundLink, y: Array, trials: Array, event: Array, other: Array) -> Array:
    """Return y * event + (t - y) * other, terms with a zero count left out."""
    rest = trials - y
    if link.is_finite:
        # The two selections would be a third of the time of a gradient.
        return y * event + rest * other
    return jnp.where(y > 0, y * event, 0.0) + jnp.where(rest > 0, rest * other, 0.0)


def _row_log_prob(link: Link | BoundLink, eta: Array, y: Array, trials: Array) -> Array:
    """Return log p(y | eta), without the binomial coefficient, with all derivatives."""
    if isinstance(link, BoundLink):
        # Finite everywhere, and differentiable in its shape too.
        return _combine(link, y, trials, *link.pair(eta))
    return _log_prob(link, eta, y, trials)


# The counts are masked on the finished slopes and curvatures: masking the logarithms alone would
# leave a user's infinite slope times 0 to reverse mode, which is NaN.
@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _log_prob(link: Link, eta: Array, y: Array, trials: Array) -> Array:
    return _combine(link, y, trials, *link.pair(eta))


@_log_prob.defjvp
def _log_prob_jvp(link: Link, primals: Any, tangents: Any) -> tuple[Array, Array]:
    # y and trials are data: their tangents are not looked at.
    eta, y, trials = primals
    value = _log_prob(link, eta, y, trials)
    return value, _slope(link, eta, y, trials) * tangents[0]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _slope(link: Link, eta: Array, y: Array, trials: Array) -> Array:
    return _combine(link, y, trials, *link.parts(eta)[2:])


@_slope.defjvp
def _slope_jvp(link: Link, primals: Any, tangents: Any) -> tuple[Array, Array]:
    eta, y, trials = primals
    bend = _combine(link, y, trials, *link.curvatures(eta))
    return _slope(link, eta, y, trials), bend * tangents[0]


class BinomialLink(dist.Distribution):
    """The number of events in ``trials`` trials with probability F(eta), written on eta.

    Parameters
    ----------
    eta : Array, shape (n,)
        Link scale.
    trials : Array, shape (n,)
        Trials of each row.
    link : Link or BoundLink
        F.
    aggregated : bool
        Include the binomial coefficient in the log density.
    """

    arg_constraints = {"eta": constraints.real, "trials": constraints.nonnegative}
    # A link is a tree too: without arrays, or with those of its shape.
    pytree_data_fields = ("eta", "trials", "link")
    pytree_aux_fields = ("aggregated",)

    def __init__(
        self, eta: Array, trials: Array, *, link: Link | BoundLink, aggregated: bool = False
    ) -> None:
        self.eta, self.trials, self.link, self.aggregated = eta, trials, link, aggregated
        super().__init__(jnp.shape(eta), (), validate_args=False)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        """Whole numbers from 0 to the trials."""
        return constraints.integer_interval(0, self.trials)

    def log_prob(self, value: Array) -> Array:
        """Return the log density of each row."""
        rows = _row_log_prob(self.link, self.eta, value, self.trials)
        if not self.aggregated:
            return rows
        gammaln = jax.scipy.special.gammaln
        t, y = self.trials, value
        return rows + gammaln(t + 1) - gammaln(y + 1) - gammaln(t - y + 1)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draw numbers of events."""
        shape = (*sample_shape, *self.batch_shape)
        p = jnp.broadcast_to(jnp.exp(self.link.log_p(self.eta)), shape)
        if not self.aggregated:
            return jax.random.bernoulli(key, p, shape).astype(p.dtype)
        trials = jnp.broadcast_to(self.trials, shape)
        return jax.random.binomial(key, trials, p, shape).astype(p.dtype)

    @property
    def mean(self) -> Array:
        """Expected number of events."""
        return self.trials * jnp.exp(self.link.log_p(self.eta))

    @property
    def variance(self) -> Array:
        """Variance of the number of events."""
        log_p, log_q = self.link.pair(self.eta)
        return self.trials * jnp.exp(log_p + log_q)


@dataclass(frozen=True)
class Family:
    """What y is, given eta.

    Attributes
    ----------
    name : str
        ``"bernoulli"`` or ``"gaussian"``.
    has_sigma : bool
        Whether there is a residual standard deviation.
    links : tuple of str or None
        The links that make sense; None for all.
    """

    name: str
    has_sigma: bool = False
    links: tuple[str, ...] | None = None

    def log_prob(
        self, eta: Array, y: Array, trials: Array, link: Link | BoundLink, sigma: Any = None
    ) -> Array:
        """Return log p(y | eta) of each row, without the binomial coefficient.

        Parameters
        ----------
        eta : Array, shape (n,)
            Link scale.
        y, trials : Array, shape (n,)
            Events and trials; never differentiated.
        link : Link or BoundLink
            F.
        sigma : float or Array, optional
            Residual standard deviation (1 if absent), for ``gaussian``.
        """
        eta = as_float(eta)
        if not self.has_sigma:
            return _row_log_prob(link, eta, y, trials)
        scale = jnp.ones_like(eta) if sigma is None else sigma
        standard = (y - eta) / scale
        return -0.5 * standard**2 - jnp.log(scale) - 0.5 * math.log(2 * math.pi)

    def information(
        self, eta: Array, trials: Array, link: Link | BoundLink, sigma: Any = None
    ) -> Array:
        """Return the expected information of each row in eta, t f² / (p q) >= 0.

        At a closed end of a link's domain, where it is infinite, the finite part of
        t (f²/p + f²/q) is returned; outside the domain 0.

        References
        ----------
        McCullagh and Nelder (1989), *Generalized Linear Models*, section 2.5.
        """
        eta = as_float(eta)
        if self.has_sigma:
            return jnp.ones_like(eta) / (1.0 if sigma is None else sigma) ** 2
        log_p, log_q, a, b = link.parts(eta)
        # f²/p and f²/q would be 0 times infinity far out; their sum is -(f/p)(-f/q).
        at_upper, at_lower = jnp.isneginf(log_q) & (b == 0), jnp.isneginf(log_p) & (a == 0)
        end = jnp.where(at_upper, a**2, 0.0) + jnp.where(at_lower, b**2, 0.0)
        return trials * jnp.where(at_upper | at_lower, end, -a * b)

    def outcome_scores(self, eta: Array, link: Link) -> tuple[Array, Array]:
        """Return d log p / d eta and d log(1-p) / d eta, the scores of an event and a non-event."""
        _, _, a, b = link.parts(eta)
        return a, b

    def distribution(
        self,
        eta: Array,
        trials: Array,
        link: Link | BoundLink,
        sigma: Any = None,
        aggregated: bool = False,
    ) -> dist.Distribution:
        """Return the NumPyro distribution of y given eta."""
        if self.has_sigma:
            return dist.Normal(eta, sigma)
        return BinomialLink(eta, trials, link=link, aggregated=aggregated)

    def log_coefficient(self, y: np.ndarray, trials: np.ndarray) -> np.ndarray:
        """Return the log binomial coefficient of each row (NumPy)."""
        from scipy.special import gammaln

        if self.has_sigma:
            return np.zeros(np.shape(y))
        return np.asarray(gammaln(trials + 1) - gammaln(y + 1) - gammaln(trials - y + 1))


FAMILIES: dict[str, Family] = {
    "bernoulli": Family("bernoulli"),
    "gaussian": Family("gaussian", has_sigma=True, links=("identity",)),
}


def get_family(family: str | Family) -> Family:
    """Return a family by its name, or as it is.

    Examples
    --------
    >>> get_family("gaussian").links
    ('identity',)
    """
    if isinstance(family, Family):
        return family
    if isinstance(family, str) and family in FAMILIES:
        return FAMILIES[family]
    raise SpecificationError(
        explain(
            f"unknown family{suggest(family, FAMILIES)}",
            family=family,
            advice="use one of " + ", ".join(FAMILIES),
        )
    )

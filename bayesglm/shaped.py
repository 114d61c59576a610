"""Links some of whose shape is learned: the df of Student's t, and a share of lapses.

    p = lapse / 2 + (1 - lapse) F(eta)

with F Student's t distribution of df degrees of freedom, or the F of any link. Both let a row be
wrong without moving the coefficients: far out log p no longer falls with eta, or only slowly.

References
----------
Liu (2004), "Robit regression: a simple robust alternative to logistic and probit regression";
Copas (1988), "Binary regression models for contaminated data", JRSS B 50 (lapses).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
from jax import Array
from numpyro.distributions import constraints

from bayesglm import student_t_tails
from bayesglm.errors import Finding, SpecificationError, explain
from bayesglm.link import Link, as_float

__all__ = ["SUPPORTS", "BoundLink", "ShapedLink", "with_lapse"]

# What each part of a shape may be.
SUPPORTS: dict[str, Any] = {"df": constraints.positive, "lapse": constraints.unit_interval}
# Beyond it Student's t is the normal distribution, to the last digit.
NORMAL = 1e12


@partial(jax.tree_util.register_dataclass, data_fields=["df", "lapse"], meta_fields=["base"])
@dataclass(frozen=True)
class BoundLink:
    """A shaped link at given values: F again, as the likelihood needs it.

    Attributes
    ----------
    base : Link
        F where df is not learned.
    df, lapse : Array or None
        Degrees of freedom, and the share of lapses; of shapes that broadcast with eta's. None where
        it is not part of the model.
    """

    base: Link
    df: Any = None
    lapse: Any = None

    # As `Link`'s: nothing is known of the logarithms beforehand, and every eta is allowed.
    is_finite = branchless = partial = False
    core = None
    domain = (-float("inf"), float("inf"))

    def pair(self, eta: Any) -> tuple[Array, Array]:
        """Return log p and log(1-p), elementwise."""
        pair = self._pair(as_float(eta))
        if self.lapse is None:
            return pair
        low, high = self._ends(pair[0].dtype)
        return jnp.logaddexp(low, high + pair[0]), jnp.logaddexp(low, high + pair[1])

    def parts(self, eta: Any) -> tuple[Array, Array, Array, Array]:
        """Return log p, log(1-p) and their slopes in eta, elementwise."""
        eta = as_float(eta)
        if self.df is None:
            log_p, log_q, a, b = self.base.parts(eta)
        else:
            log_p, log_q, a, b = student_t_tails.parts(eta, self._df)
        if self.lapse is None:
            return log_p, log_q, a, b
        low, high = self._ends(log_p.dtype)
        p, q = jnp.logaddexp(low, high + log_p), jnp.logaddexp(low, high + log_q)
        # The share of p that is F's, times the slope of log F.
        return p, q, jnp.exp(high + log_p - p) * a, jnp.exp(high + log_q - q) * b

    def inverse(self, eta: Any) -> Array:
        """Return p, elementwise."""
        return jnp.exp(self.pair(eta)[0])

    def log_p(self, eta: Any) -> Array:
        """Return log p, elementwise."""
        return self.pair(eta)[0]

    def log_q(self, eta: Any) -> Array:
        """Return log(1-p), elementwise."""
        return self.pair(eta)[1]

    def curvatures(self, eta: Any) -> tuple[Array, Array]:
        """Return the second derivatives of log p and log(1-p) in eta, elementwise."""
        eta = as_float(eta)
        _, slopes = jax.jvp(lambda e: self.parts(e)[2:], (eta,), (jnp.ones_like(eta),))
        return slopes

    @property
    def _df(self) -> Array:
        return jnp.minimum(self.df, NORMAL)

    def _pair(self, eta: Array) -> tuple[Array, Array]:
        if self.df is None:
            return self.base.pair(eta)
        return student_t_tails.log_pair(eta, self._df)

    def _ends(self, dtype: Any) -> tuple[Array, Array]:
        """Return log(lapse / 2) and log(1 - lapse)."""
        lapse = jnp.asarray(self.lapse, dtype)
        return jnp.log(lapse / 2), jnp.log1p(-lapse)


@dataclass(frozen=True, eq=False, repr=False)
class ShapedLink(Link):
    """A link with a learned shape, before the shape is known: `at` makes it a function of eta.

    Attributes
    ----------
    base : Link
        The same without lapses and at a df in the middle of its prior: what scales of priors and
        starting points are taken from.
    learned : tuple of str
        ``"df"``, ``"lapse"`` or both.

    Examples
    --------
    >>> from bayesglm.links import get_link
    >>> link = get_link("student_t")
    >>> link.learned, round(float(link.at(df=1.0).inverse(1.0)), 4)
    (('df',), 0.75)
    """

    base: Link = field(default=None, kw_only=True)  # type: ignore[assignment]
    learned: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Take over what the base says of itself; what depends on the shape refuses."""
        put = partial(object.__setattr__, self)
        put("domain", self.base.domain)
        put("_key", ("shaped", self.base, self.learned))
        for name in ("log_p", "log_q", "inverse"):
            put(name, _unknown)

    def at(self, **shape: Any) -> BoundLink:
        """Return the link at given values of what is learned."""
        return BoundLink(self.base, **{name: shape[name] for name in self.learned})

    @property
    def label(self) -> str:
        """The name of the link with what is learned besides."""
        name = "student_t" if "df" in self.learned else self.base.label
        return f"{name} with lapses" if "lapse" in self.learned else name

    @property
    def builtin(self) -> bool:
        """Whether the link belongs to the package."""
        return self.base.builtin

    @property
    def is_finite(self) -> bool:
        """Whether its logarithms are known to be finite: not before its shape is."""
        return False

    branchless = is_finite

    def eta(self, p: Any) -> Any:
        """Return the base's eta at which p is reached."""
        return self.base.eta(p)

    @property
    def half(self) -> float:
        """The eta at which p = 1/2."""
        return self.base.half

    @property
    def density_half(self) -> float:
        """The slope of the base's p in eta where p = 1/2."""
        return self.base.density_half

    def findings(self) -> tuple[Finding, ...]:
        """Return what a reader must know of a base that is not the package's own."""
        return self.base.findings()

    def pair(self, eta: Any) -> tuple[Array, Array]:
        """Refuse: F is known at a shape only."""
        _unknown(eta)

    def parts(self, eta: Any) -> tuple[Array, Array, Array, Array]:
        """Refuse: F is known at a shape only."""
        _unknown(eta)

    def curvatures(self, eta: Any) -> tuple[Array, Array]:
        """Refuse: F is known at a shape only."""
        _unknown(eta)


def _unknown(eta: Any) -> NoReturn:
    raise SpecificationError(
        explain(
            "the shape of this link is learned, and must be known before p is",
            eta_shape=jnp.shape(eta),
            advice="use link.at(df=..., lapse=...)",
        )
    )


jax.tree_util.register_static(Link)
jax.tree_util.register_static(ShapedLink)


def with_lapse(link: Link) -> ShapedLink:
    """Return a link with a learned share of lapses.

    Raises
    ------
    SpecificationError
        If the link is not defined for every eta.
    """
    if link.partial:
        raise SpecificationError(
            explain(
                "lapses are not available under a link with a bounded domain",
                link=link.label,
                advice='use link="logit", "probit" or "cloglog"',
            )
        )
    if isinstance(link, ShapedLink):
        return ShapedLink(link.name, base=link.base, learned=(*link.learned, "lapse"))
    return ShapedLink(link.name, base=link, learned=("lapse",))

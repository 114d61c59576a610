"""What a link is: how eta becomes a probability, as log p and log(1-p) on the eta scale."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bayesglm import link_functions as functions
from bayesglm import link_quantiles as quantiles
from bayesglm.errors import Finding, SpecificationError, explain
from bayesglm.precision import in_double

__all__ = ["Core", "Function", "Link", "as_float"]

type Function = Callable[[Any], Array]
type Core = Callable[[Array], functions.Parts]


@dataclass(frozen=True, eq=False, repr=False)
class Link:
    """A link: the distribution function F with p = F(eta), by its logarithms.

    Parameters
    ----------
    name : str
        Its name.
    log_p, log_q : callable, optional
        log F(eta) and log(1 - F(eta)), written with ``jax.numpy``, stable in both tails.
    inverse : callable, optional
        F itself. Alone it is enough, but the logarithms then end where double precision does;
        `findings` says at which eta.
    domain : tuple of float
        Smallest and largest eta (closed); outside, both logarithms are -inf.
    parameters : tuple of (str, float)
        Parameters by name, shown with the name; part of the link's identity.
    quantile : callable, optional
        F's inverse (probability to eta) in NumPy; without it `eta` searches for the root.
    core, psi_slope : callable, optional
        The package's own links: a function of `link_functions` and its psi'.

    Raises
    ------
    SpecificationError
        If the name is no plain word, or neither both logarithms nor ``inverse`` are given.

    Examples
    --------
    A link of your own, here the logistic distribution again:

    >>> import jax
    >>> mine = Link("mine", log_p=jax.nn.log_sigmoid, log_q=lambda eta: jax.nn.log_sigmoid(-eta))
    >>> float(mine.inverse(0.0)), mine.half, mine.density_half
    (0.5, 0.0, 0.25)
    """

    name: str
    log_p: Function = None  # type: ignore[assignment]  # filled in below
    log_q: Function = None  # type: ignore[assignment]
    inverse: Function = None  # type: ignore[assignment]
    domain: tuple[float, float] = (-np.inf, np.inf)
    parameters: tuple[tuple[str, float], ...] = ()
    quantile: Callable[[Any], Any] | None = None
    core: Core | None = None
    psi_slope: Function | None = None
    inverse_only: bool = field(default=False, init=False)
    _key: tuple[Any, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        """Fill in what follows from what was given."""
        if not re.fullmatch(r"[A-Za-z_]\w*", str(self.name)):
            raise SpecificationError(explain("a link's name must be a plain word", name=self.name))
        log_p: Function | None = self.log_p
        log_q: Function | None = self.log_q
        inverse: Function | None = self.inverse
        put = partial(object.__setattr__, self)
        # What was given, not what is made of it: two links of the same functions are equal, so
        # that compiled programs, of which a link is a static argument, are found again.
        put("_key", (self.name, self.parameters, self.domain, self.builtin, log_p, log_q, inverse))
        if self.core is not None and self.psi_slope is not None:
            put("log_p", partial(_part, self.core, self.psi_slope, 0))
            put("log_q", partial(_part, self.core, self.psi_slope, 1))
            put("inverse", partial(_exp_of, self.log_p))
            return
        if not all(function is None or callable(function) for function in (log_p, log_q, inverse)):
            raise SpecificationError(
                explain("log_p, log_q and inverse must be functions of eta", link=self.name)
            )
        if log_p is None or log_q is None:
            if inverse is None:
                raise SpecificationError(
                    explain(
                        "a link needs both logarithms, or its inverse",
                        link=self.name,
                        advice="give log_p= and log_q=, or inverse=",
                    )
                )
            put("inverse_only", True)
            log_p = log_p or partial(_log_of, inverse, False)
            log_q = log_q or partial(_log_of, inverse, True)
        if self.partial:
            log_p = partial(_inside, log_p, self.domain)
            log_q = partial(_inside, log_q, self.domain)
        put("log_p", log_p)
        put("log_q", log_q)
        put("inverse", inverse or partial(_exp_of, log_p))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Link) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"Link({self.label!r})"

    @property
    def is_finite(self) -> bool:
        """Whether log p, log q and their derivatives are finite for every finite eta."""
        return self.builtin and self.name in ("logit", "cauchit", "student_t")

    @property
    def branchless(self) -> bool:
        """Whether log p and log q are finite and without a choice: XLA sums them 3 times faster."""
        return self.builtin and self.name == "logit"

    @property
    def builtin(self) -> bool:
        """Whether the link belongs to the package."""
        return self.core is not None

    @property
    def partial(self) -> bool:
        """Whether only some eta are allowed."""
        return bool(np.isfinite(self.domain).any())

    @property
    def label(self) -> str:
        """The name with its parameters, as `get_link` takes it."""
        values = ", ".join(f"{name}={_number(value)}" for name, value in self.parameters)
        return f"{self.name}({values})" if values else self.name

    def pair(self, eta: Any) -> tuple[Array, Array]:
        """Return log p and log(1-p), elementwise, sharing what they can."""
        if self.core is not None and self.psi_slope is not None:
            parts = differentiable(self.core, self.psi_slope, as_float(eta))
            return parts.log_p, parts.log_q
        eta = as_float(eta)
        return self.log_p(eta), self.log_q(eta)

    def parts(self, eta: Any) -> tuple[Array, Array, Array, Array]:
        """Return log p, log(1-p) and their slopes in eta, elementwise."""
        eta = as_float(eta)
        if self.core is not None and self.psi_slope is not None:
            return differentiable(self.core, self.psi_slope, eta)[:4]
        (log_p, log_q), (a, b) = jax.jvp(self.pair, (eta,), (jnp.ones_like(eta),))
        return log_p, log_q, a, b

    def curvatures(self, eta: Any) -> tuple[Array, Array]:
        """Return the second derivatives of log p and log(1-p) in eta, elementwise."""
        eta = as_float(eta)
        if self.core is not None and self.psi_slope is not None:
            _, _, a, b, u, v = differentiable(self.core, self.psi_slope, eta)
            return -a * u, -b * v
        _, slopes = jax.jvp(lambda e: self.parts(e)[2:], (eta,), (jnp.ones_like(eta),))
        return slopes

    @in_double
    def eta(self, p: Any) -> Any:
        """Return the eta at which F(eta) = p, in double precision.

        Parameters
        ----------
        p : float or ndarray
            Probabilities.

        Returns
        -------
        float or ndarray
            Link scale; the ends of the domain for 0 and 1.

        Raises
        ------
        SpecificationError
            If a probability is not in [0, 1], or the link never reaches it.
        """
        p = np.asarray(p, dtype=float)
        if not ((p >= 0) & (p <= 1)).all():
            raise SpecificationError(explain("a probability must lie in [0, 1]", p=p.tolist()))
        with np.errstate(divide="ignore"):
            if self.quantile is not None:
                return np.asarray(self.quantile(p), dtype=float)[()]

            def log_odds(eta: np.ndarray) -> np.ndarray:
                log_p, log_q = self.pair(eta)
                return np.asarray(log_p - log_q)

            return quantiles.root(log_odds, p, self.domain, self.name)[()]

    @property
    def half(self) -> float:
        """The eta at which p = 1/2."""
        return _at_half(self)[0]

    @property
    def density_half(self) -> float:
        """The density of F (slope of p in eta) where p = 1/2."""
        return _at_half(self)[1]

    @in_double
    def findings(self) -> tuple[Finding, ...]:
        """Return what a reader must know of a link that is not the package's own.

        Where the precision of an ``inverse`` alone ends (code ``inverse-only``), and whether the
        two functions are at odds with each other (``link-inconsistent``).
        """
        if self.builtin:
            return ()
        found = []
        lower, upper = self.domain
        grid = np.linspace(max(lower, min(upper, 5.0) - 10), min(upper, max(lower, -5.0) + 10), 43)
        # Without the ends, where slopes may be infinite.
        log_p, log_q, a, _ = (np.asarray(part) for part in self.parts(grid[1:-1]))
        gap = float(np.max(np.abs(np.exp(log_p) + np.exp(log_q) - 1)))
        # "not" catches NaN as well.
        if not gap < 1e-6 or not (a >= 0).all():
            found.append(
                Finding(
                    "link-inconsistent",
                    "error",
                    f"The functions of the link {self.label} do not make a distribution: "
                    "p and 1 - p must add up to 1, and p must not fall as eta grows.",
                    value=gap,
                    threshold=1e-6,
                    advice="Correct log_p and log_q.",
                )
            )
        elif self.inverse_only:
            # Taken outside the domain, F may be anything; `ends` stays inside.
            lower, upper = quantiles.ends(
                lambda eta: np.asarray(self.inverse(jnp.asarray(eta))), self.half, self.domain
            )
            found.append(
                Finding(
                    "inverse-only",
                    "note",
                    f"The link {self.label} was given by its inverse alone: in double precision p "
                    f"is 0 below eta = {lower:.4g} and 1 above eta = {upper:.4g}.",
                    value=upper,
                    advice="Give log_p and log_q.",
                )
            )
        return tuple(found)


@lru_cache(maxsize=256)
@in_double
def _at_half(link: Link) -> tuple[float, float]:
    """Return the eta at which p = 1/2, and the slope of p there."""
    half = float(link.eta(0.5))
    log_p, _, a, _ = link.parts(half)
    return half, float(jnp.exp(log_p) * a)


def as_float(eta: Any) -> Array:
    """Return eta as a floating JAX array, its precision kept."""
    eta = jnp.asarray(eta)
    return eta if jnp.issubdtype(eta.dtype, jnp.floating) else eta.astype(float)


# Compiled even where the caller is not: the operations one by one would take seconds at first.
@partial(jax.jit, static_argnums=0)
def _compute(core: Core, eta: Array) -> functions.Parts:
    return core(eta)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def differentiable(core: Core, psi_slope: Function, eta: Array) -> functions.Parts:
    """Return the parts of a built-in link, with derivatives of every order."""
    return _compute(core, eta)


@differentiable.defjvp
def _differentiable_jvp(core: Core, psi_slope: Function, primals: Any, tangents: Any) -> Any:
    (eta,), (moved,) = primals, tangents
    parts = differentiable(core, psi_slope, eta)
    _, _, a, b, u, v = parts
    bent = psi_slope(eta)
    return parts, functions.Parts(
        a * moved,
        b * moved,
        -a * u * moved,
        -b * v * moved,
        (bent - a * u) * moved,
        (bent - b * v) * moved,
    )


def _part(core: Core, psi_slope: Function, index: int, eta: Any) -> Array:
    return differentiable(core, psi_slope, as_float(eta))[index]


def _exp_of(log_p: Function, eta: Any) -> Array:
    return jnp.exp(log_p(as_float(eta)))


def _log_of(inverse: Function, complement: bool, eta: Any) -> Array:
    p = inverse(as_float(eta))
    part = 1 - p if complement else p
    # Masked twice: the slope of log at 0 times the slope of F, 0 there, would be NaN.
    positive = part > 0
    if complement:
        return jnp.where(positive, jnp.log1p(-jnp.where(positive, p, 0.5)), -jnp.inf)
    return jnp.where(positive, jnp.log(jnp.where(positive, p, 0.5)), -jnp.inf)


def _inside(function: Function, domain: tuple[float, float], eta: Any) -> Array:
    eta = as_float(eta)
    lower, upper = domain
    inside = (eta >= lower) & (eta <= upper)
    # Any allowed eta will do in the branch not taken.
    centre = (max(lower, min(upper, 1.0) - 1) + min(upper, max(lower, -1.0) + 1)) / 2
    return jnp.where(inside, function(jnp.where(inside, eta, centre)), -jnp.inf)


def _number(value: float) -> str:
    return f"{int(value)}" if value == int(value) and abs(value) < 1e15 else repr(float(value))

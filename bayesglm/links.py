"""Links: how eta becomes a probability, always as log p and log(1-p) on the eta scale.

>>> get_link("probit").eta(0.975).round(4)
np.float64(1.96)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bayesglm import link_functions as functions
from bayesglm.errors import Finding, SpecificationError, explain, suggest
from bayesglm.precision import in_double

__all__ = ["LINKS", "Link", "get_link", "student_t"]

type Function = Callable[[Array], Array]
ROOT_STEPS = 200


@dataclass(frozen=True, eq=False)
class Link:
    """A link: the distribution function F with p = F(eta), by its logarithms.

    Parameters
    ----------
    name : str
        Its name.
    log_p, log_q : callable, optional
        log F(eta) and log(1 - F(eta)), written with ``jax.numpy``, stable in both tails.
    inverse : callable, optional
        F itself. Alone it is enough, but the logarithms then end where double precision does; the
        fit carries a finding that says at which eta.
    domain : tuple of float
        Smallest and largest eta (closed).

    Examples
    --------
    A link of your own, here the logistic distribution again:

    >>> import jax
    >>> mine = Link("mine", log_p=jax.nn.log_sigmoid, log_q=lambda eta: jax.nn.log_sigmoid(-eta))
    >>> float(mine.inverse(0.0)), mine.half, mine.density_half
    (0.5, 0.0, 0.25)
    """

    name: str
    log_p: Function = field(default=None)  # type: ignore[assignment]
    log_q: Function = field(default=None)  # type: ignore[assignment]
    inverse: Function = field(default=None)  # type: ignore[assignment]
    domain: tuple[float, float] = (-np.inf, np.inf)
    parameters: tuple[tuple[str, float], ...] = ()
    core: Callable[[Array], functions.Parts] | None = None
    psi: Function | None = None
    quantile: Callable[[Any], Any] | None = None
    inverse_only: bool = False

    def __post_init__(self) -> None:
        """Fill in what follows from what was given."""
        if not re.fullmatch(r"[A-Za-z_]\w*", self.name):
            raise SpecificationError(explain("a link's name must be a plain word", name=self.name))
        logs = self.log_p is not None and self.log_q is not None
        if self.core is None and not logs and self.inverse is None:
            raise SpecificationError(
                explain("a link needs log_p and log_q, or inverse", link=self.name)
            )
        put = partial(object.__setattr__, self)
        if self.core is not None:
            put("log_p", partial(_part, self.core, self.psi, 0))
            put("log_q", partial(_part, self.core, self.psi, 1))
            put("inverse", partial(_probability, self.core, self.psi))
        elif not logs:
            put("inverse_only", True)
            put("log_p", partial(_log_of, self.inverse, False))
            put("log_q", partial(_log_of, self.inverse, True))
        elif self.inverse is None:
            put("inverse", partial(_exp_of, self.log_p))

    @property
    def _key(self) -> tuple[Any, ...]:
        own = () if self.builtin else (self.log_p, self.log_q, self.inverse)
        return (self.name, self.parameters, self.domain, *own)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Link) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

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
        values = ", ".join(f"{value:g}" for _, value in self.parameters)
        return f"{self.name}({values})" if values else self.name

    def pair(self, eta: Array) -> tuple[Array, Array]:
        """Return log p and log(1-p), elementwise, sharing what they can."""
        log_p, log_q = self.parts(eta)[:2]
        return log_p, log_q

    def parts(self, eta: Array) -> functions.Parts:
        """Return log p, log(1-p) and their slopes in eta, elementwise."""
        if self.core is not None:
            return self.core(eta)[:4]
        ones = jnp.ones_like(eta)
        log_p, a = jax.jvp(self.log_p, (eta,), (ones,))
        log_q, b = jax.jvp(self.log_q, (eta,), (ones,))
        return log_p, log_q, a, b

    def curvatures(self, eta: Array) -> tuple[Array, Array]:
        """Return the second derivatives of log p and log(1-p) in eta, elementwise."""
        if self.core is None or self.psi is None:
            ones = jnp.ones_like(eta)
            _, slopes = jax.jvp(lambda e: self.parts(e)[2:], (eta,), (ones,))
            return slopes
        _, _, a, b, u, v = self.core(eta)
        return -a * u, -b * v

    @in_double
    def eta(self, p: Any) -> Any:
        """Return the eta at which F(eta) = p, in double precision.

        Parameters
        ----------
        p : float or ndarray
            Probabilities strictly between 0 and 1.

        Returns
        -------
        float or ndarray
            Link scale.
        """
        p = np.asarray(p, dtype=float)
        if self.quantile is not None:
            return self.quantile(p)[()]
        target = np.log(p) - np.log1p(-p)

        def excess(eta: np.ndarray) -> np.ndarray:
            log_p, log_q = self.pair(jnp.asarray(eta))
            return np.asarray(log_p - log_q) - target

        lower = np.full(p.shape, max(self.domain[0], -1e3))
        upper = np.full(p.shape, min(self.domain[1], 1e3))
        for _ in range(ROOT_STEPS):
            middle = (lower + upper) / 2
            low = excess(middle) < 0
            lower, upper = np.where(low, middle, lower), np.where(low, upper, middle)
        return ((lower + upper) / 2)[()]

    @property
    def half(self) -> float:
        """The eta at which p = 1/2."""
        return float(self.eta(0.5))

    @property
    @in_double
    def density_half(self) -> float:
        """The density of F (slope of p in eta) where p = 1/2."""
        log_p, _, a, _ = self.parts(jnp.asarray(self.half))
        return float(jnp.exp(log_p) * a)

    @in_double
    def findings(self) -> tuple[Finding, ...]:
        """Return what a reader must know: for an inverse alone, where its precision ends."""
        if not self.inverse_only:
            return ()
        grid = np.linspace(self.half, min(self.domain[1], self.half + 1e3), 100_001)
        ends = np.asarray(self.inverse(jnp.asarray(grid))) >= 1
        last = float(grid[np.argmax(ends)]) if ends.any() else float(grid[-1])
        return (
            Finding(
                "inverse-only",
                "note",
                f"The link {self.name} was given by its inverse alone: beyond eta = {last:.3g} "
                "1 - p is 0 in double precision.",
                value=last,
                advice="Give log_p and log_q.",
            ),
        )


type Core = Callable[[Array], functions.Parts]


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _differentiable(core: Core, psi: Function, eta: Array) -> functions.Parts:
    return core(eta)


@_differentiable.defjvp
def _differentiable_jvp(core: Core, psi: Function, primals: Any, tangents: Any) -> Any:
    (eta,), (moved,) = primals, tangents
    parts = _differentiable(core, psi, eta)
    _, _, a, b, u, v = parts
    c = psi(eta)
    return parts, functions.Parts(
        a * moved, b * moved, -a * u * moved, -b * v * moved, (c - a * u) * moved, (c - b * v) * moved
    )


def _part(core: Core, psi: Function, index: int, eta: Any) -> Array:
    eta = jnp.asarray(eta)
    number = jnp.result_type(eta, float) if eta.dtype.kind != "f" else eta.dtype
    return _differentiable(core, psi, eta.astype(number))[index]


def _probability(core: Core, psi: Function, eta: Any) -> Array:
    return jnp.exp(_part(core, psi, 0, eta))


def _exp_of(log_p: Function, eta: Any) -> Array:
    return jnp.exp(log_p(jnp.asarray(eta)))


def _log_of(inverse: Function, complement: bool, eta: Array) -> Array:
    p = inverse(eta)
    return jnp.log1p(-p) if complement else jnp.log(p)


def _probit_quantile(p: Any) -> Any:
    from scipy.special import ndtri

    return ndtri(p)


def _logit_quantile(p: Any) -> Any:
    return np.log(p) - np.log1p(-p)


def _cloglog_quantile(p: Any) -> Any:
    return np.log(-np.log1p(-p))


def _loglog_quantile(p: Any) -> Any:
    return -np.log(-np.log(p))


def _cauchit_quantile(p: Any) -> Any:
    return np.tan(np.pi * (p - 0.5))


def _identity_quantile(p: Any) -> Any:
    return p


def _student_t_quantile(df: float, p: Any) -> Any:
    from scipy.special import stdtrit

    return stdtrit(df, p)


def student_t(df: float) -> Link:
    """Return the robit link: F is Student's t distribution with ``df`` degrees of freedom.

    References
    ----------
    Liu (2004), "Robit regression"; df = 7 is close to logit up to scale, large df is probit.

    Examples
    --------
    >>> student_t(4).label, student_t(4) == student_t(4.0)
    ('student_t(4)', True)
    """
    if not (isinstance(df, (int, float, np.number)) and np.isfinite(df) and df > 0):
        raise SpecificationError(explain("df must be a positive number", df=df))
    df = float(df)
    return Link(
        "student_t",
        parameters=(("df", df),),
        core=partial(functions.student_t, df=df),
        psi=partial(functions.student_t_psi_slope, df=df),
        quantile=partial(_student_t_quantile, df),
    )


LINKS: dict[str, Link] = {
    "logit": Link("logit", core=functions.logit, psi=functions.logit_psi_slope, quantile=_logit_quantile),
    "probit": Link(
        "probit", core=functions.probit, psi=functions.probit_psi_slope, quantile=_probit_quantile
    ),
    "cloglog": Link(
        "cloglog", core=functions.cloglog, psi=functions.cloglog_psi_slope, quantile=_cloglog_quantile
    ),
    "loglog": Link(
        "loglog", core=functions.loglog, psi=functions.loglog_psi_slope, quantile=_loglog_quantile
    ),
    "cauchit": Link(
        "cauchit", core=functions.cauchit, psi=functions.cauchit_psi_slope, quantile=_cauchit_quantile
    ),
    "log": Link(
        "log",
        core=functions.log,
        psi=functions.zero_psi_slope,
        quantile=np.log,
        domain=(-np.inf, 0.0),
    ),
    "identity": Link(
        "identity",
        core=functions.identity,
        psi=functions.zero_psi_slope,
        quantile=_identity_quantile,
        domain=(0.0, 1.0),
    ),
    "student_t": student_t(4.0),
}


def get_link(link: str | Link) -> Link:
    """Return a link by its name, or as it is.

    Parameters
    ----------
    link : str or Link
        A name of ``LINKS``, ``"student_t(7)"``, or a link.

    Raises
    ------
    SpecificationError
        For an unknown name.

    Examples
    --------
    >>> get_link("student_t(7)").parameters
    (('df', 7.0),)
    """
    if isinstance(link, Link):
        return link
    if isinstance(link, str):
        shaped = re.fullmatch(r"student_t\(\s*(?:df\s*=\s*)?([0-9.eE+-]+)\s*\)", link.strip())
        if shaped:
            try:
                return student_t(float(shaped[1]))
            except ValueError as error:
                raise SpecificationError(explain("df must be a number", link=link)) from error
        if link in LINKS:
            return LINKS[link]
    raise SpecificationError(
        explain(
            f"unknown link.{suggest(link, LINKS)}",
            link=link,
            advice=f"use one of {', '.join(LINKS)}, or a Link",
        )
    )

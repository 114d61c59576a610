"""The priors of a model in numbers: one distribution for each term, and what they imply for p.

The prior of the intercept speaks of the centred predictors, so of the baseline probability.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpyro.distributions as dist

from bayesglm.merging import sliceable
from bayesglm.precision import scope
from bayesglm.shaped import ShapedLink

if TYPE_CHECKING:
    import pandas as pd

    from bayesglm.group_priors import GroupPrior
    from bayesglm.link import Link
    from bayesglm.shaped import BoundLink

__all__ = ["Baseline", "ColumnFacts", "Priors", "describe"]

type Distribution = dist.Distribution

# Draws and rows behind the implied quantiles of p.
DRAWS, ROWS = 4_000, 500
SHOWN = (0.05, 0.5, 0.95)
# How the ends of a truncated distribution are said.
ENDS = (("from", "low"), ("to", "high"))
# Batches of draws among which enough possible ones are looked for, under a link with a domain.
BATCHES = 100


@dataclass(frozen=True)
class ColumnFacts:
    """What a prior needs to know of a column of the matrix.

    Attributes
    ----------
    term : str
        Name of the column.
    variables : tuple of str
        Columns of the data it is made of.
    kind : str
        ``"numeric"``, ``"binary"`` (two values) or ``"constant"``.
    categorical : bool
        Whether it comes from factors alone.
    mean, sd : float
        Weighted by weights times trials (divisor n).
    minimum, maximum : float
    mean_rows, sd_rows : float
        Over rows, unweighted (divisor n - 1).
    """

    term: str
    variables: tuple[str, ...]
    kind: str
    categorical: bool
    mean: float
    sd: float
    minimum: float
    maximum: float
    mean_rows: float
    sd_rows: float


@dataclass(frozen=True)
class Baseline:
    """What a prior needs to know of the rows: their number, mean offset, and the outcome.

    ``y_sd`` is weighted by weights times trials (divisor n); ``y_mean_rows`` and ``y_sd_rows`` are
    unweighted (divisor n - 1), as other software has them.
    """

    rows: int
    offset_mean: float
    y_sd: float
    y_mean_rows: float
    y_sd_rows: float


@dataclass(frozen=True)
class Priors:
    """The priors of a model, in numbers.

    Attributes
    ----------
    name : str
        The preset, or ``"custom"``.
    terms : tuple of str
        Coefficients, without the intercept.
    has_intercept : bool
    intercept : Distribution or None
        Of the intercept on centred predictors (link scale); None is flat.
    beta : tuple of Distribution or None
        One for each term (link scale); None is flat.
    sigma : Distribution or None
        Of the residual standard deviation.
    center : ndarray, shape (p,)
        What is subtracted from the columns.
    offset_center : float
        What is subtracted from the offset (link scale).
    link : Link
    gaussian : bool
    rows : tuple or None
        Matrix and offset of the rows for which the implied p is shown.
    networks : tuple of (str, Distribution)
        Of the weights of networks, by site.
    groups : tuple of GroupPrior
        Of how groups vary, one for each factor.
    shape : tuple of (str, Distribution)
        Of what is learned of the link's shape.
    sampler : callable or None
        With networks or groups: prior draws of eta for some rows, shape (draws, rows), by number and seed.
    """

    name: str
    terms: tuple[str, ...]
    has_intercept: bool
    intercept: Distribution | None
    beta: tuple[Distribution | None, ...]
    sigma: Distribution | None
    center: np.ndarray
    offset_center: float
    link: Link
    gaussian: bool = False
    rows: Any = None
    networks: tuple[tuple[str, Distribution], ...] = ()
    groups: tuple[GroupPrior, ...] = ()
    shape: tuple[tuple[str, Distribution], ...] = ()
    sampler: Any = None

    @property
    def is_flat(self) -> bool:
        """Whether every population-level prior is flat."""
        return all(b is None for b in self.beta) and self.intercept is None

    @property
    def _named(self) -> list[tuple[str, Distribution | None]]:
        head = [("Intercept (centred)", self.intercept)] if self.has_intercept else []
        tail = [("sigma", self.sigma)] if self.gaussian else []
        varying = [named for group in self.groups for named in group.named]
        beta = zip(self.terms, self.beta, strict=True)
        return [*head, *beta, *self.networks, *varying, *self.shape, *tail]

    def table(self) -> pd.DataFrame:
        """Return one row for each parameter: distribution, location, scale, central 95 %.

        Returns
        -------
        DataFrame
            Indexed by term; the last two columns on the link scale.
        """
        import pandas as pd

        rows = []
        for term, prior in self._named:
            lower, upper = _central(prior)
            rows.append(
                {
                    "term": term,
                    "distribution": describe(prior),
                    "location": float(getattr(prior, "loc", np.nan)),
                    "scale": float(getattr(prior, "scale", np.nan)),
                    "lower": lower,
                    "upper": upper,
                }
            )
        return pd.DataFrame(rows).set_index("term")

    def without(self, names: Collection[str]) -> Priors:
        """Return the same priors without those of some terms."""
        kept = [j for j, term in enumerate(self.terms) if term not in names]
        return replace(
            self,
            terms=tuple(self.terms[j] for j in kept),
            beta=tuple(self.beta[j] for j in kept),
            center=np.asarray(self.center)[kept],
            rows=None,
        )

    def with_rows(self, matrix: Any, offset: np.ndarray, live: Any = None) -> Priors:
        """Return the same priors, able to say what they imply for p on these rows.

        Parameters
        ----------
        matrix : ndarray or scipy sparse array, shape (n, p)
        offset : ndarray, shape (n,)
        live : ndarray of bool, shape (n,), optional
            Rows that count (weight > 0); all if absent.
        """
        matrix = sliceable(matrix)
        if live is not None and not live.all():
            matrix, offset = matrix[live], offset[live]
        return replace(self, rows=(matrix, offset))

    def implied_quantiles(self, draws: int = DRAWS, seed: int = 0) -> tuple[float, ...]:
        """Return the 5, 50 and 95 % quantiles of p over prior draws and rows.

        The links ``log`` and ``identity`` truncate the prior to the coefficients that give every
        row a possible probability, as the likelihood does. Empty where a prior is flat, where the
        rows are not known, and where hardly any draw is possible.

        Parameters
        ----------
        draws : int
            Number of draws.
        seed : int
            Fixes them.
        """
        if self.rows is None or not self._proper:
            return ()
        eta = self._draw_eta(draws, seed) if self.sampler is None else self.sampler(draws, seed)
        if self.sampler is not None and self.link.partial and not self.gaussian:
            eta = eta[self._possible(eta)]
        if not len(eta):
            return ()
        with scope("float64"):
            link = self._link(len(eta), seed)
            p = eta if self.gaussian else np.asarray(link.inverse(eta))
        return tuple(float(q) for q in np.quantile(p, SHOWN))

    @property
    def _proper(self) -> bool:
        return all(prior is not None for _, prior in self._named)

    def _draw_eta(self, draws: int, seed: int) -> np.ndarray:
        """Return eta of some rows, shape (draws, rows); under a partial link only possible draws."""
        matrix, offset = self.rows
        offset = offset - self.offset_center
        chosen = np.unique(np.linspace(0, len(offset) - 1, min(ROWS, len(offset))).astype(int))
        shown = matrix[chosen] if isinstance(matrix, np.ndarray) else matrix[chosen].toarray()
        generator = np.random.default_rng(seed)
        if self.gaussian or not self.link.partial:
            theta = self._sample(draws, int(generator.integers(2**31)))
            return self._eta(theta, shown, offset[chosen])
        kept: list[np.ndarray] = []
        for _ in range(BATCHES):
            theta = self._sample(draws, int(generator.integers(2**31)))
            # The few rows first: most impossible draws fall here.
            theta = theta[self._possible(self._eta(theta, shown, offset[chosen]))]
            theta = theta[self._possible(self._eta(theta, matrix, offset))]
            kept.append(self._eta(theta, shown, offset[chosen]))
            if sum(map(len, kept)) >= draws:
                break
        return np.concatenate(kept)[:draws]

    def _sample(self, draws: int, seed: int) -> np.ndarray:
        """Draw the centred intercept (0 without one) and the coefficients, shape (draws, 1 + p)."""
        import jax

        theta = np.zeros((draws, 1 + len(self.terms)))
        with scope("float64"):
            keys = jax.random.split(jax.random.key(seed), theta.shape[1])
            for j, prior in enumerate((self.intercept, *self.beta)):
                if prior is not None:
                    theta[:, j] = np.asarray(prior.sample(keys[j], (draws,)))
        return theta

    def _link(self, draws: int, seed: int) -> Link | BoundLink:
        """Return F, at as many draws of its shape if that is learned."""
        import jax

        if not isinstance(self.link, ShapedLink):
            return self.link
        keys = jax.random.split(jax.random.key(seed + 1), len(self.shape))
        drawn = {
            name: prior.sample(key, (draws, 1))
            for key, (name, prior) in zip(keys, self.shape, strict=True)
        }
        return self.link.at(**drawn)

    def _eta(self, theta: np.ndarray, matrix: Any, offset: np.ndarray) -> np.ndarray:
        base = theta[:, 0] - theta[:, 1:] @ self.center
        return np.asarray((matrix @ theta[:, 1:].T).T) + base[:, None] + offset

    def _possible(self, eta: np.ndarray) -> np.ndarray:
        lower, upper = self.link.domain
        return np.asarray(((eta >= lower) & (eta <= upper)).all(axis=1))

    def __repr__(self) -> str:
        """Return the table as text, with what it implies for p."""
        shown = [(term, describe(prior)) for term, prior in self._named]
        shown += [(f"cor_{g.name}", g.told) for g in self.groups if g.correlated]
        width = max((len(term) for term, _ in shown), default=4) + 2
        lines = [f'prior "{self.name}", link {self.link.label}']
        lines += [f"  {term:<{width}}{text}" for term, text in shown]
        return "\n".join([*lines, self._implication()])

    def _implication(self) -> str:
        if not self._proper:
            return "a flat prior implies no distribution of p"
        if self.rows is None:
            return "what it implies for p cannot be said without the data"
        quantiles = self.implied_quantiles()
        if not quantiles:
            return "hardly any draw gives every row a possible p; use narrower priors"
        low, middle, high = quantiles
        what = "the mean of y" if self.gaussian else "p"
        return f"implied 5, 50, 95 % quantiles of {what}: {low:.3f}, {middle:.3f}, {high:.3f}"

    def _repr_html_(self) -> str:
        from html import escape

        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(term)}</th><td>{escape(describe(p))}</td></tr>"
            for term, p in self._named
        )
        title = escape(f'prior "{self.name}", link {self.link.label}')
        return f"<p>{title}</p><table>{rows}</table><p>{escape(self._implication())}</p>"


def describe(prior: Distribution | None) -> str:
    """Return a distribution in numbers.

    Examples
    --------
    >>> describe(dist.Normal(0.0, 2.5)), describe(None)
    ('Normal(0, 2.5)', 'flat')
    """
    if prior is None:
        return "flat"
    name, base = type(prior).__name__, getattr(prior, "base_dist", None)
    # LogNormal and others are made of a base themselves; what they have in numbers comes first.
    words = [w for w in inspect.signature(type(prior).__init__).parameters if w != "validate_args"]
    numbers = {w: float(getattr(prior, w)) for w in words if _is_number(getattr(prior, w, None))}
    if isinstance(prior, dist.FoldedDistribution) and isinstance(base, dist.StudentT):
        return "Half" + describe(base)
    if base is not None and set(numbers) & {"low", "high"}:
        ends = [f"{word} {numbers[end]:.4g}" for word, end in ENDS if end in numbers]
        return " ".join([describe(base), *ends])
    inside = [f"{number:.4g}" for number in numbers.values()]
    if not inside and isinstance(base, dist.Distribution):
        inside = [describe(base)]
    return f"{name}({', '.join(inside)})"


def _is_number(value: Any) -> bool:
    number = isinstance(value, (int, float)) or hasattr(value, "dtype")
    return number and np.ndim(value) == 0


def _central(prior: Distribution | None) -> tuple[float, float]:
    """Return the 2.5 and 97.5 % quantiles; NaN where nobody knows them."""
    if prior is None:
        return -np.inf, np.inf
    try:
        with scope("float64"):
            return float(prior.icdf(0.025)), float(prior.icdf(0.975))
    except (NotImplementedError, ImportError):
        # NumPyro asks for another package for these; SciPy has them.
        same = _in_scipy(prior)
        return (np.nan, np.nan) if same is None else (float(same(0.025)), float(same(0.975)))


def _in_scipy(prior: Distribution) -> Callable[[float], Any] | None:
    """Return the quantile function of a distribution whose NumPyro has none."""
    from scipy import stats

    match prior:
        case dist.StudentT():
            return stats.t(float(prior.df), float(prior.loc), float(prior.scale)).ppf
        case dist.FoldedDistribution(base_dist=dist.StudentT() as base) if float(base.loc) == 0:
            whole = stats.t(float(base.df), 0.0, float(base.scale))
            return lambda q: whole.ppf((1 + q) / 2)
        case dist.Beta():
            return stats.beta(float(prior.concentration1), float(prior.concentration0)).ppf
        case dist.Gamma():
            return stats.gamma(float(prior.concentration), scale=1 / float(prior.rate)).ppf
        case dist.InverseGamma():
            return stats.invgamma(float(prior.concentration), scale=float(prior.rate)).ppf
    return None

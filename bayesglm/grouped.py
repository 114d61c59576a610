"""Group-level effects as a predictor: sums over codes, never a matrix of indicators.

    eta_i += a_i' u_g(i),   u_g = L z_g,   z_g ~ Normal(0, 1),   L L' = the covariance of u

with L = diag(sd) times the Cholesky factor of the correlations, block by block. This is the
non-centred form (Betancourt & Girolami 2015, "Hamiltonian Monte Carlo for hierarchical models").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro.distributions import constraints

from bayesglm.predictors import Site

if TYPE_CHECKING:
    from bayesglm.group_priors import GroupPrior
    from bayesglm.grouping import Grouping, GroupRows
    from bayesglm.smoothing import Smooth

__all__ = ["Grouped", "GroupedPart", "bind_groups"]


class GroupedPart(NamedTuple):
    """The arrays of a `Grouped` predictor.

    ``matrix`` (n, q) multiplies the effects, ``codes`` (n,) are the groups; ``sd`` is the prior of
    the standard deviations, ``correlations`` one LKJ prior for each block that has them.
    """

    matrix: Array
    codes: Array
    sd: dist.Distribution
    correlations: tuple[dist.Distribution, ...]

    def rows(self, index: Array) -> GroupedPart:
        """Return the part of some rows."""
        return self._replace(matrix=self.matrix[index], codes=self.codes[index])


@dataclass(frozen=True)
class Grouped:
    """The effects of one factor.

    Parameters
    ----------
    name : str
        The factor; its effects are the variable of that name, their standard deviations
        ``sd_<name>``, their correlations ``cor_<name>``.
    levels : int
        Number of groups.
    blocks : tuple of int
        Effects that are correlated within; independent between.
    first : int
        Where the unknowns begin in the flat vector: sd, correlations, effects.
    tied : bool
        Whether all effects have one standard deviation.
    """

    name: str
    levels: int
    blocks: tuple[int, ...]
    first: int
    tied: bool = False

    @property
    def width(self) -> int:
        """Effects of each group."""
        return sum(self.blocks)

    @property
    def sds(self) -> int:
        """Number of standard deviations."""
        return 1 if self.tied else self.width

    @property
    def correlated(self) -> tuple[int, ...]:
        """Sizes of the blocks that have correlations."""
        return tuple(size for size in self.blocks if size > 1) if not self.tied else ()

    @property
    def shape_size(self) -> int:
        """Number of unknowns that say how effects vary: standard deviations, correlations."""
        return self.sds + sum(size * (size - 1) // 2 for size in self.correlated)

    @property
    def effects_at(self) -> int:
        """Where the effects begin in the flat vector."""
        return self.first + self.shape_size

    @property
    def size(self) -> int:
        """Number of unknowns."""
        return self.shape_size + self.levels * self.width

    def _factor_name(self, k: int) -> str:
        return f"chol_{self.name}" + (f"_{k}" if len(self.correlated) > 1 else "")

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites and their places in the flat vector."""
        at = self.first + self.sds
        found = [Site(f"sd_{self.name}", range(self.first, at), (self.sds,))]
        for k, size in enumerate(self.correlated):
            number = size * (size - 1) // 2
            found.append(Site(self._factor_name(k), range(at, at + number), (number,)))
            at += number
        places = range(at, at + self.levels * self.width)
        return (*found, Site(f"z_{self.name}", places, (self.levels, self.width)))

    def factor(self, sd: Array, correlations: Sequence[Array]) -> Array:
        """Return L from standard deviations and Cholesky factors of correlations, shape (q, q)."""
        if self.tied:
            return sd[0] * jnp.eye(self.width, dtype=sd.dtype)
        whole = jnp.zeros((self.width, self.width), sd.dtype)
        at, given = 0, iter(correlations)
        for size in self.blocks:
            block = next(given) if size > 1 else jnp.ones((1, 1), sd.dtype)
            whole = whole.at[at : at + size, at : at + size].set(block)
            at += size
        return sd[:, None] * whole

    def eta(self, part: GroupedPart) -> Array:
        """Declare the sites and return the (n,) share of eta, on the link scale."""
        sd = numpyro.sample(f"sd_{self.name}", part.sd)
        found = [
            numpyro.sample(self._factor_name(k), prior) for k, prior in enumerate(part.correlations)
        ]
        factor = self.factor(sd, found)
        if found:
            units = factor / sd[:, None]
            numpyro.deterministic(f"cor_{self.name}", units @ units.T)
        shape = (self.levels, self.width)
        z = numpyro.sample(
            f"z_{self.name}", dist.Normal(jnp.zeros(shape, sd.dtype), 1.0).to_event(2)
        )
        effects = numpyro.deterministic(self.name, z @ factor.T)
        return jnp.sum(part.matrix * effects[part.codes], axis=1)


def bind_groups(
    group: Grouping | Smooth,
    rows: GroupRows,
    prior: GroupPrior,
    *,
    first: int,
    flat: bool,
    number: type[np.floating],
) -> tuple[Grouped, GroupedPart]:
    """Give a factor its rows: return the predictor and its arrays.

    Parameters
    ----------
    group : Grouping or Smooth
    rows : GroupRows
        Codes and what multiplies the effects, one for each row of the target.
    prior : GroupPrior
    first : int
        Where its unknowns begin in the flat vector.
    flat : bool
        Leave out the priors of standard deviations and correlations (maximum likelihood).
    number : type
        Precision of every array.
    """
    predictor = Grouped(group.name, group.count, group.blocks, first, group.tied)
    concentration = 1.0 if flat else prior.concentration
    correlations = tuple(dist.LKJCholesky(m, concentration) for m in predictor.correlated)
    if flat or any(each is None for each in prior.sd):
        sd: dist.Distribution = dist.ImproperUniform(constraints.positive, (), (predictor.sds,))
    else:
        sd = _together(prior.sd, number)
    arrays = rows.matrix.astype(number), rows.codes.astype(np.int32)
    return predictor, GroupedPart(*arrays, sd, correlations)  # type: ignore[arg-type]


def _together(priors: Sequence[dist.Distribution], number: type[np.floating]) -> dist.Distribution:
    """Batch the priors of the standard deviations into one distribution."""
    bases = [getattr(prior, "base_dist", None) for prior in priors]
    halves = all(
        isinstance(prior, dist.FoldedDistribution) and isinstance(base, dist.StudentT)
        for prior, base in zip(priors, bases, strict=True)
    )
    if not halves:
        return priors[0].expand((len(priors),)).to_event(1)
    numbers = (
        np.array([float(getattr(base, word)) for base in bases], number)
        for word in ("df", "loc", "scale")
    )
    return dist.FoldedDistribution(dist.StudentT(*numbers)).to_event(1)

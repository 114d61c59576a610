"""Priors of how groups vary: half-Student-t on standard deviations, LKJ on correlations.

By default a standard deviation is half-Student-t(3, 0, 1.5 k / size of the column), the same scale
that `weak` gives to coefficients, and correlations are LKJ(2) (Lewandowski, Kurowicka & Joe 2009).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpyro.distributions as dist
from numpyro.distributions import constraints

from bayesglm.errors import SpecificationError, explain

if TYPE_CHECKING:
    from bayesglm.grouping import Grouping
    from bayesglm.link import Link
    from bayesglm.smoothing import Smooth

__all__ = ["GroupPrior", "resolve_groups"]

DF, WIDTH, CONCENTRATION = 3.0, 1.5, 2.0


@dataclass(frozen=True)
class GroupPrior:
    """The priors of one factor.

    Attributes
    ----------
    name : str
        The factor.
    terms : tuple of str
        Its effects.
    sd : tuple of Distribution or None
        Of their standard deviations (link scale); None is flat.
    concentration : float
        Of the LKJ prior of their correlations; 1 is uniform.
    correlated : bool
        Whether there are correlations.
    tied : bool
        Whether the effects have one standard deviation, as those of a smooth term.
    """

    name: str
    terms: tuple[str, ...]
    sd: tuple[dist.Distribution | None, ...]
    concentration: float
    correlated: bool
    tied: bool = False

    @property
    def told(self) -> str:
        """The prior of the correlations in words."""
        return f"LKJ({self.concentration:.4g})"

    @property
    def named(self) -> list[tuple[str, dist.Distribution | None]]:
        """Each standard deviation's name and prior."""
        if self.tied:
            return [(f"sd_{self.name}", self.sd[0])]
        return [
            (f"sd_{self.name}[{term}]", prior)
            for term, prior in zip(self.terms, self.sd, strict=True)
        ]


def resolve_groups(
    prior: Any, groups: Sequence[Grouping | Smooth], link: Link
) -> tuple[tuple[GroupPrior, ...], Any]:
    """Return the priors of all factors, and what ``prior`` says of everything else.

    Parameters
    ----------
    prior : str or mapping
        As the user gave it; ``"sd_<group>"`` and ``"cor_<group>"`` are taken out of a mapping.
    groups : sequence of Grouping or Smooth
    link : Link
        Sets the scale.

    Raises
    ------
    SpecificationError
        For a prior that is no distribution of positive numbers, or of correlations.
    """
    own = dict(prior) if isinstance(prior, Mapping) else {}
    flat = prior == "flat" or own.get("default") == "flat"
    scale = WIDTH * 0.25 / link.density_half
    found = []
    for group in groups:
        sizes = group.scale
        sd = [None if flat else _half_t(scale / float(size)) for size in sizes]
        given = own.pop(f"sd_{group.name}", None)
        if given is not None:
            _refuse_odd(f"sd_{group.name}", given)
            sd = [given] * len(sd)
        correlated = any(block > 1 for block in group.blocks) and not group.tied
        concentration = 1.0 if flat else CONCENTRATION
        lkj = own.pop(f"cor_{group.name}", None)
        if lkj is not None:
            concentration = _concentration(f"cor_{group.name}", lkj, correlated)
        found.append(
            GroupPrior(group.name, group.terms, tuple(sd), concentration, correlated, group.tied)
        )
    return tuple(found), (own if isinstance(prior, Mapping) else prior)


def _half_t(scale: float) -> dist.Distribution:
    return dist.FoldedDistribution(dist.StudentT(DF, 0.0, scale))


def _refuse_odd(key: str, given: Any) -> None:
    scalar = isinstance(given, dist.Distribution) and not (given.batch_shape or given.event_shape)
    positive = scalar and given.support in (constraints.positive, constraints.nonnegative)
    if not positive:
        raise SpecificationError(
            explain(
                f"the prior of {key!r} must be a scalar distribution of positive numbers",
                prior=type(given).__name__,
                advice="use HalfNormal(1) or another of numpyro.distributions",
            )
        )


def _concentration(key: str, given: Any, correlated: bool) -> float:
    if not correlated:
        raise SpecificationError(
            explain(f"there are no correlations for the prior {key!r}", advice="leave it out")
        )
    if not isinstance(given, (dist.LKJ, dist.LKJCholesky)):
        raise SpecificationError(
            explain(
                f"the prior of {key!r} must be an LKJ distribution",
                prior=type(given).__name__,
                advice="use numpyro.distributions.LKJ(dimension, concentration)",
            )
        )
    return float(given.concentration)

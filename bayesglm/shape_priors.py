"""Priors of what is learned of a link's shape: df and the share of lapses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpyro.distributions as dist

from bayesglm.errors import SpecificationError, explain

__all__ = ["DEFAULTS", "resolve_shape"]

# df: between 2.4 and 56 with probability 95 % (Juárez & Steel 2010, J. Business & Economic
# Statistics 28). Lapses: a tenth on average, below a third with probability 97 %.
# Made when asked for: a distribution starts JAX, which an import must not.
DEFAULTS: dict[str, Callable[[], dist.Distribution]] = {
    "df": lambda: dist.Gamma(2.0, 0.1),
    "lapse": lambda: dist.Beta(1.0, 9.0),
}
# What each may be.
RANGES = {"df": (0.0, np.inf), "lapse": (0.0, 1.0)}


def resolve_shape(
    prior: Any, learned: Sequence[str]
) -> tuple[tuple[tuple[str, dist.Distribution], ...], Any]:
    """Return the priors of a link's shape by name, and what ``prior`` says of everything else.

    Parameters
    ----------
    prior : str or mapping
        As the user gave it; ``"df"`` and ``"lapse"`` are taken out of a mapping.
    learned : sequence of str
        What is learned of the shape.

    Raises
    ------
    SpecificationError
        For a prior that is no continuous distribution of such numbers.

    Examples
    --------
    >>> (name, prior), = resolve_shape("weak", ["lapse"])[0]
    >>> name, round(float(prior.mean), 6)
    ('lapse', 0.1)
    """
    own = dict(prior) if isinstance(prior, Mapping) else {}
    found = []
    for name in learned:
        given = own.pop(name, None)
        if given is not None:
            _refuse_odd(name, given)
        # A flat prior of df would leave the posterior improper: the likelihood ends above 0.
        found.append((name, DEFAULTS[name]() if given is None else given))
    return tuple(found), (own if isinstance(prior, Mapping) else prior)


def _refuse_odd(name: str, given: Any) -> None:
    scalar = isinstance(given, dist.Distribution) and not (given.batch_shape or given.event_shape)
    if scalar and not given.is_discrete:
        lower, upper = RANGES[name]
        low = float(getattr(given.support, "lower_bound", -np.inf))
        high = float(getattr(given.support, "upper_bound", np.inf))
        if lower <= low < high <= upper and not isinstance(given, dist.ImproperUniform):
            return
    what = "positive numbers" if name == "df" else "numbers between 0 and 1"
    raise SpecificationError(
        explain(
            f"the prior of {name!r} must be a continuous distribution of {what}",
            prior=type(given).__name__,
            advice=f"use {'Gamma(2, 0.1)' if name == 'df' else 'Beta(1, 9)'} or another of "
            "numpyro.distributions",
        )
    )

"""The words of a model: frozen, checked once, without data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bayesglm.errors import SpecificationError, explain, suggest
from bayesglm.families import Family, get_family
from bayesglm.links import Link, get_link
from bayesglm.networks import Network
from bayesglm.precision import PRECISIONS

__all__ = ["Spec"]

WEIGHTS_KINDS = ("frequency", "sampling")
MISSING = ("error", "drop")


@dataclass(frozen=True)
class Spec:
    """What a model says, apart from its data.

    Attributes
    ----------
    formula : str or None
        None for a model of arrays.
    family, link : Family, Link
        What y is, and F.
    prior : str or dict
        As given.
    trials, weights, offset : str or None
        Names of columns; an array given by the user is the column ``__trials`` and so on.
    weights_kind : {"frequency", "sampling"}
    event : object
        The value that counts as 1, if given.
    missing : {"error", "drop"}
    center : bool
    precision : {"float64", "float32"}
    add : tuple of Network
        Predictors beside the linear part.
    """

    formula: str | None
    family: Family
    link: Link
    prior: Any = "weak"
    trials: str | None = None
    weights: str | None = None
    offset: str | None = None
    weights_kind: str = "frequency"
    event: Any = None
    missing: str = "error"
    center: bool = True
    precision: str = "float64"
    add: tuple[Network, ...] = ()

    @classmethod
    def make(
        cls, formula: str | None, *, family: Any = "bernoulli", link: Any = None, **words: Any
    ) -> Spec:
        """Check the words and return the specification.

        Parameters
        ----------
        formula : str or None
            The formula.
        family : str or Family
            What y is.
        link : str, Link or None
            None is ``"identity"`` for ``gaussian``, else ``"logit"``.
        **words
            The other attributes.

        Raises
        ------
        SpecificationError
            For a word that is not known.

        Examples
        --------
        >>> Spec.make("y ~ x", link="probit").link.name
        'probit'
        """
        chosen = get_family(family)
        if link is None:
            link = "identity" if chosen.has_sigma else "logit"
        found = get_link(link)
        if chosen.links is not None and found.name not in chosen.links:
            raise SpecificationError(
                explain(
                    f"the {chosen.name} family takes the link {chosen.links[0]} only",
                    link=found.name,
                )
            )
        known = {
            "weights_kind": WEIGHTS_KINDS,
            "missing": MISSING,
            "precision": PRECISIONS,
            "center": (True, False),
        }
        for name, values in known.items():
            if name in words and words[name] not in values:
                raise SpecificationError(
                    explain(
                        f"unknown {name}{suggest(words[name], map(str, values))}",
                        advice="use one of " + ", ".join(map(repr, values)),
                        **{name: words[name]},
                    )
                )
        return cls(formula, chosen, found, **words)

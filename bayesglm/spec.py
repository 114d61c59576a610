"""The words of a model: frozen, checked once, without data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bayesglm.errors import SpecificationError, explain, suggest
from bayesglm.families import Family, get_family
from bayesglm.link import Link
from bayesglm.links import get_link
from bayesglm.networks import Network
from bayesglm.precision import PRECISIONS
from bayesglm.shaped import ShapedLink, with_lapse

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
        cls,
        formula: str | None,
        *,
        family: Any = "bernoulli",
        link: Any = None,
        lapse: bool = False,
        **words: Any,
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
        lapse : bool
            Learn a share of lapses: rows whose outcome is a coin's.
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
        known: dict[str, tuple[Any, ...]] = {
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
        if lapse not in (True, False):
            raise SpecificationError(
                explain("unknown lapse", lapse=lapse, advice="use True or False")
            )
        if lapse and chosen.has_sigma:
            raise SpecificationError(
                explain("lapses are for yes/no outcomes", family=chosen.name, lapse=lapse)
            )
        if lapse:
            found = with_lapse(found)
        made = cls(formula, chosen, found, **words)
        if made.shape and made.add:
            raise SpecificationError(
                explain(
                    "a link with a learned shape is not available beside networks",
                    link=found.label,
                    advice='use a fixed shape, as link="student_t(4)", or leave add= out',
                )
            )
        return made

    @property
    def plain_link(self) -> Link:
        """The link without lapses."""
        if "lapse" not in self.shape or not isinstance(self.link, ShapedLink):
            return self.link
        return get_link("student_t") if "df" in self.shape else self.link.base

    @property
    def shape(self) -> tuple[str, ...]:
        """What is learned of the link's shape: "df", "lapse", both or nothing."""
        return self.link.learned if isinstance(self.link, ShapedLink) else ()

"""Whether the link matters: the same model under several, side by side on the probability scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bayesglm.comparing import compare
from bayesglm.effects.slope import slopes
from bayesglm.errors import SpecificationError, explain
from bayesglm.fitting import fit_model, seed_of
from bayesglm.implied import priors_of
from bayesglm.links import get_link
from bayesglm.shaped import with_lapse

if TYPE_CHECKING:
    import pandas as pd

    from bayesglm.fit import Fit
    from bayesglm.link import Link
    from bayesglm.model import Model
    from bayesglm.spec import Spec

__all__ = ["LinkComparison", "compare_links"]

USUAL = ("logit", "probit", "cloglog", "loglog", "cauchit")


@dataclass(frozen=True)
class LinkComparison:
    """What `compare_links` returns.

    Attributes
    ----------
    fits : dict of str to Fit
        By link.
    table : DataFrame
        As `bayesglm.compare` has it, best first.
    effects : DataFrame
        Average slopes (differences, for factors), probability scale: a row for each, a column for
        each link, and ``spread``, the largest less the smallest in standard errors of the first.
    """

    fits: dict[str, Fit]
    table: pd.DataFrame
    effects: pd.DataFrame

    def __repr__(self) -> str:
        """Return both tables."""
        return (
            "Average effects on the probability scale\n"
            f"{self.effects.to_string(float_format='{:.4f}'.format)}\n\n"
            f"Fit\n{self.table.to_string(float_format='{:.4g}'.format)}"
        )


def _link(link: str | Link, spec: Spec) -> Link:
    """Return a link as the model would have it, with lapses if that has them."""
    found = get_link(link)
    return with_lapse(found) if "lapse" in spec.shape else found


def compare_links(
    model: Model,
    links: Sequence[str] = USUAL,
    *,
    method: str = "mle",
    seed: int = 0,
    progress: bool | None = None,
    **options: Any,
) -> LinkComparison:
    """Fit a model under several links, and lay the effects side by side.

    Coefficients under different links are not comparable; average effects on the probability scale
    are. Where these agree the link does not matter, whatever the criteria say. Priors are those of
    the model's preset under each link.

    Parameters
    ----------
    model : Model
    links : sequence of str
    method : {"mle", "laplace", "nuts", "svi", "auto"}
    seed, progress, **options
        As for `Model.fit`.

    Returns
    -------
    LinkComparison

    Raises
    ------
    SpecificationError
        For less than two links, a gaussian model, or a method that has no score to compare.

    Examples
    --------
    >>> import bayesglm as bg
    >>> model = bg.Model("damage ~ temperature", bg.datasets.challenger())
    >>> found = bg.compare_links(model, ["logit", "probit", "cloglog"])
    >>> found.effects.round(4).reset_index(drop=True)
        logit  probit  cloglog  spread
    0 -0.0329 -0.0337  -0.0323  0.1452
    """
    import pandas as pd

    names = [_link(link, model.spec).label for link in links]
    if len(set(names)) < 2:
        raise SpecificationError(explain("compare_links takes two links or more", links=links))
    if model.spec.family.has_sigma:
        raise SpecificationError(explain("the gaussian family has one link", link="identity"))
    if method == "map":
        raise SpecificationError(
            explain(
                "the mode of a posterior has no score to compare", method=method,
                advice='use method="mle", "laplace" or "nuts"',
            )
        )  # fmt: skip
    fits: dict[str, Fit] = {}
    for name, link in zip(names, links, strict=True):
        spec = replace(model.spec, link=_link(link, model.spec))
        fits[name] = fit_model(
            spec,
            model.design,
            priors_of(spec, model.design),
            method,
            options,
            seed=seed_of(seed),
            progress=progress,
        )
    tables = {name: slopes(fit, by=True) for name, fit in fits.items()}
    first = tables[names[0]]
    index = pd.MultiIndex.from_frame(pd.DataFrame(first[["term", "contrast"]]))
    effects = pd.DataFrame(
        {name: table["estimate"].to_numpy() for name, table in tables.items()}, index=index
    )
    error = first["std_error"].to_numpy()
    effects["spread"] = (effects.max(axis=1) - effects.min(axis=1)) / error
    scored: Mapping[str, Fit] = fits
    return LinkComparison(fits, compare(scored), effects)

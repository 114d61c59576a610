"""What group-level effects leave no room for: methods, options, links, weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bayesglm.errors import InferenceError, SpecificationError, explain

if TYPE_CHECKING:
    from bayesglm.inference.target import Target

__all__ = ["refuse_options"]

METHODS = ("mle", "map", "nuts", "laplace", "auto")
# Options that speak of one optimum of a plain likelihood.
REFUSED = {
    "cov": ("nonrobust",),
    "information": ("expected", "observed"),
    "ci": ("wald",),
    "optimizer": ("newton",),
}
UNKNOWN = (
    *("cluster", "bias_reduction", "init", "steps", "learning_rate", "memory", "tolerance"),
    *("batch_size", "validation", "patience", "starts", "ensemble"),
)


def refuse_options(
    target: Target, method: str, options: Mapping[str, Any], weights_kind: str
) -> None:
    """Refuse what group-level effects leave no room for.

    Raises
    ------
    SpecificationError
    InferenceError
        Where maximum likelihood has more effects than rows.
    """
    link, family = target.structure.link, target.structure.family
    if method not in METHODS:
        raise SpecificationError(
            explain(
                f"{method} is not available with group-level effects",
                method=method,
                advice='use "mle", "map", "laplace", "nuts" or "auto"',
            )
        )
    if weights_kind == "sampling":
        raise SpecificationError(
            explain(
                "group-level effects and sampling weights do not go together: the likelihood of a "
                "group has no weight of its own",
                weights_kind=weights_kind,
                advice='use weights_kind="frequency", or leave the groups out and cluster= by them',
            )
        )
    if family.has_sigma or (link.partial and not family.has_sigma):
        what = "family" if family.has_sigma else "link"
        raise SpecificationError(
            explain(
                f"group-level effects are not available for this {what}",
                advice='use family="bernoulli" with link="logit", "probit" or "cloglog"',
                **{what: family.name if family.has_sigma else link.label},
            )
        )
    if target.networks:
        raise SpecificationError(
            explain(
                "a model has networks or group-level effects, not both",
                networks=[network.name for network, _ in target.networks],
                groups=[group.name for group, _ in target.groups],
            )
        )
    if target.precision != "float64":
        raise SpecificationError(
            explain(
                "group-level effects need double precision",
                precision=target.precision,
                advice='use precision="float64"',
            )
        )
    for group, _ in target.groups:
        number = group.levels * group.width
        if method == "mle" and number > target.effective:
            raise InferenceError(
                explain(
                    f"{group.name} has more effects than rows, so that how much they vary cannot be "
                    "told by the likelihood",
                    effects=number,
                    trials=target.effective,
                    advice='let fewer effects vary, or use a prior: fit("map") or fit("nuts")',
                )
            )
    for name, allowed in REFUSED.items():
        if options.get(name) is not None and options[name] not in allowed:
            raise SpecificationError(
                explain(
                    f"{name} is not available with group-level effects",
                    advice=f"use {name}={allowed[0]!r}",
                    **{name: options[name]},
                )
            )
    for name in UNKNOWN:
        if options.get(name) is not None:
            raise SpecificationError(
                explain(
                    f"{name} is not available with group-level effects",
                    advice="leave it out",
                    **{name: options[name]},
                )
            )

"""Maximum likelihood with its first-order bias reduced: always finite, separated data or not.

* ``"jeffreys"``: the maximum of log likelihood + log det I / 2, I the expected information
* ``"firth"``: the root of the mean-bias-reducing adjusted score; the same under the logit link

`ascent` has the formulas and their sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from bayesglm.errors import Finding, SpecificationError, Status, explain, suggest
from bayesglm.inference.ascent import LIMIT, Reduction, Top, ascend
from bayesglm.inference.newton import Optimum
from bayesglm.inference.starting import start
from bayesglm.precision import scope

if TYPE_CHECKING:
    from bayesglm.inference.target import Target

__all__ = ["check_reduction", "explained", "reduce_bias", "refuse_unsuitable"]

# Options of other optimisers than the one loop that there is.
OTHERS = (
    *("learning_rate", "memory", "tolerance", "batch_size", "validation", "patience", "starts"),
    "ensemble",
)


def check_reduction(options: Mapping[str, Any]) -> None:
    """Refuse an unknown word, and options that do not go with it.

    Raises
    ------
    SpecificationError
        Naming the known words.
    """
    word, known = options.get("bias_reduction"), get_args(Reduction.__value__)
    if word is None:
        return
    if not isinstance(word, str) or word not in known:
        raise SpecificationError(
            explain(
                f"unknown bias_reduction{suggest(word, known)}",
                bias_reduction=word,
                advice="use one of " + ", ".join(known),
            )
        )
    optimizer = options.get("optimizer", "newton")
    if optimizer != "newton":
        raise SpecificationError(
            explain(
                "bias reduction has an iteration of its own",
                optimizer=optimizer if isinstance(optimizer, str) else type(optimizer).__name__,
                advice='use optimizer="newton", or leave it out',
            )
        )
    for name in OTHERS:
        if options.get(name) is not None:
            raise SpecificationError(
                explain(
                    f"{name} has no meaning with bias_reduction",
                    **{name: options[name]},
                    advice="leave it out",
                )
            )


def refuse_unsuitable(target: Target, weights_kind: str) -> None:
    """Refuse models for which the bias of the estimate is another, or is not known.

    Raises
    ------
    SpecificationError
        For networks, the ``gaussian`` family, links with a bounded domain, sampling weights.
    """
    structure = target.structure
    got: dict[str, Any] = {}
    wrong, advice = "", 'leave bias_reduction out, or use fit("map")'
    if target.networks:
        wrong = "bias reduction is for linear models, not for networks"
        got = {"networks": [predictor.name for predictor, _ in target.networks]}
    elif structure.family.has_sigma:
        wrong = "least squares are unbiased: there is no bias to reduce"
        got, advice = {"family": structure.family.name}, "leave bias_reduction out"
    elif structure.link.partial:
        wrong = "bias reduction needs a link that allows every eta"
        got = {"link": structure.link.label}
        advice = 'use another link such as "logit", or fit("map")'
    elif weights_kind == "sampling":
        wrong = (
            "with sampling weights the bias is not that of a likelihood, and the adjustment would "
            "depend on the unit of the weights"
        )
        got = {"weights_kind": weights_kind}
        advice = 'use weights_kind="frequency" if a weight counts rows'
    if wrong:
        raise SpecificationError(explain(wrong, advice=advice, **got))


def reduce_bias(target: Target, options: Mapping[str, Any]) -> tuple[Optimum, dict[str, Any]]:
    """Find the bias-reduced estimate.

    Parameters
    ----------
    target : Target
        With flat priors, and none that `refuse_unsuitable` refuses.
    options : mapping
        ``bias_reduction``, ``init`` and ``steps``.

    Returns
    -------
    optimum : Optimum
        Its history is the mean loss, without the penalty.
    words : dict
        ``bias_reduction``, and the maximum as ``penalised_loglik`` where there is an objective.
    """
    reduction: Reduction = options["bias_reduction"]
    init = options.get("init")
    begin = start(target) if init is None else target.locate(init)
    steps = options.get("steps") or LIMIT
    with scope(target.precision):
        placed = target.placed()
        if reduction == "firth" and init is None and target.structure.link.name != "logit":
            # The adjusted score vanishes at infinity too. Jeffreys' maximum is finite, and near.
            begin = ascend(placed, begin, reduction="jeffreys").flat
        top = ascend(placed, begin, reduction=reduction, steps=steps)
    words: dict[str, Any] = {"bias_reduction": reduction}
    if reduction == "jeffreys":
        words["penalised_loglik"] = top.value + target.log_coefficient
    return _optimum(target, top), words


def explained(words: Mapping[str, Any]) -> Finding:
    """Return what the estimates are, and what ``loglik`` is."""
    if words["bias_reduction"] == "jeffreys":
        return Finding(
            "bias-reduced",
            "note",
            "The estimates maximise the log likelihood plus half the log determinant of the expected "
            f"information ({words['penalised_loglik']:.4f}); loglik is the likelihood alone.",
            value=words["penalised_loglik"],
        )
    return Finding(
        "bias-reduced",
        "note",
        "The estimates are the root of the mean-bias-reducing adjusted score (Kosmidis & Firth "
        "2009); loglik is the likelihood at them, not its maximum.",
    )


def _optimum(target: Target, top: Top) -> Optimum:
    status = Status.CONVERGED if top.converged else Status.STEP_LIMIT
    if not np.isfinite(top.flat).all() or not np.isfinite(top.value):
        status = Status.DIVERGED
    return Optimum(
        flat=top.flat,
        status=status,
        gradient_norm=top.gradient_norm / target.effective,
        steps=top.steps,
        history=-top.history / target.effective,
    )

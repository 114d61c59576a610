"""A model fitted again and again on the same rows with other weights: K folds, bootstrap.

The encoding of the rows (knots, centres, levels) and the numbers of the priors stay those of the
whole, so that a fold is held out by weight 0 alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.errors import Finding, SpecificationError, Status, explain
from bayesglm.fit import Fit
from bayesglm.implied import target_of
from bayesglm.inference.evaluation import named_draws
from bayesglm.inference.options import check_options
from bayesglm.inference.replicates import replicate, suits
from bayesglm.inference.run import run

if TYPE_CHECKING:
    from bayesglm.inference.result import Result

__all__ = ["check_data", "refit", "refits", "separated", "vectorised"]

# Options that speak of one fit on all rows.
REFUSED = ("checkpoint", "cluster", "cov", "information", "ci", "aliased", "separation")


def vectorised(fit: Fit, options: Mapping[str, Any]) -> bool:
    """Whether one program refits all replicates: point fits with a linear predictor."""
    simple = fit.method in ("mle", "map") and not options
    return simple and "bias_reduction" not in fit.result.options and suits(fit.rows_target)


def refits(
    fit: Fit,
    weights: np.ndarray,
    options: Mapping[str, Any],
    *,
    seed: int,
    report: Callable[[int], None] | None = None,
) -> tuple[list[Result], np.ndarray]:
    """Fit again under each set of weights.

    Parameters
    ----------
    fit : Fit
        Whose method, encoding and priors are used.
    weights : ndarray, shape (r, n)
    options : mapping
        Of the method.
    seed : int
        Fixes everything random.
    report : callable, optional
        Told how many are done.

    Returns
    -------
    results : list of Result
    found : ndarray of bool, shape (r,)
        False where there is no estimate (separation): the coefficients are where it stopped.
    """
    if vectorised(fit, options):
        target = fit.rows_target
        many = replicate(target, weights, fit.result.flat, report)
        named = named_draws(target, many.flat[None])
        head = [named["Intercept"][0][:, None]] if target.intercept else []
        theta = np.concatenate([*head, named["beta"][0]], axis=1)
        blank = np.full_like(fit.result.cov, np.nan)
        results = [
            replace(
                fit.result,
                status=Status.CONVERGED if found else Status.SEPARATED,
                theta=theta[k],
                flat=many.flat[k],
                cov=blank,
                findings=(),
                profile={},
            )
            for k, found in enumerate(many.found)
        ]
        return results, many.found
    generator = np.random.default_rng(seed)
    results = []
    for k, w in enumerate(weights):
        results.append(refit(fit, w, options, seed=int(generator.integers(2**31))).result)
        if report is not None:
            report(k + 1)
    found = np.array([result.status != Status.SEPARATED for result in results])
    return results, found


def refit(fit: Fit, weights: np.ndarray, options: Mapping[str, Any], *, seed: int) -> Fit:
    """Fit again under other weights, with the encoding and the priors as they are."""
    chosen = {name: value for name, value in options.items() if value is not None}
    refused = sorted(set(chosen) & set(REFUSED))
    if refused:
        raise SpecificationError(
            explain("this option is not for refits", **{refused[0]: chosen[refused[0]]})
        )
    check_options(fit.method, chosen)
    if "bias_reduction" in fit.result.options:
        chosen.setdefault("bias_reduction", fit.result.options["bias_reduction"])
    if fit.method in ("mle", "map"):
        chosen["separation"] = "warn"
    design = replace(fit.design, weights=weights)
    target = target_of(fit.spec, design, fit.priors, flat=fit.method == "mle")
    result = run(target, fit.method, chosen, seed=seed, weights_kind=fit.spec.weights_kind)
    return replace(fit, design=design, result=result, errors={}, extra={})


def check_data(fit: Fit) -> None:
    """Refuse a fit that was saved without its data."""
    if fit.design.matrix is None:
        raise fit.design.no_rows()


def separated(found: np.ndarray, what: str) -> tuple[Finding, ...]:
    """Return a finding that some replicates have no estimate."""
    count = int((~found).sum())
    if not count:
        return ()
    return (
        Finding(
            "separation",
            "warning",
            f"{count:,} of {len(found):,} {what} have no finite estimate (separation): their "
            "coefficients are where the optimiser stopped.",
            value=float(count),
            threshold=0.0,
            advice='Use prior="weak" with fit("map"), or bias_reduction="jeffreys".',
        ),
    )

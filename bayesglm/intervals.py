"""Which interval a table of maximum likelihood shows, and its profile-likelihood limits."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from bayesglm.errors import (
    BayesGLMWarning,
    DataError,
    Finding,
    SpecificationError,
    Status,
    explain,
    suggest,
)
from bayesglm.implied import target_of
from bayesglm.inference.profile import profile_limits

if TYPE_CHECKING:
    import numpy as np

    from bayesglm.fit import Fit
    from bayesglm.spec import Spec

__all__ = ["Interval", "check_interval", "interval_of", "profile_limits_of", "profiled"]

type Interval = Literal["wald", "profile"]


def check_interval(
    ci: Any, spec: Spec, method: str, errors: Mapping[str, Any], bias_reduction: str | None
) -> None:
    """Refuse an unknown interval, and profiles of what has none.

    Raises
    ------
    SpecificationError
        Naming what does not go together.
    """
    known = get_args(Interval.__value__)
    if ci not in known:
        raise SpecificationError(
            explain(f"unknown ci{suggest(ci, known)}", ci=ci, advice="use one of wald, profile")
        )
    if ci == "wald":
        return
    robust = errors.get("cluster") is not None or errors.get("cov", "nonrobust") != "nonrobust"
    refused: tuple[tuple[bool, str, dict[str, Any]], ...] = (
        (method != "mle", "profile likelihoods are of maximum likelihood", {"method": method}),
        (bool(spec.add), "networks have no profile likelihood here", {}),
        (
            spec.family.has_sigma,
            "profile likelihoods are for yes/no outcomes",
            {"family": spec.family.name},
        ),
        (
            spec.link.partial,
            "under a link with a bounded domain the maximum with a coefficient held may lie on the "
            "boundary, where a profile has no chi-squared limit",
            {"link": spec.link.label},
        ),
        (
            bool(spec.shape),
            "where the link's shape is learned there is no profile likelihood here",
            {"link": spec.link.label},
        ),
        (
            spec.weights_kind == "sampling",
            "with sampling weights the likelihood ratio has no chi-squared limit",
            {"weights_kind": spec.weights_kind},
        ),
        (
            robust,
            "a profile likelihood takes the model at its word: it has no robust form",
            {name: errors[name] for name in ("cov", "cluster") if errors.get(name) is not None},
        ),
        (
            bias_reduction == "firth" and spec.link.name != "logit",
            "under links other than logit the adjusted score is no derivative: there is no "
            "penalised likelihood to profile",
            {"bias_reduction": bias_reduction, "link": spec.link.label},
        ),
    )
    for flag, wrong, got in refused:
        if flag:
            advice = 'use ci="wald"'
            if bias_reduction == "firth":
                advice += ', or bias_reduction="jeffreys"'
            raise SpecificationError(explain(wrong, advice=advice, **got))


def interval_of(fit: Fit, ci: str | None = None) -> str:
    """Return the interval asked for, or that of the fit, refused where there is none.

    Raises
    ------
    SpecificationError
        See `check_interval`.
    """
    if ci is None:
        return str(fit.errors.get("ci", "wald"))
    if ci == "profile" and fit.design.varying:
        raise SpecificationError(
            explain(
                "group-level effects and smooth terms have no profile likelihood here",
                ci=ci,
                advice='use ci="wald", or fit("nuts")',
            )
        )
    check_interval(ci, fit.spec, fit.method, fit.errors, fit.result.options.get("bias_reduction"))
    return ci


def profiled(fit: Fit, level: float) -> tuple[np.ndarray, tuple[Finding, ...]]:
    """Return the limits (k, 2) of a level, link scale, and what must be known of them.

    Raises
    ------
    DataError
        If the fit came from a file without its data.
    """
    import numpy as np

    if fit.design.matrix is None:
        known = ", ".join(f"{each:g}" for each in sorted(fit.result.profile))
        raise DataError(
            explain(
                "profile-likelihood limits need the data, without which this fit was saved",
                level=level,
                advice=(f"the file has them for level {known}; " if known else "")
                + 'use ci="wald", or fit again and save with data=True',
            )
        )
    if fit.status == Status.DIVERGED:
        return np.full((len(fit.terms), 2), np.nan), ()
    # The fall of the likelihood would drown in the rounding of single precision.
    exact = replace(fit.spec, precision="float64")
    target = (
        fit.target
        if fit.spec.precision == "float64"
        else target_of(exact, fit.design, fit.priors, flat=True)
    )
    return profile_limits(
        target,
        fit.result.flat,
        np.sqrt(np.diagonal(fit.result.cov)),
        level=level,
        reduction=fit.result.options.get("bias_reduction"),
    )


def profile_limits_of(fit: Fit, level: float) -> np.ndarray:
    """Return the profile-likelihood limits (k, 2) of a level; kept in the fit's result."""
    known = fit.result.profile
    if level not in known:
        known[level], findings = profiled(fit, level)
        loud = [str(finding) for finding in findings if finding.severity != "note"]
        if loud:
            warnings.warn("\n".join(loud), BayesGLMWarning, stacklevel=5)
    return known[level]

"""Other standard errors of the same maximum-likelihood estimate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bayesglm.errors import SpecificationError, Status, explain
from bayesglm.inference.covariance import check_words, covariance
from bayesglm.streamed_target import other_errors
from bayesglm.streaming.streamed import StreamedDesign

if TYPE_CHECKING:
    from bayesglm.fit import Fit

__all__ = ["NETWORK_ERRORS", "recomputed"]

NETWORK_ERRORS = 'use fit("map"), or fit("nuts")'


def recomputed(fit: Fit, cov: str, information: str, cluster: str | None) -> np.ndarray:
    """Return the covariance of a fit's estimates, shape (k, k); see `Fit.with_cov`.

    Raises
    ------
    SpecificationError
        For a method other than maximum likelihood, or a network.
    """
    check_words(cov, information)
    if fit.method != "mle":
        raise SpecificationError(explain("with_cov is for maximum likelihood", method=fit.method))
    if fit.spec.add:
        raise SpecificationError(
            explain("a network's likelihood gives no standard errors", advice=NETWORK_ERRORS)
        )
    if fit.design.elsewhere[0]:
        raise SpecificationError(
            explain(
                "other standard errors need the rows of all processes",
                advice='ask for them in the fit, as fit("mle", cov=..., cluster=..., mesh=...)',
            )
        )
    if fit.design.varying:
        raise SpecificationError(
            explain(
                "group-level effects and smooth terms have no other standard errors",
                cov=cov,
                advice='use those of the fit, or fit("nuts")',
            )
        )
    if fit.spec.shape:
        raise SpecificationError(
            explain(
                "where the link's shape is learned there are no other standard errors",
                cov=cov,
                advice='use a fixed shape, as link="student_t(4)"',
            )
        )
    if fit.status == Status.BOUNDARY:
        return fit.result.cov
    if isinstance(fit.design, StreamedDesign):
        words = {"cov": cov, "information": information, "cluster": cluster}
        return other_errors(fit.spec, fit.design, fit.priors, fit.result, words)
    sigma = fit.result.sigma
    if sigma is not None:
        n = fit.design.effective
        sigma *= np.sqrt(n / max(n - len(fit.terms), 1))
    codes = None if cluster is None else fit.design.cluster(cluster)
    return covariance(
        fit.target if codes is None else fit.target_with(cluster=codes),
        fit.result.flat,
        cov=cov,
        information=information,
        weights_kind=fit.spec.weights_kind,
        sigma=sigma,
    )

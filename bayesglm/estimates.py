"""What a fit estimated, in numbers: coefficients, their covariance, likelihood and criteria."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.errors import Finding, SpecificationError, Status, explain

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from bayesglm.design import Design
    from bayesglm.inference.result import Result
    from bayesglm.priors import Priors
    from bayesglm.spec import Spec

__all__ = ["Estimates"]


@dataclass(frozen=True)
class Estimates:
    """The estimates of a fit.

    Attributes
    ----------
    spec : Spec
        The words of the model.
    design : Design
        Its data, encoded.
    priors : Priors
        The priors in numbers; of no effect on an MLE.
    result : Result
        Estimates, draws and statistics as NumPy arrays.
    seconds : float
        Wall time of the fit, compilation included.
    errors : dict
        ``cov``, ``information`` and ``cluster`` as used for the covariance; ``ci``, the interval.
    extra : dict of str to Dataset
        Groups added by `with_groups`.
    """

    spec: Spec
    design: Design
    priors: Priors
    result: Result
    seconds: float
    errors: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, xr.Dataset] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """The method: ``"mle"``, ``"map"``, ``"laplace"``, ``"svi"`` or ``"nuts"``."""
        return self.result.method

    @property
    def status(self) -> Status:
        """How the fit ended."""
        return self.result.status

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the coefficients, ``Intercept`` first where there is one."""
        return (("Intercept",) if self.design.intercept else ()) + tuple(self.design.terms)

    @property
    def coef(self) -> pd.Series:
        """Estimates (posterior means) by term, on the link scale."""
        import pandas as pd

        return pd.Series(
            self.result.theta, index=pd.Index(self.terms, name="term"), name="estimate"
        )

    @property
    def vcov(self) -> pd.DataFrame:
        """Covariance of the estimates (of the posterior), terms by terms, link scale squared."""
        import pandas as pd

        return pd.DataFrame(self.result.cov, index=list(self.terms), columns=list(self.terms))

    @property
    def nobs(self) -> int:
        """Rows with positive weight."""
        return int(self.design.nobs)

    @property
    def loglik(self) -> float:
        """Sum of w log p at the estimate (posterior mean), binomial coefficients included (log)."""
        return self.result.loglik

    @property
    def loss(self) -> float:
        """Mean binary cross-entropy (half the mean squared error for ``gaussian``)."""
        return self.result.loss

    @property
    def parameters(self) -> int:
        """Number of estimated parameters, sigma, how groups vary and the link's shape included."""
        varying = sum(each.parameters for each in self.design.varying)
        shape = len(self.spec.shape)
        return len(self.terms) + int(self.spec.family.has_sigma) + varying + shape

    @property
    def aic(self) -> float:
        """Akaike's criterion, -2 loglik + 2 k; of an MLE only (bias reduced: at that estimate)."""
        self._only_mle("aic")
        return -2 * self.loglik + 2 * self.parameters

    @property
    def bic(self) -> float:
        """Schwarz's criterion, -2 loglik + k log(nobs), nobs in rows as R; of an MLE only."""
        self._only_mle("bic")
        return float(-2 * self.loglik + self.parameters * np.log(self.nobs))

    @property
    def deviance(self) -> float:
        """Twice the log likelihood ratio to the saturated model (RSS for ``gaussian``)."""
        if self.spec.family.has_sigma:
            return 2 * self.loss * self.design.effective
        if self.design.elsewhere[0]:
            raise SpecificationError(
                explain("the deviance needs the rows of all processes", advice="use loglik")
            )
        return float(2 * (self.design.saturated + self.loss * self.design.effective))

    def _only_mle(self, name: str) -> None:
        if self.method != "mle":
            raise SpecificationError(
                explain(
                    f"{name} is defined for maximum likelihood",
                    method=self.method,
                    advice='use fit("mle"), or LOO (arviz.loo) on the posterior',
                )
            )

    @property
    def history(self) -> np.ndarray:
        """Loss after each step of the optimiser (negative ELBO for svi, empty for other draws)."""
        return self.result.history

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What a reader of this fit must know."""
        return (*self.design.findings, *self.spec.link.findings(), *self.result.findings)

    def theta_draws(self) -> np.ndarray:
        """Return the draws of the coefficients, shape (chains, draws, k), link scale."""
        draws = self.result.draws
        head = [draws["Intercept"][..., None]] if self.design.intercept else []
        return np.concatenate([*head, draws["beta"]], axis=-1)

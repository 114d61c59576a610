"""The result of a fit: frozen, plain NumPy, pandas and xarray on the outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bayesglm import (
    datatree,
    predicting,
    printing,
    requested,
    standard_errors,
    storage,
    summaries,
    tables,
)
from bayesglm.errors import DataError, Finding, SpecificationError, Status, explain
from bayesglm.generative import model
from bayesglm.implied import target_of

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from bayesglm.design import Design
    from bayesglm.inference.result import Result
    from bayesglm.inference.target import Target
    from bayesglm.priors import Priors
    from bayesglm.spec import Spec

__all__ = ["Fit"]

# log_likelihood larger than this is not computed unasked.
LARGEST = 256 * 2**20


@dataclass(frozen=True)
class Fit:
    """What a model's ``fit`` returns.

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

    Examples
    --------
    >>> import bayesglm as bg
    >>> fit = bg.Model("damage ~ temperature", bg.datasets.challenger()).fit("mle")
    >>> fit.coef.round(2).to_dict()
    {'Intercept': 15.04, 'temperature': -0.23}
    >>> fit.predict({"temperature": [31, 70]}).round(2)
    array([1.  , 0.23])
    >>> [float(end[0].round(2)) for end in fit.predict_interval({"temperature": 31})]
    [1.0, 0.48, 1.0]
    >>> fit.with_cov("HC3").summary()["std_error"].round(3).to_dict()
    {'Intercept': 6.541, 'temperature': 0.1}
    """

    spec: Spec
    design: Design
    priors: Priors
    result: Result
    seconds: float
    errors: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, xr.Dataset] = field(default_factory=dict)

    # -- what was estimated ---------------------------------------------------------------------

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
        """Number of estimated parameters, sigma included."""
        return len(self.terms) + int(self.spec.family.has_sigma)

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
        y, t, w = self.design.y, self.design.trials, self.design.weights
        from scipy.special import xlogy

        saturated = np.sum(w * (xlogy(y, y / t) + xlogy(t - y, (t - y) / t)))
        return float(2 * (saturated + self.loss * self.design.effective))

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

    @property
    def posterior(self) -> xr.Dataset:
        """The posterior draws.

        Raises
        ------
        SpecificationError
            For a point fit.
        """
        if not self.result.draws:
            raise SpecificationError(
                explain(
                    "a point fit has no posterior draws",
                    method=self.method,
                    advice='use model.fit("nuts")',
                )
            )
        return self.data["posterior"].to_dataset()

    # -- tables ---------------------------------------------------------------------------------

    def summary(
        self, level: float = 0.95, exponentiate: bool = False, ci: str | None = None
    ) -> pd.DataFrame:
        """Return the table of coefficients.

        Parameters
        ----------
        level : float
            Coverage of the equal-tailed interval.
        exponentiate : bool
            Report odds ratios (``logit``), risk ratios (``log``) or hazard ratios (``cloglog``)
            instead of the link scale.
        ci : {"wald", "profile"}, optional
            Of an MLE: the normal interval, or the limits of the profile likelihood (with bias
            reduction, the penalised one). As the fit was asked for, if absent. z is Wald's always.

        Returns
        -------
        DataFrame
            Indexed by term: estimate, std_error, lower, upper; then z and p_value for an MLE, or
            r_hat, ess_bulk and ess_tail for draws, or k_hat and ess (importance) for ``laplace``
            and ``svi``. With networks there are rows for their inputs too, and a column ``scale``: what each input does to p ("probability"), beside the
            coefficients of the linear part ("link", or "ratio").

        Examples
        --------
        >>> import bayesglm as bg
        >>> fit = bg.Model("damage ~ temperature", bg.datasets.challenger()).fit("mle")
        >>> fit.summary(exponentiate=True)["estimate"]["temperature"].round(3).item()  # odds ratio
        0.793
        """
        return summaries.summary_table(self, level=level, exponentiate=exponentiate, ci=ci)

    def theta_draws(self) -> np.ndarray:
        """Return the draws of the coefficients, shape (chains, draws, k), link scale."""
        draws = self.result.draws
        head = [draws["Intercept"][..., None]] if self.design.intercept else []
        return np.concatenate([*head, draws["beta"]], axis=-1)

    def __str__(self) -> str:
        """Return header, table and findings as text."""
        return printing.as_text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return printing.as_html(self)

    # -- the data of a fit ----------------------------------------------------------------------

    @cached_property
    def target(self) -> Target:
        """The model on its data, as inference sees it: equal rows are merged."""
        return self.target_with()

    @property
    def rows_target(self) -> Target:
        """The model on its data, row by row."""
        return self.target_with(merged=False) if self.target.n < self.design.n else self.target

    def target_with(self, **words: Any) -> Target:
        """Return the target with other words than usual (see `bayesglm.implied.target_of`)."""
        if self.design.matrix is None:
            raise DataError(explain("the fit was saved without its data", advice="fit again"))
        return target_of(self.spec, self.design, self.priors, flat=self.method == "mle", **words)

    @cached_property
    def data(self) -> xr.DataTree:
        """The fit as an ArviZ DataTree."""
        extra = dict(self.extra)
        known = self.design.matrix is not None
        if self.result.draws and known and "log_likelihood" not in extra and self.affordable:
            extra |= requested.group(self, "log_likelihood")
        return datatree.assemble(
            self.design, self.result, words=datatree.words_of(self), extra=extra
        )

    @property
    def affordable(self) -> bool:
        """Whether the pointwise log likelihood of all draws fits into 256 MB."""
        chains, draws = next(iter(self.result.draws.values())).shape[:2]
        return self.nobs * chains * draws * 8 <= LARGEST

    def with_groups(self, *names: str, seed: int = 0) -> Fit:
        """Return a fit whose `data` has more groups.

        Parameters
        ----------
        *names : str
            ``"log_likelihood"``, ``"log_prior"``, ``"posterior_predictive"``, ``"prior"``,
            ``"prior_predictive"``.
        seed : int
            Fixes the simulated groups.

        Returns
        -------
        Fit
        """
        extra = dict(self.extra)
        for name in names:
            extra |= requested.group(self, name, seed=seed)
        return replace(self, extra=extra)

    def with_cov(
        self, cov: str = "nonrobust", *, information: str = "expected", cluster: str | None = None
    ) -> Fit:
        """Return the same fit with other standard errors, without fitting again.

        Parameters
        ----------
        cov : {"nonrobust", "HC0", "HC1", "HC2", "HC3"}
            Inverse information, or a sandwich.
        information : {"expected", "observed"}
            Fisher's, or minus the Hessian.
        cluster : str, optional
            Column whose values are the clusters (CR1).

        Returns
        -------
        Fit

        Raises
        ------
        SpecificationError
            For a method other than maximum likelihood.
        """
        matrix = standard_errors.recomputed(self, cov, information, cluster)
        if self.status == Status.BOUNDARY:
            return self
        errors = {"cov": cov, "information": information, "cluster": cluster, "ci": "wald"}
        return replace(self, result=replace(self.result, cov=matrix), errors=errors)

    # -- predictions ----------------------------------------------------------------------------

    def predict(
        self,
        newdata: Any = None,
        kind: Literal["response", "link", "outcome"] = "response",
        draws: bool = False,
        *,
        seed: int = 0,
    ) -> np.ndarray:
        """Predict for the rows of the data, or of new data.

        Parameters
        ----------
        newdata : DataFrame or dict, optional
            Columns of the formula; scalars in a dict are repeated. The training rows if absent.
        kind : {"response", "link", "outcome"}
            The probability of the event, eta on the link scale, or a simulated outcome (its mean,
            the number of events, without ``draws``).
        draws : bool
            Return one row for each posterior draw.
        seed : int
            Fixes simulated outcomes.

        Returns
        -------
        ndarray, shape (n,) or (s, n)
            Posterior means (values at the estimate for a point fit), or all s draws, in the rows
            of ``newdata``.
        """
        return predicting.predict(self, newdata, kind=kind, draws=draws, seed=seed)

    def predict_interval(
        self, newdata: Any = None, level: float = 0.95
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the probability of the event with its interval, for each row.

        For draws: the posterior mean and equal-tailed interval. For a point fit: the value at the
        estimate, and the normal interval of eta (delta method) sent through the link.

        Parameters
        ----------
        newdata : DataFrame or dict, optional
            As for `predict`.
        level : float
            Coverage.

        Returns
        -------
        estimate, lower, upper : ndarray, shape (n,)
            Probability scale.
        """
        return predicting.interval(self, newdata, tables.check_level(level))

    def to_numpyro(self) -> tuple[Callable[..., None], tuple[Any, ...], dict[str, Any]]:
        """Return the fit's NumPyro model and its arguments, to go on from there.

        Returns
        -------
        model : callable
            A NumPyro model with the sites ``Intercept_centered``, ``beta`` (one for each term; with
            priors of several kinds ``beta_0``, ... and the deterministic ``beta``), the
            deterministic ``Intercept``, and ``y``. Of an MLE its priors are flat.
        arguments : tuple
        options : dict
            ``observed=False`` makes ``y`` a draw.

        Examples
        --------
        >>> import jax, bayesglm as bg
        >>> from numpyro.infer import MCMC, NUTS
        >>> fit = bg.Model("damage ~ temperature", bg.datasets.challenger()).fit("map")
        >>> model, arguments, options = fit.to_numpyro()
        >>> mcmc = MCMC(NUTS(model), num_warmup=200, num_samples=200, progress_bar=False)
        >>> mcmc.run(jax.random.key(0), *arguments, **options)
        >>> mcmc.get_samples()["beta"].shape
        (200, 1)
        """
        target = self.target_with(merged=False, padded=False)
        return partial(model, target.structure), (target.data,), {"observed": True}

    def save(self, path: Any, data: bool = True) -> None:
        """Write the fit to one netCDF file; read it back with `load`.

        Parameters
        ----------
        path : str or Path
            Where to; written whole or not at all.
        data : bool
            Keep the columns of the data; without them the fit can show its tables and predict for
            new data, no more.

        Raises
        ------
        StorageError
            If the file cannot be written.
        """
        storage.write(
            path,
            {name: getattr(self, name) for name in storage.FIELDS},
            self.data
            if data
            else datatree.assemble(
                self.design, self.result, words=datatree.words_of(self), extra={}
            ),
            data=data,
        )

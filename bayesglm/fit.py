"""The result of a fit: frozen, plain NumPy, pandas and xarray on the outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bayesglm import (
    datatree,
    group_effects,
    predicting,
    printing,
    requested,
    standard_errors,
    storage,
    summaries,
    tables,
)
from bayesglm.errors import SpecificationError, Status, explain
from bayesglm.estimates import Estimates
from bayesglm.generative import model
from bayesglm.implied import target_of

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from bayesglm.group_effects import Which
    from bayesglm.inference.target import Target

__all__ = ["Fit"]

# log_likelihood larger than this is not computed unasked.
LARGEST = 256 * 2**20


@dataclass(frozen=True)
class Fit(Estimates):
    """What a model's ``fit`` returns.

    Its fields and estimates are those of `Estimates`.

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

    def group_table(self, group: str | None = None, level: float = 0.95) -> pd.DataFrame:
        """Return the effects of the groups of a factor, with how far they are shrunk.

        Parameters
        ----------
        group : str, optional
            The factor; may be absent where there is one.
        level : float
            Coverage of the equal-tailed interval.

        Returns
        -------
        DataFrame
            Indexed by group (and term, where several effects vary): estimate, std_error, lower,
            upper on the link scale, as differences from the population; shrinkage, the share of the
            variance between groups that is left unknown (1: nothing is known of this group but that
            it is one of them); trials, the weighted number in the data.
        """
        return group_effects.group_table(self, group, level)

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
            raise self.design.no_rows()
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
        groups: Which = "all",
        new_groups: Literal["error", "sample", "zero"] = "error",
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
        groups : "all", None or sequence of str
            Factors whose group-level effects count; None is the population level, a group whose
            effects are 0.
        new_groups : {"error", "sample", "zero"}
            What a group gets that was not there in training: "sample" draws its effects (a point
            fit: averages over their distribution), "zero" is a middling group.
        seed : int
            Fixes simulated outcomes.

        Returns
        -------
        ndarray, shape (n,) or (s, n)
            Posterior means (values at the estimate for a point fit), or all s draws, in the rows
            of ``newdata``.
        """
        return predicting.predict(
            self,
            newdata,
            kind=kind,
            draws=draws,
            seed=seed,
            groups=groups,
            new_groups=new_groups,
        )

    def predict_interval(
        self,
        newdata: Any = None,
        level: float = 0.95,
        *,
        groups: Which = "all",
        new_groups: Literal["error", "sample", "zero"] = "error",
        seed: int = 0,
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
        groups, new_groups, seed
            As for `predict`.

        Returns
        -------
        estimate, lower, upper : ndarray, shape (n,)
            Probability scale.
        """
        return predicting.interval(
            self,
            newdata,
            tables.check_level(level),
            groups=groups,
            new_groups=new_groups,
            seed=seed,
        )

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

"""The noun that users hold: a formula, data, and everything a fit may ask of them."""

from __future__ import annotations

import warnings
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

import numpy as np

from bayesglm import datatree, requested
from bayesglm import design as designs
from bayesglm.arrays import build_arrays
from bayesglm.errors import BayesGLMWarning, SpecificationError, explain, suggest
from bayesglm.fitting import fit_model, seed_of
from bayesglm.frames import read_table
from bayesglm.implied import priors_of, target_of
from bayesglm.networks import Network, distinct
from bayesglm.priors import Priors
from bayesglm.progress import rows_bar
from bayesglm.spec import Spec
from bayesglm.streaming.building import learn_design, refuse_arrays
from bayesglm.streaming.opening import open_source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray as xr

    from bayesglm.design import Design
    from bayesglm.families import Family
    from bayesglm.fit import Fit
    from bayesglm.inference.options import (
        AutoOptions,
        LaplaceOptions,
        MapOptions,
        MleOptions,
        NutsOptions,
        SviOptions,
    )
    from bayesglm.link import Link

__all__ = ["Model"]

type Seed = int | np.random.Generator | None


class Model:
    """A regression for a yes/no outcome: formula, data, link, priors.

    Parameters
    ----------
    formula : str
        As in R: ``"y ~ x1 + x2 * C(g) + poly(age, 2)"``. The left side is a column, a Boolean
        expression (``"y == 'yes'"``) or ``cbind(events, non_events)``; ``offset(z)`` may stand on
        the right; ``0 +`` leaves the intercept out. ``(1 + x | g)`` lets intercept and slope vary
        between the levels of g (``||`` without correlations, ``a/b`` nested), ``s(x)`` is a smooth
        curve.
    data : DataFrame, dict or path
        Of any library that narwhals knows (pandas, polars, pyarrow, ...), a dict of columns, or the
        path of a CSV or Parquet file, which is read into memory. A folder, pattern or list of
        Parquet files (``"claims/*.parquet"``), or a ``pyarrow`` data set is read by blocks of rows.
    family : {"bernoulli", "gaussian"}
        ``"gaussian"`` is the linear probability model.
    link : str or Link
        ``"logit"`` (default), ``"probit"``, ``"cloglog"``, ``"loglog"``, ``"cauchit"``, ``"log"``,
        ``"identity"``, ``"student_t(4)"``, ``"student_t"`` (robit, its degrees of freedom ``df``
        learned), or a link of your own.
    lapse : bool
        Learn a share of lapses, rows whose outcome is a coin's whatever their predictors:
        p = lapse / 2 + (1 - lapse) F(eta).
    prior : str or dict
        ``"weak"`` (default), ``"flat"``, ``"rstanarm"``, ``"bambi"``, ``"gelman"``, or a dict from
        term or column to a NumPyro distribution, the name for the rest under ``"default"``. How
        groups vary: ``"sd_g"`` a distribution of positive numbers, ``"cor_g"`` an LKJ. Of a learned
        shape: ``"df"`` (Gamma(2, 0.1) by default), ``"lapse"`` (Beta(1, 9)). An MLE ignores it.
    trials : str or array, optional
        Number of trials of each row; the outcome is then the number of events.
    weights : str or array, optional
        One for each row, 0 or more.
    weights_kind : {"frequency", "sampling"}
        A weight of 2 is the row twice, or one row that stands for two in the population.
    offset : str or array, optional
        Added to eta (link scale).
    event : object, optional
        Which value of a two-valued outcome counts as 1.
    missing : {"error", "drop"}
        What to do with rows that have a missing or infinite value.
    center : bool
        Put the intercept's prior on the centred predictors.
    precision : {"float64", "float32"}
        Of the computation.
    context : dict of str to callable, optional
        Functions of your own that the formula may call.
    add : sequence of Network
        Predictors beside the linear part, as ``[bg.Network("~ x2 + x3")]``.
    memory : int or str, optional
        Bytes (or ``"500MB"``, ``"2GB"``, the default) that blocks of rows may take; with the path of
        one Parquet file: read it by blocks too.
    filter : pyarrow.dataset.Expression, optional
        Which rows of the files to take, as ``pyarrow.dataset.field("year") > 2015``.
    progress : bool, optional
        Show a progress bar while files are read; by default on a terminal and in a notebook.

    Raises
    ------
    SpecificationError, FormulaError, DataError
        With what is wrong, what was got, and what to do.

    Examples
    --------
    >>> import bayesglm as bg
    >>> model = bg.Model("damage ~ temperature", bg.datasets.challenger())
    >>> model.fit("mle").coef.round(4).to_dict()
    {'Intercept': 15.0429, 'temperature': -0.2322}
    """

    spec: Spec
    design: Design
    # As they will be used, in numbers, and what they imply for p.
    priors: Priors

    def __init__(
        self,
        formula: str,
        data: Any,
        *,
        family: str | Family = "bernoulli",
        link: str | Link | None = None,
        lapse: bool = False,
        prior: Any = "weak",
        trials: Any = None,
        weights: Any = None,
        weights_kind: Literal["frequency", "sampling"] = "frequency",
        offset: Any = None,
        event: Any = None,
        missing: Literal["error", "drop"] = "error",
        center: bool = True,
        precision: Literal["float64", "float32"] = "float64",
        context: Mapping[str, Any] | None = None,
        add: Sequence[Network] = (),
        memory: int | str | None = None,
        filter: Any = None,
        progress: bool | None = None,
    ) -> None:
        source = open_source(data, memory=memory, filter=filter)
        if source is None and isinstance(data, (str, Path)):
            data = read_table(data)
        columns, arrays = _columns(trials=trials, weights=weights, offset=offset)
        self.spec = Spec.make(
            formula,
            family=family,
            link=link,
            lapse=lapse,
            prior=prior,
            weights_kind=weights_kind,
            event=event,
            missing=missing,
            center=center,
            precision=precision,
            add=distinct(add),
            **columns,
        )
        if source is None:
            self.design = designs.build(self.spec, data, arrays=arrays, context=context)
        else:
            refuse_arrays(arrays)
            shown = partial(rows_bar, progress=progress)
            self.spec, self.design = learn_design(self.spec, source, context=context, bar=shown)
        self.priors = priors_of(self.spec, self.design)

    @classmethod
    def from_arrays(
        cls,
        X: Any,
        y: Any,
        *,
        names: Sequence[str] | None = None,
        intercept: bool = True,
        **words: Any,
    ) -> Model:
        """Make a model from a matrix of predictors and an outcome.

        Parameters
        ----------
        X : array or scipy sparse array, shape (n, p)
            Predictors, without the constant.
        y : array, shape (n,)
            The outcome.
        names : sequence of str, optional
            Names of the columns; ``x1``, ``x2``, ... if absent.
        intercept : bool
            Add an intercept.
        **words
            As for `Model`: family, link, prior, trials, weights, offset, event, ...

        Examples
        --------
        >>> import numpy as np
        >>> model = Model.from_arrays(np.array([[0.0], [1.0], [2.0], [3.0]]), [0, 1, 0, 1])
        >>> model.design.terms
        ('x1',)
        """
        given = {name: words.pop(name, None) for name in ("trials", "weights", "offset")}
        model = cls.__new__(cls)
        columns, _ = _columns(**given)
        known = [
            *columns,
            "lapse",
            *(f.name for f in fields(Spec) if f.name not in ("formula", "add")),
        ]
        for word in words:
            if word not in known:
                raise SpecificationError(
                    explain(
                        f"from_arrays has no option {word!r}{suggest(word, known)}",
                        advice="its options are " + ", ".join(sorted(set(known))),
                    )
                )
        model.spec = Spec.make(None, **{**words, **columns})
        model.design = build_arrays(
            X, y, names=names, intercept=intercept, spec=model.spec, **given
        )
        model.priors = priors_of(model.spec, model.design)
        return model

    @property
    def frame(self) -> Any:
        """The training rows of the columns used."""
        return self.design.frame

    @overload
    def fit(
        self,
        method: Literal["mle"] = "mle",
        *,
        seed: Seed = 0,
        progress: bool | None = None,
        **options: Unpack[MleOptions],
    ) -> Fit: ...

    @overload
    def fit(
        self,
        method: Literal["map"],
        *,
        seed: Seed = 0,
        progress: bool | None = None,
        **options: Unpack[MapOptions],
    ) -> Fit: ...

    @overload
    def fit(
        self,
        method: Literal["nuts"],
        *,
        seed: Seed = 0,
        progress: bool | None = None,
        **options: Unpack[NutsOptions],
    ) -> Fit: ...

    @overload
    def fit(
        self,
        method: Literal["auto"],
        *,
        seed: Seed = 0,
        progress: bool | None = None,
        **options: Unpack[AutoOptions],
    ) -> Fit: ...

    @overload
    def fit(
        self,
        method: Literal["laplace"],
        *,
        seed: Seed = 0,
        progress: bool | None = None,
        **options: Unpack[LaplaceOptions],
    ) -> Fit: ...

    @overload
    def fit(
        self,
        method: Literal["svi"],
        *,
        seed: Seed = 0,
        progress: bool | None = None,
        **options: Unpack[SviOptions],
    ) -> Fit: ...

    @overload
    def fit(
        self, method: str, *, seed: Seed = 0, progress: bool | None = None, **options: Any
    ) -> Fit: ...

    def fit(
        self,
        method: str = "mle",
        *,
        seed: Seed = 0,
        progress: bool | None = None,
        **options: Any,
    ) -> Fit:
        """Fit the model.

        Parameters
        ----------
        method : {"mle", "map", "laplace", "svi", "nuts", "auto"}
            Maximum likelihood; the mode of the posterior; draws around the mode, or by a fitted
            guide, with a certificate; draws by NUTS; ``"laplace"`` where its certificate holds, else ``"nuts"``.
        seed : int, Generator or None
            Fixes everything random; None takes one from the system.
        progress : bool, optional
            Show a progress bar; by default on a terminal and in a notebook.
        **options
            ``mle`` and ``map``: ``optimizer`` ("newton", "lbfgs", "adam", "gd" or any optax
            transformation), ``steps``, ``learning_rate``, ``memory`` (of lbfgs), ``tolerance``
            (largest entry of the gradient of the mean loss), ``init`` (vector, intercept first).
            With networks "adam" is the default, 1,000 steps with a learning rate that falls from
            0.05 to 0, on standardised columns; besides ``batch_size`` (rows of a mini-batch),
            ``validation`` (share of the rows held out, to stop early after ``patience`` blocks
            without gain), ``starts`` (the best of 4 by default; 1 with batches), ``ensemble`` (keep
            as many, as a mixture).
            Both: ``separation`` ("error", or "warn": a fit where the optimiser stopped, without
            errors of what has no estimate).
            With group-level effects or smooth terms these are of the marginal likelihood, the effects
            integrated out by Laplace's method, without these options.
            ``mle`` besides: ``cov`` ("nonrobust", "HC0" to "HC3"), ``information`` ("expected",
            "observed"), ``cluster`` (a column: CR1 errors), ``ci`` ("wald", or "profile" for
            limits of the profile likelihood in the summary), ``bias_reduction``: "jeffreys"
            maximises log likelihood + log det I / 2 (I the expected information), "firth" solves
            the mean-bias-reducing adjusted score; the same under the logit link, and finite under
            separation. AIC and BIC are then of the likelihood at that estimate.
            ``laplace``: ``draws`` times ``chains`` (1,000 and 4) independent draws.
            ``svi``: the same; ``guide`` ("full", "low_rank", "mean_field"), ``steps`` (1,000),
            ``learning_rate`` (0.02, low_rank 0.1; it falls to 0), ``particles`` (8 draws a step).
            ``nuts``, ``auto``: ``draws`` (1,000 a chain; "auto" goes on until every R-hat < 1.01 and
            every bulk and tail ESS is ``ess``, 1,000, or to ``max_draws``, 10,000 a chain),
            ``warmup`` (300, and on by itself where that was too short; 1,000 with networks),
            ``chains`` (4), ``target_accept`` (0.8), ``max_tree_depth`` (10).
            ``nuts``: ``checkpoint`` (a new ``.npz`` file; `bayesglm.resume` goes on with it).
            Ctrl-C keeps the draws that all chains have finished, with a finding.
            Every method: ``aliased`` ("error": columns that are combinations of others are refused
            under flat priors, noted under proper ones; "drop": left out, as R does), ``mesh``
            ("auto", a number of devices, or a `jax.sharding.Mesh` of one axis: the rows are spread
            over these devices, and over the processes of `bayesglm.distributed`).

        Returns
        -------
        Fit

        Raises
        ------
        SpecificationError
            For an unknown method or option.
        SeparationError
            Where the predictors separate the outcome under flat priors: it names them.
        InferenceError
            Where no answer exists for another reason (aliased columns under flat priors).

        Warns
        -----
        BayesGLMWarning
            Once, with every finding that is more than a note.

        Examples
        --------
        >>> import bayesglm as bg
        >>> model = bg.Model("damage ~ temperature", bg.datasets.challenger())
        >>> for method in ("mle", "map", "laplace"):
        ...     print(method, model.fit(method).coef.round(1).to_dict())
        mle {'Intercept': 15.0, 'temperature': -0.2}
        map {'Intercept': 12.1, 'temperature': -0.2}
        laplace {'Intercept': 13.9, 'temperature': -0.2}
        """
        fit = fit_model(
            self.spec,
            self.design,
            self.priors,
            method,
            options,
            seed=seed_of(seed),
            progress=progress,
        )
        _warn(fit)
        return fit

    def prior_predictive(self, draws: int = 1_000, *, seed: int = 0) -> xr.DataTree:
        """Draw parameters and outcomes from the prior.

        Parameters
        ----------
        draws : int
            Number of draws.
        seed : int
            Fixes them.

        Returns
        -------
        DataTree
            Groups ``prior`` (parameters, link scale), ``prior_predictive`` (``y``) and
            ``observed_data``.

        Examples
        --------
        >>> import bayesglm as bg
        >>> model = bg.Model("damage ~ temperature", bg.datasets.challenger())
        >>> model.prior_predictive(100)["prior_predictive"]["y"].shape
        (1, 100, 23)
        """
        import xarray as xr

        target = target_of(self.spec, self.design, self.priors, merged=False)
        groups = requested.prior_groups(target, self.design, draws, seed=seed)
        coords = datatree.coordinates(self.design)
        groups["observed_data"] = datatree.dataset({"y": self.design.y}, coords, sample_dims=())
        return xr.DataTree.from_dict({f"/{name}": group for name, group in groups.items()})

    def __repr__(self) -> str:
        """Return the model in one line."""
        spec, p, different = self.spec, self.design.p, self.design.different
        some = f" ({different:,} different)" if different < self.design.nobs else ""
        return (
            f"Model({spec.formula!r}, family={spec.family.name}, link={spec.link.label}, "
            f"{self.design.nobs:,} rows{some}, {p} {'term' if p == 1 else 'terms'})"
        )


def _columns(**given: Any) -> tuple[dict[str, str | None], dict[str, Any]]:
    """Separate names of columns from arrays, which get the reserved name ``__<word>``."""
    names = {
        word: value if value is None or isinstance(value, str) else f"__{word}"
        for word, value in given.items()
    }
    arrays = {
        f"__{word}": value
        for word, value in given.items()
        if value is not None and not isinstance(value, str)
    }
    return names, arrays


def _warn(fit: Fit) -> None:
    """Warn once, with every finding above a note, at the line that called `Model.fit`."""
    loud = [str(finding) for finding in fit.findings if finding.severity != "note"]
    if loud:
        warnings.warn("\n".join(loud), BayesGLMWarning, stacklevel=3)

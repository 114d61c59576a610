"""What rows that were held out say of a model (K folds), and what other samples would (bootstrap)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.arrays import build_arrays
from bayesglm.design import build
from bayesglm.errors import Finding, SpecificationError, explain
from bayesglm.fit import Fit
from bayesglm.implied import priors_of
from bayesglm.pointwise import log_likelihoods
from bayesglm.predicting import points_of, response
from bayesglm.progress import bar
from bayesglm.refitting import check_data, refit, refits, separated
from bayesglm.scoring import net_benefit, outcomes, resampled, table_of
from bayesglm.tables import check_level

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Bootstrap", "CrossValidation", "bootstrap", "kfold"]


@dataclass(frozen=True)
class CrossValidation:
    """What `kfold` returns: predictions of rows by fits that have not seen them.

    Attributes
    ----------
    fit : Fit
        The fit to all rows.
    fold : ndarray of int, shape (n,)
        Each row's fold; -1 for rows of weight 0.
    predicted : ndarray, shape (n,)
        Probability of the event (for draws their mean), by the fit without the row's fold.
    pointwise : ndarray, shape (n,)
        w_i log p(y_i | the other folds), as LOO has it (log); 0 for rows of weight 0.
    coef : DataFrame, shape (folds, k)
        The coefficients without each fold, link scale.
    findings : tuple of Finding
    """

    fit: Fit
    fold: np.ndarray
    predicted: np.ndarray
    pointwise: np.ndarray
    coef: pd.DataFrame
    findings: tuple[Finding, ...] = ()

    @property
    def elpd(self) -> float:
        """Expected log predictive density: the sum of ``pointwise``."""
        return float(self.pointwise.sum())

    @property
    def std_error(self) -> float:
        """Standard error of ``elpd``."""
        some = self.pointwise[self.fold >= 0]
        return float(np.sqrt(len(some) * some.var(ddof=1)))

    def scores(self, *, threshold: float = 0.5, level: float = 0.95, seed: int = 0) -> pd.DataFrame:
        """Return the scores of the rows held out, as `bayesglm.scores` has them.

        Intervals are over bootstrap samples of the rows.
        """
        events, others = outcomes(self.fit)
        p = self.predicted
        samples = resampled(p, events, others, threshold, seed)
        return table_of(
            p, events, others, samples, threshold, check_level(level), sample="held out"
        )

    def decision_curve(self, thresholds: Any = None) -> pd.DataFrame:
        """Return the net benefit of acting on predictions of rows held out.

        As `bayesglm.decision_curve` has it.
        """
        return net_benefit(self.predicted, *outcomes(self.fit), thresholds)

    def __repr__(self) -> str:
        """Return what was found, in a few lines."""
        folds = len(self.coef)
        told = [f"{folds}-fold cross-validation of {self.fit.spec.formula or 'arrays'}"]
        told += [f"elpd {self.elpd:.2f} (standard error {self.std_error:.2f})"]
        return "\n".join([*told, *(str(finding) for finding in self.findings)])


def kfold(
    fit: Fit,
    folds: Any = 10,
    *,
    groups: str | None = None,
    relearn: bool = False,
    seed: int = 0,
    progress: bool | None = None,
    **options: Any,
) -> CrossValidation:
    """Hold each of K parts of the rows out once, and predict it by a fit to the others.

    Point fits run through all folds in one compiled program. Encoding and priors are those of the
    fit to all rows, unless learned anew; standard errors play no part.

    Parameters
    ----------
    fit : Fit
        Of any method.
    folds : int or array
        Their number (rows are dealt out at random), or each row's fold.
    groups : str, optional
        A column: rows with the same value stay in one fold.
    relearn : bool
        Learn the encoding (knots, centres) and the numbers of the priors in each fold anew.
    seed : int
        Fixes the folds, and what is random in the fits.
    progress : bool, optional
        Show a bar; by default on a terminal and in a notebook.
    **options
        Of the fit's method, such as ``draws``.

    Returns
    -------
    CrossValidation
        Its ``scores()`` are those of `bayesglm.scores`; `compare` takes it.

    Raises
    ------
    SpecificationError
        For less than two folds, or more than rows.

    References
    ----------
    Vehtari, Gelman & Gabry (2017), Statistics and Computing 27.

    Examples
    --------
    >>> import bayesglm as bg
    >>> fit = bg.Model("damage ~ temperature", bg.datasets.challenger()).fit("mle")
    >>> round(float(bg.kfold(fit, 5).scores().loc["auc", "estimate"]), 2)
    0.72
    """
    import pandas as pd

    check_data(fit)
    design = fit.design
    fold = _folds(fit, folds, groups, seed)
    count = int(fold.max()) + 1
    weights = np.where(fold == np.arange(count)[:, None], 0.0, design.weights)
    found: list[Fit] = []
    with bar("kfold", count, progress=progress) as report:

        def done(k: int) -> None:
            if report is not None:
                report(k, 0)

        if relearn:
            for k in range(count):
                found.append(_relearned(fit, fold != k, options, seed + k))
                done(k + 1)
        else:
            results, _ = refits(fit, weights, options, seed=seed, report=done)
            found = [
                replace(fit, design=replace(design, weights=w), result=result, extra={})
                for w, result in zip(weights, results, strict=True)
            ]
    ended = np.array([str(one.status) != "separated" for one in found])
    predicted, pointwise = np.full(design.n, np.nan), np.zeros(design.n)
    for k, one in enumerate(found):
        at = np.flatnonzero(fold == k)
        predicted[at], pointwise[at] = _held_out(fit, one, at)
    coef = pd.DataFrame(
        [one.result.theta for one in found],
        columns=list(found[0].terms),
        index=pd.RangeIndex(count, name="fold"),
    )
    return CrossValidation(fit, fold, predicted, pointwise, coef, separated(ended, "folds"))


def _folds(fit: Fit, folds: Any, groups: str | None, seed: int) -> np.ndarray:
    """Return each row's fold, -1 for rows of weight 0."""
    design = fit.design
    live = np.flatnonzero(design.weights > 0)
    found = np.full(design.n, -1)
    if not isinstance(folds, (int, np.integer)):
        codes = np.asarray(folds)
        if codes.shape != (design.n,):
            raise SpecificationError(
                explain("folds must be a number, or one for each row", shape=codes.shape)
            )
        found[live] = np.unique(codes[live], return_inverse=True)[1]
        if found.max() < 1:
            raise SpecificationError(explain("there must be two folds or more"))
        return found
    units = np.arange(len(live)) if groups is None else design.cluster(groups)[live]
    values, place, sizes = np.unique(units, return_inverse=True, return_counts=True)
    if not 2 <= folds <= len(values):
        raise SpecificationError(
            explain(
                f"folds must be between 2 and the number of {'groups' if groups else 'rows'}",
                folds=folds,
                largest=len(values),
            )
        )
    order = np.random.default_rng(seed).permutation(len(values))
    chosen = np.empty(len(values), dtype=int)
    if groups is None:
        chosen[order] = np.arange(len(values)) % folds
    else:
        # The largest group first, each into the fold that has least.
        totals = np.zeros(folds)
        for k in order[np.argsort(-sizes[order], kind="stable")]:
            chosen[k] = int(totals.argmin())
            totals[chosen[k]] += sizes[k]
    found[live] = chosen[place]
    return found


def _relearned(fit: Fit, kept: np.ndarray, options: dict[str, Any], seed: int) -> Fit:
    """Fit to some rows as if there were no others."""
    design, spec = fit.design, fit.spec
    frame = design.frame
    some = np.flatnonzero(kept & (design.weights > 0))
    if design.formula is None:
        given = {
            "trials": design.trials[some] if design.aggregated else None,
            "weights": design.weights[some],
            "offset": design.offset[some] if design.offset_column else None,
        }
        part = build_arrays(
            design.matrix[some] if isinstance(design.matrix, np.ndarray)
            else design.matrix[some].toarray(),
            design.y[some], names=design.terms, intercept=design.intercept,
            spec=replace(spec, event=None), **given,
        )  # fmt: skip
    else:
        # Columns that were given as arrays stand in the frame by their own names.
        own = {name: frame[name].iloc[some] for name in frame.columns if name.startswith("__")}
        event = design.outcome.event or None
        part = build(
            replace(spec, event=spec.event if spec.event is not None else event),
            frame.iloc[some].drop(columns=list(own)),
            arrays={name: values.to_numpy() for name, values in own.items()},
            context=design.context,
        )
    again = replace(fit, design=part, priors=priors_of(spec, part))
    return refit(again, part.weights, options, seed=seed)


def _held_out(fit: Fit, other: Fit, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return p and w log p(y) of some rows by a fit without them."""
    from scipy.special import logsumexp

    eta, rows = log_likelihoods(fit, other, at)
    log_mean = logsumexp(rows, axis=0) - np.log(len(rows))
    return response(fit, eta, points_of(other)).mean(axis=0), fit.design.weights[at] * log_mean


@dataclass(frozen=True)
class Bootstrap:
    """What `bootstrap` returns.

    Attributes
    ----------
    fit : Fit
        The fit to the data.
    coef : DataFrame, shape (replicates, k)
        Coefficients of each replicate, link scale.
    found : ndarray of bool, shape (replicates,)
        Which have a finite estimate.
    findings : tuple of Finding
    """

    fit: Fit
    coef: pd.DataFrame
    found: np.ndarray
    findings: tuple[Finding, ...] = ()

    def summary(self, level: float = 0.95) -> pd.DataFrame:
        """Return estimate, bias, std_error, lower and upper (percentiles), by term, link scale."""
        import pandas as pd

        tails = (1 - check_level(level)) / 2, (1 + level) / 2
        some = self.coef[self.found]
        estimate = self.fit.coef
        return pd.DataFrame(
            {
                "estimate": estimate,
                "bias": some.mean() - estimate,
                "std_error": some.std(ddof=1),
                "lower": some.quantile(tails[0]),
                "upper": some.quantile(tails[1]),
            }
        )

    def as_fit(self) -> Fit:
        """Return a fit with the replicates in the place of draws: ask it for slopes and scores."""
        theta = self.coef[self.found].to_numpy()[None]
        first = int(self.fit.design.intercept)
        draws = {"beta": theta[..., first:]}
        if first:
            draws = {"Intercept": theta[..., 0], **draws}
        result = replace(
            self.fit.result,
            draws=draws,
            theta=theta[0].mean(axis=0),
            cov=np.atleast_2d(np.cov(theta[0], rowvar=False)),
            options={"bootstrap": len(theta[0])},
        )
        return replace(self.fit, result=result, extra={})

    def __repr__(self) -> str:
        """Return the table."""
        told = [f"{len(self.coef):,} bootstrap replicates", str(self.summary())]
        return "\n".join([*told, *(str(finding) for finding in self.findings)])


def bootstrap(
    fit: Fit,
    replicates: int = 1_000,
    *,
    cluster: str | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> Bootstrap:
    """Fit again to samples of the rows, drawn with replacement.

    Rows of weight w are w rows, rows that count trials as many rows as trials; with ``cluster``
    whole clusters are drawn, with sampling weights rows (which keep their weights). All replicates
    run in one compiled program; encoding and priors stay those of the fit.

    Parameters
    ----------
    fit : Fit
        A point fit.
    replicates : int
    cluster : str, optional
        A column: rows with the same value are drawn together.
    seed : int
        Fixes the samples.
    progress : bool, optional
        Show a bar; by default on a terminal and in a notebook.

    Returns
    -------
    Bootstrap
        Replicates that are separated are left out of its summary, with a finding.

    Raises
    ------
    SpecificationError
        For a fit with draws, or less than two replicates.

    References
    ----------
    Efron & Tibshirani (1993), *An Introduction to the Bootstrap*.

    Examples
    --------
    >>> import bayesglm as bg
    >>> fit = bg.Model("survived ~ sex + pclass", bg.datasets.titanic(), trials="total").fit("mle")
    >>> table = bg.bootstrap(fit, 200).summary()
    >>> bool((abs(table["std_error"] / fit.summary()["std_error"] - 1) < 0.3).all())
    True
    """
    import pandas as pd

    check_data(fit)
    if fit.method not in ("mle", "map"):
        raise SpecificationError(
            explain(
                "the bootstrap is for point fits", method=fit.method,
                advice='a posterior has its own spread; use fit("mle")',
            )
        )  # fmt: skip
    if fit.design.varying:
        raise SpecificationError(
            explain(
                "the bootstrap draws rows, which are not independent given group-level effects",
                groups=[each.name for each in fit.design.varying],
                advice='use the standard errors of the fit, or fit("nuts")',
            )
        )
    if not isinstance(replicates, (int, np.integer)) or replicates < 2:
        raise SpecificationError(
            explain("replicates must be a whole number, 2 or more", replicates=replicates)
        )
    expanded = _by_outcome(fit) if fit.design.aggregated else fit
    weights = _samples(expanded, int(replicates), cluster, np.random.default_rng(seed))
    with bar("bootstrap", int(replicates), progress=progress) as report:

        def done(k: int) -> None:
            if report is not None:
                report(k, 0)

        results, found = refits(expanded, weights, {}, seed=seed, report=done)
    coef = pd.DataFrame(
        [result.theta for result in results],
        columns=list(fit.terms),
        index=pd.RangeIndex(len(results), name="replicate"),
    )
    return Bootstrap(fit, coef, found, separated(found, "replicates"))


def _by_outcome(fit: Fit) -> Fit:
    """Return the fit with two rows for each that counts trials: its events, its non-events."""
    design = fit.design
    rows = np.tile(np.arange(design.n), 2)
    y = np.repeat([1.0, 0.0], design.n)
    events = np.concatenate([design.y, design.trials - design.y])
    twice = replace(
        design,
        matrix=design.matrix[rows],
        y=y,
        trials=np.ones(len(rows)),
        weights=design.weights[rows] * events,
        offset=design.offset[rows],
        aggregated=False,
        frame=design.frame.iloc[rows],
        kept=None,
        source=None,
    )
    return replace(fit, design=twice)


def _samples(
    fit: Fit, replicates: int, cluster: str | None, generator: np.random.Generator
) -> np.ndarray:
    """Return weights of bootstrap samples, shape (replicates, n)."""
    design, w = fit.design, fit.design.weights
    live = np.flatnonzero(w > 0)
    found = np.zeros((replicates, design.n))
    if cluster is not None:
        codes = design.cluster(cluster)
        names, place = np.unique(codes[live], return_inverse=True)
        share = np.full(len(names), 1 / len(names))
        counts = generator.multinomial(len(names), share, size=replicates)
        found[:, live] = counts[:, place] * w[live]
    elif fit.spec.weights_kind == "sampling":
        counts = generator.multinomial(len(live), np.full(len(live), 1 / len(live)), replicates)
        found[:, live] = counts * w[live]
    else:
        total = round(float(w.sum()))
        found[:, live] = generator.multinomial(total, w[live] / w[live].sum(), size=replicates)
    return found

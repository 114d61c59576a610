"""What inference did: prior and posterior, traces, the loss by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bayesglm.canvas import ACCENT, COLOURS, FAINT, axes_on, figure, label_of, plain
from bayesglm.errors import SpecificationError, explain, suggest
from bayesglm.precision import in_double

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpyro.distributions import Distribution

    from bayesglm.fit import Fit

__all__ = ["loss", "prior_posterior", "trace"]

# Panels of a figure.
PANELS = 12


def prior_posterior(
    fit: Fit, terms: list[str] | None = None, *, figsize: tuple[float, float] | None = None
) -> Figure:
    """Draw the posterior of each coefficient over its prior, link scale.

    A posterior that looks like its prior has learned little from the data.

    Parameters
    ----------
    fit : Fit
        With draws, or a MAP estimate (whose posterior is drawn as the normal curve at its mode).
    terms : list of str, optional
        All but the intercept (whose prior is put on the centred predictors) by default; at most
        the first 12.
    figsize : (float, float), optional
        Inches.

    Returns
    -------
    matplotlib Figure
        A panel for each term.

    Raises
    ------
    SpecificationError
        For a maximum-likelihood estimate, which has no prior, or an unknown term.

    Examples
    --------
    >>> import bayesglm as bg
    >>> fit = bg.Model("damage ~ temperature", bg.datasets.challenger()).fit("laplace")
    >>> figure = bg.plots.prior_posterior(fit)
    """
    from scipy.stats import gaussian_kde, norm

    if fit.method == "mle":
        raise SpecificationError(
            explain("maximum likelihood has no prior", method=fit.method, advice='use fit("map")')
        )
    known = list(fit.design.terms)
    names = known if terms is None else list(terms)
    for name in names:
        if name not in known:
            raise SpecificationError(
                explain(f"no term {name!r}{suggest(name, known)}", terms=known)
            )
    if not names:
        raise SpecificationError(explain("the model has no coefficients besides the intercept"))
    names = names[:PANELS]
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    made = figure(figsize or (3.0 * columns + 0.6, 2.2 * lines + 0.4))
    panels = made.subplots(lines, columns, squeeze=False).ravel()
    first = int(fit.design.intercept)
    for ax, name in zip(panels, names, strict=False):
        j = known.index(name)
        if fit.result.draws:
            drawn = fit.result.draws["beta"][..., j].ravel()
            low, high = np.quantile(drawn, [0.001, 0.999])
        else:
            middle, sd = fit.result.theta[first + j], np.sqrt(fit.result.cov[first + j, first + j])
            low, high = middle - 3.5 * sd, middle + 3.5 * sd
        reach = 0.5 * (high - low)
        x = np.linspace(min(low - reach, 0.0), max(high + reach, 0.0), 301)
        curve = gaussian_kde(drawn)(x) if fit.result.draws else norm.pdf(x, middle, sd)
        prior = fit.priors.beta[j]
        axes_on(ax, None)
        ax.fill_between(x, curve, color=ACCENT, alpha=0.35, linewidth=0, label="posterior")
        if prior is not None:
            ax.plot(x, _density(prior, x), color=COLOURS[1], label="prior")
        ax.axvline(0, color=FAINT, linewidth=1, linestyle="--", zorder=0)
        ax.set_title(plain(label_of(name)), fontsize="medium")
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
    for ax in panels[len(names) :]:
        ax.set_visible(False)
    panels[0].legend(frameon=False, fontsize="small")
    return made


@in_double
def _density(prior: Distribution, x: np.ndarray) -> np.ndarray:
    return np.exp(np.asarray(prior.log_prob(x), dtype=float))


def trace(
    fit: Fit, terms: list[str] | None = None, *, figsize: tuple[float, float] | None = None
) -> Figure:
    """Draw what each chain did: its ranks among all draws, and their distribution.

    Chains that agree have ranks spread evenly, and one distribution.

    Parameters
    ----------
    fit : Fit
        With draws.
    terms : list of str, optional
        The intercept and at most eleven others by default.
    figsize : (float, float), optional
        Inches.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    SpecificationError
        For a point fit, or an unknown term.

    References
    ----------
    Vehtari, Gelman, Simpson, Carpenter & Bürkner (2021), Bayesian Analysis 16 (rank plots).

    Examples
    --------
    >>> import bayesglm as bg
    >>> fit = bg.Model("damage ~ temperature", bg.datasets.challenger()).fit("laplace")
    >>> figure = bg.plots.trace(fit)
    """
    if not fit.result.draws:
        raise SpecificationError(
            explain("a point fit has no draws", method=fit.method, advice='use model.fit("nuts")')
        )
    known = list(fit.terms)
    names = known if terms is None else list(terms)
    for name in names:
        if name not in known:
            raise SpecificationError(
                explain(f"no term {name!r}{suggest(name, known)}", terms=known)
            )
    names = names[:PANELS]
    drawn = fit.theta_draws()
    made = figure(figsize or (7.5, 1.5 * len(names) + 0.6))
    grid = made.subplots(len(names), 2, squeeze=False, width_ratios=(2, 3))
    for (left, right), name in zip(grid, names, strict=True):
        values = drawn[..., known.index(name)]
        _histograms(axes_on(left, None), values)
        _ranks(axes_on(right, None), values)
        left.set_ylabel(plain(label_of(name)), rotation=0, ha="right", va="center")
    grid[0, 0].set_title("draws of each chain", fontsize="medium")
    grid[0, 1].set_title("ranks of its draws (even, if chains agree)", fontsize="medium")
    return made


def _histograms(ax: Any, values: np.ndarray) -> None:
    edges = np.linspace(values.min(), values.max(), 41)
    for k, chain in enumerate(values):
        ax.hist(chain, edges, histtype="step", color=COLOURS[k % len(COLOURS)], linewidth=1)
    ax.set_yticks([])


def _ranks(ax: Any, values: np.ndarray) -> None:
    """Draw the histogram of each chain's ranks, as a line beside what is expected."""
    length = values.shape[1]
    ranks = np.argsort(np.argsort(values.ravel())).reshape(values.shape)
    edges = np.linspace(0, values.size, 21)
    expected = length / 20
    for k, chain in enumerate(ranks):
        counts = np.histogram(chain, edges)[0] / expected
        ax.stairs(
            counts, edges / values.size, baseline=None, color=COLOURS[k % len(COLOURS)], linewidth=1
        )
    ax.axhline(1, color=FAINT, linewidth=1, linestyle="--", zorder=0)
    ax.set_ylim(0, max(2.0, ax.get_ylim()[1]))
    ax.set_xticks([])


def loss(fit: Fit, *, ax: Any = None, figsize: tuple[float, float] | None = None) -> Figure:
    """Draw the loss after each step of the optimiser, above the lowest, on a logarithmic axis.

    Parameters
    ----------
    fit : Fit
        By an optimiser: ``mle``, ``map`` or ``svi``.
    ax : matplotlib Axes, optional
        Where; a new figure if absent.
    figsize : (float, float), optional
        Inches, of a new figure.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    SpecificationError
        For a fit without steps.

    Examples
    --------
    >>> import bayesglm as bg
    >>> model = bg.Model("damage ~ temperature", bg.datasets.challenger())
    >>> figure = bg.plots.loss(model.fit("mle", optimizer="lbfgs"))
    """
    history = np.asarray(fit.history, dtype=float)
    if history.size < 2:
        raise SpecificationError(explain("the fit has no steps of an optimiser", method=fit.method))
    svi = fit.method == "svi"
    ax = axes_on(ax, figsize)
    step = np.arange(len(history))
    if svi:
        ax.plot(step, history, color=ACCENT, linewidth=1)
        ax.set_ylabel("negative ELBO")
    else:
        gap = history - np.nanmin(history)
        # What rounding leaves is no progress.
        gap = np.where(gap > 1e-16, gap, np.nan)
        ax.semilogy(step, gap, color=ACCENT, marker="o" if len(step) < 40 else "", markersize=4)
        ax.set_ylabel("loss above the lowest")
    ax.set_xlabel("step")
    return ax.get_figure(root=True)

"""How inference went, in plain words; the pictures behind a fold."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bayesglm.plots.inferring import loss, prior_posterior, trace
from bayesglm.reporting.blocks import (
    Block,
    Fold,
    Gallery,
    Material,
    Picture,
    Section,
    Text,
    attempt,
    number,
)
from bayesglm.reporting.pictures import picture

if TYPE_CHECKING:
    from bayesglm.fit import Fit

__all__ = ["section"]

# Terms whose chains are drawn.
TERMS = 8


def section(material: Material) -> Section:
    """Return what each method says of itself."""
    blocks: list[Block] = []
    for name, fit in material.fits.items():
        head = f"{name}: " if material.several else ""
        attempt(blocks, partial(_told, head, fit), "Diagnostics")
    fit, light = material.fit, material.light_fit
    if light is not fit:
        kept = next(iter(light.result.draws.values()))
        blocks.append(
            Text(
                f"For {fit.nobs:,} rows, effects, checks and scores of this report use "
                f"{kept.shape[0] * kept.shape[1]:,} of the draws, evenly spaced."
            )
        )
    inside: list[Block] = []
    if fit.result.draws:
        terms = list(fit.terms[:TERMS])
        attempt(inside, lambda: Gallery([_trace(fit, terms)]), "Chains")
    if fit.method != "mle" and fit.design.p and not fit.spec.add:
        attempt(inside, lambda: Gallery([_prior_posterior(fit)]), "Priors and posteriors")
    if len(fit.history) > 1:
        attempt(inside, lambda: Gallery([_loss(fit)]), "The loss by step")
    if inside:
        blocks.append(Fold("The pictures behind this", inside))
    return Section("inference", "How inference went", blocks)


def _told(head: str, fit: Fit) -> Text:
    return Text(head + _words(fit))


def _words(fit: Fit) -> str:
    options, table = fit.result.options, fit.summary()
    if fit.method == "nuts":
        stats = fit.result.sample_stats
        chains, draws = stats["diverging"].shape
        diverged = int(stats["diverging"].sum())
        words = f"{chains} chains of {draws:,} draws."
        if not fit.spec.add and len(table):
            words += (
                f" Largest R-hat {np.nanmax(table['r_hat']):.3f} (chains agree below 1.01); least "
                f"effective sample size {table[['ess_bulk', 'ess_tail']].min().min():,.0f} (400 is enough)."
            )
        return words + f" {diverged or 'No'} divergent transition{'' if diverged == 1 else 's'}."
    if fit.method in ("laplace", "svi"):
        k_hat, ess = float(options["k_hat"]), float(options["importance_ess"])
        return (
            f"Pareto’s k-hat of the importance weights is {number(k_hat, 2)} (the draws may "
            f"be relied on below 0.7), their effective sample size {ess:,.0f}. Verdict: "
            f"{options.get('verdict')}."
        )
    gradient = fit.result.gradient_norm
    return (
        f"{fit.result.steps} steps of the optimiser, status “{fit.status}”; the largest entry of the "
        f"gradient at the end is {gradient:.1e}."
    )


def _trace(fit: Fit, terms: list[str]) -> Picture:
    return picture(
        trace,
        fit,
        terms,
        figsize=(7.0, 1.3 * len(terms) + 0.6),
        alt="Draws and ranks of each chain",
        caption="Left: the draws of each chain, on top of one another. Right: their ranks.",
    )


def _prior_posterior(fit: Fit) -> Picture:
    return picture(
        prior_posterior,
        fit,
        alt="Posteriors over their priors",
        caption="What the data added: posteriors over their priors (link scale).",
    )


def _loss(fit: Fit) -> Picture:
    return picture(loss, fit, figsize=(5.0, 3.0), alt="The loss by step", caption="The optimiser")

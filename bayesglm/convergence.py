"""Findings about draws: R-hat, effective sample size, divergences, tree depth, E-BFMI.

Thresholds: R-hat 1.01 and ESS 400 as Vehtari et al. (2021), Bayesian Analysis 16(2); E-BFMI 0.3 as
Betancourt (2016), arXiv:1604.00695.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bayesglm.errors import Finding
from bayesglm.input_effects import probabilities
from bayesglm.tables import draws_table

if TYPE_CHECKING:
    import pandas as pd

    from bayesglm.fit import Fit

__all__ = ["diagnose_draws"]

R_HAT = 1.01
ESS = 400
BFMI = 0.3


def diagnose_draws(fit: Fit) -> tuple[Finding, ...]:
    """Return what is wrong with the draws of a fit; nothing for a point fit."""
    if not fit.result.draws:
        return ()
    found = []
    if not fit.affordable:
        found.append(
            Finding(
                "log-likelihood-left-out",
                "note",
                "The pointwise log likelihood was left out of fit.data: rows times draws need more "
                "than 256 MB.",
                advice='Use fit.with_groups("log_likelihood") to have it (for LOO).',
            )
        )
    if fit.result.certified:
        return tuple(found)
    stats = fit.result.sample_stats
    divergences = int(stats["diverging"].sum())
    if divergences:
        found.append(
            Finding(
                "divergences",
                "warning",
                f"{divergences} of {stats['diverging'].size} draws diverged: parts of the "
                "posterior were not explored.",
                value=divergences,
                threshold=0,
                advice="Raise target_accept=, or use a tighter prior.",
            )
        )
    saturated = int(stats["reached_max_treedepth"].sum())
    if saturated:
        found.append(
            Finding(
                "tree-depth",
                "warning",
                f"{saturated} {'trajectory' if saturated == 1 else 'trajectories'} reached the largest tree depth.",
                value=saturated,
                threshold=0,
                advice="Raise max_tree_depth= or warmup=.",
            )
        )
    # The energy of draws whose momentum cannot keep up with it changes little from one to the next.
    energy = np.asarray(stats["energy"], float)
    spread = energy.var(axis=1)
    fraction = np.mean(np.diff(energy, axis=1) ** 2, axis=1) / np.where(spread > 0, spread, np.inf)
    if energy.shape[1] > 1 and (fraction < BFMI).any():
        found.append(
            Finding(
                "e-bfmi",
                "warning",
                f"The energy changes slowly in {int((fraction < BFMI).sum())} of {len(fraction)} "
                f"chains (E-BFMI {fraction.min():.2f}): tails may be missing.",
                value=float(fraction.min()),
                threshold=BFMI,
                where=f"chain {int(fraction.argmin())}",
                advice="Raise warmup=, or use a tighter prior.",
            )
        )
    table = _table(fit)
    # With one chain R-hat compares its halves; not a number says that a chain stands still.
    stuck = table["r_hat"].isna() | (table["r_hat"] > R_HAT)
    if stuck.any():
        worst = str(table["r_hat"].fillna(float("inf")).idxmax())
        found.append(
            Finding(
                "r-hat",
                "warning",
                f"The chains disagree: R-hat of {worst} is {table['r_hat'][worst]:.3f}.",
                value=float(table["r_hat"][worst]),
                threshold=R_HAT,
                where=worst,
                advice="Raise draws= and warmup=.",
            )
        )
    least = table[["ess_bulk", "ess_tail"]].min(axis=1)
    if (least < ESS).any():
        worst = str(least.idxmin())
        found.append(
            Finding(
                "ess",
                "warning",
                f"Too few effective draws: {least[worst]:.0f} for {worst}.",
                value=float(least[worst]),
                threshold=ESS,
                where=worst,
                advice="Raise draws=.",
            )
        )
    return tuple(found)


def _table(fit: Fit) -> pd.DataFrame:
    """Return what must have converged: coefficients, or with networks the probabilities of rows.

    Weights are not identified (hidden units may change places and signs); what they say is.
    """
    if not fit.design.inputs:
        return fit.summary()
    p = probabilities(fit)
    names = tuple(f"p of row {j + 1} of {p.shape[-1]}" for j in range(p.shape[-1]))
    return draws_table(names, p, level=0.95, exponentiate=False)

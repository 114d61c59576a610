"""Group-level effects: the marginal likelihood at a million rows, NUTS beside bambi's."""

from __future__ import annotations

import numpy as np
from processes import alternate
from tables import footer, median, problem, show, target

__all__ = ["run"]

# Rows, groups and what is wanted: seconds and GiB of the MLE, seconds of NUTS.
MLE, QUICK_MLE = (1_000_000, 10_000), (20_000, 200)
NUTS, QUICK_NUTS = (50_000, 1_000), (2_000, 50)
SECONDS, MEMORY, SAMPLING = 60, 4, 180
COLUMNS = 5
# What the peers may take.
LIMIT = 3_600.0
NOTES = (
    "y ~ x1 + ... + x5 + (1 | g), sd of the groups 0.7. First: model and fit in a fresh process,",
    "compilation in, import out. Min ESS: least bulk ESS over coefficients and the standard deviation;",
    "worst R-hat: of all group effects. 4 chains of 1,000 kept draws, each tool's own warm-up and priors.",
    "R's glmer is measured where R is installed; it was not here.",
)


def run(*, quick: bool, repeats: int | None) -> None:
    """Print a table for the MLE and one for the posterior."""
    n, groups = QUICK_MLE if quick else MLE
    cases = {"bayesglm groups mle": {"contestant": "bayesglm groups mle"}}
    words = {"task": "grouped", "p": COLUMNS, "seed": 0}
    found = alternate(cases, repeats or 1, n=n, groups=groups, fits=2, **words)
    rows = []
    for name, outcomes in found.items():
        peak = float(np.median([outcome.peak for outcome in outcomes])) / 2**30
        first = problem(outcomes, 0) or median(outcomes, 0, "seconds")
        rows.append([name, first, median(outcomes, 1, "seconds"), peak])
    show(
        f"Marginal likelihood, n x groups = {n:,} x {groups:,}",
        ("contestant", "first s", "second s", "peak GiB"),
        rows,
    )
    target("seconds of the first fit", float(rows[0][1]), SECONDS, least=False, unit=" s")
    target("peak memory", rows[0][3], MEMORY, least=False, unit=" GiB")
    footer(found, notes=NOTES)
    n, groups = QUICK_NUTS if quick else NUTS
    names = ("bayesglm groups nuts", "bambi groups", "bambi groups nutpie")
    cases = {name: {"contestant": name} for name in names}
    found = alternate(cases, repeats or 1, n=n, groups=groups, limit=LIMIT, fits=1, **words)
    rows = []
    for name, outcomes in found.items():
        rate = median(outcomes, 0, lambda fit: fit["ess"] / fit["seconds"])
        rows.append(
            [
                name,
                problem(outcomes, 0) or median(outcomes, 0, "seconds"),
                median(outcomes, 0, "ess"),
                rate,
                median(outcomes, 0, "worst"),
            ]
        )
    show(
        f"Posterior, n x groups = {n:,} x {groups:,}",
        ("contestant", "first s", "min ESS", "ESS/s", "worst R-hat"),
        rows,
    )
    if not isinstance(rows[0][1], str):
        target("seconds of NUTS", rows[0][1], SAMPLING, least=False, unit=" s")
        target("worst R-hat", rows[0][4], 1.01, least=False, unit="")
    footer(found, notes=NOTES)

"""Many small models: 10,000 logistic regressions at once, and a loop of statsmodels on some of them."""

from __future__ import annotations

import numpy as np
from processes import alternate
from tables import footer, median, problem, show, target

__all__ = ["run"]

SEGMENTS, QUICK = 10_000, 300
# Segments that the loops fit; their seconds are scaled up.
SAMPLE = 300
ROWS, COLUMNS = 200, 5
FASTER, EQUAL = 20, 1e-6
OURS = "bayesglm many"
LOOPS = ("statsmodels loop", "statsmodels loop, arrays")
NOTES = (
    "y ~ x1 + ... + x5 in each segment of one table. First: compilation in, import out. The loops fit",
    f"{SAMPLE} segments, and their seconds are scaled up: of `groupby` and Logit with a table, as it is",
    "written, and of Logit with slices of an array made beforehand, without names.",
)


def run(*, quick: bool, repeats: int | None) -> None:
    """Print the table."""
    segments = QUICK if quick else SEGMENTS
    cases = {name: {"contestant": name} for name in (OURS, *LOOPS)}
    words = {"task": "many", "segments": segments, "sample": SAMPLE, "n": ROWS, "p": COLUMNS}
    found = alternate(cases, repeats or 1, **words)
    rows, seconds = [], {}
    for name, outcomes in found.items():
        factor = 1.0 if name == OURS else segments / SAMPLE
        seconds[name] = [factor * median(outcomes, fit, "seconds") for fit in (0, 1)]
        peak = float(np.median([outcome.peak for outcome in outcomes])) / 2**30
        rows.append([name, *(problem(outcomes, k) or seconds[name][k] for k in (0, 1)), peak])
    show(
        f"Logistic regressions, {segments:,} segments x {ROWS} rows x {COLUMNS} columns",
        ("contestant", "first s", "second s", "peak GiB"),
        rows,
    )
    for name in LOOPS:
        for place, word in enumerate(("first", "second")):
            ratio = seconds[name][place] / seconds[OURS][place]
            target(f"{word} call, {name} over ours", ratio, FASTER)
    apart = _apart(found[OURS], found[LOOPS[0]])
    target("largest difference of estimates and errors", apart, EQUAL, least=False, unit="")
    footer(found, notes=NOTES)


def _apart(ours: list, theirs: list) -> float:
    """Return the largest difference of coefficients and errors, over 1 + their size."""
    worst = 0.0
    for one, other in zip(ours, theirs, strict=False):
        for fit, peer in zip(one.fits, other.fits, strict=False):
            for name in ("coef", "se"):
                a, b = np.asarray(fit[name]), np.asarray(peer[name])
                worst = max(worst, float(np.max(np.abs(a - b) / (1 + np.abs(b)))))
    return worst if ours[0].fits and theirs[0].fits else float("nan")

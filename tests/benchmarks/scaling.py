"""How time and memory grow with the number of rows."""

from __future__ import annotations

import numpy as np
from processes import LIMIT, alternate
from tables import footer, median, problem, show, target

__all__ = ["run"]

ROWS, COLUMNS = (10_000, 30_000, 100_000, 300_000, 1_000_000), 10
QUICK = (1_000, 3_000)
METHODS = ("bayesglm mle", "bayesglm laplace", "bayesglm nuts")
SLOPE, MATRICES = 1.05, 3
NOTES = (
    "Each size in a process of its own, after a fit of 200 rows; the second of two fits is timed.",
    "Memory: peak over what was held before the data were made, the caller's own matrix (1)",
    "included, in units of the matrix. The first fit compiles, which takes memory of its own.",
)


def run(*, quick: bool, repeats: int | None) -> None:
    """Print the table of sizes and the slopes on the log-log scale."""
    sizes = QUICK if quick else ROWS
    methods = METHODS[::2] if quick else METHODS
    count, rows, groups = repeats or 1, [], []
    times: dict[str, list[float]] = {name: [] for name in methods}
    matrices: dict[str, list[float]] = {name: [] for name in methods}
    for n in sizes:
        cases = {name: {"contestant": name} for name in methods}
        outcomes = alternate(cases, count, limit=3 * LIMIT, n=n, p=COLUMNS, tiny=True)
        groups.append(outcomes)
        for name, found in outcomes.items():
            times[name].append(median(found, 1, "seconds"))
            peaks = [median(found, number, "matrices") for number in (0, 1)]
            matrices[name].append(max(peaks))
            rows.append(
                [
                    name,
                    f"{n:,}",
                    problem(found, 0) or median(found, 0, "seconds"),
                    problem(found, 1) or times[name][-1],
                    1e6 * times[name][-1] / n,
                    *peaks,
                ]
            )
    rows.sort(key=lambda row: methods.index(row[0]))
    header = (
        "contestant",
        "rows",
        "first s",
        "second s",
        "µs a row",
        "peak/matrix first",
        "second",
    )
    show(f"Growth with the rows, logit, p = {COLUMNS}, rho 0.7, median of {count}", header, rows)
    for name in methods:
        slope = _slope(sizes, times[name])
        target(f"{name}, slope of log seconds on log rows", slope, SLOPE, least=False, unit="")
        # At small sizes compiled programs outweigh the matrix.
        words = f"{name}, peak over the matrix at {sizes[-1]:,} rows"
        target(words, matrices[name][-1], MATRICES, least=False)
    footer(*groups, notes=NOTES)


def _slope(sizes: tuple[int, ...], times: list[float]) -> float:
    """Return the least-squares slope of log seconds on log rows; NaN unless all were measured."""
    if not np.isfinite(times).all():
        return float("nan")
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])

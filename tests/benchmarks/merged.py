"""Many rows of few distinct ones: Model and NUTS against the same on the table of counts."""

from __future__ import annotations

from processes import LIMIT, alternate
from tables import footer, median, problem, show, target

__all__ = ["run"]

LATER = 3


def run(*, quick: bool, repeats: int | None) -> None:
    """Print the table."""
    n = 5_000 if quick else 10_000_000
    count = repeats or 1
    cases = {
        label: {
            "contestant": "bayesglm nuts",
            "function": "table",
            "options": {},
            "task": "merged",
            "compressed": compressed,
        }
        for label, compressed in (("rows", False), ("counts", True))
    }
    outcomes = alternate(cases, count, limit=3 * LIMIT, n=n)
    seconds = {
        label: [median(found, k, "seconds") for k in (0, 1)] for label, found in outcomes.items()
    }
    rows = [
        [
            label,
            median(found, 0, "rows"),
            problem(found, 0) or seconds[label][0],
            problem(found, 1) or seconds[label][1],
            median(found, 1, "ess"),
            median(found, 1, "added") / 2**20,
        ]
        for label, found in outcomes.items()
    ]
    header = ("table", "rows", "first s", "second s", "min ESS", "MiB added")
    show(
        f"Five categorical predictors, {n:,} rows, Model and NUTS, median of {count}", header, rows
    )
    for number, word in enumerate(("first", "second")):
        later = seconds["rows"][number] - seconds["counts"][number]
        target(f"rows after counts, {word} fit", later, LATER, least=False, unit=" s")
    footer(outcomes, notes=["The counts are made beforehand, untimed: cbind(events, others) ~ ..."])

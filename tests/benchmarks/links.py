"""NUTS under other links against logit, each on data of its own link."""

from __future__ import annotations

from processes import alternate
from tables import footer, median, problem, show, target

__all__ = ["run"]

LINKS = ("logit", "probit", "cloglog", "cauchit")
REPEATS = 3


def run(*, quick: bool, repeats: int | None) -> None:
    """Print the table of links."""
    n, p = (400, 3) if quick else (10_000, 10)
    count = repeats or (1 if quick else REPEATS)
    cases = {
        link: {
            "contestant": "bayesglm nuts",
            "link": link,
            "options": {"method": "nuts", "link": link},
        }
        for link in (LINKS[:2] if quick else LINKS)
    }
    outcomes = alternate(cases, count, n=n, p=p)
    seconds = {
        link: [median(found, number, "seconds") for number in (0, 1)]
        for link, found in outcomes.items()
    }
    ratios = {
        link: [seconds[link][number] / seconds["logit"][number] for number in (0, 1)]
        for link in cases
    }
    rows = [
        [
            link,
            problem(found, 0) or seconds[link][0],
            problem(found, 1) or seconds[link][1],
            median(found, 1, "ess"),
            *ratios[link],
        ]
        for link, found in outcomes.items()
    ]
    header = ("link", "first s", "second s", "min ESS", "first/logit", "second/logit")
    show(f"NUTS by link, n x p = {n:,} x {p}, rho 0.7, median of {count}", header, rows)
    for number, word in enumerate(("first", "second")):
        worst = max(ratios[link][number] for link in cases)
        target(f"slowest link over logit, {word} fit", worst, 2, least=False)
    footer(outcomes)

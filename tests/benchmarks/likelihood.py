"""Maximum likelihood with standard errors, one large data set and many small ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from processes import Outcome, alternate
from tables import footer, median, problem, show, target

__all__ = ["run"]

OWN = "bayesglm mle"
PEERS = (
    *("statsmodels Logit", "statsmodels GLM", "scikit-learn lbfgs"),
    *("scikit-learn newton-cholesky", "glum"),
)
REPEATS = 3
NOTES = (
    "Loading: what of the first call went into modules that the library loads only then.",
    "Standard errors are part of every fit; scikit-learn has none, so they are worked out from its",
    "probabilities. Distance: largest difference of a coefficient from bayesglm's, in standard errors.",
)


def run(*, quick: bool, repeats: int | None) -> None:
    """Print the table of the large data set and that of the loop."""
    count = repeats or (1 if quick else REPEATS)
    _large(*((20_000, 5) if quick else (1_000_000, 20)), count)
    _loop(20 if quick else 500, count)


def _large(n: int, p: int, repeats: int) -> None:
    outcomes = alternate({name: {"contestant": name} for name in (OWN, *PEERS)}, repeats, n=n, p=p)
    seconds = {
        name: [median(found, number, "seconds") for number in (0, 1)]
        for name, found in outcomes.items()
    }
    best = [float(np.nanmin([*(seconds[peer][k] for peer in PEERS), np.inf])) for k in (0, 1)]
    rows: list[list[Any]] = []
    for name, found in outcomes.items():
        rows.append(
            [
                name,
                float(np.median([outcome.imported for outcome in found])),
                problem(found, 0) or seconds[name][0],
                median(found, 0, "loading"),
                problem(found, 1) or seconds[name][1],
                *(seconds[name][k] / best[k] for k in (0, 1)),
                _distance(found, outcomes[OWN]),
                float(np.median([outcome.peak for outcome in found])) / 2**20,
            ]
        )
    header = (
        *("contestant", "import s", "first s", "loading s", "second s"),
        *("first/best peer", "second/best peer", "distance", "peak MiB"),
    )
    show(f"MLE, logit, n x p = {n:,} x {p}, rho 0.7, median of {repeats}", header, rows)
    target("second fit, seconds over the best peer's", seconds[OWN][1] / best[1], 1, least=False)
    late = seconds[OWN][0] - best[0]
    target("first fit, after the best peer's", late, 1, least=False, unit=" s")
    footer(outcomes, notes=NOTES)


def _distance(found: list[Outcome], own: list[Outcome]) -> float:
    """Return the largest distance of a first fit from ours, in standard errors."""
    if not (found[0].fits and own[0].fits):
        return float("nan")
    fit, ours = found[0].fits[0], own[0].fits[0]
    return float(np.max(np.abs(np.subtract(fit["coef"], ours["coef"])) / ours["se"]))


def _loop(count: int, repeats: int) -> None:
    n, p = 1_000, 5
    names = (OWN, "statsmodels Logit")
    cases = {name: {"contestant": name, "task": "loop", "fits": count} for name in names}
    outcomes = alternate(cases, repeats, n=n, p=p)

    def later(fit: dict) -> float:
        return float(np.median(fit["times"][1:]))

    rows, typical = [], {}
    for name, found in outcomes.items():
        typical[name] = median(found, 0, later)
        rows.append(
            [
                name,
                problem(found, 0) or median(found, 0, "seconds"),
                median(found, 0, "loading"),
                1e3 * median(found, 0, lambda fit: fit["times"][1]),
                1e3 * typical[name],
                1e3 * median(found, 0, lambda fit: float(np.quantile(fit["times"][1:], 0.99))),
                median(found, 0, lambda fit: float(np.sum(fit["times"]))),
            ]
        )
    header = (
        "contestant",
        "first s",
        "loading s",
        "second ms",
        "median ms of 2nd on",
        "99 % ms",
        "all s",
    )
    show(f"{count} MLEs in a loop, n x p = {n:,} x {p}, median of {repeats}", header, rows)
    ratio = typical[OWN] / typical["statsmodels Logit"]
    target("from the second fit on, time over statsmodels Logit's", ratio, 1, least=False)
    footer(outcomes)

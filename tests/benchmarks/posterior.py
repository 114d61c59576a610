"""NUTS and Laplace against other samplers, and Laplace against a long run of NUTS."""

from __future__ import annotations

from typing import Any

import numpy as np
from processes import LIMIT, Outcome, alternate, compete
from tables import footer, median, problem, show, target

__all__ = ["run"]

# Rows, columns, repeats, and how many times the best peer NUTS is held to be: first and second fit.
SIZES = ((1_000, 5, 3, 3, 20), (10_000, 10, 3, 4, 12), (100_000, 20, 1, 7, None))
QUICK = ((400, 3, 1, 3, 20),)
LAPLACE = 20
OWN = ("bayesglm laplace", "bayesglm nuts")
PEERS = (
    *("numpyro", "numpyro float64", "pymc nutpie", "pymc nutpie low_rank"),
    *("bambi", "blackjax", "blackjax float64"),
)
QUICK_PEERS = ("numpyro", "pymc nutpie low_rank", "blackjax")
NOTES = (
    "Min ESS: least bulk ESS over the intercept and the slopes, by ArviZ for everybody; for Laplace no",
    "more than its importance ESS. First: the first fit of a fresh process, compilation in, import out;",
    "loading: what of it went into modules that the library loads only then; second: other data of the",
    "same shape. 4 chains of 1,000 kept draws, each tool's own warm-up (bayesglm 300, nutpie 400, the",
    "others 1,000); Normal(0, 1.5) on every coefficient. numpyro and blackjax: float32, their default,",
    "and float64; a device for each chain, as NumPyro recommends on a CPU (set_host_device_count(4),",
    "chain_method 'parallel'). pymc nutpie: pm.Data, so that the second data set goes into the compiled",
    "model. bambi: its default sampler, PyMC's. What PyTensor and Numba keep on disk stays there.",
)
# Draws a chain of the long run, enough for its least ESS.
LONG, ENOUGH = 12_000, 40_000


def run(*, quick: bool, repeats: int | None) -> None:
    """Print a table for each size, then the check of Laplace."""
    for n, p, default, first, second in QUICK if quick else SIZES:
        names = (*OWN, *(QUICK_PEERS if quick else PEERS))
        cases = {name: {"contestant": name} for name in names}
        # Where the second fit is held to nothing it would double hours.
        fits = 1 if second is None else 2
        outcomes = alternate(cases, repeats or default, n=n, p=p, fits=fits)
        rates = _table(n, p, outcomes)
        best = [_best(rates, number) for number in (0, 1)]
        for name, wanted in (
            ("bayesglm nuts", (first, second)),
            ("bayesglm laplace", (LAPLACE, None)),
        ):
            for number, word in enumerate(("first", "second")):
                if wanted[number] is not None:
                    got = rates[name][number] / best[number]
                    target(f"{name}, ESS/s of the {word} fit", got, wanted[number])
        notes = [] if quick else list(NOTES)
        footer(outcomes, notes=[*notes, _agreement(outcomes)])
    _check(tuple((n, p) for n, p, *_ in (QUICK if quick else SIZES)), quick=quick)


def _table(n: int, p: int, outcomes: dict[str, list[Outcome]]) -> dict[str, list[float]]:
    """Print the table of a size and return ESS per second of both fits by contestant."""
    rates = {
        name: [median(found, number, lambda fit: fit["ess"] / fit["seconds"]) for number in (0, 1)]
        for name, found in outcomes.items()
    }
    best = [_best(rates, number) for number in (0, 1)]
    rows: list[list[Any]] = []
    for name, found in outcomes.items():
        ess = [fit["ess"] for outcome in found for fit in outcome.fits]
        rows.append(
            [
                name,
                float(np.median([outcome.imported for outcome in found])),
                problem(found, 0) or median(found, 0, "seconds"),
                median(found, 0, "loading"),
                problem(found, 1) or median(found, 1, "seconds"),
                float(np.median(ess)) if ess else None,
                *rates[name],
                *(rates[name][number] / best[number] for number in (0, 1)),
            ]
        )
    header = (
        *("contestant", "import s", "first s", "loading s", "second s", "min ESS"),
        *("ESS/s first", "ESS/s second", "first/best peer", "second/best peer"),
    )
    runs = max(len(found) for found in outcomes.values())
    show(f"Posterior, logit, n x p = {n:,} x {p}, rho 0.7, median of {runs}", header, rows)
    return rates


def _best(rates: dict[str, list[float]], number: int) -> float:
    """Return the highest rate of a peer; NaN where none has one."""
    values = [rate[number] for name, rate in rates.items() if name not in OWN]
    return float(np.nanmax([*values, -np.inf])) if np.isfinite(values).any() else float("nan")


def _agreement(outcomes: dict[str, list[Outcome]]) -> str:
    """Say how far the slopes of the contestants lie apart: a check that they fit one model."""
    means = {name: found[0].fits[0] for name, found in outcomes.items() if found and found[0].fits}
    own = means.get("bayesglm nuts")
    if own is None:
        return "bayesglm nuts has no fit to compare the others with"
    worst = max(
        float(np.max(np.abs(np.subtract(fit["mean"], own["mean"])[1:] / np.array(own["sd"])[1:])))
        for fit in means.values()
    )
    return f"posterior means of the slopes differ from bayesglm nuts' by at most {worst:.3f} sd"


def _check(sizes: tuple[tuple[int, int], ...], *, quick: bool) -> None:
    """Compare means and sds of Laplace with a run of NUTS that is long enough."""
    rows, worst, khats, used = [], [], [], {}
    for n, p in sizes:
        shared = {"n": n, "p": p, "seed": 0, "fits": 1}
        fast = compete("bayesglm laplace", **shared)
        draws = LONG
        while True:
            options = {"method": "nuts", "draws": 1_000 if quick else draws}
            long = compete("bayesglm nuts", limit=4 * LIMIT, options=options, **shared)
            if quick or not long.fits or long.fits[0]["ess"] >= ENOUGH:
                break
            draws *= 2
        used |= {f"{n}": [fast, long]}
        if not (fast.fits and long.fits):
            rows.append([f"{n:,} x {p}", fast.problem or long.problem, *[None] * 4])
            continue
        a, b = fast.fits[0], long.fits[0]
        z = [
            float(
                np.max(
                    np.abs(np.subtract(a[what], b[what]))
                    / np.hypot(a[f"mcse_{what}"], b[f"mcse_{what}"])
                )
            )
            for what in ("mean", "sd")
        ]
        worst, khats = [*worst, *z], [*khats, a["k_hat"]]
        rows.append([f"{n:,} x {p}", a["k_hat"], a["ess"], b["ess"], *z])
    header = ("n x p", "k-hat", "ESS laplace", "ESS nuts", "max |z| means", "max |z| sds")
    show("Laplace against a long run of NUTS, z in combined Monte Carlo errors", header, rows)
    target("largest |z|", max(worst, default=np.nan), 4, least=False, unit="")
    target("largest k-hat", max(khats, default=np.nan), 0.7, least=False, unit="")
    footer(used)

"""One contestant in a process of its own: what `processes.py` starts, under either environment.

The argument is a request in JSON; the answers are lines of JSON, one when the library is imported
and one after each fit, so that what was reached before a time limit is not lost. Whatever the
libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import simulate
from contestants import CONTESTANTS
from imports import loading

__all__ = ["main"]


def main() -> None:
    """Answer the request in ``sys.argv[1]``."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    request = json.loads(sys.argv[1])
    contestant = CONTESTANTS[request["contestant"]]
    start = time.perf_counter()
    module = import_module(f"contestants.{contestant.module}")
    load = getattr(module, request.get("function", contestant.function))
    fit, read = load(**request.get("options", contestant.options))
    imported = time.perf_counter() - start

    def emit(**words: Any) -> None:
        print(json.dumps(words), file=answers, flush=True)

    versions = {name: version(name) for name in contestant.packages}
    emit(event="import", seconds=imported, versions=versions)
    for words in TASKS[request.get("task", "fits")](request, fit, read):
        emit(event="fit", **words)
    emit(event="end", peak=memory("VmHWM"))


def timed(fit: Callable, *data: Any) -> tuple[dict[str, float], Any]:
    """Return the seconds of a fit (those of modules loaded meanwhile are part of it), and the fit."""
    with loading() as modules:
        start = time.perf_counter()
        result = fit(*data)
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "loading": modules.seconds}, result


def fits(request: dict, fit: Callable, read: Callable) -> Iterator[dict]:
    """Fit as often as asked, each time other data of the same shape.

    With ``tiny`` a fit of 200 rows comes first, and memory is measured: the peak of each fit over
    what was there before its data, in units of the matrix (the caller's own included).
    """
    n, p, link = request["n"], request["p"], request.get("link", "logit")
    if request.get("tiny"):
        fit(*simulate.correlated(200, p, 0, link))
    for number in range(request.get("fits", 2)):
        before = memory("VmRSS")
        X, y = simulate.correlated(n, p, request["seed"] + number, link)
        forget_peak()
        seconds, result = timed(fit, X, y)
        matrices = (memory("VmHWM") - before) / X.nbytes
        yield {**seconds, "matrices": matrices, **numbers(read(result))}
        del X, y, result


def loop(request: dict, fit: Callable, read: Callable) -> Iterator[dict]:
    """Fit many small data sets one after the other; made beforehand, all different."""
    n, p, count = request["n"], request["p"], request["fits"]
    data = [simulate.correlated(n, p, request["seed"] + number) for number in range(count)]
    times = []
    for X, y in data:
        seconds, result = timed(fit, X, y)
        times.append(seconds)
    seconds = [each["seconds"] for each in times]
    yield {**times[0], "times": seconds, **numbers(read(result))}


def merged(request: dict, fit: Callable, read: Callable) -> Iterator[dict]:
    """Fit a table of categorical predictors, as it is or compressed to counts beforehand."""
    terms = " + ".join("abcdefgh"[: len(simulate.LEVELS)])
    for number in range(2):
        frame = simulate.categorical(request["n"], request["seed"] + number)
        if request["compressed"]:
            frame = simulate.compressed(frame)
        left = "cbind(events, others)" if request["compressed"] else "y"
        forget_peak()
        before = memory("VmRSS")
        seconds, result = timed(fit, f"{left} ~ {terms}", frame)
        added = memory("VmHWM") - before
        yield {**seconds, "rows": len(frame), "added": added, **numbers(read(result))}
        del frame, result


def numbers(found: dict[str, Any]) -> dict[str, Any]:
    """Return what the tables need of a fit; of draws the same ESS and errors for everybody."""
    if "draws" not in found:
        return {name: np.asarray(value).tolist() for name, value in found.items()}
    from arviz_stats.base import array_stats

    draws = np.asarray(found["draws"], np.float64)
    chains, length, k = draws.shape

    def each(function: Callable, method: str) -> np.ndarray:
        return np.array(
            [function(draws[:, :, j], chain_axis=0, draw_axis=1, method=method) for j in range(k)]
        )

    most = found.get("most", np.inf)
    # An importance ESS below the number of draws: their errors are those of so many.
    wider = np.sqrt(max(1.0, chains * length / most))
    return {
        "ess": float(min(each(array_stats.ess, "bulk").min(), most)),
        "mean": draws.mean(axis=(0, 1)).tolist(),
        "sd": draws.std(axis=(0, 1), ddof=1).tolist(),
        "mcse_mean": (wider * each(array_stats.mcse, "mean")).tolist(),
        "mcse_sd": (wider * each(array_stats.mcse, "sd")).tolist(),
        "k_hat": found.get("k_hat"),
    }


def memory(name: str) -> float:
    """Return bytes held now (``VmRSS``) or at most (``VmHWM``); NaN where Linux does not say."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    line = next(line for line in status.read_text().splitlines() if line.startswith(name))
    return 1024.0 * int(line.split()[1])


def forget_peak() -> None:
    """Start the measurement of the peak anew."""
    path = Path("/proc/self/clear_refs")
    if path.exists():
        path.write_text("5")


def grouped(request: dict, fit: Callable, read: Callable) -> Iterator[dict]:
    """Fit a model with an intercept for each group."""
    p = request["p"]
    formula = "y ~ " + " + ".join(f"x{j + 1}" for j in range(p)) + " + (1 | g)"
    for number in range(request.get("fits", 1)):
        frame = simulate.grouped(request["n"], p, request["groups"], request["seed"] + number)
        seconds, result = timed(fit, formula, frame)
        found = read(result)
        worst = found.pop("worst", float("nan"))
        yield {**seconds, "worst": worst, **numbers(found)}
        del frame, result


def many(request: dict, fit: Callable, read: Callable) -> Iterator[dict]:
    """Fit the same formula in many segments of a table, or in a sample of them."""
    formula = "y ~ " + " + ".join(f"x{j + 1}" for j in range(request["p"]))
    for number in range(2):
        seed = request["seed"] + number
        frame = simulate.segmented(request["segments"], request["n"], request["p"], seed)
        seconds, result = timed(fit, formula, frame, request["sample"])
        yield {**seconds, **numbers(read(result))}
        del frame, result


TASKS: dict[str, Callable] = {
    "fits": fits,
    "loop": loop,
    "merged": merged,
    "grouped": grouped,
    "many": many,
}

if __name__ == "__main__":
    main()

"""One contestant's answers, timed: ``python asked.py own|peers n p [large ...]``.

A process of its own: for the peers under the interpreter of their environment. It prints a line of
JSON for each answer as it comes, should a later one end the process.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from simulate import correlated

SEED = 3
FOLDS, REPLICATES, TRIED = 10, 1_000, 20
# Share of the machine's memory that a contestant may take, so that it fails alone.
SHARE = 0.85


def own(n: int, p: int, large: list[int]) -> dict[str, Callable[[], Any]]:
    """Return our answers, each as a function."""
    import bayesglm as bg

    X, y = correlated(n, p, SEED)
    fit = bg.Model.from_arrays(X, y).fit("mle")
    tasks = {
        f"slopes, {n:,} x {p}": lambda: bg.slopes(fit, by=True)["std_error"].sum(),
        "10 folds": lambda: bg.kfold(fit, FOLDS, seed=1).elpd,
        "1,000 bootstrap replicates": lambda: bg.bootstrap(fit, REPLICATES).coef.to_numpy().std(),
    }
    for rows in large:
        big = bg.Model.from_arrays(*correlated(rows, 20, SEED))
        mle = big.fit("mle")
        tasks |= {
            f"fit, {rows:,} x 20": lambda big=big: big.fit("mle").loglik,
            f"slopes, {rows:,} x 20": lambda mle=mle: bg.slopes(mle, by=True)["std_error"].sum(),
        }
    return tasks


def peers(n: int, p: int, large: list[int]) -> dict[str, Callable[[], Any]]:
    """Return marginaleffects' slopes, and loops of statsmodels' fits."""
    import marginaleffects as me
    import pandas as pd
    import statsmodels.api as sm
    import statsmodels.formula.api as smf

    def fitted(n: int, p: int) -> tuple[Any, np.ndarray, np.ndarray]:
        X, y = correlated(n, p, SEED)
        names = [f"x{j + 1}" for j in range(p)]
        frame = pd.DataFrame(X, columns=names).assign(y=y)
        return smf.logit(f"y ~ {' + '.join(names)}", frame).fit(disp=0), sm.add_constant(X), y

    model, X, y = fitted(n, p)

    def folds() -> float:
        fold = np.random.default_rng(1).permutation(n) % FOLDS
        total = 0.0
        for k in range(FOLDS):
            fit = sm.Logit(y[fold != k], X[fold != k]).fit(disp=0)
            q = fit.predict(X[fold == k])
            total += float(np.log(np.where(y[fold == k] == 1, q, 1 - q)).sum())
        return total

    def replicates() -> float:
        # The loop is the same however long: some of it, and the time of all.
        rng = np.random.default_rng(1)
        some = [rng.integers(0, n, n) for _ in range(TRIED)]
        return float(np.std([sm.Logit(y[i], X[i]).fit(disp=0).params for i in some]))

    tasks = {
        f"slopes, {n:,} x {p}": lambda: me.avg_slopes(model).shape[0],
        "10 folds": folds,
        "1,000 bootstrap replicates": replicates,
    }
    for rows in large:
        big = fitted(rows, 20)[0]
        tasks[f"slopes, {rows:,} x 20"] = lambda big=big: me.avg_slopes(big).shape[0]
    return tasks


def main() -> None:
    """Time each answer twice."""
    warnings.simplefilter("ignore")
    memory = int(SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    who, n, p, *large = sys.argv[1], *(int(word) for word in sys.argv[2:])
    for name, task in (own if who == "own" else peers)(n, p, large).items():
        seconds = []
        try:
            for _ in range(2):
                begin = time.perf_counter()
                task()
                seconds.append(time.perf_counter() - begin)
        except MemoryError:
            print(
                json.dumps({"name": name, "problem": f"over {memory / 2**30:.0f} GiB"}), flush=True
            )
            continue
        if who == "peers" and name.startswith("1,000"):
            seconds = [s * REPLICATES / TRIED for s in seconds]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        found = {"name": name, "first": seconds[0], "second": seconds[1], "peak": peak}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()

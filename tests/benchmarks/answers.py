"""Average slopes, K folds and the bootstrap, against marginaleffects and loops of statsmodels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from processes import peers_python
from tables import show

__all__ = ["run"]

WORKER = Path(__file__).with_name("asked.py")
# Rows of 20 columns.
LARGE = [200_000, 1_000_000]


def run(*, quick: bool, repeats: int | None) -> None:
    """Print the table: the median process of each."""
    n, p, large = (2_000, 3, []) if quick else (10_000, 10, LARGE)
    count = repeats or 1
    pythons = {"own": sys.executable, "peers": peers_python()}
    found: dict[str, list[dict]] = {who: [] for who in pythons}
    for _ in range(count):
        for who, python in pythons.items():
            found[who].append(_asked(python, who, n, p, large))
    rows = []
    for name in found["own"][0]:
        cells: list[Any] = [name]
        for who in pythons:
            runs = [one[name] for one in found[who] if name in one]
            asked = who == "own" or not name.startswith("fit")
            problem = next((one["problem"] for one in runs if "problem" in one), None)
            problem = problem or ("died" if asked and not runs else None)
            for what in ("first", "second", "peak"):
                values = [one[what] for one in runs if what in one]
                cells.append(float(np.median(values)) if values else problem)
        faster = cells[5] / cells[2] if isinstance(cells[5], float) else None
        rows.append([*cells, faster])
    header = (
        *("answer", "first s", "second s", "peak MiB"),
        *("peers' first", "second", "peak MiB", "second: peers / ours"),
    )
    show(f"Answers of an MLE with errors, logit, median of {count}", header, rows)
    print(
        "Peers: marginaleffects' avg_slopes of a statsmodels Logit; loops of statsmodels Logit fits"
        " (the bootstrap's: 20 of 1,000 timed).\nPeaks are of the whole process up to there."
    )


def _asked(python: str, who: str, n: int, p: int, large: list[int]) -> dict:
    words = [python, str(WORKER), who, *(str(number) for number in (n, p, *large))]
    done = subprocess.run(words, check=False, stdout=subprocess.PIPE, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode and who == "own":
        raise RuntimeError(f"the worker ended with {done.returncode}")
    return {line["name"]: line for line in lines}

"""Average slopes, K folds and the bootstrap, against marginaleffects and loops of statsmodels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from processes import peers_python
from tables import show

__all__ = ["run"]

WORKER = Path(__file__).with_name("asked.py")


def run(*, quick: bool, repeats: int | None) -> None:
    """Print the table: the median process of each."""
    n, p, large = (2_000, 3, 0) if quick else (10_000, 10, 1_000_000)
    count = repeats or 1
    found = {
        who: [_asked(python, who, n, p, large) for _ in range(count)]
        for who, python in (("own", sys.executable), ("peers", peers_python()))
    }
    rows = []
    for name in found["own"][0]:
        cells = [name]
        for who in ("own", "peers"):
            runs = [one[name] for one in found[who] if name in one]
            for what in ("first", "second", "peak"):
                values = sorted(one[what] for one in runs)
                cells.append(values[len(values) // 2] if values else None)
        rows.append([*cells, None if cells[5] is None else cells[5] / cells[2]])
    header = (
        *("answer", "first s", "second s", "peak MiB"),
        *("peers' first", "second", "peak MiB", "second: peers / ours"),
    )
    show(f"Answers of an MLE with errors, logit, median of {count}", header, rows)
    print(
        "Peers: marginaleffects' avg_slopes of a statsmodels Logit; loops of statsmodels Logit fits"
        " (the bootstrap's: 20 of 1,000 timed).\nPeaks are of the whole process up to there."
    )


def _asked(python: str, who: str, n: int, p: int, large: int) -> dict:
    words = [python, str(WORKER), who, *(str(number) for number in (n, p, large))]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])

"""Rows that stay on disk: passes over Parquet files against one bare read, and the memory they take.

Run by ``run.py stream``, or by itself with a size and a folder. The files are written once, in a
process of their own, and read in others: one that only reads them, one that fits by row blocks, one
that fits the first rows by row blocks and one that fits the same rows in memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

__all__ = ["run"]

ROWS, QUICK, COLUMNS = 50_000_000, 50_000, 10
FIRST = 5_000_000
FILE = 2_500_000
GROUP = 500_000
TIMES, MEMORY = 2, 2.0
FORMULA = "y ~ " + " + ".join(f"x{j + 1}" for j in range(COLUMNS))


def write(folder: Path, rows: int) -> None:
    """Write the files: ten correlated numeric columns and a logit outcome, 2.5 million rows each."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    beta = np.linspace(-0.5, 0.5, COLUMNS)
    for number, begin in enumerate(range(0, rows, FILE)):
        rng = np.random.default_rng(number)
        n = min(FILE, rows - begin)
        common = rng.standard_normal(n)
        eta = np.full(n, -1.0)
        columns = {}
        for j in range(COLUMNS):
            x = 0.6 * common + 0.8 * rng.standard_normal(n)
            eta += beta[j] * x
            columns[f"x{j + 1}"] = x
        columns["y"] = (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(np.int8)
        pq.write_table(
            pa.table(columns), folder / f"part-{number:03d}.parquet", row_group_size=GROUP
        )


def files(folder: Path, rows: int) -> list[str]:
    """Return the files that hold the first rows."""
    return [str(path) for path in sorted(folder.glob("part-*.parquet"))[: -(-rows // FILE)]]


def read(folder: Path, rows: int) -> dict[str, float]:
    """Read all columns once, and do nothing with them."""
    import pyarrow.parquet as pq

    begin, found = time.perf_counter(), 0
    for path in files(folder, rows):
        for batch in pq.ParquetFile(path).iter_batches(131_072):
            found += batch.num_rows
    return {"seconds": time.perf_counter() - begin, "rows": found}


def fit(folder: Path, rows: int, *, memory: bool) -> dict[str, object]:
    """Fit by row blocks, or in memory."""
    import bayesglm as bg

    begin = time.perf_counter()
    if memory:
        import pyarrow.parquet as pq

        data = pq.ParquetDataset(files(folder, rows)).read().to_pandas()
        model = bg.Model(FORMULA, data)
    else:
        model = bg.Model(FORMULA, files(folder, rows))
    built = time.perf_counter()
    model.fit("mle")
    compiled = time.perf_counter()
    found = model.fit("mle")
    ended = time.perf_counter()
    return {
        "model": built - begin,
        "first": compiled - built,
        "fit": ended - compiled,
        "passes": found.result.steps,
        "coef": found.coef.tolist(),
        "errors": np.sqrt(np.diag(found.vcov)).tolist(),
        "loglik": found.loglik,
        "rows": found.nobs,
    }


def apart(task: str, folder: Path, rows: int) -> dict:
    """Do a task in a process of its own; its peak memory (GB) comes with its answer."""
    words = [sys.executable, __file__, task, "--rows", str(rows), "--folder", str(folder)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def run(*, quick: bool, repeats: int | None, rows: int | None = None, folder: str = "") -> None:
    """Print the table."""
    from tables import footer, show, target

    del repeats
    rows = rows or (QUICK if quick else ROWS)
    home = Path(tempfile.mkdtemp(dir=folder or None, prefix="bayesglm-stream-"))
    try:
        apart("write", home, rows)
        size = sum(path.stat().st_size for path in home.iterdir()) / 1e9
        bare = min(apart("read", home, rows)["seconds"] for _ in range(2))
        found = apart("stream", home, rows)
        first = min(FIRST, rows)
        some, whole = apart("stream", home, first), apart("memory", home, first)
    finally:
        shutil.rmtree(home)
    a_pass = found["fit"] / found["passes"]
    table = [
        ["one bare read", bare, 1.0, None],
        ["learning pass (Model)", found["model"], found["model"] / bare, None],
        ["first fit", found["first"], found["first"] / bare, None],
        [f"second fit, {found['passes']} passes", found["fit"], found["fit"] / bare, found["peak"]],
        ["a pass of it", a_pass, a_pass / bare, None],
    ]
    show(
        f"MLE with errors of {rows:,} rows x {COLUMNS} columns on disk ({size:.2f} GB)",
        ("", "seconds", "bare reads", "peak GB"),
        table,
    )
    target("a pass over one bare read", a_pass / bare, TIMES, least=False)
    target("peak memory", found["peak"], MEMORY, least=False, unit=" GB")
    for name in ("coef", "errors"):
        far = np.abs(np.array(some[name]) / np.array(whole[name]) - 1).max()
        target(f"{name} of {first:,} rows, from those in memory", far, 1e-8, least=False, unit="")
    seconds = whole["model"] + whole["first"]
    print(f"  in memory: {seconds:.1f} s with reading, peak {whole['peak']:.1f} GB")
    footer(
        notes=[
            "Files lie in the system's cache; the first fit compiles, and both fit a sample first."
        ]
    )


def main() -> None:
    """Do one task, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", nargs="?", default="all")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--folder", default="")
    asked = parser.parse_args()
    if asked.task == "all":
        run(quick=False, repeats=None, rows=asked.rows, folder=asked.folder)
        return
    folder, answer = Path(asked.folder), {}
    if asked.task == "write":
        write(folder, asked.rows)
    elif asked.task == "read":
        answer = read(folder, asked.rows)
    else:
        answer = fit(folder, asked.rows, memory=asked.task == "memory")
    # Linux counts in KiB.
    unit = 1 if sys.platform == "darwin" else 1024
    answer["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    answer["cores"] = os.cpu_count()
    print(json.dumps(answer))


if __name__ == "__main__":
    main()

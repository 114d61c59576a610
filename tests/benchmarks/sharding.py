"""The MLE over one and two devices, and over two processes, on the processor of this machine.

The devices are simulated: they share its cores, which one device uses too. So this shows what
cutting the rows and summing over devices costs, not what more hardware gains.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time

import numpy as np
import simulate
from tables import footer, show

__all__ = ["run"]

ROWS, COLUMNS, QUICK = 1_000_000, 20, 20_000
# Processes, devices in each; no device is a fit without a mesh.
CASES = {
    "no mesh": (1, 0),
    "1 device": (1, 1),
    "2 devices": (1, 2),
    "2 processes, 1 device each": (2, 1),
}
FITS = 5
LIMIT = 900
NOTES = (
    "model.fit('mle', mesh=...), the model made before; the first fit compiles, the median of",
    f"{FITS - 1} after it is warm. Simulated devices share the cores of one processor; two",
    "processes talk by gloo on the loopback, each holds half of the rows. Gap: of the coefficients",
    "from those without a mesh.",
)


def run(*, quick: bool, repeats: int | None) -> None:
    """Print the table."""
    n = QUICK if quick else ROWS
    found: dict[str, list[dict]] = {name: [] for name in CASES}
    for repeat in range(repeats or 1):
        for name, (processes, devices) in CASES.items():
            print(f"  {name}, {repeat + 1} of {repeats or 1} ...", file=sys.stderr, flush=True)
            found[name].append(_measure(n, processes, devices))
    truth = np.array(found["no mesh"][0]["coef"])
    rows = []
    for name, outcomes in found.items():
        gap = max(float(np.abs(np.array(each["coef"]) - truth).max()) for each in outcomes)
        first, later = (
            float(np.median([each[word] for each in outcomes])) for word in ("first", "later")
        )
        rows.append([name, first, later, f"{gap:.1e}"])
    show(
        f"MLE, n x p = {n:,} x {COLUMNS}, logit",
        ("devices", "first s", "warm s", "gap"),
        rows,
    )
    footer(notes=NOTES)


def _measure(n: int, processes: int, devices: int) -> dict:
    """Run a case in fresh processes; return what the first of them says."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    hidden = ("JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS", "OMP_NUM_THREADS", "PYTHONPATH")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    started = [
        subprocess.Popen(
            [sys.executable, __file__, *map(str, (n, processes, devices, place, port))],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for place in range(processes)
    ]
    try:
        said = [process.communicate(timeout=LIMIT)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    return json.loads(said[0].splitlines()[-1])


def work(n: int, processes: int, devices: int, place: int, port: int) -> None:
    """Fit in this process; print seconds and coefficients."""
    import jax

    import bayesglm as bg

    if devices:
        jax.config.update("jax_num_cpu_devices", devices)
    if processes > 1:
        bg.distributed(f"localhost:{port}", processes, place)
    X, y = simulate.correlated(n, COLUMNS, 0)
    part = slice(place * n // processes, (place + 1) * n // processes)
    model = bg.Model.from_arrays(X[part], y[part])
    seconds = []
    for _ in range(FITS):
        begin = time.perf_counter()
        fit = model.fit("mle", mesh="auto" if devices else None)
        seconds.append(time.perf_counter() - begin)
    coef = [float(value) for value in fit.coef]
    words = {"first": seconds[0], "later": float(np.median(seconds[1:])), "coef": coef}
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    work(*map(int, sys.argv[1:]))

"""What a pass of Newton's method costs by row and column, in memory and over row blocks.

The numbers behind `docs/scale.md`. In memory: the time of a warm fit over its steps and one pass for
the errors. Over row blocks: the program that each block runs, without the reading.
"""

from __future__ import annotations

import time

import jax
import numpy as np
from tables import footer, show

import bayesglm as bg
from bayesglm.implied import target_of
from bayesglm.inference import passes
from bayesglm.precision import scope

__all__ = ["run"]

COLUMNS = (10, 20, 50, 100)
# Numbers of the matrix: 400 MB, or 4.
SIZE, QUICK = 50_000_000, 500_000
NOTES = (
    "ns a row and pass. In memory: a warm fit('mle') over its steps and one pass for the errors.",
    "Block: value, gradient and Gram matrix of rows that are there already. Flops: 2 k² a row.",
)


def run(*, quick: bool, repeats: int | None) -> None:
    """Print the table."""
    rows = []
    for k in COLUMNS:
        n = (QUICK if quick else SIZE) // k
        rng = np.random.default_rng(k)
        x = rng.standard_normal((n, k))
        eta = x @ np.linspace(-0.5, 0.5, k) / np.sqrt(k / 10) - 1
        y = (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(float)
        model = bg.Model.from_arrays(x, y)
        del x
        model.fit("mle")
        whole, steps = [], 0
        for _ in range(repeats or 3):
            begin = time.perf_counter()
            steps = model.fit("mle").result.steps
            whole.append(time.perf_counter() - begin)
        memory = min(whole) / (steps + 1) / n * 1e9
        block = _block(model, repeats or 3) / n * 1e9
        rows.append([f"{k}", n, steps, memory, block, 2 * (k + 1) ** 2 / block])
    header = ("columns", "rows", "steps", "in memory ns", "block ns", "Gflop/s")
    show("A pass of Newton's method, logit", header, rows)
    footer(notes=NOTES)


def _block(model: bg.Model, repeats: int) -> float:
    """Return the seconds of a pass over rows in memory by the program of row blocks."""
    target = target_of(model.spec, model.design, model.priors, flat=True, merged=False)
    found = []
    with scope("float64"):
        data = target.arrays
        c = np.zeros(data.parts[0].matrix.shape[0])
        for _ in range(repeats + 1):
            begin = time.perf_counter()
            value, _, curvature, _ = passes._expand(target.structure, data, c, None, expected=False)
            jax.block_until_ready(value)
            passes._gram(np.asarray(data.parts[0].matrix.values), np.asarray(curvature))
            found.append(time.perf_counter() - begin)
    return min(found[1:])

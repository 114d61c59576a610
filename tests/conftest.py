"""Settings and small data sets that several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

import bayesglm as bg

# The command line would keep programs in the home of whoever runs the tests.
os.environ["BAYESGLM_CACHE"] = "off"
# Compiling takes two thirds of the time of the tests: the second run, and the second worker, read
# what the first has compiled. BAYESGLM_TEST_CACHE=off compiles all of it anew.
if os.environ.get("BAYESGLM_TEST_CACHE") != "off":
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    bg.cache(home / "bayesglm-tests")


@pytest.fixture(autouse=True, scope="module")
def few_programs():
    """Forget compiled programs once they are many, for each is mapped into memory by itself.

    Linux gives a process 65,530 mappings; a compilation beyond them ends it with a segmentation fault.
    """
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > 25_000:
        jax.clear_caches()


@pytest.fixture(scope="session")
def simulated() -> pd.DataFrame:
    """The 100,000 rows of the reference numbers."""
    return bg.datasets.simulate()


@pytest.fixture(scope="session")
def small() -> pd.DataFrame:
    """500 rows with an interior optimum under every link: two numbers in [0, 1], p in (0.2, 0.75)."""
    rng = np.random.default_rng(20261124)
    n = 500
    frame = pd.DataFrame({"x1": rng.uniform(size=n), "x2": rng.uniform(size=n)})
    p = 0.25 + 0.3 * frame["x1"] + 0.15 * frame["x2"]
    return frame.assign(
        y=rng.binomial(1, p),
        trials=(trials := rng.integers(1, 6, size=n)),
        events=rng.binomial(trials, p),
        copies=rng.integers(0, 4, size=n),
        known=rng.uniform(-0.05, 0.05, size=n),
    )


# Made by hand, with other software in an environment of its own.
collect_ignore = ["reference/effects/make.py"]

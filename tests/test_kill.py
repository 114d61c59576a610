"""kill -9 at any moment: a file is the old one or the new one, and a run goes on to the same draws."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager

import numpy as np
import pytest

import bayesglm as bg
from bayesglm import files

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork and SIGKILL"),
]

KILLS = 50
# It imports everything once and starts no JAX of its own; each line it reads makes a child that does
# the work. So a child costs its work and no imports.
SERVER = """
import os, sys, warnings
import arviz_base, arviz_stats, formulaic, h5netcdf, pandas, scipy.sparse, xarray
import numpy as np
import bayesglm as bg
from bayesglm import inference
from bayesglm.inference import checkpoint, chains, nuts
warnings.simplefilter("ignore")
{work}
print("ready", flush=True)
for line in sys.stdin:
    if not os.fork():
        try:
            print(os.getpid(), flush=True)
            work(*line.split())
        finally:
            sys.stderr.flush()
            os._exit(0 if sys.exception() is None else 1)
    print(os.wait()[1], flush=True)
"""
SAVING = """
def work(old, new, target):
    fits = [bg.load(old), bg.load(new)]
    print("going", flush=True)
    while True:
        for fit in fits:
            fit.save(target)
"""
# Writes come as often as they can, so that many kills fall into one.
SAMPLING = """
checkpoint.PAUSE, checkpoint.SHARE = 0.05, 1.0
nuts.kernel.block_length = lambda rows, columns: 60
def work(cache, path, result):
    bg.cache(cache)
    if os.path.exists(path):
        fit = bg.resume(path, progress=False)
    else:
        frame = bg.datasets.challenger()
        fit = bg.Model("damage ~ temperature", frame).fit(
            "nuts", seed=3, draws=12_000, chains=2, checkpoint=path, progress=False
        )
    np.save(result + ".part.npy", fit.result.flat_draws)
    os.replace(result + ".part.npy", result)
"""


class Server:
    """A process that makes children, and how to kill one of them."""

    def __init__(self, process):
        self.process = process

    def start(self, *words):
        print(*words, file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def ended(self):
        """Wait for the child; return its status as the system gives it."""
        return int(self.process.stdout.readline())


@contextmanager
def server(work):
    with subprocess.Popen(
        [sys.executable, "-c", SERVER.replace("{work}", work)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield Server(process)
            process.stdin.close()
        finally:
            process.kill()


def changed(path):
    """Return when a file was last written, if ever."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def parts(folder):
    """Return what killed writers left behind, by the pattern that `bayesglm.files` states."""
    return [path for path in folder.iterdir() if path.suffix == ".part"]


def test_a_killed_save_leaves_the_old_fit_or_the_new_one(tmp_path):
    rng = np.random.default_rng(1)
    table = bg.datasets.simulate(3_000)
    fits = [bg.Model(formula, table).fit("mle") for formula in ("y ~ x1", "y ~ x1 + x2")]
    old, new = tmp_path / "old.nc", tmp_path / "new.nc"
    for fit, path in zip(fits, (old, new), strict=True):
        fit.save(path)
    folder = tmp_path / "target"
    folder.mkdir()
    target = folder / "fit.nc"
    fits[0].save(target)
    seen, left = [], 0
    with server(SAVING) as made:
        # The first child shows how long a save takes, on this machine as busy as it is.
        child = made.start(old, new, target)
        assert made.process.stdout.readline() == "going\n"
        begin = time.monotonic()
        for _ in range(4):
            before = changed(target)
            while changed(target) == before:
                time.sleep(0.002)
        seconds = (time.monotonic() - begin) / 4
        os.kill(child, signal.SIGKILL)
        assert made.ended() == signal.SIGKILL
        for _ in range(KILLS):
            child = made.start(old, new, target)
            assert made.process.stdout.readline() == "going\n"
            time.sleep(rng.uniform(0, 4 * seconds))
            os.kill(child, signal.SIGKILL)
            assert made.ended() == signal.SIGKILL
            loaded = bg.load(target)
            (which,) = [i for i in (0, 1) if loaded.terms == fits[i].terms]
            np.testing.assert_array_equal(loaded.coef, fits[which].coef)
            np.testing.assert_array_equal(loaded.predict(), fits[which].predict())
            seen.append(which)
            # Nothing lies about but the file and the halves of killed writers.
            left = len(parts(folder))
            assert {p.name for p in folder.iterdir()} == {
                "fit.nc",
                *(p.name for p in parts(folder)),
            }
    assert 0 < sum(seen) < KILLS
    # Kills fell into writing; the next save an hour later sweeps what they left.
    assert 0 < left <= KILLS
    for part in parts(folder):
        os.utime(part, (time.time() - 2 * files.STALE,) * 2)
    fits[1].save(target)
    assert [path.name for path in folder.iterdir()] == ["fit.nc"]


def test_a_killed_run_ends_with_the_same_draws(tmp_path):
    rng = np.random.default_rng(2)
    cache = tmp_path / "programs"
    kills = finished = before_the_first = 0
    resumed_from = set()
    with server(SAMPLING) as made:
        # The first run compiles; the second shows how long one takes.
        for name in ("first", "whole"):
            begin = time.monotonic()
            made.start(cache, tmp_path / f"{name}.npz", tmp_path / f"{name}.npy")
            assert made.ended() == 0
            seconds = time.monotonic() - begin
        whole = np.load(tmp_path / "whole.npy")
        np.testing.assert_array_equal(np.load(tmp_path / "first.npy"), whole)
        while kills < KILLS:
            path, result = tmp_path / f"{finished}.npz", tmp_path / f"{finished}.npy"
            assert not path.exists()
            while not result.exists():
                there = path.exists()
                child = made.start(cache, path, result)
                # Half of the kills at any moment, half soon after a checkpoint was written.
                moment = begin = time.monotonic()
                if rng.random() < 0.5:
                    moment += rng.uniform(0, 1.2 * seconds)
                else:
                    before = changed(path)
                    while changed(path) == before and time.monotonic() < begin + 2 * seconds:
                        time.sleep(0.002)
                    moment = time.monotonic() + rng.uniform(0, 0.2)
                time.sleep(max(moment - time.monotonic(), 0))
                if kills < KILLS and not result.exists():
                    os.kill(child, signal.SIGKILL)
                status = made.ended()
                assert status in (0, signal.SIGKILL)
                kills += status == signal.SIGKILL
                # A checkpoint that was there stays there, and can be read whatever happened.
                assert path.exists() >= there
                before_the_first += status != 0 and not path.exists()
                if path.exists():
                    saved = bg.inference.checkpoint.read(path).saved
                    if saved is not None and status != 0:
                        resumed_from.add(sum(unit["done"] for unit in saved[0]["units"]))
            np.testing.assert_array_equal(np.load(result), whole)
            finished += 1
    assert finished > 1
    # Kills came before the first checkpoint, and at several places of the run.
    assert before_the_first > 0
    assert len(resumed_from) > 5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bg.BayesGLMWarning)
        again = bg.resume(tmp_path / "0.npz", progress=False)
    np.testing.assert_array_equal(again.result.flat_draws, whole)

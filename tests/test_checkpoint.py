"""Runs that are stopped, by Ctrl-C or by kill -9, lose nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import bayesglm as bg
from bayesglm.inference import checkpoint, nuts

# Short runs have few effective draws.
pytestmark = pytest.mark.filterwarnings("ignore::bayesglm.BayesGLMWarning")

RUN = """
import sys
import bayesglm as bg
model = bg.Model("y ~ x1 + x2 + z", bg.datasets.simulate(3_000).assign(z=lambda d: d.x1**2))
model.fit("nuts", seed=3, draws=3_000, chains=2, checkpoint=sys.argv[1], progress=False)
"""


@pytest.fixture(scope="module")
def model():
    return bg.Model("damage ~ temperature", bg.datasets.challenger())


def same(a, b):
    np.testing.assert_array_equal(a.result.flat_draws, b.result.flat_draws)
    for name, values in a.result.sample_stats.items():
        np.testing.assert_array_equal(values, b.result.sample_stats[name])
    for name in ("theta", "cov", "loglik"):
        np.testing.assert_array_equal(getattr(a.result, name), getattr(b.result, name))
    assert a.findings == b.findings
    assert a.result.options == b.result.options
    assert a.summary().equals(b.summary())


class Stopped(Exception):
    """What stands for a kill: nothing in the package knows it."""


def stop_after(monkeypatch, number):
    """Write after every look, and end the run at the given write."""
    monkeypatch.setattr(checkpoint.Checkpoint, "due", True)
    write, count = checkpoint.Checkpoint.write, [0]

    def counted(self, words, arrays):
        if count[0] >= number:
            raise Stopped
        count[0] += 1
        write(self, words, arrays)

    monkeypatch.setattr(checkpoint.Checkpoint, "write", counted)


@pytest.mark.parametrize("options", [{"draws": 700}, {"draws": "auto", "ess": 1_500}])
def test_resumed_anywhere_the_draws_are_the_same(model, options, tmp_path, monkeypatch):
    words = {"seed": 3, "chains": 2, "progress": False, **options}
    whole = model.fit("nuts", **words)
    # Blocks of a few draws, as large data have them, so that there are many places to stop at.
    monkeypatch.setattr(nuts.kernel, "block_length", lambda rows, columns: 40)
    small = model.fit("nuts", **words)
    assert len(small.result.flat_draws[0]) > 300
    for number in (1, 2, 5, 9):
        path = tmp_path / f"{number}.npz"
        with monkeypatch.context() as patch:
            stop_after(patch, number)
            try:
                model.fit("nuts", checkpoint=path, **words)
            except Stopped:
                pass
            else:
                # A quick machine has looked fewer times than that.
                assert number > 1
        same(bg.resume(path, progress=False), small)
    assert whole.result.draws["beta"].shape[0] == 2


def test_killed_at_once_it_goes_on(tmp_path):
    path, other = tmp_path / "run.npz", tmp_path / "whole.npz"
    with subprocess.Popen([sys.executable, "-c", RUN, str(path)]) as process:
        deadline = time.monotonic() + 120
        while not path.exists() and time.monotonic() < deadline:
            assert process.poll() is None, "the run ended before it wrote anything"
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    found = checkpoint.read(path).saved
    assert found is not None
    done = sum(unit["done"] for unit in found[0]["units"])
    assert done < 2 * 3_000 or not found[0]["sampling"]
    resumed = bg.resume(path, progress=False)
    subprocess.run([sys.executable, "-c", RUN, str(other)], check=True)
    same(resumed, bg.resume(other))


def test_a_finished_run_is_read(model, tmp_path):
    fit = model.fit("nuts", seed=3, draws=200, chains=2, checkpoint=tmp_path / "run.npz")
    again = bg.resume(tmp_path / "run.npz")
    same(again, fit)
    assert again.data["posterior"].equals(fit.data["posterior"])
    np.testing.assert_array_equal(
        again.predict({"temperature": [31]}), fit.predict({"temperature": [31]})
    )


def test_nothing_is_overwritten(model, tmp_path):
    path = tmp_path / "run.npz"
    path.write_text("mine")
    with pytest.raises(bg.SpecificationError, match=r"exists already.*resume"):
        model.fit("nuts", checkpoint=path)
    assert path.read_text() == "mine"
    with pytest.raises(bg.SpecificationError, match="no such folder"):
        model.fit("nuts", checkpoint=tmp_path / "nowhere" / "run.npz")
    with pytest.raises(bg.SpecificationError, match="no option"):
        model.fit("laplace", checkpoint=path)


def test_files_that_are_no_checkpoints(model, tmp_path):
    path = tmp_path / "run.npz"
    with pytest.raises(bg.StorageError, match="no such file"):
        bg.resume(path)
    for content in (b"", b"PK\x03\x04 broken", b"text"):
        path.write_bytes(content)
        with pytest.raises(bg.StorageError, match="damaged"):
            bg.resume(path)
    np.savez(path, other=np.arange(3))
    with pytest.raises(bg.StorageError, match="no checkpoint"):
        bg.resume(path)
    path.unlink()
    model.fit("nuts", draws=20, chains=2, checkpoint=path, warmup=50)
    whole = path.read_bytes()
    for cut in (len(whole) // 3, len(whole) - 100):
        path.write_bytes(whole[:cut])
        with pytest.raises(bg.StorageError, match="damaged"):
            bg.resume(path)
    # An array of another shape.
    path.write_bytes(whole)
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(path, **(arrays | {"state_0_leaf_1": np.zeros(1)}))
    with pytest.raises(bg.StorageError, match="does not belong"):
        bg.resume(path)


def test_nothing_in_a_checkpoint_is_executed(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, ("touch " + str(tmp_path / "executed"),)

    np.savez(tmp_path / "run.npz", words=np.array([Evil()], dtype=object))
    with pytest.raises(bg.StorageError):
        bg.resume(tmp_path / "run.npz")
    assert not (tmp_path / "executed").exists()


def test_a_link_of_ones_own_must_be_handed_over(tmp_path):
    import jax.numpy as jnp

    link = bg.Link(
        "mine", log_p=lambda eta: -jnp.logaddexp(0, -eta), log_q=lambda eta: -jnp.logaddexp(0, eta)
    )
    own = bg.Model("damage ~ temperature", bg.datasets.challenger(), link=link)
    fit = own.fit("nuts", draws=50, chains=2, seed=1, checkpoint=tmp_path / "run.npz")
    with pytest.raises(bg.StorageError, match="mine"):
        bg.resume(tmp_path / "run.npz")
    same(bg.resume(tmp_path / "run.npz", {"mine": link}), fit)


def test_other_versions_are_told(model, tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    model.fit("nuts", draws=50, chains=2, seed=1, checkpoint=path)
    now = {**bg.resuming.versions(), "numpyro": "99"}
    monkeypatch.setattr(bg.resuming, "versions", lambda: now)
    assert "other-versions" in {finding.code for finding in bg.resume(path).findings}


def test_ctrl_c_keeps_the_draws(model, tmp_path, monkeypatch):
    monkeypatch.setattr(nuts.kernel, "block_length", lambda rows, columns: 5)
    whole = model.fit("nuts", draws=4_000, chains=2, seed=5)
    run = nuts.sample

    def pressing(done, divergences, expected):
        if done > 2 * 700:
            raise KeyboardInterrupt

    monkeypatch.setattr(nuts, "sample", lambda *a, **k: run(*a, **{**k, "report": pressing}))
    path = tmp_path / "run.npz"
    with pytest.warns(bg.BayesGLMWarning, match=r"Interrupted after [\d,]+ of 4,000"):
        fit = model.fit("nuts", draws=4_000, chains=2, seed=5, checkpoint=path)
    draws = fit.result.flat_draws
    assert 10 <= draws.shape[1] < 4_000
    np.testing.assert_array_equal(draws, whole.result.flat_draws[:, : draws.shape[1]])
    assert fit.result.options["draws"] == draws.shape[1]
    assert fit.data["posterior"].sizes["draw"] == draws.shape[1]
    monkeypatch.setattr(nuts, "sample", run)
    same(bg.resume(path), whole)

"""Several processes on this machine, each with rows of its own: one fit, the same in all of them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import bayesglm as bg
from bayesglm.agreeing import _facts_of, _pooled, _sample_sd

ROOT = Path(__file__).parents[1]
HEAD = """
import json, os, sys, time, warnings
import bayesglm as bg
me = bg.distributed({address!r}, num_processes={count}, process_id=int(sys.argv[1]),
                    timeout={timeout}, wait=120)
import numpy as np
import pandas as pd
warnings.simplefilter("ignore", bg.BayesGLMWarning)
if {cache!r}:
    bg.cache({cache!r})
rng = np.random.default_rng(20261126)
n = 1_501
X = rng.normal(size=(n, 3))
p = 1 / (1 + np.exp(-X @ [1.0, 0.5, -1.0]))
frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(
    y=rng.binomial(1, p),
    word=lambda d: np.where(d.y == 1, "yes", "no"),
    t=rng.integers(1, 6, n),
    e=lambda d: rng.binomial(d.t, p),
    # No process has all of the levels.
    g=np.sort(rng.choice(list("uvwxyz"), n)),
    k=rng.integers(0, 30, n),
    w=rng.integers(0, 4, n),
    r=rng.integers(0, 3, n),
    q=rng.integers(0, 4, n),
    s=rng.choice(120, n).astype(str),
)
cuts = [0, 400, n] if me.count == 2 else [0, n]
part = frame[cuts[me.index]:cuts[me.index + 1]]
found = {{}}

def told(fit):
    return {{"coef": fit.coef.to_dict(), "errors": np.sqrt(np.diag(fit.vcov)).tolist(),
            "loglik": fit.loglik, "log_posterior": fit.result.log_posterior,
            "nobs": fit.nobs, "status": fit.status.value}}

def both(name, formula, method, words=None, **options):
    found[name] = [
        told(bg.Model(formula, frame, **(words or {{}})).fit(method, progress=False, **options)),
        told(bg.Model(formula, part, **(words or {{}})).fit(
            method, progress=False, mesh="auto", **options)),
    ]
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return int(one.getsockname()[1])


def start(body: str, *, count: int = 2, timeout: int = 60) -> list[subprocess.Popen]:
    """Start processes that run the same lines."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = "" if os.environ.get("BAYESGLM_TEST_CACHE") == "off" else str(home / "bayesglm-tests")
    head = HEAD.format(
        address=f"localhost:{free_port()}", count=count, cache=cache, timeout=timeout
    )
    code = head + body + "\nprint(json.dumps(found), flush=True)\n"
    return [
        subprocess.Popen(
            [sys.executable, "-c", code, str(process)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process in range(count)
    ]


def end(processes: list[subprocess.Popen], *, limit: int = 600) -> list[tuple[int, str, str]]:
    """Wait for all; return status, output and errors of each."""
    begin, ended = time.monotonic(), []
    try:
        for process in processes:
            out, err = process.communicate(timeout=max(limit - (time.monotonic() - begin), 1))
            ended.append((process.returncode, out, err))
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return ended


def wait_for(word: str, processes: list[subprocess.Popen]) -> None:
    """Read what processes print until each has said a word."""
    for process in processes:
        while True:
            line = process.stdout.readline()
            assert line, process.stderr.read()[-3_000:]
            if line.strip() == word:
                break


def run(body: str, **words) -> list[dict]:
    """Run lines in processes that must all end well; return what each found."""
    ended = end(start(body, **words))
    for status, _, err in ended:
        assert status == 0, err[-3_000:]
    return [json.loads(out.splitlines()[-1]) for _, out, _ in ended]


def same(found: list[dict], tolerance: float = 1e-10) -> None:
    for name in found[0]:
        one, several = found[0][name]
        # To the bit between processes.
        assert all(other[name][1] == several for other in found), name
        assert one["nobs"] == several["nobs"]
        assert one["status"] == several["status"]
        assert list(one["coef"]) == list(several["coef"])
        for word in ("errors", "loglik", "log_posterior"):
            np.testing.assert_allclose(
                several[word], one[word], rtol=tolerance, atol=tolerance, err_msg=f"{name} {word}"
            )
        np.testing.assert_allclose(
            list(several["coef"].values()),
            list(one["coef"].values()),
            rtol=tolerance,
            atol=tolerance,
            err_msg=name,
        )


@pytest.mark.slow
def test_optima_of_two_processes():
    body = """
both("mle", "y ~ a + b + g", "mle")
both("map", "y ~ a + g + C(k)", "map")
both("rstanarm", "y ~ a + g + offset(b)", "map", {"prior": "rstanarm"})
both("clusters", "y ~ a + b + c", "mle", cluster="g")
both("HC3", "y ~ a + b + c", "mle", cov="HC3")
both("words", "word ~ C(g) * a", "mle")
both("counts", "e ~ a + g", "mle", {"trials": "t"})
both("sampling", "y ~ a + g", "map", {"weights": "w", "weights_kind": "sampling"})
both("equal rows", "y ~ C(r) * C(q)", "mle")
"""
    same(run(body))


@pytest.mark.slow
def test_more_optima_of_two_processes():
    body = """
both("many levels", "y ~ a + s", "map")
both("gaussian", "y ~ a + g", "mle", {"family": "gaussian"})
both("lbfgs", "y ~ a + g", "mle", optimizer="lbfgs")
both("jeffreys", "y ~ a + g", "mle", bias_reduction="jeffreys")
both("log", "y ~ g", "mle", {"link": "log"})
"""
    same(run(body))


@pytest.mark.slow
def test_draws_of_two_processes():
    body = """
both("laplace", "y ~ a + g", "laplace")
both("svi", "y ~ a + b", "svi", steps=300)
both("nuts", "y ~ a + b", "nuts", draws=500)
both("auto", "y ~ a + g", "auto")
"""
    found = run(body)
    for name in found[0]:
        one, several = found[0][name]
        assert found[1][name][1] == several, name
        errors = np.array(one["errors"])
        gap = np.subtract(list(several["coef"].values()), list(one["coef"].values())) / errors
        assert np.abs(gap).max() < 4 * np.sqrt(2 / 1_000), name
        np.testing.assert_allclose(several["errors"], errors, rtol=0.1, err_msg=name)


@pytest.mark.slow
def test_what_cannot_be_agreed_on_is_refused_in_all():
    body = """
def attempt(name, formula, data, method="mle", words=None, **options):
    try:
        bg.Model(formula, data, **(words or {})).fit(method, mesh="auto", progress=False, **options)
        found[name] = ""
    except bg.BayesGLMError as error:
        found[name] = str(error)

attempt("other formula", "y ~ a + b" if me.index else "y ~ a", part)
attempt("other method", "y ~ a", part, "map" if me.index else "mle")
attempt("other kind", "y ~ a", part.assign(a=part.a.astype(str)) if me.index else part)
attempt("event", "z ~ a", part.assign(z=np.where(part.y == 1, "yes", "no" if me.index else "not")))
attempt("transform", "y ~ bs(a, df=5)", part)
attempt("groups", "y ~ a + (1 | g)", part)
attempt("profile", "y ~ a", part, ci="profile")
attempt("separated", "y ~ a", part.assign(y=(part.a > 0).astype(int)))
attempt("one outcome", "y ~ a", part.assign(y=0))
attempt("aliased", "y ~ a + a2", part.assign(a2=2 * part.a))
fit = bg.Model("y ~ a", part).fit("mle", mesh="auto")
for name, ask in (("with_cov", lambda: fit.with_cov("HC3")), ("deviance", lambda: fit.deviance)):
    try:
        ask()
    except bg.SpecificationError as error:
        found[name] = str(error)
# Each predicts for its own rows.
found["rows"] = "" if len(fit.predict()) == len(part) else "other rows"
# After all that, a fit goes as before.
attempt("well", "y ~ a", part)
"""
    expected = {
        "other formula": "differ in their formula",
        "other method": "differ in their options",
        "other kind": "of another kind in another process",
        "event": "event=",
        "transform": "several processes",
        "groups": "several processes",
        "profile": "several processes",
        "separated": "rises for ever",
        "one outcome": "no events",
        "aliased": "linear combinations",
        "with_cov": "rows of all processes",
        "deviance": "rows of all processes",
        "rows": "",
        "well": "",
    }
    for found in run(body):
        assert list(found) == list(expected)
        for name, words in expected.items():
            assert words in found[name], name
            assert words or not found[name], name


LONG = """
model = bg.Model("y ~ a + b", part)
model.fit("mle", mesh="auto")
print("going", flush=True)
model.fit("nuts", mesh="auto", draws=100_000, progress=False)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("dying", [0, 1])
def test_a_process_that_dies_ends_the_others(dying):
    processes = start(LONG, timeout=20)
    try:
        wait_for("going", processes)
        time.sleep(2)
        processes[dying].kill()
        begin = time.monotonic()
        ended = end(processes, limit=60)
        assert time.monotonic() - begin < 30
    finally:
        for process in processes:
            process.kill()
    status, _, err = ended[1 - dying]
    assert status != 0
    # Of the first process the others learn through JAX, which ends them by itself.
    assert "another process has ended" in err or "another task died" in err


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs SIGSTOP")
def test_a_process_without_a_sign_of_life_ends_the_others():
    processes = start(LONG, timeout=10)
    try:
        wait_for("going", processes)
        time.sleep(2)
        os.kill(processes[1].pid, signal.SIGSTOP)
        begin = time.monotonic()
        _, err = processes[0].communicate(timeout=60)
        assert time.monotonic() - begin < 40
        assert processes[0].returncode != 0
        assert "heartbeats" in err or "another process has ended" in err
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.mark.slow
def test_an_error_in_one_process_ends_the_others():
    body = """
model = bg.Model("y ~ a + b", part)
if me.index == 1:
    raise RuntimeError("trouble of its own")
model.fit("nuts", mesh="auto", progress=False)
"""
    begin = time.monotonic()
    ended = end(start(body))
    assert [status for status, _, _ in ended] == [1, 1]
    assert "trouble of its own" in ended[1][2]
    assert "another process has ended" in ended[0][2]
    assert time.monotonic() - begin < 120


@pytest.mark.slow
def test_a_stopped_run_goes_on_in_all_processes(tmp_path):
    path = str(tmp_path / "run.npz")
    words = '"nuts", draws=100, chains=2, mesh="auto", progress=False'
    head = f"""
from bayesglm.inference import checkpoint, nuts
nuts.kernel.block_length = lambda rows, columns: 20
checkpoint.Checkpoint.due = True
model = bg.Model("y ~ a + g", part)
path = {path!r}
"""
    stopped = (
        head
        + f"""
write, count = checkpoint.Checkpoint.write, [0]

def counted(self, words, arrays):
    # The processes are not stopped at the same step.
    if count[0] >= 3 + me.index:
        os._exit(7)
    count[0] += 1
    write(self, words, arrays)

whole = model.fit({words})
np.save(path + str(me.index), whole.result.flat_draws)
checkpoint.Checkpoint.write = counted
model.fit({words}, checkpoint=path)
"""
    )
    ended = end(start(stopped))
    assert 7 in [status for status, _, _ in ended]
    assert (tmp_path / "run.0.npz").exists()
    assert (tmp_path / "run.1.npz").exists()
    again = (
        head
        + """
fit = bg.resume(path, mesh="auto", progress=False)
whole = np.load(path + str(me.index) + ".npy")
found["same"] = bool((fit.result.flat_draws == whole).all())
found["nobs"] = fit.nobs
"""
    )
    assert run(again) == [{"same": True, "nobs": 1_501}] * 2


@pytest.mark.slow
def test_one_process_alone():
    body = 'both("mle", "y ~ a + b + g", "mle")\nfound["mle"] = found["mle"]'
    same(run(body, count=1))


@pytest.mark.slow
def test_the_command_of_the_documentation(tmp_path):
    page = (ROOT / "docs" / "howto" / "sharding.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```python\n(import bayesglm as bg\n\nme = .*?)```", page, re.DOTALL)
    (command,) = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    (shown,) = re.findall(r"```text\n(100000 .*?)```", page, re.DOTALL)
    (tmp_path / "fit_parts.py").write_text(script)
    command = command.replace("12355", str(free_port())).replace("python ", f"{sys.executable} ")
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert shown in done.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"coordinator_address": "localhost"}, "host:port"),
        ({"num_processes": 0}, "whole number"),
        ({"process_id": -1}, "whole number"),
        ({"num_processes": 2, "process_id": 2}, "counted from 0"),
        ({"timeout": 0}, "whole seconds"),
        ({"wait": 1.5}, "whole seconds"),
    ],
)
def test_odd_words_are_refused(words, told):
    with pytest.raises(bg.SpecificationError, match=told):
        bg.distributed(**words)


def test_odd_words_of_the_environment_are_refused(monkeypatch):
    monkeypatch.setenv("JAX_NUM_PROCESSES", "two")
    with pytest.raises(bg.SpecificationError, match="num_processes must be a whole number"):
        bg.distributed("localhost:1234", process_id=0)


def test_after_a_computation_it_is_too_late():
    bg.Model("damage ~ temperature", bg.datasets.challenger()).fit("mle")
    with pytest.raises(bg.SpecificationError, match="first of all"):
        bg.distributed("localhost:1234", num_processes=2, process_id=0)


def test_moments_of_parts_are_those_of_the_whole():
    rng = np.random.default_rng(1)
    values = rng.normal(5, 2, size=100)
    parts = [values[:13], values[13:]]
    mean, variance = _pooled([13, 87], [v.mean() for v in parts], [v.var() for v in parts])
    np.testing.assert_allclose([mean, variance], [values.mean(), values.var()], rtol=1e-13)
    sd = _sample_sd([13, 87], [v.mean() for v in parts], [v.std(ddof=1) for v in parts])
    np.testing.assert_allclose(sd, values.std(ddof=1), rtol=1e-13)
    # A part of one row has no sd of its own.
    sd = _sample_sd([1, 99], [values[0], values[1:].mean()], [0.0, values[1:].std(ddof=1)])
    np.testing.assert_allclose(sd, values.std(ddof=1), rtol=1e-13)


@pytest.mark.parametrize(
    ("ends", "kinds", "expected"),
    [
        ([(0, 1), (0, 1)], ["binary", "binary"], "binary"),
        ([(0, 0), (1, 1)], ["constant", "constant"], "binary"),
        ([(1, 1), (1, 1)], ["constant", "constant"], "constant"),
        ([(0, 1), (2, 2)], ["binary", "constant"], "numeric"),
        ([(0, 1), (0, 1)], ["binary", "numeric"], "numeric"),
    ],
)
def test_the_kind_of_a_column_is_that_of_all_rows(ends, kinds, expected):
    parts = [
        {"term": "x", "variables": ["x"], "categorical": False, "kind": kind, "mean": 0.0,
         "sd": 1.0, "minimum": lower, "maximum": upper, "mean_rows": 0.0, "sd_rows": 1.0}
        for (lower, upper), kind in zip(ends, kinds, strict=True)
    ]  # fmt: skip
    assert _facts_of(parts, [{"mass": 1.0, "nobs": 2}] * 2).kind == expected

"""Rows over several devices: the same numbers as on one.

A process has as many CPU devices as it starts with, so each test runs a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import bayesglm as bg

ROOT = Path(__file__).parents[1]
HEAD = """
import json, sys, warnings
import jax
jax.config.update("jax_num_cpu_devices", {devices})
import numpy as np
import optax
import pandas as pd
import bayesglm as bg
from bayesglm import processes
warnings.simplefilter("ignore", bg.BayesGLMWarning)
if {cache!r}:
    bg.cache({cache!r})
rng = np.random.default_rng(20261126)
n = 1_501
X = rng.normal(size=(n, 3))
p = 1 / (1 + np.exp(-X @ [1.0, 0.5, -1.0]))
frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(
    y=rng.binomial(1, p),
    t=rng.integers(1, 6, n),
    e=lambda d: rng.binomial(d.t, p),
    g=rng.choice(list("uvwxyz"), n),
    k=rng.integers(0, 30, n),
    w=rng.integers(0, 4, n),
    r=rng.integers(0, 3, n),
    q=rng.integers(0, 4, n),
    s=rng.choice(120, n).astype(str),
)
found = {{}}

def both(name, model, method, **options):
    fits = [model.fit(method, progress=False, **options),
            model.fit(method, progress=False, mesh={devices}, **options)]
    found[name] = [
        {{"coef": list(fit.coef), "errors": list(np.sqrt(np.diag(fit.vcov))), "loglik": fit.loglik,
          "status": fit.status.value}}
        for fit in fits
    ]
    return fits
"""


def run(body: str, *, devices: int, timeout: int = 300) -> dict:
    """Run lines in a process with so many CPU devices; return what it found."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = "" if os.environ.get("BAYESGLM_TEST_CACHE") == "off" else str(home / "bayesglm-tests")
    code = HEAD.format(devices=devices, cache=cache) + body + "\nprint(json.dumps(found))\n"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    return json.loads(done.stdout.splitlines()[-1])


def same(found: dict, *, tolerance: float = 1e-10) -> None:
    for name, (one, several) in found.items():
        assert one["status"] == several["status"], name
        for word in ("coef", "errors", "loglik"):
            np.testing.assert_allclose(
                several[word], one[word], rtol=tolerance, atol=tolerance, err_msg=f"{name} {word}"
            )


def test_two_devices():
    body = """
model = bg.Model("y ~ a + b + g", frame)
both("mle", model, "mle")
both("HC3", model, "mle", cov="HC3")
"""
    same(run(body, devices=2))


@pytest.mark.slow
def test_learned_shapes():
    body = """
both("lapse", bg.Model("y ~ a + b", frame, lapse=True), "map")
both("robit", bg.Model("y ~ a + b", frame, link="student_t"), "map")
"""
    same(run(body, devices=2), tolerance=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 4])
def test_optima(devices):
    body = """
model = bg.Model("y ~ a + b + c + g", frame)
both("mle", model, "mle")
both("map", model, "map")
both("clusters", model, "mle", cluster="k")
both("counts", bg.Model("e ~ a + g", frame, trials="t"), "mle")
both("weights", bg.Model("y ~ a + g", frame, weights="w"), "map")
both("sampling", bg.Model("y ~ a + g", frame, weights="w", weights_kind="sampling"), "mle")
both("equal rows", bg.Model("y ~ C(r) * C(q)", frame), "mle")
both("sparse", bg.Model("y ~ a + s", frame), "map")
both("sparse HC2", bg.Model("e ~ a + s", frame, trials="t"), "mle", cov="HC2")
both("lbfgs", model, "mle", optimizer="lbfgs")
both("own optimiser", model, "map", optimizer=optax.adam(0.1), steps=300)
both("gaussian", bg.Model("y ~ a + b", frame, family="gaussian"), "mle")
both("log", bg.Model("y ~ g", frame, link="log"), "mle")
both("cauchit", bg.Model("y ~ a + b", frame, link="cauchit"), "mle")
both("jeffreys", model, "mle", bias_reduction="jeffreys")
both("intercept", bg.Model("y ~ 1 + offset(b)", frame), "mle")
"""
    same(run(body, devices=devices))


@pytest.mark.slow
def test_rows_that_do_not_divide():
    body = """
for rows in (7, 8, 129):
    both(str(rows), bg.Model("y ~ a + b", frame[:rows]), "map")
"""
    same(run(body, devices=3))


@pytest.mark.slow
def test_groups_and_curves():
    body = """
both("groups", bg.Model("y ~ a + (1 | g)", frame), "mle")
both("groups map", bg.Model("y ~ a + (1 | g)", frame), "map")
both("curve", bg.Model("y ~ s(a)", frame), "mle")
"""
    same(run(body, devices=4), tolerance=1e-7)


@pytest.mark.slow
def test_networks():
    body = """
model = bg.Model("y ~ a", frame, add=[bg.Network("~ b + c", hidden=(4,))])
both("network", model, "map", steps=100)
"""
    found = run(body, devices=2)
    for one, several in found.values():
        np.testing.assert_allclose(several["coef"], one["coef"], rtol=1e-6)


@pytest.mark.slow
def test_single_precision():
    found = run('both("mle", bg.Model("y ~ a + b", frame, precision="float32"), "mle")', devices=2)
    same(found, tolerance=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 4])
def test_draws(devices):
    # Sums over rows are rounded in another order, so draws differ in the last digits, and the
    # sampler's trajectories part sooner or later.
    body = """
model = bg.Model("y ~ a + b", frame)
both("laplace", model, "laplace")
both("svi", model, "svi", steps=300)
both("nuts", model, "nuts", draws=500, seed=3)
few = [model.fit("nuts", draws=3, warmup=2, mesh=mesh, progress=False) for mesh in (None, {devices})]
found["first"] = float(abs(few[0].result.flat_draws - few[1].result.flat_draws).max())
"""
    found = run(body.replace("{devices}", str(devices)), devices=devices)
    assert found.pop("first") < 1e-6
    for name, (one, several) in found.items():
        errors = np.array(one["errors"])
        # 2,000 draws: four Monte Carlo errors of a difference of means.
        gap = np.abs(np.subtract(several["coef"], one["coef"])) / errors
        assert gap.max() < 4 * np.sqrt(2 / 1_000), name
        np.testing.assert_allclose(several["errors"], errors, rtol=0.1, err_msg=name)


@pytest.mark.slow
def test_a_stopped_run_goes_on_over_devices(tmp_path):
    body = f"""
from bayesglm.inference import checkpoint, nuts
nuts.kernel.block_length = lambda rows, columns: 20
model = bg.Model("y ~ a + b", frame)
whole = model.fit("nuts", draws=100, chains=2, mesh=2, progress=False)
path = {str(tmp_path / "run.npz")!r}
write, count = checkpoint.Checkpoint.write, [0]
checkpoint.Checkpoint.due = True

class Stopped(Exception):
    pass

def counted(self, words, arrays):
    if count[0] >= 3:
        raise Stopped
    count[0] += 1
    write(self, words, arrays)

checkpoint.Checkpoint.write = counted
try:
    model.fit("nuts", draws=100, chains=2, mesh=2, checkpoint=path, progress=False)
except Stopped:
    found["stopped"] = True
checkpoint.Checkpoint.write = write
again = bg.resume(path, mesh=2, progress=False)
found["same"] = bool((again.result.flat_draws == whole.result.flat_draws).all())
"""
    assert run(body, devices=2) == {"stopped": True, "same": True}


def test_sums_are_made_on_each_device():
    # The matrix must not be sent around: the compiled program has all-reduces of small arrays only.
    body = """
import re
from bayesglm.inference.newton import climb
from bayesglm.inference.sharding import over
from bayesglm.implied import target_of
from bayesglm.shards import as_mesh
from bayesglm.precision import scope
import jax.numpy as jnp
model = bg.Model("y ~ a + b + c", pd.concat([frame] * 20, ignore_index=True).assign(
    a=lambda d: d.a + rng.normal(size=len(d))))
target = over(lambda **w: target_of(model.spec, model.design, model.priors, flat=True), {}, as_mesh(2))
with scope():
    one = jnp.asarray(1.0)
    text = climb.lower(target.structure, target.arrays, jnp.zeros(target.size), one * 0, one, one,
                       jnp.asarray(9), linear=True, jacobian=False).compile().as_text()
moved = re.findall(r"= (.*?) (?:all-gather|all-to-all|collective-permute)", text)
found["gathered"] = moved
found["reduced"] = len(re.findall("all-reduce", text))
"""
    found = run(body, devices=2)
    assert found["gathered"] == []
    assert found["reduced"] > 0


@pytest.mark.parametrize(
    ("mesh", "options", "words"),
    [
        ("all", {}, "no mesh"),
        (1.5, {}, "no mesh"),
        (True, {}, "no mesh"),
        (0, {}, "devices here"),
        (1_000, {}, "devices here"),
        (1, {"batch_size": 10}, "mini-batches"),
    ],
)
def test_what_is_refused(small, mesh, options, words):
    model = bg.Model("y ~ x1", small)
    with pytest.raises(bg.SpecificationError, match=words):
        model.fit("map", mesh=mesh, **options)


def test_a_mesh_of_two_axes_is_refused(small):
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ("rows", "columns"))
    with pytest.raises(bg.SpecificationError, match="one axis"):
        bg.Model("y ~ x1", small).fit("mle", mesh=mesh)


def test_a_mesh_of_one_device(small):
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("whatever",))
    model = bg.Model("y ~ x1", small)
    one = model.fit("mle")
    for given in (mesh, 1, "auto"):
        np.testing.assert_allclose(model.fit("mle", mesh=given).coef, one.coef, rtol=1e-12)

"""The command line, run as a person runs it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import bayesglm as bg
from bayesglm import cli


@pytest.fixture
def csv(tmp_path):
    rng = np.random.default_rng(1)
    x = rng.normal(size=200)
    frame = pd.DataFrame(
        {
            "x": x,
            "region": rng.choice(["north", "south"], 200),
            "claimed": np.where(rng.uniform(size=200) < 1 / (1 + np.exp(-x)), "yes", "no"),
        }
    )
    path = tmp_path / "claims.csv"
    frame.to_csv(path, index=False)
    return path


def run(*arguments):
    """Run the command line in this process, through the door that handles errors."""
    import contextlib
    import io

    out, err = io.StringIO(), io.StringIO()
    code = 0
    old = sys.argv
    sys.argv = ["bayesglm", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                cli.main()
            except SystemExit as stop:
                code = stop.code or 0
    finally:
        sys.argv = old
    return code, out.getvalue(), err.getvalue()


def test_fit_predict_round_trip(csv, tmp_path):
    out = tmp_path / "fit.nc"
    code, text, _ = run("fit", csv, "claimed ~ x + region", "--out", out)
    assert code == 0
    assert "region[T.south]" in text
    assert "claimed = yes (not no)" in text
    new = tmp_path / "new.csv"
    pd.DataFrame({"x": [0.0, 1.0], "region": ["north", "south"]}).to_csv(new, index=False)
    code, text, _ = run("predict", out, new)
    assert code == 0
    rows = [line.split(",") for line in text.strip().splitlines()]
    assert rows[0] == ["x", "region", "estimate", "lower", "upper"]
    expected = bg.load(out).predict(pd.read_csv(new))
    np.testing.assert_allclose([float(r[2]) for r in rows[1:]], expected)


def test_predictions_with_groups_and_lapses(tmp_path):
    path, out, new = tmp_path / "herds.csv", tmp_path / "fit.nc", tmp_path / "new.csv"
    bg.datasets.cbpp().to_csv(path, index=False)
    words = ("--trials", "size", "--out", out)
    assert run("fit", path, "incidence ~ C(period) + (1 | herd)", *words)[0] == 0
    pd.DataFrame({"period": [1, 1], "herd": [1, 99]}).to_csv(new, index=False)
    code, _, told = run("predict", out, new)
    assert (code, "99" in told) == (1, True)
    found = {}
    for name in ("zero", "sample"):
        code, text, _ = run("predict", out, new, "--new-groups", name)
        assert code == 0
        found[name] = float(text.strip().splitlines()[2].split(",")[2])
    code, text, _ = run("predict", out, new, "--groups", "none")
    assert [float(r.split(",")[2]) for r in text.strip().splitlines()[1:]] == [found["zero"]] * 2
    assert found["sample"] != found["zero"]
    code, text, _ = run("fit", path, "incidence ~ C(period)", "--trials", "size", "--lapse")
    assert code == 0
    assert "link logit with lapses" in text


def test_a_pattern_of_files_is_read_by_blocks(csv, tmp_path):
    table = pd.read_csv(csv)
    table["u"] = np.random.default_rng(0).normal(size=len(table))
    for part in (0, 1):
        table.iloc[part::2].to_parquet(tmp_path / f"part-{part}.parquet")
    out = tmp_path / "fit.nc"
    words = ("claimed ~ x + u", "--memory", "50MB", "--out", out)
    code, _, told = run("fit", tmp_path / "part-*.parquet", *words)
    assert (code, told) == (0, "")
    np.testing.assert_allclose(
        bg.load(out).coef, bg.Model("claimed ~ x + u", table).fit("mle").coef, rtol=1e-8
    )
    code, _, told = run("fit", tmp_path / "none-*.parquet", "claimed ~ x")
    assert code == 1
    assert "none-*" in told


def test_parquet_probit_nuts(csv, tmp_path):
    parquet = tmp_path / "claims.parquet"
    pd.read_csv(csv).to_parquet(parquet)
    code, text, _ = run(
        "fit", parquet, "claimed ~ x", "--link", "probit", "--method", "nuts", "--event", "no"
    )
    assert code == 0
    assert "r_hat" in text
    assert "claimed = no" in text


def test_demo(tmp_path, csv, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, text, _ = run("demo")
    assert code == 0
    assert "P(damage at 31 °F)" in text
    assert "15 (7.4)" in text
    assert "laplace" in text
    import xarray as xr

    with xr.open_datatree(tmp_path / "challenger.nc", engine="h5netcdf") as tree:
        assert "posterior" in tree.children
    code, text, _ = run("demo", "--data", csv, "--formula", "claimed ~ x")
    assert code == 0
    assert (tmp_path / "fit.nc").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("fit", "nowhere.csv", "y ~ x"), "no such file"),
        (("fit", "CSV", "claimed ~ z"), "no column 'z'"),
        (("fit", "CSV", "claimed ~ x +"), "does not parse"),
        (("fit", "CSV", "claimed ~ x", "--link", "logti"), 'did you mean "logit"?'),
        (("fit", "CSV", "claimed ~ x", "--method", "nut"), "nuts"),
        (("fit", "CSV", "claimed ~ np.load('x')"), "not allowed"),
        (("predict", "CSV", "CSV"), "damaged or foreign"),
    ],
)
def test_errors_are_one_line(csv, arguments, word):
    code, _, err = run(*(csv if argument == "CSV" else argument for argument in arguments))
    assert code == 1
    assert word in err
    assert len(err.strip().splitlines()) == 1
    assert err.startswith("bayesglm: ")


def test_no_traceback_from_the_shell(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "bayesglm", "fit", str(tmp_path / "x.csv"), "y ~ x"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_help_names_the_commands():
    text = CliRunner().invoke(cli.app, ["--help"]).output
    for command in ("demo", "fit", "predict"):
        assert command in text


def test_a_checkpoint_and_its_resumption(csv, tmp_path):
    path, out = tmp_path / "run.npz", tmp_path / "fit.nc"
    code, first, _ = run(
        "fit", csv, "claimed ~ x", "--method", "nuts", "--seed", "1", "--checkpoint", path
    )
    assert code == 0
    code, again, _ = run("resume", path, "--out", out)
    assert code == 0
    assert again.splitlines()[-1] == f"saved to {out}"
    # The table is the same; the header has the seconds.
    assert first.splitlines()[-3:] == [line for line in again.splitlines() if line][-4:-1]
    assert bg.load(out).method == "nuts"
    code, _, err = run("fit", csv, "claimed ~ x", "--checkpoint", path)
    assert code == 1
    assert 'method "mle" has no option "checkpoint"' in err
    code, _, err = run("resume", tmp_path / "nothing.npz")
    assert code == 1
    assert "no such file" in err


SEPARATED = "\n".join(["x,y", *(f"{k},{int(k > 5)}" for k in range(12))])


def test_separated_data_name_the_column(tmp_path):
    (tmp_path / "data.csv").write_text(SEPARATED)
    code, _, err = run("fit", tmp_path / "data.csv", "y ~ x")
    assert code == 1
    assert "x > 5.5 in every row with the event" in err
    assert len(err.splitlines()) == 1


def test_strict_is_an_exit_code(tmp_path):
    data, saved = tmp_path / "data.csv", tmp_path / "fit.nc"
    data.write_text(SEPARATED)
    loud = ("fit", data, "y ~ x", "--separation", "warn")
    code, out, _ = run(*loud, "--strict", "--out", saved)
    assert code == 3
    assert "error [separation]" in out
    assert run(*loud)[0] == 0
    code, out, _ = run("fit", data, "y ~ x", "--bias-reduction", "jeffreys", "--strict")
    assert code == 0
    assert "bias reduction" in out
    code, out, _ = run("diagnose", saved, "--strict")
    assert code == 3
    assert "error [separation]" in out

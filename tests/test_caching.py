"""Compiled programs kept between processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import bayesglm as bg
from bayesglm import caching

FIT = """
import sys
import bayesglm as bg
if len(sys.argv) > 1:
    print(bg.cache(sys.argv[1]))
# Something was compiled before: the cache is used all the same.
fit = bg.Model("damage ~ temperature", bg.datasets.challenger()).fit("mle")
print(repr(fit.coef.to_dict()))
"""


def python(code, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def programs(folder):
    return {file.name for file in folder.glob("*-cache")}


def test_a_second_process_compiles_nothing(tmp_path):
    folder = tmp_path / "new" / "programs"
    first = python(FIT, folder)
    assert first[0] == str(folder)
    kept = programs(folder)
    assert kept
    assert python(FIT, folder) == first
    assert programs(folder) == kept
    assert python(FIT)[-1] == first[-1]


def test_the_command_line_keeps_programs(tmp_path):
    csv = tmp_path / "data.csv"
    bg.datasets.challenger().to_csv(csv, index=False)
    call = [sys.executable, "-m", "bayesglm", "fit", str(csv), "damage ~ temperature"]
    home = {"XDG_CACHE_HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path), "HOME": str(tmp_path)}
    base = {name: value for name, value in os.environ.items() if name != "BAYESGLM_CACHE"}
    subprocess.run(call, env=base | home | {"BAYESGLM_CACHE": "off"}, check=True)
    assert not programs(tmp_path / "bayesglm")
    subprocess.run(call, env=base | home, check=True)
    found = list(tmp_path.rglob("*-cache"))
    assert found
    # A folder that cannot be made is no reason not to fit.
    blocked = tmp_path / "file"
    blocked.write_text("")
    places = dict.fromkeys(home, str(blocked))
    subprocess.run(call, env=base | places, check=True, capture_output=True)


def test_a_folder_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(bg.StorageError, match="the cache cannot be used"):
        bg.cache(tmp_path / "file" / "folder")


def test_the_oldest_programs_go(tmp_path, monkeypatch):
    monkeypatch.setattr(caching, "LARGEST", 250)
    for age, name in enumerate(["new", "middle", "old"]):
        path = tmp_path / f"{name}-cache"
        path.write_bytes(bytes(100))
        os.utime(path, (1e9 - age, 1e9 - age))
    (tmp_path / "mine.txt").write_bytes(bytes(1_000))
    caching._prune(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"new-cache", "middle-cache", "mine.txt"}

"""The README says what is so: its example runs, its output is what it shows, its links lead somewhere."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"-?\d+\.\d+")


def test_the_example_prints_what_the_readme_shows(tmp_path, monkeypatch):
    code, shown = re.search(r"```python\n(.*?)```\s+```text\n(.*?)```", README, re.DOTALL).groups()
    monkeypatch.chdir(tmp_path)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, {})
    printed = out.getvalue()
    assert NUMBER.sub("#", printed).split() == NUMBER.sub("#", shown).split()
    # Draws differ in the last digit from one machine to another.
    numbers = [np.array(NUMBER.findall(text), dtype=float) for text in (printed, shown)]
    np.testing.assert_allclose(*numbers, atol=0.011)
    assert {path.name for path in tmp_path.iterdir()} == {"titanic.svg", "titanic.html"}


def test_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)#]+)", README)
    assert len(targets) > 15
    missing = [target for target in targets if not (ROOT / target).exists()]
    assert not missing

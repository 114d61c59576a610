"""The pages of the site say what is so: their code runs in order, and prints what they show."""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import bayesglm as bg

DOCS = Path(__file__).parents[1] / "docs"
# Made while the site is built.
MADE = ("_build", "notebooks", "api")
PAGES = sorted(
    path
    for path in DOCS.rglob("*.md")
    if path.relative_to(DOCS).parts[0] not in MADE and "```python\n" in path.read_text("utf-8")
)
BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n)?^```python\n(?P<code>.*?)^```$"
    r"(?:\n\n^```text\n(?P<shown>.*?)^```$)?",
    re.DOTALL | re.MULTILINE,
)
NUMBER = re.compile(r"-?(?:\d+\.\d*|\d+)(?:e[-+]?\d+)?|\bnan\b")


@dataclass(frozen=True)
class Block:
    """A block of Python, the line it begins at, what it prints, and why it is not run."""

    code: str
    line: int
    shown: str | None
    reason: str | None


def blocks_of(text: str) -> list[Block]:
    return [
        Block(
            match["code"],
            text.count("\n", 0, match.start("code")) + 1,
            match["shown"],
            match["reason"],
        )
        for match in BLOCK.finditer(text)
    ]


def name_of(path: Path) -> str:
    return path.relative_to(DOCS).with_suffix("").as_posix()


def assert_prints(printed: str, shown: str) -> None:
    """Words must be the same, numbers nearly: draws differ in the last digit between machines."""
    assert NUMBER.sub("#", printed).split() == NUMBER.sub("#", shown).split(), printed
    numbers = [np.array(NUMBER.findall(text), dtype=float) for text in (printed, shown)]
    # A hundredth of what is large, one unit of the last of two digits else.
    np.testing.assert_allclose(*numbers, rtol=0.03, atol=0.011, err_msg=printed)


def test_every_block_is_seen():
    for path in PAGES:
        text = path.read_text("utf-8")
        assert len(blocks_of(text)) == text.count("```python\n"), name_of(path)
        assert text.count("<!-- not run: ") == sum(b.reason is not None for b in blocks_of(text))


def test_the_reference_has_every_public_name():
    listed, module = set(), ""
    for line in (DOCS / "api.md").read_text("utf-8").split("\n"):
        if line.startswith(".. currentmodule:: "):
            module = line.removeprefix(".. currentmodule:: ")
        elif re.fullmatch(r"   [A-Za-z_][\w.]*", line):
            listed.add(f"{module}.{line.strip()}")
    modules = {"bayesglm": bg, "bayesglm.plots": bg.plots, "bayesglm.datasets": bg.datasets}
    public = {f"{name}.{word}" for name, module in modules.items() for word in module.__all__}
    public -= {"bayesglm.datasets", "bayesglm.links", "bayesglm.plots"}
    assert public - listed == set()


def test_every_page_stands_in_a_table_of_contents():
    trees = "".join(path.read_text("utf-8") for path in DOCS.rglob("*.md"))
    listed = {line for tree in re.findall(r"```{toctree}\n(.*?)```", trees, re.DOTALL)
              for line in tree.split("\n")}  # fmt: skip
    for path in DOCS.rglob("*.md"):
        name = name_of(path)
        if name.split("/")[0] not in MADE and name != "index":
            assert {name, name.split("/")[-1]} & listed, name


@pytest.mark.parametrize("text", ["x 1.00 nan", "y 1.02 nan", "x 1.00 0.5"])
def test_what_is_printed_is_compared(text):
    assert_prints("x 1.01 nan", "x 1.00 nan")
    if text != "x 1.00 nan":
        with pytest.raises(AssertionError):
            assert_prints("x 1.00 nan", text.replace("1.02", "1.50"))


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_page(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks_of(path.read_text("utf-8")):
        if block.reason is not None:
            continue
        out = io.StringIO()
        # As many lines before it as in the page, so that a traceback names the line.
        code = compile("\n" * (block.line - 1) + block.code, f"{name_of(path)}.md", "exec")
        with contextlib.redirect_stdout(out):
            exec(code, names)
        if block.shown is not None:
            assert_prints(out.getvalue(), block.shown)

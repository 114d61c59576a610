"""Every notebook runs from top to bottom in a fresh kernel, without a warning; none keeps outputs.

Execution needs the dependency group ``notebooks``:
``uv run --group notebooks pytest -m slow tests/test_notebooks.py``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# Seconds that one cell may take, and kilobytes that a file may have.
PATIENCE, LARGEST = 600, 100


def ids(path: Path) -> str:
    return path.stem


def cells(path: Path, kind: str) -> list[dict[str, Any]]:
    content = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in content["cells"] if cell["cell_type"] == kind]


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS, f"no notebook in {FOLDER}"
    numbers = [path.stem.split("_")[0] for path in NOTEBOOKS]
    assert numbers == [f"{k + 1:02d}" for k in range(len(numbers))]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_what_is_committed_is_clean(path: Path) -> None:
    """No outputs, counts or times: they differ from run to run, and nobody can review them."""
    assert path.stat().st_size < LARGEST * 1_000
    for cell in cells(path, "code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["metadata"]["kernelspec"]["name"] == "python3"
    assert not any(cell["metadata"] for cell in content["cells"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_it_begins_with_a_title(path: Path) -> None:
    first = cells(path, "markdown")[0]["source"]
    assert "".join(first).startswith("# ")


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_runs_in_a_fresh_kernel(path: Path, tmp_path: Path) -> None:
    reason = "notebooks need their group: uv run --group notebooks pytest -m slow"
    nbclient = pytest.importorskip("nbclient", reason=reason)
    pytest.importorskip("ipykernel", reason=reason)
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    # An error in a cell raises CellExecutionError, with the cell and its traceback.
    nbclient.NotebookClient(
        notebook,
        timeout=PATIENCE,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    told = [output["text"] for output in outputs if output.get("name") == "stderr"]
    assert not told, "a cell warned"
    assert not list(tmp_path.iterdir()), "a cell wrote a file"

"""The notebooks run from top to bottom in a fresh kernel; what is committed is clean.

Execution needs the dependency group ``notebooks``:
``uv run --group notebooks pytest -m slow tests/test_notebooks.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# Seconds that one cell may take, and kilobytes that a file with its figures may have.
PATIENCE, LARGEST = 600, 600


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS, f"no notebook in {FOLDER}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_committed_was_run_and_is_clean(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert path.stat().st_size < LARGEST * 1_000
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]
    words = json.dumps([{**o, "data": {**o.get("data", {}), "image/png": ""}} for o in outputs])
    for place in ("/home/", "/root/", "/tmp/", "/Users/", "site-packages"):
        assert place not in words, f"{path.name} shows a path of the machine it ran on"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
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
    told = [
        output["text"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.get("name") == "stderr"
    ]
    assert not told, "a cell warned"

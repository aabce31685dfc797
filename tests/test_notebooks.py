"""The notebooks run top to bottom as they are committed."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="the extra 'notebooks' is not installed: nbformat is missing")
nbclient = pytest.importorskip("nbclient", reason="the extra 'notebooks' is not installed: nbclient is missing")
pytest.importorskip("ipykernel", reason="the extra 'notebooks' is not installed: ipykernel is missing")

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SECONDS_A_CELL = 300
LARGEST = 300_000


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def run(notebook: Any, folder: Path) -> Any:
    nbclient.NotebookClient(
        notebook, timeout=SECONDS_A_CELL, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return notebook


def printed(notebook: Any) -> str:
    """Everything that cells printed or returned as text."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "\n".join(output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in outputs)


def test_there_is_a_quickstart() -> None:
    assert FOLDER / "quickstart.ipynb" in NOTEBOOKS


@pytest.fixture
def small_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFSHOP_QUICK", "1")
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent))  # the kernel starts in an empty folder


def test_quickstart_runs_top_to_bottom(small_sample: None, tmp_path: Path) -> None:
    """It trains, compresses, saves and scores, its golden scores agree, and nothing is left where it runs."""
    text = printed(run(read(FOLDER / "quickstart.ipynb"), tmp_path))
    assert re.search(r"x smaller", text)
    assert re.search(r"100 golden rows, largest gap [0-9.e-]+", text)
    assert not list(tmp_path.iterdir())


def test_a_cell_that_fails_fails_the_run(tmp_path: Path) -> None:
    """The runner can fail: an error in a cell is not passed over."""
    broken = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="ZeroDivisionError"):
        run(broken, tmp_path)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_outputs_are_small_and_name_no_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text) <= LARGEST
    assert not re.search(r"/(home|root|Users|work|tmp)/", text)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_explains_itself_between_its_cells(path: Path) -> None:
    """Each code cell follows words; nobody has to read code to know why it is there."""
    kinds = [cell.cell_type for cell in read(path).cells]
    assert kinds[0] == "markdown"
    assert all(before == "markdown" for before, kind in pairwise(kinds) if kind == "code")

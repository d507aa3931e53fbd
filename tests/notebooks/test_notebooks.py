"""Every notebook runs from clean on the sample storefront, and is kept thin and without outputs."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from notebooks_run import NOTEBOOKS, read_notebook, run_notebooks

from recsys.workspace import Workspace

MAX_LINES = 20


def test_there_are_six() -> None:
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05", "06"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_thin_and_has_no_outputs(path: Path) -> None:
    notebook = read_notebook(path)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.metadata.get("tags") for cell in cells].count(["parameters"]) == 1
    for cell in cells:
        assert cell.outputs == []
        assert cell.execution_count is None
        assert len(cell.source.splitlines()) <= MAX_LINES, cell.source
        assert "def " not in cell.source, "code of its own belongs in features.explore"


@pytest.mark.filterwarnings("default")  # of Jupyter's own libraries
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_from_clean(path: Path, two_nights: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_notebooks([path], two_nights, tmp_path, monkeypatch)

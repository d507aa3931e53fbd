"""Notebooks run over a workspace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import nbformat
import pytest
from nbclient import NotebookClient

from recsys.workspace import Workspace

ROOT: Final = Path(__file__).parents[1]
NOTEBOOKS: Final = sorted((ROOT / "notebooks").glob("*.ipynb"))
FRAMES: Final = {"02_embedding_atlas": 6}
CHARTS: Final = {
    "03_why_this_slate": 2,
    "04_what_changed": 4,
    "05_finetune_and_features": 2,
    "06_fairness_and_exposure": 7,
}


def read_notebook(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def run_notebooks(paths: Sequence[Path], workspace: Workspace, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every cell of them, one notebook after the other in one kernel that forgets all names between two of them;
    the frames and charts that each is to show must be there. scratch: for what Jupyter keeps."""
    monkeypatch.setenv("RECSYS_WORKSPACE", str(workspace.root))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("XDG_CACHE_HOME", str(scratch / "cache"))
    monkeypatch.setenv("IPYTHONDIR", str(scratch / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(scratch / "runtime"))
    monkeypatch.setenv("TMPDIR", str(scratch))
    notebooks = [read_notebook(path) for path in paths]
    together = nbformat.v4.new_notebook()
    for notebook in notebooks:
        together.cells += [nbformat.v4.new_code_cell("%reset -f"), *notebook.cells]
    place = {"metadata": {"path": str(ROOT / "notebooks")}}
    NotebookClient(together, timeout=600, kernel_name="python3", resources=place).execute()
    for path, notebook in zip(paths, notebooks, strict=True):
        outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
        shown = [output["data"] for output in outputs if "data" in output]
        assert len(shown) >= 3, path.stem
        assert sum("<iframe" in data.get("text/html", "") for data in shown) >= FRAMES.get(path.stem, 0), path.stem
        assert sum("image/png" in data for data in shown) >= CHARTS.get(path.stem, 0), path.stem

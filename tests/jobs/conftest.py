"""A workspace and files in a shop's form, for the tests of the batch side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
import ray

from jobs.ingest.files import IngestReport, ingest
from jobs.ingest.sources.spec import SourceSpec
from recsys.config import IngestSettings
from recsys.workspace import Workspace

NOW = datetime(2024, 6, 1, tzinfo=UTC)

WriteFile = Callable[[str, str], Path]
IngestTable = Callable[..., IngestReport]


@pytest.fixture
def local_ray() -> Iterator[None]:
    """Whatever Ray the test starts ends with it; one that already ran goes on."""
    ours = not ray.is_initialized()
    yield
    if ours:
        ray.shutdown()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "shop")


@pytest.fixture
def write_file(tmp_path: Path) -> WriteFile:
    """`write_file("a.csv", text)` writes a file beside the workspace and returns its path."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def ingest_table(workspace: Workspace) -> IngestTable:
    """`ingest_table(events=path, columns={...}, constants={...}, settings=Ingest(...))` as of NOW."""

    def take(
        *,
        columns: Mapping[str, str] | None = None,
        constants: Mapping[str, str] | None = None,
        settings: IngestSettings | None = None,
        **paths: Path | str,
    ) -> IngestReport:
        globs = {table: (str(path),) for table, path in paths.items()}
        spec = SourceSpec("table", globs, columns or {}, constants or {})
        return ingest(workspace, spec, settings or IngestSettings(max_bad_share=0.9), NOW)

    return take

"""What every connector promises, as tests that each connector's test class inherits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import polars as pl
import pytest

from jobs.ingest.files import ingest
from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import read_head
from jobs.ingest.report import IngestReport
from jobs.ingest.sources.connectors import recognise
from jobs.ingest.sources.registry import open_source
from jobs.ingest.sources.spec import SourceOptions, SourceSpec
from jobs.lake.lake import Lake
from recsys.config import IngestSettings
from recsys.errors import DataError
from recsys.workspace import Workspace

NOW = datetime(2026, 12, 1, tzinfo=UTC)


def spec_of(
    folder: Path,
    files: Mapping[str, str | bytes],
    options: SourceOptions | None = None,
    constants: Mapping[str, str] | None = None,
    source: str = "auto",
) -> SourceSpec:
    """Write `files` (name -> content) into `folder`; the spec that ingests them, in the order given."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    paths = {"files": tuple(str(folder / name) for name in files)}
    return SourceSpec(source, paths, {}, dict(constants or {}), options or SourceOptions())


def take(workspace: Workspace, spec: SourceSpec) -> IngestReport:
    """Ingest `spec` as the command does."""
    return ingest(workspace, spec, IngestSettings(), NOW)


def rows(workspace: Workspace, table: str) -> pl.DataFrame:
    """All rows of the lake's table."""
    return Lake(workspace.lake).scan(table).collect()


class ConnectorContract:
    """Subclasses give a format's files, in invented data, and what must become of them.

    platform, label: of the connector. files: name -> content of one export. in_lake: table -> rows expected in the
    lake. left_out: reason -> rows expected to be left out, over all tables. later: the next export of the same shop,
    and `changed`: the rows that it adds or updates, by table. bad: an export in which more rows are bad than are
    accepted, and `bad_rule`, which the error names. options, constants: as given on the command line.
    """

    platform: ClassVar[str]
    label: ClassVar[str]
    files: ClassVar[Mapping[str, str | bytes]]
    in_lake: ClassVar[Mapping[str, int]]
    left_out: ClassVar[Mapping[str, int]] = {}
    later: ClassVar[Mapping[str, str | bytes]] = {}
    changed: ClassVar[Mapping[str, tuple[int, int]]] = {}
    bad: ClassVar[Mapping[str, str | bytes]] = {}
    bad_rule: ClassVar[str] = ""
    options: ClassVar[SourceOptions] = SourceOptions()
    constants: ClassVar[Mapping[str, str]] = {}

    @pytest.fixture
    def workspace(self, tmp_path: Path) -> Workspace:
        return Workspace(tmp_path / "shop")

    def spec(self, tmp_path: Path, files: Mapping[str, str | bytes], source: str = "auto") -> SourceSpec:
        return spec_of(tmp_path / "files", files, self.options, self.constants, source)

    def test_files_are_recognised_by_content(self, tmp_path: Path) -> None:
        spec = self.spec(tmp_path, self.files)
        for name in spec.paths["files"]:
            head = read_head(DataFile(Path(name)), columns=spec.options.columns)
            assert recognise(head).label == self.label
            assert not self.platform or recognise(head, self.platform).label == self.label

    def test_the_lake_holds_the_expected_rows(self, tmp_path: Path, workspace: Workspace) -> None:
        report = take(workspace, self.spec(tmp_path, self.files))
        assert {table.table: rows(workspace, table.table).height for table in report.tables} == dict(self.in_lake)
        left_out: dict[str, int] = {}
        for table in report.tables:
            for reason, n_rows in table.left_out.items():
                left_out[reason] = left_out.get(reason, 0) + n_rows
        assert left_out == dict(self.left_out)
        assert sum(table.n_bad for table in report.tables) == 0

    def test_the_platforms_own_command_reads_them_as_well(self, tmp_path: Path, workspace: Workspace) -> None:
        if not self.platform:
            pytest.skip("its command takes other arguments")
        report = take(workspace, self.spec(tmp_path, self.files, self.platform))
        assert {table.table: rows(workspace, table.table).height for table in report.tables} == dict(self.in_lake)

    def test_the_same_files_again_change_nothing(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        before = Lake(workspace.lake).digest()
        report = take(workspace, self.spec(tmp_path / "again", self.files))
        assert [(table.n_new, table.n_updated) for table in report.tables] == [(0, 0)] * len(report.tables)
        assert Lake(workspace.lake).digest() == before

    def test_rows_come_in_batches_however_small(self, tmp_path: Path) -> None:
        for raw in open_source(self.spec(tmp_path, self.files)):
            small = [(batch.table, row) for batch in raw.batches(1) for row in batch.rows.rows(named=True)]
            large = [(batch.table, row) for batch in raw.batches(10_000) for row in batch.rows.rows(named=True)]
            strip = [(table, {k: v for k, v in row.items() if v is not None}) for table, row in small]
            whole = [(table, {k: v for k, v in row.items() if v is not None}) for table, row in large]
            assert sorted(map(str, strip)) == sorted(map(str, whole))

    def test_a_later_export_updates_what_it_names_and_no_more(self, tmp_path: Path, workspace: Workspace) -> None:
        if not self.later:
            pytest.skip("no later export of this format")
        take(workspace, self.spec(tmp_path, self.files))
        report = take(workspace, self.spec(tmp_path / "later", self.later))
        counts = {table.table: (table.n_new, table.n_updated) for table in report.tables}
        assert {table: changes for table, changes in counts.items() if changes != (0, 0)} == dict(self.changed)

    def test_too_many_bad_rows_are_one_clear_error_and_nothing_is_ingested(
        self, tmp_path: Path, workspace: Workspace
    ) -> None:
        if not self.bad:
            pytest.skip("nothing of this format can be bad")
        with pytest.raises(DataError, match=self.bad_rule):
            take(workspace, self.spec(tmp_path, self.bad))
        assert not Lake(workspace.lake).files

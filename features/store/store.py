"""The release store: tables in LanceDB, model files beside them, one atomic pointer.

A publish writes new table versions, tags them, copies the model files, writes the manifest and last replaces
`CURRENT`. Readers trust `CURRENT` and the manifest alone and open the versions named there, so a crash anywhere
leaves the old release serving; the next publish discards what the crashed one left. No other module imports
lancedb; what a published release must not hold any more is taken out by `features/store/rewrite.py`.
"""

from __future__ import annotations

import difflib
import logging
import shutil
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, cast

import lancedb
import numpy as np
import polars as pl
from lancedb.query import LanceQueryBuilder
from lancedb.table import Table

from features.store.manifest import (
    KEYS,
    MODEL_FOLDER,
    Manifest,
    Pointer,
    ReleaseDraft,
    check_draft,
    read_manifest,
    read_pointer,
    verify_files,
    write_manifest,
    write_pointer,
)
from features.workspace.atomic_files import copy_files, sync_tree
from features.workspace.lease import Lease, check_lease, hold_lease
from recsys.errors import StoreError
from recsys.workspace import Workspace

__all__ = ["Manifest", "Release", "ReleaseDraft", "Store"]

log = logging.getLogger(__name__)

_TAG: Final = "release-"
_SHORT_LEASE_MINUTES: Final = 10.0
"""Of a publish, rollback or collection outside a longer lease."""


@dataclass(frozen=True)
class Release:
    """One published release, open for reading. Not picklable: open it in the process that reads it.

    Tables are read from disk when asked for: read them soon after opening, before the release can be collected.
    """

    release_id: str
    manifest: Manifest
    model_dir: Path
    _tables: Mapping[str, Table] = field(repr=False)

    def columns(self, name: str) -> list[str]:
        """The names of the table's columns."""
        return list(self._tables[name].schema.names)

    def schema(self, name: str) -> pl.Schema:
        """The names and types of the table's columns."""
        return cast(pl.DataFrame, pl.from_arrow(self._tables[name].schema.empty_table())).schema

    def table(self, name: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """The table's rows in the order they were published; all columns, or those named, in that order."""
        selected = self.columns(name) if columns is None else list(columns)
        try:
            rows = self._scan(name, selected).to_arrow()
        except (ValueError, RuntimeError, OSError) as error:
            raise StoreError(f"{_named(self.manifest, name)}: cannot be read: {_first_line(error)}") from None
        return cast(pl.DataFrame, pl.from_arrow(rows)).select(selected)

    def batches(self, name: str, columns: Sequence[str], batch_rows: int) -> Iterator[pl.DataFrame]:
        """As `table`, read as it goes: at most `batch_rows` rows at once."""
        try:
            for batch in self._scan(name, columns).to_batches(batch_rows):
                yield cast(pl.DataFrame, pl.from_arrow(batch)).select(columns)
        except (ValueError, RuntimeError, OSError) as error:
            raise StoreError(f"{_named(self.manifest, name)}: cannot be read: {_first_line(error)}") from None

    def _scan(self, name: str, columns: Sequence[str]) -> LanceQueryBuilder:
        known = self.columns(name)
        if missing := [column for column in columns if column not in known]:
            raise StoreError(f"{_named(self.manifest, name)}: no column {missing[0]}; it has {', '.join(known)}")
        limit = max(1, self.manifest.rows[name])  # LanceDB reads a limit of 0 as "no limit", and an absent one as 10
        return self._tables[name].search().select(list(columns)).limit(limit)

    def vectors(self, name: str, column: str) -> np.ndarray:
        """A vector column as (n_rows, dim) float32; a null vector is a row of NaN."""
        series = self.table(name, [column])[column]
        if series.dtype.base_type() is not pl.Array:
            raise StoreError(f"{_named(self.manifest, name)}: column {column} holds {series.dtype}, not vectors")
        return np.ascontiguousarray(series.to_numpy(), dtype=np.float32)


class Store:
    """The releases of one workspace. Readers never wait; writers hold the workspace's lease."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._lease: Lease | None = None

    @property
    def workspace(self) -> Workspace:
        """Whose releases these are."""
        return self._workspace

    def current_id(self) -> str | None:
        """Id of the served release; None before the first."""
        pointer = read_pointer(self._workspace.current)
        return pointer.current if pointer else None

    def releases(self) -> list[Manifest]:
        """Manifests of the published releases, oldest first; a damaged one is left out and logged."""
        pointer = read_pointer(self._workspace.current)
        manifests = []
        for release_id, sha256 in (pointer.published if pointer else {}).items():
            try:
                manifests.append(read_manifest(self._workspace.releases / release_id, sha256))
            except StoreError as error:
                log.warning("release unreadable release_id=%s error=%s", release_id, error)
        return manifests

    def open(self, release_id: str | None = None, *, verify: bool = True) -> Release:
        """Open a release, the served one by default.

        Checks that each table version exists with as many rows as published and, with `verify`, the SHA-256 of
        every model file. Raises StoreError for an unknown id (naming the nearest) and for what is missing or
        altered; a release that is collected meanwhile counts as missing.
        """
        pointer = self._pointer()
        release_id = release_id or pointer.current
        if release_id not in pointer.published:
            nearest = difflib.get_close_matches(release_id, pointer.published, n=3, cutoff=0.0)
            raise StoreError(f"{self._workspace.shown}: no release {release_id}; nearest: {', '.join(nearest)}")
        folder = self._workspace.releases / release_id
        manifest = read_manifest(folder, pointer.published[release_id])
        if verify:
            verify_files(folder, manifest.files)
        database = _connect(self._workspace)
        tables = {name: _open_version(database, name, manifest) for name in manifest.tables}
        return Release(release_id, manifest, folder / manifest.model_folder, tables)

    @contextmanager
    def lease(self, now: datetime, minutes: float) -> Iterator[None]:
        """Hold the workspace's lease while the block runs; this store's own writers then use it.

        StoreError names the holder where another run has it. `minutes` bounds how long another machine respects it,
        which cannot see whether this process lives; on this machine it ends with the process.
        """
        with hold_lease(self._workspace.lease, now, minutes) as lease:
            self._lease = lease
            try:
                yield
            finally:
                self._lease = None

    def publish(self, draft: ReleaseDraft, now: datetime) -> Manifest:
        """Publish the draft under the lease and serve it from now on; `now` becomes `created_at`.

        Raises StoreError, with the old release still serving, where the draft breaks a rule of `check_draft` or
        another run writes.
        """
        with self._writing(now) as lease:
            pointer = read_pointer(self._workspace.current) or Pointer("", {})
            publication = _Publication(self._workspace, lease, pointer, draft, now)
            for name, step in PUBLISH_STEPS:
                log.info("publish release_id=%s step=%s", draft.release_id, name)
                step(publication)
            return publication.manifest()

    def rollback(self, release_id: str, now: datetime) -> None:
        """Serve another published release from now on, after checking that it opens whole."""
        with self._writing(now):
            self.open(release_id)
            pointer = self._pointer()
            write_pointer(self._workspace.current, replace(pointer, current=release_id))
        log.info("rolled back from=%s to=%s", pointer.current, release_id)

    def collect(self, keep: int, now: datetime, also: Container[str] = ()) -> list[str]:
        """Remove all but the `keep` newest releases, the served one and those of `also`; the ids of those removed.

        Their model files and table versions leave the disk. `now` is the machine's time: Lance finds the versions
        to remove by their age. What a crashed publish wrote between two releases stays until the older one goes.
        """
        with self._writing(now):
            going = self.collectable(keep, also)
            pointer = read_pointer(self._workspace.current)
            if pointer is None:
                return []
            published = {key: sha256 for key, sha256 in pointer.published.items() if key not in going}
            # unlisted first: a crash after this line leaves folders that the next writer discards
            write_pointer(self._workspace.current, replace(pointer, published=published))
            _discard_all_but(published, self._workspace)
            for table in _open_tables(_connect(self._workspace)):
                _remove_old_versions(table, now)
        return going

    def collectable(self, keep: int, also: Container[str] = ()) -> list[str]:
        """The ids that `collect` would remove, oldest first."""
        if keep < 1:
            raise StoreError(f"{self._workspace.shown}: cannot keep {keep} releases; keep 1 or more")
        pointer = read_pointer(self._workspace.current)
        if pointer is None:
            return []
        staying = {*list(pointer.published)[-keep:], pointer.current}
        return [key for key in pointer.published if key not in staying and key not in also]

    @contextmanager
    def _writing(self, now: datetime) -> Iterator[Lease]:
        if self._lease is not None:
            yield self._lease
        else:
            with hold_lease(self._workspace.lease, now, _SHORT_LEASE_MINUTES) as lease:
                yield lease

    def _pointer(self) -> Pointer:
        shown = self._workspace.shown
        pointer = read_pointer(self._workspace.current)
        if pointer is None:
            raise StoreError(f"{shown}: no release published yet; run `recsys nightly --workspace {shown}`")
        return pointer


@dataclass
class _Publication:
    """A publish under way, and what its steps have done so far."""

    workspace: Workspace
    lease: Lease
    pointer: Pointer
    draft: ReleaseDraft
    now: datetime
    versions: dict[str, int] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    manifest_sha256: str = ""

    @property
    def folder(self) -> Path:
        return self.workspace.releases / self.draft.release_id

    def manifest(self) -> Manifest:
        draft = self.draft
        return Manifest(
            release_id=draft.release_id,
            parent=self.pointer.current or None,
            as_of=draft.as_of,
            created_at=self.now,
            tables=self.versions,
            rows={name: draft.tables[name].height for name in KEYS},
            files=self.files,
            encoder_id=draft.encoder_id,
            encoder_sha256=draft.encoder_sha256,
            config_sha256=draft.config_sha256,
            metrics=dict(draft.metrics),
            log_offset=draft.log_offset,
        )


def _check_draft(publication: _Publication) -> None:
    check_draft(publication.draft, publication.pointer.published)


def _discard_unfinished(publication: _Publication) -> None:
    _discard_all_but(publication.pointer.published, publication.workspace)


def _write_table(name: str, publication: _Publication) -> None:
    database = _connect(publication.workspace)
    # "overwrite" keeps the older versions and their tags; where there is no table yet Lance would print a warning
    mode = "overwrite" if name in database.list_tables().tables else "create"
    rows = publication.draft.tables[name].to_arrow()
    # of its vectors LanceDB refuses null ones otherwise; `check_draft` has refused those that are not finite
    publication.versions[name] = database.create_table(name, rows, mode=mode, on_bad_vectors="null").version


def _tag_tables(publication: _Publication) -> None:
    database = _connect(publication.workspace)
    for name, version in publication.versions.items():
        database.open_table(name).tags.create(_TAG + publication.draft.release_id, version)
    sync_tree(publication.workspace.store)  # Lance leaves that to the operating system


def _copy_model(publication: _Publication) -> None:
    copied = copy_files(publication.draft.model_dir, publication.folder / MODEL_FOLDER)
    publication.files = {f"{MODEL_FOLDER}/{name}": sha256 for name, sha256 in copied.items()}


def _write_manifest(publication: _Publication) -> None:
    publication.manifest_sha256 = write_manifest(publication.folder, publication.manifest())


def _point_current(publication: _Publication) -> None:
    release_id = publication.draft.release_id
    published = {**publication.pointer.published, release_id: publication.manifest_sha256}
    check_lease(publication.workspace.lease, publication.lease)
    write_pointer(publication.workspace.current, Pointer(release_id, published))


PUBLISH_STEPS: tuple[tuple[str, Callable[[_Publication], None]], ...] = (
    ("check draft", _check_draft),
    ("discard unfinished", _discard_unfinished),
    *((f"write {name}", partial(_write_table, name)) for name in KEYS),
    ("tag tables", _tag_tables),
    ("copy model", _copy_model),
    ("write manifest", _write_manifest),
    ("point CURRENT", _point_current),
)
"""In order; a process killed before, in or after any of them leaves the old release or the new one serving, whole."""


def _connect(workspace: Workspace) -> lancedb.DBConnection:
    return lancedb.connect(str(workspace.store.absolute()))


def _open_tables(database: lancedb.DBConnection) -> Iterator[Table]:
    for name in database.list_tables().tables:
        try:
            yield database.open_table(name)
        except ValueError:  # a crash before the table's first version was complete leaves a folder without any
            log.info("table empty table=%s", name)


def _open_version(database: lancedb.DBConnection, name: str, manifest: Manifest) -> Table:
    where = _named(manifest, name)
    try:
        table = database.open_table(name, version=manifest.tables[name])
        n_rows = table.count_rows()
    except (ValueError, RuntimeError, OSError) as error:
        raise StoreError(f"{where}: cannot be opened: {_first_line(error)}") from None
    published = manifest.rows[name]
    if n_rows != published:
        raise StoreError(f"{where}: {n_rows} rows, published with {published}; roll back to another release")
    return table


def _discard_all_but(published: Container[str], workspace: Workspace) -> None:
    """Remove the tags and the folder of every release that is not in `published`."""
    for table in _open_tables(_connect(workspace)):
        for tag in table.tags.list():
            if tag.startswith(_TAG) and tag.removeprefix(_TAG) not in published:
                table.tags.delete(tag)
    for folder in workspace.releases.glob("*/"):
        if folder.name not in published:
            log.info("discard release_id=%s", folder.name)
            shutil.rmtree(folder)


def _remove_old_versions(table: Table, now: datetime) -> None:
    """Remove the versions of `table` older than its oldest tagged one, and files that no version uses."""
    # Lance stamps versions with the machine's time, without a zone
    times = {entry["version"]: entry["timestamp"].astimezone(UTC) for entry in table.list_versions()}
    tagged = [tag["version"] for tag in table.tags.list().values()]
    age = _removal_age(times, min(tagged), now) if tagged else None
    if age is None:
        return
    try:
        table.optimize(cleanup_older_than=age, delete_unverified=True)
    except RuntimeError as error:
        log.warning("versions not removed table=%s error=%s", table.name, _first_line(error))


def _removal_age(times: Mapping[int, datetime], oldest_kept: int, now: datetime) -> timedelta | None:
    """Age beyond which Lance may remove versions, so that `oldest_kept` and newer ones stay; None for none.

    Lance never removes the latest version, and refuses the whole removal where a tagged version is old enough for
    it. So the border lies midway between the oldest version that stays and the one before it: `now` and Lance's
    clock may disagree.
    """
    older = [version for version in times if version < oldest_kept]
    if not older:
        return None
    if oldest_kept == max(times):
        return timedelta(milliseconds=1)  # LanceDB warns about 0
    before, after = times[max(older)], times[oldest_kept]
    age = now - (before + (after - before) / 2)
    return age if age > timedelta(0) else None


def _named(manifest: Manifest, table: str) -> str:
    return f"release {manifest.release_id}, table {table}"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]

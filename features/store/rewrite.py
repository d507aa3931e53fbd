"""Removes rows from releases that are published already: erasing a shopper removes them from every stored release.

New table versions and model folders are written beside those in use; then one replacement of `CURRENT` puts all of them
into effect at once; only then the old ones are deleted. A crash at any point leaves every release whole, old or
rewritten, and a rerun finishes the work. Lance deletes versions by age, so where one release of a table is rewritten
all are: everything older than the oldest of them can then be deleted.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

import polars as pl

from features.store.manifest import (
    NEXT_FILE,
    Manifest,
    Pointer,
    read_manifest,
    read_pointer,
    take_next_manifest,
    write_manifest,
    write_pointer,
)
from features.store.store import (
    _TAG,
    Release,
    Store,
    _connect,
    _discard_all_but,
    _open_tables,
    _remove_old_versions,
)
from features.workspace.atomic_files import sha256_of, sync_tree
from features.workspace.lease import Lease, check_lease
from recsys.errors import StoreError
from recsys.workspace import Workspace

log = logging.getLogger(__name__)

REWRITTEN: Final = ("users", "reviews")
"""The tables that hold shoppers; what `items` has of them are sums and mixtures, as in the models."""

GAP_S: Final = 1.0
"""Pause between the last old version and the first new one, so that two clocks agree on which is older."""

TRIES: Final = 5


class Change(Protocol):
    """Defines what is removed from every release."""

    def stays(self, table: str, rows: pl.DataFrame) -> pl.Series:
        """A boolean for each row."""

    def write_model(self, old: Release, new: Path, users: pl.DataFrame) -> dict[str, int]:
        """Write into the empty folder `new` those model files of `old` that must change, by the same names.

        users: the rows of that table that stay. Returns how many entries were removed, by what they are.
        """


@dataclass(frozen=True)
class Rewritten:
    """What was removed from a release, by table or kind of model file, and the SHA-256 of its new manifest."""

    removed: dict[str, int]
    manifest_sha256: str


@dataclass
class _Rewrite:
    """A rewrite under way, and what its steps have done so far."""

    workspace: Workspace
    lease: Lease
    change: Change
    clock: Callable[[], datetime]
    pointer: Pointer
    releases: dict[str, Release] = field(default_factory=dict)
    manifests: dict[str, Manifest] = field(default_factory=dict)
    published: dict[str, str] = field(default_factory=dict)
    removed: dict[str, dict[str, int]] = field(default_factory=dict)

    def folder(self, release_id: str) -> Path:
        return self.workspace.releases / release_id


def rewrite_releases(
    workspace: Workspace, lease: Lease, change: Change, clock: Callable[[], datetime]
) -> dict[str, Rewritten]:
    """Remove from every published release what `change` defines. The caller holds the workspace's lease.

    clock: the machine's time, by which Lance removes versions. A release that cannot be opened, and so neither served
    nor rewritten, is removed as a whole. Raises StoreError where that is the one that is served, and where old
    versions cannot be removed from the disk.
    """
    pointer = read_pointer(workspace.current)
    if pointer is None:
        return {}
    rewrite = _Rewrite(workspace, lease, change, clock, pointer)
    for name, step in REWRITE_STEPS:
        log.info("rewrite step=%s", name)
        step(rewrite)
    return {
        release_id: Rewritten(rewrite.removed.get(release_id, {}), sha256)
        for release_id, sha256 in rewrite.published.items()
    }


def words_on_disk(workspace: Workspace) -> Iterator[tuple[str, pl.DataFrame]]:
    """Every version of every table that is on the disk, with its name: the columns that hold strings at any depth."""
    database = _connect(workspace)
    for table in _open_tables(database):
        for entry in table.list_versions():
            opened = database.open_table(table.name, version=entry["version"])
            columns = [field.name for field in opened.schema if "string" in str(field.type)]
            rows = opened.search().select(columns).limit(max(1, opened.count_rows())).to_arrow()
            yield f"table {table.name}, version {entry['version']}", pl.DataFrame(pl.from_arrow(rows)).select(columns)


def _open_all(rewrite: _Rewrite) -> None:
    store = Store(rewrite.workspace)
    for release_id in rewrite.pointer.published:
        try:
            release = store.open(release_id)
        except StoreError as error:
            if release_id == rewrite.pointer.current:
                raise
            log.warning("release removed, as it can be neither opened nor rewritten id=%s error=%s", release_id, error)
            rewrite.removed[release_id] = {"damaged releases": 1}
            continue
        rewrite.releases[release_id] = release
        rewrite.manifests[release_id] = release.manifest
        rewrite.removed[release_id] = {}


def _write_tables(rewrite: _Rewrite) -> None:
    database = _connect(rewrite.workspace)
    for table in _open_tables(database):
        if table.name not in REWRITTEN:
            continue
        staying = {
            release_id: rewrite.change.stays(table.name, release.table(table.name))
            for release_id, release in rewrite.releases.items()
        }
        tagged = {tag["version"] for tag in table.tags.list().values()}
        # a publish or rewrite that was cut off left a version that no release names, and that may hold anything
        is_littered = any(entry["version"] not in tagged for entry in table.list_versions())
        if all(rows.all() for rows in staying.values()) and not is_littered:
            continue
        time.sleep(GAP_S)
        for release_id, stays in staying.items():
            rows = rewrite.releases[release_id].table(table.name).filter(stays)
            written = database.create_table(table.name, rows.to_arrow(), mode="overwrite", on_bad_vectors="null")
            manifest = rewrite.manifests[release_id]
            rewrite.manifests[release_id] = replace(
                manifest,
                tables={**manifest.tables, table.name: written.version},
                rows={**manifest.rows, table.name: rows.height},
            )
            rewrite.removed[release_id][table.name] = len(stays) - rows.height
    sync_tree(rewrite.workspace.store)


def _write_models(rewrite: _Rewrite) -> None:
    for release_id, release in rewrite.releases.items():
        users = release.table("users")
        users = users.filter(rewrite.change.stays("users", users))
        new = _next_model_folder(release.model_dir)
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        removed = rewrite.change.write_model(release, new, users)
        if not removed:
            new.rmdir()
            continue
        rewrite.removed[release_id] |= removed
        manifest = rewrite.manifests[release_id]
        files = _complete(release.model_dir, new, manifest.files)
        rewrite.manifests[release_id] = replace(manifest, files=files)
        sync_tree(rewrite.folder(release_id))


def _next_model_folder(folder: Path) -> Path:
    """`model`, then `model-2`, `model-3`, …"""
    name, _, number = folder.name.partition("-")
    return folder.with_name(f"{name}-{int(number or 1) + 1}")


def _complete(old: Path, new: Path, files: Mapping[str, str]) -> dict[str, str]:
    """Give `new` the other files of `old`, as links where the file system has them; SHA-256 by path in the release."""
    digests = {}
    for name, sha256 in files.items():
        path = name.partition("/")[2]
        target = new / path
        if target.exists():
            sha256 = sha256_of(target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(old / path, target)
            except OSError:
                shutil.copyfile(old / path, target)
        digests[f"{new.name}/{path}"] = sha256
    return digests


def _write_manifests(rewrite: _Rewrite) -> None:
    for release_id, manifest in rewrite.manifests.items():
        sha256 = rewrite.pointer.published[release_id]
        if manifest != rewrite.releases[release_id].manifest:
            sha256 = write_manifest(rewrite.folder(release_id), manifest, NEXT_FILE)
        rewrite.published[release_id] = sha256


def _point_current(rewrite: _Rewrite) -> None:
    check_lease(rewrite.workspace.lease, rewrite.lease)
    write_pointer(rewrite.workspace.current, replace(rewrite.pointer, published=rewrite.published))


def _move_manifests(rewrite: _Rewrite) -> None:
    """Also those of a rewrite that was cut off after it counted; what was cut off before is removed."""
    for release_id, sha256 in _published(rewrite.workspace).items():
        take_next_manifest(rewrite.folder(release_id), sha256)


def _remove_old_models(rewrite: _Rewrite) -> None:
    published = _published(rewrite.workspace)
    for release_id, sha256 in published.items():
        folder = rewrite.folder(release_id)
        try:
            model_folder = read_manifest(folder, sha256).model_folder
        except StoreError:  # a damaged one, which the step that opens all decides upon
            continue
        for subfolder in folder.glob("*/"):
            if subfolder.name != model_folder:
                shutil.rmtree(subfolder)
    _discard_all_but(published, rewrite.workspace)


def _move_tags(rewrite: _Rewrite) -> None:
    manifests = Store(rewrite.workspace).releases()
    for table in _open_tables(_connect(rewrite.workspace)):
        tags = {name: tag["version"] for name, tag in table.tags.list().items()}
        for manifest in manifests:
            name, version = _TAG + manifest.release_id, manifest.tables[table.name]
            if name not in tags:
                table.tags.create(name, version)
            elif tags[name] != version:
                table.tags.update(name, version)


def _remove_versions(rewrite: _Rewrite) -> None:
    for table in _open_tables(_connect(rewrite.workspace)):
        for _ in range(TRIES):
            _remove_old_versions(table, rewrite.clock())
            tagged = [tag["version"] for tag in table.tags.list().values()]
            if not tagged or min(tagged) <= min(entry["version"] for entry in table.list_versions()):
                break
        else:
            raise StoreError(
                f"{rewrite.workspace.store}: old versions of table {table.name} are still on the disk, and hold what "
                "was erased; run the same again"
            )


def _published(workspace: Workspace) -> dict[str, str]:
    pointer = read_pointer(workspace.current)
    return pointer.published if pointer else {}


_FINISH: Final = (
    ("move manifests", _move_manifests),
    ("remove old models", _remove_old_models),
    ("move tags", _move_tags),
)

REWRITE_STEPS: tuple[tuple[str, Callable[[_Rewrite], None]], ...] = (
    *((f"finish the last: {name}", step) for name, step in _FINISH),
    ("open all", _open_all),
    ("write tables", _write_tables),
    ("write models", _write_models),
    ("write manifests", _write_manifests),
    ("point CURRENT", _point_current),
    *_FINISH,
    ("remove versions", _remove_versions),
)
"""In order; a process killed before, in or after any of them leaves every release whole, as it was or rewritten."""

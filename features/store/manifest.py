"""The manifest of a release, and the pointer that says which release is served.

`releases/ID/manifest.json` names everything in one release; `releases/CURRENT` names the served release and the
SHA-256 of every published manifest. A release folder that `CURRENT` does not list is left from an interrupted publish.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import polars as pl
from pydantic import AwareDatetime, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import to_json

from features.store.formats import FORMATS, LATEST, from_file, to_file
from features.workspace.atomic_files import sha256_of, sync, write_atomically
from recsys.errors import StoreError

MANIFEST_FILE: Final = "manifest.json"
NEXT_FILE: Final = "manifest.next.json"
"""The new manifest of a release that is being rewritten: it takes effect as soon as `CURRENT` has its digest."""

MODEL_FOLDER: Final = "model"
"""The folder of the model files, until the release is rewritten."""

T = TypeVar("T")


@dataclass(frozen=True)
class LivePosition:
    """How far the nightly run had read the live database: events and item changes with higher numbers are not in the
    release.

    database_id: of the database that was read, as the numbers of another mean nothing; "" where there was none yet.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    database_id: str = ""
    event_seq: int = 0
    item_version: int = 0


BEGINNING: Final = LivePosition()


@dataclass(frozen=True)
class Manifest:
    """One release: table versions, model files, what it was made from and how good it is.

    tables, rows: Lance version and row count, by table. files: SHA-256 by path relative to the release's folder.
    metrics: JSON, by source ("fused" for the lists as served), then by slice. log_offset: how far the live database was
    read, `BEGINNING` in releases that are older than live databases. format: see `features.store.formats`.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    release_id: str
    parent: str | None
    as_of: AwareDatetime
    created_at: AwareDatetime
    tables: dict[str, int]
    rows: dict[str, int]
    files: dict[str, str]
    encoder_id: str
    encoder_sha256: str
    config_sha256: str
    metrics: dict[str, Any]
    log_offset: LivePosition = BEGINNING
    format: int = LATEST

    @property
    def model_folder(self) -> str:
        """Where the model files lie in the release's folder: `model`, another once the release was rewritten."""
        return next(iter(self.files), MODEL_FOLDER).partition("/")[0]

    def has(self, name: str) -> bool:
        """Whether the release has this model file."""
        return f"{self.model_folder}/{name}" in self.files

    def has_all(self, names: Sequence[str]) -> bool:
        """Whether the release has these model files.

        Raises StoreError where one is missing that a release of this format always has.
        """
        missing = [name for name in names if not self.has(name)]
        if not FORMATS[self.format].may_lack.issuperset(missing):
            raise StoreError(
                f"release {self.release_id}: damaged: its manifest (format {self.format}) lists no {missing[0]}; "
                "roll back to another release"
            )
        return not missing


@dataclass(frozen=True)
class Pointer:
    """The served release, and SHA-256 of `manifest.json` by id of every published release, oldest first."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    current: str
    published: dict[str, str]


_MANIFEST: Final = TypeAdapter(Manifest)
_JSON: Final = TypeAdapter(dict[str, Any])
_POINTER: Final = TypeAdapter(Pointer)


def new_release_id(as_of: datetime, now: datetime, config_sha256: str) -> str:
    """`20261123T030000Z-3f9a1c`: sorts by `as_of`; the tail tells two runs for one `as_of` apart."""
    tail = hashlib.sha256(f"{now.astimezone(UTC).isoformat()} {config_sha256}".encode()).hexdigest()[:6]
    return f"{as_of.astimezone(UTC):%Y%m%dT%H%M%SZ}-{tail}"


def write_manifest(folder: Path, manifest: Manifest, name: str = MANIFEST_FILE) -> str:
    """Write a release's manifest to its folder; returns the file's SHA-256."""
    content = to_json(to_file(_MANIFEST.dump_python(manifest, mode="json")), indent=2, inf_nan_mode="constants")
    write_atomically(folder / name, content)
    return hashlib.sha256(content).hexdigest()


def read_manifest(folder: Path, sha256: str) -> Manifest:
    """The manifest in a release's folder, of any of `FORMATS`.

    Raises StoreError where it is missing, not the one that was published, or of a format that is not known.
    """
    path = folder / MANIFEST_FILE
    content = _read(path)
    if hashlib.sha256(content).hexdigest() != sha256:
        rewritten = folder / NEXT_FILE  # a rewrite that took effect and was interrupted before its last step
        content = _read(rewritten) if rewritten.exists() else b""
        if hashlib.sha256(content).hexdigest() != sha256:
            raise StoreError(f"{path}: altered since it was published; roll back to another release")
    as_written: dict[str, Any] = _parse(path, _JSON, content)
    return _parse(path, _MANIFEST, to_json(from_file(as_written, str(path)), inf_nan_mode="constants"))


def take_next_manifest(folder: Path, sha256: str) -> None:
    """Put a rewritten manifest in the place of the one before, where it is the published one; else remove it."""
    rewritten = folder / NEXT_FILE
    if not rewritten.exists():
        return
    if sha256_of(rewritten) == sha256:
        rewritten.replace(folder / MANIFEST_FILE)
    else:
        rewritten.unlink()
    sync(folder)


def write_pointer(path: Path, pointer: Pointer) -> None:
    """Replace `CURRENT` atomically: at this moment a release is published, or another release is served."""
    write_atomically(path, _POINTER.dump_json(pointer, indent=2))


def read_pointer(path: Path) -> Pointer | None:
    """What `CURRENT` says; None before the first release; StoreError where it is damaged."""
    if not path.exists():
        return None
    pointer = _parse(path, _POINTER, _read(path))
    if pointer.current not in pointer.published:
        raise StoreError(f"{path}: damaged: it names {pointer.current} but does not list it; restore the file")
    return pointer


def verify_files(folder: Path, files: dict[str, str]) -> None:
    """Raise StoreError naming the first file below `folder` that is missing or whose SHA-256 is not as named."""
    for name, sha256 in files.items():
        path = folder / name
        if not path.is_file():
            raise StoreError(f"{path}: missing, 1 of {len(files)} model files; roll back to another release")
        if sha256_of(path) != sha256:
            raise StoreError(f"{path}: altered since it was published; roll back to another release")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from None


def _parse(path: Path, shape: TypeAdapter[T], content: bytes) -> T:
    try:
        return shape.validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise StoreError(f"{path}: damaged at {where}: {first['msg']}; restore the file") from None


KEYS: Final = {"items": "item_id", "users": "user_id", "reviews": "review_id"}
"""The tables of every release, and the column of each whose values are unique."""

_RELEASE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class ReleaseDraft:
    """A release to be published.

    tables: all of `KEYS`, any of them without rows; vectors are `pl.Array(pl.Float32, dim)`, a missing one is null.
    model_dir: a folder whose files are copied into the release. metrics, log_offset: as in `Manifest`.
    """

    release_id: str
    as_of: datetime
    tables: Mapping[str, pl.DataFrame]
    model_dir: Path
    encoder_id: str
    encoder_sha256: str
    config_sha256: str
    metrics: Mapping[str, Any]
    log_offset: LivePosition = BEGINNING


def check_draft(draft: ReleaseDraft, published: Container[str]) -> None:
    """Raise StoreError naming the first rule that the draft breaks; `published`: the ids that are taken."""
    where = f"release {draft.release_id}"
    if not _RELEASE_ID.fullmatch(draft.release_id):
        raise StoreError(f"release id {draft.release_id!r}: use letters, digits, '.', '_' and '-'")
    if draft.release_id in published:
        raise StoreError(f"{where}: published already, and releases never change; take a new id")
    if draft.as_of.tzinfo is None:
        raise StoreError(f"{where}: as_of {draft.as_of} has no time zone; pass UTC")
    if draft.tables.keys() != KEYS.keys():
        raise StoreError(f"{where}: has tables {', '.join(draft.tables)}; pass {', '.join(KEYS)}")
    if not draft.model_dir.is_dir():
        raise StoreError(f"{where}: no model folder {draft.model_dir}")
    for name, key in KEYS.items():
        _check_table(f"{where}, table {name}", draft.tables[name], key)


def _check_table(where: str, frame: pl.DataFrame, key: str) -> None:
    if key not in frame.columns:
        raise StoreError(f"{where}: no column {key}; it has {', '.join(frame.columns)}")
    if n_null := frame[key].null_count():
        raise StoreError(f"{where}: {n_null} rows without {key}")
    repeated = frame[key].filter(frame[key].is_duplicated())
    if len(repeated):
        raise StoreError(f"{where}: {len(repeated)} rows share their {key} with another, e.g. {repeated[0]}")
    for column in frame.columns:
        if frame.schema[column].base_type() is pl.Array and (n_bad := (~frame[column].explode().is_finite()).sum()):
            raise StoreError(f"{where}: {n_bad} values of {column} are not finite; a missing vector is null")
    if "encoder" in frame.columns and frame["encoder"].n_unique() > 1:
        first, second = frame["encoder"].unique().sort()[:2]
        raise StoreError(f"{where}: vectors of {first} and of {second} in one release; embed all with one")

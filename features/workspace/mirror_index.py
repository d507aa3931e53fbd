"""What a workspace on object storage consists of, and what a mirror of it on this machine holds.

`index.json` in the bucket names every file of the workspace with its SHA-256 and the object that holds it. An object
is written once, under a name of its own, so replacing the index changes the whole workspace at one moment.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from pydantic import ConfigDict, TypeAdapter, ValidationError

from features.workspace.atomic_files import mark_of, write_atomically
from recsys.errors import StoreError

INDEX: Final = "index.json"
OBJECTS: Final = "files/"
VERSION: Final = 1

LAST: Final[tuple[str, ...]] = ("lake/manifest.json", "encoders/current.json", "releases/CURRENT")
"""The files that name others: in a mirror they change after those, in this order."""

_STAYING: Final = frozenset({"live", "training", "steps"})
_SENT_LATER: Final = "embeddings"


@dataclass(frozen=True)
class IndexedFile:
    """A file of the workspace; key: the object that holds it."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    sha256: str
    size_bytes: int
    key: str


@dataclass(frozen=True)
class Index:
    """The files by path below the workspace. commit: a random id for each write of the index, so that a writer
    recognizes its own."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    files: dict[str, IndexedFile] = field(default_factory=dict)
    commit: str = ""
    version: int = VERSION


@dataclass(frozen=True)
class HeldFile:
    """A file as it was last equal to the bucket's; mark: of `features.workspace.atomic_files.mark_of`."""

    file: IndexedFile
    mark: tuple[int, int, int]


@dataclass
class Held:
    """What a mirror holds. etag: of the index that it equals, "" while it may equal none; unsent: whether a command has
    ended whose files are not in the bucket yet."""

    files: dict[str, HeldFile] = field(default_factory=dict)
    etag: str = ""
    unsent: bool = False


_INDEX: Final = TypeAdapter(Index)
_HELD: Final = TypeAdapter(Held)


def parse_index(content: bytes, where: str) -> Index:
    """Raises StoreError where it is damaged or of another version."""
    try:
        index = _INDEX.validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]["msg"]
        raise StoreError(f"{where}/{INDEX}: damaged: {first}; restore an earlier version of the object") from None
    if index.version != VERSION:
        raise StoreError(f"{where}/{INDEX}: version {index.version}, {VERSION} can be read; update recsys")
    return index


def dump_index(index: Index) -> bytes:
    """As it lies in the bucket."""
    return _INDEX.dump_json(index)


def read_held(path: Path) -> Held:
    """Empty where the file is missing or damaged: everything is then compared with the bucket again."""
    try:
        return _HELD.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return Held()


def write_held(path: Path, held: Held) -> None:
    """Replace the file as a whole."""
    write_atomically(path, _HELD.dump_json(held))


def object_key(path: str, sha256: str) -> str:
    """A name that no other upload has, and that tells a person what it is."""
    return f"{OBJECTS}{path}.{sha256[:12]}{secrets.token_hex(4)}"


def stays_here(path: str) -> bool:
    """Whether the file belongs to this machine: a database, a checkpoint, a lease, a draft."""
    first, *_ = parts = path.split("/")
    name = parts[-1]
    return (
        first in _STAYING
        or name in ("lease.json", "writer.lease")
        or name.endswith(("-lease.json", ".tmp"))
        or any(part.startswith((".", "staging-")) for part in parts)
    )


def is_kept(path: str) -> bool:
    """Whether a file that the bucket lacks stays in the mirror, to be sent later: vectors are named by their texts."""
    return path.split("/", 1)[0] == _SENT_LATER


def in_order(paths: list[str]) -> tuple[list[str], list[str]]:
    """What may change in any order, and what must change after it, in its order."""
    last = [path for path in LAST if path in paths]
    return [path for path in paths if path not in LAST], last


def mark_at(path: Path) -> tuple[int, int, int]:
    """The mark of a file that is there."""
    mark = mark_of(path)
    if mark is None:
        raise StoreError(f"{path}: vanished while it was read; run the command again")
    return mark

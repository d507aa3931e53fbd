"""What has been ingested before: the specs, and the files taken by each, so that the nightly run asks nobody again."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from features.workspace.atomic_files import sha256_of, write_atomically
from jobs.ingest.sources.files import matching
from jobs.ingest.sources.spec import SourceSpec
from recsys.errors import DataError

log = logging.getLogger(__name__)

SOURCES_FILE: Final = "sources.json"
"""In the lake's folder."""


@dataclass(frozen=True)
class TakenFile:
    """A file as it was when its rows were taken; `digest` is the SHA-256 of its content."""

    path: str
    size_bytes: int
    mtime_ns: int
    digest: str


@dataclass(frozen=True)
class Remembered:
    """One spec and the files that were taken for it."""

    spec: SourceSpec
    files: tuple[TakenFile, ...]

    def has(self, path: Path) -> bool:
        """Whether the content of `path` was taken already, under this name or another."""
        stat = path.stat()
        if any((str(path), stat.st_size, stat.st_mtime_ns) == (f.path, f.size_bytes, f.mtime_ns) for f in self.files):
            return True
        return take(path).digest in {file.digest for file in self.files}

    def unseen(self) -> SourceSpec | None:
        """The spec with only the files that are new or changed, None where there are none.

        What has vanished and what is empty is logged and left out. A folder is either whole or left out.
        """
        paths = {key: self._unseen_of(key, patterns) for key, patterns in self.spec.paths.items()}
        paths = {key: found for key, found in paths.items() if found}
        return replace(self.spec, paths=paths) if paths else None

    def _unseen_of(self, key: str, patterns: tuple[str, ...]) -> tuple[str, ...]:
        if key == "folder":
            folders = [Path(pattern) for pattern in patterns]
            return tuple(str(folder) for folder in folders if _exists(folder) and self._folder_changed(folder))
        found: dict[str, None] = {}
        for pattern in patterns:
            paths = matching(pattern)
            if not paths:
                log.warning("remembered_source_gone pattern=%s", pattern)
            for path in paths:
                if path.stat().st_size == 0:
                    log.warning("empty_file_skipped path=%s", path)
                elif not self.has(path):
                    found[str(path)] = None
        return tuple(found)

    def _folder_changed(self, folder: Path) -> bool:
        taken = [Path(file.path) for file in self.files]
        return any(path.is_file() and not self.has(path) for path in taken if path.parent == folder)


def _exists(folder: Path) -> bool:
    if not folder.is_dir():
        log.warning("remembered_source_gone folder=%s", folder)
        return False
    return True


def take(path: Path) -> TakenFile:
    """The size, time and digest of `path`."""
    stat = path.stat()
    return TakenFile(str(path), stat.st_size, stat.st_mtime_ns, sha256_of(path))


def load_remembered(path: Path) -> list[Remembered]:
    """What `remember` wrote to `path`, oldest first; nothing where it wrote nothing. Raises DataError if damaged."""
    try:
        entries = json.loads(path.read_bytes())["sources"]
        return [
            Remembered(SourceSpec.from_json(entry["spec"]), tuple(TakenFile(**file) for file in entry["files"]))
            for entry in entries
        ]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: damaged list of sources ({error}); remove it and ingest the sources again") from None


def remember(path: Path, spec: SourceSpec, taken: Iterable[TakenFile]) -> None:
    """Add `spec` and its files to the list at `path`; an equal spec gains the files."""
    entries = load_remembered(path)
    before = next((entry.files for entry in entries if entry.spec == spec), ())
    files = {file.path: file for file in (*before, *taken)}
    updated = Remembered(spec, tuple(files[name] for name in sorted(files)))
    if any(entry.spec == spec for entry in entries):
        entries = [updated if entry.spec == spec else entry for entry in entries]
    else:
        entries.append(updated)
    sources = [{"spec": e.spec.to_json(), "files": [asdict(file) for file in e.files]} for e in entries]
    write_atomically(path, json.dumps({"version": 1, "sources": sources}, indent=1).encode())

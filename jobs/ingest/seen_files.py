"""What has been ingested before: each source with its files, so that a nightly run takes only new ones."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from features.workspace.atomic_files import sha256_of
from features.workspace.record_file import RecordFile
from jobs.ingest.readers.paths import matching
from jobs.ingest.readers.remote import FOLDER, fetch, is_url
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
class FileDigests:
    """The files of one run by path, size and time of change: each content is hashed once, whoever needs the digest."""

    _files: dict[tuple[str, int, int], TakenFile] = field(default_factory=dict)

    def take(self, path: Path) -> TakenFile:
        """The size, time and digest of `path`."""
        stat = path.stat()
        state = (str(path), stat.st_size, stat.st_mtime_ns)
        if state not in self._files:
            self._files[state] = TakenFile(*state, sha256_of(path))
        return self._files[state]


@dataclass(frozen=True)
class SeenSource:
    """One spec and the files that were taken for it."""

    spec: SourceSpec
    files: tuple[TakenFile, ...]

    def has(self, path: Path, digests: FileDigests) -> bool:
        """Whether the content of `path` was taken already, under this name or another."""
        stat = path.stat()
        if any((str(path), stat.st_size, stat.st_mtime_ns) == (f.path, f.size_bytes, f.mtime_ns) for f in self.files):
            return True
        return digests.take(path).digest in {file.digest for file in self.files}

    def unseen(self, digests: FileDigests, lake: Path) -> SourceSpec | None:
        """The spec with only the files that are new or changed, None where there are none.

        Missing and empty files, and URLs that cannot be fetched, are logged and left out. A folder is either whole or
        left out.
        """
        paths = {key: self._unseen_of(key, patterns, digests, lake) for key, patterns in self.spec.paths.items()}
        paths = {key: new_paths for key, new_paths in paths.items() if new_paths}
        return replace(self.spec, paths=paths) if paths else None

    def _unseen_of(self, key: str, patterns: tuple[str, ...], digests: FileDigests, lake: Path) -> tuple[str, ...]:
        if key == "folder":
            folders = [Path(pattern) for pattern in patterns]
            return tuple(str(folder) for folder in folders if _exists(folder) and self._has_changed(folder, digests))
        new_paths: dict[str, None] = {}
        for pattern in patterns:
            if is_url(pattern):
                new_paths |= {pattern: None} if self._has_new_content(pattern, digests, lake) else {}
                continue
            paths = matching(pattern)
            if not paths:
                log.warning("source_missing pattern=%s", pattern)
            for path in paths:
                if path.stat().st_size == 0:
                    log.warning("empty_file_skipped path=%s", path)
                elif not self.has(path, digests):
                    new_paths[str(path)] = None
        return tuple(new_paths)

    def _has_new_content(self, url: str, digests: FileDigests, lake: Path) -> bool:
        try:
            return not self.has(fetch(url, lake / FOLDER), digests)
        except DataError as error:
            log.warning("source_unreachable error=%s", error)
            return False

    def _has_changed(self, folder: Path, digests: FileDigests) -> bool:
        taken = [Path(file.path) for file in self.files]
        return any(path.is_file() and not self.has(path, digests) for path in taken if path.parent == folder)


def _exists(folder: Path) -> bool:
    if not folder.is_dir():
        log.warning("source_missing folder=%s", folder)
        return False
    return True


@dataclass(frozen=True)
class SeenSources:
    """The content of `sources.json`, oldest source first."""

    sources: tuple[SeenSource, ...]
    version: int = 1


_FILE: Final = RecordFile(SOURCES_FILE, TypeAdapter(SeenSources))


def load_seen(lake: Path) -> list[SeenSource]:
    """What `add_seen` wrote, oldest first; empty where it wrote nothing. Raises DataError where it is damaged."""
    try:
        return list(_FILE.read(lake).sources)
    except FileNotFoundError:
        return []
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{lake / SOURCES_FILE}: damaged list of sources ({reason}); remove it and ingest the sources again"
        ) from None


def add_seen(lake: Path, spec: SourceSpec, taken: Iterable[TakenFile]) -> None:
    """Add `spec` and its files to the list; a spec that is in it gains the files."""
    sources = load_seen(lake)
    before = next((source.files for source in sources if source.spec == spec), ())
    files = {file.path: file for file in (*before, *taken)}
    updated = SeenSource(spec, tuple(files[name] for name in sorted(files)))
    if any(source.spec == spec for source in sources):
        sources = [updated if source.spec == spec else source for source in sources]
    else:
        sources.append(updated)
    _FILE.write(lake, SeenSources(tuple(sources)))

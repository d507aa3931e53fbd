"""A workspace on object storage, worked on in a folder of this machine.

`pull` makes the folder what the bucket's index says; `push` sends what is new or changed under names of its own and
then replaces the index, only if nobody else has replaced it. So a crash anywhere leaves the bucket as it was, and two
writers cannot undo each other. What both changed apart from each other is put together; where both changed one file,
the second is refused.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from features.workspace.atomic_files import mark_of, sha256_of
from features.workspace.mirror_index import (
    INDEX,
    OBJECTS,
    Held,
    HeldFile,
    Index,
    IndexedFile,
    dump_index,
    in_order,
    is_kept,
    mark_at,
    object_key,
    parse_index,
    read_held,
    stays_here,
    write_held,
)
from features.workspace.object_store import Bucket, Stored
from recsys.errors import StoreError

log = logging.getLogger(__name__)

AT_ONCE: Final = 8
"""Objects on their way at a time."""

TRIES: Final = 5
"""Times that a writer puts its changes on top of another's."""

ORPHAN_AGE: Final = timedelta(days=1)
"""Objects that no index names are removed when they are older: until then they may be those of a push under way."""


class _MovedError(Exception):
    """The index has changed while its files were fetched, and an object of it is gone."""


@dataclass(frozen=True)
class _Change:
    """new: what the folder has and the bucket did not; removed: what it no longer has."""

    new: dict[str, IndexedFile]
    removed: frozenset[str]


class Mirror:
    """One folder and one bucket; the caller sees to it that one process works with a folder at a time.

    parts: the folders and files of the workspace that are mirrored, all of them where it is None.
    """

    def __init__(self, bucket: Bucket, folder: Path, parts: Collection[str] | None = None) -> None:
        self.bucket = bucket
        self.root = folder / "workspace"
        self._parts = parts
        self._held_path = folder / "held.json"
        self.root.mkdir(parents=True, exist_ok=True)
        self._held = read_held(self._held_path)

    @property
    def has_unsent(self) -> bool:
        """Whether an earlier command ended well and could not send what it had made."""
        return self._held.unsent

    @property
    def etag(self) -> str:
        """Of the index that the folder equals, as far as this object knows."""
        return self._held.etag

    def reload(self) -> None:
        """See what another process has done with the folder."""
        self._held = read_held(self._held_path)

    def has_changed(self) -> bool:
        """Whether the bucket has another index than the folder: one small request."""
        return self.bucket.get(INDEX, unless=self._held.etag) is not None

    def pull(self) -> None:
        """Make the folder what the bucket has. Files that the bucket lacks go, but for those that stay on a machine.

        Raises UnreachableError, and StoreError where an object is missing or, fetched twice, not what was sent.
        """
        for _ in range(TRIES):
            stored = self.bucket.get(INDEX)
            try:
                self._become(self._parse(stored), stored.etag if stored else "")
                return
            except _MovedError:
                log.info("index changed while it was read url=%s", self.bucket.url)
        raise StoreError(f"{self.bucket.url}: changes faster than it can be read; try again")

    def push(self, check: Callable[[], None] | None = None) -> bool:
        """Send what has changed in the folder; False where nothing had.

        check: raises where this run may not publish any more. Raises StoreError, with the bucket as it was, where
        another run has changed one of the same files; UnreachableError leaves what was made to the next command.
        """
        change = self._change()
        if not change.new and not change.removed:
            self._note(unsent=False)
            return False
        self._note(unsent=True)
        self._each(change.new, lambda path: self.bucket.send(self.root / path, change.new[path].key))
        if check is not None:
            check()
        before = {path: held.file for path, held in self._held.files.items()}
        self._commit(change, before)
        dropped = [before[path].key for path in (*change.new, *change.removed) if path in before]
        self._clean(dropped)
        log.info("sent url=%s files=%d removed=%d", self.bucket.url, len(change.new), len(change.removed))
        return True

    def sweep(self, now: datetime) -> None:
        """Remove the objects of pushes that never ended."""
        stored = self.bucket.get(INDEX)
        named = {file.key for file in self._parse(stored).files.values()}
        old = [key for key, at in self.bucket.keys(OBJECTS) if at < now - ORPHAN_AGE and key not in named]
        self.bucket.delete(old)

    def _become(self, index: Index, etag: str) -> None:
        mirrored = {path: file for path, file in index.files.items() if self._is_mirrored(path)}
        held = {path: self._held_file(path, file) for path, file in mirrored.items()}
        missing = [path for path, held_file in held.items() if held_file is None]
        if missing:
            # from here on until the end the folder equals no index
            self._note(etag="", unsent=False)
        any_order, last = in_order(missing)
        self._each(any_order, lambda path: self._fetch(path, mirrored[path], etag))
        for path in last:
            self._fetch(path, mirrored[path], etag)
        for path in self._paths():
            if path not in mirrored and not is_kept(path):
                (self.root / path).unlink()
                _remove_empty(self.root, (self.root / path).parent)
        for path in missing:
            held[path] = HeldFile(mirrored[path], mark_at(self.root / path))
        self._held = Held({path: held_file for path, held_file in held.items() if held_file is not None}, etag)
        write_held(self._held_path, self._held)
        if missing:
            n_bytes = sum(mirrored[path].size_bytes for path in missing)
            log.info("fetched url=%s files=%d bytes=%d", self.bucket.url, len(missing), n_bytes)

    def _held_file(self, path: str, file: IndexedFile) -> HeldFile | None:
        """The file in the folder where it has this content already."""
        mark = mark_of(self.root / path)
        known = self._held.files.get(path)
        if mark is None:
            return None
        same = known is not None and known.mark == mark and known.file.sha256 == file.sha256
        if same or (mark[2] == file.size_bytes and sha256_of(self.root / path) == file.sha256):
            return HeldFile(file, mark)
        return None

    def _fetch(self, path: str, file: IndexedFile, etag: str) -> None:
        target = self.root / path
        draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            for _ in range(2):
                digest = self.bucket.fetch(file.key, draft)
                if digest == file.sha256:
                    draft.replace(target)
                    return
                log.warning("object not as sent url=%s key=%s", self.bucket.url, file.key)
        except OSError as error:
            raise StoreError(
                f"{target}: cannot be written ({error.strerror}); make room, or set RECSYS_CACHE"
            ) from None
        finally:
            draft.unlink(missing_ok=True)
        if self.bucket.get(INDEX, unless=etag) is not None:
            raise _MovedError
        what = "missing" if digest is None else f"altered: SHA-256 {digest}, sent with {file.sha256}"
        raise StoreError(f"{self.bucket.url}/{file.key}: {what}; restore the object, or roll back to another release")

    def _change(self) -> _Change:
        """What differs from what the folder held; a file that was only touched does not."""
        new, seen = {}, set()
        for path in self._paths():
            seen.add(path)
            known, mark = self._held.files.get(path), mark_at(self.root / path)
            if known is not None and known.mark == mark:
                continue
            sha256 = sha256_of(self.root / path)
            if known is None or known.file.sha256 != sha256:
                new[path] = IndexedFile(sha256, mark[2], object_key(path, sha256))
        return _Change(new, frozenset(self._held.files) - seen)

    def _commit(self, change: _Change, before: dict[str, IndexedFile]) -> None:
        commit, merged = secrets.token_hex(8), False
        for _ in range(TRIES):
            stored = self.bucket.get(INDEX)
            index, etag = self._parse(stored), stored.etag if stored else ""
            if index.commit != commit:  # else the answer to our write was lost
                if merged := etag != self._held.etag:
                    self._check_apart(change, before, index.files)
                files = {path: file for path, file in index.files.items() if path not in change.removed} | change.new
                content = dump_index(Index(dict(sorted(files.items())), commit))
                written = self.bucket.put_if(INDEX, content, etag)
                if written is None:
                    continue
                etag = written
            held = {path: file for path, file in self._held.files.items() if path not in change.removed}
            held |= {path: HeldFile(file, mark_at(self.root / path)) for path, file in change.new.items()}
            # on top of another's changes the folder equals no index before the next pull
            self._held = Held(held, "" if merged else etag)
            write_held(self._held_path, self._held)
            return
        raise StoreError(f"{self.bucket.url}: changes faster than it can be written; run the command again")

    def _check_apart(self, change: _Change, before: dict[str, IndexedFile], current: dict[str, IndexedFile]) -> None:
        both = [path for path in sorted((*change.new, *change.removed)) if current.get(path) != before.get(path)]
        mine = {path: file.sha256 for path, file in change.new.items()}
        both = [path for path in both if mine.get(path) != (current[path].sha256 if path in current else None)]
        if both:
            self._note(etag="", unsent=False)
            self._clean([file.key for file in change.new.values()])
            shown = f"{both[0]} and {len(both) - 1} more files" if len(both) > 1 else both[0]
            raise StoreError(
                f"{self.bucket.url}: another run has changed {shown} meanwhile, which stays; this run changed nothing "
                "there: run the command again"
            )

    def _clean(self, keys: Iterable[str]) -> None:
        try:
            self.bucket.delete(keys)
        except StoreError as error:
            log.warning("objects left behind until they are a day old error=%s", error)

    def _note(self, *, etag: str | None = None, unsent: bool) -> None:
        self._held.etag = self._held.etag if etag is None else etag
        self._held.unsent = unsent
        write_held(self._held_path, self._held)

    def _parse(self, stored: Stored | None) -> Index:
        return Index() if stored is None else parse_index(stored.content, self.bucket.url)

    def _paths(self) -> Iterator[str]:
        """Of every file in the folder that travels."""
        for path in sorted(self.root.rglob("*")):
            name = path.relative_to(self.root).as_posix()
            if path.is_file() and self._is_mirrored(name):
                yield name

    def _is_mirrored(self, path: str) -> bool:
        return not stays_here(path) and (self._parts is None or path.split("/", 1)[0] in self._parts)

    def _each(self, paths: Iterable[str], do: Callable[[str], object]) -> None:
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="mirror") as threads:
            try:
                for _ in threads.map(do, paths):
                    pass
            except BaseException:
                threads.shutdown(wait=True, cancel_futures=True)
                raise


def _remove_empty(root: Path, folder: Path) -> None:
    while folder != root and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent

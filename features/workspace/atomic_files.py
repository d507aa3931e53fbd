"""Files that survive a crash: written whole or not at all, and known by their SHA-256."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_CHUNK_BYTES = 1 << 20


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, hex; the file is streamed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def mark_of(path: Path) -> tuple[int, int, int] | None:
    """What changes whenever the file does (a replaced one has another inode), for whoever looks again and again.

    None where there is none.
    """
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content`: a reader, or a crash at any moment, sees the old file or the new one whole."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync(path.parent)


def copy_files(source: Path, target: Path) -> dict[str, str]:
    """Copy every file below `source` to the same place below `target`, down to the disk.

    Returns SHA-256 by path relative to `target`, with forward slashes, in path order.
    """
    digests = {}
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.rglob("*")):
        if path.is_file():
            name = path.relative_to(source)
            digests[name.as_posix()] = _copy_file(path, target / name)
    _sync_folders(target)
    return digests


def _copy_file(source: Path, target: Path) -> str:
    digest = hashlib.sha256()
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(_CHUNK_BYTES):
            digest.update(chunk)
            writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    return digest.hexdigest()


def sync_tree(folder: Path) -> None:
    """Bring every file below `folder`, and the names of all of them, to the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            sync(path)
    _sync_folders(folder)


def _sync_folders(folder: Path) -> None:
    """Bring the names of everything below `folder`, and its own, to the disk."""
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            sync(path)
    sync(folder.parent)


def sync(path: Path) -> None:
    """Return when the file or folder at `path` is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

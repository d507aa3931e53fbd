"""One writer at a time in a workspace.

The operating system locks the lease file for as long as its holder lives, so a killed run never leaves it held.
Its content tells others who holds it; its expiry decides where the lock does not reach, on a folder shared by
several machines. The file stays behind when the lease ends, empty: to delete it would let two runs lock two
different files of the same name.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from recsys.errors import StoreError


@dataclass(frozen=True)
class Lease:
    """Who may write, and until when that is sure on other machines."""

    pid: int
    host: str
    token: str
    since: AwareDatetime
    until: AwareDatetime


_JSON = TypeAdapter(Lease)


@contextmanager
def hold_lease(path: Path, now: datetime, minutes: float) -> Iterator[Lease]:
    """Hold the lease at `path` while the block runs.

    A lease left by a dead process of this machine, or past its expiry by another machine, is taken over; one whose
    process still lives on this machine is not, however old. Raises StoreError naming the holder.
    """
    lease = Lease(os.getpid(), socket.gethostname(), secrets.token_hex(8), now, now + timedelta(minutes=minutes))
    path.parent.mkdir(parents=True, exist_ok=True)
    # not "w": that would wipe the holder's name before we know whether the lease is free
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(descriptor, path)
        left = _read(path)
        if left is not None and left.host != lease.host and now < left.until:
            raise StoreError(_held(path, left))
        _write(descriptor, _JSON.dump_json(lease))
        try:
            yield lease
        finally:
            if _read(path) == lease:
                _write(descriptor, b"")
    finally:
        os.close(descriptor)  # which unlocks: no child inherits it


def check_lease(path: Path, lease: Lease) -> None:
    """Raise StoreError where another run has taken the lease since: the last check before a change is seen."""
    holder = _read(path)
    if holder != lease:
        taken = "it is gone" if holder is None else f"process {holder.pid} on {holder.host} took it"
        raise StoreError(f"{path}: the lease until {_minute(lease.until)} ended and {taken}; nothing changed")


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StoreError(_held(path, _read(path))) from None
    except OSError as error:
        raise StoreError(f"{path}: this file system cannot lock files ({error.strerror})") from None


def _held(path: Path, holder: Lease | None) -> str:
    if holder is None:
        return f"{path}: another run is writing to this workspace; try again when it has ended"
    return (
        f"{path}: process {holder.pid} on {holder.host} writes to this workspace since {_minute(holder.since)}"
        f" (lease until {_minute(holder.until)}); try again when it has ended"
    )


def _minute(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _read(path: Path) -> Lease | None:
    try:
        return _JSON.validate_json(path.read_bytes())
    except (ValidationError, FileNotFoundError):
        return None


def _write(descriptor: int, content: bytes) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, content, 0)
    os.fsync(descriptor)

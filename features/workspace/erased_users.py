"""Who was erased, as keyed hashes: enough to keep a shopper out, and nothing that tells who it was.

The key lies beside the list, readable by its owner alone: whoever has both can test an id that they know already.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import AwareDatetime, ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass as checked_dataclass

from features.workspace.atomic_files import sync
from features.workspace.json_files import one_writer, read_checked, write_checked
from recsys.errors import ErasureError
from recsys.workspace import Workspace

KEY_FILE: Final = "key"
LIST_FILE: Final = "erased.json"
_KEY_BYTES: Final = 32
_VERSION: Final = 1


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ErasedUser:
    """subject: `keyed` of the shopper's id."""

    subject: str
    erased_at: AwareDatetime


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class _File:
    version: int
    users: tuple[ErasedUser, ...]


_JSON: Final = TypeAdapter(_File)


class ErasedUsers:
    """The shoppers who were erased: a container of their ids, which it does not know."""

    def __init__(self, key: bytes = b"", subjects: Iterable[str] = ()) -> None:
        self._key = key
        self._subjects = frozenset(subjects)

    def __contains__(self, user_id: object) -> bool:
        return bool(self._subjects) and isinstance(user_id, str) and subject_of(self._key, user_id) in self._subjects

    def __len__(self) -> int:
        return len(self._subjects)


def read_erased(workspace: Workspace) -> ErasedUsers:
    """Everyone who was erased from the workspace.

    Raises ErasureError where list or key cannot be read: nobody may come back because of a damaged file.
    """
    users = _read_list(workspace)
    return ErasedUsers(read_key(workspace), (user.subject for user in users)) if users else ErasedUsers()


def add_erased(workspace: Workspace, user_id: str, now: datetime) -> str:
    """Keep the shopper out from now on; the keyed hash of the id. Makes the key where there is none."""
    workspace.erasures.mkdir(parents=True, exist_ok=True)
    path = workspace.erasures / LIST_FILE
    with one_writer(path, now):
        users = _read_list(workspace)
        if not users:
            ensure_key(workspace)
        subject = subject_of(read_key(workspace), user_id)
        if subject not in {user.subject for user in users}:
            write_checked(path, _JSON, _File(_VERSION, (*users, ErasedUser(subject, now))))
    return subject


def readmit(workspace: Workspace, user_id: str, now: datetime) -> bool:
    """Take the shopper's data again from now on; False where they were not erased."""
    if user_id not in read_erased(workspace):
        return False
    path = workspace.erasures / LIST_FILE
    with one_writer(path, now):
        subject = subject_of(read_key(workspace), user_id)
        users = tuple(user for user in _read_list(workspace) if user.subject != subject)
        write_checked(path, _JSON, _File(_VERSION, users))
    return True


def subject_of(key: bytes, user_id: str) -> str:
    """What stands for a shopper where the id must not: HMAC-SHA256, hex."""
    return keyed(key, b"user", user_id.encode("utf-8", "surrogatepass"))


def keyed(key: bytes, purpose: bytes, content: bytes) -> str:
    """HMAC-SHA256, hex; hashes made for different purposes never meet."""
    return hmac.new(key, purpose + b"\0" + content, hashlib.sha256).hexdigest()


def ensure_key(workspace: Workspace) -> bytes:
    """The workspace's key, made where there is none."""
    path = workspace.erasures / KEY_FILE
    if not path.exists():
        workspace.erasures.mkdir(parents=True, exist_ok=True)
        _make_key(path)
    return read_key(workspace)


def read_key(workspace: Workspace) -> bytes:
    """The workspace's key; ErasureError where it is missing or damaged."""
    path = workspace.erasures / KEY_FILE
    try:
        key = bytes.fromhex(path.read_text())
    except (OSError, ValueError) as error:
        raise ErasureError(
            f"{path}: the key of the erasures cannot be read ({error}); restore it from a backup: without it erased "
            "shoppers are not recognized, and no receipt can be checked"
        ) from None
    if len(key) != _KEY_BYTES:
        raise ErasureError(f"{path}: {len(key)} bytes, a key has {_KEY_BYTES}; restore it from a backup")
    return key


def _read_list(workspace: Workspace) -> tuple[ErasedUser, ...]:
    remedy = "restore it from a backup, or the erased shoppers come back with the next file that names them"
    file = read_checked(workspace.erasures / LIST_FILE, _JSON, _VERSION, "erased shoppers", remedy, ErasureError)
    return () if file is None else file.users


def _make_key(path: Path) -> None:
    # A draft of its own, so that a crash leaves no half key; only its owner may read it from the first moment on.
    draft = path.with_name(".key.tmp")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, secrets.token_bytes(_KEY_BYTES).hex().encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    draft.replace(path)
    sync(path.parent)

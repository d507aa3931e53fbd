"""Who may call the service: keys with a name, scopes and limits, in one file of the workspace.

A key is 256 random bits, of which the file holds the SHA-256. A slow hash would slow down the guessing of what people
chose; here there is nothing to guess, and the service checks a key at every request.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import AwareDatetime, ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass as checked_dataclass

from features.workspace.json_files import one_writer, read_checked, write_checked
from recsys.errors import ApiKeyError

PREFIX: Final = "rk_"
"""So that a scan for leaked secrets, and a person, can tell what was found."""


class Scope(StrEnum):
    """What a key may do. None includes another: what collects events need not read, nor the other way round."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
    BROWSER = "browser"
    """For pages, whose source shows the key: see `serving/ingress/browser_keys.py`."""


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ApiKey:
    """One key, of which only the digest is known. Limits that are None are those of `[serve]`."""

    name: str
    sha256: str
    scopes: tuple[Scope, ...]
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    revoked_at: AwareDatetime | None = None
    requests_per_s: float | None = None
    max_concurrent: int | None = None

    def is_valid(self, now: datetime) -> bool:
        """Neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class _File:
    version: int
    keys: tuple[ApiKey, ...]


@dataclass(frozen=True)
class Limits:
    """A key's own limits where it has any."""

    requests_per_s: float | None = None
    max_concurrent: int | None = None


_JSON: Final = TypeAdapter(_File)
_VERSION: Final = 1


def digest(key: bytes) -> str:
    """What the file holds of a key: SHA-256, hex."""
    return hashlib.sha256(key).hexdigest()


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """Every key ever made, oldest first; none without a file. Raises KeysError where the file cannot be read."""
    remedy = "restore it, or remove it and make new keys"
    file = read_checked(path, _JSON, _VERSION, "keys", remedy, ApiKeyError)
    return () if file is None else file.keys


def create_key(
    path: Path,
    name: str,
    scopes: tuple[Scope, ...],
    now: datetime,
    expires_at: datetime | None = None,
    limits: Limits = Limits(),
) -> str:
    """Add a key to the file and return it: nobody can find it out again.

    Raises KeysError for a name that a valid key has, and for an end that has passed.
    """
    if expires_at is not None and expires_at <= now:
        raise ApiKeyError(f"--expires {expires_at:%Y-%m-%d %H:%M}: that has passed; name a later time")
    with one_writer(path, now):
        keys = read_keys(path)
        if any(key.name == name and key.is_valid(now) for key in keys):
            raise ApiKeyError(f"a key named {name!r} is valid; choose another name, e.g. {name}-2, or revoke it first")
        secret = PREFIX + secrets.token_urlsafe(32)
        key = ApiKey(
            name=name,
            sha256=digest(secret.encode()),
            scopes=scopes,
            created_at=now,
            expires_at=expires_at,
            requests_per_s=limits.requests_per_s,
            max_concurrent=limits.max_concurrent,
        )
        _write(path, (*keys, key))
    return secret


def revoke_key(path: Path, name: str, now: datetime) -> None:
    """End the valid key of this name; it stays listed. Raises KeysError where there is none."""
    with one_writer(path, now):
        keys = read_keys(path)
        valid = [key.name for key in keys if key.is_valid(now)]
        if name not in valid:
            raise ApiKeyError(f"no valid key named {name!r}; there are {', '.join(valid) or 'none'}")
        _write(
            path, tuple(replace(key, revoked_at=now) if key.name == name and key.is_valid(now) else key for key in keys)
        )


def _write(path: Path, keys: tuple[ApiKey, ...]) -> None:
    write_checked(path, _JSON, _File(_VERSION, keys))

"""API keys, read again when their file changes, so that keys are added and revoked without a restart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

from features.workspace.api_keys import ApiKey, read_keys
from serving.watch.polling import Watch, WatchedFile


@dataclass(frozen=True)
class Keys:
    """Keys by their SHA-256, including revoked and expired ones. are_required: whether a request needs a valid key."""

    by_digest: Mapping[str, ApiKey]
    are_required: bool

    def valid(self, digest: str, now: datetime) -> ApiKey | None:
        """The key with this digest, None where it is unknown, revoked or expired.

        The time of the hash table look-up reveals something of the digest at most, from which no key can be derived.
        """
        key = self.by_digest.get(digest)
        return key if key is not None and key.is_valid(now) else None


NO_KEYS: Final = Keys(MappingProxyType({}), are_required=False)
"""No key is required: for a service that only this machine can reach."""


class KeyWatch(Watch):
    """Follows the file of API keys.

    While the file is damaged or missing, the keys last read stay in force: neither must open the service to everyone,
    nor lock everyone out. Once the file has held a key, keys stay required, even when the last one is revoked.

    always_required: require a key even where none was ever created; then nobody has access.
    """

    def __init__(self, path: Path, poll_s: float, *, always_required: bool) -> None:
        super().__init__(poll_s, "key-watch")
        self._file = WatchedFile(path, read_keys, "API key")
        self._always_required = always_required
        self._keys = Keys({}, are_required=always_required)

    @property
    def keys(self) -> Keys:
        """The keys in force."""
        return self._keys

    def poll(self) -> bool:
        """Check once; True where other keys are in force from now on."""
        keys = self._file.read(f"last {len(self._keys.by_digest)} stay in force")
        if keys is None:
            return False
        self._keys = Keys({key.sha256: key for key in keys}, self._always_required or bool(keys))
        return True

"""The keys that count now: read again when their file changes, so that keys come and go without a restart."""

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
    """Keys by their SHA-256, revoked and expired ones among them; `are_required` where nobody is answered without."""

    by_digest: Mapping[str, ApiKey]
    are_required: bool

    def valid(self, digest: str, now: datetime) -> ApiKey | None:
        """The key of this digest, unless it is unknown, revoked or expired.

        Found by hash table: how long that takes tells of the digest alone, from which no key can be worked out.
        """
        key = self.by_digest.get(digest)
        return key if key is not None and key.is_valid(now) else None


NO_KEYS: Final = Keys(MappingProxyType({}), are_required=False)
"""An open door, for callers of this machine."""


class KeyWatch(Watch):
    """Follows the file of keys.

    While the file is damaged or gone, the keys read last count on: neither may open the door or close it to everyone.
    A file that ever held a key keeps the door shut, when the last one is revoked too.

    always_required: also where no key was ever made, which lets nobody in.
    """

    def __init__(self, path: Path, poll_s: float, *, always_required: bool) -> None:
        super().__init__(poll_s, "key-watch")
        self._file = WatchedFile(path, read_keys, "keys")
        self._always_required = always_required
        self._keys = Keys({}, are_required=always_required)

    @property
    def keys(self) -> Keys:
        """What counts now."""
        return self._keys

    def poll(self) -> bool:
        """Look once; True where other keys count from now on."""
        keys = self._file.look(f"keys={len(self._keys.by_digest)} count on")
        if keys is None:
            return False
        self._keys = Keys({key.sha256: key for key in keys}, self._always_required or bool(keys))
        return True

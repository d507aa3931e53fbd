"""Items that have gone since the release was made, looked up before each list: an item leaves every replica at once."""

from __future__ import annotations

from typing import Final

from features.item_changes import ItemChanges
from features.manifest import Manifest
from serving.live_reader import LiveReader

MAX_RELEASES: Final = 8
"""For so many what has gone is remembered: the one that answers, and those of experiments beside it."""

NOTHING: Final[tuple[int, frozenset[str]]] = (-1, frozenset())


class LiveItems:
    """Asks for the version of the last change before each list, and for the items only where it has moved."""

    def __init__(self, changes: ItemChanges, reader: LiveReader) -> None:
        self._changes = changes
        self._reader = reader
        self._known: dict[str, tuple[int, frozenset[str]]] = {}
        """By release: a version, and what had gone by then; replaced whole, as several threads read it."""

    async def gone(self, manifest: Manifest) -> frozenset[str]:
        """Ids of items that no list may hold, whatever the release says. The last known ones where the database
        cannot be read."""
        found = await self._reader.read(lambda: self._read(manifest))
        return self._known.get(manifest.release_id, NOTHING)[1] if found is None else found

    def _read(self, manifest: Manifest) -> frozenset[str]:
        is_its_own = manifest.live.database_id == self._changes.database.id
        in_release = manifest.live.item_version if is_its_own else 0
        version = self._changes.version()
        known_version, gone = self._known.get(manifest.release_id, NOTHING)
        if known_version != version:
            gone = self._changes.gone(in_release)
            others = [one for one in self._known.items() if one[0] != manifest.release_id]
            self._known = dict([*others[-MAX_RELEASES + 1 :], (manifest.release_id, (version, gone))])
        return gone

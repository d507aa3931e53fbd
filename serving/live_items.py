"""Items that have gone since the release was made, looked up before each list: an item leaves every replica at once."""

from __future__ import annotations

from typing import Final

from features.live.item_changes import ItemChanges
from features.store.manifest import Manifest

MAX_RELEASES: Final = 8
"""For so many what has gone is remembered: the one that answers, and those of experiments beside it."""

NOTHING: Final[tuple[int, frozenset[str]]] = (-1, frozenset())


class LiveItems:
    """Asks for the version of the last change before each list, and for the items only where it has moved."""

    def __init__(self, changes: ItemChanges) -> None:
        self._changes = changes
        self._known: dict[str, tuple[int, frozenset[str]]] = {}
        """By release: a version, and what had gone by then; replaced whole, as several threads read it."""

    def last_gone(self, manifest: Manifest) -> frozenset[str]:
        """As `gone` said last of this release."""
        return self._known.get(manifest.release_id, NOTHING)[1]

    def gone(self, manifest: Manifest) -> frozenset[str]:
        """Ids of items that no list may hold, whatever the release says. Raises StoreError where the database cannot
        be read."""
        is_its_own = manifest.live.database_id == self._changes.database.id
        in_release = manifest.live.item_version if is_its_own else 0
        version = self._changes.version()
        known_version, gone = self._known.get(manifest.release_id, NOTHING)
        if known_version != version:
            gone = self._changes.gone(in_release)
            others = [one for one in self._known.items() if one[0] != manifest.release_id]
            self._known = dict([*others[-MAX_RELEASES + 1 :], (manifest.release_id, (version, gone))])
        return gone

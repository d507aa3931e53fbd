"""Items that have gone since the release was made, looked up before each list: an item leaves every replica at once."""

from __future__ import annotations

from features.item_changes import ItemChanges
from features.manifest import Manifest


class LiveItems:
    """Asks for the version of the last change before each list, and for the items only where it has moved."""

    def __init__(self, changes: ItemChanges) -> None:
        self._changes = changes
        self._known: tuple[int, int, frozenset[str]] = (-1, -1, frozenset())
        """The version, the release's own, and what had gone then; replaced whole, as several threads read it."""

    @property
    def last_gone(self) -> frozenset[str]:
        """As `gone` said last."""
        return self._known[2]

    def gone(self, manifest: Manifest) -> frozenset[str]:
        """Ids of items that no list may hold, whatever the release says. Raises StoreError where the database cannot
        be read."""
        is_its_own = manifest.live.database_id == self._changes.database.id
        in_release = manifest.live.item_version if is_its_own else 0
        version = self._changes.version()
        known_version, known_release, gone = self._known
        if (known_version, known_release) != (version, in_release):
            gone = self._changes.gone(in_release)
            self._known = (version, in_release, gone)
        return gone

"""The ids under which shoppers are stored whom a shop knows by e-mail addresses, or by several ids."""

from __future__ import annotations

import time

from features.workspace.user_ids import UserIds, is_email
from recsys.workspace import Workspace
from serving.watch.user_merges import UserMergesWatch


class UserIdsWatch:
    """Turns addresses into the workspace's pseudonyms, once an ingest has hashed the first one, and joined ids into the
    shopper's own.

    Until then the workspace is looked at again at most every `poll_s` seconds, and only when an address is met.
    """

    def __init__(
        self, workspace: Workspace | None = None, poll_s: float = 5.0, merges: UserMergesWatch | None = None
    ) -> None:
        self.merges = merges or UserMergesWatch()
        self._workspace = workspace
        self._poll_s = poll_s
        self._known: UserIds | None = None
        self._next_look_s = 0.0

    def stored(self, user_id: str) -> str:
        """The id under which the shopper's data is stored."""
        known_as = self._pseudonym(user_id)
        return self.merges.into.get(known_as, known_as)

    def _pseudonym(self, user_id: str) -> str:
        if "@" not in user_id or self._workspace is None or not is_email(user_id):
            return user_id
        if self._known is None and time.monotonic() >= self._next_look_s:
            self._known = UserIds.find(self._workspace)
            self._next_look_s = time.monotonic() + self._poll_s
        return self._known.pseudonym(user_id) if self._known else user_id

"""The ids under which the workspace stores shoppers whom a shop knows by their e-mail addresses."""

from __future__ import annotations

import time

from features.workspace.user_ids import UserIds, is_email
from recsys.workspace import Workspace


class UserIdsWatch:
    """Turns addresses into the workspace's pseudonyms, once an ingest has hashed the first one.

    Until then the workspace is looked at again at most every `poll_s` seconds, and only when an address is met.
    """

    def __init__(self, workspace: Workspace | None = None, poll_s: float = 5.0) -> None:
        self._workspace = workspace
        self._poll_s = poll_s
        self._known: UserIds | None = None
        self._next_look_s = 0.0

    def stored(self, user_id: str) -> str:
        """The id under which the shopper's data is stored."""
        if "@" not in user_id or self._workspace is None or not is_email(user_id):
            return user_id
        if self._known is None and time.monotonic() >= self._next_look_s:
            self._known = UserIds.find(self._workspace)
            self._next_look_s = time.monotonic() + self._poll_s
        return self._known.pseudonym(user_id) if self._known else user_id

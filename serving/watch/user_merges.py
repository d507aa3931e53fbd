"""The joined ids of shoppers, as every replica follows them."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from features.live.user_merges import UserMerges
from serving.watch.polling import Watch

log = logging.getLogger(__name__)


class UserMergesWatch(Watch):
    """into: joined id -> the shopper's own. A failure is logged once, and what was read last stays in force."""

    def __init__(self, merges: UserMerges | None = None, poll_s: float = 1.0) -> None:
        super().__init__(poll_s, "user-merges")
        self._merges = merges
        self.into: Mapping[str, str] = {}
        self._failing = False

    def poll(self) -> None:
        """Check once."""
        if self._merges is None:
            return
        try:
            self.into = self._merges.all()
        except Exception as error:
            # The thread must survive any error.
            if not self._failing:
                log.error("joined user ids not read, last known ones stay in force error=%s", error)
            self._failing = True
        else:
            self._failing = False

"""The shoppers of whom the service must not use anything any more: those who wait to be erased, and those who were."""

from __future__ import annotations

import logging

from features.live.erasure_queue import ErasureQueue
from features.workspace.atomic_files import mark_of
from features.workspace.erased_users import LIST_FILE, ErasedUsers, read_erased
from recsys.errors import RecsysError
from recsys.workspace import Workspace
from serving.watch.polling import Watch

log = logging.getLogger(__name__)


class ErasedUsersWatch(Watch):
    """A container of shoppers' ids, which each request asks.

    queue: of the live database, which all replicas share; workspace: where who was erased is listed, by keyed hash.
    Whatever cannot be read is logged once, and what was read last counts on.
    """

    def __init__(
        self, queue: ErasureQueue | None = None, workspace: Workspace | None = None, poll_s: float = 1.0
    ) -> None:
        super().__init__(poll_s, "forgotten")
        self._queue = queue
        self._workspace = workspace
        self._asked_here: frozenset[str] = frozenset()
        """Asked for at this replica and not yet seen in the queue."""
        self._waiting: frozenset[str] = frozenset()
        self._erased = ErasedUsers()
        self._seen: tuple[int, int, int] | None = None
        self._failing = False

    def __contains__(self, user_id: object) -> bool:
        return user_id is not None and (
            user_id in self._waiting or user_id in self._asked_here or user_id in self._erased
        )

    def add(self, user_id: str) -> None:
        """Use nothing of this shopper from now on; they are about to be queued."""
        self._asked_here = self._asked_here | {user_id}

    def discard(self, user_id: str) -> None:
        """They could not be queued."""
        self._asked_here = self._asked_here - {user_id}

    def poll(self) -> None:
        """Look once."""
        try:
            # The queue first: who leaves it is on the list by then.
            if self._queue is not None:
                self._waiting = frozenset(one.user_id for one in self._queue.waiting())
                self._asked_here = self._asked_here - self._waiting
            self._read_list()
        except Exception as error:
            # The thread must live on.
            if not self._failing:
                trace = None if isinstance(error, RecsysError) else error
                log.error("shoppers to forget not read, those known count on error=%s", error, exc_info=trace)
            self._failing = True
        else:
            self._failing = False

    def _read_list(self) -> None:
        if self._workspace is None:
            return
        seen = mark_of(self._workspace.erasures / LIST_FILE)
        if seen != self._seen:
            self._erased = read_erased(self._workspace)
            self._seen = seen

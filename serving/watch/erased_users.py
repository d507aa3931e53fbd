"""The users whose data the service must not use: those waiting to be erased, and those already erased."""

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
    """A container of user ids, checked by every request.

    queue: the erasure queue of the live database, which all replicas share; workspace: holds the list of erased users,
    by keyed hash. A source that cannot be read is logged once, and what was last read from it stays in force.
    """

    def __init__(
        self, queue: ErasureQueue | None = None, workspace: Workspace | None = None, poll_s: float = 1.0
    ) -> None:
        super().__init__(poll_s, "erased-users")
        self._queue = queue
        self._workspace = workspace
        self._requested_here: frozenset[str] = frozenset()
        """Erasures requested from this replica and not yet seen in the queue."""
        self._waiting: frozenset[str] = frozenset()
        self._erased = ErasedUsers()
        self._seen: tuple[int, int, int] | None = None
        self._failing = False

    def __contains__(self, user_id: object) -> bool:
        return user_id is not None and (
            user_id in self._waiting or user_id in self._requested_here or user_id in self._erased
        )

    def add(self, user_id: str) -> None:
        """Use nothing of this user from now on; the erasure is about to be queued."""
        self._requested_here = self._requested_here | {user_id}

    def discard(self, user_id: str) -> None:
        """Undo `add`: the erasure could not be queued."""
        self._requested_here = self._requested_here - {user_id}

    def poll(self) -> None:
        """Check once."""
        try:
            # The queue first: a user who leaves it is on the list by then.
            if self._queue is not None:
                self._waiting = frozenset(request.user_id for request in self._queue.waiting())
                self._requested_here = self._requested_here - self._waiting
            self._read_list()
        except Exception as error:
            # The thread must survive any error.
            if not self._failing:
                trace = None if isinstance(error, RecsysError) else error
                log.error("erased users not read, last known ones stay in force error=%s", error, exc_info=trace)
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

"""Writes served lists to the live database, off the request path and in groups. Under pressure it drops lists rather
than delay requests."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Container
from datetime import datetime, timedelta
from typing import Final

from features.live.answer_log import AnswerLog, Exposure
from recsys import config
from recsys.errors import StoreError
from serving.lists.record import ServedList, to_answer
from serving.telemetry.metrics import ANSWERS_DROPPED, ANSWERS_RECORDED
from serving.watch.polling import Poller

log = logging.getLogger(__name__)

PAUSE_S: Final = 0.25
GROUP_ANSWERS: Final = 500
"""Most lists of one transaction: in SQLite, events wait until it ends."""

MAX_WAITING: Final = 10_000
PRUNED_EVERY: Final = timedelta(hours=1)


class AnswerRecorder:
    """Adding a list takes microseconds; a thread writes the added lists every `PAUSE_S` seconds.

    Lists that wait when the process is killed are lost, and so are those that the database does not take: no shopper
    waits for a record. erased_users: shoppers whose lists are not written, even if they were served.
    """

    def __init__(
        self, answers: AnswerLog, settings: config.ServeSettings, erased_users: Container[object] = ()
    ) -> None:
        self._answers = answers
        self._erased_users = erased_users
        self._replay = timedelta(days=settings.replay_days)
        self._exposure = timedelta(days=settings.exposure_days)
        self._waiting: deque[ServedList] = deque()
        self._writing = threading.Lock()
        self._pruned_at: datetime | None = None
        self._failing = False
        self._poller = Poller(self.flush, PAUSE_S, "answer-writer")

    def add(self, served: ServedList) -> None:
        """Take a list to be recorded; never waits. It is dropped and counted where too many wait."""
        if not self._replay and served.assignment is None:
            return
        if len(self._waiting) >= MAX_WAITING:
            ANSWERS_DROPPED.inc()
            return
        self._waiting.append(served)

    def start(self) -> None:
        """Start the thread that writes."""
        self._poller.start()

    def close(self) -> None:
        """Return when all added lists are written."""
        self._poller.close()
        self.flush()

    def flush(self) -> None:
        """Write the lists that wait; when this returns, all lists added before are in the database or dropped."""
        with self._writing:
            while self._waiting:
                group = [self._waiting.popleft() for _ in range(min(GROUP_ANSWERS, len(self._waiting)))]
                if not self._write(group):
                    return

    def _write(self, group: list[ServedList]) -> bool:
        newest_at = group[-1].settled.at
        group = [served for served in group if served.settled.request.user_id not in self._erased_users]
        try:
            self._answers.record(
                [to_answer(served) for served in group] if self._replay else [],
                [exposure for served in group if (exposure := _exposure(served)) is not None],
            )
            self._prune(newest_at)
        except Exception as error:
            # Whatever the error, the thread must go on; the next group comes after a pause.
            ANSWERS_DROPPED.inc(len(group))
            if not self._failing:
                trace = None if isinstance(error, StoreError) else error
                log.error("answers not recorded n=%d error=%s", len(group), error, exc_info=trace)
            self._failing = True
            return False
        self._failing = False
        ANSWERS_RECORDED.inc(len(group))
        return True

    def _prune(self, now: datetime) -> None:
        if self._pruned_at is not None and now < self._pruned_at + PRUNED_EVERY:
            return
        self._pruned_at = now
        n_pruned = self._answers.prune(now - self._replay, now - self._exposure)
        log.info("answers pruned n=%d", n_pruned)


def _exposure(served: ServedList) -> Exposure | None:
    assignment, user_id = served.assignment, served.settled.request.user_id
    if assignment is None or user_id is None:
        return None
    return Exposure(served.recommendation_id, served.settled.at, user_id, assignment.experiment, assignment.arm)

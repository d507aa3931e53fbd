"""Answered lists on their way to the live database: beside the request path, in groups, and dropped rather than waited
for."""

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
"""A transaction takes so many: events wait for it in SQLite."""

MAX_WAITING: Final = 10_000
PRUNED_EVERY: Final = timedelta(hours=1)


class AnswerRecorder:
    """Adding costs a request microseconds; a thread writes what was added every `PAUSE_S` seconds.

    What was added last before a process is killed is lost, and so is what the database does not take: no shopper waits
    for a record. forgotten: shoppers whose lists are not written, though they were made.
    """

    def __init__(self, answers: AnswerLog, settings: config.ServeSettings, forgotten: Container[object] = ()) -> None:
        self._answers = answers
        self._forgotten = forgotten
        self._replay = timedelta(days=settings.replay_days)
        self._exposure = timedelta(days=settings.exposure_days)
        self._waiting: deque[ServedList] = deque()
        self._writing = threading.Lock()
        self._pruned_at: datetime | None = None
        self._failing = False
        self._poller = Poller(self.flush, PAUSE_S, "answer-writer")

    def add(self, answered: ServedList) -> None:
        """Take a list to be recorded; never waits. Dropped and counted where too many wait."""
        if not self._replay and answered.assignment is None:
            return
        if len(self._waiting) >= MAX_WAITING:
            ANSWERS_DROPPED.inc()
            return
        self._waiting.append(answered)

    def start(self) -> None:
        """Write from now on, in a thread of its own."""
        self._poller.start()

    def close(self) -> None:
        """Return when what was added is written."""
        self._poller.close()
        self.flush()

    def flush(self) -> None:
        """Write what waits; when this returns, what was added before is in the database or dropped."""
        with self._writing:
            while self._waiting:
                group = [self._waiting.popleft() for _ in range(min(GROUP_ANSWERS, len(self._waiting)))]
                if not self._write(group):
                    return

    def _write(self, group: list[ServedList]) -> bool:
        newest_at = group[-1].asked.at
        group = [one for one in group if one.asked.request.user_id not in self._forgotten]
        try:
            self._answers.record(
                [to_answer(one) for one in group] if self._replay else [],
                [exposure for one in group if (exposure := _exposure(one)) is not None],
            )
            self._prune(newest_at)
        except Exception as error:
            # Whatever it is, the thread must live on; the next group comes after a pause.
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


def _exposure(answered: ServedList) -> Exposure | None:
    part, user_id = answered.assignment, answered.asked.request.user_id
    if part is None or user_id is None:
        return None
    return Exposure(answered.recommendation_id, answered.asked.at, user_id, part.experiment, part.arm)

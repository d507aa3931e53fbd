"""A request for a list, from the shopper's part in an experiment to the record of what was answered."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Container
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from recsys.config import Settings
from recsys.experiments import Assignment, assigned
from recsys.query import Query
from recsys.recommend import PreparedList
from recsys.slate import Slate
from serving.lists.cache import SlateCache
from serving.lists.conversion import (
    SettledRequest,
    begun_of,
    check_count,
    finished,
    known_query_of,
    query_of,
    slate_of,
    to_response,
    told_items,
)
from serving.lists.record import ServedList
from serving.lists.recorder import AnswerRecorder
from serving.live.context import LiveContext
from serving.releases.active import ActiveRelease
from serving.schemas.list_options import ListRequest, SearchRequest, settled
from serving.schemas.lists import SlateResponse
from serving.telemetry.metrics import count_slate

T = TypeVar("T")


async def in_turn(turn: asyncio.Lock, work: Callable[[], T]) -> T:
    """What `work` returns, in an iteration of the event loop in which no other piece of work is done: first come, first
    served. Without it as many pieces as had arrived would be done in one iteration, and what came after them, were it
    only to be refused, would wait for all."""
    await turn.acquire()
    try:
        return work()
    finally:
        asyncio.get_running_loop().call_soon(turn.release)


class ListService:
    """Answers /v1/recommend, its batches, and searches.

    ready: the release that answers now, or an error; beside: a release that an arm is served from, None where it is not
    loaded; moment: what has happened since a release was made; writer: None where nothing is recorded; forgotten:
    shoppers who are answered as guests are.
    """

    def __init__(
        self,
        ready: Callable[[], ActiveRelease],
        beside: Callable[[str], ActiveRelease | None],
        settings: Settings,
        moment: LiveContext | None,
        writer: AnswerRecorder | None,
        forgotten: Container[object] = (),
    ) -> None:
        self._ready = ready
        self._beside = beside
        self._settings = settings
        self._moment = moment
        self._writer = writer
        self._forgotten = forgotten
        self._turn = asyncio.Lock()
        self._kept = SlateCache()
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lists")

    def close(self) -> None:
        """Return when no list is being made any more."""
        self._thread.shutdown()

    async def answer(self, request: ListRequest) -> SlateResponse:
        """The list. Raises ProblemError for more items than a list may have, and where no release is loaded."""
        start_s = time.perf_counter()
        now = datetime.now(UTC)
        if request.user_id in self._forgotten:
            request = request.model_copy(update={"user_id": None})
        part = assigned(self._settings.experiments, request.user_id)
        part, current = self._served(part)
        request = settled(request, self._settings.scenarios, None if part is None else part.settings)
        check_count(request.count, self._settings.recommend.max_count)
        by_ranker = part is None or part.settings.ranker == "learned"
        asked, slate = await self._asked(request, now, by_ranker, current)
        if not isinstance(slate, Slate):
            making = partial(copy_context().run, self._made, await self._making(asked, slate, current))
            slate = await asyncio.get_running_loop().run_in_executor(self._thread, making)
        if asked.at == now:  # else it was made for an earlier request
            self._kept.keep(asked, current, slate)
        count_slate(slate.fallback)
        items = told_items(slate, current.release.recommender, request.return_properties)
        release_id = current.release.release_id
        response = to_response(slate, release_id, now, 1000 * (time.perf_counter() - start_s), items, part)
        if self._writer is not None:
            item_ids = tuple(item.item_id for item in slate.items)
            self._writer.add(ServedList(response.recommendation_id, release_id, asked, item_ids, part))
        return response

    async def _asked(
        self, request: ListRequest, now: datetime, by_ranker: bool, current: ActiveRelease
    ) -> tuple[SettledRequest, Slate | PreparedList | None]:
        """The request with what has happened since the release was made; and as much of its list as could be made on
        the way: all of it where little was to do, or where a thread reads a database on another machine anyway."""
        is_search, max_texts = isinstance(request, SearchRequest), self._settings.embed.max_browsing_texts

        def made(
            make: Callable[[Query, ActiveRelease], Slate | PreparedList | None],
            known: ListRequest,
            gone: frozenset[str],
        ) -> tuple[SettledRequest, Slate | PreparedList | None]:
            asked = SettledRequest(known, now, gone, is_search, by_ranker)
            kept = self._kept.find(asked, current)
            if kept is not None:
                return kept
            query = known_query_of(asked, current, max_texts)
            return asked, None if query is None else make(query, current)

        moment, manifest = self._moment, current.release.manifest
        if moment is None:
            return await in_turn(self._turn, lambda: made(begun_of, request, frozenset()))
        if moment.is_quick:
            return await in_turn(self._turn, lambda: made(begun_of, *moment.of_now(request, manifest)))
        in_thread = partial(made, lambda query, live: self._made(lambda: slate_of(query, live)))
        found = await moment.of_then(request, manifest, in_thread)
        return found or (SettledRequest(request, now, moment.last_gone(manifest), is_search, by_ranker), None)

    async def _making(
        self, asked: SettledRequest, begun: PreparedList | None, current: ActiveRelease
    ) -> Callable[[], Slate]:
        """What makes the list; waits for texts to be encoded."""
        if begun is not None:
            return lambda: finished(begun, current)
        query = await query_of(asked, current, self._settings.embed.max_browsing_texts)
        return lambda: slate_of(query, current)

    def _made(self, make: Callable[[], Slate]) -> Slate:
        """Not on the event loop, which meanwhile looks at what arrives, and refuses it if need be; and one at a time,
        as several would share one interpreter lock. Replicas are the parallelism."""
        with self._lock:
            return make()

    async def asked_by(self, user_id: str, count: int, current: ActiveRelease) -> Query:
        """What a shopper's list, explained, would be asked with now, outside experiments; nothing is recorded."""
        request, gone = ListRequest(user_id=user_id, count=count, explain=True), frozenset[str]()
        if self._moment is not None and user_id not in self._forgotten:
            request, gone = await self._moment.of(request, current.release.manifest)
        asked = SettledRequest(request, datetime.now(UTC), gone, is_search=False, by_ranker=True)
        return await query_of(asked, current, self._settings.embed.max_browsing_texts)

    def _served(self, part: Assignment | None) -> tuple[Assignment | None, ActiveRelease]:
        """The part and the release of its arm. Where that is missing the shopper is in no arm, as every other shopper
        of the arm: the ratio check then tells, where counting them would hide what the other list does."""
        current = self._ready()
        if part is None or not part.settings.release:
            return part, current
        beside = self._beside(part.settings.release)
        return (None, current) if beside is None else (part, beside)

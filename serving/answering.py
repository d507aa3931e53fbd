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

from recsys.config import Settings
from recsys.experiments import Assignment, assigned
from recsys.query import Query
from recsys.recommend import Slate
from serving.answer_content import Answered
from serving.answer_writer import AnswerWriter
from serving.asked import Asked, known_query_of, query_of, slate_at_once, slate_of
from serving.contract import SlateResponse
from serving.metrics import count_slate
from serving.moment import Moment
from serving.query import check_count, to_response
from serving.release_watch import Live
from serving.rules import ListRequest, SearchRequest, settled
from serving.told import told_items
from serving.turns import Turns


class Answering:
    """Answers /v1/recommend, its batches, and searches.

    ready: the release that answers now, or an error; beside: a release that an arm is served from, None where it is not
    loaded; moment: what has happened since a release was made; writer: None where nothing is recorded; forgotten:
    shoppers who are answered as guests are.
    """

    def __init__(
        self,
        ready: Callable[[], Live],
        beside: Callable[[str], Live | None],
        settings: Settings,
        moment: Moment | None,
        writer: AnswerWriter | None,
        forgotten: Container[object] = (),
    ) -> None:
        self._ready = ready
        self._beside = beside
        self._settings = settings
        self._moment = moment
        self._writer = writer
        self._forgotten = forgotten
        self._turns = Turns()
        self._making = threading.Lock()
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
        if slate is None:
            query = await query_of(asked, current, self._settings.embed.max_browsing_texts)
            making = partial(copy_context().run, self._made, query, current)
            slate = await asyncio.get_running_loop().run_in_executor(self._thread, making)
        count_slate(slate.fallback)
        items = told_items(slate, current.release.recommender, request.return_properties)
        release_id = current.release.release_id
        response = to_response(slate, release_id, now, 1000 * (time.perf_counter() - start_s), items, part)
        if self._writer is not None:
            item_ids = tuple(item.item_id for item in slate.items)
            self._writer.add(Answered(response.recommendation_id, release_id, asked, item_ids, part))
        return response

    async def _asked(
        self, request: ListRequest, now: datetime, by_ranker: bool, current: Live
    ) -> tuple[Asked, Slate | None]:
        """The request with what has happened since the release was made; and its list, where that could be made on the
        way: at once, or in the visit to a thread that reads a database on another machine."""
        is_search, max_texts = isinstance(request, SearchRequest), self._settings.embed.max_browsing_texts

        def made(
            make: Callable[[Query, Live], Slate | None], known: ListRequest, gone: frozenset[str]
        ) -> tuple[Asked, Slate | None]:
            asked = Asked(known, now, gone, is_search, by_ranker)
            query = known_query_of(asked, current, max_texts)
            return asked, None if query is None else make(query, current)

        moment, manifest = self._moment, current.release.manifest
        if moment is None:
            return await self._turns.take(lambda: made(slate_at_once, request, frozenset()))
        if moment.is_quick:
            return await self._turns.take(lambda: made(slate_at_once, *moment.of_now(request, manifest)))
        found = await moment.of_then(request, manifest, partial(made, self._made))
        return found or (Asked(request, now, moment.last_gone(manifest), is_search, by_ranker), None)

    def _made(self, query: Query, current: Live) -> Slate:
        """Not on the event loop, which meanwhile looks at what arrives, and refuses it if need be; and one at a time,
        as several would share one interpreter lock. Replicas are the parallelism."""
        with self._making:
            return slate_of(query, current)

    async def asked_by(self, user_id: str, count: int, current: Live) -> Query:
        """What a shopper's list, explained, would be asked with now, outside experiments; nothing is recorded."""
        request, gone = ListRequest(user_id=user_id, count=count, explain=True), frozenset[str]()
        if self._moment is not None and user_id not in self._forgotten:
            request, gone = await self._moment.of(request, current.release.manifest)
        asked = Asked(request, datetime.now(UTC), gone, is_search=False, by_ranker=True)
        return await query_of(asked, current, self._settings.embed.max_browsing_texts)

    def _served(self, part: Assignment | None) -> tuple[Assignment | None, Live]:
        """The part and the release of its arm. Where that is missing the shopper is in no arm, as every other shopper
        of the arm: the ratio check then tells, where counting them would hide what the other list does."""
        current = self._ready()
        if part is None or not part.settings.release:
            return part, current
        beside = self._beside(part.settings.release)
        return (None, current) if beside is None else (part, beside)

"""Serving a list, from the request to the record: /v1/recommend, its batches, and /v1/search."""

from __future__ import annotations

import time
from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from recsys.config import Settings
from recsys.experiments import Assignment, assigned
from recsys.query import Query
from recsys.slate import Slate
from serving.lists.aliases import by_item_id
from serving.lists.cache import SlateCache
from serving.lists.executor import ListExecutor
from serving.lists.query import known_query_of, query_of
from serving.lists.record import ServedList
from serving.lists.recorder import AnswerRecorder
from serving.lists.request import SettledRequest, check_count
from serving.lists.response import response_items, to_response
from serving.live.context import LiveContext
from serving.releases.active import ActiveRelease
from serving.schemas.list_options import ListRequest, SearchRequest
from serving.schemas.list_options import settled as with_presets
from serving.schemas.lists import SlateResponse
from serving.telemetry.metrics import count_slate


@dataclass(frozen=True)
class ListPlan:
    """What is decided before anything is read. request: settled; at: its time, UTC; active: the release that it is
    served from; assignment: the shopper's arm of an experiment, None outside experiments."""

    request: ListRequest
    at: datetime
    active: ActiveRelease
    assignment: Assignment | None

    def settle(self, request: ListRequest, unavailable_ids: frozenset[str]) -> SettledRequest:
        """With live data: the request, its session completed, and the items that the list may not hold.

        The log may hold events by ids that only this release knows as aliases.
        """
        request = by_item_id(request, self.active.release)
        is_search = isinstance(request, SearchRequest)
        by_ranker = self.assignment is None or self.assignment.settings.ranker == "learned"
        return SettledRequest(request, self.at, unavailable_ids, is_search, by_ranker)


@dataclass(frozen=True)
class PreparedList:
    """A list on its way. query: None where texts have to be encoded first, or where the list was cached; slate: None
    where it has yet to be made."""

    settled: SettledRequest
    query: Query | None
    slate: Slate | None


class ListService:
    """Serves lists.

    ready: the release that answers, or an error; arm_release: the release that an arm is served from, None where it is
    not loaded; live: the live database, None without one; recorder: None where lists are not recorded; erased_users:
    shoppers who get the lists of guests; stored_user_id: the id under which a shopper's data is stored.
    """

    def __init__(
        self,
        ready: Callable[[], ActiveRelease],
        arm_release: Callable[[str], ActiveRelease | None],
        settings: Settings,
        live: LiveContext | None,
        recorder: AnswerRecorder | None,
        erased_users: Container[object] = (),
        stored_user_id: Callable[[str], str] = str,
    ) -> None:
        self.ready_release = ready
        self._arm_release = arm_release
        self._settings = settings
        self._live = live
        self._recorder = recorder
        self._erased_users = erased_users
        self._stored_user_id = stored_user_id
        self._cache = SlateCache()
        self._executor = ListExecutor(reads_in_thread=live is not None and live.reads_in_thread)
        self._max_texts = settings.embed.max_browsing_texts

    def close(self) -> None:
        """Return when the lists under way are finished."""
        self._executor.close()

    async def serve(self, request: ListRequest) -> SlateResponse:
        """The list. Raises ProblemError for more items than a list may have, and where no release is loaded."""
        start_s = time.perf_counter()
        plan = self._plan(request)
        prepared = await self._executor.run_first_steps(partial(self._read_live, plan))
        slate = await self._cached_or_new(plan, prepared)
        response = self._respond(plan, slate, start_s)
        self._record(plan, prepared.settled, response)
        return response

    async def query_for(self, user_id: str, count: int, active: ActiveRelease) -> Query:
        """The query of a shopper's list with explanations as of now, outside experiments. Nothing is recorded."""
        user_id = self._stored_user_id(user_id)
        plan = ListPlan(ListRequest(user_id=user_id, count=count, explain=True), datetime.now(UTC), active, None)
        settled = None
        if self._live is not None and user_id not in self._erased_users:
            settled = await self._live.read(plan.request, active.release.manifest, plan.settle)
        return await query_of(settled or self._settle_without(plan), active, self._max_texts)

    def _plan(self, request: ListRequest) -> ListPlan:
        """The shopper's arm and release, and the request with its presets."""
        now = datetime.now(UTC)
        known_as = self._known_as(request.user_id)
        if known_as != request.user_id:
            request = request.model_copy(update={"user_id": known_as})
        assignment, active = self._arm(assigned(self._settings.experiments, request.user_id))
        request = with_presets(request, self._settings.scenarios, None if assignment is None else assignment.settings)
        check_count(request.count, self._settings.recommend.max_count)
        # Before the session is completed from the log, whose events have the catalogue's ids.
        return ListPlan(by_item_id(request, active.release), now, active, assignment)

    def _known_as(self, user_id: str | None) -> str | None:
        """The id under which the shopper's data is stored; None for guests and for erased shoppers."""
        if user_id is None or user_id in self._erased_users:
            return None
        stored = self._stored_user_id(user_id)
        return None if stored in self._erased_users else stored

    def _arm(self, assignment: Assignment | None) -> tuple[Assignment | None, ActiveRelease]:
        """The assignment and the release of its arm.

        While that release is not loaded, its shoppers are in no arm, all of them: the sample ratio check then reports a
        mismatch. Counting lists of another release would hide it.
        """
        active = self.ready_release()
        if assignment is None or not assignment.settings.release:
            return assignment, active
        arm_release = self._arm_release(assignment.settings.release)
        return (None, active) if arm_release is None else (assignment, arm_release)

    async def _read_live(self, plan: ListPlan) -> PreparedList:
        """The list with live data, prepared where these are read; without them where the database cannot be read."""
        if self._live is None:
            return self._prepare(plan, plan.request, frozenset())
        manifest = plan.active.release.manifest
        prepared = await self._live.read(plan.request, manifest, partial(self._prepare, plan))
        return prepared or PreparedList(self._settle_without(plan), query=None, slate=None)

    def _prepare(self, plan: ListPlan, request: ListRequest, unavailable_ids: frozenset[str]) -> PreparedList:
        """The list as far as it can be made without waiting: cached, or new where its query is known and the executor
        makes it at once."""
        settled = plan.settle(request, unavailable_ids)
        cached = self._cache.find(settled, plan.active)
        if cached is not None:
            # The time of the cached list is recorded: only at that time a replay gives the same list.
            return PreparedList(replace(settled, at=cached.at), query=None, slate=cached.slate)
        query = known_query_of(settled, plan.active, self._max_texts)
        slate = None if query is None else self._executor.make_at_once(query, plan.active)
        return PreparedList(settled, query, slate)

    async def _cached_or_new(self, plan: ListPlan, prepared: PreparedList) -> Slate:
        """The list; a new one is cached."""
        slate, settled = prepared.slate, prepared.settled
        if slate is None:
            query = prepared.query or await query_of(settled, plan.active, self._max_texts)
            slate = await self._executor.make_in_thread(query, plan.active)
        if settled.at == plan.at:
            self._cache.keep(settled, plan.active, slate)
        count_slate(slate.fallback)
        return slate

    def _respond(self, plan: ListPlan, slate: Slate, start_s: float) -> SlateResponse:
        release = plan.active.release
        items = response_items(slate, release.recommender, plan.request.return_properties)
        took_ms = 1000 * (time.perf_counter() - start_s)
        return to_response(slate, release.release_id, plan.at, took_ms, items, plan.assignment)

    def _record(self, plan: ListPlan, settled: SettledRequest, response: SlateResponse) -> None:
        if self._recorder is not None:
            item_ids = tuple(item.item_id for item in response.items)
            release_id, recommendation_id = response.release_id, response.recommendation_id
            self._recorder.add(ServedList(recommendation_id, release_id, settled, item_ids, plan.assignment))

    def _settle_without(self, plan: ListPlan) -> SettledRequest:
        """Without live data: with the unavailable items as last read."""
        last = frozenset[str]() if self._live is None else self._live.last_unavailable_ids(plan.active.release.manifest)
        return plan.settle(plan.request, last)

"""What the routes work with, and the FastAPI dependencies that hand it to them.

`create_app` puts it into the application's state (`app.state`). It is not in the state that a lifespan yields, as Ray
Serve's replicas do not pass that on to requests. The dependencies are coroutines: FastAPI would run plain functions in
a thread, which costs more than a quick list.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from features.live.answer_log import AnswerLog
from features.live.database import LiveDatabase
from features.live.erasure_queue import ErasureQueue
from features.live.event_log import EventLog
from features.live.item_changes import ItemChanges
from features.live.user_merges import UserMerges
from recsys.config import Settings
from serving.lists.recorder import AnswerRecorder
from serving.lists.service import ListService
from serving.live.context import LiveContext
from serving.live.event_writer import EventWriter
from serving.live.experiment_reports import ExperimentReports
from serving.releases.active import ActiveRelease, ready_release
from serving.releases.item_map import ItemMaps
from serving.releases.replay import served_alone
from serving.routes.web_files import WebFile, web_files
from serving.state import ServiceState
from serving.watch.erased_users import ErasedUsersWatch
from serving.watch.user_ids import UserIdsWatch


@dataclass(frozen=True)
class DatabaseServices:
    """What needs the live database."""

    context: LiveContext
    recorder: AnswerRecorder
    answers: AnswerLog
    event_writer: EventWriter
    erasure_queue: ErasureQueue
    user_merges: UserMerges
    item_changes: ItemChanges
    experiments: ExperimentReports

    @classmethod
    def of(cls, settings: Settings, state: ServiceState, database: LiveDatabase) -> DatabaseServices:
        return cls(
            context=LiveContext(database, settings),
            recorder=AnswerRecorder(AnswerLog(database), settings.serve, state.erased_users),
            answers=AnswerLog(database),
            event_writer=EventWriter(EventLog(database)),
            erasure_queue=ErasureQueue(database),
            user_merges=UserMerges(database),
            item_changes=ItemChanges(database),
            experiments=ExperimentReports(settings.experiments, database, state.lake),
        )


@dataclass(frozen=True)
class Services:
    """active, past_releases, erased_users, user_ids: as in `ServiceState`; database: None without a live database;
    web_files: of the pages, by path."""

    settings: Settings
    active: Callable[[], ActiveRelease | None]
    past_releases: Callable[[str], Awaitable[Sequence[ActiveRelease]]]
    erased_users: ErasedUsersWatch
    user_ids: UserIdsWatch
    lists: ListService
    item_maps: ItemMaps
    web_files: Mapping[str, WebFile]
    database: DatabaseServices | None

    @classmethod
    def of(cls, settings: Settings, state: ServiceState) -> Services:
        database = None if state.database is None else DatabaseServices.of(settings, state, state.database)
        return cls(
            settings=settings,
            active=state.active,
            past_releases=state.past_releases or served_alone(state.active),
            erased_users=state.erased_users,
            user_ids=state.user_ids,
            lists=ListService(
                lambda: ready_release(state.active),
                state.arm_release,
                settings,
                None if database is None else database.context,
                None if database is None else database.recorder,
                state.erased_users,
                state.user_ids.stored,
            ),
            item_maps=ItemMaps(state.atlases),
            web_files=web_files(),
            database=database,
        )

    def ready(self) -> ActiveRelease:
        """The release that answers now. Raises ProblemError (503) while none is loaded."""
        return ready_release(self.active)

    async def unavailable_ids(self, active: ActiveRelease) -> frozenset[str]:
        """Ids of items that no list may hold, whatever the release says."""
        if self.database is None:
            return frozenset()
        return await self.database.context.unavailable_ids(active.release.manifest)


def services_of(request: Request) -> Services:
    """The services of the app that received the request.

    Routes of lists call it themselves: FastAPI takes 9 µs to resolve a dependency, 5 % of the time of a cached list.
    """
    services: Services = request.app.state.services
    return services


async def _services(request: Request) -> Services:
    return services_of(request)


async def _database(request: Request) -> DatabaseServices:
    database = services_of(request).database
    assert database is not None, "create_app includes these routes only where there is a live database"
    return database


AppServices = Annotated[Services, Depends(_services)]
AppDatabase = Annotated[DatabaseServices, Depends(_database)]

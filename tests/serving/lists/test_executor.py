"""Where the steps of a list run: on the event loop, in the thread that reads a remote database, or in a thread."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from storefronts import tiny_recommender

from features.live.database import LiveDatabase
from recsys.config import Settings
from recsys.filters import OfBrand
from recsys.query import Query, Signal
from recsys.recommend import Recommender
from recsys.rules import Rules
from serving.lists import executor
from serving.lists.executor import ListExecutor, is_quick
from serving.lists.service import ListService
from serving.live.context import LiveContext
from serving.releases.active import ActiveRelease
from serving.schemas.list_options import ListRequest

AT = datetime(2026, 1, 1, tzinfo=UTC)
ANN = Query(user_id="ann")


def test_a_plain_list_from_a_small_catalogue_is_quick() -> None:
    assert is_quick(ANN, tiny_recommender())


@pytest.mark.parametrize(
    "query",
    [
        replace(ANN, explain=True),
        replace(ANN, rules=Rules(filter=OfBrand(("Type",)))),
        replace(ANN, text="lamp", search=True),
        replace(ANN, count=400),
        replace(ANN, exclude_ids=frozenset(str(number) for number in range(300))),
    ],
)
def test_a_list_that_is_not_plain_is_not_quick_even_where_it_is_scored(query: Query) -> None:
    recommender = tiny_recommender()
    recommender.recommend([query])
    assert not is_quick(query, recommender)


def test_in_a_medium_catalogue_a_list_is_quick_where_it_is_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "SMALL_CATALOGUE", 4)
    recommender = tiny_recommender()
    assert not is_quick(ANN, recommender)
    recommender.recommend([ANN])
    assert is_quick(ANN, recommender)


def test_in_a_large_catalogue_no_list_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "SMALL_CATALOGUE", 3)
    monkeypatch.setattr(executor, "MAX_QUICK_ITEMS", 4)
    recommender = tiny_recommender()
    recommender.recommend([ANN])
    assert not is_quick(ANN, recommender)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the threads that have made lists, in order."""
    names: list[str] = []
    make = Recommender.recommend

    def noted(*arguments: Any) -> Any:
        names.append(threading.current_thread().name)
        return make(*arguments)

    monkeypatch.setattr(Recommender, "recommend", noted)
    return names


@pytest.fixture
def service_of(
    live: ActiveRelease, live_database: LiveDatabase, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., ListService]]:
    services: list[ListService] = []

    def make(*, is_local: bool | None) -> ListService:
        """is_local: of the live database, None for none."""
        monkeypatch.setattr(LiveDatabase, "is_local", is_local)
        context = None if is_local is None else LiveContext(live_database, Settings())
        services.append(ListService(lambda: live, lambda _: None, Settings(), context, None))
        return services[-1]

    yield make
    for service in services:
        service.close()


def serve(service: ListService, **request: Any) -> None:
    asyncio.run(service.serve(ListRequest(**request)))


@pytest.mark.parametrize("is_local", [None, True])
def test_a_quick_list_is_made_on_the_event_loop_and_others_in_a_thread(
    service_of: Callable[..., ListService], threads: list[str], is_local: bool | None
) -> None:
    service = service_of(is_local=is_local)
    serve(service, user_id="ann")
    assert threads == ["MainThread"]
    serve(service, user_id="ann", explain=True)
    serve(service, text="shoes")  # which has to be encoded first
    assert [name.startswith("lists") for name in threads[1:]] == [True, True]
    serve(service, text="shoes", count=3)  # whose vector is in the cache by now
    assert threads[3:] == ["MainThread"]


def test_with_a_remote_database_the_thread_that_has_read_it_makes_the_list(
    service_of: Callable[..., ListService], threads: list[str]
) -> None:
    service = service_of(is_local=False)
    serve(service, user_id="ann")
    serve(service, user_id="ann", explain=True)
    assert [name.startswith("live-reader") for name in threads] == [True, True]
    serve(service, text="shoes")
    assert threads[2].startswith("lists")


def test_where_a_remote_database_is_down_lists_are_made_in_a_thread(
    service_of: Callable[..., ListService], threads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object) -> None:
        return None

    service = service_of(is_local=False)
    monkeypatch.setattr(LiveContext, "read", nothing)
    serve(service, user_id="ann")
    assert threads[0].startswith("lists")


def test_lists_in_threads_are_made_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most = 0, 0
    lock = threading.Lock()

    def slowly(_query: Query, _active: object) -> object:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.01)
        with lock:
            running -= 1
        return SimpleNamespace()

    monkeypatch.setattr(executor, "make_slate", slowly)
    lists = ListExecutor(reads_in_thread=True)

    async def main() -> None:
        active: Any = SimpleNamespace()
        at_once = [asyncio.to_thread(lists.make_at_once, ANN, active) for _ in range(3)]
        await asyncio.gather(*at_once, *(lists.make_in_thread(ANN, active) for _ in range(3)))

    asyncio.run(main())
    lists.close()
    assert most == 1


def test_a_session_longer_than_the_limit_is_not_quick() -> None:
    signal = Signal("view", AT, "lamp")
    assert not is_quick(replace(ANN, session=(signal,) * 300), tiny_recommender())

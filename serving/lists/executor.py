"""Where the steps of a list run: on the event loop or in a thread. No other module decides this.

Each replica has one event loop, which should be free to look at new requests every few milliseconds. But a visit to a
thread costs more than half of a quick list (docs/decisions.md has the figures). So there are three places:

* With a local live database, a request's first steps (read live data, look into the cache, build the query) run on the
  event loop, and so does making its list where that is quick. The loop takes one request per iteration.
* With a remote live database, which takes a network round trip, the first steps and making the list share one visit to
  the thread that reads the database.
* Lists that are not quick, and lists whose texts had to be encoded first, are made in a thread of their own.

Lists that are made in threads are made one at a time: several would only share one interpreter lock. More replicas, not
more threads, are the parallelism.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Final, TypeVar

from recsys.query import Query
from recsys.recommend import Recommender
from recsys.rules import PLAIN
from recsys.slate import Slate
from serving.lists.slate import make_slate
from serving.releases.active import ActiveRelease

MAX_QUICK_ITEMS: Final = 50_000
"""In a larger catalogue, sorting the scores alone takes long."""

MAX_QUICK_ENTRIES: Final = 300
"""Items of the list, excluded items and session events together; more take long to read."""

SMALL_CATALOGUE: Final = 20_000
"""All sources score this many items within a few milliseconds."""

T = TypeVar("T")


async def in_turn(turn: asyncio.Lock, step: Callable[[], Awaitable[T]]) -> T:
    """The result of `step`, which does not wait for anything, in an iteration of the event loop that runs no other such
    step. First come, first served.

    Otherwise one iteration would run the steps of all requests that have arrived, and requests that arrived later would
    wait for all of them, even if only to be refused.
    """
    await turn.acquire()
    try:
        return await step()
    finally:
        asyncio.get_running_loop().call_soon(turn.release)


def is_quick(query: Query, recommender: Recommender) -> bool:
    """Whether the query's list takes a few milliseconds at most: a short list without explanations, rules and search,
    from a small catalogue, or from a medium one where the shopper's scores are cached."""
    n_entries = query.count + len(query.exclude_ids) + len(query.session)
    if query.explain or query.search or query.rules != PLAIN or n_entries > MAX_QUICK_ENTRIES:
        return False
    if recommender.n_items <= SMALL_CATALOGUE:
        return True
    return recommender.n_items <= MAX_QUICK_ITEMS and recommender.is_scored(query)


class ListExecutor:
    """Runs the steps of lists. reads_in_thread: whether the live database is remote and is read in threads."""

    def __init__(self, *, reads_in_thread: bool) -> None:
        self._reads_in_thread = reads_in_thread
        self._turn = asyncio.Lock()
        self._making = threading.Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lists")

    def run_first_steps(self, steps: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        """The result of the steps up to `make_at_once`. They wait for nothing but a remote database."""
        return steps() if self._reads_in_thread else in_turn(self._turn, steps)

    def make_at_once(self, query: Query, active: ActiveRelease) -> Slate | None:
        """The list, made where the first steps run; None where that is the event loop and the list is not quick: then
        `make_in_thread` has to make it."""
        if self._reads_in_thread:
            return self._make_alone(query, active)
        return make_slate(query, active) if is_quick(query, active.release.recommender) else None

    async def make_in_thread(self, query: Query, active: ActiveRelease) -> Slate:
        """The list, made in a thread of its own; lists are made in the order of these calls."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, copy_context().run, self._make_alone, query, active)

    def close(self) -> None:
        """Return when the lists under way are finished."""
        self._thread.shutdown()

    def _make_alone(self, query: Query, active: ActiveRelease) -> Slate:
        with self._making:
            return make_slate(query, active)

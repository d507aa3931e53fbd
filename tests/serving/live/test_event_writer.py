import asyncio
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import cast

import pytest

from features.live.event_log import EventLog, LoggedEvent
from recsys.errors import StoreError
from serving.live.event_writer import GROUP_EVENTS, EventWriter

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def event(event_id: str) -> LoggedEvent:
    return LoggedEvent(event_id, "ann", "boot", "view", NOON)


class SlowLog:
    """Notes the transactions; each waits until the gate is open."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.begun = threading.Event()
        self.gate = threading.Event()

    def append(self, events: Sequence[LoggedEvent]) -> dict[int, str]:
        self.begun.set()
        self.gate.wait()
        self.groups.append([event.event_id for event in events])
        if any(event.event_id == "bad" for event in events):
            raise StoreError("disk full")
        return {number: f"{event.event_id}#1" for number, event in enumerate(events) if event.event_id == "shared"}


def writer_of(log: SlowLog) -> EventWriter:
    return EventWriter(cast(EventLog, log))


async def started(log: SlowLog, writer: EventWriter, *event_ids: str) -> list[asyncio.Task[dict[int, str]]]:
    """The first append is under way, the others wait."""
    tasks = []
    for event_id in event_ids:
        tasks.append(asyncio.create_task(writer.append([event(event_id)])))
        await asyncio.sleep(0)
        await asyncio.to_thread(log.begun.wait)
    return tasks


def test_requests_that_arrive_during_a_transaction_share_the_next() -> None:
    log = SlowLog()
    writer = writer_of(log)

    async def run() -> None:
        tasks = await started(log, writer, "a", "b", "c", "d")
        assert not any(task.done() for task in tasks)
        log.gate.set()
        await asyncio.gather(*tasks)

    asyncio.run(run())
    writer.close()
    assert log.groups == [["a"], ["b", "c", "d"]]


def test_the_requests_of_a_transaction_that_fails_all_learn_it_and_the_next_goes_on() -> None:
    log = SlowLog()
    writer = writer_of(log)

    async def run() -> list[dict[int, str] | BaseException]:
        tasks = await started(log, writer, "a", "bad", "c")
        log.gate.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        await writer.append([event("d")])
        return answers

    first, *others = asyncio.run(run())
    writer.close()
    assert first == {}
    assert [str(error) for error in others] == ["disk full", "disk full"]
    assert log.groups[-1] == ["d"]


def test_what_waited_for_a_client_that_has_gone_is_not_stored() -> None:
    log = SlowLog()
    writer = writer_of(log)

    async def run() -> None:
        first, cancelled, last = await started(log, writer, "a", "b", "c")
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        log.gate.set()
        await asyncio.gather(first, last)

    asyncio.run(run())
    writer.close()
    assert log.groups == [["a"], ["c"]]


def test_a_transaction_ends_at_its_size_and_closing_stores_what_waits() -> None:
    log = SlowLog()
    writer = writer_of(log)

    async def run() -> None:
        (first,) = await started(log, writer, "a")
        large = [asyncio.create_task(writer.append([event("x")] * GROUP_EVENTS)) for _ in range(2)]
        await asyncio.sleep(0)
        log.gate.set()
        await asyncio.to_thread(writer.close)
        await asyncio.gather(first, *large)

    asyncio.run(run())
    assert [len(group) for group in log.groups] == [1, GROUP_EVENTS, GROUP_EVENTS]


def test_each_request_learns_which_of_its_own_events_were_renamed() -> None:
    log = SlowLog()
    writer = writer_of(log)

    async def run() -> list[dict[int, str]]:
        tasks = await started(log, writer, "first")
        tasks.append(asyncio.create_task(writer.append([event("a"), event("shared")])))
        tasks.append(asyncio.create_task(writer.append([event("shared"), event("b")])))
        await asyncio.sleep(0)
        log.gate.set()
        return await asyncio.gather(*tasks)

    assert asyncio.run(run()) == [{}, {1: "shared#1"}, {0: "shared#1"}]
    writer.close()

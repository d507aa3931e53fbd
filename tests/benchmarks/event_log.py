"""Time to store events and to read a shopper's last events, for each database in the same run.

python tests/benchmarks/event_log.py [--url postgresql://…] [--json OUT]
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from features.live.database import open_live_database
from features.live.event_log import EventLog, LoggedEvent
from features.store.manifest import LivePosition, Manifest
from recsys.workspace import Workspace
from serving.live.context import RecentEvents
from serving.live.event_writer import EventWriter
from serving.live.reader import LiveReader

N_REQUESTS = 500
N_READS = 3000
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MANIFEST = Manifest("r", None, NOON, NOON, {}, {}, {}, "", "", "", {})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="", help="URL of a PostgreSQL database to measure beside SQLite")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for url in ["", *([options.url] if options.url else [])]:
        with tempfile.TemporaryDirectory() as folder:
            database = open_live_database(Workspace(Path(folder)), url)
            name = "PostgreSQL" if url else "SQLite"
            rows += [{"database": name} | row for row in asyncio.run(measured(EventLog(database)))]
            database.close()
    table = Table(title="Storing and reading events", box=SIMPLE_HEAD)
    for column in ("database", "what", "p50 ms", "p99 ms", "events/s"):
        table.add_column(column, justify="left" if column in ("database", "what") else "right")
    for row in rows:
        rate = f"{row['events_per_s']:,.0f}" if "events_per_s" in row else ""
        table.add_row(str(row["database"]), str(row["what"]), f"{row['p50_ms']:.3f}", f"{row['p99_ms']:.3f}", rate)
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps({"rows": rows}, indent=2))
    return 0


async def measured(events: EventLog) -> list[dict[str, object]]:
    serial = [0]

    def some(count: int, user_id: str = "writer") -> list[LoggedEvent]:
        serial[0] += count
        numbers = range(serial[0] - count, serial[0])
        return [LoggedEvent(f"e{n}", user_id, f"i{n % 997}", "view", NOON + timedelta(seconds=n)) for n in numbers]

    rows: list[dict[str, object]] = []
    writer = EventWriter(events)
    await writer.append(some(1))
    one_by_one = threaded(events)
    for what, append, n_clients, size in (
        ("store 1, alone", writer.append, 1, 1),
        ("store 1, 32 at once", writer.append, 32, 1),
        ("the same, a transaction each", one_by_one, 32, 1),
        ("store 1000, alone", writer.append, 1, 1000),
    ):
        n_requests = N_REQUESTS if size == 1 else 20
        taken_ms, seconds = await stored(append, [some(size) for _ in range(n_requests)], n_clients)
        rows.append(row_of(what, taken_ms) | {"events_per_s": n_requests * size / seconds})
    for user_id, count in (("none", 0), ("few", 10), ("hundred", 100), ("many", 10_000)):
        await writer.append(some(count, user_id))
    writer.close()
    reader = LiveReader(in_thread=not events.database.is_local)
    recent = RecentEvents(events, 100)
    holds_all = replace(MANIFEST, as_of=NOON + timedelta(days=99), log_offset=LivePosition(events.database.id, 10**9))
    for what, user_id, manifest in (
        ("read, shopper without events", "none", MANIFEST),
        ("read, 10 new events", "few", MANIFEST),
        ("read, 100 new events", "hundred", MANIFEST),
        ("read, 100 newest of 10,000", "many", MANIFEST),
        ("read, 10,000 that the release holds", "many", holds_all),
    ):
        taken_ms = []
        for _ in range(N_READS):
            start = time.perf_counter()
            await reader.read(partial(recent.of, user_id, manifest), len)
            taken_ms.append(1000 * (time.perf_counter() - start))
        rows.append(row_of(what, taken_ms))
    reader.close()
    return rows


def threaded(events: EventLog) -> Callable[[list[LoggedEvent]], Awaitable[None]]:
    """The baseline for `EventWriter`: one transaction per request."""

    async def append(batch: list[LoggedEvent]) -> None:
        await asyncio.to_thread(events.append, batch)

    return append


async def stored(
    append: Callable[[list[LoggedEvent]], Awaitable[None]], batches: list[list[LoggedEvent]], n_clients: int
) -> tuple[list[float], float]:
    """Milliseconds of each request, and seconds of all requests."""
    taken_ms: list[float] = []

    async def client(client_batches: list[list[LoggedEvent]]) -> None:
        for batch in client_batches:
            start = time.perf_counter()
            await append(batch)
            taken_ms.append(1000 * (time.perf_counter() - start))

    started = time.perf_counter()
    await asyncio.gather(*(client(batches[first::n_clients]) for first in range(n_clients)))
    return taken_ms, time.perf_counter() - started


def row_of(what: str, taken_ms: list[float]) -> dict[str, object]:
    return {"what": what, "p50_ms": float(np.percentile(taken_ms, 50)), "p99_ms": float(np.percentile(taken_ms, 99))}


if __name__ == "__main__":
    sys.exit(main())

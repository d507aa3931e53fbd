"""Kill a server that stores events with SIGKILL at random times: is each acknowledged event stored exactly once?

python tests/benchmarks/event_crash.py [--events 10000] [--kills 10] [--seed 0] [--url postgresql://…] [--json OUT]
"""

import argparse
import json
import multiprocessing
import random
import socket
import sys
import tempfile
import threading
import time
from contextlib import suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import httpx
import uvicorn

from features.live.database import open_live_database
from features.live.event_log import EventLog
from recsys.config import Settings
from recsys.workspace import Workspace
from serving.api import create_app
from serving.state import ServiceState

N_CLIENTS = 4
MAX_BATCH = 20
READY_S = 120


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--url", default="", help="serve.events_url; by default SQLite in a new folder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = Storm(Path(folder), options.url, options.seed).run(options.events, options.kills)
    print(
        f"{result['acknowledged']:,} events acknowledged in {result['requests']:,} requests, {result['kills']} times "
        f"killed -9, {result['retries']} requests sent again: {result['lost']} lost, {result['twice']} stored twice, "
        f"{result['stored']:,} stored, {result['seconds']:.1f} s"
    )
    if options.json:
        options.json.write_text(json.dumps(result, indent=2))
    return 1 if result["lost"] or result["twice"] else 0


def serve(folder: Path, url: str, port: int) -> None:
    """The service without a release, which would take seconds to load."""
    app = create_app(Settings(), ServiceState(lambda: None, open_live_database(Workspace(folder), url)))
    uvicorn.run(app, port=port, log_level="error", access_log=False)


class Storm:
    """Clients that send each batch until it is acknowledged, and a server that is killed meanwhile."""

    def __init__(self, folder: Path, url: str, seed: int) -> None:
        self.folder, self.url = folder, url
        self.draw = random.Random(seed)
        # Servers are forked from a process that has imported everything, so that they start at once.
        self.processes = multiprocessing.get_context("forkserver")
        self.processes.set_forkserver_preload(["uvicorn", "serving.api"])
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.changed = threading.Condition()
        self.acknowledged: list[str] = []
        self.n_requests = self.n_retries = 0

    def run(self, n_events: int, n_kills: int) -> dict[str, float]:
        started = time.monotonic()
        batches = self._batches(n_events)
        moments = sorted(self.draw.randrange(4 * n_events // 5) for _ in range(n_kills))
        server = self._start()
        threads = [threading.Thread(target=self._send, args=(batches[first::N_CLIENTS],)) for first in range(N_CLIENTS)]
        for thread in threads:
            thread.start()
        for moment in moments:
            with self.changed:
                self.changed.wait_for(lambda moment=moment: len(self.acknowledged) > moment)
            time.sleep(self.draw.uniform(0, 0.02))  # anywhere in a request, a transaction, a flush
            server.kill()
            server.join()
            server = self._start()
        for thread in threads:
            thread.join()
        server.kill()
        server.join()
        stored = self._stored()
        return {
            "acknowledged": len(self.acknowledged),
            "requests": self.n_requests,
            "retries": self.n_retries,
            "kills": n_kills,
            "stored": len(stored),
            "lost": len(set(self.acknowledged) - set(stored)),
            "twice": len(stored) - len(set(stored)),
            "seconds": time.monotonic() - started,
        }

    def _batches(self, n_events: int) -> list[list[str]]:
        ids = [f"e{number}" for number in range(n_events)]
        batches = []
        while ids:
            size = self.draw.randint(1, MAX_BATCH)
            batches.append(ids[:size])
            ids = ids[size:]
        return batches

    def _start(self) -> ForkServerProcess:
        server = self.processes.Process(target=serve, args=(self.folder, self.url, self.port))
        server.start()
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline and server.is_alive():
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return server
            time.sleep(0.02)
        server.kill()
        raise SystemExit("the server did not start")

    def _send(self, batches: list[list[str]]) -> None:
        fields = {"user_id": "ann", "event_type": "view", "item_id": "boot"}
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30, trust_env=False) as client:
            for batch in batches:
                events = [{"event_id": event_id, **fields} for event_id in batch]
                while not self._acknowledged(client, events):
                    self.n_retries += 1
                    time.sleep(0.02)
                with self.changed:
                    self.acknowledged += batch
                    self.n_requests += 1
                    self.changed.notify_all()

    @staticmethod
    def _acknowledged(client: httpx.Client, events: list[dict[str, str]]) -> bool:
        try:
            response = client.post("/v1/events", json={"events": events})
        except httpx.TransportError:
            return False
        if response.status_code not in (202, 503):
            raise SystemExit(f"answered {response.status_code}")
        return response.status_code == 202

    def _stored(self) -> list[str]:
        """The ids in the event log."""
        events = EventLog(open_live_database(Workspace(self.folder), self.url))
        rows, _ = events.batch(0, events.newest(), 10**9)
        events.database.close()
        ids: list[str] = rows["event_id"].to_list()
        return ids


if __name__ == "__main__":
    sys.exit(main())

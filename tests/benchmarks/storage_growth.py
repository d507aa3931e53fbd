"""Bytes on the disk for each unit of what a shop's workspace holds: the figures of docs/operations.md.

A sample storefront, one night with the default settings, then lists and events through the running service.

python tests/benchmarks/storage_growth.py [--products 1000 --shoppers 1000 --days 60] [--lists 1000] [--json OUT]
"""

import argparse
import json
import os
import platform
import secrets
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import httpx
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from jobs.lake.lake import Lake
from jobs.services.process import free_port, running
from recsys.workspace import Workspace

Row = tuple[str, str, int, int]
"""What, its unit, the number of units, and bytes."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("products", 1000), ("shoppers", 1000), ("days", 60), ("lists", 1000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "shop")
        sizes = [f"--{name}={getattr(options, name)}" for name in ("products", "shoppers", "days")]
        for command in (["ingest", "sample", *sizes], ["nightly"]):
            run = [sys.executable, "-m", "jobs", command[0], *command[1:], "-w", str(workspace.root)]
            subprocess.run(run, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        rows = at_rest(workspace)
        rows += live(workspace, options.lists)
    table = Table(title=f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs", box=SIMPLE_HEAD)
    for column in ("what", "unit", "units", "bytes", "bytes a unit"):
        table.add_column(column, justify="left" if column in ("what", "unit") else "right")
    for what, unit, n_units, n_bytes in rows:
        table.add_row(what, unit, f"{n_units:,}", f"{n_bytes:,}", f"{n_bytes / max(1, n_units):,.0f}")
    Console(width=110).print(table)
    if options.json:
        names = ("what", "unit", "units", "bytes")
        options.json.write_text(json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=2))
    return 0


def at_rest(workspace: Workspace) -> list[Row]:
    """After the night, before anybody was served."""
    lake = Lake(workspace.lake)
    n = {table: lake.n_rows(table) for table in ("events", "catalog", "reviews")}
    rows = [("lake", table, n_rows, size_of(workspace.lake / table)) for table, n_rows in n.items()]
    n_users = lake.scan("events").select("user_id").unique().collect().height
    rows += [
        ("store", "item, user and review", n["catalog"] + n_users + n["reviews"], size_of(workspace.store)),
        ("release", "release", 1, size_of(workspace.releases)),
        ("embeddings", "item and review", n["catalog"] + n["reviews"], size_of(workspace.embeddings)),
        ("steps", "night", 1, size_of(workspace.steps)),
        ("runs", "night", 1, size_of(workspace.runs)),
    ]
    return rows


def live(workspace: Workspace, n_lists: int) -> list[Row]:
    """What the service stores while it answers `n_lists` lists of 20 and takes 10 events for each."""
    port, log = free_port(), workspace.root / "access.log"
    lake = Lake(workspace.lake)
    users = lake.scan("events").select("user_id").unique().sort("user_id").collect()["user_id"].to_list()
    items = lake.scan("catalog").select("item_id").sort("item_id").collect()["item_id"].to_list()
    experiment = {f"RECSYS_EXPERIMENTS__MIX__ARMS__{arm}__WEIGHT": "1" for arm in ("A", "B")}
    environment = os.environ | experiment | {"RECSYS_SERVE__ACCESS_LOG": str(log)}
    command = [sys.executable, "-m", "serving", "--workspace", str(workspace.root), "--port", str(port)]
    with (
        running(command, port, "/readyz", environment),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client,
    ):
        for n in range(n_lists):
            user = users[n % len(users)]
            answer = client.post("/v1/recommend", json={"user_id": user, "count": 20}).raise_for_status().json()
            events = [
                {
                    "event_id": secrets.token_hex(16),
                    "user_id": user,
                    "item_id": items[(n + place) % len(items)],
                    "event_type": "impression" if place < 8 else "view",
                    "timestamp": datetime.now(UTC).isoformat(),
                    "session_id": f"session-{n}",
                    "recommendation_id": answer["recommendation_id"],
                    "position": place + 1,
                }
                for place in range(10)
            ]
            client.post("/v1/events", json={"events": events}).raise_for_status()
            client.put(f"/v1/items/{items[n % len(items)]}", json={"price": 9.5}).raise_for_status()
    rows = []
    with closing(sqlite3.connect(workspace.live_database)) as connection:
        for table, unit in (("events", "event"), ("answers", "list"), ("exposures", "list"), ("item_changes", "item")):
            (n_rows,) = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
            (n_bytes,) = connection.execute(
                "SELECT SUM(pgsize) FROM dbstat JOIN sqlite_schema USING (name) WHERE tbl_name = ?", (table,)
            ).fetchone()
            rows.append((f"live: {table}", unit, n_rows, n_bytes))
    n_requests = len(log.read_text().splitlines())
    return [*rows, ("access log", "request", n_requests, log.stat().st_size)]


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    sys.exit(main())

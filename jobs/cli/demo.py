"""`make demo`: ingest the sample storefront, train, start the service and send it three example requests."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any

import httpx
import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from features.processes.parent_death import ending_with_parent
from features.workspace.location import local_workspace
from jobs.lake.lake import Lake
from jobs.services.process import LOOPBACK, running
from recsys.errors import RecsysError
from recsys.workspace import Workspace

SETTINGS = """\
# A small sequence model, so that the demo takes minutes. Delete this file for the full-size model.
[sequence]
dim = 64
epochs = 5
max_epoch_events = 60000
"""
console = Console()


@dataclass(frozen=True)
class Call:
    """One example request, and a sentence on who sends it."""

    who: str
    request: Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; the exit code is 0 if every list is non-empty and personal."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--workspace", required=True, help="workspace folder")
    parser.add_argument("--port", type=int, default=8000, help="port of the service")
    parser.add_argument("--once", action="store_true", help="stop after the three requests")
    options = parser.parse_args(arguments)
    try:
        return _demo(local_workspace(options.workspace), options.port, once=options.once)
    except RecsysError as error:
        print(f"demo: error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except subprocess.CalledProcessError as error:
        return error.returncode or 1
    except KeyboardInterrupt:
        return 130


def _demo(workspace: Workspace, port: int, *, once: bool) -> int:
    place = ["--workspace", str(workspace.root)]
    started = monotonic()
    if not workspace.settings_file.exists():
        workspace.root.mkdir(parents=True, exist_ok=True)
        workspace.settings_file.write_text(SETTINGS)
    if not Lake(workspace.lake).n_rows("events"):
        _recsys("ingest", "sample", *place)
    _recsys("nightly", *place)
    with _service(place, port) as url:
        personal = [_show(call, _post(f"{url}/v1/recommend", call.request)) for call in example_calls(workspace)]
        console.print(f"Total time: {monotonic() - started:.0f} s.", highlight=False)
        if not once:
            console.print(
                f"\nThe service is running. Recommendations: {url}/v1/recommend, API documentation: {url}/docs, "
                f"example shop: {url}/demo. Press Ctrl-C to stop."
            )
            while True:
                sleep(3600)
    return 0 if all(personal) else 1


def example_calls(workspace: Workspace) -> tuple[Call, ...]:
    """A known shopper, a guest with a session of two views, and a guest with only a search text."""
    lake = Lake(workspace.lake)
    catalog = lake.scan("catalog").select("item_id", "title", "category").collect()
    events = lake.scan("events").select("user_id", "item_id", "event_type", "timestamp").collect()
    bought = events.filter(pl.col("event_type") == "purchase").join(catalog, on="item_id").sort("timestamp", "item_id")
    regulars = bought.group_by("user_id").len().sort("len", "user_id", descending=[True, False])
    shopper = regulars["user_id"][len(regulars) // 10]
    last_bought = bought.filter(pl.col("user_id") == shopper)["title"].tail(3).to_list()
    views = events.filter(pl.col("event_type") == "view").join(catalog, on="item_id")
    category = views["category"].value_counts(sort=True)["category"][0]
    viewed = views.filter(pl.col("category") == category)["item_id"].value_counts(sort=True, name="n")[:2]
    titles = catalog.filter(pl.col("item_id").is_in(viewed["item_id"].implode()))["title"].to_list()
    session = [{"item_id": item_id, "event_type": "view"} for item_id in viewed["item_id"]]
    text = "a quiet keyboard for a shared office"
    return (
        Call(f"Shopper {shopper}, last purchases: {'; '.join(last_bought)}", {"user_id": shopper, "count": 5}),
        Call(f"A guest who viewed: {'; '.join(titles)}", {"session": session, "count": 5}),
        Call(f"A guest who searched for: “{text}”", {"text": text, "count": 5}),
    )


def _recsys(*arguments: str) -> None:
    console.print(f"\n[bold]$ recsys {' '.join(arguments)}", highlight=False)
    subprocess.run(ending_with_parent([sys.executable, "-m", "jobs", *arguments]), check=True)


@contextmanager
def _service(place: Sequence[str], port: int) -> Iterator[str]:
    """Start the service, yield its URL once it is ready, and stop it at the end of the block."""
    console.print(f"\n[bold]$ recsys serve {' '.join(place)} --port {port}", highlight=False)
    with running([sys.executable, "-m", "jobs", "serve", *place, "--port", str(port)], port, "/readyz"):
        yield f"http://{LOOPBACK}:{port}"


def _post(url: str, request: Mapping[str, Any]) -> dict[str, Any]:
    # trust_env=False: a proxy from the environment cannot reach a service on this machine.
    response = httpx.post(url, json=request, timeout=30, trust_env=False)
    response.raise_for_status()
    answer: dict[str, Any] = response.json()
    return answer


def _show(call: Call, answer: Mapping[str, Any]) -> bool:
    """Print one answer. Returns whether its list is non-empty and personal."""
    console.print(f"\n[bold]{call.who}", highlight=False)
    console.print(f"POST /v1/recommend {json.dumps(call.request)}", highlight=False, markup=False)
    table = Table(box=SIMPLE_HEAD)
    for name in ("rank", "item", "title", "source"):
        table.add_column(name, justify="right" if name == "rank" else "left", no_wrap=name != "title")
    for item in answer["items"]:
        table.add_row(str(item["rank"]), item["item_id"], item["title"] or "", item["source"])
    console.print(table)
    console.print(f"took {answer['took_ms']:.1f} ms, release {answer['release_id']}", highlight=False)
    return bool(answer["items"]) and answer["fallback"] is None


if __name__ == "__main__":
    sys.exit(main())

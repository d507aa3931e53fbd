"""`make demo`: the sample storefront from nothing to three answered calls of a running endpoint."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from features.workspace.location import local_workspace
from jobs.lake.lake import Lake
from jobs.services.process import LOOPBACK, running
from recsys.errors import RecsysError
from recsys.workspace import Workspace

SETTINGS = """\
# A small sequence model, so that the demo takes minutes; remove this file for the real one.
[sequence]
dim = 64
epochs = 5
max_epoch_events = 60000
"""
console = Console()


@dataclass(frozen=True)
class Call:
    """One example request, and in words who sends it."""

    who: str
    request: Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where every list is non-empty and personal."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--workspace", required=True)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--once", action="store_true", help="stop after the three calls")
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
        console.print(f"From nothing to here in {monotonic() - started:.0f} s.", highlight=False)
        if not once:
            console.print(
                f"\nThe endpoint stays up at {url}/v1/recommend, its documentation at {url}/docs, a shop to click "
                f"through at {url}/demo; Ctrl-C stops."
            )
            while True:
                sleep(3600)
    return 0 if all(personal) else 1


def example_calls(workspace: Workspace) -> tuple[Call, ...]:
    """A known shopper, a guest who has looked around, a guest who has only typed a sentence."""
    lake = Lake(workspace.lake)
    catalog = lake.scan("catalog").select("item_id", "title", "category").collect()
    events = lake.scan("events").select("user_id", "item_id", "event_type", "timestamp").collect()
    bought = events.filter(pl.col("event_type") == "purchase").join(catalog, on="item_id").sort("timestamp", "item_id")
    regulars = bought.group_by("user_id").len().sort("len", "user_id", descending=[True, False])
    shopper = regulars["user_id"][len(regulars) // 10]
    lately = bought.filter(pl.col("user_id") == shopper)["title"].tail(3).to_list()
    viewed = events.filter(pl.col("event_type") == "view").join(catalog, on="item_id")
    corner = viewed["category"].value_counts(sort=True)["category"][0]
    looked_at = viewed.filter(pl.col("category") == corner)["item_id"].value_counts(sort=True, name="n")[:2]
    titles = catalog.filter(pl.col("item_id").is_in(looked_at["item_id"].implode()))["title"].to_list()
    session = [{"item_id": item_id, "event_type": "view"} for item_id in looked_at["item_id"]]
    sentence = "a quiet keyboard for a shared office"
    return (
        Call(f"Shopper {shopper}, who last bought: {'; '.join(lately)}", {"user_id": shopper, "count": 5}),
        Call(f"A guest who has just looked at: {'; '.join(titles)}", {"session": session, "count": 5}),
        Call(f"A guest who has only typed: “{sentence}”", {"text": sentence, "count": 5}),
    )


def _recsys(*arguments: str) -> None:
    console.print(f"\n[bold]$ recsys {' '.join(arguments)}", highlight=False)
    subprocess.run([sys.executable, "-m", "jobs", *arguments], check=True)


@contextmanager
def _service(place: Sequence[str], port: int) -> Iterator[str]:
    """The endpoint's address, once it answers; it ends with the block."""
    console.print(f"\n[bold]$ recsys serve {' '.join(place)} --port {port}", highlight=False)
    with running([sys.executable, "-m", "jobs", "serve", *place, "--port", str(port)], port, "/readyz"):
        yield f"http://{LOOPBACK}:{port}"


def _post(url: str, request: Mapping[str, Any]) -> dict[str, Any]:
    body = json.dumps(request).encode()
    sent = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(sent, timeout=30) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def _show(call: Call, answer: Mapping[str, Any]) -> bool:
    """Print one answer; whether its list is non-empty and personal."""
    console.print(f"\n[bold]{call.who}", highlight=False)
    console.print(f"POST /v1/recommend {json.dumps(call.request)}", highlight=False, markup=False)
    table = Table(box=SIMPLE_HEAD)
    for name in ("rank", "item", "title", "source"):
        table.add_column(name, justify="right" if name == "rank" else "left", no_wrap=name != "title")
    for item in answer["items"]:
        table.add_row(str(item["rank"]), item["item_id"], item["title"] or "", item["source"])
    console.print(table)
    console.print(f"answered in {answer['took_ms']:.1f} ms from release {answer['release_id']}", highlight=False)
    return bool(answer["items"]) and answer["fallback"] is None


if __name__ == "__main__":
    sys.exit(main())

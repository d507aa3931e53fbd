"""Simulated days of a tiny shop with the service in this process, nightly runs as commands, and a crash."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import uvicorn
from conftest import PublishedShop

from features.live.database import open_live_database
from features.store.store import Store
from jobs.__main__ import main
from jobs.ingest.sources.sample import make_sample
from jobs.lake.lake import Lake
from jobs.simulation.arms import ARMS
from jobs.simulation.days import Days
from jobs.simulation.report import JSON_FILE, PLOT_FILE
from recsys.config import Settings
from recsys.workspace import Workspace
from serving.api import create_app
from serving.releases.active import ReleaseWatch, workspace_source
from serving.state import ServiceState
from serving.watch.hidden_reviews import HiddenWatch

NIGHT_SETTINGS = """\
[embed]
inline_texts = 100000
[factors]
dim = 8
[evaluate]
min_users = 30
[sequence]
dim = 16
layers = 1
epochs = 1
[fusion]
min_targets = 5
[ranking]
min_targets = 100000
"""


@pytest.fixture(scope="module")
def place(published_shop: PublishedShop, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A copy of the published shop for the simulation."""
    root = tmp_path_factory.mktemp("living") / "shop"
    shutil.copytree(published_shop.workspace.root, root)
    workspace = Workspace(root)
    workspace.settings_file.write_text(NIGHT_SETTINGS)
    return workspace


@pytest.fixture(scope="module")
def url(place: Workspace) -> Iterator[str]:
    """URL of the service on it, which loads new releases automatically."""
    settings = Settings.model_validate({"serve": {"release_poll_s": 0.1}})
    watch = ReleaseWatch(workspace_source(place, HiddenWatch(place.hidden_reviews, 0.1)), settings.serve)
    watch.poll()
    watch.start()
    database = open_live_database(place, "")
    app = create_app(settings, ServiceState(lambda: watch.live, database))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()
    watch.close()
    database.close()


@pytest.fixture
def nights(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands of nightly runs, run in this process: importing torch again would take longer than the run."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> SimpleNamespace:
        arguments = command[command.index("jobs") + 1 :]
        commands.append(arguments)
        return SimpleNamespace(returncode=main(arguments))

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def simulate(place: Workspace, *options: str) -> int:
    return main(["simulate", "-w", str(place.root), "--shoppers", "25", "--seed", "5", *options])


def events_of_the_loop(place: Workspace) -> pl.DataFrame:
    return Lake(place.lake).scan("events").filter(pl.col("event_id").str.starts_with("sim-")).collect()


def test_two_days_then_a_crash_then_a_third(
    place: Workspace, url: str, nights: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = place.root / "simulation"
    assert simulate(place, "--days", "2", "--against", url) == 0
    assert "2 days, mean of the first 2" in capsys.readouterr().out
    content = json.loads((folder / JSON_FILE).read_text())
    assert [day["date"] for day in content["days"]] == ["2025-06-01", "2025-06-02"]
    assert set(content["days"][0]["arms"]) == set(ARMS)
    # The second day uses the release of the first nightly run.
    assert content["days"][1]["release_id"] == content["days"][0]["published"]
    assert Store(place).current_id() == content["days"][1]["published"]
    assert [night[night.index("--as-of") + 1][:10] for night in nights] == ["2025-06-02", "2025-06-03"]
    # The events of the simulation are those that the nightly runs learned from.
    events = events_of_the_loop(place)
    n_shown = sum(day["arms"]["system"]["n_shown"] for day in content["days"])
    assert events.filter(pl.col("event_type") == "impression").height == n_shown
    assert (folder / PLOT_FILE).exists()

    # A nightly run fails after its day was saved and sent: the day is not simulated again.
    place.settings_file.write_text("[sequence]\ndim = -1\n")
    assert simulate(place, "--days", "3", "--against", url) == 2
    assert "the nightly run of 2025-06-04 failed" in capsys.readouterr().err
    place.settings_file.write_text(NIGHT_SETTINGS)
    days = Days(folder)
    third = days.day(3)
    assert third is not None and third.run is None
    assert simulate(place, "--days", "3", "--against", url) == 0
    again = days.day(3)
    assert again is not None and again.run is not None and replace(again, run=None) == third
    sent = events_of_the_loop(place).filter(pl.col("event_id").str.starts_with("sim-5-003"))
    assert sent["event_id"].is_unique().all() and sent.height == len(third.events)

    # All days are done: nothing happens any more.
    before = len(nights)
    assert simulate(place, "--days", "3", "--against", url) == 0
    assert len(nights) == before


def test_other_numbers_on_the_same_days_are_refused(place: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    out = place.root / "elsewhere"
    (out).mkdir()
    world = {"start": "2025-06-01T00:00:00+00:00", "seed": 5, "shoppers": 25, "count": 20, "rest_after": 0}
    (out / "world.json").write_text(json.dumps(world))
    assert simulate(place, "--count", "8", "--out", str(out)) == 2
    assert "--seed 5 --shoppers 25 --count 20 --rest-after 0; choose another --out or use" in capsys.readouterr().err


def test_days_that_end_after_today_are_refused(place: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate(place, "--days", "100000", "--out", str(place.root / "never")) == 2
    assert "end after today; choose fewer days" in capsys.readouterr().err


def test_a_workspace_with_another_shop_is_refused(
    place: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = Workspace(tmp_path)
    shutil.copytree(place.lake, shop.lake)
    assert simulate(shop) == 2
    assert "no sample storefront here" in capsys.readouterr().err
    make_sample(shop.sample, n_products=120, n_shoppers=10, days=2, seed=9)
    assert simulate(shop) == 2
    assert "products of the sample storefront are not in the lake, e.g." in capsys.readouterr().err

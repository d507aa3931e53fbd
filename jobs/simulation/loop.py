"""Simulate days: shoppers visit the running service, their events are sent, and a nightly run retrains."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np

from features.processes.parent_death import ending_with_parent
from features.store.store import Store
from jobs.lake.lake import Lake
from jobs.services.process import LOOPBACK, free_port, running
from jobs.simulation.arms import SYSTEM, Others, figures
from jobs.simulation.days import Day, Days, SimulatedRun, World
from jobs.simulation.events import events_of
from jobs.simulation.history import Assortment, read_assortment, read_history
from jobs.simulation.service import MAX_REQUESTS, ShopService
from recsys.errors import HELD_BACK, ServeError
from recsys.simulate import Truth, load_truth
from recsys.simulate.clock import micros
from recsys.simulate.tastes import Ints
from recsys.simulate.visitors import draw_visits
from recsys.workspace import Workspace

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int | None], None]

FIRST_RELEASE_ITEMS: Final = 100
"""Length of the saved lists of the first release: items that the shopper meets later are left out of them."""

PROGRESS_VISITS: Final = 100
"""Visits between two progress updates."""


@dataclass(frozen=True)
class Shop:
    """The simulated storefront and its workspace."""

    workspace: Workspace
    config: Path | None
    truth: Truth
    assortment: Assortment

    @classmethod
    def of(cls, workspace: Workspace, config: Path | None) -> Shop:
        """Raises DataError if the workspace has no sample storefront, or has not ingested it."""
        truth = load_truth(workspace.sample)
        return cls(workspace, config, truth, read_assortment(Lake(workspace.lake), truth))


def play(shop: Shop, days: Days, n_days: int, service: ShopService, progress: Progress) -> Iterator[list[Day]]:
    """Simulate the missing days among the first `n_days`; after each nightly run, yield all days so far.

    The service must use the workspace's newest release. Raises ServeError if it does not or if a nightly run fails,
    DataError if a file of the simulation is damaged.
    """
    world = days.world()
    assert world is not None, "call days.begin() first"
    _wait_for_release(shop, service)
    history = read_history(Lake(shop.workspace.lake), shop.truth, world.start)
    first_release = _first_release(shop, days, service, progress)
    others = Others(shop.truth, shop.assortment, world, first_release, history)
    for number in range(len(days.played()) + 1, n_days + 1):
        progress("days", number - 1, n_days)
        day = days.day(number)
        if day is None:
            day = _simulate(shop, world, others, number, service, progress)
            days.save(day)
        service.send(day.events)
        run = run_nightly(shop, world.begin(number + 1), days.folder / f"night-{number:03d}.log", progress)
        _wait_for_release(shop, service)
        days.save(replace(day, run=run))
        yield days.played()
    progress("days", n_days, n_days)


def run_nightly(shop: Shop, as_of: datetime, log_file: Path, progress: Progress) -> SimulatedRun:
    """Run `recsys nightly` as a process of its own, as a shop schedules it. If it is held back, nothing is published.

    Raises ServeError if it fails.
    """
    store = Store(shop.workspace)
    before, started = store.current_id(), time.monotonic()
    progress(f"nightly run of {as_of:%Y-%m-%d}", 0, None)
    options = ["--config", str(shop.config)] if shop.config else []
    place = ["--workspace", str(shop.workspace.root), "--as-of", as_of.isoformat()]
    with log_file.open("wb") as output:
        command = [sys.executable, "-m", "jobs", "nightly", *place, *options]
        code = subprocess.run(
            ending_with_parent(command), stdout=output, stderr=subprocess.STDOUT, check=False
        ).returncode
    if code not in (0, HELD_BACK):
        last = (log_file.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no output"])[-1]
        raise ServeError(f"the nightly run of {as_of:%Y-%m-%d} failed: {last}; full log: {log_file}")
    after = store.current_id()
    seconds = round(time.monotonic() - started, 1)
    log.info("nightly run done as_of=%s release=%s seconds=%.1f", f"{as_of:%Y-%m-%d}", after, seconds)
    progress(f"nightly run of {as_of:%Y-%m-%d}", 1, 1)
    return SimulatedRun(after if after != before else None, seconds)


@contextmanager
def started_service(shop: Shop, api_key: str | None, progress: Progress) -> Iterator[ShopService]:
    """Start a service of the workspace on a free port; stop it at the end of the block."""
    progress("start the service", 0, None)
    port = free_port()
    options = ["--config", str(shop.config)] if shop.config else []
    command = [sys.executable, "-m", "serving", "--workspace", str(shop.workspace.root), "--port", str(port), *options]
    with running(command, port, "/readyz"), ShopService(f"http://{LOOPBACK}:{port}", api_key) as service:
        progress("start the service", 1, 1)
        yield service


def _wait_for_release(shop: Shop, service: ShopService) -> None:
    """Wait until the service uses the workspace's current release."""
    release_id = Store(shop.workspace).open(verify=False).manifest.release_id
    service.wait_for(release_id)


def _simulate(shop: Shop, world: World, others: Others, number: int, service: ShopService, progress: Progress) -> Day:
    """One day: the visits, the lists of each arm, and what the shoppers do with them."""
    truth, assortment = shop.truth, shop.assortment
    begin = world.begin(number)
    history = read_history(Lake(shop.workspace.lake), truth, begin)
    visits = draw_visits(truth, history.bought, world.shoppers, micros(begin), world.seed, number)
    rested = history.rested(world.rest_after)
    shown, recommendation_ids, release_id = [], [], ""
    for done, user_row in enumerate(visits.user_rows.tolist()):
        exclude_ids = truth.item_ids[rested[user_row]].tolist()
        slate = service.recommend(str(truth.user_ids[user_row]), world.count, exclude_ids)
        shown.append([item["item_id"] for item in slate["items"]])
        recommendation_ids.append(str(slate["recommendation_id"]))
        release_id = str(slate["release_id"])
        if (done + 1) % PROGRESS_VISITS == 0 or done + 1 == len(visits.user_rows):
            progress(f"visits of {begin:%Y-%m-%d}", done + 1, len(visits.user_rows))
    rows = _rows(truth, shown, world.count)
    of_system, choices = figures(visits, rows, truth, assortment.available)
    by_arm = {SYSTEM: of_system, **others.day(number)}
    prefix = f"sim-{world.seed}-{number:03d}"
    events = events_of(truth, visits, choices, assortment.prices, recommendation_ids, prefix)
    return Day(number, release_id, by_arm, events)


def _first_release(shop: Shop, days: Days, service: ShopService, progress: Progress) -> Ints:
    """Lists of the first release for every shopper of the storefront, requested before the first day."""
    saved = days.first_release()
    if saved is not None:
        return saved
    user_ids = shop.truth.user_ids.tolist()
    count = min(FIRST_RELEASE_ITEMS, len(shop.truth.item_ids))
    shown: list[list[str]] = []
    for at in range(0, len(user_ids), MAX_REQUESTS):
        progress("lists of the first release", at, len(user_ids))
        slates = service.recommend_many(user_ids[at : at + MAX_REQUESTS], count)
        shown += [[item["item_id"] for item in slate["items"]] for slate in slates]
    progress("lists of the first release", len(user_ids), len(user_ids))
    rows = _rows(shop.truth, shown, count)
    days.save_first_release(rows)
    return rows


def _rows(truth: Truth, lists: list[list[str]], count: int) -> Ints:
    """(n, count) positions of the items in `truth`, padded with -1. Raises ServeError for an unknown item."""
    row_of = {item_id: row for row, item_id in enumerate(truth.item_ids.tolist())}
    rows = np.full((len(lists), count), -1, dtype=np.int64)
    for at, item_ids in enumerate(lists):
        unknown = next((item_id for item_id in item_ids if item_id not in row_of), None)
        if unknown is not None:
            raise ServeError(
                f"the service recommends {unknown!r}, which is not a product of the sample storefront; start the "
                "service on the storefront's workspace"
            )
        rows[at, : len(item_ids)] = [row_of[item_id] for item_id in item_ids]
    return rows


def first_midnight(moment: datetime) -> datetime:
    """`moment` if it is midnight, else the next midnight."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight if midnight == moment else midnight + timedelta(days=1)

"""Nights of shops whose events name items that the catalogue does not have: up to the checks, which cost nothing."""

import json
from pathlib import Path

import polars as pl
import pytest
from conftest import NIGHT, SMALL, PublishedShop

from jobs.gate.records import CHECKS_FILE
from jobs.ingest.commit import RangeTaken, commit_ingest
from jobs.ingest.files import ingest
from jobs.ingest.sources.spec import SourceSpec
from jobs.lake.lake import Lake
from jobs.lake.merge import merge_table
from jobs.lake.staging import Staging
from jobs.nightly.record import Report, read_runs
from jobs.nightly.run import Choice, nightly
from recsys.config import Settings
from recsys.errors import GateError
from recsys.workspace import Workspace


def shop_by_sku(published: PublishedShop, root: Path, share: float) -> Workspace:
    """The sample's catalogue, and its events of which this share name items by SKU."""
    workspace, lake = Workspace(root / "shop"), Lake(published.workspace.lake)
    events = lake.scan("events").sort("event_id").collect().with_row_index()
    by_sku = pl.col("index") < share * len(events)
    item_id = pl.when(by_sku).then("SKU-" + pl.col("item_id")).otherwise("item_id")
    tables = {
        "events": events.with_columns(item_id.alias("item_id")).drop("index"),
        "catalog": lake.scan("catalog").collect(),
    }
    paths = {}
    for name, rows in tables.items():
        rows.write_parquet(root / f"{name}.parquet")
        paths[name] = (str(root / f"{name}.parquet"),)
    ingest(workspace, SourceSpec("table", paths), Settings().ingest, NIGHT)
    return workspace


def check(workspace: Workspace, *, force: bool = False) -> Report:
    settings = Settings.model_validate(SMALL)
    return nightly(workspace, settings, None, NIGHT, lambda *_: None, Choice(only="check", force=force))


def test_few_matches_hold_a_night_back_unless_it_is_forced(published_shop: PublishedShop, tmp_path: Path) -> None:
    workspace = shop_by_sku(published_shop, tmp_path, 0.7)
    with pytest.raises(
        GateError, match=r"run held back by the data checks: matched items: .*not in the catalogue: SKU-"
    ):
        check(workspace)
    run = read_runs(workspace)[-1]
    assert run.status == "held back"
    (finding,) = json.loads((workspace.runs / run.run_id / CHECKS_FILE).read_text())["findings"]
    assert (finding["name"], finding["severity"]) == ("matched items", "stop")
    report = check(workspace, force=True)
    assert any("forced past the data checks: matched items" in message for message in report.messages)


def test_without_any_match_a_night_is_never_published_until_the_skus_are_aliases(
    published_shop: PublishedShop, tmp_path: Path
) -> None:
    workspace = shop_by_sku(published_shop, tmp_path, 1.0)
    for force in (False, True):
        with pytest.raises(
            GateError, match=r"no event or review is on an item of the catalogue.*not even with --force"
        ):
            check(workspace, force=force)
    assert read_runs(workspace)[-1].status == "held back"
    lake = Lake(workspace.lake)
    ids = lake.scan("catalog").select("item_id").collect()
    with Staging(workspace.lake / "staging") as staging:
        staging.add("aliases", ids.select(alias="SKU-" + pl.col("item_id"), item_id="item_id"))
        merged = {"aliases": merge_table(lake, staging, "aliases", 1000)}
        commit_ingest(lake, staging, merged, RangeTaken("events", "db", "db", 0, 1), NIGHT, 12)
    assert check(workspace).counts["items not in the catalogue"] == 0

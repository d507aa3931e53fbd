"""Nights whose data or candidate must not reach shoppers, and usual ones that must, on a small sample storefront.

The first release knows the shop up to five days before its end; what came after is the new data, as it was or poisoned.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import NIGHT, PublishedShop

import jobs.nightly.verdicts
from features.store.store import Store
from jobs.__main__ import main
from jobs.gate.findings import Finding
from jobs.gate.records import CHECKS_FILE, GATE_FILE
from jobs.gate.release_gate import Verdict
from jobs.ingest.files import ingest
from jobs.ingest.sources.spec import SourceSpec
from jobs.lake.lake import Lake
from jobs.nightly.record import read_runs
from jobs.nightly.run import Choice, Report, nightly
from recsys.config import FairnessSettings, Settings
from recsys.errors import GateError
from recsys.workspace import Workspace

CUT = NIGHT.replace(hour=0) - timedelta(days=5)


@dataclass(frozen=True)
class ShopInTwoParts:
    """A workspace after its first run, and the data since then."""

    workspace: Workspace
    settings: Settings
    events: pl.DataFrame
    catalog: pl.DataFrame
    release_id: str

    def copy(self, folder: Path) -> Workspace:
        workspace = Workspace(folder / "shop")
        shutil.copytree(self.workspace.root, workspace.root)
        return workspace

    def take(self, workspace: Workspace, **tables: pl.DataFrame) -> None:
        """Ingest these rows."""
        paths = {}
        for name, rows in tables.items():
            path = workspace.root / f"new-{name}.parquet"
            rows.write_parquet(path)
            paths[name] = (str(path),)
        ingest(workspace, SourceSpec("table", paths), self.settings.ingest, NIGHT)

    def night(self, workspace: Workspace, now: datetime = NIGHT, force: bool = False) -> Report:
        return nightly(workspace, self.settings, None, now, lambda *_: None, Choice(force=force))


@pytest.fixture(scope="module")
def shop(published_shop: PublishedShop, tmp_path_factory: pytest.TempPathFactory) -> ShopInTwoParts:
    lake = Lake(published_shop.workspace.lake)
    events, reviews, catalog = (lake.scan(name).collect() for name in ("events", "reviews", "catalog"))
    old = pl.col("timestamp") < CUT
    workspace = Workspace(tmp_path_factory.mktemp("parts") / "shop")
    shutil.copytree(published_shop.workspace.embeddings, workspace.embeddings)  # texts are embedded once
    two_parts = ShopInTwoParts(workspace, published_shop.settings, events.filter(~old), catalog, "")
    two_parts.take(workspace, events=events.filter(old), reviews=reviews.filter(old), catalog=catalog)
    report = two_parts.night(workspace, now=CUT)
    return replace(two_parts, release_id=report.release_id)


def shuffled(events: pl.DataFrame) -> pl.DataFrame:
    """Each item under another's id."""
    ids = events["item_id"].drop_nulls().unique().sort()
    others = np.random.default_rng(0).permutation(ids.to_numpy())
    return events.with_columns(pl.col("item_id").replace_strict(ids, pl.Series(others), default=None))


def spammed(events: pl.DataFrame) -> pl.DataFrame:
    """Ten times as much again, of one user."""
    drawn = events.sample(10 * len(events), with_replacement=True, seed=0)
    ids = pl.Series("event_id", [f"spam-{row}" for row in range(len(drawn))])
    return pl.concat([events, drawn.with_columns(ids, user_id=pl.lit("robot"))])


@pytest.mark.parametrize(
    ("poison", "named"),
    [(shuffled, "served AUC"), (spammed, "top user share")],
)
def test_poisoned_events_stop_the_run_and_leave_the_live_release(
    shop: ShopInTwoParts, tmp_path: Path, poison: Callable[[pl.DataFrame], pl.DataFrame], named: str
) -> None:
    workspace = shop.copy(tmp_path)
    shop.take(workspace, events=poison(shop.events))
    before = workspace.current.read_bytes()
    with pytest.raises(GateError, match=f"run held back by the data checks: .*release {shop.release_id} stays live"):
        shop.night(workspace)
    assert workspace.current.read_bytes() == before
    run = read_runs(workspace)[-1]
    assert run.status == "held back" and run.error.startswith("run held back by the data checks")
    findings = json.loads((workspace.runs / run.run_id / CHECKS_FILE).read_text())["findings"]
    assert named in [finding["name"] for finding in findings if finding["severity"] == "stop"]


def test_prices_a_hundredfold_stop_the_run_until_they_are_taken_back(
    shop: ShopInTwoParts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole way: held back with a code of its own, the ingest undone as the message says, and published."""
    workspace = shop.copy(tmp_path)
    shop.take(workspace, events=shop.events, catalog=shop.catalog.with_columns(pl.col("price") * 100))
    workspace.settings_file.write_text("[nightly]\nfree_disk_mb = 0\nfree_memory_mb = 0\n")
    assert main(["nightly", "--workspace", str(workspace.root)]) == 3
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("recsys: error")]
    assert "run held back by the data checks: price level: median price change: factor 100 (expected" in line
    assert "`recsys nightly --force` publishes anyway" in line
    assert Store(workspace).current_id() == shop.release_id

    assert "`recsys ingest undo 2` undoes all since that release" in line
    assert main(["ingest", "undo", "2", "--workspace", str(workspace.root)]) == 0
    output = capsys.readouterr().out
    assert output.startswith(
        f"Undone: ingest 2, catalog {len(shop.catalog):,} updated, events {len(shop.events):,} new"
    )
    shop.take(workspace, events=shop.events)
    assert main(["nightly", "--workspace", str(workspace.root)]) == 0
    assert Store(workspace).current_id() != shop.release_id
    assert Lake(workspace.lake).scan("catalog").collect()["price"].equals(shop.catalog["price"])
    checked = json.loads((workspace.runs / str(Store(workspace).current_id()) / CHECKS_FILE).read_text())
    assert checked["last_ingest"] == 3


@pytest.fixture(scope="module")
def usual(shop: ShopInTwoParts, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Report]:
    workspace = shop.copy(tmp_path_factory.mktemp("usual"))
    shop.take(workspace, events=shop.events)
    return workspace, shop.night(workspace)


def test_a_usual_run_is_published_with_its_verdict(shop: ShopInTwoParts, usual: tuple[Workspace, Report]) -> None:
    workspace, report = usual
    assert report.published and report.gate == "published" and not report.forced
    folder = workspace.runs / report.release_id
    verdict = json.loads((folder / GATE_FILE).read_text())
    assert verdict["outcome"] == "published" and verdict["compared_with"] == shop.release_id
    assert verdict["slices"][0]["name"] == "all" and verdict["slices"][0]["n_users"] > 0
    assert verdict["trial_served_auc"]["value"] > 0.5
    checks = json.loads((folder / CHECKS_FILE).read_text())
    assert {"volume", "served AUC", "price level"} <= {finding["name"] for finding in checks["findings"]}
    assert not [finding for finding in checks["findings"] if finding["severity"] == "stop"]
    assert checks["served_auc"]["value"] > 0.5


def test_a_run_without_anything_new_checks_and_compares_nothing(
    usual: tuple[Workspace, Report], shop: ShopInTwoParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, before = usual
    for name in ("read_new_data", "judge"):
        monkeypatch.setattr(jobs.nightly.verdicts, name, None)  # would fail where it is called
    report = shop.night(workspace, now=NIGHT + timedelta(hours=1))
    assert not report.published
    assert report.release_id == before.release_id


def refused(*_: object) -> Verdict:
    worse = Finding("quality, all", -0.2, -0.03, float("inf"), "stop", "NDCG 0.1000, the served release 0.2000", "look")
    return Verdict("r1", (worse,))


def test_a_worse_candidate_is_held_back_and_forced_only_when_asked(
    shop: ShopInTwoParts, usual: tuple[Workspace, Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path / "shop")
    shutil.copytree(usual[0].root, workspace.root)
    first = usual[1].release_id
    changed = replace(shop, settings=shop.settings.model_copy(update={"seed": 7}))
    monkeypatch.setattr(jobs.nightly.verdicts, "judge", refused)
    later = NIGHT + timedelta(hours=2)
    with pytest.raises(GateError, match=r"held back by the gate: quality, all: NDCG 0\.1000.*stays live"):
        changed.night(workspace, now=later)
    assert Store(workspace).current_id() == first
    report = changed.night(workspace, later + timedelta(hours=1), force=True)
    assert report.published and report.forced and report.gate == "forced"
    assert "fit" in report.reused
    assert Store(workspace).current_id() == report.release_id != first
    run = read_runs(workspace)[-1]
    assert run.forced and run.messages[-1].startswith("forced past the gate: quality, all")
    verdict = json.loads((workspace.runs / report.release_id / GATE_FILE).read_text())
    assert verdict["outcome"] == "forced" and verdict["reasons"]


def test_a_candidate_beyond_a_limit_of_fairness_is_held_back(
    shop: ShopInTwoParts, usual: tuple[Workspace, Report], tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "shop")
    shutil.copytree(usual[0].root, workspace.root)
    limits = FairnessSettings(max_gini=0.01, max_miscalibration=9.0, min_worst_group=0.0001)
    strict = replace(shop, settings=shop.settings.model_copy(update={"fairness": limits, "seed": 7}))
    with pytest.raises(GateError, match=r"by the gate: fairness, gini: gini is 0\.\d+, fairness.max_gini"):
        strict.night(workspace, now=NIGHT + timedelta(hours=2))
    run = read_runs(workspace)[-1]
    verdict = json.loads((workspace.runs / run.run_id / GATE_FILE).read_text())
    assert verdict["outcome"] == "held back"
    severities = {finding["name"]: finding["severity"] for finding in verdict["findings"]}
    assert severities["fairness, gini"] == "stop" and severities["fairness, miscalibration"] == "ok"
    assert 0 < verdict["figures"]["fairness_coverage"] <= 1
    assert [line for line in run.messages if line.startswith("fairness, miscalibration: miscalibration is ")]

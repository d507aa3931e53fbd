"""When a run with little new data reuses the served release, and when not."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import NIGHT, PublishedShop

from features.store.store import Store
from jobs.erase.run import erase
from jobs.nightly.publish import read_release_inputs
from jobs.nightly.reuse import ReusedRelease, find_reusable_release, trial_folder
from jobs.nightly.run import nightly
from recsys.config import NightlySettings, Settings
from recsys.model import Model
from recsys.workspace import Workspace


def reusable(shop: PublishedShop, workspace: Workspace | None = None, **changes: Any) -> ReusedRelease | None:
    """What a run reuses that differs from the first in the changes only."""
    inputs = read_release_inputs(shop.workspace, shop.report.release_id)
    assert inputs is not None
    arguments: dict[str, Any] = {
        "rules": inputs.rules,
        "encoder_id": shop.trained.encoder_id,
        "n_events": inputs.n_events,
        "as_of": shop.report.as_of,
        "test_cut": shop.report.as_of,
    }
    nightly_settings = changes.pop("settings", NightlySettings(full_retrain_share=0.05))
    place = workspace or shop.workspace
    return find_reusable_release(place, Store(place), nightly_settings, **arguments | changes)


def test_the_served_release_is_reused(published_shop: PublishedShop) -> None:
    base = reusable(published_shop)
    assert base is not None
    assert base.release_id == published_shop.report.release_id
    assert base.made_from.n_events == published_shop.report.counts["events on items"]
    assert base.trial.popularity.sum() < base.final.popularity.sum()  # it knows nothing of the last days


@pytest.mark.parametrize(
    "changes",
    [
        {"rules": "other settings, or code"},
        {"encoder_id": "another"},
        {"n_events": 10**6},
        {"as_of": NIGHT + timedelta(days=8)},
        {"as_of": NIGHT - timedelta(days=8)},
        {"test_cut": NIGHT - timedelta(days=20)},
        {"settings": NightlySettings(full_retrain_share=0)},
    ],
)
def test_otherwise_there_is_a_full_retrain(changes: dict[str, Any], published_shop: PublishedShop) -> None:
    assert reusable(published_shop, **changes) is None


def test_nothing_is_taken_over_that_learned_from_an_erased_shopper(
    published_shop: PublishedShop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = Workspace(tmp_path / "shop")
    shutil.copytree(published_shop.workspace.root, workspace.root)
    assert reusable(published_shop, workspace) is not None
    user_id = Store(workspace).open().table("users", ["user_id"])["user_id"][0]
    erase(workspace, published_shop.settings, user_id, NIGHT, lambda *_: None)
    assert reusable(published_shop, workspace) is None
    assert "has learned from an erased shopper" in caplog.text


@pytest.mark.parametrize("part", ["trial", "release"])
def test_a_damaged_part_is_no_obstacle(
    part: str, published_shop: PublishedShop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = Workspace(tmp_path / "shop")
    shutil.copytree(published_shop.workspace.root, workspace.root)
    release = Store(workspace).open()
    folder = trial_folder(workspace, release.release_id) if part == "trial" else release.model_dir
    (folder / "fusion.json").write_text("{")
    assert reusable(published_shop, workspace) is None
    assert "release_not_reused" in caplog.text


@pytest.mark.parametrize("passes", [0, 1])
def test_with_little_new_data_learned_parts_are_reused_and_training_may_continue(
    passes: int, published_shop: PublishedShop, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "shop")
    shutil.copytree(published_shop.workspace.root, workspace.root, ignore=shutil.ignore_patterns("steps"))
    anywhere = {"free_disk_mb": 0, "free_memory_mb": 0}
    tree = published_shop.settings.model_dump() | {
        "nightly": {"full_retrain_share": 0.5, "continue_epochs": passes, **anywhere}
    }
    epochs: list[tuple[int, int | None]] = []

    def progress(step: str, done: int, total: int | None) -> None:
        if step == "train the sequence model":
            epochs.append((done, total))

    report = nightly(workspace, Settings.model_validate(tree), None, NIGHT + timedelta(days=1), progress)
    assert report.taken_from == published_shop.report.release_id
    assert report.published
    assert epochs == [(1, 1), (1, 1)] * passes  # the trial's and the final one's, no first one
    before, after = (Model.load(Store(place).open().model_dir) for place in (published_shop.workspace, workspace))
    assert after.fusion == before.fusion and after.ranker == before.ranker
    assert (after.sequence.item_vectors != before.sequence.item_vectors).any() == bool(passes)
    np.testing.assert_array_equal(after.popularity, before.popularity)
    trials = (
        trial_folder(workspace, release_id) for release_id in (published_shop.report.release_id, report.release_id)
    )
    first, second = (Model.load(folder) for folder in trials)
    assert (first.sequence.item_vectors != second.sequence.item_vectors).any() == bool(passes)
    mark = read_release_inputs(workspace, report.release_id)
    assert mark is not None and datetime.fromisoformat(mark.learned_at) == published_shop.report.as_of

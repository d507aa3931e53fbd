"""Starts of a sequence model from that of an earlier run, and resuming that of a killed run."""

import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from conftest import PublishedShop
from sequence_data import assert_equal_models
from storefronts import ITEM_IDS, NOON, READER, item_entry, text_entry, users_with

import jobs.training.warm_start
from features.store.store import Store
from jobs.training.warm_start import (
    FOLDER,
    SequenceFits,
    WarmStart,
    histories_of,
    read_warm_start,
    save_warm_start,
)
from recsys.config import FusionSettings, SequenceSettings, Settings
from recsys.model import Model
from recsys.sequence import SequenceModel, Sequences
from recsys.users import Users
from recsys.whitening import Whitening
from recsys.workspace import Workspace

WARM = SequenceSettings(warm_start=True)
MINUTE = timedelta(minutes=1)


def seen_until(shop: PublishedShop) -> datetime:
    """The moment from which on the published shop's first model has seen nothing."""
    return shop.trained.warm_start[1]


def warm_start_of(
    shop: PublishedShop, *, workspace: Workspace | None = None, encoder_id: str = "", **changes: Any
) -> WarmStart | None:
    arguments: dict[str, Any] = {
        "item_ids": shop.trained.model.item_ids,
        "cut": seen_until(shop),
        "settings": WARM,
        **changes,
    }
    store = Store(workspace or shop.workspace)
    return read_warm_start(store, encoder_id or shop.trained.encoder_id, **arguments)


def test_the_next_run_starts_from_the_first_model_of_the_served_release(published_shop: PublishedShop) -> None:
    start = warm_start_of(published_shop, cut=seen_until(published_shop) + timedelta(days=1))
    assert start is not None
    assert_equal_models(start.sequence, published_shop.trained.warm_start[0])
    np.testing.assert_array_equal(start.whitening.mean, published_shop.trained.model.whitening.mean)
    served = Model.load(Store(published_shop.workspace).open().model_dir).sequence
    assert (served.item_vectors != start.sequence.item_vectors).any()  # that one has seen what will be asked for


def test_no_run_starts_from_a_model_that_has_seen_its_validation_days(published_shop: PublishedShop) -> None:
    assert warm_start_of(published_shop) is not None  # it has seen nothing of that moment itself
    assert warm_start_of(published_shop, cut=seen_until(published_shop) - timedelta(microseconds=1)) is None


def test_a_run_starts_cold_by_default(published_shop: PublishedShop) -> None:
    assert warm_start_of(published_shop, settings=SequenceSettings()) is None


def test_a_model_over_the_texts_of_another_encoder_is_left_out(published_shop: PublishedShop) -> None:
    assert warm_start_of(published_shop, encoder_id="another") is None


def test_a_first_run_starts_cold(published_shop: PublishedShop, tmp_path: Path) -> None:
    assert warm_start_of(published_shop, workspace=Workspace(tmp_path / "new")) is None


def test_items_are_found_again_in_another_catalogue(published_shop: PublishedShop) -> None:
    ids = published_shop.trained.model.item_ids
    start = warm_start_of(published_shop, item_ids=pl.Series(["brand new", ids[7], ids[3]]))
    assert start is not None
    first = published_shop.trained.warm_start[0]
    assert not start.sequence.item_vectors[0].any()
    np.testing.assert_array_equal(start.sequence.item_vectors[1:], first.item_vectors[[7, 3]])
    assert start.sequence.has_id.tolist() == [False, *first.has_id[[7, 3]]]
    weights, before = (model.network.ids.weight.detach().numpy() for model in (start.sequence, first))
    np.testing.assert_array_equal(weights[1:], before[[7, 3]])


@pytest.mark.parametrize("damage", ["altered", "gone"])
def test_a_damaged_release_is_no_obstacle(
    damage: str, published_shop: PublishedShop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = Workspace(tmp_path / "shop")
    for part in ("store", "releases"):
        shutil.copytree(published_shop.workspace.root / part, workspace.root / part)
    folder = Store(workspace).open().model_dir / FOLDER
    if damage == "gone":
        shutil.rmtree(folder)
    else:
        (folder / "sequence.safetensors").write_bytes(b"nonsense")
    assert warm_start_of(published_shop, workspace=workspace) is None
    assert "warm_start_skipped" in caplog.text


def test_a_release_without_a_warm_start_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was published by an earlier version."""

    release = SimpleNamespace(model_dir=tmp_path, manifest=SimpleNamespace(encoder_id="words"))
    monkeypatch.setattr(Store, "current_id", lambda _: "r1")
    monkeypatch.setattr(Store, "open", lambda _: release)
    store = Store(Workspace(tmp_path))
    assert read_warm_start(store, "words", pl.Series(ITEM_IDS), NOON, WARM) is None


def test_what_is_saved_beside_a_release_does_not_touch_its_own_model(tmp_path: Path) -> None:
    READER.save(tmp_path)
    before = (tmp_path / "sequence.safetensors").read_bytes()
    other = READER.renumbered(np.array([1, -1]))
    save_warm_start(other, NOON, tmp_path)
    assert (tmp_path / "sequence.safetensors").read_bytes() == before
    assert_equal_models(SequenceModel.load(tmp_path / FOLDER), other)


def shoppers() -> Users:
    return users_with(
        {
            "ann": [item_entry("keyboard"), item_entry("mouse", at=NOON + MINUTE)],
            "bob": [item_entry("kettle", weight=0.0)],
            "cat": [text_entry(0), item_entry("teapot", at=NOON + MINUTE)],
        },
        texts=np.eye(3, dtype=np.float32)[:1],
    )


def targets(*rows: tuple[str, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String}, orient="row")


def test_histories_stand_in_the_order_of_the_targets_and_strangers_have_none() -> None:
    choices = targets(("cat", "lamp"), ("nobody", "lamp"), ("ann", "lamp"), ("bob", "lamp"), ("cat", "mouse"))
    histories = histories_of(shoppers(), choices)
    assert histories.indptr.tolist() == [0, 2, 2, 4, 4, 6]
    keyboard, mouse, teapot = (ITEM_IDS.index(item_id) for item_id in ("keyboard", "mouse", "teapot"))
    assert histories.item_rows.tolist() == [-1, teapot, keyboard, mouse, -1, teapot]
    assert histories.text_rows.tolist() == [0, -1, -1, -1, 0, -1]
    assert len(histories_of(shoppers(), targets())) == 0
    assert histories_of(users_with({}), targets(("ann", "lamp"))).indptr.tolist() == [0, 0]


class Spy:
    """Stands for `train_sequence`: remembers how it was called."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(
        self, sequences: Sequences, text: Any, n_items: int, settings: SequenceSettings, seed: int, **named: Any
    ) -> SequenceModel:
        self.calls.append({"sequences": sequences, "n_items": n_items, "settings": settings, "seed": seed, **named})
        return READER


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Spy:
    spy = Spy()
    monkeypatch.setattr(jobs.training.warm_start, "train_sequence", spy)
    return spy


def fits(folder: Path, *, warm: bool = True, min_targets: int = 2) -> SequenceFits:
    settings = Settings(
        seed=4, sequence=SequenceSettings(warm_start=warm), fusion=FusionSettings(min_targets=min_targets)
    )
    return SequenceFits(folder, pl.Series(ITEM_IDS), settings)


def test_the_first_model_is_judged_by_what_followed_and_may_start_warm(trained: Spy, tmp_path: Path) -> None:
    users, choices = shoppers(), targets(("cat", "lamp"), ("ann", "gone"))
    start = WarmStart(READER, Whitening(np.zeros(3, np.float32), np.eye(3, dtype=np.float32)))
    assert fits(tmp_path).measured(choices, start)(users, None, users.texts) is READER
    fits(tmp_path).measured(choices, None)(users, None, users.texts)
    warm, cold = trained.calls
    histories, rows = warm["validation"]
    assert histories.indptr.tolist() == [0, 2, 4]
    assert rows.tolist() == [ITEM_IDS.index("lamp"), -1]
    assert (warm["warm_start"], cold["warm_start"]) == (READER, None)
    assert (warm["n_items"], warm["seed"]) == (5, 4)
    assert warm["sequences"].indptr.tolist() == users.sequences().indptr.tolist()
    np.testing.assert_array_equal(warm["browsing_text"], users.texts)


def test_too_few_choices_stop_no_training(trained: Spy, tmp_path: Path) -> None:
    users, choices = shoppers(), targets(("cat", "lamp"), ("ann", "lamp"))
    fits(tmp_path, min_targets=3).measured(choices, None)(users, None, users.texts)
    assert trained.calls[0]["validation"] is None


def test_later_models_take_as_many_epochs_as_were_best_for_the_first(trained: Spy, tmp_path: Path) -> None:
    users, best = shoppers(), replace(READER, epochs=3)
    fits(tmp_path, warm=False).again("evaluate", best)(users, None, users.texts)
    fits(tmp_path, warm=True).again("evaluate", best)(users, None, users.texts)
    assert [call["settings"].stop_after for call in trained.calls] == [3, 0]


def test_later_models_are_judged_by_nothing_and_start_from_the_one_before_where_that_is_asked_for(
    trained: Spy, tmp_path: Path
) -> None:
    users = shoppers()
    for warm in (True, False):
        fits(tmp_path, warm=warm).again("evaluate", READER)(users, None, users.texts)
    assert [call["warm_start"] for call in trained.calls] == [READER, None]
    assert [call["validation"] for call in trained.calls] == [None, None]


def test_each_model_of_a_run_has_a_checkpoint_of_its_own_until_the_run_is_done(trained: Spy, tmp_path: Path) -> None:
    users, run = shoppers(), fits(tmp_path)
    run.measured(targets(("ann", "lamp")), None)(users, None, users.texts)
    for name in ("evaluate", "fit"):
        run.again(name, None)(users, None, users.texts)
    checkpoints = [call["checkpoint"] for call in trained.calls]
    assert len(set(checkpoints)) == 3
    for path in checkpoints:
        assert path.parent == tmp_path
        path.touch()
    run.forget()
    assert list(tmp_path.iterdir()) == []
    run.forget()  # nothing to forget is no mistake

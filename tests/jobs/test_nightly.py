"""One night on a small sample storefront, from the lake to a release."""

import json
import shutil
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from conftest import NIGHT, PublishedShop

import jobs.nightly
from features.store import Store
from jobs.evaluate import evaluate
from jobs.lake import Lake
from jobs.nightly import nightly
from jobs.shop import newest_moment, read_shop
from jobs.train import Inputs, fit_model, users_before, whiten
from recsys.config import Settings
from recsys.errors import DataError, StoreError
from recsys.fusion import Fusion
from recsys.workspace import Workspace


def test_the_release_holds_the_whole_shop(published_shop: PublishedShop) -> None:
    release = Store(published_shop.workspace).open()
    lake = Lake(published_shop.workspace.lake)
    items = release.table("items")
    assert items["item_id"].to_list() == lake.scan("catalog").collect()["item_id"].sort().to_list()
    assert release.manifest.rows["reviews"] == lake.n_rows("reviews")
    known = lake.scan("events").filter(pl.col("event_type") != "impression").collect()["user_id"]
    assert set(release.table("users", ["user_id"])["user_id"]) == set(known)
    for name, column in (("items", "vector"), ("items", "text_vector"), ("users", "vector"), ("reviews", "vector")):
        norms = np.linalg.norm(release.vectors(name, column), axis=1)
        assert ((np.abs(norms - 1) < 1e-3) | (norms == 0)).all(), (name, column)
    assert np.abs(np.linalg.norm(release.vectors("items", "vector"), axis=1) - 1).max() < 1e-3


def test_the_report_says_what_was_done(published_shop: PublishedShop) -> None:
    report = published_shop.report
    assert report.counts["items"] == 80
    assert report.counts["texts embedded"] == report.counts["texts"] > 80
    assert list(report.seconds) == ["ingest", "read", "embed", "learn fusion", "evaluate", "fit", "publish"]
    assert report.metrics["fused"]["all"]["n_users"] > 0
    written = json.loads((published_shop.workspace.runs / report.release_id / "report.json").read_text())
    assert written["metrics"] == report.metrics
    assert Store(published_shop.workspace).open().manifest.metrics == report.metrics


def test_a_second_night_embeds_nothing_and_publishes_the_same_lists(
    published_shop: PublishedShop, tmp_path, monkeypatch
) -> None:
    workspace = Workspace(tmp_path / "shop")
    shutil.copytree(published_shop.workspace.root, workspace.root)
    held = []
    monkeypatch.setattr(jobs.nightly, "publish", lambda store, place, made, *rest: held.append(made) or fail())
    with pytest.raises(StoreError, match="stop here"):
        nightly(workspace, published_shop.settings, None, NIGHT + timedelta(days=1), lambda *_: None)
    (again,) = held
    assert again.metrics == published_shop.made.metrics
    np.testing.assert_array_equal(again.model.linear.data, published_shop.made.model.linear.data)
    np.testing.assert_allclose(again.model.factors.item_factors, published_shop.made.model.factors.item_factors)
    assert Store(workspace).current_id() == published_shop.report.release_id


def fail() -> None:
    raise StoreError("stop here")


def test_nothing_after_as_of_is_learned_or_told(published_shop: PublishedShop) -> None:
    """The leak guard: garbage written into the future changes neither the model nor the shoppers of the past."""
    lake = Lake(published_shop.workspace.lake)
    cut = newest_moment(lake) - timedelta(days=5)
    shop = read_shop(lake, newest_moment(lake))
    later = shop.events.filter(pl.col("timestamp") >= cut)
    poisoned = shop.events.filter(pl.col("timestamp") < cut).vstack(
        later.with_columns(item_id=pl.col("item_id").shuffle(seed=0), user_id=pl.col("user_id").shuffle(seed=1))
    )
    rng = np.random.default_rng(0)
    text = rng.normal(size=(len(shop.items), 8)).astype(np.float32)
    made = []
    for events in (shop.events, poisoned):
        inputs = Inputs(shop.items, events, text, lambda _: ([], np.zeros((0, 8), np.float32)))
        settings = Settings.model_validate({"factors": {"dim": 4, "iterations": 3}})
        model = fit_model(inputs, whiten(inputs, settings), Fusion(), cut, settings)
        made.append((model, users_before(inputs, cut, settings)[0]))
    (model, users), (poisoned_model, poisoned_users) = made
    assert users.equals(poisoned_users)
    np.testing.assert_array_equal(model.linear.toarray(), poisoned_model.linear.toarray())
    np.testing.assert_array_equal(model.trend, poisoned_model.trend)
    assert not (later["timestamp"] < cut).any() and len(later) > 100  # there was a future to poison


def test_evaluation_calls_a_list_that_holds_the_target_a_hit(published_shop: PublishedShop) -> None:
    recommender = published_shop.made.recommender
    users = published_shop.made.users["user_id"].to_list()[:20]
    from recsys.recommend import Query

    slates = recommender.recommend([Query(user_id=user_id) for user_id in users])
    second = pl.DataFrame({"user_id": users, "item_id": [slate.items[1].item_id for slate in slates]})
    fused = evaluate(recommender, second, max_users=100, seed=0)["fused"]["all"]
    assert fused["recall"] == 1.0
    assert fused["mrr"] == pytest.approx(0.5)


def test_an_empty_lake_says_what_to_do(tmp_path) -> None:
    with pytest.raises(DataError, match="run `recsys ingest` first"):
        nightly(Workspace(tmp_path / "shop"), Settings(), None, NIGHT, lambda *_: None)


def test_an_as_of_before_everything_says_so(published_shop: PublishedShop) -> None:
    with pytest.raises(DataError, match="choose a later --as-of"):
        read_shop(Lake(published_shop.workspace.lake), NIGHT - timedelta(days=3650))


def test_a_failed_night_leaves_the_old_release_serving(published_shop: PublishedShop, tmp_path, monkeypatch) -> None:
    workspace = Workspace(tmp_path / "shop")
    shutil.copytree(published_shop.workspace.root, workspace.root)
    monkeypatch.setattr(jobs.nightly, "evaluate", lambda *_: fail())
    with pytest.raises(StoreError, match="stop here"):
        nightly(workspace, published_shop.settings, None, NIGHT + timedelta(days=1), lambda *_: None)
    assert Store(workspace).open().release_id == published_shop.report.release_id

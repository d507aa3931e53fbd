"""Two releases of the tiny storefront, compared."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from storefronts import FACTORS, ITEM_IDS, NOON, TEXT, item_entry, mute_sequence_model, tiny_recommender, users_with

from features.store.diff import diff_releases, fixed_shoppers, neighbour_churn, slate_churn
from features.store.manifest import Manifest
from features.store.release import Catalogue, LoadedRelease
from recsys.config import EncoderSettings, Settings
from recsys.recommend import Recommender


def released(recommender: Recommender, name: str, settings: Settings, ndcg: float) -> LoadedRelease:
    fused = {"all": {"n_users": 10, "recall": 0.5, "ndcg": ndcg, "mrr": 0.1, "coverage": 0.4}}
    manifest = Manifest(name, None, NOON, NOON, {}, {}, {}, "encoder", "0" * 64, "0" * 64, {"fused": fused})
    return LoadedRelease(name, manifest, recommender, EncoderSettings(), Catalogue(pl.DataFrame(), settings))


def test_a_space_that_was_turned_has_the_same_neighbours() -> None:
    before = tiny_recommender()
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))
    model = before.model.sequence
    turned = replace(model, item_vectors=(model.item_vectors @ turn).astype(np.float32))
    assert neighbour_churn(before, tiny_recommender(sequence=turned))["churn"].to_list() == [0.0] * 5


def test_items_whose_neighbours_changed_stand_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.store.diff.NEIGHBOURS", 1)
    swapped = TEXT.copy()
    swapped[[0, 1]] = swapped[[1, 0]]  # the kettle reads like the mouse now, the keyboard like the teapot
    factors = FACTORS.copy()
    factors[[0, 1]] = factors[[1, 0]]
    after = tiny_recommender(sequence=mute_sequence_model(swapped, factors))
    moved = neighbour_churn(tiny_recommender(), after)
    assert set(moved.filter(pl.col("churn") == 1.0)["item_id"]) == {"kettle", "keyboard", "mouse", "teapot"}


def test_the_same_shoppers_are_asked_whoever_else_comes() -> None:
    few = tiny_recommender(users=users_with({name: [item_entry("lamp")] for name in ("ann", "bob", "cat")}))
    many = tiny_recommender(users=users_with({name: [item_entry("lamp")] for name in ("ann", "bob", "cat", "dan")}))
    assert fixed_shoppers([few], 3) == fixed_shoppers([few, many], 3)
    assert fixed_shoppers([few], 2) == fixed_shoppers([few], 3)[:2]
    nobody = tiny_recommender(users=users_with({"ann": []}))
    assert fixed_shoppers([nobody], 3) == []


def test_a_list_that_lost_half_of_its_items_changed_by_half() -> None:
    before, after = tiny_recommender(), tiny_recommender(available=(True, True, True, False, True))
    (row,) = slate_churn(before, after, ["ann"], count=2).to_dicts()
    assert row["churn"] == 0.5
    assert "Mouse" in row["before"] and "Mouse" not in row["after"]


def test_a_diff_names_what_differs() -> None:
    a = released(tiny_recommender(), "a", Settings(), 0.2)
    changed = Settings.model_validate({"sequence": {"dim": 32}})
    b = released(tiny_recommender(), "b", changed, 0.3)
    diff = diff_releases(a, b)
    assert diff.settings.to_dicts() == [{"key": "sequence.dim", "a": str(Settings().sequence.dim), "b": "32"}]
    assert diff.metrics.select("slice", "ndcg_a", "ndcg_b").row(0) == ("all", 0.2, 0.3)
    assert diff.new_items.is_empty() and diff.gone_items.is_empty()
    assert set(diff.slates["user_id"]) == {"ann", "bob", "cat"}
    assert diff.slates["churn"].sum() == 0.0
    assert diff.neighbours.columns == ["item_id", "churn", "title"]
    assert set(diff.neighbours["item_id"]) == set(ITEM_IDS)

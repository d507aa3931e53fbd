"""The product's own models in the benchmark."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from bench_inputs import NEEDS_TRUTH, NOW, SMALL, START, bench_data, bench_data_with_a_visit, favourites

from jobs.bench.data import read_bench
from jobs.bench.models import MODELS
from jobs.bench.product import rank_in
from jobs.bench.scoring import read_past
from jobs.ingest.sources.sample import make_sample
from recsys.config import Settings
from recsys.simulate import load_truth
from recsys.slate import RankedItem, Slate
from recsys.tables import EVENT_TYPES
from recsys.workspace import Workspace


def test_shared_fits_are_computed_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bench_data()
    before = MODELS["fused"](data, folder, 0)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("fitted again")

    monkeypatch.setattr("jobs.training.warm_start.train_sequence", refuse)
    again = MODELS["fused"](data, folder, 0)
    assert again.fit_s == before.fit_s > 0
    np.testing.assert_array_equal(again.shown, before.shown)
    MODELS["sequence"](data, folder, 0)
    with pytest.raises(AssertionError, match="fitted again"):
        MODELS["sequence"](data, folder, 1)  # another seed is another fit


def test_places_for_new_items_are_reserved_apart_from_the_ranking(folder: Path) -> None:
    """Half of the places go to items of at most two buyers."""
    data = bench_data()
    new_items = data.settings.new_items.model_copy(update={"share": 0.5, "max_shoppers": 2})
    changed = replace(data, settings=data.settings.model_copy(update={"new_items": new_items}))
    few = read_past(data.test, data.items["item_id"], data.settings, False, None).popularity <= 2
    assert few.any()
    with_places, without = (MODELS[name](changed, folder, 0).shown for name in ("fused + new", "fused"))
    assert few[with_places].mean() > few[without].mean()


def test_the_list_without_the_visit_is_that_at_training_time(tmp_path: Path) -> None:
    data, _ = bench_data_with_a_visit()
    before = replace(data, test=replace(data.test, since=data.test.since.clear()))
    known, unknown, earlier = (
        MODELS[name](data_of_model, tmp_path, 0).shown
        for name, data_of_model in (("fused", data), ("fused without visit", data), ("fused", before))
    )
    np.testing.assert_array_equal(unknown, earlier)
    assert (known[0] != unknown[0]).any()
    np.testing.assert_array_equal(known[1:], unknown[1:])


def test_a_tie_has_the_rank_of_its_last_item() -> None:
    items = [
        RankedItem(item_id, score, rank, "linear", None)
        for rank, (item_id, score) in enumerate([("a", 3.0), ("b", 2.0), ("c", 2.0), ("d", 1.0)], start=1)
    ]
    slate = Slate(tuple(items), None)
    assert [rank_in(slate, item_id) for item_id in "abcd"] == [0, 2, 2, 3]
    assert rank_in(slate, "elsewhere") == 10


def test_the_product_recommends_favourites_again(tmp_path: Path, tiny_bert: Path) -> None:
    """u0 bought the favourite an hour before: too soon for a repeat in this shop."""
    data = favourites("temporal", tmp_path, tiny_bert)
    answer = MODELS["fused"](data, tmp_path, 0)
    assert data.test.targets["user_id"].to_list() == [f"u{n}" for n in range(6)]
    assert answer.ranks[0] >= 10
    assert (answer.ranks[1:] == 0).all()
    assert "buy_again" in answer.chosen


def test_buy_it_again_counts_the_days_of_purchases_and_not_of_views(tmp_path: Path) -> None:
    data = bench_data()
    (user_id, viewed) = data.test.targets.select("user_id", "item_id").row(0)
    bought = data.test.events.filter(pl.col("user_id") == user_id)["item_id"][0]
    kinds = {viewed: "view", bought: "purchase"}
    more = pl.concat(
        [
            data.test.events.head(1).with_columns(
                user_id=pl.lit(user_id),
                item_id=pl.lit(item_id),
                event_type=pl.lit(kind).cast(pl.Enum(EVENT_TYPES)),
                timestamp=pl.lit(START - timedelta(days=day)).cast(pl.Datetime("us", "UTC")),
            )
            for item_id, kind in kinds.items()
            for day in range(5 if kind == "view" else 2)
        ]
    )
    known = replace(data, repeats=True, test=replace(data.test, events=pl.concat([data.test.events, more])))
    shown = MODELS["buy it again"](known, tmp_path, 0).shown[0]
    assert data.items["item_id"][int(shown[0])] == bought
    assert data.items["item_id"].to_list().index(viewed) not in shown[:5].tolist()


def test_true_taste_ranks_by_the_true_preferences(tmp_path: Path, tiny_bert: Path) -> None:
    sample = make_sample(tmp_path / "sample", n_products=30, n_shoppers=40, days=10, seed=1)
    settings = Settings.model_validate({"encoder": {"model": str(tiny_bert)}, **SMALL})
    later = NOW + timedelta(days=1000)
    data = read_bench(sample, "temporal", Workspace(tmp_path / "kept"), settings, later, lambda *_: None)
    answer = MODELS[NEEDS_TRUTH](data, tmp_path / "sample", 0)
    truth = load_truth(tmp_path / "sample")
    items = {item_id: row for row, item_id in enumerate(truth.item_ids.tolist())}
    for place, (user_id, item_id) in enumerate(data.test.targets.select("user_id", "item_id").iter_rows()):
        (liked,) = truth.preference([truth.user_ids.tolist().index(user_id)], np.arange(len(items)))
        had = set() if data.repeats else set(data.test.events.filter(pl.col("user_id") == user_id)["item_id"])
        better = [other for other, row in items.items() if liked[row] >= liked[items[item_id]] and other not in had]
        assert answer.ranks[place] == len(set(better) - {item_id})

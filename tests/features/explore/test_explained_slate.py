import numpy as np
import polars as pl
import pytest

from features.explore import OpenedRelease
from features.explore.charts import features_chart, sources_chart
from recsys.batch_scoring import shoppers
from recsys.errors import QueryError
from recsys.filters import InCategory
from recsys.query import Query
from recsys.rules import Boost, Pin, Rules


def test_is_the_list_that_the_service_gives(latest: OpenedRelease, shopper: str) -> None:
    (served,) = latest.recommender.recommend([Query(user_id=shopper, asked_at=latest.manifest.as_of)])
    slate = latest.slate(shopper)
    assert slate.items["item_id"].to_list() == [item.item_id for item in served.items]
    assert slate.items["reason"].null_count() == 0
    assert shopper in repr(slate)
    assert "<table" in slate._repr_html_()


def test_history_is_told_newest_first_with_titles(latest: OpenedRelease, shopper: str) -> None:
    history = latest.slate(shopper).history
    assert len(history) == len(latest.recommender.users.history(shopper))
    assert history["timestamp"].is_sorted(descending=True)
    assert history.filter(pl.col("item_id").is_not_null())["title"].null_count() == 0


def test_what_the_sources_add_is_the_score_of_the_weighted_sum(latest: OpenedRelease, shopper: str) -> None:
    slate = latest.slate(shopper).by_weighted_sum()
    added = slate.by_source.drop("place", "item_id", "title").fill_null(0.0).sum_horizontal()
    assert added.to_list() == pytest.approx(slate.items["score"].to_list(), abs=1e-4)


def test_what_the_features_add_orders_what_the_ranker_ordered(latest: OpenedRelease, shopper: str) -> None:
    slate = latest.slate(shopper, rules=Rules(new_items=0.0))
    ranker = latest.recommender.ranker
    if ranker is None:
        assert slate.by_feature.is_empty()
        return
    assert slate.is_ranked
    sums = slate.by_feature.group_by("place").agg(pl.col("contribution").sum()).sort("place")
    assert sums["contribution"].is_sorted(descending=True)
    assert set(slate.by_feature["feature"].to_list()) == set(ranker.names)


def test_a_guests_list_is_not_ordered_by_the_trees(latest: OpenedRelease) -> None:
    slate = latest.slate(text="a quiet keyboard")
    assert not slate.is_ranked
    assert slate.by_feature.is_empty()
    assert "“a quiet keyboard”" in repr(slate)


def test_candidates_are_the_best_of_each_source_that_speaks(latest: OpenedRelease, shopper: str) -> None:
    table = latest.slate(shopper).candidates(3)
    for (source,), candidates in table.group_by("source"):
        assert candidates["place"].to_list() == [1, 2, 3], source
        assert candidates["z_score"].is_sorted(descending=True)
    assert "query_text" not in table["source"].to_list()


def test_the_neighbours_of_the_query_vector_are_nearest_to_it(latest: OpenedRelease, shopper: str) -> None:
    slate = latest.slate(shopper)
    query_vector = shoppers(latest.recommender, [slate.query]).query_vectors[0]
    best = int(np.argmax(latest.vectors("fused") @ query_vector))
    assert slate.query_neighbours(2)["item_id"][0] == latest.item_ids[best]


def test_each_rule_says_what_it_did(latest: OpenedRelease, shopper: str) -> None:
    pinned = latest.item_ids[0]
    category = latest.recommender.properties.category.names[0]
    rules = Rules(
        boosts=(Boost(InCategory((category,)), 5.0),), pins=(Pin(pinned, 1),), max_per_category=2, diversity=0.5
    )
    plain, ruled = latest.slate(shopper), latest.slate(shopper, rules=rules)
    steps = ruled.by_rule
    expected = ["weighted sum", "ranker", "boost", "new items", "pins", "limits", "diversity"]
    assert steps["step"].to_list() == [name for name in expected if name != "ranker" or plain.is_ranked]
    assert steps.filter(pl.col("step") == "pins")["entered"].item().to_list() == [
        latest.recommender.properties.titles[0]
    ]
    entered = plain.by_rule["step"].to_list()
    assert entered == [name for name in ("weighted sum", "ranker", "new items") if name in steps["step"].to_list()]


def test_a_filter_is_a_step_and_empties_what_it_leaves_out(latest: OpenedRelease, shopper: str) -> None:
    category = latest.recommender.properties.category.names[0]
    slate = latest.slate(shopper, rules=Rules(filter=InCategory((category,))))
    rows = [latest.row_of(item_id) for item_id in slate.items["item_id"]]
    assert {latest.recommender.properties.category.name(row) for row in rows} == {category}
    assert "filter" in slate.by_rule["step"].to_list()


def test_without_an_event_the_list_is_that_of_a_shopper_without_it(latest: OpenedRelease, shopper: str) -> None:
    slate = latest.slate(shopper)
    item_id = slate.history.drop_nulls("item_id")["item_id"][0]
    other = slate.without(item_id)
    assert item_id not in other.history["item_id"].to_list()
    assert len(other.history) == len(slate.history) - 1
    assert other.versus(slate)["was"].drop_nulls().len() == 10
    with pytest.raises(QueryError, match="is not in the history of"):
        other.without(item_id)
    with pytest.raises(QueryError, match="name either an item_id or the number of a text"):
        slate.without()
    with pytest.raises(QueryError, match="no stored history"):
        latest.slate(text="tent").without(item_id)


def test_without_a_text_its_part_of_the_profile_goes(latest: OpenedRelease, shopper: str) -> None:
    slate = latest.slate(shopper)
    n_texts = int((latest.recommender.users.history(shopper).text_rows >= 0).sum())
    other = slate.without(text=0)
    users, others = latest.recommender.users, other.recommender.users
    assert (others.history(shopper).text_rows >= 0).sum() == n_texts - 1
    before, after = users.browsing[users.rows[shopper]], others.browsing[0]
    newest = users.texts[users.history(shopper).text_rows[users.history(shopper).text_rows >= 0][-1]]
    assert after @ newest < before @ newest
    with pytest.raises(QueryError, match=f"has {n_texts} texts in the history"):
        slate.without(text=n_texts)


def test_leaving_out_what_says_nothing_leaves_the_list(latest: OpenedRelease, shopper: str) -> None:
    slate = latest.slate(shopper)
    alone = slate.with_weight("linear", slate.weights["linear"])
    assert alone.items["item_id"].to_list() == slate.by_weighted_sum().items["item_id"].to_list()


def test_a_search_turns_the_list_towards_it(latest: OpenedRelease, shopper: str) -> None:
    slate = latest.slate(shopper)
    words = "mechanical keyboard"
    searched = slate.with_search(words)
    search_vector = latest.encode([words])[0]

    def likeness(ids: list[str]) -> float:
        return float(np.mean(latest.vectors("text")[[latest.row_of(item_id) for item_id in ids]] @ search_vector))

    assert likeness(searched.items["item_id"].to_list()) > likeness(slate.items["item_id"].to_list())


def test_a_weight_of_zero_silences_a_source(latest: OpenedRelease, shopper: str) -> None:
    slate = latest.slate(shopper).with_weight("sequence", 0.0)
    assert set(slate.by_source["sequence"].drop_nulls().to_list()) <= {0.0} if "sequence" in slate.by_source else True
    with pytest.raises(QueryError, match="no source 'sequnce' has a weight; nearest: sequence"):
        slate.with_weight("sequnce", 1.0)
    with pytest.raises(QueryError, match="weight -1"):
        slate.with_weight("text", -1.0)


def test_charts_state_their_finding(latest: OpenedRelease, shopper: str) -> None:
    slate = latest.slate(shopper)
    chart = sources_chart(slate)
    assert "contributes most to this list" in chart.finding
    assert chart._repr_png_().startswith(b"\x89PNG")
    assert features_chart(slate)._repr_png_().startswith(b"\x89PNG")
    assert features_chart(latest.slate(text="tent")).finding == "The weighted sum ranked this item, not the ranker"

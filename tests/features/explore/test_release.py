import numpy as np
import polars as pl
import pytest

from features.explore import OpenedRelease
from recsys.errors import DataError, QueryError, UnknownItemError
from recsys.interactions import positions


def test_tables_are_read_lazily_and_as_they_were_published(latest: OpenedRelease) -> None:
    assert latest.items.select("item_id").collect()["item_id"].to_list() == latest.item_ids
    assert set(latest.users.collect_schema().names()) >= {"user_id", "history", "vector"}
    two = latest.items.filter(pl.col("popularity") > 0).select("title", "item_id").head(2).collect()
    assert two.columns == ["title", "item_id"]
    assert len(two) == 2
    assert latest.reviews.select(pl.len()).collect().item() == latest.manifest.rows["reviews"]
    assert latest.events.select(pl.col("timestamp").max()).collect().item() < latest.manifest.as_of


def test_vectors_of_each_space_follow_the_items(latest: OpenedRelease) -> None:
    stored = latest.items.select("text_vector", "vector").collect()
    assert np.array_equal(latest.vectors("text"), stored["text_vector"].to_numpy())
    assert np.array_equal(latest.vectors("fused"), stored["vector"].to_numpy())
    assert latest.vectors("cf").shape == (len(latest.item_ids), 8)
    with pytest.raises(QueryError, match="no space 'color'; there are text, cf, fused"):
        latest.vectors("color")  # type: ignore[arg-type]


def test_neighbours_are_the_nearest_others_by_cosine(latest: OpenedRelease) -> None:
    item_id = latest.item_ids[5]
    neighbours = latest.neighbours(item_id, "text", count=3)
    cosines = latest.vectors("text") @ latest.vectors("text")[5]
    best = np.argsort(-cosines)[1:4]
    assert neighbours["item_id"].to_list() == [latest.item_ids[row] for row in best]
    assert neighbours["cosine"].to_list() == pytest.approx(cosines[best].tolist(), abs=1e-5)


def test_an_item_without_behaviour_has_no_neighbours_by_behaviour(latest: OpenedRelease) -> None:
    cold = np.flatnonzero(~np.asarray(latest.vectors("cf")).any(axis=1))
    assert len(cold)
    with pytest.raises(DataError, match="has no vector in the space 'cf'"):
        latest.neighbours(latest.item_ids[cold[0]], "cf")


def test_a_sentence_finds_what_reads_like_it(latest: OpenedRelease) -> None:
    row = 7
    title = latest.recommender.properties.titles[row]
    nearest = latest.retrieve(title or "", count=5)
    assert latest.item_ids[row] in nearest["item_id"].to_list()
    assert nearest["cosine"].is_sorted(descending=True)
    assert nearest["in_slate"].drop_nulls().min() == 1


def test_unknown_ids_name_the_nearest_and_titles_that_match(latest: OpenedRelease) -> None:
    with pytest.raises(UnknownItemError, match=r"'keyboard' is not .* nearest ids: .*; titles with these words: kb-"):
        latest.neighbours("keyboard")
    with pytest.raises(UnknownItemError, match="nearest ids"):
        latest.slate(items=["nothing"])
    with pytest.raises(UnknownItemError, match="nearest ids"):
        latest.slate(session=["nothing"])
    with pytest.raises(QueryError, match="user 'u0' is not in this release; nearest ids: u"):
        latest.slate("u0")
    with pytest.raises(QueryError, match="no event type 'love'; use one of"):
        latest.slate(session=[("love", latest.item_ids[0])])


def test_items_are_found_by_words_of_their_titles(latest: OpenedRelease) -> None:
    matches = latest.find("keyboard", count=3)
    assert len(matches) == 3
    assert all("keyboard" in title.lower() for title in matches["title"])
    assert latest.find("qqqqqq").is_empty()


def test_the_reviews_that_moved_an_item_are_those_whose_sentences_are_in_its_text(latest: OpenedRelease) -> None:
    reviews = latest.reviews.select("item_id").collect()["item_id"].value_counts(sort=True, name="n")
    item_id = reviews["item_id"][0]
    behind = latest.reviews_behind(item_id)
    assert behind["shift"].is_sorted(descending=True)
    assert behind["shift"][0] > 0
    silent = behind.filter(pl.col("sentences").list.len() == 0)
    assert set(silent["shift"].to_list()) <= {0.0}
    reviews_of_item = latest.reviews.filter(pl.col("item_id") == item_id).select("review_id").collect()
    assert set(behind["review_id"].to_list()) <= set(reviews_of_item["review_id"].to_list())


def test_an_item_without_reviews_was_moved_by_none(latest: OpenedRelease) -> None:
    reviewed = set(latest.reviews.select("item_id").collect()["item_id"].to_list())
    without = next(item_id for item_id in latest.item_ids if item_id not in reviewed)
    assert latest.reviews_behind(without).is_empty()


def test_health_has_a_row_a_space_and_agreement_one_a_pair(latest: OpenedRelease) -> None:
    assert latest.health()["space"].to_list() == ["text", "cf", "fused"]
    assert latest.agreement().select("space", "other_space").rows() == [
        ("text", "cf"),
        ("text", "fused"),
        ("cf", "fused"),
    ]
    assert latest.agreement()["agreement"].is_between(0, 1).all()


def test_quality_by_group_is_measured_on_what_was_chosen_afterwards(previous: OpenedRelease) -> None:
    table = previous.quality_by("category")
    assert table["ndcg"].is_sorted()
    evaluation = previous.evaluation
    assert table["n_users"].sum() == len(evaluation.targets)
    assert (evaluation.targets["timestamp"] >= previous.manifest.as_of).all()
    rows = positions(evaluation.targets["item_id"], previous.recommender.model.item_ids)
    listed = (evaluation.shown_rows == rows[:, None]).any(axis=1)
    assert (listed == (evaluation.ranks < 10)).all()
    assert table["low"].is_between(0, table["ndcg"]).all()


def test_shoppers_are_told_apart_by_history_or_by_any_attribute(previous: OpenedRelease) -> None:
    assert set(previous.quality_by("shopper")["group"]) <= {"new", "light", "heavy", "smaller groups"}
    users = previous.evaluation.targets.select("user_id").with_columns(region=pl.lit("north"))
    (row,) = previous.quality_by("region", users.head(20)).to_dicts()
    assert (row["group"], row["n_users"]) == ("north", 20)
    with pytest.raises(QueryError, match="users: no column 'age'; it has user_id, region"):
        previous.quality_by("age", users)
    with pytest.raises(QueryError, match="no groups by 'age'; there are shopper, category"):
        previous.quality_by("age")


def test_a_release_that_nobody_chose_after_cannot_be_judged(latest: OpenedRelease) -> None:
    with pytest.raises(DataError, match="no shopper has chosen an item after this release"):
        latest.quality_by("category")


def test_reach_tells_what_is_shown_beside_what_is_chosen(latest: OpenedRelease) -> None:
    for by in ("popularity", "brand", "price", "newness"):
        table = latest.reach.exposure_by(by)
        assert table["exposure"].sum() == pytest.approx(1)
        assert table["demand"].sum() == pytest.approx(1)
    figures = latest.reach.figures([0.2, 0.4])
    assert figures["worst_group"] == pytest.approx(0.2 / 0.3)
    assert 0 < figures["coverage"] <= 1
    assert latest.reach.calibration["miscalibration"].drop_nulls().min() >= 0  # type: ignore[operator]
    with pytest.raises(QueryError, match="items have no groups by 'colour'"):
        latest.reach.exposure_by("colour")


def test_is_shown_in_a_terminal_and_in_a_notebook(latest: OpenedRelease) -> None:
    assert latest.release_id in repr(latest)
    assert latest.manifest.encoder_id in latest._repr_html_()

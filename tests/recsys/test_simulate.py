"""The sample storefront as a whole: sizes, schemas, causality, and that true tastes drive what shoppers do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest

from recsys.errors import ConfigError, DataError
from recsys.simulate import SampleFiles, Truth, load_truth, simulate
from recsys.tables import Catalog, Events, Reviews

END = datetime(2025, 6, 1, tzinfo=UTC)
DAYS = 60


class Storefront(NamedTuple):
    files: SampleFiles
    catalog: pl.DataFrame
    events: pl.DataFrame
    reviews: pl.DataFrame
    truth: Truth


def read(folder: Path, **sizes: int) -> Storefront:
    files = simulate(folder, **sizes)
    return Storefront(
        files=files,
        catalog=pl.read_parquet(files.catalog),
        events=pl.concat([pl.read_parquet(path) for path in files.events]),
        reviews=pl.concat([pl.read_parquet(path) for path in files.reviews]),
        truth=load_truth(folder),
    )


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Storefront:
    """The storefront of the default size."""
    return read(tmp_path_factory.mktemp("storefront"))


def of_type(events: pl.DataFrame, event_type: str) -> pl.DataFrame:
    return events.filter(pl.col("event_type") == event_type)


def log_odds(truth: Truth, rows: pl.DataFrame) -> np.ndarray:
    """True preference, as log odds, of the shopper for the product of each row."""
    user_row = {user: row for row, user in enumerate(truth.user_ids.tolist())}
    item_row = {item: row for row, item in enumerate(truth.item_ids.tolist())}
    preference = truth.preference(np.arange(len(user_row)), np.arange(len(item_row)))
    users = [user_row[user] for user in rows["user_id"]]
    items = [item_row[item] for item in rows["item_id"]]
    chosen = preference[users, items].astype(np.float64)
    return np.log(chosen / (1 - chosen))


def test_tables_keep_every_rule_of_their_schema(shop: Storefront) -> None:
    assert Events.validate(shop.events).equals(shop.events)
    assert Catalog.validate(shop.catalog).equals(shop.catalog)
    assert Reviews.validate(shop.reviews).equals(shop.reviews)


def test_ids_are_unique_and_refer_to_each_other(shop: Storefront) -> None:
    assert shop.events["event_id"].is_unique().all()
    assert shop.catalog["item_id"].is_unique().all()
    assert shop.reviews["review_id"].is_unique().all()
    known = shop.catalog["item_id"].implode()
    assert shop.events["item_id"].drop_nulls().is_in(known).all()
    assert shop.reviews["item_id"].is_in(known).all()
    assert shop.catalog["item_id"].to_list() == shop.truth.item_ids.tolist()
    assert set(shop.events["user_id"]) == set(shop.truth.user_ids.tolist())


def test_default_size_is_a_shop_worth_measuring(shop: Storefront) -> None:
    counts = dict(shop.events["event_type"].value_counts().iter_rows())
    assert shop.catalog.height == 2000
    assert shop.events["user_id"].n_unique() == 3000
    assert shop.catalog["category"].str.split(" > ").list.first().n_unique() >= 8
    assert shop.catalog["category"].n_unique() >= 50
    assert 60_000 <= counts["view"] <= 100_000
    assert 10_000 <= counts["cart"] <= 15_000
    assert 6_000 <= counts["purchase"] <= 10_000
    assert 10_000 <= counts["search"] <= 15_000
    assert 3 <= counts["impression"] / counts["view"] <= 5
    assert 4_000 <= shop.reviews.height <= 7_000


def test_events_lie_inside_the_simulated_days(shop: Storefront) -> None:
    assert shop.events["timestamp"].min() >= END - timedelta(days=DAYS)
    assert shop.events["timestamp"].max() < END
    assert shop.reviews["timestamp"].max() < END


def test_what_shoppers_come_to_is_what_they_truly_prefer(shop: Storefront) -> None:
    means = [
        log_odds(shop.truth, of_type(shop.events, event_type).filter(pl.col("item_id").is_not_null())).mean()
        for event_type in ("impression", "view", "cart", "purchase")
    ]
    assert means[0] + 0.5 < means[1]
    assert means[1] + 0.3 < means[2]
    assert means[1] + 0.3 < means[3]


def test_a_ranking_by_true_taste_beats_the_most_popular_products_clearly(shop: Storefront) -> None:
    cut = END - timedelta(days=5)
    before = shop.events.filter(
        pl.col("timestamp") < cut, pl.col("event_type") == "view", pl.col("item_id").is_not_null()
    )
    bought = of_type(shop.events, "purchase").filter(pl.col("timestamp") >= cut)
    popular = set(before["item_id"].value_counts(sort=True)["item_id"].head(10))
    user_row = {user: row for row, user in enumerate(shop.truth.user_ids.tolist())}
    rows = [user_row[user] for user in bought["user_id"]]
    preference = shop.truth.preference(rows, np.arange(shop.catalog.height))
    best = shop.truth.item_ids[np.argsort(-preference, axis=1)[:, :10]]
    by_taste = np.mean([item in top for item, top in zip(bought["item_id"], best.tolist(), strict=True)])
    by_popularity = np.mean([item in popular for item in bought["item_id"]])
    assert by_taste > 3 * by_popularity
    assert by_popularity > 2 * 10 / shop.catalog.height


def test_few_products_take_a_large_share_of_the_views(shop: Storefront) -> None:
    counts = of_type(shop.events, "view")["item_id"].drop_nulls().value_counts(sort=True)["count"].to_numpy()
    assert counts[:200].sum() > 0.3 * counts.sum()
    assert counts[:1000].sum() < 0.95 * counts.sum()


def test_stars_follow_true_quality_and_taste(shop: Storefront) -> None:
    quality = dict(zip(shop.truth.item_ids.tolist(), shop.truth.quality.tolist(), strict=True))
    stars = shop.reviews["rating"].to_numpy()
    assert np.corrcoef(stars, [quality[item] for item in shop.reviews["item_id"]])[0, 1] > 0.5
    assert np.corrcoef(stars, log_odds(shop.truth, shop.reviews))[0, 1] > 0.2


def test_stars_are_mostly_four_and_five_and_every_star_occurs(shop: Storefront) -> None:
    share = dict(shop.reviews["rating"].value_counts(normalize=True).iter_rows())
    assert 0.6 < share[5.0] + share[4.0] < 0.85
    assert share[5.0] > share[4.0]
    assert min(share.values()) > 0.02
    assert set(share) == {1.0, 2.0, 3.0, 4.0, 5.0}


def test_reviews_and_returns_come_after_the_purchase(shop: Storefront) -> None:
    pair = ["user_id", "item_id"]
    first = of_type(shop.events, "purchase").group_by(pair).agg(pl.col("timestamp").min().alias("bought"))
    returns = of_type(shop.events, "return").join(first, on=pair, how="left")
    reviews = shop.reviews.join(first, on=pair, how="left")
    assert returns.height > 100
    assert (returns["timestamp"] - returns["bought"] >= timedelta(days=2)).all()
    assert (reviews["timestamp"] > reviews["bought"]).all()


def test_returned_purchases_pleased_less(shop: Storefront) -> None:
    returned = of_type(shop.events, "return").select("user_id", "item_id").unique()
    sent_back = shop.reviews.join(returned, on=["user_id", "item_id"], how="semi")["rating"].mean()
    not_returned = shop.reviews.join(returned, on=["user_id", "item_id"], how="anti")["rating"].mean()
    assert sent_back + 0.3 < not_returned


def test_a_session_shows_before_it_is_viewed_and_views_before_it_is_carted(shop: Storefront) -> None:
    key = ["session_id", "item_id"]
    first = {
        event_type: of_type(shop.events, event_type).filter(pl.col("item_id").is_not_null())
        .group_by(key).agg(pl.col("timestamp").min().alias(event_type))
        for event_type in ("impression", "view", "cart")
    }  # fmt: skip
    views = first["view"].join(first["impression"], on=key, how="left")
    carts = first["cart"].join(first["view"], on=key, how="left")
    assert (views["view"] > views["impression"]).all()
    assert (carts["cart"] > carts["view"]).all()


def test_every_purchase_was_in_the_cart_before(shop: Storefront) -> None:
    pair = ["user_id", "item_id"]
    carted = of_type(shop.events, "cart").group_by(pair).agg(pl.col("timestamp").min().alias("carted"))
    bought = of_type(shop.events, "purchase").join(carted, on=pair, how="left")
    assert (bought["timestamp"] > bought["carted"]).all()
    assert (bought["value"] > 0).all()


def test_what_lasts_is_bought_once_and_what_is_used_up_again(shop: Storefront) -> None:
    bought = of_type(shop.events, "purchase").join(shop.catalog.select("item_id", "category"), on="item_id")
    times = bought.group_by("user_id", "item_id", "category").len()
    again = times.filter(pl.col("len") > 1)["category"].unique()
    assert "Home > Sofas" in times["category"]
    assert "Home > Sofas" not in again
    assert "Pets > Dog food" in again


def test_nothing_happens_to_a_product_before_it_arrives(shop: Storefront) -> None:
    rows = shop.events.join(shop.catalog.select("item_id", "updated_at"), on="item_id")
    assert (rows["timestamp"] >= rows["updated_at"]).all()


def test_some_products_arrive_in_the_last_days_with_few_events(shop: Storefront) -> None:
    new = shop.catalog.filter(pl.col("updated_at") >= END - timedelta(days=7))
    assert new["item_id"].to_list() == shop.truth.item_ids[shop.truth.is_new].tolist()
    assert 0.02 < new.height / shop.catalog.height < 0.09
    assert new.filter(pl.col("updated_at") >= END - timedelta(days=2)).height > 5
    views = dict(of_type(shop.events, "view").drop_nulls("item_id")["item_id"].value_counts().iter_rows())
    late = [views.get(item, 0) for item in new["item_id"]]
    assert np.mean(late) < 0.25 * np.mean([views.get(item, 0) for item in shop.catalog["item_id"]])


def test_unavailable_products_are_few_and_leave_the_listings_when_they_sell_out(shop: Storefront) -> None:
    sold_out = shop.catalog.filter(~pl.col("available"))["item_id"]
    shown = of_type(shop.events, "impression")
    last_day = shown.filter(pl.col("timestamp") >= END - timedelta(days=1))
    earlier = shown.filter(pl.col("timestamp") < END - timedelta(days=14))
    assert 0.01 < len(sold_out) / shop.catalog.height < 0.08
    assert (
        last_day["item_id"].is_in(sold_out.implode()).mean() < 0.3 * earlier["item_id"].is_in(sold_out.implode()).mean()
    )


def test_some_shoppers_only_browse_and_some_come_once(shop: Storefront) -> None:
    active = shop.events.group_by("user_id").agg(
        (pl.col("event_type").is_in(["cart", "purchase"])).sum().alias("buys"),
        pl.col("session_id").n_unique().alias("sessions"),
        (pl.col("event_type") == "search").sum().alias("searches"),
    )
    browsing = active.filter(pl.col("buys") == 0, pl.col("sessions") >= 5, pl.col("searches") > 0)
    assert browsing.height > 100
    assert active.filter(pl.col("sessions") == 1).height > 300


def test_queries_repeat_and_hold_synonyms_attributes_and_slips(shop: Storefront) -> None:
    texts = of_type(shop.events, "search")["text"]
    counts = texts.value_counts(sort=True)
    typed = set(counts["text"])
    assert 2000 <= len(typed) <= 3500
    assert counts["count"].head(100).sum() > 0.4 * len(texts)
    assert {"sofa", "couch"} <= typed
    assert all(text == text.lower() for text in typed)
    words = {word for text in counts.filter(pl.col("count") >= 3)["text"] for word in text.split()}
    swapped = {word[:at] + word[at + 1] + word[at] + word[at + 2 :] for word in words for at in range(1, len(word) - 1)}
    slips = [text for text in typed if text.split()[0] in swapped - words]
    assert len(slips) > 20


def test_models_come_in_variants_that_differ_in_colour_or_size(shop: Storefront) -> None:
    shared = pl.col("title").str.split(",").list.first()
    groups = shop.catalog.group_by("brand", "category", shared.alias("model")).agg(
        pl.len().alias("n"), pl.col("attributes").n_unique().alias("n_distinct")
    )
    variants = groups.filter(pl.col("n") > 1)
    assert variants.height > 200
    assert (variants["n_distinct"] > 1).mean() > 0.95


def test_other_brands_copy_what_exists(shop: Storefront) -> None:
    plain = shop.catalog.with_columns(
        *[pl.col("attributes").str.json_path_match(f"$.{key}").alias(key) for key in ("style", "material", "features")]
    ).filter(pl.col("features").str.count_matches(",") == 2)
    makers = plain.group_by("category", "style", "material", "features").agg(pl.col("brand").n_unique().alias("n"))
    assert makers.filter(pl.col("n") > 1).height > 10


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("first", 7), ("again", 7), ("other", 8)):
        simulate(tmp_path / name, n_products=60, n_shoppers=40, days=10, seed=seed)
    first, again, other = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("first", "again", "other")
    )
    assert first == again
    assert first.keys() == other.keys()
    assert all(first[path] != other[path] for path in first)


def test_more_shoppers_leave_the_first_cohorts_as_they_were(tmp_path: Path) -> None:
    small = read(tmp_path / "small", n_products=60, n_shoppers=250, days=5)
    large = read(tmp_path / "large", n_products=60, n_shoppers=1010, days=5)
    users = small.truth.user_ids.tolist()
    assert len(small.files.events) == 1
    assert len(large.files.events) == 2
    assert large.events.filter(pl.col("user_id").is_in(users)).equals(small.events)
    assert large.reviews.filter(pl.col("user_id").is_in(users)).equals(small.reviews)
    assert large.catalog.equals(small.catalog)
    assert large.truth.user_ids.tolist()[:250] == users


@pytest.mark.parametrize(("n_products", "n_shoppers", "days"), [(1, 1, 1), (3, 20, 2), (61, 7, 8)])
def test_any_small_size_is_a_valid_shop(tmp_path: Path, n_products: int, n_shoppers: int, days: int) -> None:
    shop = read(tmp_path, n_products=n_products, n_shoppers=n_shoppers, days=days)
    assert Events.validate(shop.events).equals(shop.events)
    assert shop.catalog.height == n_products
    assert shop.truth.preference([0], np.arange(n_products)).shape == (1, n_products)


def test_a_smaller_storefront_replaces_a_larger_one(tmp_path: Path) -> None:
    simulate(tmp_path, n_products=30, n_shoppers=1001, days=2)
    (tmp_path / "events" / "mine.txt").write_text("kept")
    smaller = simulate(tmp_path, n_products=30, n_shoppers=10, days=2)
    assert sorted((tmp_path / "events").glob("*.parquet")) == list(smaller.events)
    assert len(load_truth(tmp_path).user_ids) == 10
    assert (tmp_path / "events" / "mine.txt").read_text() == "kept"


def test_progress_is_told_per_stage_and_ends_complete(tmp_path: Path) -> None:
    stages: list[tuple[str, int, int]] = []
    simulate(tmp_path, n_products=30, n_shoppers=300, days=2, progress=lambda *step: stages.append(step))
    assert stages == [("products", 0, 30), ("products", 30, 30), ("shoppers", 250, 300), ("shoppers", 300, 300)]


@pytest.mark.parametrize("wrong", [{"n_products": 0}, {"n_shoppers": -1}, {"days": 0}])
def test_a_size_below_one_is_refused_by_name(tmp_path: Path, wrong: dict[str, int]) -> None:
    name, value = next(iter(wrong.items()))
    with pytest.raises(ConfigError, match=rf"{name.removeprefix('n_')} = {value}"):
        simulate(tmp_path, **wrong)


def test_an_end_that_is_no_midnight_in_utc_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="midnight in UTC"):
        simulate(tmp_path, end=datetime(2025, 6, 1, 12, tzinfo=UTC))


def test_truth_of_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no sample storefront here"):
        load_truth(tmp_path)

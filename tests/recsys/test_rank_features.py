from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from recsys.rank_features import ITEM_FEATURES, SMALLEST_SHARE, item_features

AS_OF = datetime(2026, 1, 31, tzinfo=UTC)
ITEMS = pl.DataFrame({"item_id": ["kettle", "lamp", "mouse"], "price": [19.0, None, 0.0]})


def events(*rows: tuple[str, str, str, float, float | None]) -> pl.DataFrame:
    """(user, item, type, days before AS_OF, value)"""
    return pl.DataFrame(
        [(user, item, kind, AS_OF - timedelta(days=ago), value) for user, item, kind, ago, value in rows],
        schema={
            "user_id": pl.String,
            "item_id": pl.String,
            "event_type": pl.String,
            "timestamp": pl.Datetime("us", "UTC"),
            "value": pl.Float64,
        },
        orient="row",
    )


def features_of(frame: pl.DataFrame, items: pl.DataFrame = ITEMS) -> list[dict[str, float]]:
    """The features of each item by name."""
    features = item_features(frame, items, AS_OF)
    assert features.dtype == np.float32
    return [dict(zip(ITEM_FEATURES, row.tolist(), strict=True)) for row in features]


BOUGHT = events(
    ("u", "kettle", "view", 14, None),
    ("u", "kettle", "purchase", 3, 19.0),  # what it cost is no number of stars
    ("v", "kettle", "purchase", 6, None),
    ("v", "kettle", "rating", 6, 5.0),
    ("w", "kettle", "rating", 3, 2.0),
    ("w", "gone", "view", 1, None),
)


def test_an_item_is_told_by_its_shoppers_its_age_and_how_it_sells() -> None:
    kettle, *_ = features_of(BOUGHT)
    assert kettle["shoppers"] == pytest.approx(np.log(1 + 3))
    assert kettle["first_days_ago"] == pytest.approx(np.log(1 + 14))
    assert kettle["last_days_ago"] == pytest.approx(np.log(1 + 3))
    for days in (3, 14, 60, 365):  # each shopper counts once, at the newest event
        sold = 2 * 0.5 ** (3 / days) + 0.5 ** (6 / days)
        assert kettle[f"sold_{days}d"] == pytest.approx(np.log(sold + SMALLEST_SHARE), rel=1e-5)
    assert kettle["price"] == pytest.approx(np.log(1 + 19))
    assert kettle["stars"] == pytest.approx((5 + 2) / 2)


def test_what_is_not_known_is_not_a_number() -> None:
    _, lamp, mouse = features_of(BOUGHT)
    assert (lamp["shoppers"], mouse["shoppers"]) == (0.0, 0.0)
    for name in ("first_days_ago", "last_days_ago", "price", "stars"):
        assert np.isnan(lamp[name]), name
    assert mouse["price"] == 0.0  # for nothing, which is known
    assert lamp["sold_3d"] == pytest.approx(np.log(SMALLEST_SHARE))


def test_a_catalogue_without_prices_or_a_shop_without_events_tells_nothing() -> None:
    assert np.isnan([item["price"] for item in features_of(BOUGHT, ITEMS.select("item_id"))]).all()
    assert np.isnan([item["first_days_ago"] for item in features_of(events())]).all()
    assert item_features(events(), ITEMS.clear(), AS_OF).shape == (0, len(ITEM_FEATURES))


def test_a_rating_without_stars_is_no_rating() -> None:
    kettle, *_ = features_of(events(("u", "kettle", "rating", 1, None), ("v", "kettle", "rating", 1, 4.0)))
    assert kettle["stars"] == 4.0
    assert kettle["shoppers"] == pytest.approx(np.log(3))


def test_several_ratings_of_one_shopper_are_one_opinion() -> None:
    rows = [("u", "kettle", "rating", ago, stars) for ago, stars in ((3, 1.0), (2, 1.0), (1, 1.0))]
    kettle, *_ = features_of(events(*rows, ("v", "kettle", "rating", 1, 5.0)))
    assert kettle["stars"] == 3.0

"""The shop as it stood at a moment, read from a small lake."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from jobs.ingest.files import IngestReport
from jobs.lake.lake import Lake
from jobs.lake.snapshot import Shop, newest_moment, read_shop
from recsys.errors import DataError
from recsys.workspace import Workspace

EVENTS = """event_id,user_id,item_id,event_type,timestamp,text,value,position
1,u,lamp,impression,2024-01-01,,,0
2,u,gone,impression,2024-01-01,,,1
3,u,,search,2024-01-02,a lamp,,
4,u,lamp,view,2024-01-03,about lamps,12.5,
5,u,gone,view,2024-01-03,,,
6,v,rug,purchase,2024-01-04,,9.9,
7,v,lamp,impression,2024-01-05,,,
"""
REVIEWS = """review_id,user_id,item_id,rating,text,timestamp
r2,v,rug,4,soft,2024-01-05
r1,w,lamp,2,dim,2024-01-02
r3,w,gone,5,fine,2024-01-02
"""
CATALOG = "item_id,title\nrug,Rug\nlamp,Lamp\n"
END = datetime(2024, 1, 6, tzinfo=UTC)


@pytest.fixture
def lake(
    workspace: Workspace, write_file: Callable[[str, str], Path], ingest_table: Callable[..., IngestReport]
) -> Lake:
    ingest_table(
        events=write_file("e.csv", EVENTS), reviews=write_file("r.csv", REVIEWS), catalog=write_file("c.csv", CATALOG)
    )
    return Lake(workspace.lake)


def done(shop: Shop) -> set[tuple[str, str, str]]:
    return set(shop.events.select("user_id", "item_id", pl.col("event_type").cast(pl.String)).rows())


def test_events_impressions_and_searches_are_separated(lake: Lake) -> None:
    shop = read_shop(lake, END)
    assert shop.items["item_id"].to_list() == ["lamp", "rug"]
    assert done(shop) == {
        ("u", "lamp", "view"),
        ("v", "rug", "purchase"),
        ("v", "rug", "rating"),
        ("w", "lamp", "rating"),
    }
    assert shop.events.filter(pl.col("user_id") == "w")["value"].to_list() == [2.0]
    shown = shop.impressions.sort("timestamp").select("user_id", "item_id", "position").rows()
    assert shown == [("u", "lamp", 0), ("v", "lamp", None)]
    assert sorted(shop.searches["text"]) == ["a lamp", "about lamps"]
    assert shop.reviews["review_id"].to_list() == ["r1", "r2"]
    assert shop.n_unknown_items == 1


def test_nothing_that_happened_later_is_read(lake: Lake) -> None:
    as_of = datetime(2024, 1, 3, tzinfo=UTC)
    shop = read_shop(lake, as_of)
    assert done(shop) == {("w", "lamp", "rating")}
    assert shop.impressions["user_id"].to_list() == ["u"]
    assert shop.searches["text"].to_list() == ["a lamp"]
    assert shop.reviews["review_id"].to_list() == ["r1"]
    for frame in (shop.events, shop.impressions, shop.searches, shop.reviews):
        assert (frame["timestamp"] < as_of).all()


def test_the_newest_moment_is_just_after_all_there_is(lake: Lake) -> None:
    assert newest_moment(lake) == datetime(2024, 1, 5, tzinfo=UTC) + timedelta(seconds=1)
    assert len(read_shop(lake, newest_moment(lake)).events) == 4


def test_the_newest_moment_is_found_in_the_newest_files_alone(lake: Lake) -> None:
    newest = max(file.partition for file in lake.files if file.table == "events")
    for file in lake.files:
        if file.table == "catalog" or (file.table == "events" and file.partition != newest):
            (lake.root / file.path).unlink()
    assert newest_moment(lake) == datetime(2024, 1, 5, tzinfo=UTC) + timedelta(seconds=1)


def test_where_nothing_has_happened_yet_a_later_moment_is_asked_for(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="choose a later --as-of"):
        read_shop(lake, datetime(2024, 1, 1, tzinfo=UTC))
    with pytest.raises(DataError, match="run `recsys ingest` first"):
        newest_moment(Lake(tmp_path / "empty"))


def test_without_a_catalogue_what_was_dealt_with_makes_one(
    workspace: Workspace, write_file: Callable[[str, str], Path], ingest_table: Callable[..., IngestReport]
) -> None:
    ingest_table(events=write_file("e.csv", EVENTS))
    shop = read_shop(Lake(workspace.lake), END)
    assert shop.items["item_id"].to_list() == ["gone", "lamp", "rug"]
    assert shop.items["available"].all()
    assert len(shop.impressions) == 3

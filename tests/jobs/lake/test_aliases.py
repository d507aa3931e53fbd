"""Aliases: other ids of items, resolved wherever events and reviews are read by item."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from jobs.ingest.commit import RangeTaken, commit_ingest
from jobs.ingest.files import IngestReport
from jobs.ingest.sources.spec import assignments
from jobs.lake.aliases import AliasMap, resolve
from jobs.lake.lake import Lake
from jobs.lake.merge import Merged, merge_table
from jobs.lake.snapshot import read_shop
from jobs.lake.staging import Staging
from recsys.errors import DataError
from recsys.workspace import Workspace

NOW = datetime(2024, 6, 1, tzinfo=UTC)
EVENTS = """user_id,item_id,event_type,timestamp
u,SKU-1,view,2024-01-02
u,lamp,view,2024-01-03
v,SKU-9,purchase,2024-01-03
"""
REVIEWS = "review_id,user_id,item_id,rating,timestamp\nr,w,SKU-1,4,2024-01-04\n"
CATALOG = "item_id,title\nlamp,Lamp\nrug,Rug\n"

WriteFile = Callable[[str, str], Path]
IngestTable = Callable[..., IngestReport]


def aliases(*pairs: tuple[str, str]) -> pl.DataFrame:
    return pl.DataFrame(pairs, schema={"alias": pl.String, "item_id": pl.String}, orient="row")


def take(workspace: Workspace, number: int, *pairs: tuple[str, str]) -> Merged:
    """An ingest of aliases, as a source that has several ids of an item makes it."""
    lake = Lake(workspace.lake)
    with Staging(workspace.lake / "staging") as staging:
        staging.add("aliases", aliases(*pairs))
        merged = merge_table(lake, staging, "aliases", 10)
        commit_ingest(lake, staging, {"aliases": merged}, RangeTaken("events", "db", "db", number, number + 1), NOW, 12)
    return merged


def test_an_alias_is_resolved_and_other_ids_stay() -> None:
    ids = pl.Series("item_id", ["SKU-1", None, "lamp", "unknown"])
    known = aliases(("SKU-1", "lamp"), ("S-2", "rug"))
    assert resolve(ids, known, pl.Series(["lamp", "rug"])).to_list() == ["lamp", None, "lamp", "unknown"]
    assert resolve(ids, known.clear(), pl.Series(["lamp"])).to_list() == ids.to_list()


def test_an_item_of_the_catalogue_is_never_redirected() -> None:
    ids = pl.Series("item_id", ["lamp", "rug"])
    assert resolve(ids, aliases(("lamp", "rug")), pl.Series(["lamp", "rug"])).to_list() == ["lamp", "rug"]


def test_the_last_ingested_item_of_an_alias_counts_and_again_changes_nothing(workspace: Workspace) -> None:
    first = take(workspace, 0, ("a", "lamp"), ("b", "lamp"), ("a", "rug"))
    assert (first.n_new, first.n_updated, first.n_same_item) == (2, 0, 0)
    again = take(workspace, 1, ("a", "lamp"), ("b", "lamp"), ("a", "rug"))
    assert (again.n_new, again.n_updated) == (0, 0)
    assert (take(workspace, 2, ("b", "rug")).n_updated, Lake(workspace.lake).n_rows("aliases")) == (1, 2)
    assert AliasMap.read(Lake(workspace.lake)).frame().rows() == [("a", "rug"), ("b", "rug")]


def test_staged_aliases_and_products_count_before_they_are_committed(workspace: Workspace) -> None:
    take(workspace, 0, ("a", "lamp"), ("b", "lamp"))
    lake = Lake(workspace.lake)
    product = {"item_id": "b", "available": True}
    with Staging(workspace.lake / "staging") as staging:
        staging.add("aliases", aliases(("a", "rug"), ("a", "vase")))
        staging.add("catalog", pl.DataFrame([product], schema=lake.scan("catalog").collect_schema()))
        known = AliasMap.read(lake, staging)
    assert known.frame().rows() == [("a", "vase")]


def test_aliases_that_come_after_the_events_count_too(
    workspace: Workspace, write_file: WriteFile, ingest_table: IngestTable
) -> None:
    ingest_table(
        events=write_file("e.csv", EVENTS), reviews=write_file("r.csv", REVIEWS), catalog=write_file("c.csv", CATALOG)
    )
    before = read_shop(Lake(workspace.lake), NOW)
    assert (len(before.events), len(before.reviews), before.n_unknown_items) == (1, 0, 2)
    take(workspace, 0, ("SKU-1", "lamp"), ("rug", "lamp"))
    shop = read_shop(Lake(workspace.lake), NOW)
    assert (len(shop.events), len(shop.reviews), shop.n_unknown_items) == (3, 1, 1)
    assert set(shop.events["item_id"]) == {"lamp"} == set(shop.reviews["item_id"])
    assert shop.aliases.rows() == [("SKU-1", "lamp")]


def test_columns_of_aliases_cannot_be_mapped() -> None:
    with pytest.raises(DataError, match="no table 'aliases'"):
        assignments("--map", ["aliases.alias=sku"])

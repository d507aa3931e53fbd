"""Troubles that users of comparable systems reported in public, through the command line (docs/reports.md)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from features.live.database import open_live_database
from features.live.item_changes import ItemChange, ItemChanges
from jobs.__main__ import main
from jobs.ingest.item_changes import ingest_items
from jobs.lake.lake import Lake
from jobs.lake.snapshot import read_shop
from recsys.config import IngestSettings
from recsys.workspace import Workspace

Ingest = Callable[..., int]
EVENTS = "user_id,item_id,event_type,timestamp"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "shop")


@pytest.fixture
def ingest(workspace: Workspace, tmp_path: Path) -> Ingest:
    """Writes a file and ingests it with `recsys ingest table`; the exit code."""
    n_files = 0

    def run(table: str, text: str | bytes, *options: str) -> int:
        nonlocal n_files
        n_files += 1
        path = tmp_path / f"{n_files}.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return main(["ingest", "table", "--workspace", str(workspace.root), f"--{table}", str(path), *options])

    return run


def rows(workspace: Workspace, table: str) -> list[dict[str, Any]]:
    order = {"catalog": "item_id", "events": "timestamp", "reviews": "review_id"}[table]
    return Lake(workspace.lake).scan(table).collect().sort(order).to_dicts()


def put(workspace: Workspace, item_id: str, **fields: Any) -> None:
    """As `PUT /v1/items/{item_id}` does."""
    workspace.root.mkdir(exist_ok=True)
    database = open_live_database(workspace, "")
    ItemChanges(database).put([ItemChange(item_id, fields)], datetime.now(UTC))
    database.close()


def night(workspace: Workspace) -> None:
    """What a nightly run does with changes of items."""
    database = open_live_database(workspace, "")
    ingest_items(workspace, ItemChanges(database), IngestSettings(), datetime.now(UTC))
    database.close()


def test_a_product_that_was_changed_at_the_service_follows_the_next_file(workspace: Workspace, ingest: Ingest) -> None:
    ingest("catalog", "item_id,title,price,available\nA,Mug,10,true\nB,Lamp,20,true\n")
    put(workspace, "A", available=False)
    put(workspace, "B", price=19.0)
    night(workspace)
    assert [(row["price"], row["available"]) for row in rows(workspace, "catalog")] == [(10.0, False), (19.0, True)]
    ingest("catalog", "item_id,title,price,available\nA,Mug with handle,12,true\nB,Lamp,22,true\n")
    assert [(row["price"], row["available"]) for row in rows(workspace, "catalog")] == [(12.0, True), (22.0, True)]


def test_a_product_that_sold_out_stays_so_though_the_files_clock_is_ahead(workspace: Workspace, ingest: Ingest) -> None:
    ahead = f"{datetime.now(UTC) + timedelta(hours=9):%Y-%m-%d %H:%M:%S}"
    ingest("catalog", f"item_id,title,available,updated_at\nA,Mug,true,{ahead}\n")
    put(workspace, "A", available=False)
    night(workspace)
    assert rows(workspace, "catalog")[0]["available"] is False


def test_what_is_missing_in_a_full_catalogue_becomes_unavailable_and_is_counted(
    workspace: Workspace, ingest: Ingest
) -> None:
    lines = "".join(f"i{number},Product {number}\n" for number in range(10))
    ingest("catalog", "item_id,title\n" + lines)
    assert ingest("catalog", "item_id,title\n" + lines.replace("i3,Product 3\n", ""), "--full") == 0
    assert [row["item_id"] for row in rows(workspace, "catalog") if not row["available"]] == ["i3"]


def test_rows_of_one_product_fill_each_others_gaps(
    workspace: Workspace, ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    ingest("catalog", "item_id,title,price\nmug,Mug,12\nmug,,\nmug,,13\n")
    assert (rows(workspace, "catalog")[0]["title"], rows(workspace, "catalog")[0]["price"]) == ("Mug", 13.0)
    assert "3 rows, 1 items: 2 rows are variants or pictures of an item" in capsys.readouterr().out


def test_several_categories_of_one_cell_become_the_longest_path(workspace: Workspace, ingest: Ingest) -> None:
    ingest(
        "catalog", 'item_id,title,category\na,Tee,"Clothing > Tops > Tees, Clothing > Men"\nb,Pot,"Home\\, Garden"\n'
    )
    assert [row["category"] for row in rows(workspace, "catalog")] == ["Clothing > Tops > Tees", "Home, Garden"]


@pytest.mark.parametrize(
    "text",
    ["2026-01-02 09:00:00 UTC", "2026-01-02 09:00:00.5 +0000 UTC", "2026-01-02T09:00Z", "2026-01-02T10:00+01:00"],
)
def test_times_of_bigquery_and_go_and_minutes_with_a_zone_are_read(
    workspace: Workspace, ingest: Ingest, text: str
) -> None:
    assert ingest("events", f"{EVENTS}\nann,mug,view,{text}\n") == 0
    assert f"{rows(workspace, 'events')[0]['timestamp']:%H:%M}" == "09:00"


def test_stock_is_read_as_feeds_and_counts_write_it(workspace: Workspace, ingest: Ingest) -> None:
    ingest("catalog", "item_id,title,available\na,A,in_stock\nb,B,out of stock\nc,C,preorder\nd,D,0\ne,E,12\n")
    assert [row["available"] for row in rows(workspace, "catalog")] == [True, False, True, False, True]


def test_a_dot_of_thousands_is_known_by_the_columns_decimal_commas(workspace: Workspace, ingest: Ingest) -> None:
    ingest("catalog", 'item_id,title,price\na,Sofa,"1.299,00"\nb,Bed,1.299\nc,Mug,"12,90"\n')
    assert [row["price"] for row in rows(workspace, "catalog")] == [1299.0, 1299.0, 12.9]


def test_a_refund_is_a_return(workspace: Workspace, ingest: Ingest) -> None:
    ingest("events", f"{EVENTS},value\nann,mug,purchase,2026-01-02,20\nann,mug,purchase,2026-01-03,-20\n")
    assert [(row["event_type"], row["value"]) for row in rows(workspace, "events")] == [
        ("purchase", 20.0),
        ("return", 20.0),
    ]


def test_every_line_of_an_order_is_kept_and_told(
    workspace: Workspace, ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "".join(f"order-1,ann,{item},purchase,2026-01-02\n" for item in ("mug", "pot", "pan"))
    ingest("events", f"order_id,{EVENTS}\n{lines}", "--map", "events.event_id=order_id")
    assert sorted(row["item_id"] for row in rows(workspace, "events")) == ["mug", "pan", "pot"]
    assert "2 rows of events share an event_id" in capsys.readouterr().out


def test_entities_and_letters_are_resolved_once(workspace: Workspace, ingest: Ingest) -> None:
    header = "item_id,title,brand,category\n"
    ingest("catalog", f"{header}a,Mug &amp; Bowl,Fen &amp; Co,Men &gt; Shoes\nb,Cafe\u0301,Fen & Co,Men > Shoes\n")
    first, second = rows(workspace, "catalog")
    assert (first["title"], second["title"]) == ("Mug & Bowl", "Café")
    assert (first["brand"], first["category"]) == (second["brand"], second["category"])


def test_orders_of_guests_count_per_order_and_are_no_bad_rows(
    workspace: Workspace, ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "o1,,mug,purchase,2026-01-02\no1,,pot,purchase,2026-01-02\no2,,mug,purchase,2026-01-02\n"
    assert ingest("events", f"session_id,{EVENTS}\n{lines}") == 0
    assert sorted(row["user_id"] for row in rows(workspace, "events")) == ["guest:o1", "guest:o1", "guest:o2"]
    assert "3 purchases have no user id" in capsys.readouterr().out


def test_own_words_of_events_are_known_or_the_message_says_how_to_map_them(
    workspace: Workspace, ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f"{EVENTS}\nann,mug,addToCart,2026-01-02\nann,mug,gaze,2026-01-03\n"
    assert ingest("events", text) == 2
    message = capsys.readouterr().err
    assert "event types are impression, view, click" in message
    assert "--value events.event_type:WORD=TYPE" in message
    assert ingest("events", text, "--value", "events.event_type:gaze=view") == 0
    assert [row["event_type"] for row in rows(workspace, "events")] == ["cart", "view"]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-8-sig"])
def test_files_of_other_encodings_are_read(workspace: Workspace, ingest: Ingest, encoding: str) -> None:
    assert ingest("catalog", "item_id,title\na,Größe ä\nb,Café\n".encode(encoding)) == 0
    assert [row["title"] for row in rows(workspace, "catalog")] == ["Größe ä", "Café"]


def test_times_of_the_shops_own_zone_can_be_named_and_the_future_is_told(
    workspace: Workspace, ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    soon = f"{datetime.now(UTC) + timedelta(hours=3):%Y-%m-%d %H:%M:%S}"
    ingest("events", f"{EVENTS}\nann,mug,view,{soon}\n")
    assert "1 rows of events lie in the future" in capsys.readouterr().out
    assert ingest("events", f"{EVENTS}\nbob,mug,view,2026-01-02 09:00:00\n", "--timezone", "Asia/Tokyo") == 0
    assert rows(workspace, "events")[0]["timestamp"] == datetime(2026, 1, 2, tzinfo=UTC)
    assert ingest("events", f"{EVENTS}\nann,mug,view,2026-01-02\n", "--timezone", "Asia/Tokio") == 2
    assert "did you mean Asia/Tokyo?" in capsys.readouterr().err


def test_ids_keep_their_form_where_they_differ(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text("".join(json.dumps({"item_id": name, "title": "Mug"}) + "\n" for name in ("7.0", "7", " 8 ")))
    main(["ingest", "table", "--workspace", str(workspace.root), "--catalog", str(path)])
    assert [row["item_id"] for row in rows(workspace, "catalog")] == ["7", "7.0", "8"]


def test_one_user_of_many_views_is_left_out_and_named(workspace: Workspace, ingest: Ingest) -> None:
    views = "".join(f"bot,p1,view,2026-01-02T00:{n // 60:02}:{n % 60:02}Z\n" for n in range(30))
    ingest("events", f"{EVENTS}\n{views}ann,p2,view,2026-01-02\nbob,p2,purchase,2026-01-02\n")
    shop = read_shop(Lake(workspace.lake), datetime(2026, 2, 1, tzinfo=UTC), robot_events_per_day=20)
    assert set(shop.events["user_id"]) == {"ann", "bob"}
    assert shop.robots.rows() == [("bot", 30)]


def test_a_shop_whose_customers_bought_once_is_published_with_a_sentence(
    workspace: Workspace, ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "".join(f"u{n},p{n % 7},purchase,2026-01-{1 + n % 20:02}\n" for n in range(60))
    ingest("events", f"{EVENTS}\n{lines}")
    main(["nightly", "--workspace", str(workspace.root)])
    printed = capsys.readouterr()
    assert "is live in" in printed.out + printed.err
    assert "not personal yet: none of 60 shoppers likes two products" in printed.out + printed.err

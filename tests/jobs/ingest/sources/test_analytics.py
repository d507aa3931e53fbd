"""Event streams of analytics: GA4, Segment, RudderStack, Snowplow, Matomo."""

import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sources_contract import ConnectorContract, rows, spec_of, take

from jobs.ingest.sources.spec import SourceOptions
from recsys.workspace import Workspace

ITEM = {"item_id": "P1", "item_name": "Mug &amp; Lid", "item_brand": "Norvik", "item_category": "Kitchen"}
ITEM |= {"item_category2": "Mugs", "price": "12.5", "quantity": "2", "item_list_index": "4"}


def lines(*objects: Any) -> str:
    return "".join(json.dumps(each) + "\n" for each in objects)


def ga4(name: str, at: int, user_id: str | None = None, **changes: Any) -> dict[str, Any]:
    value = {"string_value": None, "int_value": None}
    parameters = [{"key": "ga_session_id", "value": value | {"int_value": "77"}}]
    parameters.append({"key": "search_term", "value": value | {"string_value": "red mug"}})
    event = {"event_date": "20260301", "event_timestamp": str(1_772_000_000_000_000 + at), "event_name": name}
    event |= {"event_params": parameters, "user_id": user_id, "user_pseudo_id": "9.9", "items": []}
    return event | changes


GA4 = (
    ga4("page_view", 1),
    ga4("view_item_list", 2, items=[ITEM, ITEM | {"item_id": "(not set)"}]),
    ga4("view_item", 3, items=[ITEM]),
    ga4("view_search_results", 4),
    ga4("purchase", 5, "member-1", items=[ITEM, ITEM | {"item_id": "P2"}]),
    ga4("scroll", 6),
    ga4("view_item", 7, items=[ITEM], user_pseudo_id=None),
)


class TestGa4(ConnectorContract):
    platform = "ga4"
    label = "GA4 export"
    files = {"events_20260301": lines(*GA4)}
    in_lake = {"events": 5}
    left_out = {"page_view": 1, "scroll": 1, "no item id": 1, "no shopper id": 1}
    later = {"events_20260302": lines(*GA4, ga4("add_to_cart", 9, items=[ITEM]))}
    changed = {"events": (1, 0)}
    bad = {"events": lines(GA4[2]) + "{oops\n"}
    bad_rule = "json"

    def test_events_and_the_login_of_the_browser(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        events = rows(workspace, "events").sort("timestamp", "item_id").rows(named=True)
        assert [(e["event_type"], e["item_id"]) for e in events] == [
            ("impression", "P1"),
            ("view", "P1"),
            ("search", None),
            ("purchase", "P1"),
            ("purchase", "P2"),
        ]
        assert {event["user_id"] for event in events} == {"member-1"}
        assert (events[0]["position"], events[2]["text"], events[3]["value"]) == (4, "red mug", 25.0)
        assert events[0]["session_id"] == "9.9:77"

    @pytest.mark.parametrize(("user", "users"), [("pseudo", {"9.9"}), ("login", {"member-1"})])
    def test_one_kind_of_id_alone(self, user: Any, users: set[str], tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, spec_of(tmp_path / "files", self.files, SourceOptions(user=user)))
        assert set(rows(workspace, "events")["user_id"]) == users

    def test_parquet_gives_the_same_events(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        buffer = io.BytesIO()
        pl.DataFrame(list(GA4), infer_schema_length=None).write_parquet(buffer)
        report = take(workspace, self.spec(tmp_path / "parquet", {"bq-results-0001": buffer.getvalue()}))
        (events,) = [table for table in report.tables if table.table == "events"]
        assert (events.n_new, events.n_duplicates, dict(events.left_out)) == (0, 5, dict(self.left_out))

    def test_the_catalogue_comes_from_the_items_if_asked_for(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, spec_of(tmp_path / "files", self.files, SourceOptions(catalog_from_items=True)))
        mug = rows(workspace, "catalog").sort("item_id").row(0, named=True)
        assert (mug["title"], mug["category"], mug["price"]) == ("Mug & Lid", "Kitchen > Mugs", 12.5)

    def test_other_words_can_be_mapped(self, tmp_path: Path, workspace: Workspace) -> None:
        options = SourceOptions(values={"events.event_type": {"wishlist": "cart", "view_item": ""}})
        files = {"events": lines(ga4("wishlist", 1, items=[ITEM]), ga4("view_item", 2, items=[ITEM]))}
        take(workspace, spec_of(tmp_path / "files", files, options))
        assert rows(workspace, "events")["event_type"].to_list() == ["cart"]


def call(kind: str, name: str | None = None, properties: Any = None, **changes: Any) -> dict[str, Any]:
    call.number += 1  # type: ignore[attr-defined]
    known = {"type": kind, "event": name, "properties": properties or {}, "messageId": f"m{call.number}"}  # type: ignore[attr-defined]
    known |= {
        "anonymousId": "anon",
        "userId": None,
        "timestamp": "2026-03-01T10:00:00Z",
        "context": {"ip": "192.0.2.7"},
    }
    return known | changes


call.number = 0  # type: ignore[attr-defined]
PRODUCT = {"product_id": "P1", "sku": "S1", "price": 10, "quantity": 2}
SEGMENT = (
    call("page"),
    call("identify", userId="u7", traits={"email": "ada@example.com"}),
    call("track", "Product List Viewed", {"products": [PRODUCT, {"sku": "S2"}]}),
    call("track", "viewed product", PRODUCT),
    call("track", "Order completed", {"products": [PRODUCT]}),
    call("track", "Products Searched", {"query": "red mug"}),
    call("track", "Product Reviewed", {"product_id": "P1", "rating": "4", "review_body": "Fine", "review_id": "r1"}),
    call("track", "Coupon Entered", {}),
)


class TestSegment(ConnectorContract):
    platform = "segment"
    label = "Segment events"
    files = {"segment.json": lines(*SEGMENT)}
    in_lake = {"events": 5, "reviews": 1}
    left_out = {"page": 1, "identify": 1, "Coupon Entered": 1}
    bad = {"segment.json": lines(call("track", "Product Viewed", {"product_id": "NA"}))}
    bad_rule = "not_an_id"

    def test_the_words_of_both_versions_and_the_identified_shopper(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        events = rows(workspace, "events")
        assert sorted(events["event_type"]) == ["impression", "impression", "purchase", "search", "view"]
        assert events["user_id"].unique().to_list() == ["u7"]
        assert events.filter(pl.col("event_type") == "purchase")["value"].to_list() == [20.0]
        assert "S2" in events["item_id"].to_list()


RUDDERSTACK = [line | {"context": {"library": {"name": "RudderLabs JavaScript SDK"}}} for line in SEGMENT]


class TestRudderstack(ConnectorContract):
    platform = "rudderstack"
    label = "RudderStack events"
    files = {"rudder.jsonl": lines(*RUDDERSTACK)}
    in_lake = {"events": 5, "reviews": 1}
    left_out = {"page": 1, "identify": 1, "Coupon Entered": 1}


ACTION = "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1_0_0"
PRODUCTS = "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1"


def wide(*events: tuple[str, dict[str, Any] | None, list[dict[str, Any]]]) -> str:
    frame = pl.DataFrame(
        {
            "event_id": [name for name, _, _ in events],
            "user_id": [None] * len(events),
            "domain_userid": ["d1"] * len(events),
            "domain_sessionid": ["s1"] * len(events),
            "collector_tstamp": ["2026-03-01 10:00:00.000 UTC"] * len(events),
            ACTION: [json.dumps(action) if action else None for _, action, _ in events],
            PRODUCTS: [json.dumps(products) for _, _, products in events],
        }
    )
    return frame.write_csv()


MUG = {"id": "P1", "name": "Mug", "category": "Kitchen", "price": 12.5, "currency": "EUR", "quantity": 1}


class TestSnowplow(ConnectorContract):
    platform = "snowplow"
    label = "Snowplow e-commerce"
    files = {
        "events.csv": wide(
            ("e1", {"type": "product_view"}, [MUG]),
            ("e2", {"type": "transaction"}, [MUG, MUG | {"id": "P2"}]),
            ("e3", None, []),
            ("e4", {"type": "checkout_step"}, []),
        )
    }
    in_lake = {"events": 3}
    left_out = {"no e-commerce action": 1, "checkout_step": 1}

    def test_tables_of_their_own_give_the_same_events(self, tmp_path: Path, workspace: Workspace) -> None:
        files = {
            "events.csv": "event_id,user_id,domain_userid,domain_sessionid,collector_tstamp\n"
            "e1,,d1,s1,2026-03-01 10:00:00.000 UTC\ne2,,d1,s1,2026-03-01 10:00:00.000 UTC\n",
            "action.csv": "root_id,root_tstamp,type,name\ne1,2026-03-01,product_view,\ne2,2026-03-01,transaction,\n",
            "product.csv": "root_id,root_tstamp,id,name,category,price,quantity\ne1,2026-03-01,P1,Mug,Kitchen,12.5,1\n"
            "e2,2026-03-01,P1,Mug,Kitchen,12.5,1\ne2,2026-03-01,P2,Mug,Kitchen,12.5,1\n",
        }
        take(workspace, self.spec(tmp_path, self.files))
        report = take(workspace, self.spec(tmp_path / "tables", files))
        (events,) = [table for table in report.tables if table.table == "events"]
        assert (events.n_new, events.n_duplicates) == (0, 3)


def visit(*actions: dict[str, Any]) -> dict[str, Any]:
    return {"idVisit": "5", "visitorId": "v1", "userId": None, "visitIp": "192.0.2.7", "actionDetails": list(actions)}


class TestMatomo(ConnectorContract):
    platform = "matomo"
    label = "Matomo visits"
    at = {"timestamp": 1_772_000_000}
    files = {
        "visits.json": json.dumps(
            [
                visit(
                    {"type": "action", "pageviewPosition": "1", "productViewSku": "P1"} | at,
                    {"type": "outlink", "pageviewPosition": "2"} | at,
                    {"type": "search", "pageviewPosition": "3", "siteSearchKeyword": "red mug"} | at,
                    {
                        "type": "ecommerceOrder",
                        "orderId": "9",
                        "itemDetails": [{"itemSKU": "P1", "price": 5, "quantity": 2}],
                    }
                    | at,
                )
            ]
        )
    }
    in_lake = {"events": 3}
    left_out = {"outlink": 1}

    def test_xml_is_read_alike(self, tmp_path: Path, workspace: Workspace) -> None:
        xml = (
            '<?xml version="1.0"?><result><row><idVisit>5</idVisit><visitorId>v1</visitorId><actionDetails><row>'
            "<type>action</type><pageviewPosition>1</pageviewPosition><productViewSku>P1</productViewSku>"
            "<timestamp>1772000000</timestamp></row></actionDetails></row></result>"
        )
        take(workspace, self.spec(tmp_path, self.files))
        report = take(workspace, self.spec(tmp_path / "xml", {"visits.xml": xml}))
        assert [(table.n_new, table.n_duplicates) for table in report.tables] == [(0, 1)]

"""Shopify's exports: products in three generations of headers, orders as a table and in JSON."""

import json
from pathlib import Path
from typing import Any

import pytest
from sources_contract import ConnectorContract, rows, spec_of, take

from jobs.ingest.sources.spec import SourceOptions
from recsys.workspace import Workspace

PRODUCTS = (
    "Handle,Title,Body (HTML),Vendor,Product Category,Type,Tags,Published,Option1 Name,Option1 Value,Option2 Name,"
    "Option2 Value,Variant SKU,Variant Inventory Tracker,Variant Inventory Qty,Variant Inventory Policy,Variant Price,"
    "Variant Compare At Price,Image Src,Farbe (product.metafields.shopify.color-pattern),Status\n"
    'hill-shirt,Hill Shirt,"<p>Warm &amp;\nlight</p>",Osprey,Clothing > Shirts,Shirt,"new, wool",true,Size,S,Colour,Moss,'
    "'7350001,shopify,0,deny,45.00,60.00,https://cdn.example.com/1.jpg,green; brown,active\n"
    "hill-shirt,,,,,,,,,M,,Moss,7350002,shopify,3,deny,40.00,,,,\n"
    "hill-shirt,,,,,,,,,,,,,,,,,,https://cdn.example.com/2.jpg,,\n"
    "old-cap,Old Cap,,Osprey,,Caps,,true,Title,Default Title,,,CAP-1,,,deny,12.00,,,,archived\n"
    "mug,Mug,,Hearth,,Mugs,,true,Title,Default Title,,,3.65275E+11,shopify,0,continue,9.00,,,,active\n"
)
PRODUCTS_2025 = (
    "Title,URL handle,Description,Vendor,Product category,Type,Tags,Published on online store,Status,SKU,Option1 name,"
    "Option1 Value,Price,Compare-at price,Inventory tracker,Inventory quantity,Continue selling when out of stock\n"
    "Hill Shirt,hill-shirt,<p>Warm</p>,Osprey,Clothing > Shirts,Shirt,new,TRUE,Active,HS-S,Size,S,45.00,60.00,shopify,0,DENY\n"
    ",hill-shirt,,,,,,,,HS-M,,M,40.00,,shopify,2,DENY\n"
)
ORDERS = (
    "Name,Email,Financial Status,Paid at,Currency,Total,Created at,Lineitem quantity,Lineitem name,Lineitem price,"
    "Lineitem sku,Billing Name,Billing Phone,Cancelled at,Refunded Amount,Id,Lineitem discount\n"
    "#1,Ada@Example.com,paid,2026-03-01 10:00:00 -0500,EUR,125.00,2026-03-01 09:59:00 -0500,1,Hill Shirt - S / Moss,45.00,"
    "'7350001,Ada Sample,+49 30 5550100,,0.00,900,5.00\n"
    "#1,Ada@Example.com,,,,,2026-03-01 09:59:00 -0500,2,Hill Shirt - M / Moss,40.00,7350002,,,,,,0.00\n"
    "#1,Ada@Example.com,,,,,2026-03-01 09:59:00 -0500,1,Hill Shirt - M / Moss,40.00,7350002,,,,,,0.00\n"
    "#2,,paid,2026-03-02 10:00:00 -0500,EUR,12.00,2026-03-02 10:00:00 -0500,1,Old Cap,12.00,CAP-1,,,,0.00,901,0.00\n"
    "#3,bo@example.com,refunded,2026-03-03 10:00:00 -0500,EUR,9.00,2026-03-03 10:00:00 -0500,1,Old Cap,9.00,CAP-1,,,,9.00,902,0.00\n"
    "#4,bo@example.com,paid,,EUR,9.00,2026-03-03 10:00:00 -0500,1,Old Cap,9.00,CAP-1,,,2026-03-04 10:00:00 -0500,0,903,0\n"
)


def order(number: int, **changes: Any) -> dict[str, Any]:
    line = {"id": number * 10, "product_id": 55, "variant_id": 66, "sku": "HS-S", "price": "40.00", "quantity": 2}
    return {
        "id": number,
        "name": f"#{number}",
        "email": "Ada@Example.com",
        "created_at": "2026-03-01T10:00:00-05:00",
        "financial_status": "paid",
        "customer": {"id": 7, "email": "ada@example.com", "default_address": {"address1": "1 Sample Road"}},
        "line_items": [line],
        "refunds": [],
    } | changes


class TestShopifyProducts(ConnectorContract):
    platform = "shopify"
    label = "Shopify products (CSV)"
    files = {"products_export.csv": PRODUCTS}
    in_lake = {"catalog": 3, "aliases": 3}
    later = {"products_export.csv": PRODUCTS.replace("40.00", "38.00")}
    changed = {"catalog": (0, 1)}
    bad = {"products_export.csv": PRODUCTS.replace("old-cap,", ",")}
    bad_rule = "item_id"

    def test_the_variants_of_a_handle_are_one_item(self, tmp_path: Path, workspace: Workspace) -> None:
        report = take(workspace, self.spec(tmp_path, self.files))
        shirt, mug, cap = rows(workspace, "catalog").sort("item_id").rows(named=True)
        assert (shirt["title"], shirt["description"], shirt["price"]) == ("Hill Shirt", "Warm &\nlight", 40.0)
        known = json.loads(shirt["attributes"])
        assert (known["size"], known["colour"], known["list_price"]) == (["S", "M"], ["Moss"], 60.0)
        assert (known["tags"], known["color-pattern"]) == (["new", "wool"], ["green", "brown"])
        assert (shirt["available"], mug["available"], cap["available"]) == (True, True, False)
        assert report.files[0].notes == {"variants": 4, "picture rows": 1, "items": 3}

    def test_skus_are_aliases_but_not_numbers_that_a_spreadsheet_rounded(
        self, tmp_path: Path, workspace: Workspace
    ) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        known = dict(rows(workspace, "aliases").select("alias", "item_id").iter_rows())
        assert known == {"7350001": "hill-shirt", "7350002": "hill-shirt", "CAP-1": "old-cap"}

    def test_each_variant_can_be_an_item_of_a_stated_group(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, spec_of(tmp_path / "files", self.files, SourceOptions(items="variant")))
        items = {row["item_id"]: row for row in rows(workspace, "catalog").rows(named=True)}
        assert set(items) >= {"7350001", "7350002", "CAP-1"}
        assert items["7350002"]["title"] == "Hill Shirt - M - Moss"
        assert {json.loads(items[sku]["attributes"])["group"] for sku in ("7350001", "7350002")} == {"hill-shirt"}

    def test_the_headers_of_2025(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, {"products.csv": PRODUCTS_2025}))
        (shirt,) = rows(workspace, "catalog").rows(named=True)
        assert (shirt["item_id"], shirt["price"], shirt["available"]) == ("hill-shirt", 40.0, True)
        assert rows(workspace, "aliases")["alias"].sort().to_list() == ["HS-M", "HS-S"]


class TestShopifyOrders(ConnectorContract):
    platform = "shopify"
    label = "Shopify orders (CSV)"
    files = {"orders_export.csv": ORDERS}
    in_lake = {"events": 4}
    left_out = {"cancelled order": 1}
    later = {"orders_export.csv": ORDERS + ORDERS.splitlines()[4].replace("#2", "#5").replace(",901,", ",905,") + "\n"}
    changed = {"events": (1, 0)}
    bad = {"orders_export.csv": ORDERS.replace("2026-03-02 10:00:00 -0500", "soon")}
    bad_rule = "timestamp"

    def test_lines_of_a_product_are_one_purchase(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        events = rows(workspace, "events").sort("timestamp", "item_id").rows(named=True)
        assert [(e["item_id"], e["event_type"], e["value"]) for e in events] == [
            ("7350001", "purchase", 40.0),
            ("7350002", "purchase", 120.0),
            ("CAP-1", "purchase", 12.0),
            ("CAP-1", "return", 9.0),
        ]
        assert events[2]["user_id"] == "order:#2"
        assert events[0]["user_id"] == events[1]["user_id"] != events[3]["user_id"]

    def test_orders_meet_the_products_by_sku(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, {**TestShopifyProducts.files, **self.files}))
        assert set(rows(workspace, "events")["item_id"]) == {"hill-shirt", "old-cap"}

    def test_lines_without_sku_meet_products_without_sku_by_their_name(
        self, tmp_path: Path, workspace: Workspace
    ) -> None:
        files = {"products.csv": PRODUCTS.replace("'7350001", "").replace("7350002", "").replace("CAP-1", "")}
        files["products.csv"] = files["products.csv"].replace("3.65275E+11", "")
        files["orders.csv"] = ORDERS.replace("'7350001", "").replace("7350002", "").replace("CAP-1", "")
        take(workspace, self.spec(tmp_path, files))
        assert set(rows(workspace, "events")["item_id"]) == {"hill-shirt", "old-cap"}

    def test_nothing_of_a_person_is_in_the_workspace(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        stored = b"".join(path.read_bytes() for path in workspace.root.rglob("*") if path.is_file()).lower()
        assert not [text for text in (b"example.com", b"5550100", b"ada sample") if text in stored]


class TestShopifyOrderJson(ConnectorContract):
    platform = "shopify"
    label = "Shopify orders (JSON)"
    files = {"orders.json": json.dumps({"orders": [order(1), order(2, test=True), order(3, customer=None, email="")]})}
    in_lake = {"events": 2, "aliases": 1}
    left_out = {"test order": 1}

    @pytest.mark.parametrize("content", [json.dumps(order(1), indent=2), json.dumps([order(1)]), json.dumps(order(1))])
    def test_a_webhook_a_list_and_a_line_are_read_alike(
        self, content: str, tmp_path: Path, workspace: Workspace
    ) -> None:
        take(workspace, self.spec(tmp_path, {"order": content}))
        (event,) = rows(workspace, "events").rows(named=True)
        assert (event["user_id"], event["item_id"], event["value"]) == ("7", "55", 80.0)

    def test_an_sku_that_the_catalogue_knows_counts_before_the_products_id(
        self, tmp_path: Path, workspace: Workspace
    ) -> None:
        take(workspace, self.spec(tmp_path, {"products.csv": PRODUCTS_2025, "order.json": json.dumps(order(1))}))
        assert rows(workspace, "events")["item_id"].to_list() == ["hill-shirt"]


def test_the_columns_are_known_even_where_the_first_row_is_not_chosen(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "shop")
    files = {
        "products.csv": PRODUCTS.replace("\nhill-shirt", "\nx,Left out,,,,,,,,,,,,,,,1.00,,,,draft\nhill-shirt", 1)
    }
    take(workspace, spec_of(tmp_path / "files", files, SourceOptions(where=(("Title", "Mug"),))))
    assert rows(workspace, "catalog")["item_id"].to_list() == ["mug"]

"""WooCommerce's exports and REST API."""

import json
from pathlib import Path
from typing import Any

from sources_contract import ConnectorContract, rows, take

from recsys.workspace import Workspace

HEADER = (
    "\ufeffID,Type,SKU,Name,Published,Visibility in catalog,Short description,Description,Date sale price starts,"
    "Date sale price ends,In stock?,Sale price,Regular price,Categories,Tags,Parent,Attribute 1 name,Attribute 1 value(s)\n"
)
TEE = '10,variable,tee,Tee,1,visible,Soft,<p>Cotton</p>,,,1,,,"Clothing > Tees, Sale","new, soft",,Size,"S, M"\n'
TEE_S = "11,variation,tee-s,Tee - S,1,visible,,,,,1,,25,,,tee,Size,S\n"
TEE_M = "12,variation,tee-m,Tee - M,1,visible,,,,,0,22,25,,,id:10,Size,M\n"
MUG = '20,"simple, virtual",mug,Mug &amp; Lid,1,visible,,,2020-01-01,2020-02-01,backorder,5,9,Kitchen,,,,\n'
HIDDEN = "21,simple,jar,Jar,1,hidden,,,,,1,,4,Kitchen,,,,\n"
GROUP = "30,grouped,set,Set,1,visible,,,,,1,,,Kitchen,,,,\n"


def order(number: int, **changes: Any) -> dict[str, Any]:
    line = {"id": number * 10, "product_id": 10, "variation_id": 11, "sku": "tee-s", "quantity": 2, "total": "50.00"}
    return {
        "id": number,
        "status": "completed",
        "customer_id": 7,
        "total": "50.00",
        "date_created": "2026-03-01T10:00:00",
        "date_created_gmt": "2026-03-01T09:00:00",
        "billing": {"first_name": "Ada", "email": "Ada@Example.com", "phone": "555-0100"},
        "line_items": [line],
        "refunds": [],
    } | changes


def review(number: int, **changes: Any) -> dict[str, Any]:
    known = {
        "id": number,
        "product_id": 10,
        "status": "approved",
        "reviewer": "Ada",
        "reviewer_email": "ada@example.com",
    }
    known |= {"review": "<p>Nice tee!</p>\n", "rating": 5, "date_created_gmt": "2026-03-01T09:00:00"}
    return known | changes


class TestWoocommerceProducts(ConnectorContract):
    platform = "woocommerce"
    label = "WooCommerce products (CSV)"
    files = {"wc-products.csv": HEADER + TEE + MUG + TEE_S + TEE_M.replace("id:10", "tee") + HIDDEN + GROUP}
    in_lake = {"catalog": 3, "aliases": 7}
    left_out = {"grouped product": 1}
    later = {"wc-products.csv": HEADER + HIDDEN.replace(",4,", ",5,")}
    changed = {"catalog": (0, 1)}
    bad = {"wc-products.csv": HEADER + MUG.replace("20,", ",", 1).replace(",mug,", ",,")}
    bad_rule = "item_id"

    def test_variations_are_folded_into_their_parent(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        tee, mug, jar = rows(workspace, "catalog").sort("item_id").rows(named=True)
        assert (tee["item_id"], tee["price"], tee["category"], tee["available"]) == (
            "10",
            22.0,
            "Clothing > Tees",
            True,
        )
        assert json.loads(tee["attributes"]) == {"list_price": 25.0, "size": ["S", "M"], "tags": ["new", "soft"]}
        assert (mug["title"], mug["price"], mug["available"]) == ("Mug & Lid", 9.0, True)
        assert not jar["available"]
        known = dict(rows(workspace, "aliases").select("alias", "item_id").iter_rows())
        assert {known[alias] for alias in ("tee", "11", "tee-s", "12", "tee-m")} == {"10"}

    def test_a_parent_can_be_named_by_its_id(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, {"wc-products.csv": HEADER + TEE + TEE_M}))
        assert rows(workspace, "catalog")["price"].to_list() == [22.0]


class TestWoocommerceOrders(ConnectorContract):
    platform = "woocommerce"
    label = "WooCommerce orders (JSON)"
    orders = (order(1), order(2, status="cancelled"), order(3, customer_id=0), order(4, refunds=[{"total": "-50.00"}]))
    files = {"orders.json": json.dumps(orders, indent=1)}
    in_lake = {"events": 3, "aliases": 1}
    left_out = {"cancelled order": 1}

    def test_guests_refunds_and_times(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        events = {row["session_id"]: row for row in rows(workspace, "events").rows(named=True)}
        assert (events["1"]["user_id"], events["1"]["item_id"], events["1"]["value"]) == ("7", "10", 50.0)
        assert events["1"]["timestamp"].hour == 9
        assert events["3"]["user_id"].startswith("u_")
        assert events["4"]["event_type"] == "return"


class TestWoocommerceReviews(ConnectorContract):
    platform = "woocommerce"
    label = "WooCommerce reviews (JSON)"
    files = {"reviews.json": json.dumps([review(1), review(2, status="spam"), review(3, rating=4)])}
    in_lake = {"reviews": 2}
    left_out = {"spam review": 1}

    def test_html_becomes_text(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        assert rows(workspace, "reviews")["text"].unique().to_list() == ["Nice tee!"]

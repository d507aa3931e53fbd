"""Magento's catalogue: store views, children and parents."""

import json
from pathlib import Path
from typing import Any

from sources_contract import ConnectorContract, rows, spec_of, take

from jobs.ingest.sources.spec import SourceOptions
from recsys.workspace import Workspace

HEADER = (
    "sku,store_view_code,attribute_set_code,product_type,categories,name,description,product_online,visibility,price,"
    "special_price,special_price_from_date,special_price_to_date,updated_at,additional_attributes,qty,is_in_stock,"
    "configurable_variations,associated_skus\n"
)
HIDDEN = "Not Visible Individually"
SHOWN = '"Catalog, Search"'
PATHS = '"Default Category/Rooms/Lamps,Default Category/Sale"'


def simple(sku: str, name: str, price: str, *, visibility: str = SHOWN, stock: str = "1", special: str = ",,") -> str:
    more = '"color=Red,finish=Matt|Gloss,has_options=0"'
    return f"{sku},,Default,simple,{PATHS},{name},<p>Good &amp; bright</p>,1,{visibility},{price},{special},,{more},5,{stock},,\n"


PARENT = (
    f"LAMP,,Default,configurable,{PATHS},Lamp,<p>A lamp</p>,1,{SHOWN},,,,,2024-05-01 10:00:00,"
    '"has_options=1,material=Oak",0,1,"sku=LAMP-S,size=S|sku=LAMP-L,size=L",\n'
)
CHILDREN = simple("LAMP-S", "Lamp-S", "30.00", visibility=HIDDEN) + simple(
    "LAMP-L", "Lamp-L", "25.00", visibility=HIDDEN
)
GERMAN = "LAMP,de,Default,configurable,,Lampe,,,,,,,,,,,,,\n"
EXPORT = HEADER + CHILDREN + PARENT + GERMAN + simple("VASE", "Vase", "12.00")


def attributes(row: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(row["attributes"]))


class TestMagentoProducts(ConnectorContract):
    platform = "magento"
    label = "Magento products (CSV)"
    files = {"catalog_product.csv": EXPORT}
    in_lake = {"catalog": 2, "aliases": 2}
    left_out = {"store view de": 1}
    later = {"catalog_product.csv": EXPORT.replace("12.00", "11.00") + simple("BOWL", "Bowl", "9.00")}
    changed = {"catalog": (1, 1)}
    bad = {"catalog_product.csv": EXPORT.replace("VASE,", ",")}
    bad_rule = "item_id"

    def test_children_are_folded_into_their_parent(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        lamp, vase = rows(workspace, "catalog").sort("item_id").rows(named=True)
        assert (lamp["title"], lamp["price"], lamp["category"]) == ("Lamp", 25.0, "Rooms > Lamps")
        assert attributes(lamp) == {"material": "Oak", "size": ["S", "L"]}
        assert (vase["description"], vase["available"]) == ("Good & bright", True)
        assert attributes(vase) == {"color": "Red", "finish": ["Matt", "Gloss"]}
        known = dict(rows(workspace, "aliases").select("alias", "item_id").iter_rows())
        assert known == {"LAMP-S": "LAMP", "LAMP-L": "LAMP"}

    def test_a_store_view_is_laid_over_the_default_one_and_blanks_are_not(
        self, tmp_path: Path, workspace: Workspace
    ) -> None:
        take(workspace, spec_of(tmp_path / "files", self.files, SourceOptions(store_view="de")))
        lamp = rows(workspace, "catalog").sort("item_id").row(0, named=True)
        assert (lamp["title"], lamp["description"], lamp["price"]) == ("Lampe", "A lamp", 25.0)

    def test_a_parent_is_sold_out_with_all_its_children(self, tmp_path: Path, workspace: Workspace) -> None:
        sold_out = "".join(simple(f"LAMP-{size}", "x", "30.00", visibility=HIDDEN, stock="0") for size in "SL")
        take(workspace, self.spec(tmp_path, {"catalog_product.csv": HEADER + PARENT + sold_out}))
        assert not rows(workspace, "catalog").row(0, named=True)["available"]

    def test_a_special_price_counts_within_its_dates(self, tmp_path: Path, workspace: Workspace) -> None:
        past, endless = "8.00,2020-01-01 00:00:00,2020-02-01 00:00:00", "8.00,2020-01-01 00:00:00,"
        export = HEADER + simple("A", "A", "10.00", special=past) + simple("B", "B", "10.00", special=endless)
        take(workspace, self.spec(tmp_path, {"catalog_product.csv": export}))
        first, second = rows(workspace, "catalog").sort("item_id").rows(named=True)
        assert (first["price"], second["price"]) == (10.0, 8.0)
        assert attributes(second)["list_price"] == 10.0

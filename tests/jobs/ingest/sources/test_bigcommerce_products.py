"""BigCommerce's product export, older and newer."""

import json
from pathlib import Path

from sources_contract import ConnectorContract, rows, take

from recsys.workspace import Workspace

HEADER = (
    "Item Type,Product ID,Product Name,Product Code/SKU,Brand Name,Product Description,Price,Retail Price,Sale Price,"
    "Allow Purchases?,Product Visible?,Product Availability,Track Inventory,Stock Level,Category\n"
)
SHIRT = "Product,10,Hill Shirt,HILL,Osprey Works,<p>Wool &amp; linen</p>,40.00,50.00,,Y,Y,available,by option,9,Clothing/Shirts;Sale\n"
SKUS = (
    '  SKU,11,"[S]Size=M,[RB]Colour=Moss",HILL-M,,,,,,,,,,0,\n  SKU,12,"[S]Size=L,[RB]Colour=Moss",HILL-L,,,,,,,,,,4,\n'
)
RULE = "  Rule,13,,HILL-L,,,[ADD]3,,,Y,Y,,,,\n"
POT = "Product,20,Coffee Pot,POT,Hearthline,,30.00,,25.00,Y,N,available,none,0,Kitchen/Coffee\n"
NEWER = (
    "Item,ID,Name,Type,SKU,Options,Inventory Tracking,Current Stock,Price,Sale Price,Categories,Description,Is Visible\n"
    "Product,30,Cap,physical,CAP,,variant,0,12.00,,Clothing,,TRUE\n"
    "Variant,31,,,CAP-R,Type=Swatch|Name=Colour|Value=Red,,2,,,,,\n"
    "Image,,,,,,,,,,,,\n"
)


class TestBigcommerceProducts(ConnectorContract):
    platform = "bigcommerce"
    label = "BigCommerce products (CSV)"
    files = {"products.csv": HEADER + SHIRT + SKUS + RULE + POT}
    in_lake = {"catalog": 2, "aliases": 4}
    later = {"products.csv": HEADER + POT.replace("25.00", "24.00")}
    changed = {"catalog": (0, 1)}
    bad = {"products.csv": HEADER + SHIRT.replace("Product,10,", "Product,,")}
    bad_rule = "item_id"

    def test_skus_are_folded_and_rules_ignored(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        shirt, pot = rows(workspace, "catalog").sort("item_id").rows(named=True)
        assert (shirt["price"], shirt["category"], shirt["available"]) == (40.0, "Clothing > Shirts", True)
        options = json.loads(shirt["attributes"])
        assert (options["size"], options["colour"], options["list_price"]) == (["M", "L"], ["Moss"], 50.0)
        assert (pot["price"], pot["available"]) == (25.0, False)
        known = dict(rows(workspace, "aliases").select("alias", "item_id").iter_rows())
        assert known == {"HILL": "10", "HILL-M": "10", "HILL-L": "10", "POT": "20"}

    def test_the_newer_layout(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, {"catalog.csv": NEWER}))
        (cap,) = rows(workspace, "catalog").rows(named=True)
        assert (cap["item_id"], cap["title"], cap["price"], cap["available"]) == ("30", "Cap", 12.0, True)
        assert json.loads(cap["attributes"])["colour"] == ["Red"]

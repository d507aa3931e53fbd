"""PrestaShop's product files, of several versions and languages."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sources_contract import ConnectorContract, rows, take

from jobs.ingest.sources import scalars
from recsys.workspace import Workspace

HEADER = (
    "Product ID;Active (0/1);Name *;Categories (x,y,z...);Price tax excluded;Discount amount;Discount percent;"
    "Discount from (yyyy-mm-dd);Discount to (yyyy-mm-dd);Reference #;Manufacturer;Quantity;Visibility;Summary;"
    "Description;Tags (x,y,z...);Available for order (0 = No, 1 = Yes);Feature(Name:Value:Position);"
    "Out of stock action\n"
)
MUG = "1;1;Enamel Mug;Home,Home/Kitchen/Mugs;20;;10;2021-01-01;2021-12-31;REF-1;Norvik;5;both;<p>Solid</p>;;red, tin;1;Colour:Red:1;0\n"
BOWL = "2;1;Bowl, large;Home;8.50;;;;;REF-2;Norvik;0;both;;;;1;;0\n"
SPOON = "3;1;Spoon;Home;2;0.5;;;;REF-3;;0;none;;;;1;;1\n"
FORK = "4;1;Fork;Home;3;;;;;REF-4;;0;;;;;1;;1\n"
OLDER = (
    "id;Active (0/1);Name*;Categories (x,y,z,...);Price tax excl. Or Price tax excl;Tax rules id;Reference #;Quantity\n"
    "7;1;Old Kettle;Home;15;1;OLD-7;3;\n"
)


class TestPrestashopProducts(ConnectorContract):
    platform = "prestashop"
    label = "PrestaShop products (CSV)"
    files = {"products_import.csv": HEADER + MUG + BOWL + SPOON + FORK}
    in_lake = {"catalog": 4, "aliases": 4}
    later = {"products_import.csv": HEADER + MUG.replace(";20;", ";21;")}
    changed = {"catalog": (0, 1)}
    bad = {"products_import.csv": HEADER + MUG.replace("1;1;", ";1;").replace("REF-1", "")}
    bad_rule = "item_id"

    def test_stock_visibility_and_out_of_stock_action_decide(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        available = dict(rows(workspace, "catalog").select("item_id", "available").iter_rows())
        assert available == {"1": True, "2": False, "3": False, "4": True}

    @pytest.mark.parametrize(("now", "price"), [("2021-06-01", 18.0), ("2026-12-01", 20.0)])
    def test_a_discount_counts_within_its_dates(
        self, tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, now: str, price: float
    ) -> None:
        monkeypatch.setattr(scalars, "clock", lambda: datetime.fromisoformat(now).replace(tzinfo=UTC))
        take(workspace, self.spec(tmp_path, self.files))
        mug = rows(workspace, "catalog").sort("item_id").row(0, named=True)
        assert (mug["price"], mug["category"], mug["description"]) == (price, "Kitchen > Mugs", "Solid")

    def test_a_row_that_ends_in_a_separator_is_read(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, {"old.csv": OLDER}))
        (kettle,) = rows(workspace, "catalog").rows(named=True)
        assert (kettle["item_id"], kettle["title"], kettle["price"]) == ("7", "Old Kettle", 15.0)

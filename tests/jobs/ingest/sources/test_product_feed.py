"""Product feeds for Google and Meta."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sources_contract import ConnectorContract, rows, spec_of, take

from jobs.ingest.sources import scalars
from jobs.ingest.sources.spec import SourceOptions
from recsys.errors import DataError
from recsys.workspace import Workspace


def item(item_id: str, title: str, price: str, availability: str = "in_stock", more: str = "") -> str:
    return (
        f"<item><g:id>{item_id}</g:id><title>{title}</title><link>https://shop.example.com/{item_id}</link>"
        f"<description><![CDATA[<p>Fine & good</p>]]></description><g:price>{price}</g:price>"
        f"<g:availability>{availability}</g:availability><g:product_type>Home > Mugs</g:product_type>"
        f"<g:product_type>Sale</g:product_type><g:google_product_category>2169</g:google_product_category>{more}"
        "<g:shipping><g:price>5.00 EUR</g:price></g:shipping></item>"
    )


def rss(*items: str) -> str:
    start = '<?xml version="1.0"?><rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel><title>x</title>'
    return f"{start}{''.join(items)}</channel></rss>"


FEED = rss(
    item(
        "A",
        "Mug & Saucer",
        "15.00 EUR",
        more="<g:sale_price>12.00 EUR</g:sale_price><g:item_group_id>M</g:item_group_id>",
    ),
    item("B", "Mug", "15.00 EUR", "out of stock", "<g:item_group_id>M</g:item_group_id><g:color>red</g:color>"),
    item("C", "Bowl", "1.299,00 EUR", "preorder"),
)
ATOM = (
    '<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0"><entry><g:id>Z</g:id>'
    '<title>Jar</title><link href="https://shop.example.com/z"/><summary>Glass</summary><g:price>3.00 EUR</g:price>'
    "<g:availability>in stock</g:availability></entry></feed>"
)
TSV = (
    "ID\tTitle\tDescription\tLink\tImage Link\tPrice\tSale Price\tAvailability\tProduct Type\tItem Group ID\n"
    "A\tMug\t<b>Fine</b>\thttps://x.example.com\thttps://y.example.com\t15.00 EUR\t\tin stock\tHome > Mugs, Sale > Mugs\tM\n"
)
META = (
    "# Required | A unique id for the item,# Required | A title for the item,# Required | A title for the item,a,b,c,d\n"
    "id,title,description,availability,price,link,product_tags[0]\n"
    "77,Felt Hat,Soft,in stock,19.90 EUR,https://shop.example.com/77,autumn\n"
)


class TestGoogleFeed(ConnectorContract):
    platform = "google-feed"
    label = "Google Merchant feed"
    files = {"feed.xml": FEED}
    in_lake = {"catalog": 3}
    later = {"feed.xml": rss(item("C", "Bowl", "1199.00 EUR"), item("D", "Tray", "8.00 EUR"))}
    changed = {"catalog": (1, 1)}
    bad = {"feed.xml": rss(item("", "No id", "1.00 EUR"))}
    bad_rule = "item_id"

    def test_prices_groups_and_categories(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        first, second, third = rows(workspace, "catalog").sort("item_id").rows(named=True)
        assert (first["title"], first["description"], first["price"]) == ("Mug & Saucer", "Fine & good", 12.0)
        assert (first["category"], first["available"], second["available"]) == ("Home > Mugs", True, False)
        known = json.loads(first["attributes"])
        assert (known["group"], known["list_price"], known["currency"]) == ("M", 15.0, "EUR")
        assert json.loads(second["attributes"])["group"] == "M"
        assert (third["price"], third["available"]) == (1299.0, True)

    def test_bare_ampersands_are_repaired_and_counted(self, tmp_path: Path, workspace: Workspace) -> None:
        (file,) = take(workspace, self.spec(tmp_path, self.files)).files
        assert file.notes["bare & repaired"] == 1

    @pytest.mark.parametrize(("name", "content", "item_id"), [("a.xml", ATOM, "Z"), ("a.txt", TSV, "A")])
    def test_atom_and_text_are_read_alike(
        self, tmp_path: Path, workspace: Workspace, name: str, content: str, item_id: str
    ) -> None:
        take(workspace, self.spec(tmp_path, {name: content}))
        (row,) = rows(workspace, "catalog").rows(named=True)
        assert (row["item_id"], row["available"]) == (item_id, True)

    @pytest.mark.parametrize(("now", "price"), [("2024-03-10T12:00", 12.0), ("2024-05-01T12:00", 15.0)])
    def test_a_sale_price_counts_within_its_dates(
        self, tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, now: str, price: float
    ) -> None:
        monkeypatch.setattr(scalars, "clock", lambda: datetime.fromisoformat(now).replace(tzinfo=UTC))
        period = "2024-03-01T09:30-08:00/2024-03-31T23:59-08:00"
        sale = (
            f"<g:sale_price>12.00 EUR</g:sale_price><g:sale_price_effective_date>{period}</g:sale_price_effective_date>"
        )
        take(workspace, self.spec(tmp_path, {"feed.xml": rss(item("A", "Mug", "15.00 EUR", more=sale))}))
        assert rows(workspace, "catalog")["price"].to_list() == [price]

    def test_two_currencies_are_refused(self, tmp_path: Path, workspace: Workspace) -> None:
        feed = rss(item("A", "Mug", "15.00 EUR"), item("B", "Mug", "15.00 USD"))
        with pytest.raises(DataError, match=r"EUR \(product 1\) and USD \(product 2\)"):
            take(workspace, self.spec(tmp_path, {"feed.xml": feed}))

    def test_products_missing_in_a_full_feed_become_unavailable(self, tmp_path: Path, workspace: Workspace) -> None:
        shop = [item(f"P{number}", f"Mug {number}", "5.00 EUR") for number in range(10)]
        full = SourceOptions(full=True)
        take(workspace, spec_of(tmp_path / "one", {"feed.xml": rss(*shop)}, full))
        take(workspace, spec_of(tmp_path / "two", {"feed.xml": rss(*shop[:9])}, full))
        missing = rows(workspace, "catalog").filter(~rows(workspace, "catalog")["available"])
        assert missing["item_id"].to_list() == ["P9"]
        assert missing["title"].to_list() == ["Mug 9"]

    def test_a_full_feed_that_lacks_more_than_a_fifth_is_refused(self, tmp_path: Path, workspace: Workspace) -> None:
        shop = [item(f"P{number}", f"Mug {number}", "5.00 EUR") for number in range(10)]
        take(workspace, spec_of(tmp_path / "one", {"feed.xml": rss(*shop)}))
        with pytest.raises(DataError, match="3 of 10 available products are not in the files"):
            take(workspace, spec_of(tmp_path / "two", {"feed.xml": rss(*shop[:7])}, SourceOptions(full=True)))
        assert rows(workspace, "catalog")["available"].all()


class TestMetaCatalogue(ConnectorContract):
    platform = "meta-catalog"
    label = "Meta catalogue (CSV)"
    files = {"catalog_products.csv": META}
    in_lake = {"catalog": 1}
    later = {"catalog_products.csv": META.replace("19.90", "18.90")}
    changed = {"catalog": (0, 1)}
    bad = {"catalog_products.csv": META.replace("\n77,", "\n,")}
    bad_rule = "item_id"

    def test_tags_become_an_attribute(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        (hat,) = rows(workspace, "catalog").rows(named=True)
        assert (hat["title"], hat["price"], json.loads(hat["attributes"])["tags"]) == ("Felt Hat", 19.9, ["autumn"])

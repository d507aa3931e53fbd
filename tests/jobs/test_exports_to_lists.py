"""From the exports of a shop system to published, personal lists, by the commands that a merchant types."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl
import pytest
from exported_shops import (
    Shop,
    ga4_events,
    google_feed,
    invented_shop,
    shopify_orders,
    shopify_products,
    woocommerce_orders,
    woocommerce_products,
)

from jobs.__main__ import main
from jobs.lake.lake import Lake
from recsys.workspace import Workspace

pytestmark = pytest.mark.nightly

SETTINGS = (
    "[embed]\ninline_texts = 100000\n[factors]\ndim = 8\n[evaluate]\nmin_users = 10\n"
    "[sequence]\ndim = 16\nlayers = 1\nepochs = 2\n[fusion]\nmin_targets = 5\n"
    "[ranking]\nmin_targets = 5\nmin_leaf = 5\ntrees = 10\n"
    "[nightly]\nfree_disk_mb = 0\nfree_memory_mb = 0\n"
)

EXPORTS: Mapping[str, Mapping[str, Callable[[Shop], str]]] = {
    "shopify": {"products_export.csv": shopify_products, "orders_export.csv": shopify_orders},
    "google feed and GA4": {"feed.xml": google_feed, "events_20261128": ga4_events},
    "woocommerce": {"wc-products.csv": woocommerce_products, "orders.json": woocommerce_orders},
}


@pytest.mark.parametrize("system", EXPORTS)
def test_a_nightly_run_on_exports_publishes_personal_lists(
    system: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = invented_shop()
    files = []
    for name, export in EXPORTS[system].items():
        files.append(str(tmp_path / name))
        Path(files[-1]).write_text(export(shop))
    workspace = Workspace(tmp_path / "shop")
    workspace.root.mkdir()
    workspace.settings_file.write_text(SETTINGS)
    place = ("--workspace", str(workspace.root))
    assert main(["ingest", "auto", *files, *place]) == 0
    lake = Lake(workspace.lake)
    assert lake.n_rows("catalog") == len(shop.products)
    shoppers = _two_shoppers_of_different_taste(lake)
    assert main(["nightly", *place]) == 0
    capsys.readouterr()
    first, second = (_list_of(user, place, capsys) for user in shoppers)
    assert len(first) == len(second) == 10
    assert len(set(first) & set(second)) < 5
    assert all(b"@example.com" not in path.read_bytes() for path in workspace.root.rglob("*") if path.is_file())


def _two_shoppers_of_different_taste(lake: Lake) -> tuple[str, str]:
    """The two most active shoppers whose favourite categories differ."""
    events = lake.scan("events").join(lake.scan("catalog").select("item_id", "category"), on="item_id")
    favourites = (
        events.group_by("user_id")
        .agg(pl.col("category").mode().sort().first(), pl.len())
        .sort("len", "user_id")
        .collect()
    )
    rows = favourites.reverse().rows(named=True)
    other = next(row for row in rows if row["category"].split(" > ")[0] != rows[0]["category"].split(" > ")[0])
    return rows[0]["user_id"], other["user_id"]


def _list_of(user_id: str, place: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert main(["recommend", "--user", user_id, "--count", "10", "--json", *place]) == 0
    return [item["item_id"] for item in json.loads(capsys.readouterr().out)["items"]]

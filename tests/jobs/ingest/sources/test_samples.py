"""The figures that are expected of sample exports, where these lie beside the checkout."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sources_contract import rows, spec_of, take

from jobs.ingest.sources.spec import SourceOptions, SourceSpec
from jobs.lake.lake import Lake
from recsys.workspace import Workspace

SAMPLES = Path(__file__).parents[5] / "shared" / "exports"

pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason="no sample exports beside the checkout")

IN_LAKE: Mapping[tuple[str, ...], Mapping[str, int]] = {
    ("shopify/products_export_velofant.csv",): {"catalog": 14, "aliases": 14},
    ("shopify/product_template.csv",): {"catalog": 3, "aliases": 16},
    ("shopify/orders_export.csv",): {"events": 95},
    ("woocommerce/classic_commerce_sample_products.csv",): {"catalog": 14, "aliases": 32},
    ("woocommerce/rest_reviews.json",): {"reviews": 2},
    ("magento/products_gear_bags.csv",): {"catalog": 14},
    ("prestashop/products_import.csv",): {"catalog": 7, "aliases": 7},
    ("bigcommerce/products.csv",): {"catalog": 2, "aliases": 4},
    ("google_feed/m5zoon_en.tsv",): {"catalog": 30},
    ("google_feed/spec_values.tsv",): {"catalog": 3},
    ("facebook/wupei_catalog_products.csv",): {"catalog": 1},
    ("ga4/events_20210128.jsonl",): {"events": 10},
    ("ga4/events_20210128.parquet",): {"events": 10},
    ("segment/segment_s3.jsonl",): {"events": 12, "reviews": 1},
    ("reviews/judgeme_template.csv",): {"reviews": 1},
    ("reviews/judgeme_export.csv",): {"reviews": 2, "aliases": 1},
    ("reviews/yotpo_export.csv",): {"reviews": 1},
    ("reviews/okendo_export.csv",): {"reviews": 1},
    ("reviews/loox_import.csv",): {"reviews": 1},
    ("reviews/shopify_product_reviews.csv",): {"reviews": 1},
    ("reviews/google_product_reviews.xml",): {"reviews": 1},
    ("recbole/ml-100k.item",): {"catalog": 1682},
    ("retailrocket/events.csv", "retailrocket/item_properties_part1.csv", "retailrocket/category_tree.csv"): {
        "events": 6,
        "catalog": 7,
    },
    ("otto/train.jsonl",): {"events": 862},
    ("gorse/feedback_export.jsonl",): {"events": 3},
    ("gorse/items_export.jsonl",): {"catalog": 3},
    ("metarank/events.jsonl",): {"events": 5, "catalog": 1},
    ("traps/products_export.csv.zip",): {"catalog": 20, "aliases": 22},
}


def ingested(tmp_path: Path, *files: str, options: SourceOptions | None = None) -> Workspace:
    workspace = Workspace(tmp_path / "shop")
    paths = tuple(str(SAMPLES / file) for file in files)
    take(workspace, SourceSpec("auto", {"files": paths}, {}, {}, options or SourceOptions()))
    return workspace


@pytest.mark.parametrize("files", IN_LAKE, ids=lambda files: files[0])
def test_the_lake_holds_the_expected_rows(files: tuple[str, ...], tmp_path: Path) -> None:
    lake = Lake(ingested(tmp_path, *files).lake)
    counts = {table: lake.n_rows(table) for table in ("catalog", "events", "reviews", "aliases")}
    assert {table: n for table, n in counts.items() if n and table != "aliases"} == {
        table: n for table, n in IN_LAKE[files].items() if table != "aliases"
    }


def test_a_live_shops_products(tmp_path: Path) -> None:
    catalog = rows(ingested(tmp_path, "shopify/products_export_velofant.csv"), "catalog")
    assert (catalog["title"].count(), catalog["price"].count(), catalog["available"].sum()) == (14, 14, 12)


def test_orders_meet_the_products_by_sku_and_no_address_is_stored(tmp_path: Path) -> None:
    workspace = ingested(tmp_path, "shopify/product_template.csv", "traps/orders_of_template_shop.csv")
    items = set(rows(workspace, "catalog")["item_id"])
    events = rows(workspace, "events")
    assert set(events["item_id"]) <= items
    assert events["user_id"].str.starts_with("u_").sum() == 94
    assert all(b"@example.com" not in path.read_bytes() for path in workspace.root.rglob("*") if path.is_file())


def test_variations_of_woocommerce(tmp_path: Path) -> None:
    catalog = rows(ingested(tmp_path, "woocommerce/classic_commerce_sample_products.csv"), "catalog")
    prices = dict(catalog.select("title", "price").iter_rows())
    assert (prices["Hoodie"], prices["T-Shirt"], prices["Beanie"]) == (42.0, 25.0, 18.0)
    assert catalog["category"].null_count() == 0


def test_values_of_googles_specification(tmp_path: Path) -> None:
    catalog = rows(ingested(tmp_path, "google_feed/spec_values.tsv"), "catalog")
    values = {
        item: (price, available) for item, price, available in catalog["item_id", "price", "available"].iter_rows()
    }
    assert values == {"A-1": (12.0, True), "A-2": (15.0, False), "A-3": (1299.0, True)}


def test_the_words_of_ga4(tmp_path: Path) -> None:
    events = rows(ingested(tmp_path, "ga4/events_20210128.jsonl"), "events")
    expected = {"impression": 2, "click": 1, "view": 2, "search": 1, "cart": 1, "purchase": 2, "return": 1}
    assert Counter(events["event_type"]) == expected


def test_a_feed_of_tomorrow_that_lacks_a_third_is_refused_as_a_full_one(tmp_path: Path) -> None:
    workspace = ingested(tmp_path, "google_feed/m5zoon_en.tsv")
    content = (SAMPLES / "traps" / "feed_tomorrow.tsv").read_bytes()
    spec: Any = spec_of(tmp_path / "files", {"feed.tsv": content}, SourceOptions(full=True))
    with pytest.raises(Exception, match="more than a fifth"):
        take(workspace, spec)

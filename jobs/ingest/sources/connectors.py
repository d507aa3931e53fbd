"""All connectors, in the order in which they are tried on a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from jobs.ingest.persons import mask
from jobs.ingest.readers.data_file import DataFile, data_files
from jobs.ingest.readers.head import FileHead, read_head
from jobs.ingest.readers.paths import expand
from jobs.ingest.readers.raw import RawFile
from jobs.ingest.sources import (
    amazon,
    bigcommerce_products,
    ga4,
    gorse,
    hm,
    instacart,
    magento_products,
    magento_reviews,
    matomo,
    metarank,
    movielens,
    online_retail,
    order_json,
    personalize,
    prestashop_products,
    product_feed,
    recbole,
    retailrocket,
    review_feeds,
    reviews,
    segment,
    session_logs,
    shopify_orders,
    shopify_products,
    snowplow,
    woocommerce_products,
)
from jobs.ingest.sources.connector import Connector
from jobs.ingest.sources.own_layout import OWN_LAYOUT
from jobs.ingest.sources.spec import SourceSpec
from recsys.errors import DataError

CONNECTORS: Final[Sequence[Connector]] = (
    shopify_products.CONNECTOR,
    shopify_orders.CONNECTOR,
    order_json.SHOPIFY_CONNECTOR,
    woocommerce_products.CONNECTOR,
    order_json.WOOCOMMERCE_CONNECTOR,
    woocommerce_products.REVIEWS_CONNECTOR,
    magento_products.CONNECTOR,
    magento_reviews.CONNECTOR,
    prestashop_products.CONNECTOR,
    bigcommerce_products.CONNECTOR,
    product_feed.META_CONNECTOR,
    product_feed.GOOGLE_CONNECTOR,
    ga4.CONNECTOR,
    segment.RUDDERSTACK_CONNECTOR,
    segment.SEGMENT_CONNECTOR,
    snowplow.CONNECTOR,
    matomo.CONNECTOR,
    reviews.CONNECTOR,
    review_feeds.CONNECTOR,
    recbole.CONNECTOR,
    retailrocket.CONNECTOR,
    session_logs.YOOCHOOSE_CONNECTOR,
    session_logs.DIGINETICA_CONNECTOR,
    session_logs.OTTO_CONNECTOR,
    hm.CONNECTOR,
    instacart.CONNECTOR,
    online_retail.CONNECTOR,
    personalize.CONNECTOR,
    gorse.CONNECTOR,
    metarank.CONNECTOR,
    amazon.CONNECTOR,
    movielens.CONNECTOR,
    OWN_LAYOUT,
)
"""The first that recognises a file reads it."""

AUTO: Final = "auto"
"""The source that takes files of any format."""

PLATFORMS: Final = tuple(dict.fromkeys(connector.platform for connector in CONNECTORS if connector.platform))
"""The names under which formats can be ingested one by one: `recsys ingest PLATFORM FILE…`."""


def open_recognised(spec: SourceSpec) -> list[RawFile]:
    """Every file of `spec.paths["files"]`, read by the connector that recognises it; empty lists of JSON are no files.

    spec.source: a platform, or "auto" for any. Raises DataError for a file that no connector recognises, and as the
    readers do.
    """
    files = [member for path in expand(spec.paths["files"]) for member in data_files(path)]
    by_connector: dict[str, tuple[Connector, list[DataFile]]] = {}
    for file in files:
        head = read_head(file, columns=spec.options.columns)
        if head.kind == "json" and not head.columns:
            continue  # an API's answer without any object
        connector = recognise(head, spec.source)
        by_connector.setdefault(connector.label, (connector, []))[1].append(file)
    return [raw for connector, members in by_connector.values() for raw in connector.open_files(members, spec)]


def recognise(head: FileHead, platform: str = AUTO) -> Connector:
    """The connector for a file. Raises DataError where none recognises it, naming what the file has."""
    for connector in CONNECTORS:
        if platform in (AUTO, connector.platform) and connector.recognises(head):
            return connector
    shown = ", ".join(head.columns[:12]) + (", …" if len(head.columns) > 12 else "")
    has = f"the root element {head.root!r}" if head.kind == "xml" else f"the columns {mask(shown)}"
    if platform == AUTO:
        remedy = "name its columns with `recsys ingest table --map`, or see docs/ingest.md for the known formats"
        raise DataError(f"{head.file}: none of the known formats; it has {has}; {remedy}")
    other = next((c for c in CONNECTORS if c.recognises(head)), None)
    hint = f"it looks like {other.label}: use `recsys ingest {other.platform}`" if other else f"it has {has}"
    labels = ", ".join(connector.label for connector in CONNECTORS if connector.platform == platform)
    raise DataError(f"{head.file}: not one of {labels}; {hint}")


def by_platform() -> Mapping[str, tuple[str, ...]]:
    """Platform -> labels of its formats."""
    return {name: tuple(c.label for c in CONNECTORS if c.platform == name) for name in PLATFORMS}

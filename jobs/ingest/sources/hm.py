"""H&M's data set of the Kaggle competition: transactions by day, and articles.

Two equal lines are two pieces of one article: both count. The price is scaled by the publisher and kept as it is.

Source: https://www.kaggle.com/competitions/h-and-m-personalized-fashion-recommendations
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import FileHead
from jobs.ingest.readers.raw import RawFile
from jobs.ingest.sources.connector import Connector, has_columns, one_by_one
from jobs.ingest.sources.records import LeftOut, Record, Row, dict_rows, record_file
from jobs.ingest.sources.spec import SourceSpec

LABEL: Final = "H&M"

_CATEGORY: Final = ("index_group_name", "product_group_name", "product_type_name")
_ATTRIBUTES: Final = ("colour_group_name", "graphical_appearance_name", "garment_group_name", "section_name")


def recognises(head: FileHead) -> bool:
    transactions = has_columns(head, "t_dat", "customer_id", "article_id")
    articles = has_columns(head, "article_id", "product_code", "prod_name")
    return transactions or articles or has_columns(head, "customer_id", "club_member_status", "fashion_news_frequency")


def open_file(file: DataFile, spec: SourceSpec) -> RawFile:
    return record_file(file, "events", LABEL, lambda _: _records(file, spec))


CONNECTOR: Final = Connector("hm", LABEL, recognises, one_by_one(open_file))


def _records(file: DataFile, spec: SourceSpec) -> Iterator[Record]:
    day, lines = "", Counter[tuple[Any, ...]]()
    for record in dict_rows(file, spec, "events"):
        if not isinstance(record, tuple):
            yield record
            continue
        number, row = record
        if "t_dat" in row:
            if row["t_dat"] != day:
                day, lines = row["t_dat"], Counter()
            line = (row["customer_id"], row["article_id"], row.get("price"), row.get("sales_channel_id"))
            lines[line] += 1
            event = {"event_id": ":".join(map(str, ("hm", day, *line, lines[line]))), "user_id": row["customer_id"]}
            event |= {"item_id": row["article_id"], "event_type": "purchase", "timestamp": day}
            yield Row("events", number, event | {"value": row.get("price")})
        elif "article_id" in row:
            yield Row("catalog", number, _article(row))
        else:
            yield LeftOut("events", number, "shopper attributes")


def _article(row: dict[str, Any]) -> dict[str, Any]:
    attributes = {name.removesuffix("_name"): row[name] for name in _ATTRIBUTES if row.get(name)}
    return {
        "item_id": row["article_id"],
        "title": row["prod_name"],
        "description": row.get("detail_desc"),
        "category": " > ".join(str(row[name]) for name in _CATEGORY if row.get(name)) or None,
        "attributes": attributes | {"group": row["product_code"]},
    }

"""RetailRocket's data set: events, item properties that change in time, and the tree of categories.

Of each property of an item the newest value counts. The category is the path of category ids from the tree; property
names and values are hashed by the publisher and become attributes.

Source: https://www.kaggle.com/datasets/retailrocket/ecommerce-dataset
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

import polars as pl

from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import FileHead, read_head
from jobs.ingest.readers.raw import RawFile
from jobs.ingest.readers.rows import any_rows
from jobs.ingest.sources.connector import Connector, has_columns
from jobs.ingest.sources.records import LeftOut, Notes, Record, Row, dict_rows, record_file
from jobs.ingest.sources.spec import SourceSpec

LABEL: Final = "RetailRocket"

_TYPES: Final = {"view": "view", "addtocart": "cart", "transaction": "purchase"}
_PROPERTY: Final = ("itemid", "property", "value", "timestamp")


def _has_events(head: FileHead) -> bool:
    return has_columns(head, "timestamp", "visitorid", "event", "itemid")


def _has_properties(head: FileHead) -> bool:
    return has_columns(head, *_PROPERTY)


def _is_tree(head: FileHead) -> bool:
    return tuple(head.columns) == ("categoryid", "parentid")


def recognises(head: FileHead) -> bool:
    return _has_events(head) or _has_properties(head) or _is_tree(head)


def open_files(files: Sequence[DataFile], spec: SourceSpec) -> list[RawFile]:
    """Events one by one; all property files and the tree together are one catalogue."""
    heads = {file: read_head(file) for file in files}
    events = [file for file in files if _has_events(heads[file])]
    properties = [file for file in files if _has_properties(heads[file])]
    trees = [file for file in files if _is_tree(heads[file])]
    opened = [record_file(file, "events", LABEL, partial(_events, file, spec)) for file in events]
    if properties or trees:
        first, *others = [*properties, *trees]
        catalog = record_file(
            first, "catalog", LABEL, lambda notes: _catalog(properties, trees, notes), others=tuple(others)
        )
        opened.append(catalog)
    return opened


CONNECTOR: Final = Connector("retailrocket", LABEL, recognises, open_files)


def _events(file: DataFile, spec: SourceSpec, _: Notes) -> Iterator[Record]:
    for record in dict_rows(file, spec, "events"):
        if not isinstance(record, tuple):
            yield record
            continue
        number, row = record
        event_type = spec.options.mapped("events.event_type", row["event"] or "") or _TYPES.get(row["event"] or "")
        if event_type is None:
            yield LeftOut("events", number, row["event"] or "no event")
            continue
        event = {"user_id": row["visitorid"], "item_id": row["itemid"], "event_type": event_type}
        yield Row("events", number, event | {"timestamp": row["timestamp"]})


def _catalog(properties: Sequence[DataFile], trees: Sequence[DataFile], notes: Notes) -> Iterator[Row]:
    parents = _parents(trees)
    newest = _newest(properties)
    notes["properties"] += newest.height
    by_item = newest.sort("itemid", "property").group_by("itemid", maintain_order=True)
    for number, ((item_id,), rows) in enumerate(by_item, start=1):
        values = dict(rows.select("property", "value").iter_rows())
        category, available = values.pop("categoryid", None), values.pop("available", None)
        item = {"item_id": item_id, "category": _path(category, parents), "available": available}
        yield Row("catalog", number, item | {"attributes": values})


def _newest(files: Sequence[DataFile]) -> pl.DataFrame:
    """itemid, property, value: of each property of an item the newest value."""
    newest = pl.DataFrame(schema=dict.fromkeys(_PROPERTY, pl.String)).with_columns(pl.col("timestamp").cast(pl.Int64))
    for file in files:
        for batch in any_rows(file).batches(500_000):
            rows = batch.rows.select(*_PROPERTY[:3], pl.col("timestamp").cast(pl.Int64, strict=False))
            both = pl.concat([newest, rows]).sort("timestamp", maintain_order=True)
            newest = both.unique(["itemid", "property"], keep="last")
    return newest.drop("timestamp")


def _parents(trees: Sequence[DataFile]) -> dict[str, str]:
    """Category id -> the id of its parent; of a root "" or nothing."""
    parents: dict[str, str] = {}
    for file in trees:
        for batch in any_rows(file).batches(500_000):
            parents.update(batch.rows.select("categoryid", pl.col("parentid").fill_null("")).iter_rows())
    return parents


def _path(category: str | None, parents: dict[str, str]) -> str | None:
    """From the root to the category; a circle in the tree ends it."""
    path: list[str] = []
    while category and category not in path:
        path.insert(0, category)
        category = parents.get(category)
    return " > ".join(path) or None

"""Gorse's feedback and items in JSON lines, as its dashboard exports and imports them.

Feedback types are free words: known ones are taken, others left out by name (`--value events.event_type:WORD=type`).
Feedback of the year 1 has no time and is left out. Categories are a set, not a path; labels become attributes.

Source: https://gorse.io/docs/api/restful-api.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from jobs.ingest.column_aliases import plain_name
from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import FileHead
from jobs.ingest.readers.json_documents import read_objects
from jobs.ingest.readers.raw import BrokenRow, RawFile
from jobs.ingest.sources.connector import Connector, has_columns, one_by_one
from jobs.ingest.sources.event_words import STARS_WITHOUT_VALUE, event_type_of
from jobs.ingest.sources.records import LeftOut, Record, Row, record_file
from jobs.ingest.sources.spec import SourceSpec

LABEL: Final = "Gorse"

_NO_TIME: Final = "0001-01-01"


def recognises(head: FileHead) -> bool:
    feedback = has_columns(head, "FeedbackType", "UserId", "ItemId")
    return feedback or has_columns(head, "ItemId", "IsHidden") or has_columns(head, "UserId", "Labels")


def open_file(file: DataFile, spec: SourceSpec) -> RawFile:
    return record_file(file, "events", LABEL, lambda _: _records(file, spec))


CONNECTOR: Final = Connector("gorse", LABEL, recognises, one_by_one(open_file))


def _records(file: DataFile, spec: SourceSpec) -> Iterator[Record]:
    for number, entry in read_objects(file):
        if isinstance(entry, BrokenRow):
            yield entry
        elif "FeedbackType" in entry:
            yield _feedback(number, entry, spec)
        elif "ItemId" in entry:
            yield Row("catalog", number, _item(entry))
        else:
            yield LeftOut("events", number, "shopper attributes")


def _feedback(number: int, entry: dict[str, Any], spec: SourceSpec) -> Record:
    word, timestamp = str(entry["FeedbackType"]), str(entry.get("Timestamp") or "")
    event_type = event_type_of(word, spec.options)
    if event_type is None:
        return LeftOut("events", number, word)
    if not timestamp or timestamp.startswith(_NO_TIME):
        return LeftOut("events", number, "no time")
    value = entry.get("Value")
    if event_type == "rating":
        value = STARS_WITHOUT_VALUE.get(plain_name(word), value)
    row = {"user_id": entry.get("UserId"), "item_id": entry.get("ItemId"), "event_type": event_type}
    return Row("events", number, row | {"timestamp": timestamp, "value": value or None})


def _item(entry: dict[str, Any]) -> dict[str, Any]:
    categories = [str(name) for name in entry.get("Categories") or []]
    labels = entry.get("Labels")
    attributes = dict(labels) if isinstance(labels, dict) else {"labels": labels} if labels else {}
    title = next((attributes.pop(name) for name in ("title", "name") if isinstance(attributes.get(name), str)), None)
    return {
        "item_id": entry.get("ItemId"),
        "title": title or entry.get("Comment"),
        "category": categories[0] if categories else None,
        "available": not entry.get("IsHidden"),
        "attributes": attributes | {"categories": categories},
    }

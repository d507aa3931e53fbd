"""Metarank's event files: items, rankings and interactions in one stream of JSON.

A ranking gives an impression for each item, with its position, and a search where it has a query. Interaction types are
free words (`--value events.event_type:WORD=type`). Events of users are left out.

Source: https://docs.metarank.ai/reference/event-schema
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import FileHead
from jobs.ingest.readers.json_documents import read_objects
from jobs.ingest.readers.raw import BrokenRow, RawFile
from jobs.ingest.sources.connector import Connector, one_by_one
from jobs.ingest.sources.event_words import event_type_of
from jobs.ingest.sources.records import LeftOut, Record, Row, record_file
from jobs.ingest.sources.spec import SourceSpec

LABEL: Final = "Metarank events"

_KINDS: Final = frozenset({"item", "user", "ranking", "interaction"})
_CATALOG: Final = frozenset({"title", "description", "category", "brand", "price", "available"})


def recognises(head: FileHead) -> bool:
    if head.kind != "json" or not {"event", "id", "timestamp"} <= set(head.columns):
        return False
    return all(row.get("event") in _KINDS for row in head.rows)


def open_file(file: DataFile, spec: SourceSpec) -> RawFile:
    return record_file(file, "events", LABEL, lambda _: _records(file, spec))


CONNECTOR: Final = Connector("metarank", LABEL, recognises, one_by_one(open_file))


def _records(file: DataFile, spec: SourceSpec) -> Iterator[Record]:
    for number, entry in read_objects(file):
        if isinstance(entry, BrokenRow):
            yield entry
            continue
        match entry.get("event"):
            case "item":
                yield Row("catalog", number, _item(entry))
            case "ranking":
                yield from (Row("events", number, event) for event in _ranking(entry))
            case "interaction":
                yield _interaction(number, entry, spec)
            case kind:
                yield LeftOut("events", number, str(kind))


def _fields(entry: dict[str, Any]) -> dict[str, Any]:
    fields = entry.get("fields")
    listed = fields if isinstance(fields, list) else []
    return {str(field.get("name")): field.get("value") for field in listed if isinstance(field, dict)}


def _item(entry: dict[str, Any]) -> dict[str, Any]:
    fields = _fields(entry)
    row = {name: value for name, value in fields.items() if name in _CATALOG}
    attributes = {name: value for name, value in fields.items() if name not in _CATALOG}
    return {"item_id": entry.get("item"), "attributes": attributes} | row


def _common(entry: dict[str, Any]) -> dict[str, Any]:
    return {"user_id": entry.get("user"), "session_id": entry.get("session"), "timestamp": entry.get("timestamp")}


def _ranking(entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    common, ranking_id = _common(entry), entry.get("id")
    items = entry.get("items")
    for position, item in enumerate(items if isinstance(items, list) else []):
        event = {"event_id": f"{ranking_id}:{position}", "item_id": item.get("id"), "event_type": "impression"}
        yield common | event | {"position": position, "recommendation_id": ranking_id}
    query = _fields(entry).get("query")
    if isinstance(query, str) and query.strip():
        yield common | {"event_id": f"{ranking_id}:query", "event_type": "search", "text": query}


def _interaction(number: int, entry: dict[str, Any], spec: SourceSpec) -> Record:
    word = str(entry.get("type"))
    event_type = event_type_of(word, spec.options)
    if event_type is None:
        return LeftOut("events", number, word)
    event = {"event_id": entry.get("id"), "item_id": entry.get("item"), "event_type": event_type}
    return Row("events", number, _common(entry) | event | {"recommendation_id": entry.get("ranking")})

"""RecBole's atomic files: tab separated, `name:type` headers, sequences separated by spaces.

`.inter` gives ratings (views, where it has none), `.item` products: a title, a class or genre list, and every other
column as an attribute. `.user` and other files are left out.

Source: https://recbole.io/docs/user_guide/data/atomic_files.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import FileHead
from jobs.ingest.readers.raw import RawFile
from jobs.ingest.sources.connector import Connector, one_by_one
from jobs.ingest.sources.event_words import event_type_of
from jobs.ingest.sources.records import LeftOut, Record, Row, dict_rows, record_file
from jobs.ingest.sources.spec import SourceSpec

LABEL: Final = "RecBole atomic file"

_TYPES: Final = frozenset({"token", "token_seq", "float", "float_seq"})
_TITLES: Final = ("title", "name")
_CATEGORIES: Final = ("category", "categories", "class", "genre", "genres")


def recognises(head: FileHead) -> bool:
    types = [column.rpartition(":")[2] for column in head.columns]
    return bool(types) and all(":" in column for column in head.columns) and _TYPES.issuperset(types)


def open_atomic(file: DataFile, spec: SourceSpec) -> RawFile:
    table = "catalog" if file.name.endswith(".item") else "events"
    return record_file(file, table, LABEL, lambda _: _records(file, spec, table))


CONNECTOR: Final = Connector("recbole", LABEL, recognises, one_by_one(open_atomic))


def _records(file: DataFile, spec: SourceSpec, table: str) -> Iterator[Record]:
    for record in dict_rows(file, spec, table):
        if not isinstance(record, tuple):
            yield record
            continue
        number, row = record
        values = {name.rpartition(":")[0]: (text, name.rpartition(":")[2]) for name, text in row.items()}
        if "user_id" in values and "item_id" in values:
            yield _event(number, {name: text for name, (text, _) in values.items()}, spec)
        elif "item_id" in values:
            yield Row("catalog", number, _item(values))
        else:
            yield LeftOut(table, number, "shopper attributes" if "user_id" in values else "other file")


def _event(number: int, values: dict[str, Any], spec: SourceSpec) -> Record:
    rating = values.get("rating")
    event_type = "view" if rating in (None, "") else "rating"
    word = values.get("event_type") or values.get("behavior") or values.get("behavior_type")
    if word:
        known = event_type_of(word, spec.options)
        if known is None:
            return LeftOut("events", number, word)
        event_type = known
    row = {"user_id": values["user_id"], "item_id": values["item_id"], "event_type": event_type}
    row |= {"timestamp": values.get("timestamp"), "session_id": values.get("session_id")}
    return Row("events", number, row | ({"value": rating} if event_type == "rating" else {}))


def _item(values: dict[str, tuple[Any, str]]) -> dict[str, Any]:
    row: dict[str, Any] = {"item_id": values["item_id"][0]}
    attributes: dict[str, Any] = {}
    for name, (text, kind) in values.items():
        if name == "item_id" or text in (None, ""):
            continue
        if "title" not in row and any(word in name for word in _TITLES):
            row["title"] = text
        elif name in ("price", "brand", "description"):
            row[name] = text
        elif name in _CATEGORIES:
            attributes[name] = str(text).split()
            row.setdefault("category", attributes[name][0])
        else:
            attributes[name] = str(text).split() if kind.endswith("_seq") else text
    return row | {"attributes": attributes}

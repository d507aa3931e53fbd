"""Amazon Personalize's CSV files: interactions, items, users and actions, with upper-case names.

EVENT_TYPE is a free word: known ones are taken, others need `--value events.event_type:WORD=type`. Without it a row is
a rating where it has RATING, else a view. Lists are separated by `|`. Users and actions are left out.

Source: https://docs.aws.amazon.com/personalize/latest/dg/interactions-datasets.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import FileHead, read_head
from jobs.ingest.readers.raw import RawFile
from jobs.ingest.sources.connector import Connector, one_by_one
from jobs.ingest.sources.event_words import event_type_of
from jobs.ingest.sources.records import LeftOut, Record, Row, dict_rows, record_file
from jobs.ingest.sources.spec import SourceSpec

LABEL: Final = "Amazon Personalize (CSV)"

_TITLES: Final = ("TITLE", "NAME", "ITEM_NAME", "PRODUCT_NAME")
_DESCRIPTIONS: Final = ("PRODUCT_DESCRIPTION", "DESCRIPTION")
_LEVELS: Final = ("CATEGORY_L1", "CATEGORY_L2", "CATEGORY_L3", "CATEGORY_L4", "CATEGORY_L5")
_OWN_COLUMNS: Final = frozenset({"ITEM_ID", "PRICE", "BRAND", *_TITLES, *_DESCRIPTIONS, *_LEVELS})


def recognises(head: FileHead) -> bool:
    upper = all(column == column.upper() for column in head.columns)
    return upper and bool({"ITEM_ID", "USER_ID"} & set(head.columns))


def open_file(file: DataFile, spec: SourceSpec) -> RawFile:
    is_items = "USER_ID" not in read_head(file, columns=spec.options.columns).columns
    return record_file(file, "catalog" if is_items else "events", LABEL, lambda _: _records(file, spec))


CONNECTOR: Final = Connector("personalize", LABEL, recognises, one_by_one(open_file))


def _records(file: DataFile, spec: SourceSpec) -> Iterator[Record]:
    for record in dict_rows(file, spec, "events"):
        if not isinstance(record, tuple):
            yield record
            continue
        number, row = record
        if "USER_ID" not in row:
            yield Row("catalog", number, _item(row))
        elif "ITEM_ID" not in row:
            yield LeftOut("events", number, "shopper attributes")
        else:
            yield _interaction(number, row, spec)


def _interaction(number: int, row: dict[str, Any], spec: SourceSpec) -> Record:
    word, rating = row.get("EVENT_TYPE") or "", row.get("RATING")
    event_type = event_type_of(word, spec.options) if word else "view" if rating in (None, "") else "rating"
    if event_type is None:
        return LeftOut("events", number, word)
    value = rating if event_type == "rating" and rating else row.get("EVENT_VALUE")
    event = {"user_id": row["USER_ID"], "item_id": row["ITEM_ID"], "event_type": event_type, "value": value}
    return Row("events", number, event | {"timestamp": row.get("TIMESTAMP")})


def _item(row: dict[str, Any]) -> dict[str, Any]:
    def first(names: tuple[str, ...]) -> Any:
        return next((row[name] for name in names if row.get(name)), None)

    levels = [str(row[name]).split("|")[0] for name in _LEVELS if row.get(name)]
    genres = str(row.get("GENRES") or "").split("|")
    attributes = {
        name.lower(): text.split("|") if "|" in text else text
        for name, text in ((name, str(text or "")) for name, text in row.items())
        if text and name not in _OWN_COLUMNS
    }
    return {
        "item_id": row["ITEM_ID"],
        "title": first(_TITLES),
        "description": first(_DESCRIPTIONS),
        "brand": row.get("BRAND"),
        "price": row.get("PRICE"),
        "category": " > ".join(levels) or genres[0] or None,
        "attributes": attributes,
    }

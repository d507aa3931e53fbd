"""Click logs of shop sessions that were published for challenges: Yoochoose, Diginetica and OTTO.

The shopper is the session: none of them knows a shopper across sessions (Diginetica does for some; `NA` for most).

Source: https://www.kaggle.com/datasets/chadgostopp/recsys-challenge-2015,
https://competitions.codalab.org/competitions/11161, https://github.com/otto-de/recsys-dataset
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import FileHead
from jobs.ingest.readers.json_documents import read_objects
from jobs.ingest.readers.raw import BrokenRow, RawFile
from jobs.ingest.sources.connector import Connector, has_columns, one_by_one
from jobs.ingest.sources.records import LeftOut, Notes, Record, Row, dict_rows, record_file
from jobs.ingest.sources.scalars import amount
from jobs.ingest.sources.spec import SourceSpec

YOOCHOOSE: Final = "Yoochoose clicks or buys"
DIGINETICA: Final = "Diginetica"
OTTO: Final = "OTTO sessions"

_CLICKS: Final = ("session", "time", "item", "category")
_BUYS: Final = ("session", "time", "item", "price", "quantity")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_OTTO_TYPES: Final = {"clicks": "click", "carts": "cart", "orders": "purchase"}


def is_yoochoose(head: FileHead) -> bool:
    cells = head.columns  # without a header, the first line is taken for one
    if tuple(cells) in (_CLICKS, _BUYS):
        return True
    has_shape = len(cells) in (4, 5) and cells[0].isdigit() and cells[2].isdigit()
    return has_shape and _TIME.fullmatch(cells[1]) is not None


def is_diginetica(head: FileHead) -> bool:
    views = has_columns(head, "sessionId", "userId", "itemId", "eventdate")
    products = has_columns(head, "itemId", "pricelog2") or tuple(head.columns) == ("itemId", "categoryId")
    return views or products or has_columns(head, "queryId", "sessionId", "searchstring.tokens")


def is_otto(head: FileHead) -> bool:
    return head.kind == "json" and set(head.columns) == {"session", "events"}


def open_yoochoose(file: DataFile, spec: SourceSpec) -> RawFile:
    return record_file(file, "events", YOOCHOOSE, lambda _: _yoochoose(file, spec))


def open_diginetica(file: DataFile, spec: SourceSpec) -> RawFile:
    return record_file(file, "events", DIGINETICA, lambda _: _diginetica(file, spec))


def open_otto(file: DataFile, _: SourceSpec) -> RawFile:
    return record_file(file, "events", OTTO, lambda notes: _otto(file, notes))


YOOCHOOSE_CONNECTOR: Final = Connector("yoochoose", YOOCHOOSE, is_yoochoose, one_by_one(open_yoochoose))
DIGINETICA_CONNECTOR: Final = Connector("diginetica", DIGINETICA, is_diginetica, one_by_one(open_diginetica))
OTTO_CONNECTOR: Final = Connector("otto", OTTO, is_otto, one_by_one(open_otto))


def _yoochoose(file: DataFile, spec: SourceSpec) -> Iterator[Record]:
    with file.open() as content:
        n_cells = content.readline().count(b",") + 1
    for record in dict_rows(file, spec, "events", _BUYS if n_cells == len(_BUYS) else _CLICKS):
        if not isinstance(record, tuple):
            yield record
            continue
        number, row = record
        event: dict[str, Any] = {"user_id": row["session"], "session_id": row["session"], "item_id": row["item"]}
        event |= {"timestamp": row["time"], "event_type": "view"}
        if "quantity" in row:
            price, quantity = amount(row["price"] or ""), amount(row["quantity"] or "")
            value = price * quantity if price and quantity else None  # 0 where the data set does not tell
            event |= {"event_type": "purchase", "value": value}
        yield Row("events", number, event)


def _diginetica(file: DataFile, spec: SourceSpec) -> Iterator[Record]:
    for record in dict_rows(file, spec, "events"):
        if not isinstance(record, tuple):
            yield record
            continue
        number, row = record
        if "pricelog2" in row:
            price = amount(row["pricelog2"] or "")
            tokens = (row.get("product.name.tokens") or "").replace(",", " ").split()
            item = {"item_id": row["itemId"], "price": None if price is None else round(2**price, 2)}
            yield Row("catalog", number, item | {"attributes": {"name_tokens": tokens}})
        elif "sessionId" not in row:
            yield Row("catalog", number, {"item_id": row["itemId"], "category": row["categoryId"]})
        elif "itemId" not in row:
            yield LeftOut("events", number, "search of hashed words")
        else:
            day = datetime.fromisoformat(row["eventdate"]).replace(tzinfo=UTC)
            at = day + timedelta(milliseconds=amount(row["timeframe"] or "") or 0.0)
            event_type = "purchase" if "ordernumber" in row else "view"
            event: dict[str, Any] = {
                "user_id": row["sessionId"],
                "session_id": row["sessionId"],
                "item_id": row["itemId"],
            }
            yield Row("events", number, event | {"event_type": event_type, "timestamp": at.isoformat()})


def _otto(file: DataFile, notes: Notes) -> Iterator[Record]:
    for record in read_objects(file):
        number, session = record
        if isinstance(session, BrokenRow):
            yield session
            continue
        notes["sessions"] += 1
        yield from map(partial(_otto_event, number, str(session.get("session"))), *_numbered(session.get("events")))


def _numbered(events: Any) -> tuple[range, list[dict[str, Any]]]:
    listed = [event for event in events if isinstance(event, dict)] if isinstance(events, list) else []
    return range(len(listed)), listed


def _otto_event(number: int, session: str, position: int, event: dict[str, Any]) -> Record:
    event_type = _OTTO_TYPES.get(str(event.get("type")))
    if event_type is None:
        return LeftOut("events", number, str(event.get("type")))
    row: dict[str, Any] = {"event_id": f"otto:{session}:{position}", "user_id": session, "session_id": session}
    row |= {"item_id": event.get("aid"), "timestamp": event.get("ts"), "event_type": event_type}
    return Row("events", number, row)

"""Review apps' CSV exports and templates: Judge.me, Yotpo, Okendo, Loox, Stamped, Shopify Product Reviews and alike.

One connector for all, by the meaning of the header. The item is the handle, else the product's id or SKU. The e-mail
address is the shopper's id (stored as a keyed hash); a review without one gets an id of its own. Reviews that the shop
does not show (spam, unpublished, pending) are left out. Names, places and addresses are never read.

Source: https://help.judge.me/en/articles/8236291, https://support.yotpo.com/docs/exporting-your-reviews
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any, Final

from jobs.ingest.column_aliases import plain_name
from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import FileHead
from jobs.ingest.readers.raw import RawFile
from jobs.ingest.sources.aliases import Aliases
from jobs.ingest.sources.connector import ByName, Connector, one_by_one
from jobs.ingest.sources.records import LeftOut, Notes, Record, Row, dict_rows, record_file
from jobs.ingest.sources.spec import SourceSpec

LABEL: Final = "reviews of a review app (CSV)"

_HANDLE: Final = ("product_handle", "handle", "product handle")
_PRODUCT_ID: Final = ("product_id", "product.id", "external product id", "shopify product id", "sku", "product sku")
_RATING: Final = ("rating", "review score", "score", "stars", "review rating", "star rating")
_TITLE: Final = ("title", "review title", "headline", "review headline")
_TEXT: Final = (
    "body",
    "review content",
    "review body",
    "content",
    "review text",
    "review",
    "review message",
    "message",
)
_DATE: Final = (
    "review_date",
    "date_created_gmt",
    "date",
    "created_at",
    "dateCreated",
    "date created",
    "submitted at",
    "review created at",
)
_EMAIL: Final = ("reviewer_email", "reviewer.email", "email", "customer email", "author email", "e-mail")
_NAME: Final = ("reviewer_name", "reviewer.name", "author", "display name", "name", "nickname", "customer name")
_ID: Final = ("reviewId", "review_id", "review id", "id")
_STATUS: Final = ("curated", "state", "status", "review status", "published", "moderation status", "visibility")
_NOT_SHOWN: Final = frozenset(
    ("spam", "unpublished", "pending", "rejected", "hidden", "disabled", "archived", "deleted", "false", "no", "0")
)
_DAY_FIRST: Final = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})")


def recognises(head: FileHead) -> bool:
    names = {plain_name(column) for column in head.columns}
    fields = (_RATING, _TEXT, _DATE, (*_HANDLE, *_PRODUCT_ID))
    has_person = bool(names & {plain_name(name) for name in (*_EMAIL, *_NAME)})
    return has_person and all(names & {plain_name(name) for name in field} for field in fields)


def open_reviews(file: DataFile, spec: SourceSpec, label: str = LABEL) -> RawFile:
    return record_file(file, "reviews", label, lambda notes: _records(file, spec, notes))


CONNECTOR: Final = Connector("reviews", LABEL, recognises, one_by_one(open_reviews))


def _records(file: DataFile, spec: SourceSpec, notes: Notes) -> Iterator[Record]:
    aliases = Aliases()
    value, number = ByName(), 0
    for record in dict_rows(file, spec, "reviews"):
        if not isinstance(record, tuple):
            yield record
            continue
        number, row = record
        value.at(row)
        status = value(*_STATUS).casefold()
        if status in _NOT_SHOWN:
            yield LeftOut("reviews", number, f"{status} review" if status.isalpha() else "unpublished review")
            continue
        handle, product_id = value(*_HANDLE), value(*_PRODUCT_ID)
        if handle and product_id:
            aliases.add(product_id, handle)
        yield Row("reviews", number, _review(value, handle or product_id, notes))
    yield from aliases.rows(notes, number)


def _review(value: ByName, item_id: str, notes: Notes) -> dict[str, Any]:
    date = _iso(value(*_DATE), value)
    user_id = value(*_EMAIL).lower()
    if not user_id:
        notes["reviews without an e-mail address"] += 1
        user_id = reviewer_id(value(*_NAME), date, item_id)
    return {
        "review_id": value(*_ID) or None,
        "user_id": user_id,
        "item_id": item_id,
        "rating": value(*_RATING),
        "title": value(*_TITLE),
        "text": value(*_TEXT),
        "timestamp": date,
    }


def _iso(date: str, value: ByName) -> str:
    """Judge.me writes some dates as dd/mm/yyyy; of other apps the order is decided over the whole file."""
    match = _DAY_FIRST.fullmatch(date) if value("review_date") else None
    return f"{match[3]}-{match[2]:0>2}-{match[1]:0>2}" if match else date


def reviewer_id(name: str, date: str, item_id: str) -> str:
    """The id of a reviewer of whom only a name is known: equal names of different reviews are not one shopper."""
    digest = hashlib.blake2b("\x1f".join((name, date, item_id)).encode(), digest_size=10).hexdigest()
    return f"reviewer:{digest}"

"""Magento's reviews as a table: SKU, rating, title, text, nickname.

They have no dates: `--set reviews.timestamp=2024-05-01` dates them all, and without it they are refused. A nickname is
not the id of a shopper: each review gets an id of its own.

Source: https://github.com/magento/magento2-sample-data (layout)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import FileHead
from jobs.ingest.readers.raw import RawFile
from jobs.ingest.sources.connector import ByName, Connector, has_columns, one_by_one
from jobs.ingest.sources.records import Notes, Record, Row, dict_rows, record_file
from jobs.ingest.sources.reviews import reviewer_id
from jobs.ingest.sources.spec import SourceSpec
from recsys.errors import DataError

LABEL: Final = "Magento reviews (CSV)"

_DATE: Final = ("created_at", "date")


def recognises(head: FileHead) -> bool:
    return has_columns(head, "sku", "rating_value", "review")


def open_reviews(file: DataFile, spec: SourceSpec) -> RawFile:
    """Raises DataError, while it is read, for reviews without a date."""
    return record_file(file, "reviews", LABEL, lambda notes: _records(file, spec, notes))


CONNECTOR: Final = Connector("magento", LABEL, recognises, one_by_one(open_reviews))


def _records(file: DataFile, spec: SourceSpec, notes: Notes) -> Iterator[Record]:
    has_date = "reviews.timestamp" in spec.constants
    for record in dict_rows(file, spec, "reviews"):
        if not isinstance(record, tuple):
            yield record
            continue
        number, row = record
        value = ByName().at(row)
        date = value(*_DATE)
        if not (date or has_date):
            raise DataError(
                f"{file}: reviews without dates; give one for all with --set reviews.timestamp=2024-05-01, "
                "or add a column created_at"
            )
        notes["reviews without a shopper id"] += 1
        name, text = value("reviewer", "nickname"), value("review", "detail")
        review = {"user_id": reviewer_id(name, text, value("sku")), "item_id": value("sku"), "timestamp": date}
        review |= {"rating": value("rating_value"), "title": value("title"), "text": text}
        yield Row("reviews", number, {name: text for name, text in review.items() if text})

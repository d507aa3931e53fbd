"""Review feeds in XML: Google's product reviews feed, and Bazaarvoice's standard client feed.

The item is the SKU, else GTIN, MPN or ASIN. Ratings are brought from the feed's own range to 1 to 5 stars.

Source: https://developers.google.com/product-review-feeds/schema,
https://knowledge.bazaarvoice.com/wp-content/conversations/en_US/Collect/ratings_and_reviews_export.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import FileHead
from jobs.ingest.readers.raw import RawFile
from jobs.ingest.readers.xml_documents import local_name, read_elements
from jobs.ingest.sources.connector import Connector, one_by_one
from jobs.ingest.sources.records import LeftOut, Notes, Record, Row, record_file
from jobs.ingest.sources.reviews import reviewer_id
from jobs.ingest.sources.spec import SourceSpec

LABEL: Final = "review feed (XML)"

_GOOGLE: Final = "review"
_BAZAARVOICE: Final = "Product"
_IDS: Final = ("sku", "gtin", "mpn", "asin")


def recognises(head: FileHead) -> bool:
    if head.kind != "xml" or head.root.casefold() != "feed":
        return False
    for _, element in read_elements(head.file, (_GOOGLE, _BAZAARVOICE)):
        return bool(_texts(element, "ratings") or _children(element, "Reviews") or _texts(element, "ExternalId"))
    return False


def open_feed(file: DataFile, _: SourceSpec) -> RawFile:
    return record_file(file, "reviews", LABEL, lambda notes: _records(file, notes))


CONNECTOR: Final = Connector("reviews", LABEL, recognises, one_by_one(open_feed))


def _records(file: DataFile, notes: Notes) -> Iterator[Record]:
    reader = read_elements(file, (_GOOGLE, _BAZAARVOICE))
    number = 0
    for _, element in reader:
        if local_name(element) == _GOOGLE:
            number += 1
            yield Row("reviews", number, _google_review(element))
            continue
        for review in (review for group in _children(element, "Reviews") for review in _children(group, "Review")):
            number += 1
            yield _bazaarvoice_review(review, element, number)
    notes["bare & repaired"] += reader.n_repaired


def _google_review(review: Any) -> dict[str, Any]:
    ids = [text for name in _IDS for text in _texts(review, name)]
    item_id = ids[0] if ids else None
    overall = next(iter(_descendants(review, "overall")), None)
    timestamp, review_id = _text(review, "review_timestamp"), _text(review, "review_id")
    return {
        "review_id": review_id or None,
        "user_id": _text(review, "reviewer_id") or reviewer_id(review_id, timestamp, item_id or ""),
        "item_id": item_id,
        "rating": None if overall is None else _stars(overall.text, overall.get("min", "1"), overall.get("max", "5")),
        "title": _text(review, "title"),
        "text": _text(review, "content"),
        "timestamp": timestamp,
    }


def _bazaarvoice_review(review: Any, product: Any, number: int) -> Record:
    status = _text(review, "ModerationStatus").casefold()
    if status not in ("", "approved"):
        return LeftOut("reviews", number, f"{status} review")
    item_id = _text(product, "ExternalId") or product.get("id")
    profile = next(iter(_descendants(review, "UserProfileReference")), None)
    user_id = "" if profile is None else _text(profile, "ExternalId") or profile.get("id", "")
    timestamp = _text(review, "SubmissionTime") or _text(review, "OriginalPublishDate")
    values = {
        "review_id": review.get("id"),
        "user_id": user_id or reviewer_id(review.get("id") or "", timestamp, item_id or ""),
        "item_id": item_id,
        "rating": _stars(_text(review, "Rating"), "1", _text(review, "RatingRange") or "5"),
        "title": _text(review, "Title"),
        "text": _text(review, "ReviewText"),
        "timestamp": timestamp,
    }
    return Row("reviews", number, values)


def _stars(rating: str | None, low: str, high: str) -> float | str | None:
    """A rating between `low` and `high` as 1 to 5 stars; the text itself where it is no number."""
    try:
        value, lowest, highest = float(rating or ""), float(low), float(high)
    except ValueError:
        return rating
    return value if (lowest, highest) == (1.0, 5.0) else 1 + (value - lowest) * 4 / (highest - lowest)


def _children(element: Any, name: str) -> list[Any]:
    return [child for child in element if local_name(child) == name]


def _descendants(element: Any, name: str) -> list[Any]:
    return [child for child in element.iter() if isinstance(child.tag, str) and local_name(child) == name]


def _texts(element: Any, name: str) -> list[str]:
    """The texts of all descendants of this name; " " for one that has children only."""
    return [(child.text or "").strip() or " " for child in _descendants(element, name)]


def _text(element: Any, name: str) -> str:
    return next((text.strip() for text in _texts(element, name)), "")

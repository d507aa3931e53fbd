"""`recsys ingest amazon`: the review and metadata files of the Amazon releases of 2014, 2018 and 2023.

All are lines of JSON, except that the metadata of 2014 are Python literals. The release is recognised by the keys of
each line: `reviewerID` and `asin` (2014, 2018), `user_id` and `parent_asin` (2023). In 2023 the product is the parent
(reviews of its variants count for it), in the older releases the ASIN.

Sources: https://jmcauley.ucsd.edu/data/amazon/ (2014), https://nijianmo.github.io/amazon/ (2018),
https://amazon-reviews-2023.github.io/ (2023).
"""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from jobs.ingest.readers.data_file import DataFile, data_files
from jobs.ingest.readers.head import FileHead
from jobs.ingest.readers.json_documents import Line, open_rows, parse_json
from jobs.ingest.readers.paths import expand
from jobs.ingest.readers.raw import RawFile
from jobs.ingest.sources.connector import Connector
from jobs.ingest.sources.spec import SourceSpec
from recsys.errors import DataError

LABEL: Final = "Amazon reviews data set"

_REVIEW_KEYS: Final = ("user_id", "item_id", "rating", "title", "text", "timestamp")
_PRICE: Final = re.compile(r"\d[\d,]*(?:\.\d+)?")


def open_amazon(spec: SourceSpec) -> list[RawFile]:
    """The files of `spec.paths["reviews"]` and `spec.paths["catalog"]`.

    Raises DataError for a file whose lines are not of any of the three releases.
    """
    files = {
        table: [file for path in expand(spec.paths.get(table, ())) for file in data_files(path)]
        for table in ("reviews", "catalog")
    }
    return [_open_reviews(file) for file in files["reviews"]] + [_open_metadata(file) for file in files["catalog"]]


def recognises(head: FileHead) -> bool:
    return head.kind == "json" and (_is_reviews(head.columns) or _is_metadata(head.columns))


def open_recognised(files: Sequence[DataFile], _: SourceSpec) -> list[RawFile]:
    """Reviews and metadata, told by their keys."""
    return [_open_reviews(file) if _is_reviews(open_rows(file).columns) else _open_metadata(file) for file in files]


CONNECTOR: Final = Connector("", LABEL, recognises, open_recognised)


def _is_reviews(keys: Iterable[str]) -> bool:
    return {"reviewerID", "asin", "overall"} <= set(keys) or {"user_id", "asin", "rating"} <= set(keys)


def _is_metadata(keys: Iterable[str]) -> bool:
    return {"parent_asin", "title"} <= set(keys) or {"asin", "title", "description"} <= set(keys)


def _open_reviews(file: DataFile) -> RawFile:
    keys = open_rows(file).columns
    if not _is_reviews(keys):
        raise DataError(
            f"{file}: not an Amazon review file; it has {', '.join(keys[:8])}, expected reviewerID, "
            "asin, overall (2014, 2018) or user_id, rating, timestamp (2023); others go through `recsys ingest table`"
        )
    rows = open_rows(file, convert=review)
    return RawFile("reviews", file.path, rows.columns, rows.batches, (file.path,), format=LABEL)


def _open_metadata(file: DataFile) -> RawFile:
    keys = open_rows(file, parse=parse_metadata).columns
    if not {"asin", "parent_asin"} & set(keys) or "reviewerID" in keys:
        raise DataError(
            f"{file}: not an Amazon metadata file; it has {', '.join(keys[:8])}, expected asin (2014, 2018) or "
            "parent_asin (2023); others go through `recsys ingest table`"
        )
    rows = open_rows(file, parse=parse_metadata, convert=product)
    return RawFile("catalog", file.path, rows.columns, rows.batches, (file.path,), format=LABEL)


def parse_metadata(line: bytes) -> Line | None:
    """The object of one line, JSON or a Python literal; None where it is neither."""
    parsed = parse_json(line)
    if parsed is not None:
        return parsed
    try:
        value = ast.literal_eval(line.decode("utf-8").strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return value if isinstance(value, dict) else None


def review(line: Line) -> Line:
    """One review in our column names; a key that the line lacks becomes null."""
    if "reviewerID" in line:
        keys = ("reviewerID", "asin", "overall", "summary", "reviewText", "unixReviewTime")
        values = [line.get(key) for key in keys]
    else:
        item = line.get("parent_asin") or line.get("asin")
        timestamp = line.get("timestamp") or line.get("sort_timestamp")
        values = [line.get("user_id"), item, *(line.get(key) for key in ("rating", "title", "text")), timestamp]
    row = dict(zip(_REVIEW_KEYS, values, strict=True))
    return {**row, "title": _clean(row["title"]), "text": _clean(row["text"])}


def product(line: Line) -> Line:
    """One product in our column names: the features follow the description, the details become attributes."""
    texts = [*_texts(line.get("description")), *_texts(line.get("features") or line.get("feature"))]
    details = line.get("details")
    return {
        "item_id": line.get("parent_asin") or line.get("asin"),
        "title": _clean(line.get("title")),
        "description": _clean(" ".join(texts)),
        "category": _unescaped(line.get("categories") or line.get("category") or line.get("main_category")),
        "brand": _clean(line.get("brand") or line.get("store")),
        "price": _price(line.get("price")),
        "attributes": details if isinstance(details, dict) else None,
    }


def _clean(text: Any) -> str | None:
    """Text without HTML entities and tags (`<br />` is in many descriptions)."""
    if not isinstance(text, str):
        return None
    return re.sub(r"<[a-zA-Z/][^<>]{0,200}>", " ", html.unescape(text)).strip() or None


def _unescaped(value: Any) -> Any:
    if isinstance(value, list):
        return [_unescaped(part) for part in value]
    return html.unescape(value) if isinstance(value, str) else value


def _texts(value: Any) -> list[str]:
    parts = value if isinstance(value, list) else [value]
    return [part.strip() for part in parts if isinstance(part, str) and part.strip()]


def _price(value: Any) -> float | None:
    """The amount, the lower end of a range; None for the page code that stands in some price fields of 2018."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = _PRICE.search(value) if isinstance(value, str) and len(value) < 40 else None
    return float(match.group().replace(",", "")) if match else None

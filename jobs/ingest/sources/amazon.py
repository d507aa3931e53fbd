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
from pathlib import Path
from typing import Any, Final

from jobs.ingest.sources.files import Line, RawFile, expand, open_json_lines, parse_json, require_content
from jobs.ingest.sources.spec import SourceSpec
from recsys.errors import DataError

_REVIEW_KEYS: Final = ("user_id", "item_id", "rating", "title", "text", "timestamp")
_PRICE: Final = re.compile(r"\d[\d,]*(?:\.\d+)?")


def open_amazon(spec: SourceSpec) -> list[RawFile]:
    """The files of `spec.paths["reviews"]` and `spec.paths["catalog"]`.

    Raises DataError for a file whose lines are not of any of the three releases.
    """
    files = [_open_reviews(path) for path in expand(spec.paths.get("reviews", ()))]
    return files + [_open_metadata(path) for path in expand(spec.paths.get("catalog", ()))]


def _open_reviews(path: Path) -> RawFile:
    require_content(path)
    seen = open_json_lines("reviews", path).columns
    if not ({"reviewerID", "asin", "overall"} <= set(seen) or {"user_id", "rating", "timestamp"} <= set(seen)):
        raise DataError(
            f"{path}: not an Amazon review file; it has {', '.join(seen[:8])}, expected reviewerID, "
            "asin, overall (2014, 2018) or user_id, rating, timestamp (2023); others go through `recsys ingest table`"
        )
    return open_json_lines("reviews", path, convert=review)


def _open_metadata(path: Path) -> RawFile:
    require_content(path)
    seen = open_json_lines("catalog", path, parse=parse_metadata).columns
    if not {"asin", "parent_asin"} & set(seen) or "reviewerID" in seen:
        raise DataError(
            f"{path}: not an Amazon metadata file; it has {', '.join(seen[:8])}, expected asin (2014, 2018) or "
            "parent_asin (2023); others go through `recsys ingest table`"
        )
    return open_json_lines("catalog", path, parse=parse_metadata, convert=product)


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
        values = [line.get("user_id"), item, *(line.get(key) for key in ("rating", "title", "text", "timestamp"))]
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

"""Google Analytics 4 as BigQuery exports it: a row an event, JSON lines or Parquet, with items and parameters nested.

Each item of an event is an event of ours; searches have none. Words that are not about products (page views, scrolls)
are left out by name. The shopper is `user_id`, else the browser's `user_pseudo_id`, which becomes the `user_id` that it
logs in with anywhere in the file (`--user pseudo` and `--user login` take one of them alone). The id of an event does
not depend on the file, so that days that arrive again, or as both forms, change nothing.

Source: https://support.google.com/analytics/answer/7029846
"""

from __future__ import annotations

import io
import re
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Final

import polars as pl

from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import FileHead, kind_of
from jobs.ingest.readers.json_documents import dump_json, list_prefix, parse_json, read_objects
from jobs.ingest.readers.parquet import open_rows
from jobs.ingest.readers.raw import MAX_STORED_CHARS, BrokenRow, RawBatch, RawFile
from jobs.ingest.sources.connector import Connector, one_by_one
from jobs.ingest.sources.records import COLUMNS, OTHER_ID
from jobs.ingest.sources.spec import SourceOptions, SourceSpec

LABEL: Final = "GA4 export"

_TYPES: Final = {
    "view_item": "view",
    "select_item": "click",
    "view_item_list": "impression",
    "add_to_cart": "cart",
    "purchase": "purchase",
    "refund": "return",
    "view_search_results": "search",
    "search": "search",
}
_CATEGORIES: Final = ("item_category", *(f"item_category{level}" for level in (2, 3, 4, 5)))
_ITEM: Final = ("item_id", "item_name", "item_brand", *_CATEGORIES, "price", "quantity", "item_list_index")
_EVENT: Final = ("event_name", "event_timestamp", "user_id", "user_pseudo_id")
_SCHEMA: Final = {
    **dict.fromkeys(_EVENT, pl.String()),
    "event_params": pl.List(
        pl.Struct({"key": pl.String, "value": pl.Struct({"string_value": pl.String, "int_value": pl.String})})
    ),
    "items": pl.List(pl.Struct(dict.fromkeys(_ITEM, pl.String))),
}
_COLUMNS: Final = tuple(_SCHEMA)

BLOCK_BYTES: Final = 4 << 20
FRAME_LINES: Final = 5_000
"""Lines of JSON that are parsed at once."""
FRAMES_AHEAD: Final = 1
FRAME_ROWS: Final = 20_000
"""Rows of Parquet that are read at once."""

_NOT_SET: Final = ("(not set)", "")
_LINE_ENDS: Final = (b"}\n", b"}\r\n", b"}")
_NAME: Final = re.compile(rb'"event_name"\s*:\s*"([^"\\]*)"')
_LOGIN: Final = re.compile(rb'"user_id"\s*:\s*"([^"\\]+)"')
_BROWSER: Final = re.compile(rb'"user_pseudo_id"\s*:\s*"([^"\\]+)"')


def recognises(head: FileHead) -> bool:
    return {"event_name", "event_timestamp", "user_pseudo_id", "items"} <= set(head.columns)


def open_export(file: DataFile, spec: SourceSpec) -> RawFile:
    """One file of the export."""

    logins = cache(lambda: _logins(file, kind_of(file) == "parquet") if spec.options.user == "any" else {})

    def batches(batch_rows: int) -> Iterator[RawBatch]:
        is_parquet = kind_of(file) == "parquet"
        words = {**_TYPES, **spec.options.values.get("events.event_type", {})}
        frames = _parquet_frames(file, batch_rows, words) if is_parquet else _json_frames(file, words)
        for flat, broken, left_out in frames:
            yield from _batches(flat, broken, left_out, words, logins(), spec.options)

    return RawFile("events", file.path, COLUMNS["events"], batches, (file.path,), format=LABEL)


CONNECTOR: Final = Connector("ga4", LABEL, recognises, one_by_one(open_export))

_Frame = tuple[pl.DataFrame, tuple[BrokenRow, ...], Counter[str]]
"""Flat rows, lines that cannot be read, and how many events were left out by name."""


def _json_frames(file: DataFile, words: Collection[str]) -> Iterator[_Frame]:
    """Frames of the events whose name is one of `words`; of the others only the name is read.

    Lines are parsed in a second thread while this one collects the next and the caller works on the last.
    """
    with ThreadPoolExecutor(1) as parser:
        parsing: deque[Future[_Frame]] = deque()
        for lines, numbers, left_out in _chosen_lines(file, words):
            parsing.append(parser.submit(_json_frame, lines, numbers, left_out))
            if len(parsing) > FRAMES_AHEAD:
                yield parsing.popleft().result()
        while parsing:
            yield parsing.popleft().result()


def _chosen_lines(file: DataFile, words: Collection[str]) -> Iterator[tuple[list[bytes], list[int], Counter[str]]]:
    """Lines of events whose names are known, their numbers, and how many others were passed, by name."""
    others: Counter[bytes] = Counter()
    lines: list[bytes] = []
    numbers: list[int] = []
    known: set[bytes] = set()
    find_name = _NAME.search
    for number, line in _lines(file):
        match = find_name(line)
        name = match[1] if match else b""
        if name in others and line.endswith(_LINE_ENDS):
            others[name] += 1
            continue
        if name and name not in known and line.rstrip().endswith(b"}"):
            if name.decode().lower() not in words:
                others[name] += 1
                continue
            known.add(name)
        if not name and not line.strip():
            continue
        lines.append(line if line.endswith(b"\n") else line + b"\n")
        numbers.append(number)
        if len(lines) >= FRAME_LINES:
            yield lines, numbers, _decoded(others)
            lines, numbers = [], []
            others = Counter(dict.fromkeys(others, 0))
    yield lines, numbers, _decoded(others)


def _decoded(counts: Counter[bytes]) -> Counter[str]:
    return Counter({name.decode(): n for name, n in counts.items() if n})


def _lines(file: DataFile) -> Iterator[tuple[int, bytes]]:
    """Numbered lines; a list of objects is written as lines again."""
    if list_prefix(file) is None:
        with file.open() as content:
            yield from enumerate(content, start=1)
    else:
        for number, entry in read_objects(file):
            yield number, entry.text.encode() if isinstance(entry, BrokenRow) else dump_json(entry)


def _json_frame(lines: list[bytes], numbers: list[int], left_out: Counter[str]) -> _Frame:
    broken: tuple[BrokenRow, ...] = ()
    try:
        rows = pl.read_ndjson(io.BytesIO(b"".join(lines)), schema=_SCHEMA) if lines else pl.DataFrame(schema=_SCHEMA)
    except pl.exceptions.ComputeError:
        parsed = [parse_json(line) for line in lines]
        broken = tuple(
            BrokenRow(number, "json", line.decode("utf-8", "replace").strip()[:MAX_STORED_CHARS])
            for number, line, entry in zip(numbers, lines, parsed, strict=True)
            if entry is None
        )
        numbers = [number for number, entry in zip(numbers, parsed, strict=True) if entry is not None]
        good = b"".join(dump_json(entry) + b"\n" for entry in parsed if entry is not None)
        rows = pl.read_ndjson(io.BytesIO(good), schema=_SCHEMA) if good else pl.DataFrame(schema=_SCHEMA)
    return _flattened(rows.with_columns(pl.Series("number", numbers, dtype=pl.Int64))), broken, left_out


def _parquet_frames(file: DataFile, batch_rows: int, words: Collection[str]) -> Iterator[_Frame]:
    for batch in open_rows(file, columns=_COLUMNS).batches(min(batch_rows, FRAME_ROWS)):
        rows = batch.rows.with_columns(batch.numbers.alias("number"), pl.col("event_name").cast(pl.String))
        is_known = rows["event_name"].str.to_lowercase().is_in(list(words))
        names = rows["event_name"].filter(~is_known).fill_null("no event name").value_counts()
        yield _flattened(rows.filter(is_known)), (), Counter(dict(names.iter_rows()))


def _flattened(rows: pl.DataFrame) -> pl.DataFrame:
    """An item of an event a row; an event without items has one row, in which the item is null."""
    events = rows.select(
        "number",
        *(pl.col(name).cast(pl.String) for name in _EVENT),
        _parameter(rows, "ga_session_id", "int_value").alias("session"),
        _parameter(rows, "search_term", "string_value").alias("term"),
        pl.col("items").alias("item"),
    )
    listed = events.with_columns(pl.int_ranges(pl.col("item").list.len()).alias("index"))
    exploded = listed.explode("item", "index", empty_as_null=True)
    dtype = rows.schema["items"]
    inner = dtype.inner if isinstance(dtype, pl.List) else None
    fields = {field.name for field in inner.fields} if isinstance(inner, pl.Struct) else set()
    item = [
        pl.col("item").struct.field(name).cast(pl.String) if name in fields else pl.lit(None, pl.String).alias(name)
        for name in _ITEM
    ]
    return exploded.select("number", *_EVENT, "session", "term", pl.col("index").cast(pl.Int64), *item)


def _parameter(rows: pl.DataFrame, key: str, kind: str) -> pl.Expr:
    """The value of one event parameter; null where it is not given."""
    if "event_params" not in rows.columns:
        return pl.lit(None, pl.String)
    element = pl.element()
    matching = element.struct.field("value").struct.field(kind).filter(element.struct.field("key") == key)
    return pl.col("event_params").list.eval(matching).list.first().cast(pl.String)


def _logins(file: DataFile, is_parquet: bool) -> dict[str, str]:
    """Browser id -> the id that it last logged in with."""
    if is_parquet:
        known = pl.DataFrame(schema={"user_pseudo_id": pl.String, "user_id": pl.String})
        for batch in open_rows(file, columns=("user_pseudo_id", "user_id")).batches(200_000):
            rows = batch.rows.select(pl.col("user_pseudo_id", "user_id").cast(pl.String)).drop_nulls()
            known = pl.concat([known, rows]).unique("user_pseudo_id", keep="last", maintain_order=True)
        return dict(known.iter_rows())
    logins = {}
    for line in _logged_in_lines(file):
        login, browser = _LOGIN.search(line), _BROWSER.search(line)
        if login and browser:
            logins[browser[1].decode()] = login[1].decode()
    return logins


def _logged_in_lines(file: DataFile) -> Iterator[bytes]:
    """The lines that have a user id. They are few, so they are searched for in whole blocks."""
    if list_prefix(file) is not None:
        yield from (line for _, line in _lines(file))
        return
    with file.open() as content:
        while block := content.read(BLOCK_BYTES):
            block += content.readline()
            for beginning in (b'"user_id":"', b'"user_id": "'):
                place = block.find(beginning)
                while place >= 0:
                    end = block.find(b"\n", place)
                    end = len(block) if end < 0 else end
                    yield block[block.rfind(b"\n", 0, place) + 1 : end]
                    place = block.find(beginning, end)


def _batches(
    flat: pl.DataFrame,
    broken: tuple[BrokenRow, ...],
    left_out: Counter[str],
    words: Mapping[str, str],
    logins: Mapping[str, str],
    options: SourceOptions,
) -> Iterator[RawBatch]:
    """The events of a frame and, where they are asked for, the products in them."""
    flat = flat.with_columns(pl.col(*_EVENT, "session", "term", *_ITEM).replace(list(_NOT_SET), None))
    typed = flat.with_columns(_event_type(words).alias("event_type"), _user(options, logins).alias("user"))
    reasons = (
        pl.when(pl.col("event_type").is_null())
        .then(pl.col("event_name").fill_null("no event name"))
        .when(pl.col("user").is_null())
        .then(pl.lit("no shopper id"))
        .when((pl.col("event_type") != "search") & pl.col("item_id").is_null())
        .then(pl.lit("no item id"))
        .when((pl.col("event_type") == "search") & pl.col("term").is_null())
        .then(pl.lit("search without words"))
    )
    typed = typed.with_columns(reasons.alias("reason"))
    unfit = typed.filter(pl.col("reason").is_not_null()).unique(["number", "reason"])
    left_out.update(dict(unfit.group_by("reason").len().iter_rows()))
    taken = typed.filter(pl.col("reason").is_null())
    searches = taken.filter(pl.col("event_type") == "search").unique("number", maintain_order=True)
    taken = pl.concat([taken.filter(pl.col("event_type") != "search"), searches]).sort("number", maintain_order=True)
    yield RawBatch(_events(taken), taken["number"], broken, dict(left_out.most_common()), "events")
    if options.catalog_from_items:
        items = taken.filter(pl.col("item_id").is_not_null() & (pl.col("event_type") != "search"))
        items = items.unique("item_id", keep="last", maintain_order=True)
        yield RawBatch(_catalog(items), items["number"], table="catalog")


def _event_type(words: Mapping[str, str]) -> pl.Expr:
    return pl.col("event_name").str.to_lowercase().replace_strict(words, default=None).replace("", None)


def _user(options: SourceOptions, logins: Mapping[str, str]) -> pl.Expr:
    if options.user == "login":
        return pl.col("user_id")
    browser = pl.col("user_pseudo_id")
    if options.user == "pseudo":
        return browser
    return pl.coalesce("user_id", browser.replace(logins) if logins else browser)


def _events(taken: pl.DataFrame) -> pl.DataFrame:
    is_search = pl.col("event_type") == "search"
    browser = pl.coalesce("user_pseudo_id", "user_id")
    item = pl.when(~is_search).then("item_id")
    price, quantity = pl.col("price").cast(pl.Float64, strict=False), pl.col("quantity").cast(pl.Float64, strict=False)
    event_key = (browser, "event_timestamp", "event_name")
    place = pl.col("index").cast(pl.String).fill_null("")
    has_value = pl.col("event_type").is_in(["cart", "purchase", "return"])
    variant = pl.col("item_id").str.extract(r"^shopify_[A-Za-z]{2}_\d+_(\d+)$")
    return taken.select(
        pl.concat_str([*event_key, place, item.fill_null("")], separator=":").alias("event_id"),
        pl.col("user").alias("user_id"),
        item.alias("item_id"),
        "event_type",
        pl.col("event_timestamp").alias("timestamp"),
        pl.when(pl.col("session").is_not_null()).then(pl.format("{}:{}", browser, "session")).alias("session_id"),
        pl.when(is_search).then("term").alias("text"),
        pl.when(has_value).then(price * quantity.fill_null(1)).alias("value"),
        pl.when(pl.col("event_type") == "impression").then("item_list_index").alias("position"),
        variant.alias(OTHER_ID),
    )


def _catalog(items: pl.DataFrame) -> pl.DataFrame:
    return items.select(
        "item_id",
        pl.col("item_name").alias("title"),
        pl.concat_str(_CATEGORIES, separator=" > ", ignore_nulls=True).replace("", None).alias("category"),
        pl.col("item_brand").alias("brand"),
        "price",
    )

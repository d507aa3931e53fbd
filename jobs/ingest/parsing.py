"""Parses the values of a shop's files into values of our tables: `"$1,299.00"` a price, 1393545600 a time, 17.0 the id
17. How shops write values is in `recsys/values`.

Only the format changes here; the schemas of `recsys/tables.py` define which values are allowed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Final

import polars as pl

from features.text.cleaning import clean
from features.text.item_values import attributes_of_text, lines, one_line
from jobs.lake.lake import TABLES
from recsys.values.availability import is_negated, parse_flags
from recsys.values.categories import parse_categories, parsed_list
from recsys.values.event_types import event_type_of
from recsys.values.ids import id_faults, id_texts
from recsys.values.letters import all_composed
from recsys.values.prices import parse_prices
from recsys.values.times import DateOrder, in_zone, means_no_time, parse_times

ID_COLUMNS: Final = frozenset(
    {"event_id", "review_id", "user_id", "item_id", "alias", "session_id", "recommendation_id"}
)
REQUIRED_IDS: Final = frozenset({"user_id", "item_id", "alias"})
"""A row in which such an id is given, but is none, is bad; of the other ids it is then null."""

PRICES: Final = frozenset({"price", "value"})

IDENTITY: Final[Mapping[str, tuple[str, ...]]] = {
    "events": ("user_id", "item_id", "event_type", "timestamp", "text", "value", "session_id"),
    "reviews": ("user_id", "item_id", "timestamp", "rating", "title", "text"),
}
"""Columns that identify a row where the source gives it no id."""

EMPTY_WORDS: Final = ("", "nan", "null", "none", "na", "n/a", "undefined", "(not set)")
"""In a column of numbers, times or flags these mean a missing value."""


def cast_rows(
    table: str,
    raw: pl.DataFrame,
    columns: Mapping[str, str],
    constants: Mapping[str, str],
    date_order: DateOrder | None = None,
    timezone: str = "",
) -> pl.DataFrame:
    """`raw` as rows of `table`, one for one, plus `unreadable`: "price|dtype, …" for values that cannot be parsed.

    columns: our column -> the column of `raw`. constants: our column -> a fixed value. A column in neither is null;
    a missing event_id or review_id is derived from `IDENTITY`. date_order: of dates such as 3/4/2024; where it is None,
    those are unreadable that do not show the order themselves. timezone: of times without an offset, "" for UTC.
    Rules in `unreadable`: `COLUMN|dtype`, for ids also `COLUMN|not_an_id` and `COLUMN|excel_number`.
    """
    layout = TABLES[table]
    result: dict[str, pl.Series] = {}
    broken: dict[str, pl.Series] = {}
    for name, dtype in layout.polars_schema().items():
        if name in constants:
            source = pl.Series(name, [constants[name]] * raw.height, dtype=pl.String)
        elif name in columns:
            source = as_scalars(raw[columns[name]])
        else:
            result[name] = pl.Series(name, [None] * raw.height, dtype=dtype)
            continue
        if name in ID_COLUMNS:
            result[name], faults = _ids(source)
            if name in REQUIRED_IDS:
                broken[name] = faults
            continue
        result[name] = _cast(name, dtype, source, columns.get(name, name), date_order)
        if timezone and isinstance(dtype, pl.Datetime):
            result[name] = in_zone(source, result[name], timezone)
        if dtype != pl.String:
            lost = result[name].is_null() & _is_given(source) & ~means_no_time(source)
            broken[name] = pl.select(pl.when(lost).then(pl.lit("dtype"))).to_series()
    rows = pl.DataFrame(result, height=raw.height)
    if table == "events" and "item_id" in broken:  # a search needs no item
        needs_item = (rows["event_type"] != "search").fill_null(value=True)
        broken["item_id"] = pl.select(pl.when(needs_item).then(broken["item_id"])).to_series()
    if table in IDENTITY and rows[layout.key].has_nulls():
        rows = rows.with_columns(pl.col(layout.key).fill_null(_derived_ids(rows, IDENTITY[table])))
    rows = rows.with_columns(_without_markup(rows[name], read) for name, read in MARKUP.get(table, {}).items())
    return rows.with_columns(_unreadable(broken))


def _unreadable(broken: Mapping[str, pl.Series]) -> pl.Expr:
    """`COLUMN|rule, …` of each row; broken: column -> the rule that its value breaks, null where it breaks none."""
    rules = [f"{name}|" + faults for name, faults in broken.items() if faults.null_count() < len(faults)]
    text = pl.concat_str([pl.lit(rule) for rule in rules], separator=", ", ignore_nulls=True) if rules else pl.lit("")
    return text.alias("unreadable")


def as_scalars(series: pl.Series) -> pl.Series:
    """The series with lists and structs as JSON text; categories, bytes and decimals as their values."""
    dtype = series.dtype
    if dtype.is_nested():
        wrapped = series.alias("v").to_frame().select(pl.struct("v").struct.json_encode()).to_series()
        text = wrapped.str.strip_prefix('{"v":').str.strip_suffix("}")
        return text.to_frame("t").select(pl.when(pl.col("t") != "null").then("t")).to_series()
    if dtype in (pl.Categorical, pl.Enum, pl.Null):
        return series.cast(pl.String)
    if dtype == pl.Binary:
        return series.cast(pl.String, strict=False)
    return series.cast(pl.Float64) if dtype.is_decimal() else series


def _is_given(series: pl.Series) -> pl.Series:
    """Whether each value is present: false for null, NaN, and the empty words."""
    if series.dtype == pl.String:
        return ~series.str.strip_chars().str.to_lowercase().is_in(list(EMPTY_WORDS)).fill_null(True)
    if series.dtype.is_float():
        return (series.is_not_null() & series.is_not_nan()).fill_null(False)
    return series.is_not_null()


def _cast(name: str, dtype: pl.DataType, series: pl.Series, source_name: str, order: DateOrder | None) -> pl.Series:
    if name == "category":
        return parse_categories(_as_text(series), clean)
    if name == "attributes":
        return pl.Series(name, [attributes_of_text(text, source_name) for text in _as_text(series)], dtype=pl.String)
    if dtype == pl.String:
        return _mapped(_as_text(series), r"^\[", _sentence)
    if dtype == pl.Boolean:
        return parse_flags(series, negated=is_negated(source_name))
    if isinstance(dtype, pl.Enum):
        return _event_types(_as_text(series), dtype)
    if isinstance(dtype, pl.Datetime):
        return parse_times(series, order)
    amounts = parse_prices(series) if name in PRICES else numbers(series)
    if dtype.is_integer():
        whole = pl.when(amounts == amounts.round(0)).then(amounts)
        return pl.select(whole).to_series().cast(dtype, strict=False)
    return amounts.cast(dtype)


def _as_text(series: pl.Series) -> pl.Series:
    """Text without spaces around it and in NFC, null where nothing is left."""
    text = all_composed(series.cast(pl.String).str.strip_chars())
    return text.to_frame("t").select(pl.when(pl.col("t") != "").then("t")).to_series()


def _event_types(words: pl.Series, dtype: pl.Enum) -> pl.Series:
    distinct = words.drop_nulls().unique()
    known = {word: event_type for word in distinct if (event_type := event_type_of(word))}
    return (
        words.replace_strict(known, default=None, return_dtype=pl.String).cast(dtype)
        if known
        else (pl.Series(words.name, [None] * len(words), dtype=dtype))
    )


def _ids(series: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Ids as text, null where the value is none, and why it is none."""
    texts = id_texts(series)
    faults = id_faults(texts)
    return pl.select(pl.when(faults.is_null()).then(texts)).to_series(), faults


def numbers(series: pl.Series) -> pl.Series:
    """Finite numbers, in text with a dot or a comma before the decimals. Null where there is none."""
    if series.dtype == pl.String:
        text = series.str.strip_chars()
        plain = text.cast(pl.Float64, strict=False)
        series = plain.fill_null(text.str.replace(r"^(-?[0-9]+),([0-9]+)$", "${1}.${2}").cast(pl.Float64, strict=False))
    frame = series.cast(pl.Float64, strict=False).to_frame("number")
    return frame.select(pl.when(pl.col("number").is_finite()).then("number")).to_series()


def _mapped(texts: pl.Series, pattern: str, read: Callable[[str], str | None]) -> pl.Series:
    """The texts with those replaced that match `pattern`; the others cost no Python."""
    matching = texts.str.contains(pattern).fill_null(value=False)
    if not matching.any():
        return texts
    cleaned = pl.Series([read(text) for text in texts.filter(matching)], dtype=pl.String)
    return texts.scatter(matching.arg_true(), cleaned)


MARKUP: Final[Mapping[str, Mapping[str, Callable[[str], str | None]]]] = {
    "catalog": {"title": one_line, "brand": one_line, "description": lines},
    "reviews": {"title": one_line, "text": lines},
}
"""Columns whose HTML becomes text; `category` is cleaned step by step."""


_MARKUP: Final = r"[<&]|\s\s|[\x00-\x1f\x7f-\x{a0}\x{ad}\x{200b}\x{feff}]"
"""What is not plain: tags, entities, double spaces, characters that cannot be seen."""


def _without_markup(texts: pl.Series, read: Callable[[str], str | None]) -> pl.Series:
    return _mapped(texts, _MARKUP, read)


def _sentence(text: str) -> str | None:
    """A list of sentences joined, any other text as it is."""
    value = parsed_list(text)
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        return text
    return " ".join(part.strip() for part in value if part.strip()) or None


def _derived_ids(rows: pl.DataFrame, columns: tuple[str, ...]) -> pl.Series:
    """A hash of the columns that identify a row, 32 hex characters."""
    texts = [pl.col(name).to_physical() if name == "timestamp" else pl.col(name) for name in columns]
    joined = pl.concat_str([text.cast(pl.String).fill_null("\x1e") for text in texts], separator="\x1f")
    hashes = [hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in rows.select(joined).to_series()]
    return pl.Series("id", hashes, dtype=pl.String)

"""Parses the values of a shop's files into values of our tables: `"$1,299.00"` a price, 1393545600 a time, 17.0 the id
17.

Only the format changes here; the schemas of `recsys/tables.py` define which values are allowed.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from jobs.lake.lake import TABLES

ID_COLUMNS: Final = frozenset({"event_id", "review_id", "user_id", "item_id", "session_id", "recommendation_id"})

IDENTITY: Final[Mapping[str, tuple[str, ...]]] = {
    "events": ("user_id", "item_id", "event_type", "timestamp", "text", "value", "session_id"),
    "reviews": ("user_id", "item_id", "timestamp", "rating", "title", "text"),
}
"""Columns that identify a row where the source gives it no id."""

EMPTY_WORDS: Final = ("", "nan", "null", "none", "na", "n/a")
"""In a column of numbers, times or flags these mean a missing value."""

TRUE_WORDS: Final = ("true", "1", "1.0", "yes", "y", "in stock", "available")
FALSE_WORDS: Final = ("false", "0", "0.0", "no", "n", "out of stock", "unavailable")

TIME_FORMATS: Final = (
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d",
    "%Y%m%d",
)
"""ISO 8601 with a space for the T; without an offset a time is UTC."""

_VALUE: Final = pl.col("value")


def cast_rows(table: str, raw: pl.DataFrame, columns: Mapping[str, str], constants: Mapping[str, str]) -> pl.DataFrame:
    """`raw` as rows of `table`, one for one, plus `unreadable`: "price|dtype, …" for values that cannot be parsed.

    columns: our column -> the column of `raw`. constants: our column -> a fixed value. A column in neither is null;
    `available` is then true, and a missing event_id or review_id is derived from `IDENTITY`.
    """
    layout = TABLES[table]
    result: dict[str, pl.Series] = {}
    unreadable: list[pl.Series] = []
    for name, dtype in layout.polars_schema().items():
        if name in constants:
            source = pl.Series(name, [constants[name]] * raw.height, dtype=pl.String)
        elif name in columns:
            source = _plain(raw[columns[name]])
        else:
            result[name] = pl.Series(name, [None] * raw.height, dtype=dtype)
            continue
        result[name] = _cast(name, dtype, source, columns.get(name, name))
        if dtype != pl.String:
            lost = result[name].is_null() & _is_given(source)
            if lost.any():
                rule = pl.when(lost).then(pl.lit(f"{name}|dtype"))
                unreadable.append(pl.select(rule).to_series().alias(name))
    rows = pl.DataFrame(result, height=raw.height)
    if "available" in rows.columns:
        rows = rows.with_columns(pl.col("available").fill_null(True))
    if table in IDENTITY:
        rows = rows.with_columns(pl.col(layout.key).fill_null(_derived_ids(rows, IDENTITY[table])))
    broken = pl.concat_str(unreadable, separator=", ", ignore_nulls=True) if unreadable else pl.lit("")
    return rows.with_columns(broken.alias("unreadable"))


def _plain(series: pl.Series) -> pl.Series:
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


def _cast(name: str, dtype: pl.DataType, series: pl.Series, source_name: str) -> pl.Series:
    if name == "category":
        return pl.Series(name, [category_path(text) for text in _as_text(series)], dtype=pl.String)
    if name == "attributes":
        return pl.Series(name, [attributes(text, source_name) for text in _as_text(series)], dtype=pl.String)
    if name in ID_COLUMNS:
        return _ids(series)
    if dtype == pl.String:
        return pl.Series(name, [_sentence(text) for text in _as_text(series)], dtype=pl.String)
    if dtype == pl.Boolean:
        words = _as_text(series).str.to_lowercase()
        flags = pl.when(words.is_in(list(TRUE_WORDS))).then(True).when(words.is_in(list(FALSE_WORDS))).then(False)
        return pl.select(flags).to_series()
    if isinstance(dtype, pl.Enum):
        return _as_text(series).str.to_lowercase().cast(dtype, strict=False)
    if isinstance(dtype, pl.Datetime):
        return _times(series)
    numbers = _numbers(series)
    if dtype.is_integer():
        whole = pl.when(numbers == numbers.round(0)).then(numbers)
        return pl.select(whole).to_series().cast(dtype, strict=False)
    return numbers.cast(dtype)


def _as_text(series: pl.Series) -> pl.Series:
    """Text without spaces around it, null where nothing is left."""
    text = series.cast(pl.String).str.strip_chars().to_frame("t")
    return text.select(pl.when(pl.col("t") != "").then("t")).to_series()


def _ids(series: pl.Series) -> pl.Series:
    """Ids as text. A whole number written with a fraction (`17.0`: a column with gaps, saved by a data frame library)
    is the number."""
    if series.dtype.is_float():
        number = pl.col("value")
        whole = pl.when(number == number.round(0)).then(number.cast(pl.Int64, strict=False).cast(pl.String))
        series = series.fill_nan(None).to_frame("value").select(whole.otherwise(number.cast(pl.String))).to_series()
    return _as_text(series).str.replace(r"^(\d+)\.0$", "${1}")


def _numbers(series: pl.Series) -> pl.Series:
    """Finite numbers; text may carry a currency, and commas or dots between thousands. Null where there is none."""
    if series.dtype == pl.String:
        frame = series.str.strip_chars().to_frame("value")
        plain = _VALUE.cast(pl.Float64, strict=False)
        amount = _VALUE.str.extract(r"^(?:[^\d\s.,+-]{1,4}\s?)?(-?\d[\d.,\s']*)(?:\s?[^\d\s.,+-]{1,4})?$")
        amount = amount.str.replace_all(r"[\s']", "")
        decimal_comma = amount.str.contains(r",\d{1,2}$") | amount.str.contains(r"\.\d{3},")
        decimal_comma &= ~amount.str.contains(r",.*\.\d*$")
        swapped = amount.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
        dropped = amount.str.replace_all(",", "", literal=True)
        dropped = (
            pl.when(dropped.str.count_matches(".", literal=True) > 1)
            .then(dropped.str.replace_all(".", "", literal=True))
            .otherwise(dropped)
        )
        read = pl.when(decimal_comma).then(swapped).otherwise(dropped).cast(pl.Float64, strict=False)
        series = frame.select(plain.fill_null(read)).to_series()
    numbers = series.cast(pl.Float64, strict=False).to_frame("value")
    return numbers.select(pl.when(_VALUE.is_finite()).then("value")).to_series()


def _times(series: pl.Series) -> pl.Series:
    """Times in UTC, µs. Naive times are UTC; numbers are seconds, ms, µs or ns since 1970, depending on their size."""
    frame, dtype = series.to_frame("value"), series.dtype
    if dtype == pl.Date:
        return frame.select(_VALUE.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")).to_series()
    if isinstance(dtype, pl.Datetime):
        zoned = _VALUE.dt.replace_time_zone("UTC") if dtype.time_zone is None else _VALUE.dt.convert_time_zone("UTC")
        return frame.select(zoned.dt.cast_time_unit("us")).to_series()
    if dtype.is_numeric():
        return frame.select(_epoch(_VALUE)).to_series()
    text = _VALUE.cast(pl.String).str.strip_chars()
    is_number = text.str.contains(r"^-?\d+(\.\d+)?$") & ~text.str.contains(r"^(19|20)\d{6}$")
    number = pl.when(is_number).then(text)
    written = text.str.replace(r"^(\d{4}-\d\d-\d\d)[Tt]", "${1} ").str.replace("[Zz]$", "+00:00")
    written = pl.when(~is_number).then(written.str.replace(r" ([+-]\d\d:?\d\d)$", "${1}"))
    read = [written.str.to_datetime(TIME_FORMATS[0], time_unit="us", time_zone="UTC", strict=False)]
    for form in TIME_FORMATS[1:]:
        naive = written.str.to_datetime(form, time_unit="us", strict=False)
        read.append(naive.dt.replace_time_zone("UTC"))
    whole = number.cast(pl.Int64, strict=False)
    fraction = number.cast(pl.Float64, strict=False)
    return frame.select(pl.coalesce(_epoch(whole), _epoch(fraction), *read)).to_series()


def _epoch(number: pl.Expr) -> pl.Expr:
    """Below 1e11 seconds (until the year 5138), below 1e14 ms, below 1e17 µs, else ns."""
    size = number.abs()
    micros = (
        pl.when(size < 10**11)
        .then(number * 10**6)
        .when(size < 10**14)
        .then(number * 10**3)
        .when(size < 10**17)
        .then(number)
        .otherwise(number // 10**3)
    )
    return micros.cast(pl.Int64, strict=False).cast(pl.Datetime("us", "UTC"))


def category_path(text: str | None) -> str | None:
    """`["Home", "Lamps"]` -> `Home > Lamps`; of several paths the longest, of equally long ones the first."""
    value = _parsed(text)
    if value is None:
        return None
    paths = value if isinstance(value, list) and any(isinstance(path, list) for path in value) else [value]
    return max((_joined(path) for path in paths), key=lambda parts: len(parts.split(" > ")), default="") or None


def _joined(path: Any) -> str:
    parts = path if isinstance(path, list) else [path]
    steps = [step.strip() for part in parts if part is not None for step in str(part).split(">")]
    return " > ".join(step for step in steps if step)


def attributes(text: str | None, source_name: str) -> str | None:
    """A JSON object with sorted keys and without nulls; anything but an object is stored under the source's name."""
    value = _parsed(text)
    if value is None:
        return None
    tree = value if isinstance(value, dict) else {source_name: value}
    known = {key: tree[key] for key in sorted(tree) if tree[key] not in (None, "", [], {})}
    return json.dumps(known, ensure_ascii=False) if known else None


def _sentence(text: str | None) -> str | None:
    """A list of sentences joined, any other text as it is."""
    if text is None or not text.startswith(("[", '["')):
        return text
    value = _parsed(text)
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        return text
    return " ".join(part.strip() for part in value if part.strip()) or None


def _parsed(text: str | None) -> Any:
    """The list or object in a text, as JSON or as a Python literal; else the text itself."""
    if text is None or not text.startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return text


def _derived_ids(rows: pl.DataFrame, columns: tuple[str, ...]) -> pl.Series:
    """A hash of the columns that identify a row, 32 hex characters."""
    texts = [pl.col(name).to_physical() if name == "timestamp" else pl.col(name) for name in columns]
    joined = pl.concat_str([text.cast(pl.String).fill_null("\x1e") for text in texts], separator="\x1f")
    hashes = [hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in rows.select(joined).to_series()]
    return pl.Series("id", hashes, dtype=pl.String)

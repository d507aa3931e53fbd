"""Times as shops and programs write them become UTC.

ISO 8601 in all its forms, epochs of any unit, `2020-01-01 01:01:01.000000001 +0000 UTC` (Go), RFC 2822, `Dec 21, 2023`,
`21.12.2023`, `12/1/10 8:26` and `13/12/2010 4:05 PM`. Whether day or month comes first in `3/4/2024` is decided over
the whole column, by `DateOrderEvidence`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

from recsys.errors import DataError

DateOrder = Literal["dmy", "mdy"]

ISO_FORMATS: Final = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y%m%d", "%Y%m%d%H%M%S")
"""The usual forms, with a space for the T and without an offset."""

LAST_SHORT_YEAR: Final = 68
"""Two digits up to this are years of 2000, above it of 1900 (POSIX `strptime`)."""

ZONES: Final = {"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7} | {
    "CET": 1,
    "CEST": 2,
    "BST": 1,
}
"""Names of zones that stand for an offset, in hours (RFC 2822, section 4.3, and three of Europe)."""

UNITS_FROM: Final = ((10**17, 10**9), (10**14, 10**6), (10**11, 10**3))
"""From which size on a number since 1970 is in ns, µs and ms, and how many of these a second has; below: seconds."""

MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_VALUE: Final = pl.col("value")
_HAS_OFFSET: Final = (
    r"(?i)(?:[0-9]z|[:t][0-9]{2,6}(?:[.,][0-9]+)?\s*[+-][0-9]{2}(?::?[0-9]{2})?|"
    r"\b(?:utc|gmt|[ecmp][sd]t|cest?|bst)\)?)$"
)
_EPOCH_TEXT: Final = r"^-?[0-9]{9,}(?:\.[0-9]+)?$"
_NO_TIME: Final = r"^\s*000[01]-"
_NUMBER: Final = r"^-?[0-9]+(\.[0-9]+)?$"
_COMPACT_DATE: Final = r"^(19|20)[0-9]{6}([0-9]{6})?$"

_CLOCK: Final = (
    r"(?:(?:,?\s+(?:AT\s+)?|T)(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})"
    r"(?:[.,](?P<fraction>[0-9]{1,9}))?)?\s*(?:(?P<half>[AP])\.?M\.?)?"
    r"\s*(?:UTC|GMT|Z)?(?P<offset>[+-][0-9]{2}(?::?[0-9]{2})?)?(?:\s*\(?(?P<zone>[A-Z]{1,5})\)?)?)?$"
)
_WEEKDAY: Final = r"^(?:(?:MON|TUE|WED|THU|FRI|SAT|SUN)[A-Z]*,?\s+)?"
_MONTH: Final = r"(?P<month>JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)[A-Z]*\.?"
_DAY: Final = r"(?P<day>[0-9]{1,2})(?:ST|ND|RD|TH)?"
_NUMERIC: Final = r"^(?P<first>[0-9]{1,2})[/-](?P<second_part>[0-9]{1,2})[/-](?P<year>[0-9]{4}|[0-9]{2})"

_COMPACT: Final = (
    r"^(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})T(?P<hour>[0-9]{2})(?P<minute>[0-9]{2})"
    r"(?P<second>[0-9]{2})?(?P<fraction>)(?P<half>)(?:Z|(?P<offset>[+-][0-9]{2}:?[0-9]{2}))?(?P<zone>)$"
)

_PATTERNS: Final = (
    r"^(?P<year>[0-9]{4})[-/.](?P<month>[0-9]{1,2})[-/.](?P<day>[0-9]{1,2})" + _CLOCK,
    r"^(?P<day>[0-9]{1,2})\.\s?(?P<month>[0-9]{1,2})\.\s?(?P<year>[0-9]{4}|[0-9]{2})" + _CLOCK,
    _WEEKDAY + _DAY + r"[\s-]+(?:OF\s+)?" + _MONTH + r",?[\s-]+(?P<year>[0-9]{4}|[0-9]{2})" + _CLOCK,
    _WEEKDAY + _MONTH + r"\s+" + _DAY + r",?\s+(?P<year>[0-9]{4})" + _CLOCK,
    _COMPACT,
)
"""Dates that say themselves what is what; compared in upper case."""


def parse_times(series: pl.Series, order: DateOrder | None = None) -> pl.Series:
    """Times in UTC, µs; null where there is none. A time without an offset is UTC.

    order: what comes first in dates such as 3/4/2024. Where it is None, only those are read in which a part above 12
    says so. Numbers are seconds, ms, µs or ns since 1970, by their size, and dates where they have the form 20231221.
    The years 0 and 1, by which Go programs and MySQL say "never", are null.
    """
    dtype = series.dtype
    frame = series.to_frame("value")
    if dtype == pl.Date:
        times = frame.select(_VALUE.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")).to_series()
    elif isinstance(dtype, pl.Datetime):
        zoned = _VALUE.dt.replace_time_zone("UTC") if dtype.time_zone is None else _VALUE.dt.convert_time_zone("UTC")
        times = frame.select(zoned.dt.cast_time_unit("us")).to_series()
    elif dtype.is_numeric():
        wide = _VALUE.cast(pl.Int64 if dtype.is_integer() else pl.Float64, strict=False)  # µs overflow 32 bits
        times = frame.select(_epoch(wide)).to_series()
        if dtype.is_integer():
            compact = frame.select(pl.when(_VALUE.is_between(19_000_101, 20_991_231)).then(_VALUE.cast(pl.String)))
            dates = compact.to_series().str.to_datetime("%Y%m%d", time_unit="us", strict=False)
            times = pl.select(pl.coalesce(dates.dt.replace_time_zone("UTC"), times)).to_series()
    else:
        times = _from_texts(series.cast(pl.String, strict=False).str.strip_chars(), order)
    return times.to_frame("t").select(pl.when(pl.col("t").dt.year() > 1).then("t").alias(series.name)).to_series()


def in_zone(series: pl.Series, times: pl.Series, zone: str) -> pl.Series:
    """The times of `parse_times` of the series, those without an offset read as times of `zone` (`Asia/Tokyo`).

    An hour that the clock shows twice is the first of the two; one that it leaves out is the hour after it.
    """
    if series.dtype.is_numeric() or getattr(series.dtype, "time_zone", None):
        return times
    local = pl.col("time").dt.replace_time_zone(None)
    within = local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    skipped = (local + pl.duration(hours=1)).dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    utc = pl.coalesce(within, skipped).dt.convert_time_zone("UTC")
    frame = times.alias("time").to_frame()
    if series.dtype == pl.String:
        frame = frame.with_columns(series.str.strip_chars().alias("text"))
        has_offset = pl.col("text").str.contains(_HAS_OFFSET) | pl.col("text").str.contains(_EPOCH_TEXT)
        utc = pl.when(has_offset).then("time").otherwise(utc)
    return frame.select(utc.alias(series.name)).to_series()


def means_no_time(series: pl.Series) -> pl.Series:
    """True where a text is a time of the year 0 or 1, which means that there is none."""
    if series.dtype != pl.String:
        return pl.repeat(value=False, n=len(series), dtype=pl.Boolean, eager=True)
    return series.str.contains(_NO_TIME).fill_null(value=False)


@dataclass
class DateOrderEvidence:
    """What the dates of a column, added batch by batch, say about the order of day and month.

    what: the column, for errors. Only dates of three numbers with slashes or hyphens count; dots mean day.month.year.
    """

    what: str = "the dates"
    n_dates: int = 0
    n_day_first: int = 0
    n_month_first: int = 0
    n_open: int = 0
    day_first: str = ""
    month_first: str = ""
    undecided: str = ""

    def add(self, series: pl.Series) -> None:
        """Count the dates of a batch; a column that is no text has none."""
        if series.dtype != pl.String:
            return
        text = series.str.strip_chars()
        frame = text.str.extract_groups(_NUMERIC + r"(?:[^0-9].*)?$").struct.unnest()
        dates = frame.with_columns(text.alias("text")).filter(pl.col("year").is_not_null())
        first, second = pl.col("first").cast(pl.Int32), pl.col("second_part").cast(pl.Int32)
        day_first = dates.filter((first > 12) & (second <= 12))["text"]
        month_first = dates.filter((second > 12) & (first <= 12))["text"]
        undecided = dates.filter((first <= 12) & (second <= 12) & (first != second))["text"]
        self.n_dates += dates.height
        self.n_day_first += len(day_first)
        self.n_month_first += len(month_first)
        self.n_open += len(undecided)
        self.day_first = self.day_first or next(iter(day_first), "")
        self.month_first = self.month_first or next(iter(month_first), "")
        self.undecided = self.undecided or next(iter(undecided), "")

    def decide(self) -> DateOrder | None:
        """The order of the whole column, None where it has no such dates.

        Raises DataError where the dates contradict each other, or where none of them shows the order.
        """
        if self.n_day_first and self.n_month_first:
            raise DataError(
                f"{self.what}: {self.n_day_first:,} dates have the day first ({self.day_first}) and "
                f"{self.n_month_first:,} the month ({self.month_first}); say which dates are right with "
                "--date-order dmy or --date-order mdy, the others are then bad"
            )
        if self.n_day_first:
            return "dmy"
        if self.n_month_first:
            return "mdy"
        if self.n_open:
            raise DataError(
                f"{self.what}: {self.n_open:,} dates such as {self.undecided} do not show whether day or month comes "
                "first; say it with --date-order dmy or --date-order mdy"
            )
        return "dmy" if self.n_dates else None


def _from_texts(text: pl.Series, order: DateOrder | None) -> pl.Series:
    """The quick forms over the whole column, the others only for rows that these leave."""
    frame = text.to_frame("value")
    is_number = _VALUE.str.contains(_NUMBER) & ~_VALUE.str.contains(_COMPACT_DATE)
    number = pl.when(is_number).then("value")
    whole, fraction = number.cast(pl.Int64, strict=False), number.cast(pl.Float64, strict=False)
    times = frame.select(pl.coalesce(_epoch(whole), _epoch(fraction))).to_series()
    written = frame.select(
        pl.when(~is_number)
        .then(_VALUE.str.replace(r"^([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]", "${1} ").str.replace("[Zz]$", "+00:00"))
        .str.replace(r" ([+-][0-9]{2}:?[0-9]{2})$", "${1}")
    ).to_series()
    for form in ("%Y-%m-%d %H:%M:%S%.f%#z", *ISO_FORMATS):
        if not (times.is_null() & written.is_not_null()).any():
            return times
        if form.endswith("z"):
            read = written.str.to_datetime(form, time_unit="us", time_zone="UTC", strict=False)
        else:
            read = written.str.to_datetime(form, time_unit="us", strict=False).dt.replace_time_zone("UTC")
        times = pl.select(pl.coalesce(times, read)).to_series()
    rest = times.is_null() & (text != "").fill_null(value=False)
    if not rest.any():
        return times
    return times.scatter(rest.arg_true(), _from_other_texts(text.filter(rest), order))


def _from_other_texts(text: pl.Series, order: DateOrder | None) -> pl.Series:
    upper = text.str.to_uppercase().str.replace_all(r"[\s\u00a0\u202f]+", " ")
    times = pl.repeat(None, n=len(text), dtype=pl.Datetime("us", "UTC"), eager=True)
    for pattern in _PATTERNS:
        parts = upper.str.extract_groups(pattern).struct.unnest()
        times = pl.select(pl.coalesce(times, _assembled(parts))).to_series()
    parts = upper.str.extract_groups(_NUMERIC + _CLOCK).struct.unnest()
    first, second = pl.col("first"), pl.col("second_part")
    is_day_first = pl.lit(order == "dmy") if order else first.cast(pl.Int32) > 12
    is_decided = pl.lit(value=True) if order else (first.cast(pl.Int32) > 12) | (second.cast(pl.Int32) > 12)
    is_decided |= first == second
    ordered = parts.with_columns(
        pl.when(is_decided).then(pl.when(is_day_first).then(first).otherwise(second)).alias("day"),
        pl.when(is_day_first).then(second).otherwise(first).alias("month"),
    )
    return pl.select(pl.coalesce(times, _assembled(ordered))).to_series()


def _assembled(parts: pl.DataFrame) -> pl.Series:
    """Times from the parts of dates and clocks, as text; null where there is no date, or no such day."""
    year = pl.col("year").cast(pl.Int32, strict=False)
    full_year = (
        pl.when(pl.col("year").str.len_chars() == 4)
        .then(year)
        .otherwise(year + pl.when(year <= LAST_SHORT_YEAR).then(2000).otherwise(1900))
    )
    month = pl.coalesce(
        pl.col("month")
        .str.to_lowercase()
        .replace_strict(MONTHS, list(range(1, 13)), default=None, return_dtype=pl.Int32),
        pl.col("month").cast(pl.Int32, strict=False),
    )
    hour = pl.col("hour").cast(pl.Int32, strict=False)
    half = pl.col("half").fill_null("")
    hour = pl.when(half == "").then(hour).otherwise(hour % 12 + pl.when(half == "P").then(12).otherwise(0))
    zone = pl.col("zone").fill_null("")
    hours = ZONES | {"": 0, "UTC": 0, "GMT": 0, "Z": 0}
    known = {name: f"{n_hours:+03d}00" for name, n_hours in hours.items()}
    offset = pl.col("offset").str.replace(":", "").str.pad_end(5, "0")
    offset = pl.coalesce(
        pl.when(offset != "").then(offset), zone.replace_strict(known, default=None, return_dtype=pl.String)
    )
    written = pl.format(
        "{}-{}-{} {}:{}:{}.{}{}",
        full_year.cast(pl.String).str.zfill(4),
        month,
        "day",
        hour.fill_null(0),
        pl.col("minute").fill_null("0"),
        pl.when(pl.col("second").fill_null("") == "").then(pl.lit("0")).otherwise("second"),
        pl.col("fraction").fill_null("").str.pad_end(6, "0").str.head(6),
        offset,
    )
    return (
        parts.select(written)
        .to_series()
        .str.to_datetime("%Y-%m-%d %H:%M:%S%.f%z", time_unit="us", time_zone="UTC", strict=False)
    )


def _epoch(number: pl.Expr) -> pl.Expr:
    """Below 1e11 seconds (until the year 5138), below 1e14 ms, below 1e17 µs, else ns."""
    size = number.abs()
    (ns_from, _), (us_from, _), (ms_from, _) = UNITS_FROM
    micros = (
        pl.when(size < ms_from)
        .then(number * 10**6)
        .when(size < us_from)
        .then(number * 10**3)
        .when(size < ns_from)
        .then(number)
        .otherwise(number // 10**3)
    )
    return micros.cast(pl.Int64, strict=False).cast(pl.Datetime("us", "UTC"))

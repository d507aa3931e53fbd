"""One value at a time, as requests to the service have them; the columns of files are read by the modules beside this.

What a text says is the same at both doors: forms that are not common in requests are read by the functions for columns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import polars as pl

from recsys.values.availability import parse_flags
from recsys.values.ids import id_fault, normal_id
from recsys.values.prices import parse_prices
from recsys.values.times import UNITS_FROM, parse_times

_ISO: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_PLAIN_PRICE: Final = re.compile(r"[0-9]+(\.[0-9]{1,2})?")
_EARLIEST_S: Final = -62_135_596_800
_LATEST_S: Final = 253_402_300_799
"""The years 1 and 9999."""

MAX_CHARS: Final = 100
"""A longer text is no time, price or flag."""
MAX_CACHED: Final = 10_000

FORMS: Final = "send ISO 8601, such as 2026-11-30T10:00:00Z, or seconds since 1970"


def parse_id(value: Any) -> Any:
    """The text of an id: a text without spaces around it, in NFC; a whole number as text. Other types as they are.

    Raises ValueError for what programs write where there is no id: `null`, `undefined`, `NA`, JSON.
    """
    if isinstance(value, str):
        _check_storable(value)
        text = normal_id(value)
        if text and (fault := id_fault(text)):
            raise ValueError(fault)
        return text
    if isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int) else value


def parse_time(value: Any) -> Any:
    """The time in UTC of a text or of seconds, ms, µs or ns since 1970; other types as they are.

    Raises ValueError for a text that is no time.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _epoch(value)
    if not isinstance(value, str):
        return value
    text = value.strip()
    parsed = _iso_time(text) if _ISO.fullmatch(text) else None
    parsed = parsed or _column_time(text)
    if parsed is None:
        raise ValueError(f"not a time; {FORMS}")
    return parsed


def parse_price(value: Any) -> Any:
    """The amount of a text, without its currency; other types as they are. Raises ValueError for a text without one."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    parsed = float(text) if _PLAIN_PRICE.fullmatch(text) else _column_price(text)
    if parsed is None:
        raise ValueError("not an amount; send a number such as 12.5")
    return parsed


def parse_flag(value: Any) -> Any:
    """Whether a product can be bought, by a word or a stock; null, true and false as they are.

    Raises ValueError for a text that says neither.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value > 0
    parsed = _column_flag(value.strip()) if isinstance(value, str) else None
    if parsed is None:
        raise ValueError("says neither that the product is available nor that it is not; send true or false")
    return parsed


def _iso_time(text: str) -> datetime | None:
    """None for days that do not exist and leap seconds."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    try:
        return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError(f"time out of range; {FORMS}") from None


def _check_storable(text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must not contain a lone surrogate (half a character)") from None


def _epoch(number: float) -> datetime:
    """By its size in seconds, ms, µs or ns, as `recsys.values.times` reads columns."""
    unit = next((unit for least, unit in UNITS_FROM if abs(number) >= least), None)
    seconds = number if unit is None else number / unit
    if not _EARLIEST_S <= seconds <= _LATEST_S:
        raise ValueError(f"time out of range; {FORMS}")
    return datetime.fromtimestamp(seconds, UTC)


class _ColumnParser:
    """The parser of a column for single texts. A call costs milliseconds, however many texts: `prepare` reads those of
    a batch at once, and the results of recent texts are cached."""

    def __init__(self, parse: Callable[[pl.Series], pl.Series]) -> None:
        self._parse = parse
        self._known: dict[str, Any] = {}

    def prepare(self, texts: Sequence[str]) -> None:
        new = [text for text in dict.fromkeys(texts) if text not in self._known and _is_short(text)]
        if not new:
            return
        if len(self._known) + len(new) > MAX_CACHED:
            self._known = {}  # replaced, not changed: several threads read it
        self._known = self._known | dict(zip(new, self._parse(pl.Series(new, dtype=pl.String)), strict=True))

    def __call__(self, text: str) -> Any:
        known = self._known
        if text not in known:
            self.prepare([text])
            known = self._known
        return known.get(text)


def _is_short(text: str) -> bool:
    """Whether it is worth a look; a lone surrogate cannot be stored in a column."""
    return len(text) <= MAX_CHARS and not any("\ud800" <= character <= "\udfff" for character in text)


_column_time: Final = _ColumnParser(parse_times)
_column_price: Final = _ColumnParser(lambda texts: pl.Series([parse_prices(pl.Series([text]))[0] for text in texts]))
_column_flag: Final = _ColumnParser(parse_flags)


def prepare_times(texts: Sequence[Any]) -> None:
    """Read times of a batch at once that `parse_time` will be called for; what is no text is ignored."""
    unusual = [text.strip() for text in texts if isinstance(text, str) and not _ISO.fullmatch(text.strip())]
    if unusual:
        _column_time.prepare(unusual)

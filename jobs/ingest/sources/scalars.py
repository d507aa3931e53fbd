"""Single values, for connectors that have to compare them before they hand rows on.

The rules are those of `recsys/values`; a plain number or an ISO time takes a short way.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import polars as pl

from recsys.values.availability import parse_flags
from recsys.values.prices import currencies, parse_prices
from recsys.values.times import parse_times

_PLAIN_AMOUNT: Final = re.compile(r"(\d+(?:\.\d{1,2})?)(?: ?([A-Z]{3}))?")


def clock() -> datetime:
    """The present time, for prices that hold between two dates."""
    return datetime.now(UTC)


def amount(text: str) -> float | None:
    """`"12.50"`, `"12.50 EUR"`, `"$1,299.00"`; None where it is no amount."""
    match = _PLAIN_AMOUNT.fullmatch(text)
    if match:
        return float(match[1])
    return _amount(text) if text else None


def currency(text: str) -> str | None:
    """The ISO code of an amount's currency, None where it has none or a sign of several currencies."""
    match = _PLAIN_AMOUNT.fullmatch(text)
    return match[2] if match else _currency(text) if text else None


@lru_cache(4096)
def _currency(text: str) -> str | None:
    code: str | None = currencies(pl.Series([text]))[0]
    return code


@lru_cache(4096)
def _amount(text: str) -> float | None:
    value: float | None = parse_prices(pl.Series([text]))[0]
    return value


@lru_cache(4096)
def moment(text: str) -> datetime | None:
    """A time with zone (UTC where the text has none); None where it is no time."""
    value: datetime | None = parse_times(pl.Series([text]), None)[0] if text else None
    return value


@lru_cache(4096)
def flag(text: str) -> bool | None:
    """`"yes"`, `"in stock"`, `"0"`; None where it is neither true nor false."""
    value: bool | None = parse_flags(pl.Series([text]))[0] if text else None
    return value


def in_force(begin: str, end: str) -> bool:
    """Whether now lies between two times; a blank or unreadable one is no bound."""
    starts, ends, now = moment(begin), moment(end), clock()
    return (starts is None or starts <= now) and (ends is None or now <= ends)

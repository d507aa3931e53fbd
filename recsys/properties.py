"""What a release knows of each item beside its vectors, as codes and arrays that rules can read at once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final
from unicodedata import normalize

import numpy as np
import polars as pl

from recsys.bm25 import WordIndex
from recsys.variants import variant_groups

PATH_SEPARATOR: Final = ">"
UNKNOWN: Final = -1
"""The code of an item that has no category, brand, … ."""

NEVER_US: Final = np.iinfo(np.int64).min

Scalar = str | int | float | bool


@dataclass(frozen=True)
class Coded:
    """A column of few distinct texts. codes: (n_items,) int32 positions in `names`, `UNKNOWN` where there is none."""

    names: tuple[str, ...]
    codes: np.ndarray

    @classmethod
    def of(cls, column: pl.Series) -> Coded:
        names = column.drop_nulls().unique().sort()
        codes = column.replace_strict(names, range(len(names)), default=UNKNOWN, return_dtype=pl.Int32)
        return cls(tuple(names.to_list()), codes.to_numpy().astype(np.int32))

    def name(self, row: int) -> str | None:
        code = self.codes[row]
        return None if code == UNKNOWN else self.names[code]

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The names as they are compared, see `comparable`."""
        return tuple(comparable(name) for name in self.names)

    @cached_property
    def paths(self) -> tuple[tuple[str, ...], ...]:
        """The names as category paths, general to special."""
        return tuple(category_path(name) for name in self.names)

    def chosen(self, is_chosen: Sequence[bool]) -> np.ndarray:
        """(n_items,) bool: whose name is wanted; is_chosen: one for each of `names`."""
        table = np.zeros(len(self.names) + 1, dtype=bool)  # the last is what UNKNOWN, -1, points to
        table[:-1] = is_chosen
        chosen: np.ndarray = table[self.codes]
        return chosen


@dataclass(frozen=True)
class Properties:
    """One entry an item, in the order of the model.

    available: (n_items,) bool; price: (n_items,) float64, NaN where unknown; updated_us: (n_items,) int64 microseconds
    since 1970, `NEVER_US` where unknown; attributes: JSON objects as the catalogue gives them;
    rating: (n_items,) float64 mean stars, NaN without reviews; n_reviews: (n_items,) int64.
    """

    titles: Sequence[str | None]
    available: np.ndarray
    category: Coded
    brand: Coded
    price: np.ndarray
    updated_us: np.ndarray
    attributes: pl.Series
    rating: np.ndarray
    n_reviews: np.ndarray

    @classmethod
    def of_table(cls, items: pl.DataFrame) -> Properties:
        """items: title, available, and what there is of category, brand, price, updated_at, attributes, rating and
        n_reviews."""
        updated = _column(items, "updated_at", pl.Datetime("us", "UTC")).dt.epoch("us")
        return cls(
            titles=items["title"].to_list(),
            available=items["available"].to_numpy(),
            category=Coded.of(_column(items, "category", pl.String)),
            brand=Coded.of(_column(items, "brand", pl.String)),
            price=_column(items, "price", pl.Float64).fill_null(np.nan).to_numpy(),
            updated_us=updated.fill_null(NEVER_US).to_numpy(),
            attributes=_column(items, "attributes", pl.String),
            rating=_column(items, "rating", pl.Float64).fill_null(np.nan).to_numpy(),
            n_reviews=_column(items, "n_reviews", pl.Int64).fill_null(0).to_numpy(),
        )

    @property
    def n_items(self) -> int:
        return len(self.titles)

    @cached_property
    def attribute_rows(self) -> dict[tuple[str, str], np.ndarray]:
        """Ascending item rows of each (name, value) that the catalogue's attributes hold, both `comparable`."""
        rows_of: dict[tuple[str, str], list[int]] = {}
        for row, text in enumerate(self.attributes.to_list()):
            for pair in dict.fromkeys(_pairs(text)) if text else ():
                rows_of.setdefault(pair, []).append(row)
        return {pair: np.array(rows, dtype=np.int32) for pair, rows in rows_of.items()}

    @cached_property
    def variants(self) -> np.ndarray:
        """(n_items,) int32: equal for the sizes and colours of one product, see `recsys.variants`."""
        parsed = [_object(text) or {} if text else {} for text in self.attributes.to_list()]
        return variant_groups(self.titles, self.brand.codes, self.category.codes, parsed)

    @cached_property
    def words(self) -> WordIndex:
        """Of title, brand and category."""
        named = zip(self.titles, range(self.n_items), strict=True)
        texts = (" ".join(filter(None, (title, self.brand.name(row), self.category.name(row)))) for title, row in named)
        return WordIndex.of(list(texts))

    def prepare(self) -> None:
        """Compute now what the first request would else wait for."""
        _ = (self.attribute_rows, self.variants, self.words, self.category.paths, self.category.keys, self.brand.keys)

    def of_row(self, row: int) -> dict[str, Any]:
        """The properties of one item, as the API returns them; None where the catalogue has none."""
        price, updated_us, attributes = float(self.price[row]), int(self.updated_us[row]), self.attributes[row]
        rating = float(self.rating[row])
        return {
            "title": self.titles[row],
            "category": self.category.name(row),
            "brand": self.brand.name(row),
            "price": None if np.isnan(price) else price,
            "available": bool(self.available[row]),
            "updated_at": None if updated_us == NEVER_US else datetime.fromtimestamp(updated_us / 1e6, UTC),
            "attributes": _object(attributes) if attributes else None,
            "rating": None if np.isnan(rating) else round(rating, 2),
            "n_reviews": int(self.n_reviews[row]),
        }


def comparable(value: Scalar) -> str:
    """As names and values are compared: without case and outer spaces, in one form of Unicode (NFC), so that "Nồi" is
    itself however it was typed; numbers and truth values as JSON spells them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    return text.lower() if text.isascii() else normalize("NFC", normalize("NFC", text).casefold())


def category_path(text: str) -> tuple[str, ...]:
    """A category's steps, general to special, `comparable`: "Home > Lamps" becomes ("home", "lamps")."""
    return tuple(comparable(step) for step in text.split(PATH_SEPARATOR))


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """(name, value) of a JSON object; a list has several values, an object inside counts as its text."""
    for name, value in (_object(text) or {}).items():
        for element in value if isinstance(value, list) else [value]:
            if element is not None:
                yield (
                    comparable(name),
                    comparable(element if isinstance(element, Scalar) else json.dumps(element, sort_keys=True)),
                )


def _object(text: str) -> dict[str, Any] | None:
    """None for what is no JSON object: the catalogue's column is free text."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _column(items: pl.DataFrame, name: str, dtype: pl.DataType | type[pl.DataType]) -> pl.Series:
    return items[name].cast(dtype) if name in items.columns else pl.Series(name, [None] * len(items), dtype=dtype)

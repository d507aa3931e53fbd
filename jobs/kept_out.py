"""Which rows that come in are of shoppers who were erased."""

from __future__ import annotations

import re
from typing import Final

import polars as pl

from features.workspace.erased_users import ErasedUsers

_BETWEEN_WORDS: Final = re.compile(r"[\s,;|\"'{}\[\]:]+")


def of_erased(rows: pl.DataFrame, erased: ErasedUsers) -> pl.Series:
    """True for each row whose `user_id` was erased; each id is hashed once."""
    if not len(erased) or "user_id" not in rows.columns:
        return pl.repeat(value=False, n=rows.height, dtype=pl.Boolean, eager=True)
    found = [user_id for user_id in rows["user_id"].drop_nulls().unique() if user_id in erased]
    return rows["user_id"].is_in(found).fill_null(value=False)


def names_erased(line: str, erased: ErasedUsers) -> bool:
    """Whether a line that could not be read as a row has the id of such a shopper between its separators."""
    return bool(len(erased)) and any(word in erased for word in _BETWEEN_WORDS.split(line))

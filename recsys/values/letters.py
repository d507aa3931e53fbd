"""Letters with signs in one form of Unicode, NFC: `é` is the same however it was typed."""

from __future__ import annotations

import unicodedata

import polars as pl


def composed(text: str) -> str:
    """The text in NFC."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def all_composed(texts: pl.Series) -> pl.Series:
    """The texts in NFC; a column of ASCII alone costs no more than a look."""
    return texts.str.normalize("NFC") if (texts.str.len_bytes() != texts.str.len_chars()).any() else texts

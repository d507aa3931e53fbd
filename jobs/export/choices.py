"""What can be chosen of an export: the file's format, whose vectors, and which."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """Of an exported file."""

    PARQUET = "parquet"
    CSV = "csv"
    JSONL = "jsonl"


class VectorTable(StrEnum):
    """Whose vectors."""

    ITEMS = "items"
    USERS = "users"
    REVIEWS = "reviews"


class Space(StrEnum):
    """fused: text and behaviour together; text: what was written, of a shopper what they searched for and read; cf:
    behaviour alone (collaborative filtering)."""

    FUSED = "fused"
    TEXT = "text"
    CF = "cf"

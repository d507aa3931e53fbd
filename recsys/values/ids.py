"""Ids as shops write them: `17.0` is 17; JSON, `(not set)` and `NA` are no ids; Excel's `3.65E+11` has lost digits."""

from __future__ import annotations

import re
from typing import Final

import polars as pl

from recsys.values.letters import all_composed, composed

NO_IDS: Final = ("(not set)", "(none)", "na", "n/a", "#n/a", "null", "undefined", "none", "nan", "<na>", "nil")
"""Words, in any case, that programs write where there is no id."""

NOT_AN_ID: Final = "not_an_id"
EXCEL_NUMBER: Final = "excel_number"

_TEXT: Final = pl.col("text")
_JSON: Final = r"^[\[{]"
_GUID: Final = r"^\{[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}$"
_EXCEL: Final = r"^[0-9](?:[.,][0-9]+)?[eE]\+[0-9]+$"


def id_texts(series: pl.Series) -> pl.Series:
    """Each value as the text of an id, whether or not it can be one; null where it is blank.

    Whole numbers written with a fraction (`17.0`: a column with gaps, saved by a data frame library) are the numbers
    where all numbers of the column are written so. A leading apostrophe, by which Excel marks a number as text, is
    dropped. Letters are in NFC.
    """
    if series.dtype.is_float():
        number = pl.col("number")
        whole = pl.when(number == number.round(0)).then(number.cast(pl.Int64, strict=False).cast(pl.String))
        frame = series.fill_nan(None).to_frame("number")
        series = frame.select(whole.otherwise(number.cast(pl.String))).to_series()
    text = series.cast(pl.String, strict=False).str.strip_chars()
    text = text.str.replace(r"^'([^']+)$", "${1}")
    if not text.str.contains(r"^[0-9]+$").any():
        text = text.str.replace(r"^([0-9]+)\.0$", "${1}")
    return all_composed(text).to_frame("text").select(pl.when(_TEXT != "").then("text")).to_series()


def id_faults(texts: pl.Series) -> pl.Series:
    """Why each text is no id, null where it is an id or blank; texts: as `id_texts` returns them.

    `not_an_id`: a JSON list or object (a GUID in braces is an id), or one of `NO_IDS`. `excel_number`: a number that a
    spreadsheet has rounded, so that several ids have become the same.
    """
    is_word = _TEXT.str.to_lowercase().is_in(list(NO_IDS))
    is_json = _TEXT.str.contains(_JSON) & ~_TEXT.str.contains(_GUID)
    fault = (
        pl.when(is_word | is_json).then(pl.lit(NOT_AN_ID)).when(_TEXT.str.contains(_EXCEL)).then(pl.lit(EXCEL_NUMBER))
    )
    return texts.to_frame("text").select(fault.alias("fault")).to_series()


def normal_id(text: str) -> str:
    """A single text as `id_texts` has it, apart from numbers with a fraction."""
    text = text.strip()
    if text.startswith("'") and text.count("'") == 1 and len(text) > 1:
        text = text[1:]
    return composed(text)


def id_fault(text: str) -> str | None:
    """Why a single text is no id, as `id_faults`, in words."""
    if text[0] in "[{" and not re.match(_GUID, text):
        return "JSON is no id; send the id alone"
    if text.lower() in NO_IDS:
        return f"{text} is what programs write where there is no id; send the id, or leave the field out"
    if text[0].isdigit() and re.match(_EXCEL, text):
        return "a number that a spreadsheet has rounded is no id; send all its digits as text"
    return None


def parse_ids(series: pl.Series) -> pl.Series:
    """The ids of a column as text; null where there is none."""
    frame = pl.DataFrame({"text": (texts := id_texts(series)), "fault": id_faults(texts)})
    return frame.select(pl.when(pl.col("fault").is_null()).then("text").alias("id")).to_series()

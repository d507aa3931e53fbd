"""How tables are displayed in Jupyter and in a terminal."""

from __future__ import annotations

from html import escape
from typing import Any

import polars as pl

MAX_ROWS = 50
STYLE = "border-collapse:collapse;font:13px system-ui,sans-serif"
CELL = "padding:3px 9px;border-bottom:1px solid #ddd;vertical-align:top"


def as_html(table: pl.DataFrame, title: str = "", note: str = "") -> str:
    """The table as HTML with a title above and a note below; numbers right-aligned, at most `MAX_ROWS` rows."""
    numeric = {name for name, kind in table.schema.items() if kind.is_numeric()}

    def cell(tag: str, name: str, text: str) -> str:
        side = "right" if name in numeric else "left"
        return f'<{tag} style="{CELL};text-align:{side}">{escape(text)}</{tag}>'

    head = "".join(cell("th", name, name.replace("_", " ")) for name in table.columns)
    body = "".join(
        "<tr>" + "".join(cell("td", name, spelled(value)) for name, value in row.items()) + "</tr>"
        for row in table.head(MAX_ROWS).iter_rows(named=True)
    )
    more = f"{len(table) - MAX_ROWS:,} more rows. " if len(table) > MAX_ROWS else ""
    above = f"<div style='font:600 15px system-ui,sans-serif;margin:6px 0'>{escape(title)}</div>" if title else ""
    below = f"<div style='font:12px system-ui,sans-serif;color:#555'>{escape(more + note)}</div>" if more + note else ""
    return f'<div>{above}<table style="{STYLE}"><tr>{head}</tr>{body}</table>{below}</div>'


def as_text(table: pl.DataFrame) -> str:
    """The table as text for a terminal."""
    with pl.Config(
        tbl_rows=MAX_ROWS, tbl_cols=20, fmt_str_lengths=48, tbl_width_chars=140, tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
    ):  # fmt: skip
        return str(table)


def spelled(value: Any) -> str:
    """A value as short text: three significant digits, times to the minute, "" for null and false."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    if hasattr(value, "strftime"):
        return f"{value:%Y-%m-%d %H:%M}"
    return str(value)

"""What an ingest prints of a catalogue that the encoder cannot read."""

from __future__ import annotations

import polars as pl
from rich.console import Console

from features.encoder.reading import MAX_TEXTS, WARN_ABOVE, reading_before
from jobs.lake.lake import Lake
from recsys import config


def print_reading(lake: Lake, settings: config.Settings) -> None:
    """Print a warning where the encoder does not know many letters of the products' titles; nothing where all are
    ASCII, which every encoder knows."""
    if not lake.n_rows("catalog"):
        return
    titles = lake.scan("catalog").select("title").drop_nulls().head(MAX_TEXTS).collect()["title"]
    if not titles.str.contains(r"[^\x00-\x7f]").any():
        return
    reading = reading_before(settings.encoder, titles.cast(pl.String).to_list())
    if reading.unread <= WARN_ABOVE:
        return
    use = "text vectors will be left out" if reading.unread > settings.embed.max_unread_share else "lists may suffer"
    line = f"warning: {reading.says()}; {use}; set encoder.model to a multilingual encoder (docs/languages.md)"
    Console().print(line, soft_wrap=True, highlight=False, markup=False)

"""Any file of (user, item, timestamp) becomes what a benchmark works on.

The files go through the same reading, checking and embedding as a shop's own, in a lake that is thrown away afterwards.
Only the vectors of texts are kept.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from features.encoder import load_encoder
from features.profile import browsing_profiles
from features.text import browsing_texts, item_texts
from jobs.bench_data import BenchData, Side
from jobs.embed import embed_texts, load_vectors
from jobs.ingest import ingest
from jobs.lake import Lake
from jobs.shop import Shop, newest_moment, read_shop
from jobs.sources import SOURCES
from jobs.sources.spec import SourceSpec
from recsys.config import Settings
from recsys.errors import DataError
from recsys.split import HeldOut, Protocol, check_no_leak, split
from recsys.workspace import Workspace

log = logging.getLogger(__name__)

EVENT_TYPE: Final = "events.event_type"

Progress = Callable[[str, int, int | None], None]


def read_bench(
    spec: SourceSpec, protocol: Protocol, vectors: Workspace, settings: Settings, now: datetime, progress: Progress
) -> BenchData:
    """Read the files of `spec`, split them, and embed the items' texts into `vectors`, where they are kept.

    Events without a type are purchases. Raises DataError as `ingest`, `split` and `check_no_leak` do.
    """
    with tempfile.TemporaryDirectory(prefix="recsys-bench-") as folder:
        place = Workspace(Path(folder))
        ingest(place, _with_event_type(spec), settings.ingest, now, progress)
        lake = Lake(place.lake)
        if not lake.n_rows("events"):
            raise DataError("no events to measure on; give them with --events FILE")
        shop = read_shop(lake, newest_moment(lake))
    parts = split(_events(shop), protocol)
    for held_out in (parts.validation, parts.test):
        check_no_leak(held_out)
    # Whatever is out of stock today may have been chosen then.
    items = shop.items.select("item_id", "title", "category", available=pl.lit(value=True))
    text, browsed = _embedded(shop, vectors, settings, progress)
    validation, test = (_side(held_out, browsed, settings) for held_out in (parts.validation, parts.test))
    return BenchData(protocol, items, text, validation, test, settings)


def _with_event_type(spec: SourceSpec) -> SourceSpec:
    """`spec`, with purchase for the type of events where the files have no such column and the user named none."""
    if EVENT_TYPE in {**spec.columns, **spec.constants}:
        return spec
    files = [raw for raw in SOURCES[spec.source](spec) if raw.table == "events"]
    if any("event_type" in raw.columns for raw in files):
        return spec
    return replace(spec, constants={**spec.constants, EVENT_TYPE: "purchase"})


def _events(shop: Shop) -> pl.DataFrame:
    """What was done with items, and what was searched for and read: a row each, the latter without an item."""
    return pl.concat([shop.events, shop.searches], how="diagonal")


Browsed = tuple[pl.DataFrame, np.ndarray]


def _embedded(shop: Shop, place: Workspace, settings: Settings, progress: Progress) -> tuple[np.ndarray, Browsed]:
    """(n_items, dim), and the distinct browsing texts: text, and (n_texts, dim) of them."""
    encoder = load_encoder(settings.encoder)
    items = item_texts(shop.items, shop.reviews.clear(), settings.text, encoder.count_tokens)
    browsed = browsing_texts(shop.searches).unique("text_hash", maintain_order=True).select("text", "text_hash")
    texts = pl.concat([items.select("text", "text_hash"), browsed])
    done = embed_texts(place, texts, settings.encoder, settings.embed, lambda n, total: progress("embed", n, total))
    vectors = load_vectors(place, done.encoder_id, browsed["text_hash"])
    return load_vectors(place, done.encoder_id, items["text_hash"]), (browsed, vectors)


def _side(held_out: HeldOut, browsed: Browsed, settings: Settings) -> Side:
    known, vectors = browsed
    texts = browsing_texts(held_out.events) if "text" in held_out.events.columns else known.clear()
    if texts.is_empty():
        return Side(held_out, [], np.zeros((0, vectors.shape[1]), dtype=np.float32))
    rows = texts.join(known.with_row_index("row").select("text_hash", "row"), on="text_hash", maintain_order="left")
    users, profiles = browsing_profiles(rows, vectors[rows["row"].to_numpy()], settings.embed)
    return Side(held_out, users, profiles)

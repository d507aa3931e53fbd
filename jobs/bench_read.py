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

from features.encoder.encoder import load_encoder
from features.text.documents import browsing_texts, item_texts
from jobs.bench_data import BenchData
from jobs.embed import embed_texts, load_vectors, numbered_texts
from jobs.ingest import ingest
from jobs.lake import Lake
from jobs.shop import Shop, newest_moment, read_shop
from jobs.sources import SOURCES
from jobs.sources.spec import SourceSpec
from recsys.config import Settings
from recsys.errors import DataError
from recsys.repeats import learn_repeats
from recsys.split import Protocol, check_no_leak, split
from recsys.workspace import Workspace

log = logging.getLogger(__name__)

EVENT_TYPE: Final = "events.event_type"

Progress = Callable[[str, int, int | None], None]


def read_bench(
    spec: SourceSpec, protocol: Protocol, vectors: Workspace, settings: Settings, now: datetime, progress: Progress
) -> BenchData:
    """Read the files of `spec`, split them, and embed the items' texts into `vectors`, where they are kept.

    Events without a type are purchases. Where the shop's purchases repeat each other often enough (`[repeats]`), a
    repeat counts as a choice like any other. Raises DataError as `ingest`, `split` and `check_no_leak` do.
    """
    with tempfile.TemporaryDirectory(prefix="recsys-bench-") as folder:
        place = Workspace(Path(folder))
        ingest(place, _with_event_type(spec), settings.ingest, now, progress)
        lake = Lake(place.lake)
        if not lake.n_rows("events"):
            raise DataError("no events to measure on; give them with --events FILE")
        shop = read_shop(lake, newest_moment(lake))
    events, texts = _events(shop)
    repeats = learn_repeats(shop.events, shop.items["item_id"], settings.repeats)[0].allowed
    parts = split(events, protocol, repeats)
    for held_out in (parts.validation, parts.test):
        check_no_leak(held_out, repeats)
    # Whatever is out of stock today may have been chosen then.
    items = shop.items.select("item_id", "title", "category", available=pl.lit(value=True))
    text, read_text = _embedded(shop, texts, vectors, settings, progress)
    return BenchData(protocol, repeats, items, text, read_text, parts.validation, parts.test, settings)


def _with_event_type(spec: SourceSpec) -> SourceSpec:
    """`spec`, with purchase for the type of events where the files have no such column and the user named none."""
    if EVENT_TYPE in {**spec.columns, **spec.constants}:
        return spec
    files = [raw for raw in SOURCES[spec.source](spec) if raw.table == "events"]
    if any("event_type" in raw.columns for raw in files):
        return spec
    return replace(spec, constants={**spec.constants, EVENT_TYPE: "purchase"})


def _events(shop: Shop) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What was done with items, and what was searched for and read: a row each, the latter without an item but with a
    text_row; and the distinct texts that these are rows of: text, text_hash."""
    read = browsing_texts(shop.searches)
    numbered, hashes = numbered_texts(read)
    texts = hashes.to_frame().join(
        read.unique("text_hash").select("text_hash", "text"), on="text_hash", maintain_order="left"
    )
    return pl.concat([shop.events, numbered.drop("text", "text_hash")], how="diagonal"), texts


def _embedded(
    shop: Shop, texts: pl.DataFrame, place: Workspace, settings: Settings, progress: Progress
) -> tuple[np.ndarray, np.ndarray]:
    """(n_items, dim) and (n_texts, dim)."""
    encoder = load_encoder(settings.encoder)
    items = item_texts(shop.items, shop.reviews.clear(), settings.text, encoder.count_tokens)
    wanted = pl.concat([items.select("text_hash", "text"), texts])
    done = embed_texts(place, wanted, settings.encoder, settings.embed, lambda n, total: progress("embed", n, total))
    item_vectors, text_vectors = (load_vectors(place, done.encoder_id, frame["text_hash"]) for frame in (items, texts))
    return item_vectors, text_vectors

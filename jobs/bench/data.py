"""The input of a quality benchmark: split events and the items' text embeddings, saved as a folder for the models."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

import numpy as np
import polars as pl
from pydantic import TypeAdapter

from features.encoder.encoder import load_encoder
from features.text.documents import browsing_texts, item_texts
from jobs.embedding.embed import embed_texts, load_vectors, numbered_texts
from jobs.ingest.files import ingest
from jobs.ingest.sources.registry import SOURCES
from jobs.ingest.sources.spec import SourceSpec
from jobs.lake.lake import Lake
from jobs.lake.snapshot import Shop, newest_moment, read_shop
from jobs.training.fit import Inputs
from recsys.config import Settings
from recsys.errors import DataError
from recsys.repeats import learn_repeats
from recsys.split import HeldOut, Protocol, check_no_leak, split
from recsys.workspace import Workspace

Side = Literal["validation", "test"]

READ = ("user_id", "timestamp", "event_type", "text_row")
META_FILE: Final = "meta.json"


@dataclass(frozen=True)
class Meta:
    """What `BenchData.save` writes to `META_FILE`. validation, test: when the events of each side end.

    `jobs/bench/peers/models.py`, which runs without this project's libraries, reads `repeats` from it, too.
    """

    protocol: Protocol
    repeats: bool
    settings: Settings
    validation: datetime
    test: datetime


META: Final = TypeAdapter(Meta)


@dataclass(frozen=True)
class BenchData:
    """items: item_id, title, category, available, ascending by item_id; text: (n_items, dim), zero without text.

    The events of both sides have text_row, null or a row of read_text (n_texts, dim). repeats: whether an item that the
    user had before may be the target again; if so, such items are not excluded from the lists.
    """

    protocol: Protocol
    repeats: bool
    items: pl.DataFrame
    text: np.ndarray
    read_text: np.ndarray
    validation: HeldOut
    test: HeldOut
    settings: Settings

    def held_out(self, side: Side) -> HeldOut:
        return self.test if side == "test" else self.validation

    def inputs(self, held_out: HeldOut, *, with_text: bool = True, with_visits: bool = False) -> Inputs:
        """The product's training input; without text, searches and page texts are left out too. with_visits: also the
        events of the visit in which the lists are requested."""
        events = held_out.known if with_visits else held_out.events
        on_items = events.filter(pl.col("item_id").is_not_null())
        read = events.filter(pl.col("text_row").is_not_null()).select(READ)
        no_impressions = on_items.clear().select("user_id", "item_id", "timestamp", position=pl.lit(0, dtype=pl.Int32))
        read = read if with_text else read.clear()
        return Inputs(self.items, on_items, no_impressions, self.text, read, self.read_text)

    def save(self, folder: Path) -> None:
        """Write Parquet, npy and JSON files into a new or empty folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self.items.write_parquet(folder / "items.parquet")
        np.save(folder / "text.npy", self.text, allow_pickle=False)
        np.save(folder / "read_text.npy", self.read_text, allow_pickle=False)
        for name, held_out in (("validation", self.validation), ("test", self.test)):
            held_out.events.write_parquet(folder / f"{name}_events.parquet")
            held_out.targets.write_parquet(folder / f"{name}_targets.parquet")
            held_out.since.write_parquet(folder / f"{name}_since.parquet")
        meta = Meta(self.protocol, self.repeats, self.settings, self.validation.as_of, self.test.as_of)
        (folder / META_FILE).write_bytes(META.dump_json(meta))

    @classmethod
    def load(cls, folder: Path) -> BenchData:
        """Read what `save` wrote."""
        meta = META.validate_json((folder / META_FILE).read_bytes())

        def side(name: str, as_of: datetime) -> HeldOut:
            parts = ("events", "targets", "since")
            events, targets, since = (pl.read_parquet(folder / f"{name}_{part}.parquet") for part in parts)
            return HeldOut(events, targets, as_of, since)

        return cls(
            protocol=meta.protocol,
            repeats=meta.repeats,
            items=pl.read_parquet(folder / "items.parquet"),
            text=np.load(folder / "text.npy", allow_pickle=False),
            read_text=np.load(folder / "read_text.npy", allow_pickle=False),
            validation=side("validation", meta.validation),
            test=side("test", meta.test),
            settings=meta.settings,
        )


log = logging.getLogger(__name__)

EVENT_TYPE: Final = "events.event_type"

Progress = Callable[[str, int, int | None], None]


def read_bench(
    spec: SourceSpec, protocol: Protocol, vectors: Workspace, settings: Settings, now: datetime, progress: Progress
) -> BenchData:
    """Read the files of `spec`, split their events, and embed the items' texts, cached in the workspace `vectors`.

    Events without a type count as purchases. If the shop's purchases repeat often enough (settings `[repeats]`),
    repeated items are valid targets. Raises DataError as `ingest`, `split` and `check_no_leak` do.
    """
    with tempfile.TemporaryDirectory(prefix="recsys-bench-") as folder:
        place = Workspace(Path(folder))
        ingest(place, _with_event_type(spec), settings.ingest, now, progress)
        lake = Lake(place.lake)
        if not lake.n_rows("events"):
            raise DataError("no events to measure on; pass them with --events FILE")
        shop = read_shop(lake, newest_moment(lake))
    events, texts = _events(shop)
    repeats = learn_repeats(shop.events, shop.items["item_id"], settings.repeats)[0].allowed
    parts = split(events, protocol, repeats)
    for held_out in (parts.validation, parts.test):
        check_no_leak(held_out, repeats)
    # An item that is out of stock today may have been available then.
    items = shop.items.select("item_id", "title", "category", available=pl.lit(value=True))
    text, read_text = _embedded(shop, texts, vectors, settings, progress)
    return BenchData(protocol, repeats, items, text, read_text, parts.validation, parts.test, settings)


def _with_event_type(spec: SourceSpec) -> SourceSpec:
    """`spec`, with event type "purchase" if neither the files nor the user give one."""
    if EVENT_TYPE in {**spec.columns, **spec.constants}:
        return spec
    files = [raw for raw in SOURCES[spec.source](spec) if raw.table == "events"]
    if any("event_type" in raw.columns for raw in files):
        return spec
    return replace(spec, constants={**spec.constants, EVENT_TYPE: "purchase"})


def _events(shop: Shop) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All events, and the distinct texts: text, text_hash. Events on items have an item_id; searches and pages read
    have a text_row, a row of the texts, instead."""
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
    all_texts = pl.concat([items.select("text_hash", "text"), texts])
    done = embed_texts(place, all_texts, settings.encoder, settings.embed, lambda n, total: progress("embed", n, total))
    item_vectors, text_vectors = (load_vectors(place, done.encoder_id, frame["text_hash"]) for frame in (items, texts))
    return item_vectors, text_vectors

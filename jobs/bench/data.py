"""What a benchmark works on: events, split, with the items' texts as vectors; as a folder that every model reads."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

import numpy as np
import polars as pl

from features.encoder.encoder import load_encoder
from features.text.documents import browsing_texts, item_texts
from jobs.embedding.embed import embed_texts, load_vectors, numbered_texts
from jobs.ingest.files import ingest
from jobs.ingest.sources import SOURCES
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


@dataclass(frozen=True)
class BenchData:
    """items: item_id, title, category, available, ascending by item_id; text: (n_items, dim), zero without text.

    The events of both sides have text_row, null or a row of read_text (n_texts, dim). repeats: whether what a user had
    before may be asked for again, and is then not left out of the lists.
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
        """What the product trains on; without text, searches and page texts are left out too. with_visits: and what is
        known besides when the lists are asked for."""
        events = held_out.known if with_visits else held_out.events
        on_items = events.filter(pl.col("item_id").is_not_null())
        read = events.filter(pl.col("text_row").is_not_null()).select(READ)
        no_impressions = on_items.clear().select("user_id", "item_id", "timestamp", position=pl.lit(0, dtype=pl.Int32))
        read = read if with_text else read.clear()
        return Inputs(self.items, on_items, no_impressions, self.text, read, self.read_text)

    def save(self, folder: Path) -> None:
        """Parquet, npy and JSON in a new or empty folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self.items.write_parquet(folder / "items.parquet")
        np.save(folder / "text.npy", self.text, allow_pickle=False)
        np.save(folder / "read_text.npy", self.read_text, allow_pickle=False)
        for name, held_out in (("validation", self.validation), ("test", self.test)):
            held_out.events.write_parquet(folder / f"{name}_events.parquet")
            held_out.targets.write_parquet(folder / f"{name}_targets.parquet")
            held_out.since.write_parquet(folder / f"{name}_since.parquet")
        meta = {
            "protocol": self.protocol,
            "repeats": self.repeats,
            "settings": self.settings.model_dump(mode="json"),
            "validation": self.validation.as_of.isoformat(),
            "test": self.test.as_of.isoformat(),
        }
        (folder / "meta.json").write_text(json.dumps(meta))

    @classmethod
    def load(cls, folder: Path) -> BenchData:
        """What `save` wrote."""
        meta = json.loads((folder / "meta.json").read_text())

        def side(name: str) -> HeldOut:
            parts = ("events", "targets", "since")
            events, targets, since = (pl.read_parquet(folder / f"{name}_{part}.parquet") for part in parts)
            return HeldOut(events, targets, datetime.fromisoformat(meta[name]), since)

        return cls(
            protocol=meta["protocol"],
            repeats=meta["repeats"],
            items=pl.read_parquet(folder / "items.parquet"),
            text=np.load(folder / "text.npy", allow_pickle=False),
            read_text=np.load(folder / "read_text.npy", allow_pickle=False),
            validation=side("validation"),
            test=side("test"),
            settings=Settings.model_validate(meta["settings"]),
        )


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

"""What a benchmark works on: events, split, with the items' texts as vectors; as a folder that every model reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from jobs.train import Inputs
from recsys.config import Settings
from recsys.split import HeldOut, Protocol

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

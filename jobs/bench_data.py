"""What a benchmark works on: events, split, with the items' texts as vectors; as a folder that every model reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from jobs.train import Inputs
from recsys.config import Settings
from recsys.split import HeldOut, Protocol


@dataclass(frozen=True)
class Side:
    """One side of the split. browsing: (len(browsers), dim), what these users had searched for and read, norm 1."""

    held_out: HeldOut
    browsers: list[str]
    browsing: np.ndarray


@dataclass(frozen=True)
class BenchData:
    """items: item_id, title, category, available, ascending by item_id; text: (n_items, dim), zero without text."""

    protocol: Protocol
    items: pl.DataFrame
    text: np.ndarray
    validation: Side
    test: Side
    settings: Settings

    def inputs(self, side: Side) -> Inputs:
        """What the product trains on."""
        events = side.held_out.events.filter(pl.col("item_id").is_not_null())
        return Inputs(self.items, events, self.text, lambda _: (side.browsers, side.browsing))

    def save(self, folder: Path) -> None:
        """Parquet, npy and JSON in a new or empty folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self.items.write_parquet(folder / "items.parquet")
        np.save(folder / "text.npy", self.text, allow_pickle=False)
        meta: dict[str, object] = {"protocol": self.protocol, "settings": self.settings.model_dump(mode="json")}
        for name, side in (("validation", self.validation), ("test", self.test)):
            side.held_out.events.write_parquet(folder / f"{name}_events.parquet")
            side.held_out.targets.write_parquet(folder / f"{name}_targets.parquet")
            pl.Series("user_id", side.browsers, dtype=pl.String).to_frame().write_parquet(
                folder / f"{name}_browsers.parquet"
            )
            np.save(folder / f"{name}_browsing.npy", side.browsing, allow_pickle=False)
            meta[name] = side.held_out.as_of.isoformat()
        (folder / "meta.json").write_text(json.dumps(meta))

    @classmethod
    def load(cls, folder: Path) -> BenchData:
        """What `save` wrote; vectors are mapped into memory."""
        meta = json.loads((folder / "meta.json").read_text())

        def side(name: str) -> Side:
            held_out = HeldOut(
                pl.read_parquet(folder / f"{name}_events.parquet"),
                pl.read_parquet(folder / f"{name}_targets.parquet"),
                datetime.fromisoformat(meta[name]),
            )
            browsers = pl.read_parquet(folder / f"{name}_browsers.parquet")["user_id"].to_list()
            return Side(held_out, browsers, np.load(folder / f"{name}_browsing.npy", allow_pickle=False))

        return cls(
            meta["protocol"],
            pl.read_parquet(folder / "items.parquet"),
            np.load(folder / "text.npy", allow_pickle=False),
            side("validation"),
            side("test"),
            Settings.model_validate(meta["settings"]),
        )

"""The simulated shoppers' history in the lake at the start of a day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from jobs.lake.lake import Lake
from recsys.errors import DataError
from recsys.simulate import Truth
from recsys.simulate.visitors import Choices, Visits

MET_TYPES: Final = ("view", "click", "cart", "purchase")


@dataclass(frozen=True)
class History:
    """met: whether the shopper has ever viewed, clicked, put into the cart or bought the item; n_looks: how often the
    shopper saw it in a list; popularity: number of shoppers who have met the item."""

    met: npt.NDArray[np.bool_]  # (n_users, n_items)
    bought: npt.NDArray[np.bool_]  # (n_users, n_items)
    n_looks: npt.NDArray[np.int32]  # (n_users, n_items)
    popularity: npt.NDArray[np.float32]  # (n_items,)

    def rested(self, rest_after: int) -> npt.NDArray[np.bool_]:
        """(n_users, n_items) items seen in lists at least `rest_after` times and never met; none where that is 0."""
        return (self.n_looks >= rest_after) & ~self.met if rest_after else np.zeros_like(self.met)

    def after(self, visits: Visits, choices: Choices) -> History:
        """This history plus what shoppers did on these visits."""
        met, bought, n_looks = self.met.copy(), self.bought.copy(), self.n_looks.copy()
        users = np.broadcast_to(visits.user_rows[:, None], choices.rows.shape)
        met[users[choices.is_clicked], choices.rows[choices.is_clicked]] = True
        bought[users[choices.is_bought], choices.rows[choices.is_bought]] = True
        n_looks[users[choices.is_seen], choices.rows[choices.is_seen]] += 1  # no list holds an item twice
        return History(met, bought, n_looks, met.sum(axis=0).astype(np.float32))


@dataclass(frozen=True)
class Assortment:
    """Availability and prices from the catalogue, in the order of the simulation's items."""

    available: npt.NDArray[np.bool_]
    prices: npt.NDArray[np.float64]


def read_history(lake: Lake, truth: Truth, before: datetime) -> History:
    """History of these shoppers and items in the lake from before that time."""
    users = pl.DataFrame({"user_id": truth.user_ids}).with_row_index("user")
    items = pl.DataFrame({"item_id": truth.item_ids}).with_row_index("item")
    done = (
        lake.scan("events")
        .filter(pl.col("timestamp") < before)
        .select("user_id", "item_id", pl.col("event_type").cast(pl.String))
        .filter(pl.col("event_type").is_in([*MET_TYPES, "impression"]))
        .collect()
        .join(users, on="user_id")
        .join(items, on="item_id")
    )

    def places(*event_types: str) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
        rows = done.filter(pl.col("event_type").is_in(event_types))
        return rows["user"].to_numpy(), rows["item"].to_numpy()

    shape = (len(truth.user_ids), len(truth.item_ids))
    met, bought, n_looks = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool), np.zeros(shape, dtype=np.int32)
    met[places(*MET_TYPES)] = True
    bought[places("purchase")] = True
    np.add.at(n_looks, places("impression"), 1)
    return History(met, bought, n_looks, met.sum(axis=0).astype(np.float32))


def read_assortment(lake: Lake, truth: Truth) -> Assortment:
    """Raises DataError if an item of the storefront is missing in the lake's catalogue."""
    catalog = lake.scan("catalog").select("item_id", "available", "price").collect()
    items = pl.DataFrame({"item_id": truth.item_ids})
    rows = items.join(catalog, on="item_id", how="left", maintain_order="left")
    missing = rows.filter(pl.col("available").is_null())
    if not missing.is_empty():
        raise DataError(
            f"{lake.root}: {missing.height} products of the sample storefront are not in the lake, e.g. "
            f"{missing['item_id'][0]}; run `recsys ingest sample` on this workspace first"
        )
    return Assortment(rows["available"].to_numpy(), rows["price"].fill_null(0.0).to_numpy())

"""The true preference of every shopper for every product, kept as latents: the ceiling of what can be learned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.errors import DataError
from recsys.simulate.catalog import Products
from recsys.simulate.clock import DAY
from recsys.simulate.tastes import Floats, Ints, Shoppers

_ITEMS_FILE: Final = "items.npz"
_MIDDLE: Final = 4.0  # the utility at which the preference is one half: few products please so much


@dataclass(frozen=True)
class Truth:
    """What the simulator knows and a recommender must find out."""

    user_ids: npt.NDArray[np.str_]  # (n_users,)
    item_ids: npt.NDArray[np.str_]  # (n_items,)
    user_vectors: Floats  # (n_users, n_axes)
    leaf_logits: Floats  # (n_users, n_leaves): interest in a leaf category
    item_vectors: Floats  # (n_items, n_axes)
    leaf_of_item: Ints  # (n_items,)
    quality: Floats  # (n_items,) mean over aspects, 0 = average
    arrived: Ints  # (n_items,) µs since 1970
    is_new: npt.NDArray[np.bool_]  # (n_items,) arrived in the last seven days

    def preference(self, user_rows: npt.ArrayLike, item_rows: npt.ArrayLike) -> Floats:
        """True preference in (0, 1) of each of these shoppers for each of these products.

        user_rows, item_rows: positions in `user_ids` and `item_ids`. Returns (n_users, n_items) float32. Popularity
        and fashion are no part of it: they move what is shown and clicked, not what is liked.
        """
        users, items = np.asarray(user_rows, dtype=np.int64), np.asarray(item_rows, dtype=np.int64)
        utility = self.user_vectors[users] @ self.item_vectors[items].T
        utility += self.leaf_logits[users][:, self.leaf_of_item[items]]
        preference: Floats = (1.0 / (1.0 + np.exp(_MIDDLE - utility))).astype(np.float32)
        return preference


def save_items(folder: Path, products: Products, end: int) -> None:
    """Keep the products' side; `end` is the last moment of the simulated days (µs)."""
    np.savez(
        folder / _ITEMS_FILE,
        item_ids=np.array(products.item_ids),
        vectors=products.vectors,
        leaf=products.leaf,
        quality=products.aspect_quality.mean(axis=1),
        arrived=products.arrived,
        is_new=products.arrived >= end - 7 * DAY,
    )


def save_shoppers(path: Path, user_ids: list[str], cohorts: list[Shoppers]) -> None:
    """Keep the side of some shoppers."""
    np.savez(
        path,
        user_ids=np.array(user_ids),
        vectors=np.concatenate([cohort.vectors for cohort in cohorts]),
        leaf_logits=np.concatenate([cohort.leaf_logits for cohort in cohorts]),
    )


def load_truth(folder: Path) -> Truth:
    """Read what `simulate` kept under `folder`. Raises DataError where nothing was simulated."""
    truth = folder / "truth"
    parts = sorted(truth.glob("shoppers-*.npz"))
    if not parts or not (truth / _ITEMS_FILE).is_file():
        raise DataError(f"{folder}: no sample storefront here; simulate one into this folder first")
    shoppers = [_read(part) for part in parts]
    items = _read(truth / _ITEMS_FILE)
    return Truth(
        user_ids=np.concatenate([part["user_ids"] for part in shoppers]),
        item_ids=items["item_ids"],
        user_vectors=np.concatenate([part["vectors"] for part in shoppers]),
        leaf_logits=np.concatenate([part["leaf_logits"] for part in shoppers]),
        item_vectors=items["vectors"],
        leaf_of_item=items["leaf"],
        quality=items["quality"],
        arrived=items["arrived"],
        is_new=items["is_new"],
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)

"""Products that came after the model was made: placed by their text alone, as rows behind its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np
import polars as pl
import scipy.sparse as sp

from recsys import config
from recsys.model import Model
from recsys.new_items import promise
from recsys.rank_features import ITEM_FEATURES, item_features
from recsys.tables import EVENT_TYPES

PRICE_COLUMN = ITEM_FEATURES.index("price")


def with_added_items(
    model: Model, items: pl.DataFrame, text: np.ndarray, as_of: datetime, settings: config.NewItemsSettings
) -> Model:
    """A model of these items too; its first rows are the rows of `model`, and of behaviour the new ones have none.

    items: item_id (none of which the model knows) and price (null where unknown); text: (n, text dim), norm 1 or zero.
    The arrays are copied into memory, whereas those of `model` may be mapped.
    """
    n_added, n_items = len(items), len(model.item_ids) + len(items)
    nothing = np.zeros(n_added, dtype=np.float32)
    whitened = model.whitening(text)
    linear, factors, sequence = model.linear, model.factors, model.sequence
    ends = np.full(n_added, linear.indptr[-1], dtype=linear.indptr.dtype)
    return replace(
        model,
        item_ids=pl.concat([model.item_ids, items["item_id"].alias(model.item_ids.name)]),
        sequence=replace(
            sequence,
            item_vectors=np.concatenate([sequence.item_vectors, sequence.place(whitened)]),
            has_id=np.concatenate([sequence.has_id, np.zeros(n_added, dtype=bool)]),
        ),
        linear=sp.csr_matrix(
            (linear.data, linear.indices, np.concatenate([linear.indptr, ends])), shape=(n_items, n_items)
        ),
        factors=replace(factors, item_factors=_longer(factors.item_factors, n_added)),
        text=np.concatenate([model.text, text]),
        whitened=np.concatenate([model.whitened, whitened]),
        popularity=_longer(model.popularity, n_added),
        trend=_longer(model.trend, n_added),
        repeat_rates=_longer(model.repeat_rates, n_added),
        promise=np.concatenate([model.promise, promise(nothing, nothing, settings)]),
        item_features=np.concatenate([model.item_features, item_features(_NO_EVENTS, items, as_of)]),
    )


def with_prices(model: Model, prices: dict[str, float]) -> Model:
    """The model with new prices of items by id; ids that it does not know are left out."""
    rows = {item_id: row for row, item_id in enumerate(model.item_ids) if item_id in prices}
    if not rows:
        return model
    features = np.array(model.item_features)
    features[list(rows.values()), PRICE_COLUMN] = np.log1p([prices[item_id] for item_id in rows])
    return replace(model, item_features=features)


def _longer(array: np.ndarray, n: int) -> np.ndarray:
    return np.concatenate([array, np.zeros((n, *array.shape[1:]), dtype=array.dtype)])


_NO_EVENTS = pl.DataFrame(
    schema={
        "user_id": pl.String,
        "item_id": pl.String,
        "event_type": pl.Enum(EVENT_TYPES),
        "timestamp": pl.Datetime("us", "UTC"),
        "value": pl.Float64,
    }
)

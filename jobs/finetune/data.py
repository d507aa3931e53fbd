"""What the shop gives to tune an encoder on: its texts, pairs of them that belong together, and its reviews."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from features.encoder.encoder import Encoder
from features.finetune.pairs import read_histories, training_pairs
from features.text.documents import browsing_texts, item_texts, review_texts
from jobs.embedding.embed import embed_texts, load_vectors
from jobs.lake.lake import Lake
from jobs.lake.snapshot import Shop, read_shop
from recsys import config
from recsys.config import Settings
from recsys.errors import DataError
from recsys.interactions import rating_events
from recsys.workspace import Workspace

EmbedProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class TuningData:
    """All of it happened or was written before one moment.

    texts: of items, reviews, searches and pages read, with repeats; pairs: `features.finetune.pairs.Pairs`, None where
    there is not one, and `no_pairs` then says why; histories: user_id and text of the items that each shopper dealt
    with, oldest first; reviews: `recsys.tables.Reviews`.
    """

    texts: list[str]
    pairs: pl.DataFrame | None
    no_pairs: str
    histories: pl.DataFrame
    reviews: pl.DataFrame


def read_tuning_data(
    workspace: Workspace,
    encoder: Encoder,
    named: config.EncoderSettings,
    settings: Settings,
    as_of: datetime,
    progress: EmbedProgress,
) -> TuningData:
    """The shop before `as_of`, for this encoder, which the settings `named` load.

    The items' vectors, which hard negatives are chosen by, are embedded where the workspace has none of this encoder.
    Raises DataError where nothing happened before `as_of`.
    """
    lake = Lake(workspace.lake)
    shop = read_shop(lake, as_of)
    items = item_texts(shop.items, shop.reviews, settings.text, encoder.count_tokens)
    done = embed_texts(workspace, items, named, settings.embed, progress)
    described = items.join(
        shop.items.select("item_id", "title", "description"), on="item_id", how="left", maintain_order="left"
    )
    events, own = _events(lake, shop, as_of), settings.finetune.pairs
    pairs, no_pairs = None, ""
    try:
        pairs = training_pairs(
            events,
            described,
            shop.reviews,
            load_vectors(workspace, done.encoder_id, items["text_hash"]),
            as_of,
            own,
            settings.seed,
        )
    except DataError as error:
        no_pairs = str(error)
    said = [items, review_texts(shop.reviews), browsing_texts(shop.searches)]
    texts = [text for frame in said for text in frame["text"] if text]
    return TuningData(texts, pairs, no_pairs, read_histories(events, described, as_of, own), shop.reviews)


def _events(lake: Lake, shop: Shop, as_of: datetime) -> pl.DataFrame:
    """The lake's events, and the reviews as ratings: a shop of reviews alone has histories, too."""
    events = lake.scan("events").filter(pl.col("timestamp") < as_of).collect()
    return pl.concat([events, rating_events(shop.reviews.lazy()).collect()], how="diagonal_relaxed")

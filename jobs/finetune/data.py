"""The data of fine-tuning: the shop's texts, pairs of texts that belong together, histories and reviews."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from features.encoder.encoder import Encoder
from features.finetune.pairs import read_histories, training_pairs
from features.text.documents import browsing_texts, item_texts, review_texts
from jobs.embedding.embed import embed_texts, load_vectors
from jobs.lake.aliases import scan_by_item
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
    """All data is from before one point in time.

    texts: of items, reviews, searches and pages read, with duplicates; pairs: `features.finetune.pairs.Pairs`, or None
    if there are none, and `no_pairs` then gives the reason; histories: user_id and text of the items of each shopper's
    events, oldest first; reviews: `recsys.tables.Reviews`.
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
    """Read the shop's data from before `as_of`. named: the settings that load `encoder`.

    Embeds the items if the workspace has no vectors of this encoder; hard negatives are chosen by these vectors.
    Raises DataError if there are no events before `as_of`.
    """
    lake = Lake(workspace.lake)
    shop = read_shop(lake, as_of)
    items = item_texts(shop.items, shop.reviews, settings.text, encoder.count_tokens)
    done = embed_texts(workspace, items, named, settings.embed, progress)
    described = items.join(
        shop.items.select("item_id", "title", "description"), on="item_id", how="left", maintain_order="left"
    )
    events, pair_settings = _events(lake, shop, as_of), settings.finetune.pairs
    pairs, no_pairs = None, ""
    try:
        pairs = training_pairs(
            events,
            described,
            shop.reviews,
            load_vectors(workspace, done.encoder_id, items["text_hash"]),
            as_of,
            pair_settings,
            settings.seed,
        )
    except DataError as error:
        no_pairs = str(error)
    frames = [items, review_texts(shop.reviews), browsing_texts(shop.searches)]
    texts = [text for frame in frames for text in frame["text"] if text]
    return TuningData(texts, pairs, no_pairs, read_histories(events, described, as_of, pair_settings), shop.reviews)


def _events(lake: Lake, shop: Shop, as_of: datetime) -> pl.DataFrame:
    """The lake's events, plus the reviews as ratings, so that a shop with only reviews has histories, too."""
    events = scan_by_item(lake, "events").filter(pl.col("timestamp") < as_of).collect()
    return pl.concat([events, rating_events(shop.reviews.lazy()).collect()], how="diagonal_relaxed")

"""What training made becomes the tables and files of a release."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import polars as pl

from features.store.manifest import BEGINNING, LivePosition, Manifest, new_release_id
from features.store.release import SETTINGS_FILE, TEXTS_FILE
from features.store.store import ReleaseDraft, Store
from jobs.embedding.embed import EMPTY, load_vectors
from jobs.lake.snapshot import Shop
from jobs.training.warm_start import save_warm_start
from recsys.config import Settings
from recsys.cooccurrence import learn_together
from recsys.errors import StoreError
from recsys.model import Model
from recsys.query import Query
from recsys.recommend import Recommender, batches
from recsys.review_quotes import Evidence
from recsys.sequence import SequenceModel
from recsys.workspace import Workspace

_STAGING: Final = "staging-"
MADE_FROM_FILE: Final = "made_from.json"


@dataclass(frozen=True)
class ReleaseInputs:
    """What a release was made from. key: of the night's last step, "" where no night made it.

    rules: digest of the settings and code of its models; learned_at, n_events: the `as_of` of the night that last
    learned all from the start (ISO, "" where unknown), and the events on items that it knew.
    """

    key: str = ""
    rules: str = ""
    learned_at: str = ""
    n_events: int = 0


@dataclass(frozen=True)
class TrainedRelease:
    """What a night made of the shop as it stood at `as_of`: the model with its shoppers, measured.

    users: user_id, history; warm_start: what the next night's first model starts from, and the moment from which on it
    has seen nothing. items_text, reviews_text: the id, text and text_hash of what was embedded. sentiment: review_id
    and sentiment (-1 to 1) of the reviews that a sentiment head has read; quotes: as
    `features.text.quotes.review_quotes`; live: how far the live database was read; made_from: how the next night tells
    that nothing has changed.
    """

    as_of: datetime
    shop: Shop
    model: Model
    recommender: Recommender
    users: pl.DataFrame
    warm_start: tuple[SequenceModel, datetime]
    items_text: pl.DataFrame
    reviews_text: pl.DataFrame
    encoder_id: str
    encoder_sha256: str
    sentiment: pl.DataFrame
    quotes: pl.DataFrame
    metrics: Mapping[str, Any]
    live: LivePosition = BEGINNING
    made_from: ReleaseInputs = ReleaseInputs()


def publish(store: Store, workspace: Workspace, made: TrainedRelease, settings: Settings, now: datetime) -> Manifest:
    """Write the release and point `CURRENT` at it; older ones beyond `releases.keep` are collected, but for those that
    experiments are served from."""
    workspace.runs.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=_STAGING, dir=workspace.runs) as folder:
        model_dir = Path(folder)
        made.model.save(model_dir)
        save_warm_start(*made.warm_start, model_dir)
        np.save(model_dir / TEXTS_FILE, made.recommender.users.texts, allow_pickle=False)
        learn_together(made.shop.events, made.model.item_ids, settings.complements).save(model_dir)
        quoted = load_vectors(workspace, made.encoder_id, made.quotes["text_hash"])
        Evidence.of(made.quotes, quoted, made.model.item_ids).save(model_dir)
        (model_dir / SETTINGS_FILE).write_text(settings.release_json())
        (model_dir / MADE_FROM_FILE).write_text(json.dumps(asdict(made.made_from)))
        draft = ReleaseDraft(
            release_id=new_release_id(made.as_of, now, settings.digest()),
            as_of=made.as_of,
            tables={
                "items": items_table(made),
                "users": users_table(made),
                "reviews": reviews_table(workspace, made),
            },
            model_dir=model_dir,
            encoder_id=made.encoder_id,
            encoder_sha256=made.encoder_sha256,
            config_sha256=settings.digest(),
            metrics=made.metrics,
            live=made.live,
        )
        manifest = store.publish(draft, now)
    store.collect(settings.releases.keep, now, settings.experiment_releases())
    return manifest


def forget_killed(workspace: Workspace) -> None:
    """Remove what publishes that were killed have left among the runs; the store does the same with its own."""
    for left in workspace.runs.glob(f"{_STAGING}*/"):
        shutil.rmtree(left)


def made_from(workspace: Workspace, release_id: str) -> ReleaseInputs | None:
    """What that release was made from; None where it does not say, as one of an earlier version."""
    try:
        folder = Store(workspace).open(release_id, verify=False).model_dir
        return ReleaseInputs(**json.loads((folder / MADE_FROM_FILE).read_text()))
    except (StoreError, OSError, ValueError, TypeError):
        return None


def items_table(made: TrainedRelease) -> pl.DataFrame:
    """The `items` table of design: the catalogue with vectors, popularity and what reviewers said in stars and words.

    sentiment: the mean of the item's reviews, null where none was read.
    """
    model = made.model
    stars = (
        _read_reviews(made)
        .group_by("item_id")
        .agg(rating=pl.col("rating").mean(), n_reviews=pl.len().cast(pl.Int32), sentiment=pl.col("sentiment").mean())
    )
    return (
        made.shop.items.join(stars, on="item_id", how="left", maintain_order="left")
        .join(made.items_text.select("item_id", "text_hash"), on="item_id", how="left", maintain_order="left")
        .with_columns(
            vectors("text_vector", model.text),
            vectors("cf_vector", model.factors.item_factors),
            vectors("vector", made.recommender.vectors),
            pl.Series("popularity", model.popularity),
            pl.Series("is_cold", model.popularity == 0),
            pl.col("n_reviews").fill_null(0),
        )
    )


def users_table(made: TrainedRelease) -> pl.DataFrame:
    """The `users` table of design: history, browsing profile, and the shopper's place in both item spaces."""
    table, recommender = made.users, made.recommender
    dim, cf_dim = recommender.vectors.shape[1], made.model.factors.item_factors.shape[1]
    fused, factors = np.zeros((len(table), dim), np.float32), np.zeros((len(table), cf_dim), np.float32)
    for batch in batches(len(table), dim + cf_dim):
        shoppers = recommender.shoppers([Query(user_id=user_id) for user_id in table["user_id"][batch]])
        fused[batch] = shoppers.wanted
        factors[batch] = made.model.factors.user_factors(shoppers.history)
    return table.with_columns(
        vectors("vector", fused),
        vectors("cf_vector", factors),
        vectors("text_vector", recommender.users.browsing),
        as_of=pl.lit(made.as_of).cast(pl.Datetime("us", "UTC")),
    )


def reviews_table(workspace: Workspace, made: TrainedRelease) -> pl.DataFrame:
    """The `reviews` table of design; a review without words has a zero vector and no sentiment."""
    hashes = made.reviews_text.select("review_id", "text_hash")
    table = (
        _read_reviews(made)
        .join(hashes, on="review_id", how="left", maintain_order="left")
        .with_columns(pl.col("text_hash").fill_null(EMPTY), encoder=pl.lit(made.encoder_id))
    )
    return table.with_columns(vectors("vector", load_vectors(workspace, made.encoder_id, table["text_hash"])))


def _read_reviews(made: TrainedRelease) -> pl.DataFrame:
    """The shop's reviews with their sentiment, null where no head has read them."""
    return made.shop.reviews.join(made.sentiment, on="review_id", how="left", maintain_order="left")


def vectors(name: str, array: np.ndarray) -> pl.Series:
    """(n, dim) float32 as a column of fixed-size arrays."""
    return pl.Series(name, np.ascontiguousarray(array, dtype=np.float32), dtype=pl.Array(pl.Float32, array.shape[1]))

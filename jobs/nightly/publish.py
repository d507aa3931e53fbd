"""Writes the tables and files of a release from a trained model."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import polars as pl
from pydantic import TypeAdapter

from features.encoder.reading import READING, Reading
from features.store.manifest import BEGINNING, LivePosition, Manifest
from features.store.release import SETTINGS_FILE, TEXTS_FILE
from features.store.store import ReleaseDraft, Store
from features.workspace.record_file import RecordFile
from jobs.embedding.embed import EMPTY, load_vectors
from jobs.lake.snapshot import Shop
from jobs.training.warm_start import save_warm_start
from recsys.batch_scoring import batches, shoppers
from recsys.config import Settings
from recsys.cooccurrence import learn_together
from recsys.errors import StoreError
from recsys.model import Model
from recsys.query import Query
from recsys.recommend import Recommender
from recsys.release_files import ALIASES_FILE
from recsys.review_quotes import Evidence
from recsys.sequence import SequenceModel
from recsys.workspace import Workspace

_STAGING: Final = "staging-"


@dataclass(frozen=True)
class ReleaseInputs:
    """What a release was built from. key: of the run's last step, "" where no run built it.

    rules: digest of the settings and code of its models; learned_at, n_events: the `as_of` of the last full retrain
    (ISO, "" where unknown), and the number of events on items at that time.
    """

    key: str = ""
    rules: str = ""
    learned_at: str = ""
    n_events: int = 0


MADE_FROM: Final = RecordFile("made_from.json", TypeAdapter(ReleaseInputs))
"""In the folder of the release's model files."""


@dataclass(frozen=True)
class TrainedRelease:
    """The result of a run on the shop as it was at `as_of`: the model with its shoppers, and its metrics.

    users: user_id, history; warm_start: the model that the next run's first fit may start from, and the time from which
    on it has seen nothing. items_text, reviews_text: the id, text and text_hash of what was embedded; reading: how the
    encoder reads the items' texts. sentiment: review_id and sentiment (-1 to 1) of the reviews that a sentiment head
    has read; quotes: as `features.text.quotes.review_quotes`; live: how far the live database was read; made_from:
    tells the next run whether anything has changed.
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
    reading: Reading
    sentiment: pl.DataFrame
    quotes: pl.DataFrame
    metrics: Mapping[str, Any]
    live: LivePosition = BEGINNING
    made_from: ReleaseInputs = ReleaseInputs()


def publish(
    store: Store, workspace: Workspace, release_id: str, trained: TrainedRelease, settings: Settings, now: datetime
) -> Manifest:
    """Write the release and point `CURRENT` at it. Deletes older releases beyond `releases.keep`, except those that
    experiments are served from."""
    workspace.runs.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=_STAGING, dir=workspace.runs) as folder:
        model_dir = Path(folder)
        trained.model.save(model_dir)
        save_warm_start(*trained.warm_start, model_dir)
        np.save(model_dir / TEXTS_FILE, trained.recommender.users.texts, allow_pickle=False)
        learn_together(trained.shop.events, trained.model.item_ids, settings.complements).save(model_dir)
        quoted = load_vectors(workspace, trained.encoder_id, trained.quotes["text_hash"])
        Evidence.of(trained.quotes, quoted, trained.model.item_ids).save(model_dir)
        (model_dir / SETTINGS_FILE).write_text(settings.release_json())
        _write_aliases(trained, model_dir)
        MADE_FROM.write(model_dir, trained.made_from)
        if trained.reading.n_texts:
            READING.write(model_dir, trained.reading)
        draft = ReleaseDraft(
            release_id=release_id,
            as_of=trained.as_of,
            tables={
                "items": items_table(trained),
                "users": users_table(trained),
                "reviews": reviews_table(workspace, trained),
            },
            model_dir=model_dir,
            encoder_id=trained.encoder_id,
            encoder_sha256=trained.encoder_sha256,
            config_sha256=settings.digest(),
            metrics=trained.metrics,
            log_offset=trained.live,
        )
        manifest = store.publish(draft, now)
    store.collect(settings.releases.keep, now, settings.experiment_releases())
    return manifest


def _write_aliases(trained: TrainedRelease, model_dir: Path) -> None:
    """The other ids of the release's items; no file where there are none."""
    aliases = trained.shop.aliases.filter(pl.col("item_id").is_in(trained.model.item_ids.implode()))
    if not aliases.is_empty():
        aliases.write_parquet(model_dir / ALIASES_FILE)


def remove_staging(workspace: Workspace) -> None:
    """Remove the staging folders of killed runs; the store removes its own."""
    for left in workspace.runs.glob(f"{_STAGING}*/"):
        shutil.rmtree(left)


def read_release_inputs(workspace: Workspace, release_id: str) -> ReleaseInputs | None:
    """What that release was built from; None where it has no such record, as releases of earlier versions."""
    try:
        folder = Store(workspace).open(release_id, verify=False).model_dir
        return MADE_FROM.read(folder)
    except (StoreError, OSError, ValueError):
        return None


def items_table(trained: TrainedRelease) -> pl.DataFrame:
    """The `items` table of a release: the catalogue with vectors, popularity, mean rating and sentiment.

    sentiment: the mean of the item's reviews, null where none has one.
    """
    model = trained.model
    stars = (
        _read_reviews(trained)
        .group_by("item_id")
        .agg(rating=pl.col("rating").mean(), n_reviews=pl.len().cast(pl.Int32), sentiment=pl.col("sentiment").mean())
    )
    return (
        trained.shop.items.join(stars, on="item_id", how="left", maintain_order="left")
        .join(trained.items_text.select("item_id", "text_hash"), on="item_id", how="left", maintain_order="left")
        .with_columns(
            vectors("text_vector", model.text),
            vectors("cf_vector", model.factors.item_factors),
            vectors("vector", trained.recommender.vectors),
            pl.Series("popularity", model.popularity),
            pl.Series("is_cold", model.popularity == 0),
            pl.col("n_reviews").fill_null(0),
        )
    )


def users_table(trained: TrainedRelease) -> pl.DataFrame:
    """The `users` table of a release: history, browsing profile, and the shopper's place in both item spaces."""
    table, recommender = trained.users, trained.recommender
    dim, cf_dim = recommender.vectors.shape[1], trained.model.factors.item_factors.shape[1]
    fused, factors = np.zeros((len(table), dim), np.float32), np.zeros((len(table), cf_dim), np.float32)
    for batch in batches(len(table), dim + cf_dim):
        read = shoppers(recommender, [Query(user_id=user_id) for user_id in table["user_id"][batch]])
        fused[batch] = read.query_vectors
        factors[batch] = trained.model.factors.user_factors(read.history)
    return table.with_columns(
        vectors("vector", fused),
        vectors("cf_vector", factors),
        vectors("text_vector", recommender.users.browsing),
        as_of=pl.lit(trained.as_of).cast(pl.Datetime("us", "UTC")),
    )


def reviews_table(workspace: Workspace, trained: TrainedRelease) -> pl.DataFrame:
    """The `reviews` table of a release; a review without words has a zero vector and no sentiment."""
    hashes = trained.reviews_text.select("review_id", "text_hash")
    table = (
        _read_reviews(trained)
        .join(hashes, on="review_id", how="left", maintain_order="left")
        .with_columns(pl.col("text_hash").fill_null(EMPTY), encoder=pl.lit(trained.encoder_id))
    )
    return table.with_columns(vectors("vector", load_vectors(workspace, trained.encoder_id, table["text_hash"])))


def _read_reviews(trained: TrainedRelease) -> pl.DataFrame:
    """The shop's reviews with their sentiment, null where no sentiment head has read them."""
    return trained.shop.reviews.join(trained.sentiment, on="review_id", how="left", maintain_order="left")


def vectors(name: str, array: np.ndarray) -> pl.Series:
    """(n, dim) float32 as a column of fixed-size arrays."""
    return pl.Series(name, np.ascontiguousarray(array, dtype=np.float32), dtype=pl.Array(pl.Float32, array.shape[1]))

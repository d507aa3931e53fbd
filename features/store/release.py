"""A published release in memory, ready to answer."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from features.encoder.selection import resolve_path
from features.store.manifest import Manifest
from features.store.store import Store
from features.workspace.hidden_reviews import hidden_ids
from recsys import config
from recsys.cooccurrence import CoPurchases
from recsys.errors import StoreError
from recsys.explain import ExplanationData
from recsys.model import Model
from recsys.recommend import Recommender
from recsys.review_quotes import Evidence
from recsys.users import users_from_table
from recsys.workspace import Workspace

SETTINGS_FILE = "settings.json"
"""The settings that a release was made with travel with its model: it is read by the rules that it was made by."""

TEXTS_FILE = "texts.npy"
"""Vectors of what the shoppers searched for and read. The words themselves are in no release."""

ITEM_COLUMNS: Final = (
    *("item_id", "title", "category", "brand", "price", "available", "updated_at", "attributes"),
    *("rating", "n_reviews"),
)
"""What the service knows of an item beside the model's arrays, as far as the release has it."""


@dataclass(frozen=True)
class Catalogue:
    """What a recommender is made of beside model and shoppers: its items, as rows of the table, and the settings."""

    items: pl.DataFrame
    settings: config.Settings


@dataclass(frozen=True)
class LoadedRelease:
    """One release with its recommender; `encoder` is what its text vectors were made with. catalogue: to make another
    recommender of it, with items as they have become since."""

    release_id: str
    manifest: Manifest
    recommender: Recommender
    encoder: config.EncoderSettings
    catalogue: Catalogue | None = None


def load_release(
    workspace: Workspace, release_id: str | None = None, hidden_reviews: Container[str] | None = None
) -> LoadedRelease:
    """Load a release, the served one by default; its arrays are mapped, its shoppers and titles read into memory.

    hidden_reviews: ids of reviews that must not be quoted, asked for each; by default those that are hidden now.

    Raises StoreError where there is none, or a part of it is missing, altered, or does not fit the others,
    DataError where it cannot be told what is hidden, and
    EncoderError where the encoder that was tuned for it has left the workspace.
    """
    release = Store(workspace).open(release_id)
    model = Model.load(release.model_dir)
    settings = _settings(release.model_dir / SETTINGS_FILE)
    known = release.columns("items")
    items = release.table("items", [name for name in ITEM_COLUMNS if name in known])
    if not items["item_id"].equals(model.item_ids):
        raise StoreError(f"release {release.release_id}: its items table and its model name different items")
    table = release.table("users", ["user_id", "history"])
    users = users_from_table(
        table, release.vectors("users", "text_vector"), read_texts(release.model_dir), model.item_ids
    )
    n_items = len(items)
    facts = ExplanationData(
        CoPurchases.load(release.model_dir, n_items),
        Evidence.load(release.model_dir, n_items),
        hidden_ids(workspace.hidden_reviews) if hidden_reviews is None else hidden_reviews,
        settings.complements.max_similarity,
    )
    recommender = Recommender.of_release(model, users, items, settings, facts)
    recommender.properties.prepare()
    encoder = resolve_path(workspace, settings.encoder)
    return LoadedRelease(release.release_id, release.manifest, recommender, encoder, Catalogue(items, settings))


def read_texts(folder: Path) -> np.ndarray:
    """(n_texts, dim): what `HISTORY`'s text rows point into."""
    try:
        mapped = np.load(folder / TEXTS_FILE, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise StoreError(f"{folder / TEXTS_FILE}: cannot be read ({error}); run `recsys nightly` again") from None
    return mapped.view(np.ndarray)


def _settings(path: Path) -> config.Settings:
    try:
        return config.read_stored(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read ({error}); run `recsys nightly` again") from None

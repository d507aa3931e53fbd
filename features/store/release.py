"""A published release in memory, ready to recommend."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from features.encoder.reading import READING, Reading
from features.encoder.selection import resolve_path
from features.store.formats import CO_PURCHASE_FILES, QUOTE_FILES
from features.store.manifest import Manifest
from features.store.store import Store
from features.workspace.hidden_reviews import hidden_ids
from recsys import config
from recsys.cooccurrence import CoPurchases
from recsys.errors import StoreError
from recsys.explain import ExplanationData
from recsys.model import Model
from recsys.recommend import Recommender
from recsys.release_files import ALIASES_FILE
from recsys.review_quotes import Evidence
from recsys.users import users_from_table
from recsys.workspace import Workspace

SETTINGS_FILE = "settings.json"
"""The settings that a release was trained with, beside its model: the service uses these for its lists."""

TEXTS_FILE = "texts.npy"
"""Vectors of what the shoppers searched for and read. The texts themselves are in no release."""

ITEM_COLUMNS: Final = (
    *("item_id", "title", "category", "brand", "price", "available", "updated_at", "attributes"),
    *("rating", "n_reviews"),
)
"""What the service reads of an item beside the model's arrays, as far as the catalogue has these columns."""


@dataclass(frozen=True)
class Catalogue:
    """What a recommender needs beside model and shoppers: its items, as rows of the table, and the settings."""

    items: pl.DataFrame
    settings: config.Settings


@dataclass(frozen=True)
class LoadedRelease:
    """One release with its recommender. encoder: of its text vectors; catalogue: to build another recommender from the
    release, with items that have changed since; aliases: other ids of its items; reading: how the encoder reads the
    product texts, None where that was not measured."""

    release_id: str
    manifest: Manifest
    recommender: Recommender
    encoder: config.EncoderSettings
    catalogue: Catalogue | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    reading: Reading | None = None

    def item_id_of(self, item_id: str) -> str:
        """The id itself where the release knows it or nothing of it, else the item of which it is an alias."""
        if not self.aliases or item_id in self.recommender.rows:
            return item_id
        return self.aliases.get(item_id, item_id)


def load_release(
    workspace: Workspace, release_id: str | None = None, hidden_reviews: Container[str] | None = None
) -> LoadedRelease:
    """Load a release, the served one by default; its arrays are mapped, its shoppers and titles read into memory.

    hidden_reviews: ids of reviews that must not be quoted, looked up for each quote; by default those hidden now.

    Raises StoreError where there is no such release, or a part of it is missing, altered, or does not fit the others;
    DataError where the list of hidden reviews cannot be read; and EncoderError where the encoder that was tuned for the
    release is no longer in the workspace.
    """
    release = Store(workspace).open(release_id)
    manifest, folder = release.manifest, release.model_dir
    model = Model.load(folder)
    settings = _settings(folder / SETTINGS_FILE)
    known = release.columns("items")
    items = release.table("items", [name for name in ITEM_COLUMNS if name in known])
    if not items["item_id"].equals(model.item_ids):
        raise StoreError(f"release {release.release_id}: its items table and its model name different items")
    table = release.table("users", ["user_id", "history"])
    users = users_from_table(table, release.vectors("users", "text_vector"), read_texts(folder), model.item_ids)
    n_items = len(items)
    facts = ExplanationData(
        CoPurchases.load(folder, n_items) if manifest.has_all(CO_PURCHASE_FILES) else CoPurchases.none(n_items),
        Evidence.load(folder, n_items) if manifest.has_all(QUOTE_FILES) else Evidence.none(n_items),
        hidden_ids(workspace.hidden_reviews) if hidden_reviews is None else hidden_reviews,
        settings.complements.max_similarity,
    )
    recommender = Recommender.of_release(model, users, items, settings, facts)
    recommender.properties.prepare()
    encoder = resolve_path(workspace, settings.encoder)
    aliases = read_aliases(folder) if manifest.has(ALIASES_FILE) else {}
    reading = READING.find(folder) if manifest.has(READING.name) else None
    catalogue = Catalogue(items, settings)
    return LoadedRelease(release.release_id, manifest, recommender, encoder, catalogue, aliases, reading)


def read_texts(folder: Path) -> np.ndarray:
    """(n_texts, dim): what `HISTORY`'s text rows point into."""
    try:
        mapped = np.load(folder / TEXTS_FILE, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise StoreError(f"{folder / TEXTS_FILE}: cannot be read ({error}); run `recsys nightly` again") from None
    return mapped.view(np.ndarray)


def read_aliases(folder: Path) -> dict[str, str]:
    """Alias -> item."""
    path = folder / ALIASES_FILE
    try:
        return dict(pl.read_parquet(path, columns=["alias", "item_id"]).iter_rows())
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StoreError(f"{path}: cannot be read ({error}); run `recsys nightly` again") from None


def _settings(path: Path) -> config.Settings:
    try:
        return config.read_stored(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read ({error}); run `recsys nightly` again") from None

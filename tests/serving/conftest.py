"""A shop of six items with a real recommender, small enough to work out by hand, and an encoder of three words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from fake_releases import Shelf
from starlette.testclient import TestClient
from storefronts import six_item_model

from features.store.manifest import Manifest
from features.store.release import Catalogue, LoadedRelease
from features.workspace.api_keys import ApiKey, Scope, digest
from recsys import config
from recsys.config import Settings
from recsys.cooccurrence import learn_together
from recsys.explain import ExplanationData
from recsys.model import Model
from recsys.properties import Properties
from recsys.recommend import Recommender
from recsys.review_quotes import Evidence
from recsys.tables import EVENT_TYPES
from recsys.users import History, Users
from serving.api import create_app
from serving.live import reader
from serving.releases.active import ActiveRelease
from serving.releases.text_vectors import TextVectors
from serving.state import ServiceState
from serving.watch.keys import Keys

AS_OF = datetime(2026, 1, 1, tzinfo=UTC)
ITEM_IDS = ("boot", "coat", "lamp", "rug", "sock", "vase")
WORDS = {"shoes": 0, "clothes": 1, "home": 2}
CATALOGUE = pl.DataFrame(
    {
        "item_id": ITEM_IDS,
        "title": [None, *(item_id.title() for item_id in ITEM_IDS[1:])],
        "category": ["Wear > Feet", "Wear", "Home > Light", "Home", "Wear > Feet", "Home"],
        "brand": ["Foot", "Cloth", "Lux", "Lux", "Foot", None],
        "price": [90.0, 120.0, 40.0, 60.0, 5.0, 15.0],
        "available": [True] * 6,
        "updated_at": [AS_OF] * 6,
        "attributes": ['{"size": 43}', None, None, None, '{"colour": ["grey", "blue"]}', None],
    }
)
PURCHASES = pl.DataFrame(
    {
        "user_id": ["ann", "bea", "ann", "bea", "ann"],
        "item_id": ["boot", "boot", "sock", "sock", "lamp"],
        "event_type": ["purchase"] * 5,
        "timestamp": [AS_OF] * 5,
    }
)
"""Two shoppers bought boots and socks."""
QUOTES = pl.DataFrame(
    {
        "item_id": ["sock", "sock", "lamp"],
        "review_id": ["r1", "r2", "r3"],
        "rating": [5.0, 4.0, 5.0],
        "text": ["Warm in my shoes.", "Goes with all my clothes.", "It lights the whole home."],
    }
)
THEMES = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1], [0.6, 0.8, 0], [0, 0, 1]], dtype=np.float32)
"""(6 items, 3 words): what each item's text is about."""


class WordEncoder:
    """One axis a known word; counts what it is asked."""

    def __init__(self, encoder_id: str = "words") -> None:
        self.id = encoder_id
        self.calls: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.calls.append(list(texts))
        vectors = np.zeros((len(texts), 3), dtype=np.float32)
        for row, text in enumerate(texts):
            for word, axis in WORDS.items():
                vectors[row, axis] = word in text
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def make_model() -> Model:
    """Boots go with socks and lamps with vases; lamps sell best."""
    return six_item_model(ITEM_IDS, THEMES, np.array([2, 1, 9, 3, 4, 5]))


def make_release(release_id: str = "r1", encoder: config.EncoderSettings | None = None) -> LoadedRelease:
    """The shop as one release; user `ann` bought the boot."""
    users = Users(
        rows={"ann": 0},
        indptr=np.array([0, 1]),
        entries=History(
            item_rows=np.array([0], dtype=np.int32),
            text_rows=np.array([-1], dtype=np.int32),
            weights=np.array([5.0], dtype=np.float32),
            timestamps=np.array([int(AS_OF.timestamp() * 1_000_000)]),
            event_types=np.array([EVENT_TYPES.index("purchase")], dtype=np.int8),
            n_bought=np.array([1], dtype=np.int32),
        ),
        browsing=np.zeros((1, 3), dtype=np.float32),
        texts=np.zeros((0, 3), dtype=np.float32),
    )
    recommender = Recommender(
        make_model(),
        users,
        Properties.of_table(CATALOGUE),
        settings=config.RecommendSettings(),
        new_items=config.NewItemsSettings(),
        weights=config.InteractionsSettings(),
        facts=ExplanationData(
            learn_together(PURCHASES, pl.Series(ITEM_IDS), config.ComplementsSettings()),
            Evidence.of(QUOTES, np.eye(3, dtype=np.float32)[[0, 1, 2]], pl.Series(ITEM_IDS)),
        ),
    )
    manifest = Manifest(
        release_id=release_id,
        parent=None,
        as_of=AS_OF,
        created_at=AS_OF,
        tables={"items": 1, "users": 1, "reviews": 1},
        rows={"items": 6, "users": 1, "reviews": 0},
        files={},
        encoder_id="words",
        encoder_sha256="",
        config_sha256="",
        metrics={"all": {"ndcg_at_10": 0.5}},
    )
    items = pl.DataFrame(
        {"item_id": ITEM_IDS, "title": recommender.properties.titles, "available": [True] * 6, "price": [None] * 6},
        schema_overrides={"price": pl.Float64},
    )
    catalogue = Catalogue(items, Settings())
    return LoadedRelease(release_id, manifest, recommender, encoder or config.EncoderSettings(), catalogue)


@pytest.fixture(autouse=True)
def _patient_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a list would else go without what the database knows, as it should, and a test would fail."""
    monkeypatch.setattr(reader, "TIMEOUT_S", 30.0)


@pytest.fixture
def encoder() -> WordEncoder:
    return WordEncoder()


@pytest.fixture
def release_of() -> Callable[..., LoadedRelease]:
    """Makes the shop's release for an id and an encoder."""
    return make_release


@pytest.fixture
def live(encoder: WordEncoder) -> Iterator[ActiveRelease]:
    texts = TextVectors(lambda: encoder, size=100)
    yield ActiveRelease(make_release(), texts)
    texts.close()


@pytest.fixture
def client_of() -> Callable[..., TestClient]:
    """Makes a client of the service for what is live and for settings."""

    def make(live: ActiveRelease | None, settings: Settings | None = None, **edge: Any) -> TestClient:
        app = create_app(settings or Settings(), ServiceState(lambda: live, **edge))
        return TestClient(app, raise_server_exceptions=False)

    return make


@pytest.fixture
def shelf(encoder: WordEncoder) -> Shelf:
    return Shelf(make_release, encoder)


KEYS = {
    "reader": (Scope.READ,),
    "writer": (Scope.WRITE,),
    "both": (Scope.READ, Scope.WRITE),
    "sécond": (Scope.READ,),
    "all": tuple(Scope),
}
"""Keys that tests may send, and what each may do."""


def make_keys(**limits: Any) -> Keys:
    """The digests of `KEYS`, and of two that have ended."""
    known = [
        ApiKey(name=secret, sha256=digest(secret.encode()), scopes=scopes, created_at=AS_OF, **limits)
        for secret, scopes in KEYS.items()
    ]
    ended = {"revoked": {"revoked_at": AS_OF}, "expired": {"expires_at": AS_OF}}
    known += [
        ApiKey(name=secret, sha256=digest(secret.encode()), scopes=(Scope.READ,), created_at=AS_OF, **end)
        for secret, end in ended.items()
    ]
    return Keys({key.sha256: key for key in known}, are_required=True)


@pytest.fixture
def keys_of() -> Callable[..., Keys]:
    """Makes the keys of this module with limits."""
    return make_keys


@pytest.fixture
def client(live: ActiveRelease, client_of: Callable[..., TestClient]) -> TestClient:
    return client_of(live)

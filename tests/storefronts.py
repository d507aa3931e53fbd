"""A storefront of five items that fits in one's head; tests of the recommender read their answers off it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch

from recsys.candidates import Factors
from recsys.config import InteractionsSettings, NewItemsSettings, RecommendSettings
from recsys.fusion import Fusion
from recsys.model import Model
from recsys.properties import Properties
from recsys.query import Query
from recsys.rank_features import ITEM_FEATURES
from recsys.ranking import Ranker
from recsys.recommend import Recommender
from recsys.repeats import Repeats
from recsys.sequence import SequenceModel
from recsys.sequence.network import Network, Shape
from recsys.slate import Slate
from recsys.users import HISTORY, Users, users_from_table
from recsys.whitening import Whitening, unit_rows

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
ITEM_IDS = ["kettle", "keyboard", "lamp", "mouse", "teapot"]
TEXT = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0.8, 0.6], [0.8, 0, 0.6]], dtype=np.float32)
"""Kettle and teapot read alike, so do keyboard and mouse."""

LAMP = TEXT[ITEM_IDS.index("lamp")]
KETTLE = TEXT[ITEM_IDS.index("kettle")]

FACTORS = np.array([[1, 0], [0, 1], [0, 0], [0.1, 0.9], [0.9, 0.1]], dtype=np.float32)


def sequence_model(item_vectors: np.ndarray, text_dim: int, max_length: int = 50) -> SequenceModel:
    """These vectors for the items, and a network that reads histories somehow: its weights are drawn with one seed."""
    n_items, dim = item_vectors.shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Network(Shape(n_items, text_dim, dim, layers=1, max_length=max_length, dropout=0.0, temperature=0.07))
    return SequenceModel(network.eval(), item_vectors, np.ones(n_items, dtype=bool))


def mute_sequence_model(text: np.ndarray, factors: np.ndarray) -> SequenceModel:
    """Places each item by its text and its factors, side by side, and expects nothing of anybody: its query vectors
    are zero, so that answers can be read off the other sources."""
    model = sequence_model(unit_rows(np.concatenate([text, factors], axis=1)), text.shape[1])
    torch.nn.init.zeros_(model.network.output_norm.weight)
    torch.nn.init.zeros_(model.network.output_norm.bias)
    return model


READER = sequence_model(unit_rows(np.concatenate([TEXT, FACTORS], axis=1)), text_dim=3, max_length=4)
"""Reads histories by weights drawn at random: any change of what it reads changes its query vector."""

BUYS = Repeats(allowed=True, after_days=7.0)
"""Bought items may come back after a week."""


def no_item_features(n_items: int) -> np.ndarray:
    """What the ranker reads of items of which nothing is known."""
    return np.full((n_items, len(ITEM_FEATURES)), np.nan, dtype=np.float32)


def tiny_model(**changes: Any) -> Model:
    """Keyboard and mouse are bought together, kettle and teapot as well; nobody has bought the lamp."""
    linear = np.zeros((5, 5), dtype=np.float32)
    linear[1, 3] = linear[3, 1] = 0.6
    linear[0, 4] = linear[4, 0] = 0.4
    model = Model(
        item_ids=pl.Series("item_id", ITEM_IDS),
        sequence=mute_sequence_model(TEXT, FACTORS),
        linear=sp.csr_matrix(linear),
        factors=Factors(FACTORS, regularization=0.01, alpha=10.0),
        text=TEXT,
        whitened=TEXT,
        whitening=Whitening(np.zeros(3, np.float32), np.eye(3, dtype=np.float32)),
        popularity=np.array([3, 5, 0, 4, 2], dtype=np.float32),
        trend=np.array([0.3, 0.9, 0.0, 0.4, 0.2], dtype=np.float32),
        repeats=Repeats(),
        repeat_rates=np.array([0.1, 0.3, 0.2, 0.2, 0.1], dtype=np.float32),
        promise=np.zeros(5, dtype=np.float32),
        item_features=no_item_features(5),
        fusion=Fusion(),
        ranker=None,
    )
    return replace(model, **changes)


def six_item_model(item_ids: list[str], text: np.ndarray, popularity: np.ndarray) -> Model:
    """The first item goes with the fifth, and the third with the last. text: (6, dim);
    popularity: (6,), and how they trend."""
    linear = np.zeros((6, 6), dtype=np.float32)
    for item, other in ((0, 4), (2, 5)):
        linear[item, other] = linear[other, item] = 1.0
    dim = text.shape[1]
    return tiny_model(
        item_ids=pl.Series(item_ids),
        sequence=mute_sequence_model(text, np.eye(6, dtype=np.float32)),
        linear=sp.csr_matrix(linear),
        factors=Factors(np.eye(6, dtype=np.float32), regularization=0.1, alpha=1.0),
        text=text,
        whitened=text,
        whitening=Whitening(np.zeros(dim, dtype=np.float32), np.eye(dim, dtype=np.float32)),
        popularity=popularity,
        trend=popularity.astype(np.float32),
        repeat_rates=np.zeros(6, dtype=np.float32),
        promise=np.zeros(6, dtype=np.float32),
        item_features=no_item_features(6),
    )


def item_entry(
    item_id: str, weight: float = 5.0, at: datetime = NOON, event_type: str = "purchase", n_bought: int = 1
) -> dict[str, Any]:
    """One item of a stored history."""
    return {
        "item_id": item_id,
        "text_row": None,
        "weight": weight,
        "timestamp": at,
        "event_type": event_type,
        "n_bought": n_bought,
    }


def text_entry(text_row: int, at: datetime = NOON) -> dict[str, Any]:
    """One search of a stored history."""
    search = {"weight": 0.0, "timestamp": at, "event_type": "search", "n_bought": 0}
    return {"item_id": None, "text_row": text_row, **search}


def users_with(
    histories: dict[str, list[dict[str, Any]]], browsing: np.ndarray | None = None, texts: np.ndarray | None = None
) -> Users:
    """Shoppers of the tiny storefront; browsing: (n_users, 3), texts: (n_texts, 3)."""
    table = pl.DataFrame(
        {"user_id": list(histories), "history": list(histories.values())},
        schema={"user_id": pl.String, "history": HISTORY},
    )
    nothing = np.zeros((len(histories), 3), dtype=np.float32)
    return users_from_table(
        table,
        nothing if browsing is None else browsing,
        nothing[:0] if texts is None else texts,
        pl.Series(ITEM_IDS),
    )


def tiny_users() -> Users:
    """ann bought the keyboard, bob returned the kettle, cat only searched for something like a lamp."""
    lamp = TEXT[[ITEM_IDS.index("lamp")]]
    return users_with(
        {
            "ann": [item_entry("keyboard")],
            "bob": [item_entry("kettle", weight=0.0, event_type="return")],
            "cat": [text_entry(0)],
        },
        browsing=np.concatenate([np.zeros((2, 3), np.float32), lamp]),
        texts=lamp,
    )


def catalogue(available: tuple[bool, ...] = (True,) * 5) -> pl.DataFrame:
    """Kitchen and office goods of two brands; the lamp has neither brand nor price."""
    return pl.DataFrame(
        {
            "item_id": ITEM_IDS,
            "title": [item_id.title() for item_id in ITEM_IDS],
            "category": ["Home > Kitchen", "Office > Desk", "Home > Light", "Office > Desk", "Home > Kitchen"],
            "brand": ["Brew", "Type", None, "Type", "Brew"],
            "price": [30.0, 80.0, None, 25.0, 20.0],
            "available": available,
            "updated_at": [NOON, NOON, None, NOON, NOON],
            "attributes": ['{"colour": "red"}', None, None, '{"buttons": 3}', '{"colour": ["red", "blue"]}'],
        }
    )


def tiny_recommender(
    available: tuple[bool, ...] = (True,) * 5,
    settings: RecommendSettings | None = None,
    new_items: NewItemsSettings | None = None,
    users: Users | None = None,
    ranker_pool: int = 100,
    **of_the_model: Any,
) -> Recommender:
    """The whole shop; `of_the_model`: what differs from `tiny_model`."""
    return Recommender(
        tiny_model(**of_the_model),
        users or tiny_users(),
        Properties.of_table(catalogue(available)),
        settings or RecommendSettings(),
        new_items or NewItemsSettings(),
        InteractionsSettings(),
        ranker_pool=ranker_pool,
    )


def slate_of(query: Query, **of_the_shop: Any) -> Slate:
    """The answer of the tiny recommender; `of_the_shop`: as for `tiny_recommender`."""
    return tiny_recommender(**of_the_shop).recommend([query])[0]


def ids(query: Query, **of_the_shop: Any) -> list[str]:
    """The item ids of `slate_of`, best first."""
    return [item.item_id for item in slate_of(query, **of_the_shop).items]


class LeastPopularFirst(Ranker):
    """A ranker that anybody can foresee. It knows nothing of what the session's text asks for."""

    def reads(self, source: str) -> bool:
        return source != "query_text"

    def scores(self, features: np.ndarray) -> np.ndarray:
        return -features[:, self.names.index("popular_score")]


def ranked(**of_the_shop: Any) -> Recommender:
    """The tiny recommender with `LeastPopularFirst`."""
    names = tuple(tiny_recommender(**of_the_shop).feature_names)
    return tiny_recommender(**of_the_shop, ranker=LeastPopularFirst("", names))

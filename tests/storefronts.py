"""A storefront of five items that fits in one's head; tests of the recommender read their answers off it."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import scipy.sparse as sp

from recsys.candidates import Factors
from recsys.config import Interactions, Recommend
from recsys.fusion import Fusion
from recsys.model import Model
from recsys.recommend import Recommender
from recsys.users import HISTORY, Users, users_from_table
from recsys.whitening import Whitening

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ITEM_IDS = ["kettle", "keyboard", "lamp", "mouse", "teapot"]
TEXT = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0.8, 0.6], [0.8, 0, 0.6]], dtype=np.float32)
"""Kettle and teapot read alike, so do keyboard and mouse."""


def tiny_model(fusion: Fusion | None = None) -> Model:
    """Keyboard and mouse are bought together, kettle and teapot as well; nobody has bought the lamp."""
    linear = np.zeros((5, 5), dtype=np.float32)
    linear[1, 3] = linear[3, 1] = 0.6
    linear[0, 4] = linear[4, 0] = 0.4
    factors = np.array([[1, 0], [0, 1], [0, 0], [0.1, 0.9], [0.9, 0.1]], dtype=np.float32)
    return Model(
        item_ids=pl.Series("item_id", ITEM_IDS),
        linear=sp.csr_matrix(linear),
        factors=Factors(factors, regularization=0.01, alpha=10.0),
        text=TEXT,
        whitened=TEXT,
        whitening=Whitening(np.zeros(3, np.float32), np.eye(3, dtype=np.float32)),
        popularity=np.array([3, 5, 0, 4, 2], dtype=np.float32),
        trend=np.array([0.3, 0.9, 0.0, 0.4, 0.2], dtype=np.float32),
        fusion=fusion or Fusion(),
    )


def tiny_users() -> Users:
    """ann bought the keyboard, bob returned the kettle, cat only searched for something like a lamp."""
    entry = {"timestamp": NOON, "bought": True}
    table = pl.DataFrame(
        {
            "user_id": ["ann", "bob", "cat"],
            "history": [
                [{"item_id": "keyboard", "weight": 5.0, **entry}],
                [{"item_id": "kettle", "weight": 0.0, **entry}],
                [],
            ],
        },
        schema={"user_id": pl.String, "history": HISTORY},
    )
    browsing = np.array([[0, 0, 0], [0, 0, 0], [0, 0, 1]], dtype=np.float32)
    return users_from_table(table, browsing, pl.Series(ITEM_IDS))


def tiny_recommender(
    available: tuple[bool, ...] = (True,) * 5, settings: Recommend | None = None, fusion: Fusion | None = None
) -> Recommender:
    titles = [item_id.title() for item_id in ITEM_IDS]
    return Recommender(
        tiny_model(fusion), tiny_users(), titles, np.array(available), settings or Recommend(), Interactions()
    )

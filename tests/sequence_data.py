"""Small histories for the tests of the sequence model and of its training."""

from __future__ import annotations

import numpy as np

from recsys.config import SequenceSettings
from recsys.sequence import SequenceModel, Sequences
from recsys.tables import EVENT_TYPES

PURCHASE = EVENT_TYPES.index("purchase")
SEARCH = EVENT_TYPES.index("search")
SECOND_US = 1_000_000
SMALL_AUTO = SequenceSettings(
    dim=16, layers=1, dropout=0.0, epochs=3, batch_events=16, max_length=6, learning_rate=0.01
)
"""The number format follows from the processor, as by default."""
SMALL = SMALL_AUTO.model_copy(update={"precision": "fp32"})


def histories(*rows: list[int]) -> Sequences:
    """Each row's item rows, one purchase a second; a negative number is a search for text -1 - number."""
    entries = np.array([item for row in rows for item in row], dtype=np.int32)
    indptr = np.cumsum([0, *[len(row) for row in rows]])
    return Sequences(
        indptr,
        item_rows=np.maximum(entries, -1),
        event_types=np.where(entries < 0, SEARCH, PURCHASE).astype(np.int8),
        timestamps=np.arange(len(entries)) * SECOND_US,
        text_rows=np.where(entries < 0, -1 - entries, -1).astype(np.int32),
    )


def cycles(n_users: int, n_items: int, length: int) -> Sequences:
    """Everybody goes round the catalogue: after item i comes item i + 1."""
    return histories(*[[(user + step) % n_items for step in range(length)] for user in range(n_users)])


def texts(n: int, dim: int = 8) -> np.ndarray:
    vectors = np.random.default_rng(7).normal(size=(n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def assert_equal_models(first: SequenceModel, other: SequenceModel) -> None:
    """To the bit."""
    np.testing.assert_array_equal(first.item_vectors, other.item_vectors)
    weights = other.network.state_dict()
    for name, value in first.network.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), weights[name].numpy(), err_msg=name)

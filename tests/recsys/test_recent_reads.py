"""A history is read once, and another history is another."""

from dataclasses import replace

import numpy as np
import pytest

from recsys.recent_reads import RecentReads
from recsys.users import History

TEXTS = np.zeros((1, 2), dtype=np.float32)


def history(*item_rows: int) -> History:
    n = len(item_rows)
    return History(
        np.array(item_rows, dtype=np.int32),
        np.full(n, -1, dtype=np.int32),
        np.ones(n, dtype=np.float32),
        np.arange(n, dtype=np.int64),
        np.zeros(n, dtype=np.int8),
        np.zeros(n, dtype=np.int32),
    )


class Reading:
    """Answers another number each time that it is asked."""

    def __init__(self) -> None:
        self.n_asked = 0

    def __call__(self) -> np.ndarray:
        self.n_asked += 1
        return np.array([[self.n_asked]])


def test_the_same_history_is_read_once() -> None:
    reads, reading = RecentReads(2), Reading()
    assert [int(reads.of(history(3, 1), TEXTS, reading)[0, 0]) for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("other", "texts"),
    [
        (history(1, 3), TEXTS),
        (history(3), TEXTS),
        (history(3, 1), TEXTS + 1),
        (replace(history(3, 1), timestamps=np.array([0, 5])), TEXTS),
        (replace(history(3, 1), event_types=np.array([0, 1], dtype=np.int8)), TEXTS),
        (replace(history(3, 1), text_rows=np.array([-1, 0], dtype=np.int32)), TEXTS),
    ],
)
def test_whatever_the_model_reads_makes_another_history(other: History, texts: np.ndarray) -> None:
    reads, reading = RecentReads(9), Reading()
    reads.of(history(3, 1), TEXTS, reading)
    assert int(reads.of(other, texts, reading)[0, 0]) == 2


def test_the_oldest_goes_first() -> None:
    reads, reading = RecentReads(2), Reading()
    for item_row in (1, 2, 3):
        reads.of(history(item_row), TEXTS, reading)
    assert int(reads.of(history(3), TEXTS, reading)[0, 0]) == 3
    assert int(reads.of(history(2), TEXTS, reading)[0, 0]) == 2
    assert int(reads.of(history(1), TEXTS, reading)[0, 0]) == 4

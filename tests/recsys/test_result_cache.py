"""What was worked out once is not worked out again, and what differs in anything is something else."""

import numpy as np
import pytest

from recsys.result_cache import ResultCache, digest_of

ARRAY = np.array([3, 1], dtype=np.int32)


class Counted:
    """Answers another number each time that it is asked."""

    def __init__(self) -> None:
        self.n_asked = 0

    def __call__(self) -> int:
        self.n_asked += 1
        return self.n_asked


def test_the_same_is_worked_out_once() -> None:
    recent: ResultCache[int] = ResultCache(2)
    counted = Counted()
    assert [recent.of(digest_of(ARRAY), counted) for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize(
    "others",
    [
        (np.array([1, 3], dtype=np.int32),),
        (np.array([3], dtype=np.int32),),
        (np.array([3, 1, 0], dtype=np.int32),),
        (np.array([3], dtype=np.int32), np.array([1], dtype=np.int32)),
        (ARRAY, np.zeros(0, dtype=np.int32)),
    ],
)
def test_other_arrays_have_another_digest(others: tuple[np.ndarray, ...]) -> None:
    assert digest_of(*others) != digest_of(ARRAY)


def test_the_oldest_goes_first() -> None:
    recent: ResultCache[int] = ResultCache(2)
    counted = Counted()
    for key in (1, 2, 3):
        recent.of(key, counted)
    assert recent.of(3, counted) == 3
    assert recent.of(2, counted) == 2
    assert recent.of(1, counted) == 4

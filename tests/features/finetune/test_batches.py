from __future__ import annotations

import numpy as np
import pytest

from features.finetune.batches import distinct_batches


def keys_of(*rows: tuple[int, ...]) -> np.ndarray:
    return np.array(rows, dtype=np.int64)


def batches_of(keys: np.ndarray, size: int, seed: int = 0, lengths: np.ndarray | None = None) -> list[list[int]]:
    lengths = np.ones(len(keys)) if lengths is None else lengths
    return [batch.tolist() for batch in distinct_batches(keys, lengths, size, np.random.default_rng(seed))]


def test_no_two_rows_of_a_batch_share_a_key() -> None:
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 30, (400, 2))
    batches = batches_of(keys, size=8)
    for batch in batches:
        owners = [set(keys[row].tolist()) for row in batch]
        assert len(set.union(*owners)) == sum(map(len, owners))
    rows = [row for batch in batches for row in batch]
    assert len(rows) == len(set(rows)) > 380


def test_rows_of_no_key_fit_everywhere() -> None:
    (batch,) = batches_of(keys_of((-1, 0), (-1, 1), (-1, 2)), size=3)
    assert sorted(batch) == [0, 1, 2]


def test_a_key_that_is_in_every_row_leaves_no_batch() -> None:
    assert batches_of(keys_of((0, 1), (0, 2), (3, 0)), size=2) == []
    assert batches_of(np.empty((0, 2), dtype=np.int64), size=2) == []


def test_what_is_left_over_makes_a_smaller_batch_unless_it_is_tiny() -> None:
    distinct = np.arange(44)[:, None]
    assert sorted(map(len, batches_of(distinct[:42], size=16))) == [10, 16, 16]
    assert sorted(map(len, batches_of(distinct[:35], size=16))) == [16, 16]
    assert list(map(len, batches_of(distinct[:3], size=16))) == [3]


def test_texts_of_like_length_are_together() -> None:
    lengths = np.random.default_rng(0).permutation(64)
    batches = batches_of(np.arange(64)[:, None], size=8, lengths=lengths)
    assert sorted(sorted(lengths[batch]) for batch in batches) == [list(range(n, n + 8)) for n in range(0, 64, 8)]
    assert [int(lengths[batch].min()) for batch in batches] != list(range(0, 64, 8))  # in random order


@pytest.mark.parametrize("seed", [0, 1])
def test_equal_seeds_make_equal_batches(seed: int) -> None:
    keys = np.random.default_rng(3).integers(0, 50, (100, 2))
    assert batches_of(keys, 8, seed) == batches_of(keys, 8, seed)
    assert batches_of(keys, 8, seed) != batches_of(keys, 8, seed + 1)

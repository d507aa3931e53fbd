"""Histories as arrays: what each entry predicts, and how they are cut and batched."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sequence_data import SECOND_US, SMALL_AUTO, histories

from recsys.errors import DataError
from recsys.sequence import Sequences, fit_sequence
from recsys.sequence.histories import length_bucketed, padded, training_windows

NOTHING_NAMED = replace(histories([0, 0]), item_rows=np.array([0, -1], dtype=np.int32))
"""The second entry names neither an item nor a text."""


def test_gaps_are_told_in_powers_of_two_seconds_and_start_anew_with_each_shopper() -> None:
    times = np.array([0, 0, 1, 4, 4 + 3600, 9, 10**9]) * SECOND_US
    sequences = Sequences(np.array([0, 5, 7]), np.zeros(7, np.int32), np.zeros(7, np.int8), times, np.full(7, -1))
    # seconds since the entry before: -, 0, 1, 3, 3600 (2^11 < 3601 < 2^12), -, 2^29 < 10^9 < 2^30
    assert sequences.gaps.tolist() == [0, 1, 2, 3, 12, 0, 30]


def test_every_entry_predicts_the_next_item_and_searches_are_no_targets() -> None:
    sequences = histories([5, -1, 6, 7], [], [8], [9, -2])
    assert sequences.next_items.tolist() == [6, 6, 7, -1, -1, -1, -1]


def test_long_histories_are_cut_from_their_newest_end() -> None:
    starts, lengths = training_windows(histories([0, 1, 2, 3, 4, 5], [7], [8, 9]), max_length=2)
    # five entries of the first shopper predict something: 3-4, 1-2 and 0; the second has nothing to predict
    assert list(zip(starts.tolist(), lengths.tolist(), strict=True)) == [(3, 2), (1, 2), (0, 1), (7, 1)]


def test_padding_is_on_the_right_and_predicts_nothing() -> None:
    batch = padded(histories([1, 2, 3], [4, 5]), np.array([0, 3]), np.array([3, 2]))
    assert batch.item_rows.tolist() == [[1, 2, 3], [4, 5, -1]]
    assert batch.targets.tolist() == [[2, 3, -1], [5, -1, -1]]


@given(st.lists(st.integers(1, 9), max_size=30), st.integers(1, 20), st.integers(0, 9))
def test_batches_hold_every_row_once_and_keep_their_size(lengths: list[int], batch_events: int, seed: int) -> None:
    widths = np.array(lengths, dtype=np.int64)
    batches = list(length_bucketed(widths, batch_events, np.random.default_rng(seed)))
    assert sorted(row for batch in batches for row in batch.tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * widths[batch].max() <= batch_events


def test_taken_rows_are_the_histories_themselves() -> None:
    taken = histories([1, 2], [], [3], [4, 5, 6]).take(np.array([3, 1, 0]))
    assert taken.indptr.tolist() == [0, 3, 3, 5]
    assert taken.item_rows.tolist() == [4, 5, 6, 1, 2]


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        (histories([0, 9]), r"1 entries have no valid item row, for example 9 at entry 1; it must be in \[-1, 5\)"),
        (histories([0, -4]), "1 entries have no valid text row, for example 3"),
        (NOTHING_NAMED, "1 entries, for example entry 1, name not exactly one of item and text"),
    ],
)
def test_entries_that_name_nothing_are_refused(sequences: Sequences, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit_sequence(sequences, None, 5, SMALL_AUTO, seed=0)

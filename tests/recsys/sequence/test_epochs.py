"""How much an epoch reads, and how many epochs a fit has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sequence_data import SMALL, assert_equal_models, cycles, texts

from recsys.config import SequenceSettings
from recsys.sequence import fit_sequence, training
from recsys.sequence.histories import epoch_windows
from recsys.sequence.training import Epoch

DATA = cycles(12, 6, 5)
"""12 windows of 4 entries that predict something."""
THIRD = SMALL.model_copy(update={"max_epoch_events": 17, "epochs": 4, "dropout": 0.2})


class StopError(Exception):
    pass


@given(st.lists(st.integers(1, 9), max_size=30), st.integers(1, 60), st.integers(0, 9))
def test_an_epoch_reads_all_windows_or_as_many_as_fit(lengths: list[int], max_events: int, seed: int) -> None:
    rng, untouched = np.random.default_rng(seed), np.random.default_rng(seed)
    rows = epoch_windows(np.array(lengths, dtype=np.int64), max_events, rng)
    assert rows.tolist() == sorted(set(rows.tolist()))
    if sum(lengths) <= max_events:
        assert rows.tolist() == list(range(len(lengths)))
        assert rng.integers(2**62) == untouched.integers(2**62)
    else:
        n_events = sum(lengths[row] for row in rows)
        assert len(rows) == 1 or n_events <= max_events
        assert n_events > max_events - 9


def test_every_window_has_its_turn() -> None:
    """Of 12 windows an epoch reads 4; none of them in 40 epochs would be a chance of (2/3)^40."""
    rng = np.random.default_rng(0)
    lengths = np.full(12, 4)
    read = [epoch_windows(lengths, 17, rng) for _ in range(40)]
    assert {len(rows) for rows in read} == {4}
    assert set(np.concatenate(read).tolist()) == set(range(12))


def test_epochs_of_a_part_read_different_windows_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[list[int]] = [[]]
    padded = training.padded

    def noted(sequences: object, starts: np.ndarray, lengths: np.ndarray) -> object:
        read[-1] += starts.tolist()
        return padded(sequences, starts, lengths)

    monkeypatch.setattr(training, "padded", noted)
    fit_sequence(DATA, None, 6, THIRD, 0, progress=lambda _: read.append([]))
    assert [len(set(starts)) for starts in read[:4]] == [4, 4, 4, 4]
    assert len({tuple(sorted(starts)) for starts in read[:4]}) > 1


def test_a_limit_that_is_never_reached_changes_nothing() -> None:
    models = [
        fit_sequence(DATA, None, 6, SMALL.model_copy(update={"max_epoch_events": limit}), 0) for limit in (48, 10**6)
    ]
    assert_equal_models(*models)


def test_an_interrupted_run_of_parts_goes_on_to_the_same_model(tmp_path: Path) -> None:
    def interrupt(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise StopError

    with pytest.raises(StopError):
        fit_sequence(DATA, texts(6), 6, THIRD, 0, checkpoint=tmp_path / "c", progress=interrupt)
    epochs: list[Epoch] = []
    resumed = fit_sequence(DATA, texts(6), 6, THIRD, 0, checkpoint=tmp_path / "c", progress=epochs.append)
    assert [epoch.number for epoch in epochs] == [3, 4]
    assert_equal_models(resumed, fit_sequence(DATA, texts(6), 6, THIRD, 0))


@pytest.mark.parametrize(
    ("changed", "n_epochs"),
    [
        ({"warm_epochs": 2, "epochs": 5}, 2),
        ({"warm_epochs": 4, "epochs": 1}, 1),
        ({"warm_epochs": 2, "epochs": 5, "dim": 8}, 5),  # most weights no longer fit: it learns from the start
        ({"warm_epochs": 2, "epochs": 5, "layers": 2}, 5),
    ],
)
def test_a_warm_start_has_its_own_number_of_epochs(
    changed: dict[str, int], n_epochs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the learning rate falls over all of them."""
    before = fit_sequence(DATA, None, 6, SMALL, 0)
    paces: list[tuple[int, int]] = []
    pace = training._pace

    def noted(step: int, n_steps: int) -> float:
        paces.append((step, n_steps))
        return pace(step, n_steps)

    monkeypatch.setattr(training, "_pace", noted)
    settings = SequenceSettings.model_validate(SMALL.model_dump() | changed)
    epochs: list[Epoch] = []
    fit_sequence(DATA, None, 6, settings, 0, warm_start=before, progress=epochs.append)
    assert [epoch.number for epoch in epochs] == list(range(1, n_epochs + 1))
    assert {n_steps for _, n_steps in paces} == {len(paces)}
    assert [step for step, _ in paces] == list(range(len(paces)))

from pathlib import Path

import numpy as np
import pytest
import torch
from sequence_data import PURCHASE, SECOND_US, SMALL_AUTO, assert_equal_models, cycles, histories, texts

from recsys.errors import DataError
from recsys.sequence import SequenceModel, Sequences, fit_sequence, training


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("with_text", [False, True])
def test_it_learns_what_follows_what(sampled: bool, with_text: bool) -> None:
    settings = SMALL_AUTO.model_copy(update={"epochs": 25, "max_full_softmax_items": 1 if sampled else 100})
    model = fit_sequence(cycles(12, 12, 6), texts(12) if with_text else None, 12, settings, seed=0)
    scores = model.scores(histories([3, 4], [10, 11], [7]))
    assert scores.argmax(axis=1).tolist() == [5, 0, 8]
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(model.item_vectors, axis=1), 1.0, rtol=1e-5)


def test_it_learns_in_bfloat16_where_asked_to() -> None:
    settings = SMALL_AUTO.model_copy(update={"epochs": 25, "precision": "bf16"})
    model = fit_sequence(cycles(12, 12, 6), None, 12, settings, seed=0)
    assert model.scores(histories([3, 4], [10, 11])).argmax(axis=1).tolist() == [5, 0]


def test_the_time_between_events_is_read() -> None:
    """After item 0, a quick second event leads to 2 and a slow one to 3."""
    rows = [[0, 1, 2], [0, 1, 3]] * 8
    sequences = histories(*rows)
    slow = np.arange(len(sequences.timestamps)) % 6 >= 4  # what follows the second row's item 0
    times = np.where(slow, sequences.timestamps + 10**7 * SECOND_US, sequences.timestamps)
    later = Sequences(sequences.indptr, sequences.item_rows, sequences.event_types, times, sequences.text_rows)
    model = fit_sequence(later, None, 4, SMALL_AUTO.model_copy(update={"epochs": 40}), seed=0)
    requests = Sequences(
        np.array([0, 2, 4]),
        np.array([0, 1, 0, 1], dtype=np.int32),
        np.full(4, PURCHASE, dtype=np.int8),
        np.array([0, 1, 0, 10**7]) * SECOND_US,
        np.full(4, -1, dtype=np.int32),
    )
    scores = model.scores(requests)
    assert scores[0, 2] > scores[0, 3]
    assert scores[1, 3] > scores[1, 2]


def test_a_search_leads_to_what_was_chosen_after_it() -> None:
    """Everybody who searched for text 0 chose item 2, for text 1 item 3; the item before says nothing."""
    rows = [[user % 2, -1 - (user // 2) % 2, 2 + (user // 2) % 2] for user in range(16)]
    queries = texts(2)
    settings = SMALL_AUTO.model_copy(update={"epochs": 30})
    model = fit_sequence(histories(*rows), texts(4), 4, settings, 0, browsing_text=queries)
    requests = histories([0, -1], [0, -2], [-2])
    assert model.scores(requests, queries).argmax(axis=1).tolist() == [2, 3, 3]
    with pytest.raises(DataError, match="no valid text row"):
        model.scores(requests)


@pytest.mark.parametrize(
    "sequences",
    [histories(), histories([], []), histories([0]), histories([0], [1], [2], [0], [1]), histories([0, 1])],
)
@pytest.mark.parametrize("text", [None, texts(3)])
def test_next_to_nothing_gives_a_model_not_a_crash(sequences: Sequences, text: np.ndarray | None) -> None:
    targets = np.full(len(sequences), 2)
    model = fit_sequence(sequences, text, 3, SMALL_AUTO, seed=0, validation=(sequences, targets))
    scores = model.scores(histories([0, 1]))
    assert scores.shape == (1, 3)
    assert np.isfinite(scores).all()


def test_equal_seeds_give_equal_models_and_leave_the_generator_alone() -> None:
    settings = SMALL_AUTO.model_copy(update={"dropout": 0.3, "max_full_softmax_items": 1, "sampled_items": 4})
    torch.manual_seed(5)
    models = [fit_sequence(cycles(9, 6, 5), texts(6), 6, settings, seed=seed) for seed in (3, 3, 4)]
    drawn = torch.rand(2)
    torch.manual_seed(5)
    torch.testing.assert_close(drawn, torch.rand(2))
    assert_equal_models(models[0], models[1])
    assert not np.allclose(models[0].item_vectors, models[2].item_vectors)


def test_the_best_epoch_is_kept_and_patience_ends_the_run(monkeypatch) -> None:
    measured = []

    def scripted(model: SequenceModel, *_: object) -> float:
        measured.append(model.item_vectors.copy())
        return [0.1, 0.3, 0.2, 0.3, 0.9][len(measured) - 1]

    monkeypatch.setattr(training, "validation_ndcg", scripted)
    settings = SMALL_AUTO.model_copy(update={"epochs": 9, "patience": 2})
    epochs: list[training.Epoch] = []
    data = cycles(6, 6, 4)
    model = fit_sequence(data, None, 6, settings, 0, validation=(data, np.zeros(6, int)), progress=epochs.append)
    assert [(epoch.number, epoch.ndcg) for epoch in epochs] == [(1, 0.1), (2, 0.3), (3, 0.2), (4, 0.3)]
    np.testing.assert_array_equal(model.item_vectors, measured[1])
    assert model.epochs == 2


def test_without_validation_it_stops_after_as_many_epochs_as_it_is_told(tmp_path: Path) -> None:
    """The step size falls as in the whole run: the weights are those of the run's second epoch."""
    data, seen = cycles(6, 6, 4), []
    settings = SMALL_AUTO.model_copy(update={"epochs": 5})
    fit_sequence(data, None, 6, settings, 0, progress=seen.append)
    epochs: list[training.Epoch] = []
    stopped = fit_sequence(data, None, 6, settings.model_copy(update={"stop_after": 2}), 0, progress=epochs.append)
    assert [(epoch.number, epoch.of, epoch.loss) for epoch in epochs] == [(n, 2, seen[n - 1].loss) for n in (1, 2)]
    assert stopped.epochs == 2
    stopped.save(tmp_path)
    assert SequenceModel.load(tmp_path).epochs == 2


def test_a_warm_start_begins_where_the_previous_model_ended() -> None:
    data = cycles(12, 12, 6)
    before = fit_sequence(data, None, 12, SMALL_AUTO.model_copy(update={"epochs": 25}), seed=0)
    losses: list[training.Epoch] = []
    one_epoch = SMALL_AUTO.model_copy(update={"epochs": 1})
    fit_sequence(data, None, 12, one_epoch, seed=1, warm_start=before, progress=losses.append)
    fit_sequence(data, None, 12, one_epoch, seed=1, progress=losses.append)
    assert losses[0].loss < 0.5 * losses[1].loss


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"text": texts(5)}, "5 text vectors for 6 items"),
        ({"text": texts(6), "browsing_text": texts(2, dim=4)}, "texts have 8 dimensions, browsing texts 4"),
        ({"text": None, "validation": (cycles(2, 6, 3), np.zeros(1, int))}, "2 validation histories, but 1 targets"),
        (
            {"text": None, "validation": (cycles(2, 6, 3), np.array([-1, 6]))},
            "1 validation targets, for example 6, are",
        ),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(given: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit_sequence(cycles(6, 6, 4), n_items=6, settings=SMALL_AUTO, seed=0, **given)

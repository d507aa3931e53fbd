import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recsys.config import SequenceSettings
from recsys.errors import DataError, StoreError
from recsys.sequence import SequenceModel, Sequences, fit_sequence, loss, training
from recsys.sequence.histories import length_bucketed, padded, training_windows
from recsys.sequence.loss import Proposal, candidate_softmax, sample_candidates
from recsys.sequence.network import Network, Shape
from recsys.tables import EVENT_TYPES

PURCHASE = EVENT_TYPES.index("purchase")
SEARCH = EVENT_TYPES.index("search")
SECOND_US = 1_000_000
SMALL = SequenceSettings(dim=16, layers=1, dropout=0.0, epochs=3, batch_events=16, max_length=6, learning_rate=0.01)


def histories(*rows: list[int], texts: dict[tuple[int, int], int] | None = None) -> Sequences:
    """Each row's item rows, one purchase a second; `texts` makes (row, position) a search for that text row."""
    indptr = np.cumsum([0, *[len(row) for row in rows]])
    item_rows = np.array([item for row in rows for item in row], dtype=np.int32)
    text_rows = np.full(len(item_rows), -1, dtype=np.int32)
    event_types = np.full(len(item_rows), PURCHASE, dtype=np.int8)
    for (row, position), text_row in (texts or {}).items():
        entry = indptr[row] + position
        item_rows[entry], text_rows[entry], event_types[entry] = -1, text_row, SEARCH
    return Sequences(indptr, item_rows, event_types, np.arange(len(item_rows)) * SECOND_US, text_rows)


def cycles(n_users: int, n_items: int, length: int) -> Sequences:
    """Everybody goes round the catalogue: after item i comes item i + 1."""
    return histories(*[[(user + step) % n_items for step in range(length)] for user in range(n_users)])


def texts(n: int, dim: int = 8) -> np.ndarray:
    vectors = np.random.default_rng(7).normal(size=(n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def weights(model: SequenceModel) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in model.network.state_dict().items()}


def assert_equal_models(first: SequenceModel, other: SequenceModel) -> None:
    np.testing.assert_array_equal(first.item_vectors, other.item_vectors)
    for name, value in weights(first).items():
        np.testing.assert_array_equal(value, weights(other)[name], err_msg=name)


# histories


def test_gaps_are_told_in_powers_of_two_seconds_and_start_anew_with_each_shopper() -> None:
    times = np.array([0, 0, 1, 4, 4 + 3600, 9, 10**9]) * SECOND_US
    sequences = Sequences(np.array([0, 5, 7]), np.zeros(7, np.int32), np.zeros(7, np.int8), times, np.full(7, -1))
    # seconds since the entry before: -, 0, 1, 3, 3600 (2^11 < 3601 < 2^12), -, 2^29 < 10^9 < 2^30
    assert sequences.gaps.tolist() == [0, 1, 2, 3, 12, 0, 30]


def test_every_entry_predicts_the_next_item_and_searches_are_no_targets() -> None:
    sequences = histories([5, -1, 6, 7], [], [8], [9, -1], texts={(0, 1): 0, (3, 1): 1})
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
        (histories([0, -1], texts={(0, 1): 3}), "1 entries have no valid text row, for example 3"),
        (histories([0, -1]), "1 entries, for example entry 1, name not exactly one of item and text"),
    ],
)
def test_entries_that_name_nothing_are_refused(sequences: Sequences, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit_sequence(sequences, None, 5, SMALL, seed=0)


# network


def test_what_comes_later_does_not_change_what_was_read_before() -> None:
    torch.manual_seed(0)
    network = Network(Shape.of(5, 0, SMALL)).eval()
    entries, zeros = torch.randn(1, 4, 16), torch.zeros(1, 4, dtype=torch.int64)
    with torch.inference_mode():
        before = network(entries, zeros, zeros)
        entries[0, 3] = torch.randn(16)
        after = network(entries, zeros, zeros)
    torch.testing.assert_close(after[0, :3], before[0, :3])
    assert not torch.allclose(after[0, 3], before[0, 3])


def test_an_item_is_its_id_and_its_text_and_zero_without_either() -> None:
    network = Network(Shape.of(3, 4, SMALL))
    with torch.inference_mode():
        network.ids.weight.zero_()[:, 5] = 3.0
        text = torch.tensor([[4.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
        items = network.items(torch.arange(3), text, torch.tensor([True, True, False]))
    # the adapter starts as the text's own leading dimensions
    expected = torch.zeros(3, 16)
    expected[0, 0], expected[0, 5], expected[1, 5] = 0.8, 0.6, 1.0
    torch.testing.assert_close(items, expected)


# loss


@pytest.mark.parametrize("chunk_logits", [1, 14, 1000])
def test_the_loss_and_its_gradients_are_those_of_cross_entropy(chunk_logits: int, monkeypatch) -> None:
    monkeypatch.setattr(loss, "CHUNK_LOGITS", chunk_logits)
    torch.manual_seed(0)
    queries, candidates = torch.randn(5, 4, requires_grad=True), torch.randn(7, 4, requires_grad=True)
    targets = torch.tensor([0, 6, 6, 2, 3])
    ours = candidate_softmax(queries, candidates, targets, None, 0.5) * 3
    gradients = torch.autograd.grad(ours, [queries, candidates])
    expected_loss = torch.nn.functional.cross_entropy(queries @ candidates.T / 0.5, targets) * 3
    torch.testing.assert_close(ours, expected_loss)
    for gradient, expected in zip(gradients, torch.autograd.grad(expected_loss, [queries, candidates]), strict=True):
        torch.testing.assert_close(gradient, expected)


def test_offsets_correct_rivals_but_never_the_target() -> None:
    """Cosines 1 (the target), 0 and 0; the rivals stand for 3 items and for none: log(e + 3) - 1."""
    queries, candidates = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    offsets = torch.tensor([-9.0, np.log(3.0), -np.inf])
    loss = candidate_softmax(queries, candidates, torch.tensor([0]), offsets, 1.0)
    assert float(loss) == pytest.approx(np.log(np.e + 3) - 1)


def test_sampled_candidates_stand_for_the_whole_catalogue() -> None:
    """Weighed by exp(offset), a sample of any items sums, on average, to the sum over all that may be drawn."""
    proposal, values = Proposal(np.array([9, 4, 0, 1, 1])), np.array([1.0, 2.0, 50.0, 3.0, 4.0])
    rng = np.random.default_rng(0)
    sums = []
    for _ in range(4000):
        rows, offsets = sample_candidates(proposal, 3, np.array([2]), rng)
        assert 2 in rows  # needed, though it is never drawn: it counts for nothing as a rival
        sums.append(float(np.exp(offsets) @ values[rows]))
    assert np.mean(sums) == pytest.approx(1 + 2 + 3 + 4, rel=0.03)


# fitting


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("with_text", [False, True])
def test_it_learns_what_follows_what(sampled: bool, with_text: bool) -> None:
    settings = SMALL.model_copy(update={"epochs": 25, "max_full_softmax_items": 1 if sampled else 100})
    model = fit_sequence(cycles(12, 12, 6), texts(12) if with_text else None, 12, settings, seed=0)
    scores = model.scores(histories([3, 4], [10, 11], [7]))
    assert scores.argmax(axis=1).tolist() == [5, 0, 8]
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(model.item_vectors, axis=1), 1.0, rtol=1e-5)


def test_it_learns_in_bfloat16_where_asked_to() -> None:
    settings = SMALL.model_copy(update={"epochs": 25, "precision": "bf16"})
    model = fit_sequence(cycles(12, 12, 6), None, 12, settings, seed=0)
    assert model.scores(histories([3, 4], [10, 11])).argmax(axis=1).tolist() == [5, 0]


def test_the_time_between_events_is_read() -> None:
    """After item 0, a quick second event leads to 2 and a slow one to 3."""
    rows = [[0, 1, 2], [0, 1, 3]] * 8
    sequences = histories(*rows)
    slow = np.arange(len(sequences.timestamps)) % 6 >= 4  # what follows the second row's item 0
    times = np.where(slow, sequences.timestamps + 10**7 * SECOND_US, sequences.timestamps)
    later = Sequences(sequences.indptr, sequences.item_rows, sequences.event_types, times, sequences.text_rows)
    model = fit_sequence(later, None, 4, SMALL.model_copy(update={"epochs": 40}), seed=0)
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
    rows = [[user % 2, -1, 2 + (user // 2) % 2] for user in range(16)]
    searched = {(user, 1): (user // 2) % 2 for user in range(16)}
    queries = texts(2)
    settings = SMALL.model_copy(update={"epochs": 30})
    model = fit_sequence(histories(*rows, texts=searched), texts(4), 4, settings, 0, browsing_text=queries)
    requests = histories([0, -1], [0, -1], [-1], texts={(0, 1): 0, (1, 1): 1, (2, 0): 1})
    assert model.scores(requests, queries).argmax(axis=1).tolist() == [2, 3, 3]
    with pytest.raises(DataError, match="no valid text row"):
        model.scores(requests)


def test_a_cold_item_stands_where_its_text_places_it() -> None:
    text = texts(12)
    text[11] = text[4]
    model = fit_sequence(cycles(10, 10, 6), text, 12, SMALL, seed=0)
    assert model.has_id.tolist() == [True] * 10 + [False] * 2
    np.testing.assert_allclose(model.item_vectors[10:], model.place(text[10:]), atol=1e-6)
    nearest = (model.item_vectors[:10] @ model.item_vectors[11]).argmax()
    assert nearest == 4


def test_the_less_an_item_was_seen_the_more_its_text_places_it() -> None:
    text = texts(10)
    by_prior = []
    for prior in (0.0, 5.0, 500.0):
        model = fit_sequence(cycles(10, 10, 6), text, 10, SMALL.model_copy(update={"id_prior": prior}), seed=0)
        by_prior.append((model.item_vectors * model.place(text)).sum(axis=1).mean())
    assert by_prior[0] < by_prior[1] < by_prior[2]
    assert by_prior[2] == pytest.approx(1.0, abs=0.01)


def test_an_empty_history_has_no_opinion() -> None:
    model = fit_sequence(cycles(4, 4, 3), None, 4, SMALL, seed=0)
    assert not model.query_vectors(histories([], [1]))[0].any()
    assert not model.scores(histories([], [1]))[0].any()


def test_of_a_long_history_the_newest_entries_are_read() -> None:
    model = fit_sequence(cycles(4, 4, 3), None, 4, SMALL, seed=0)
    long, cut = histories([0] * 20 + [1, 2, 3, 0, 1, 2]), histories([0, 1, 2, 3, 0, 1, 2])
    # the first of the entries read still knows how long before it the last unread one was
    np.testing.assert_allclose(model.query_vectors(long), model.query_vectors(cut), atol=1e-6)


@pytest.mark.parametrize(
    "sequences",
    [histories(), histories([], []), histories([0]), histories([0], [1], [2], [0], [1]), histories([0, 1])],
)
@pytest.mark.parametrize("text", [None, texts(3)])
def test_next_to_nothing_gives_a_model_not_a_crash(sequences: Sequences, text: np.ndarray | None) -> None:
    targets = np.full(len(sequences), 2)
    model = fit_sequence(sequences, text, 3, SMALL, seed=0, validation=(sequences, targets))
    scores = model.scores(histories([0, 1]))
    assert scores.shape == (1, 3)
    assert np.isfinite(scores).all()


def test_equal_seeds_give_equal_models_and_leave_the_generator_alone() -> None:
    settings = SMALL.model_copy(update={"dropout": 0.3, "max_full_softmax_items": 1, "sampled_items": 4})
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
    settings = SMALL.model_copy(update={"epochs": 9, "patience": 2})
    epochs: list[training.Epoch] = []
    data = cycles(6, 6, 4)
    model = fit_sequence(data, None, 6, settings, 0, validation=(data, np.zeros(6, int)), progress=epochs.append)
    assert [(epoch.number, epoch.ndcg) for epoch in epochs] == [(1, 0.1), (2, 0.3), (3, 0.2), (4, 0.3)]
    np.testing.assert_array_equal(model.item_vectors, measured[1])
    assert model.epochs == 2


def test_without_validation_it_stops_after_as_many_epochs_as_it_is_told(tmp_path: Path) -> None:
    """The step size falls as in the whole run: the weights are those of the run's second epoch."""
    data, seen = cycles(6, 6, 4), []
    settings = SMALL.model_copy(update={"epochs": 5})
    fit_sequence(data, None, 6, settings, 0, progress=seen.append)
    epochs: list[training.Epoch] = []
    stopped = fit_sequence(data, None, 6, settings.model_copy(update={"stop_after": 2}), 0, progress=epochs.append)
    assert [(epoch.number, epoch.of, epoch.loss) for epoch in epochs] == [(n, 2, seen[n - 1].loss) for n in (1, 2)]
    assert stopped.epochs == 2
    stopped.save(tmp_path)
    assert SequenceModel.load(tmp_path).epochs == 2


def test_the_same_model_is_the_same_file_whenever_it_is_written(tmp_path: Path) -> None:
    model = fit_sequence(cycles(6, 6, 4), None, 6, SMALL.model_copy(update={"epochs": 1}), 0)
    for number in range(8):
        model.save(tmp_path / str(number))
    assert len({file.read_bytes() for file in tmp_path.glob("*/*.safetensors")}) == 1


def test_validation_leaves_out_the_history_but_not_a_repeated_target() -> None:
    """Cosines of the query with items 0 to 12 fall in that order; the target is third, or first without 0 and 1."""
    directions = np.arange(13) * 0.1
    vectors = np.stack([np.cos(directions), np.sin(directions)], axis=1).astype(np.float32)

    class Fixed:
        item_vectors = vectors

        def query_vectors(self, sequences: Sequences, browsing_text: None) -> np.ndarray:
            return np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (len(sequences), 1))

    def reached(history: list[int]) -> float:
        return training.validation_ndcg(Fixed(), histories(history), np.array([2]), None)

    assert reached([12]) == pytest.approx(1 / np.log2(4))
    assert reached([0, 1]) == pytest.approx(1.0)
    assert reached([0, 1, 2]) == pytest.approx(1.0)


# interrupted and repeated runs


def test_a_run_killed_midway_goes_on_to_the_same_model(tmp_path: Path) -> None:
    """The child kills itself, without any chance to tidy up, after its second epoch."""
    script = f"""
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_sequence import SMALL, cycles, texts, fit_sequence

def progress(epoch):
    if epoch.number == 2:
        os.kill(os.getpid(), signal.SIGKILL)

settings = SMALL.model_copy(update={{"dropout": 0.2, "epochs": 4}})
fit_sequence(cycles(9, 6, 5), texts(6), 6, settings, 1, checkpoint=Path(sys.argv[1]), progress=progress)
"""
    file = tmp_path / "run" / "checkpoint.safetensors"
    root = Path(__file__).parents[2]
    environ = {**os.environ, "PYTHONPATH": str(root)}
    killed = subprocess.run([sys.executable, "-c", script, str(file)], env=environ, cwd=root, check=False)
    assert killed.returncode == -signal.SIGKILL
    settings = SMALL.model_copy(update={"dropout": 0.2, "epochs": 4})
    epochs: list[training.Epoch] = []
    data, text = cycles(9, 6, 5), texts(6)
    resumed = fit_sequence(data, text, 6, settings, 1, checkpoint=file, progress=epochs.append)
    assert [epoch.number for epoch in epochs] == [3, 4]
    assert_equal_models(resumed, fit_sequence(data, text, 6, settings, 1))


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_not_taken_up(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.safetensors"
    data = cycles(9, 6, 5)
    expected = fit_sequence(data, None, 6, SMALL, 0)
    fit_sequence(data, None, 6, SMALL, seed=1, checkpoint=file)
    assert_equal_models(fit_sequence(data, None, 6, SMALL, 0, checkpoint=file), expected)
    file.write_bytes(file.read_bytes()[:100])
    assert_equal_models(fit_sequence(data, None, 6, SMALL, 0, checkpoint=file), expected)


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    epochs: list[training.Epoch] = []
    runs = [
        fit_sequence(cycles(9, 6, 5), None, 6, SMALL, 0, checkpoint=tmp_path / "c", progress=epochs.append)
        for _ in range(2)
    ]
    assert len(epochs) == SMALL.epochs
    assert_equal_models(*runs)


def test_a_warm_start_begins_where_the_previous_model_ended() -> None:
    data = cycles(12, 12, 6)
    before = fit_sequence(data, None, 12, SMALL.model_copy(update={"epochs": 25}), seed=0)
    losses: list[training.Epoch] = []
    one_epoch = SMALL.model_copy(update={"epochs": 1})
    fit_sequence(data, None, 12, one_epoch, seed=1, warm_start=before, progress=losses.append)
    fit_sequence(data, None, 12, one_epoch, seed=1, progress=losses.append)
    assert losses[0].loss < 0.5 * losses[1].loss


def test_a_new_item_is_placed_by_its_text_and_the_others_stay() -> None:
    text = texts(6)
    model = fit_sequence(cycles(6, 6, 4), text, 6, SMALL, seed=0)
    rows = np.append(np.arange(len(text)), -1)
    tonight = np.vstack([text, text[3]])
    placed = model.renumbered(rows).with_placed(tonight)
    np.testing.assert_array_equal(placed.item_vectors[:-1], model.item_vectors)
    np.testing.assert_allclose(placed.item_vectors[-1], model.place(text[3:4])[0], rtol=1e-6)
    assert not model.renumbered(rows).with_placed(None).item_vectors[-1].any()


def test_a_renumbered_model_scores_its_old_items_as_before() -> None:
    model = fit_sequence(cycles(6, 6, 4), None, 6, SMALL, seed=0)
    rows = np.array([5, -1, 0, 1, 2, 3, 4])
    moved = model.renumbered(rows)
    np.testing.assert_array_equal(moved.has_id, rows >= 0)
    assert not moved.item_vectors[1].any()
    before = model.query_vectors(histories([5, 0]))
    np.testing.assert_allclose(moved.query_vectors(histories([0, 2])), before, atol=1e-6)
    with pytest.raises(DataError, match="has 6 items, not 7; renumber it"):
        fit_sequence(cycles(6, 6, 4), None, 7, SMALL, seed=0, warm_start=model)


def test_a_saved_model_answers_as_before(tmp_path: Path) -> None:
    model = fit_sequence(cycles(6, 6, 4), texts(6), 6, SMALL, seed=0)
    model.save(tmp_path / "model")
    loaded = SequenceModel.load(tmp_path / "model")
    assert_equal_models(loaded, model)
    np.testing.assert_array_equal(loaded.scores(histories([1, 2])), model.scores(histories([1, 2])))
    (tmp_path / "model" / "sequence.safetensors").write_bytes(b"x" * 50)
    with pytest.raises(StoreError, match="sequence model cannot be read"):
        SequenceModel.load(tmp_path / "model")
    with pytest.raises(StoreError, match="run `recsys nightly` again"):
        SequenceModel.load(tmp_path / "absent")


def test_a_model_is_loaded_as_it_was_saved_while_another_thread_loads_an_encoder(tmp_path: Path) -> None:
    """Which sets PyTorch's default type for the whole process."""
    fit_sequence(cycles(6, 6, 4), texts(6), 6, SMALL, seed=0).save(tmp_path)
    torch.set_default_dtype(torch.bfloat16)
    try:
        loaded = SequenceModel.load(tmp_path)
    finally:
        torch.set_default_dtype(torch.float32)
    assert {weights.dtype for weights in loaded.network.parameters()} == {torch.float32}


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
        fit_sequence(cycles(6, 6, 4), n_items=6, settings=SMALL, seed=0, **given)


def test_text_of_another_encoder_is_refused() -> None:
    model = fit_sequence(cycles(6, 6, 4), texts(6), 6, SMALL, seed=0)
    with pytest.raises(DataError, match="3 texts have 5 dimensions, but it was fitted on 8"):
        model.place(texts(3, dim=5))

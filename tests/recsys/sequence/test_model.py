"""What a fitted model answers, also after it was saved, loaded or renumbered."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sequence_data import SMALL_AUTO, assert_equal_models, cycles, histories, texts

from recsys.errors import DataError, StoreError
from recsys.sequence import SequenceModel, fit_sequence


def test_a_cold_item_stands_where_its_text_places_it() -> None:
    text = texts(12)
    text[11] = text[4]
    model = fit_sequence(cycles(10, 10, 6), text, 12, SMALL_AUTO, seed=0)
    assert model.has_id.tolist() == [True] * 10 + [False] * 2
    np.testing.assert_allclose(model.item_vectors[10:], model.place(text[10:]), atol=1e-6)
    nearest = (model.item_vectors[:10] @ model.item_vectors[11]).argmax()
    assert nearest == 4


def test_the_less_an_item_was_seen_the_more_its_text_places_it() -> None:
    text = texts(10)
    by_prior = []
    for prior in (0.0, 5.0, 500.0):
        model = fit_sequence(cycles(10, 10, 6), text, 10, SMALL_AUTO.model_copy(update={"id_prior": prior}), seed=0)
        by_prior.append((model.item_vectors * model.place(text)).sum(axis=1).mean())
    assert by_prior[0] < by_prior[1] < by_prior[2]
    assert by_prior[2] == pytest.approx(1.0, abs=0.01)


def test_an_empty_history_has_no_opinion() -> None:
    model = fit_sequence(cycles(4, 4, 3), None, 4, SMALL_AUTO, seed=0)
    assert not model.query_vectors(histories([], [1]))[0].any()
    assert not model.scores(histories([], [1]))[0].any()


def test_of_a_long_history_the_newest_entries_are_read() -> None:
    model = fit_sequence(cycles(4, 4, 3), None, 4, SMALL_AUTO, seed=0)
    long, cut = histories([0] * 20 + [1, 2, 3, 0, 1, 2]), histories([0, 1, 2, 3, 0, 1, 2])
    # the first of the entries read still knows how long before it the last unread one was
    np.testing.assert_allclose(model.query_vectors(long), model.query_vectors(cut), atol=1e-6)


def test_the_same_model_is_the_same_file_whenever_it_is_written(tmp_path: Path) -> None:
    model = fit_sequence(cycles(6, 6, 4), None, 6, SMALL_AUTO.model_copy(update={"epochs": 1}), 0)
    for number in range(8):
        model.save(tmp_path / str(number))
    assert len({file.read_bytes() for file in tmp_path.glob("*/*.safetensors")}) == 1


def test_a_new_item_is_placed_by_its_text_and_the_others_stay() -> None:
    text = texts(6)
    model = fit_sequence(cycles(6, 6, 4), text, 6, SMALL_AUTO, seed=0)
    rows = np.append(np.arange(len(text)), -1)
    tonight = np.vstack([text, text[3]])
    placed = model.renumbered(rows).with_placed(tonight)
    np.testing.assert_array_equal(placed.item_vectors[:-1], model.item_vectors)
    np.testing.assert_allclose(placed.item_vectors[-1], model.place(text[3:4])[0], rtol=1e-6)
    assert not model.renumbered(rows).with_placed(None).item_vectors[-1].any()


def test_a_renumbered_model_scores_its_old_items_as_before() -> None:
    model = fit_sequence(cycles(6, 6, 4), None, 6, SMALL_AUTO, seed=0)
    rows = np.array([5, -1, 0, 1, 2, 3, 4])
    moved = model.renumbered(rows)
    np.testing.assert_array_equal(moved.has_id, rows >= 0)
    assert not moved.item_vectors[1].any()
    before = model.query_vectors(histories([5, 0]))
    np.testing.assert_allclose(moved.query_vectors(histories([0, 2])), before, atol=1e-6)
    with pytest.raises(DataError, match="has 6 items, not 7; renumber it"):
        fit_sequence(cycles(6, 6, 4), None, 7, SMALL_AUTO, seed=0, warm_start=model)


def test_a_saved_model_answers_as_before(tmp_path: Path) -> None:
    model = fit_sequence(cycles(6, 6, 4), texts(6), 6, SMALL_AUTO, seed=0)
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
    fit_sequence(cycles(6, 6, 4), texts(6), 6, SMALL_AUTO, seed=0).save(tmp_path)
    torch.set_default_dtype(torch.bfloat16)
    try:
        loaded = SequenceModel.load(tmp_path)
    finally:
        torch.set_default_dtype(torch.float32)
    assert {weights.dtype for weights in loaded.network.parameters()} == {torch.float32}


def test_text_of_another_encoder_is_refused() -> None:
    model = fit_sequence(cycles(6, 6, 4), texts(6), 6, SMALL_AUTO, seed=0)
    with pytest.raises(DataError, match="3 texts have 5 dimensions, but it was fitted on 8"):
        model.place(texts(3, dim=5))

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
import torch

from features.encoder.encoder import Encoder
from features.encoder.projection import projection
from features.finetune.choices import Choices
from features.finetune.loop import Step
from features.finetune.pairs import Pairs
from features.finetune.projection import batch_of, choice_loss, composed, fit_projection, starting_point
from recsys import config
from recsys.errors import DataError
from recsys.whitening import fit_whitening, unit_rows

NO_PAIRS = Pairs.create_empty()

SETTINGS = config.FinetuneSettings.model_validate(
    {
        "precision": "fp32",
        "checkpoint_steps": 2,
        "projection": {"epochs": 30, "learning_rate": 0.02},
        "contrastive": {"held_out": 0.0, "matryoshka_dims": (16,)},
    }
)


def histories() -> pl.DataFrame:
    """Word w2k is always followed by w2k+1, each in six dressings."""
    rows = [
        (f"u{word}-{dressing}-{step}", f"w{word + step} w{40 + (dressing + step) % 6}")
        for word in range(0, 16, 2)
        for dressing in range(6)
        for step in (0, 1)
    ]
    named = pl.DataFrame(rows, schema=["user_id", "text"], orient="row")
    return named.with_columns(pl.col("user_id").str.slice(0, pl.col("user_id").str.len_chars() - 2))


def share_found(encoder: Encoder) -> float:
    """Of the first texts, after which the nearest of all second ones is of the right word."""
    texts = histories()["text"].to_list()
    first, second = encoder.encode(texts[::2]), encoder.encode(texts[1::2])
    nearest = (first @ second.T).argmax(axis=1)
    return float((nearest // 6 == np.arange(len(first)) // 6).mean())


def test_what_follows_comes_to_be_near(encoder: Encoder) -> None:
    before = share_found(encoder)
    steps: list[Step] = []
    record = fit_projection(encoder, NO_PAIRS, histories(), SETTINGS, seed=0, on_step=steps.append)
    assert share_found(encoder) > max(0.9, before)
    assert [step.loss for step in steps] == list(record.losses) and record.losses[-1] < record.losses[0]
    assert (record.stage, record.n_examples, record.trainable_parameters) == ("projection", 48, 32 * 32 + 32)


def test_equal_seeds_give_equal_projections_whatever_was_there_before(encoder: Encoder) -> None:
    projections = []
    for seed in (0, 0, 1):
        fit_projection(encoder, NO_PAIRS, histories(), SETTINGS, seed)
        linear = projection(encoder.model)
        assert linear is not None and not linear.weight.requires_grad
        projections.append(linear.weight.clone())
    assert torch.equal(projections[0], projections[1])
    assert not torch.equal(projections[0], projections[2])


def test_a_killed_fit_ends_as_one_that_was_never_disturbed(encoder: Encoder, tmp_path: Path) -> None:
    def kill(step: Step) -> None:
        if step.number == 7:
            raise KeyboardInterrupt

    fit_projection(encoder, NO_PAIRS, histories(), SETTINGS, seed=0)
    undisturbed = encoder.encode(["w1 w2"])
    state = tmp_path / "state.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit_projection(encoder, NO_PAIRS, histories(), SETTINGS, seed=0, checkpoint=state, on_step=kill)
    steps: list[Step] = []
    fit_projection(encoder, NO_PAIRS, histories(), SETTINGS, seed=0, checkpoint=state, on_step=steps.append)
    assert steps[0].number == 7
    np.testing.assert_array_equal(encoder.encode(["w1 w2"]), undisturbed)


def test_one_choice_is_too_few(encoder: Encoder) -> None:
    with pytest.raises(DataError, match="1 choices are not enough"):
        fit_projection(encoder, NO_PAIRS, histories()[:2], SETTINGS, seed=0)


def test_the_loss_is_that_of_a_choice_among_what_was_not_asked_for() -> None:
    vectors = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, -1.0]])
    queries = sp.csr_matrix(np.array([[0.0, 1.0, 0.0, 0.0]], dtype=np.float32))
    every = np.arange(4)
    batch = batch_of(queries, np.array([0]), every, every, torch.device("cpu"))
    # cosines to text 1, which was asked for: 0 to what was chosen, 0 and -1 to the rivals 2 and 3
    assert choice_loss(vectors, batch, temperature=1.0).item() == pytest.approx(np.log(2 + np.exp(-1)))


def test_what_was_asked_for_is_a_weighted_mean() -> None:
    vectors = torch.tensor([[1.0, 0.0], [0.0, 5.0], [1.0, 1.0]])
    queries = sp.csr_matrix(np.array([[1.0, 1.0, 0.0]], dtype=np.float32))
    batch = batch_of(queries, np.array([2]), np.array([0, 2]), np.arange(3), torch.device("cpu"))
    assert choice_loss(vectors, batch, temperature=1.0).item() == pytest.approx(0.0, abs=1e-6)  # and no rival is left


def test_the_composed_map_is_the_turned_whitening() -> None:
    rng = np.random.default_rng(0)
    vectors = unit_rows(rng.normal(size=(6, 9)).astype(np.float32))  # fewer texts than dimensions
    whitening = fit_whitening(vectors, 9)
    k = whitening.projection.shape[1]
    turn = rng.normal(size=(k, k)).astype(np.float32)
    weight, bias = composed(turn, whitening)
    mapped = unit_rows((torch.from_numpy(vectors) @ weight.T + bias).numpy())
    np.testing.assert_allclose(mapped[:, :k], unit_rows(whitening(vectors) @ turn.T), atol=1e-4)
    assert not mapped[:, k:].any()


def test_vectors_are_whitened_where_that_helps_to_find_the_choices() -> None:
    rng = np.random.default_rng(0)
    kind, strong, weak = (rng.normal(size=(200, 4)) for _ in range(3))
    kind[100:] = kind[:100]
    queries = sp.csr_matrix((np.ones(100, dtype=np.float32), (np.arange(100), np.arange(100))), (100, 200))
    learned = Choices([], queries, np.arange(100, 200))
    loud = unit_rows(np.hstack([0.3 * kind, 3.0 * strong]).astype(np.float32))  # what they share is drowned
    faint = unit_rows(np.hstack([kind, 0.02 * weak]).astype(np.float32))  # noise that whitening would blow up
    steep, flat = (starting_point(vectors, learned, rng).projection for vectors in (loud, faint))
    assert np.ptp(np.linalg.norm(flat, axis=0)) == pytest.approx(0.0, abs=1e-4)  # turned only
    assert np.ptp(np.linalg.norm(steep, axis=0)) > 1.0

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2Model

from features.encoder.encoder import Encoder
from features.finetune.tuning import (
    Tuning,
    average_weights,
    copied_weights,
    gradient_checkpointing,
    learning_rate,
    load_trainable,
    tune,
)
from recsys import config
from recsys.errors import TrainingError

TEXTS = ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9"]
MODES = ["full", "lora", "adalora", "adapter"]

HIDDEN, INNER, LAYERS, RANK, WIDTH = 32, 64, 2, 4, 8
POOLER = HIDDEN * HIDDEN + HIDDEN
LORA = LAYERS * RANK * (4 * (HIDDEN + HIDDEN) + 2 * (HIDDEN + INNER))
"""Query, key, value and attention output are 32 x 32, the feed-forward maps 32 x 64 and 64 x 32."""
ADALORA = LAYERS * 6 * (4 * (HIDDEN + HIDDEN + 1) + 2 * (HIDDEN + INNER + 1))
"""Half as much rank again, and a singular value for each."""
ADAPTER = LAYERS * (2 * HIDDEN * WIDTH + HIDDEN + WIDTH)


def settings(mode: str) -> config.FinetuneSettings:
    return config.FinetuneSettings.model_validate({"mode": mode, "rank": RANK, "bottleneck": WIDTH})


def take_steps(encoder: Encoder, tuning: Tuning, n_steps: int, seed: int = 0) -> None:
    """Moves every vector towards the first axis, with a large step size."""
    trained = [weight for weight in tuning.model.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=0.02)
    torch.manual_seed(seed)
    for step in range(n_steps):
        ids = torch.tensor([[2, 5 + step % 30, 6, 3]])
        loss = -nn.functional.normalize(encoder.pooled(ids, torch.ones_like(ids)))[0, 0] + tuning.penalty()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        tuning.after_step(step)


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize(("mode", "expected"), [("lora", LORA), ("adalora", ADALORA), ("adapter", ADAPTER)])
def test_a_mode_trains_so_many_weights(mode: str, expected: int, encoder: Encoder) -> None:
    before = sum(weight.numel() for weight in encoder.model.parameters())
    counted = tune(encoder.model, settings(mode), 10, seed=0).parameters()
    assert counted.trainable == expected
    # AdaLoRA keeps the rank of each of its twelve matrices as a weight that is not trained.
    assert counted.total == before + expected + (12 if mode == "adalora" else 0)


def test_full_tuning_trains_all_but_the_pooler(encoder: Encoder) -> None:
    counted = tune(encoder.model, settings("full"), 10, seed=0).parameters()
    assert counted.total - counted.trainable == POOLER


@pytest.mark.parametrize("mode", MODES)
def test_nothing_changes_before_the_first_step(mode: str, encoder: Encoder) -> None:
    before = encoder.encode(TEXTS)
    tune(encoder.model, settings(mode), 10, seed=0)
    np.testing.assert_allclose(encoder.encode(TEXTS), before, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_what_was_there_is_averaged_and_what_is_new_stays(mode: str, encoder: Encoder) -> None:
    start = copied_weights(encoder.model)
    before = weights(encoder.model)
    tuning = tune(encoder.model, settings(mode), 10, seed=0)
    take_steps(encoder, tuning, 10)
    tuning.merge()
    tuned = weights(encoder.model)
    average_weights(encoder.model, start, start_share=0.25)
    averaged = weights(encoder.model)
    assert any((tuned[name] - value).abs().max() > 0.01 for name, value in averaged.items()) == (mode != "adapter")
    for name, value in averaged.items():
        expected = 0.25 * before[name] + 0.75 * tuned[name] if name in before else tuned[name]
        torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("mode", ["lora", "adalora"])
def test_merged_weights_say_what_the_updates_said(mode: str, encoder: Encoder, load: Callable[[], Encoder]) -> None:
    plain = load()
    tuning = tune(encoder.model, settings(mode), 10, seed=0)
    encoder.model.train()
    take_steps(encoder, tuning, 10)
    encoder.model.eval()
    unmerged = encoder.encode(TEXTS)
    assert np.abs(unmerged - plain.encode(TEXTS)).max() > 0.05  # it has learned something
    tuning.merge()
    np.testing.assert_allclose(encoder.encode(TEXTS), unmerged, atol=1e-5)
    assert list(encoder.model.state_dict()) == list(plain.model.state_dict())
    assert all(weight.requires_grad for weight in encoder.model.parameters())


def test_only_the_adapters_move(encoder: Encoder, load: Callable[[], Encoder]) -> None:
    original = weights(load().model)
    tuning = tune(encoder.model, settings("adapter"), 10, seed=0)
    untouched = encoder.encode(TEXTS)
    take_steps(encoder, tuning, 5)
    tuning.merge()
    moved = [
        name for name, value in encoder.model.state_dict().items() if not torch.equal(value, original.get(name, -value))
    ]
    assert moved
    assert all(name.startswith("bottlenecks.") for name in moved)
    assert np.abs(encoder.encode(TEXTS) - untouched).max() > 0.01


def test_adapters_that_are_there_are_trained_on(encoder: Encoder) -> None:
    first = tune(encoder.model, settings("adapter"), 10, seed=0)
    take_steps(encoder, first, 5)
    trained = encoder.encode(TEXTS)
    second = tune(encoder.model, settings("adapter"), 10, seed=1)
    assert second.parameters().trainable == ADAPTER
    np.testing.assert_array_equal(encoder.encode(TEXTS), trained)


def test_adalora_ends_with_its_target_rank(encoder: Encoder) -> None:
    tuning = tune(encoder.model, settings("adalora"), 20, seed=0)
    take_steps(encoder, tuning, 20)
    rank = sum(int((value != 0).sum()) for name, value in encoder.model.named_parameters() if "lora_E" in name)
    assert rank == RANK * 6 * LAYERS


@pytest.mark.parametrize("n_steps", [1, 2, 3])
def test_adalora_manages_with_few_steps(n_steps: int, encoder: Encoder) -> None:
    tuning = tune(encoder.model, settings("adalora"), n_steps, seed=0)
    take_steps(encoder, tuning, n_steps)
    tuning.merge()
    assert np.isfinite(encoder.encode(TEXTS)).all()


def test_adaloras_penalty_is_the_distance_to_orthogonality(encoder: Encoder) -> None:
    tuning = tune(encoder.model, settings("adalora"), 10, seed=0)
    with torch.no_grad():
        for name, weight in encoder.model.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                weight.zero_()
    # Of a zero matrix, the distance to the identity of its six ranks is sqrt(6).
    penalty = tuning.penalty()
    assert isinstance(penalty, torch.Tensor)
    assert penalty.item() == pytest.approx(0.1 * 6**0.5)
    assert tune(encoder.model, settings("adapter"), 10, seed=0).penalty() == 0.0


def test_adalora_goes_on_from_its_state(load: Callable[[], Encoder]) -> None:
    def run(interrupted: bool) -> np.ndarray:
        encoder = load()
        tuning = tune(encoder.model, settings("adalora"), 12, seed=0)
        take_steps(encoder, tuning, 9)
        if interrupted:
            state, saved = tuning.state(), weights(encoder.model)
            encoder = load()
            tuning = tune(encoder.model, settings("adalora"), 12, seed=5)
            encoder.model.load_state_dict(saved)
            tuning.load_state(state)
        take_steps(encoder, tuning, 1)
        tuning.after_step(11)
        return encoder.encode(TEXTS)

    np.testing.assert_array_equal(run(interrupted=True), run(interrupted=False))


@pytest.mark.parametrize("mode", ["lora", "adalora", "adapter"])
def test_equal_seeds_start_alike(mode: str, load: Callable[[], Encoder]) -> None:
    def start(seed: int) -> torch.Tensor:
        tuning = tune(load().model, settings(mode), 10, seed)
        return torch.cat([weight.flatten() for weight in tuning.model.parameters() if weight.requires_grad])

    assert torch.equal(start(1), start(1))
    assert not torch.equal(start(1), start(2))


def test_checkpointed_gradients_are_the_plain_ones(load: Callable[[], Encoder]) -> None:
    def gradient(enabled: bool) -> torch.Tensor:
        encoder = load()
        encoder.model.train()
        ids = torch.tensor([[2, 5, 6, 7, 3]])
        torch.manual_seed(0)  # dropout is drawn alike the second time
        with gradient_checkpointing(encoder.model, enabled):
            encoder.pooled(ids, torch.ones_like(ids)).sum().backward()
        return next(
            w.grad for n, w in encoder.model.named_parameters() if n.endswith("query.weight") and w.grad is not None
        )

    torch.testing.assert_close(gradient(enabled=True), gradient(enabled=False))


def test_low_rank_updates_need_linear_maps() -> None:
    sizes = {"vocab_size": 8, "n_embd": 8, "n_layer": 1, "n_head": 1, "n_positions": 8}
    with pytest.raises(TrainingError, match=r"finetune\.mode = 'lora'.*set it to full or adapter"):
        tune(GPT2Model(GPT2Config(**sizes)), settings("lora"), 1, seed=0)


def test_a_model_without_layers_can_only_be_tuned_in_full() -> None:
    with pytest.raises(TrainingError, match=r"finetune\.mode = 'adapter': Linear has no list of layers"):
        tune(nn.Linear(2, 2), settings("adapter"), 1, seed=0)


def test_the_usual_step_size_is_that_of_the_mode() -> None:
    assert learning_rate(0.0, "full") < learning_rate(0.0, "lora")
    assert learning_rate(0.25, "full") == 0.25


def test_training_has_full_precision_and_its_own_limit(bert_folder: Path) -> None:
    encoder = load_trainable(
        config.EncoderSettings(model=str(bert_folder), precision="bf16", max_tokens=40),
        config.FinetuneSettings(max_tokens=12),
    )
    assert next(encoder.model.parameters()).dtype == torch.float32
    assert encoder.max_tokens == 12

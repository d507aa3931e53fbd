from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from features.encoder.encoder import Encoder
from features.finetune.distill import distill, kept_layers, pruned
from features.finetune.loop import Step
from features.finetune.tuning import tune
from recsys import config
from recsys.errors import DataError, EncoderError

TEXTS = [f"w{a} w{b} w{(a * b) % 40}" + " w7" * (a % 3) for a in range(10) for b in range(10, 18)]
OTHERS = [f"w{a} w{a + 11}" for a in range(25)]
SETTINGS = config.FinetuneSettings.model_validate(
    {
        "precision": "fp32",
        "checkpoint_steps": 2,
        "distill": {"epochs": 6, "learning_rate": 0.003, "batch_tokens": 128},
    }
)


class KilledError(Exception):
    pass


def nearness(teacher: Encoder, student: Encoder) -> float:
    return float((teacher.encode(OTHERS) * student.encode(OTHERS)).sum(axis=1).mean())


def test_layers_are_counted_back_from_the_last() -> None:
    assert kept_layers(6, 2) == [1, 3, 5]
    assert kept_layers(7, 3) == [0, 3, 6]
    assert kept_layers(2, 1) == [0, 1]
    assert kept_layers(3, 9) == [2]


def test_a_student_of_all_layers_is_its_teacher(encoder: Encoder) -> None:
    student = pruned(encoder, 1)
    assert student.model is not encoder.model
    assert np.array_equal(student.encode(TEXTS), encoder.encode(TEXTS))


def test_a_pruned_student_is_the_teachers_last_layer_on_its_embeddings(encoder: Encoder) -> None:
    student = pruned(encoder, 2)
    assert student.model.config.num_hidden_layers == 1  # type: ignore[union-attr]
    ids = torch.tensor([[2, 8, 9, 3]])
    model = encoder.model
    with torch.inference_mode():
        inside = model.embeddings(input_ids=ids)  # type: ignore[operator]
        last = model.encoder.layer[1](inside)  # type: ignore[operator, union-attr, index]
        expected = last[0] if isinstance(last, tuple) else last
        assert torch.allclose(student.model(input_ids=ids).last_hidden_state, expected, atol=1e-6)
    assert len(model.encoder.layer) == 2  # type: ignore[arg-type, union-attr]


def test_bottlenecks_cannot_be_pruned(encoder: Encoder) -> None:
    tune(encoder.model, config.FinetuneSettings(mode="adapter", bottleneck=2), 1, 0)
    with pytest.raises(EncoderError, match="with bottleneck adapters cannot be pruned"):
        pruned(encoder, 2)


def test_distillation_brings_the_student_near_on_other_texts(encoder: Encoder) -> None:
    student = pruned(encoder, 2)
    before, pruned_vectors = nearness(encoder, student), encoder.encode(OTHERS)
    trained = distill(encoder, student, TEXTS, SETTINGS, 0)
    after = nearness(encoder, student)
    assert before < 0.95 and after > before + 0.3 * (1.0 - before)
    assert trained.losses[-1] < trained.losses[0]
    assert np.array_equal(encoder.encode(OTHERS), pruned_vectors)


def test_a_killed_distillation_ends_as_if_undisturbed(encoder: Encoder, tmp_path: Path) -> None:
    def kill(step: Step) -> None:
        if step.number == 5:
            raise KilledError

    whole, first, second = (pruned(encoder, 2) for _ in range(3))
    losses = distill(encoder, whole, TEXTS, SETTINGS, 0).losses
    checkpoint = tmp_path / "distill.safetensors"
    with pytest.raises(KilledError):
        distill(encoder, first, TEXTS, SETTINGS, 0, checkpoint=checkpoint, on_step=kill)
    numbers: list[int] = []
    resumed = distill(
        encoder, second, TEXTS, SETTINGS, 0, checkpoint=checkpoint, on_step=lambda step: numbers.append(step.number)
    )
    assert numbers[0] == 5  # 4 steps were kept
    assert resumed.losses == losses
    assert np.array_equal(second.encode(OTHERS), whole.encode(OTHERS))


def test_no_more_texts_than_asked_for(encoder: Encoder) -> None:
    few = SETTINGS.model_copy(update={"distill": config.DistillSettings(max_texts=3, batch_tokens=1)})
    assert len(distill(encoder, pruned(encoder, 2), TEXTS, few, 0).losses) == 3


def test_no_texts_are_refused(encoder: Encoder) -> None:
    with pytest.raises(DataError, match="no texts to distil"):
        distill(encoder, pruned(encoder, 2), [], SETTINGS, 0)


def test_texts_are_cut_alike(encoder: Encoder, load: Callable[[], Encoder]) -> None:
    short = replace(load(), max_tokens=8)
    trained = distill(encoder, short, [" ".join(f"w{n}" for n in range(30))], SETTINGS, 0)
    # dropout is on in training: near, and not 0
    assert trained.losses[0] < 0.2

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from features.encoder.encoder import Encoder, padded
from features.finetune.loop import Step
from features.finetune.masking import Masking, masking_of
from features.finetune.mlm import Head, guessed_losses, perplexity, tune_mlm
from recsys import config
from recsys.errors import DataError

RUNS = [f"w{(start + 0) % 40} w{(start + 1) % 40} w{(start + 2) % 40} w{(start + 3) % 40}" for start in range(40)]
TEXTS = [" ".join(pair) for pair in itertools.product(RUNS, RUNS[:10])]
"""Two stretches of the alphabet: the neighbours of a word tell it."""


def settings(mode: str = "full", **mlm: object) -> config.FinetuneSettings:
    small = {"batch_tokens": 400, "learning_rate": 0.003, "head_learning_rate": 0.01, "epochs": 3, **mlm}
    return config.FinetuneSettings.model_validate(
        {"mode": mode, "mlm": small, "precision": "fp32", "checkpoint_steps": 5}
    )


def test_an_encoder_that_learns_guesses_better_than_its_head_alone(encoder: Encoder) -> None:
    record = tune_mlm(encoder, TEXTS, settings(epochs=8), seed=0)
    # By chance it is 45 words; the head alone knows little of the context that random weights mix.
    assert record.details["perplexity_untrained_head"] > 40
    assert record.after["perplexity"] < record.before["perplexity"] - 3 < record.details["perplexity_untrained_head"]
    assert record.n_examples + record.details["held_out"] == len(TEXTS)
    assert 5 < record.details["held_out"] < 50  # about a twentieth
    assert record.losses[-1] < record.losses[0]


@pytest.mark.parametrize("mode", ["lora", "adalora", "adapter"])
def test_few_weights_learn_too(mode: str, encoder: Encoder, load: Callable[[], Encoder]) -> None:
    record = tune_mlm(encoder, TEXTS[::4], settings(mode, learning_rate=0.01), seed=0)
    assert record.losses[-1] < record.losses[0]
    assert not np.array_equal(encoder.encode(["w1 w2"]), load().encode(["w1 w2"]))
    assert not any("lora" in name for name in encoder.model.state_dict())


def test_before_is_measured_on_the_encoder_as_it_came(encoder: Encoder) -> None:
    """With a step size of (nearly) nothing for the encoder, the head alone is all that learns, in both arms."""
    chosen = settings(learning_rate=1e-12, head_learning_rate=1e-12)
    record = tune_mlm(encoder, TEXTS[:100], chosen, seed=0)
    untrained = record.details["perplexity_untrained_head"]
    assert record.before["perplexity"] == pytest.approx(untrained, rel=1e-5)
    assert record.after["perplexity"] == pytest.approx(untrained, rel=1e-5)


def test_a_head_that_tells_nothing_has_the_vocabulary_as_its_perplexity(encoder: Encoder) -> None:
    head = Head(32, 32, 45)
    nn.init.zeros_(head.norm.weight)
    tokens = encoder.tokenize(TEXTS[:20])
    assert perplexity(encoder, head, tokens, masking_of(encoder, 0.15), settings()) == pytest.approx(45.0, rel=1e-5)


def test_the_loss_is_the_cross_entropy_of_the_guessed_tokens_alone(encoder: Encoder) -> None:
    torch.manual_seed(0)
    head = Head(32, 32, 45)
    tokens = encoder.tokenize(["w1 w2 w3", "w4"])
    all_words = Masking(1.0, 4, np.array([0, 2, 3, 1, 4]), np.array([5]))  # every word is to be guessed
    rng = np.random.default_rng(0)
    loss = guessed_losses(encoder, head, tokens, all_words, rng, settings()).mean()
    ids, mask = padded(tokens, encoder.pad_id)
    shown, _ = all_words(ids.numpy(), np.random.default_rng(0))
    states = encoder.model(input_ids=torch.from_numpy(shown), attention_mask=mask).last_hidden_state
    logits = head(states, encoder.model.get_input_embeddings().weight).log_softmax(dim=2)  # type: ignore[operator]
    words = [(0, 1), (0, 2), (0, 3), (1, 1)]
    expected = -np.mean([logits[row, column, ids[row, column]].item() for row, column in words])
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("stage", ["mlm head", "mlm control", "mlm"])
def test_a_run_killed_in_any_part_ends_as_an_undisturbed_one(
    stage: str, load: Callable[[], Encoder], tmp_path: Path
) -> None:
    def kill(step: Step) -> None:
        if (step.stage, step.number) == (stage, 6):
            raise KeyboardInterrupt

    texts, chosen = TEXTS[::4], settings(head_epochs=3)
    undisturbed, killed, resumed = load(), load(), load()
    expected = tune_mlm(undisturbed, texts, chosen, seed=2)
    with pytest.raises(KeyboardInterrupt):
        tune_mlm(killed, texts, chosen, seed=2, checkpoint=tmp_path, on_step=kill)
    steps: list[Step] = []
    record = tune_mlm(resumed, texts, chosen, seed=2, checkpoint=tmp_path, on_step=steps.append)
    assert (steps[0].stage, steps[0].number) == (stage, 6)
    assert (record.losses, record.before, record.after) == (expected.losses, expected.before, expected.after)
    np.testing.assert_array_equal(resumed.encode(["w1 w2"]), undisturbed.encode(["w1 w2"]))


def test_only_so_many_texts_are_trained_on(encoder: Encoder) -> None:
    assert tune_mlm(encoder, TEXTS, settings(max_texts=7, epochs=1), seed=0).n_examples == 7


def test_repeated_and_empty_texts_count_once_and_not_at_all(encoder: Encoder, load: Callable[[], Encoder]) -> None:
    other, chosen = load(), settings(epochs=1)
    tune_mlm(encoder, TEXTS[:60], chosen, seed=0)
    record = tune_mlm(other, [*TEXTS[:60], TEXTS[0] + "  ", "", "<br>", "unknown"], chosen, seed=0)
    assert record.n_examples + record.details["held_out"] == 60
    np.testing.assert_array_equal(encoder.encode(["w1"]), other.encode(["w1"]))


@pytest.mark.parametrize("texts", [[], ["", "  "], ["w1"], ["unknown words"]])
def test_too_few_texts_are_refused(texts: list[str], encoder: Encoder) -> None:
    with pytest.raises(DataError, match=r"it needs both; ingest more texts"):
        tune_mlm(encoder, texts, settings(), seed=0)

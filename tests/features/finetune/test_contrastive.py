from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from features.encoder.encoder import Encoder, padded
from features.finetune.contrastive import contrastive_loss, matryoshka_dims, retrieval_ranks, tune_contrastive
from features.finetune.loop import Step
from features.finetune.pairs import Pairs
from recsys import config
from recsys.errors import DataError

DIMS = [32, 16]


def settings(**contrastive: object) -> config.FinetuneSettings:
    small = {"matryoshka_dims": (16,), "batch_pairs": 8, "mini_batch_pairs": 8, "learning_rate": 0.003, **contrastive}
    return config.FinetuneSettings.model_validate({"contrastive": small, "precision": "fp32", "checkpoint_steps": 3})


def pairs_of(*rows: tuple[str, str, str | None]) -> pl.DataFrame:
    """Pairs of items whose ids are their texts."""
    return pl.DataFrame(
        [
            {
                "kind": "adjacent",
                "anchor": anchor,
                "positive": positive,
                "negative": negative,
                "anchor_item": anchor,
                "positive_item": positive,
                "negative_item": negative,
            }
            for anchor, positive, negative in rows
        ],
        schema=Pairs.create_empty().schema,
    )


def complementary(with_negatives: bool = False) -> pl.DataFrame:
    """Word w2k belongs to w2k+1 for k < 12, each in ten dressings; random weights do not know it."""
    rows = []
    for pair, dressing in itertools.product(range(12), range(10)):
        anchor, positive, unlike = (f"w{2 * pair + word} w{30 + dressing}" for word in (0, 1, 3))
        rows.append((anchor, positive[:-4], unlike if with_negatives and pair % 2 else None))
    return pairs_of(*rows)


def features(encoder: Encoder, texts: list[str]) -> dict[str, torch.Tensor]:
    ids, mask = padded(encoder.tokenize(texts), encoder.pad_id)
    return {"input_ids": ids, "attention_mask": mask}


def columns(encoder: Encoder) -> list[dict[str, torch.Tensor]]:
    return [
        features(encoder, texts) for texts in (["w1 w2", "w3", "w4 w5 w6"], ["w7", "w8 w9", "w10"], ["w11 w12", "w13"])
    ]


def test_texts_of_like_length_are_read_together_for_the_same_loss_and_gradients(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[int, int]] = []
    encoder.model.register_forward_pre_hook(
        lambda _, args, kwargs: read.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    results = []
    for alike in (1000, 2):
        monkeypatch.setattr("features.finetune.contrastive._CPU_TEXTS", alike)
        encoder.model.zero_grad()
        loss = contrastive_loss(encoder, DIMS, settings())(columns(encoder))
        loss.backward()
        results.append(
            (
                float(loss.detach()),
                [weight.grad.clone() for weight in encoder.model.parameters() if weight.grad is not None],
            )
        )
    # with [CLS] and [SEP]: 3, 3 and 2 texts, the longest of 5 tokens and 4; then the two shorter ones apart
    assert read == [(3, 5), (3, 4), (2, 4), (2, 4), (1, 5), (2, 3), (1, 4), (2, 4)]
    (whole, gradients), (parted, others) = results
    assert parted == pytest.approx(whole, rel=1e-5)
    for gradient, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-3, atol=1e-5)


def test_the_loss_is_a_softmax_over_cosines_summed_over_dimensions(encoder: Encoder) -> None:
    given = columns(encoder)
    loss = contrastive_loss(encoder, DIMS, settings(temperature=0.5))(given)
    expected = 0.0
    for dim in DIMS:
        anchors, positives, negatives = (
            torch.nn.functional.normalize(encoder.pooled(ids=f["input_ids"], mask=f["attention_mask"])[:, :dim])
            for f in given
        )
        logits = anchors @ torch.cat([positives, negatives]).T / 0.5  # (3, 5): all of the batch are candidates
        expected += float(torch.nn.functional.cross_entropy(logits, torch.arange(3)).detach())
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_cached_gradients_are_the_plain_ones(load: Callable[[], Encoder]) -> None:
    def gradients(mini_batch_pairs: int) -> tuple[float, dict[str, torch.Tensor]]:
        encoder = load()
        loss = contrastive_loss(encoder, DIMS, settings(mini_batch_pairs=mini_batch_pairs))(columns(encoder))
        (loss * 0.5).backward()
        return loss.item(), {n: w.grad for n, w in encoder.model.named_parameters() if w.grad is not None}

    plain_loss, plain = gradients(8)
    cached_loss, cached = gradients(2)
    assert cached_loss == pytest.approx(plain_loss, rel=1e-5)
    assert cached.keys() == plain.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(cached[name], gradient, rtol=1e-3, atol=1e-5)


def test_all_dimensions_always_count(encoder: Encoder) -> None:
    assert matryoshka_dims(encoder, config.ContrastiveSettings(matryoshka_dims=(64, 8, 16, 8))) == [32, 16, 8]
    assert matryoshka_dims(encoder, config.ContrastiveSettings(matryoshka_dims=())) == [32]


@pytest.mark.parametrize("with_negatives", [False, True])
def test_texts_that_belong_together_come_together(with_negatives: bool, encoder: Encoder) -> None:
    record = tune_contrastive(encoder, complementary(with_negatives), settings(epochs=12, held_out=0.2), seed=0)
    assert record.after["mrr@10"] > record.before["mrr@10"] + 0.15
    assert record.losses[-1] < record.losses[0]
    by_dim = record.details["by_dim"]
    assert by_dim["after"]["16"]["mrr@10"] > by_dim["before"]["16"]["mrr@10"]
    assert record.details["pairs"] == {"adjacent": 120}
    assert 80 < record.n_examples < 110  # about a fifth of the anchors is held out


@pytest.mark.parametrize(
    ("mode", "rate", "temperature"), [("lora", 0.003, 0.05), ("adalora", 0.02, 0.2), ("adapter", 0.005, 0.05)]
)
def test_few_weights_learn_too(mode: str, rate: float, temperature: float, encoder: Encoder) -> None:
    pairs = complementary()
    chosen = settings(epochs=15, held_out=0.0, learning_rate=rate, temperature=temperature)
    before = retrieval_ranks(encoder, pairs).mean()
    record = tune_contrastive(encoder, pairs, chosen.model_copy(update={"mode": mode}), seed=0)
    assert retrieval_ranks(encoder, pairs).mean() < before - 2.0
    assert 0 < record.trainable_parameters < record.parameters
    assert record.before == record.after == {}
    assert not any("lora" in name for name in encoder.model.state_dict())


def test_held_out_pairs_are_not_trained_on(load: Callable[[], Encoder]) -> None:
    from features.finetune.held_out import place

    pairs = complementary()
    places = place(pairs["anchor"])
    first, other = load(), load()
    tune_contrastive(first, pairs, settings(held_out=0.3), seed=0)
    tune_contrastive(other, pairs.filter(places >= 0.3), settings(held_out=0.3), seed=0)
    np.testing.assert_array_equal(first.encode(["w1"]), other.encode(["w1"]))


def test_ranks_count_the_positives_before_the_right_one(encoder: Encoder) -> None:
    pairs = pairs_of(("w1", "w1", None), ("w2", "w3", None), ("w4", "w3", None))
    # An anchor that is its own positive is nearest to it.
    ranks = retrieval_ranks(encoder, pairs)
    first, second = encoder.encode(["w1", "w3"])
    expected = [
        int(encoder.encode([anchor])[0] @ first >= encoder.encode([anchor])[0] @ second) for anchor in ("w2", "w4")
    ]
    assert ranks.tolist() == [0, *expected]


def test_a_killed_run_ends_as_an_undisturbed_one(load: Callable[[], Encoder], tmp_path: Path) -> None:
    pairs, chosen = complementary(with_negatives=True), settings(mini_batch_pairs=4)

    def kill(step: Step) -> None:
        if step.number == 8:
            raise KeyboardInterrupt

    undisturbed, killed, resumed = load(), load(), load()
    tune_contrastive(undisturbed, pairs, chosen, seed=3)
    with pytest.raises(KeyboardInterrupt):
        tune_contrastive(killed, pairs, chosen, seed=3, checkpoint=tmp_path / "run", on_step=kill)
    steps: list[Step] = []
    tune_contrastive(resumed, pairs, chosen, seed=3, checkpoint=tmp_path / "run", on_step=steps.append)
    assert steps[0].number == 7
    np.testing.assert_array_equal(resumed.encode(["w1 w2"]), undisturbed.encode(["w1 w2"]))


def test_equal_seeds_give_equal_encoders(load: Callable[[], Encoder]) -> None:
    def tuned(seed: int) -> np.ndarray:
        encoder = load()
        tune_contrastive(encoder, complementary(), settings(held_out=0.0), seed)
        return encoder.encode(["w1 w2"])

    np.testing.assert_array_equal(tuned(1), tuned(1))
    assert not np.array_equal(tuned(1), tuned(2))


@pytest.mark.parametrize("mode", ["full", "lora", "adalora", "adapter"])
def test_bf16_and_checkpointed_gradients_train_too(mode: str, encoder: Encoder, load: Callable[[], Encoder]) -> None:
    chosen = settings(mini_batch_pairs=4).model_copy(
        update={"mode": mode, "precision": "bf16", "gradient_checkpointing": True}
    )
    record = tune_contrastive(encoder, complementary()[:60], chosen, seed=0)
    assert np.isfinite(record.losses).all()
    assert next(encoder.model.parameters()).dtype == torch.float32
    assert np.abs(encoder.encode(["w1 w31"]) - load().encode(["w1 w31"])).max() > 1e-3


@pytest.mark.parametrize("pairs", [pairs_of(), pairs_of(("w1", "w2", None), ("w1", "w3", None))])
def test_pairs_that_make_no_batch_are_refused(pairs: pl.DataFrame, encoder: Encoder) -> None:
    with pytest.raises(DataError, match=r"no batch can be formed of \d pairs .*ingest more events"):
        tune_contrastive(encoder, pairs, settings(held_out=0.0), seed=0)


def test_the_weights_before_are_averaged_in(load: Callable[[], Encoder]) -> None:
    ends = {}
    for share in (0.0, 0.5):
        tuned = load()
        tune_contrastive(tuned, complementary(), settings(weight_averaging=share), seed=0)
        ends[share] = dict(tuned.model.named_parameters())
    for name, start in load().model.named_parameters():
        torch.testing.assert_close(ends[0.5][name], (start + ends[0.0][name]) / 2)
    assert any((ends[0.5][name] - ends[0.0][name]).abs().max() > 0.01 for name in ends[0.0])

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.encoder.encoder import Encoder, load_encoder
from features.finetune.export import save_encoder
from features.finetune.loop import Step
from features.finetune.sentiment import Sentiment, fit_sentiment
from features.finetune.sentiment_head import SentimentHead, predict_sentiment, scores
from recsys import config
from recsys.errors import EncoderError, StoreError

WORDS = {1.0: range(4), 3.0: range(10, 14), 5.0: range(20, 24)}
"""Shoppers who give so many stars use these words, and filling words that say nothing."""


def shop(n_reviews: int = 400, seed: int = 0) -> pl.DataFrame:
    """Reviews of 80 users, of which 70 % are of five stars, 20 % of one and 10 % of three."""
    rng = np.random.default_rng(seed)
    stars = rng.choice([1.0, 3.0, 5.0], n_reviews, p=[0.2, 0.1, 0.7])
    texts = [
        " ".join(f"w{word}" for word in rng.permutation([*rng.choice(WORDS[star], 3), *rng.integers(30, 40, 2)]))
        for star in stars
    ]
    return pl.DataFrame(
        {
            "review_id": [str(n) for n in range(n_reviews)],
            "user_id": [f"user{n % 80}" for n in range(n_reviews)],
            "rating": stars,
            "title": pl.Series([None] * n_reviews, dtype=pl.String),
            "text": texts,
            "timestamp": [datetime(2025, 1, 1, tzinfo=UTC)] * n_reviews,
        }
    )


def settings(mode: str = "full", **sentiment: object) -> config.FinetuneSettings:
    small = {"hidden": 16, "epochs": 30, "batch_reviews": 32, "learning_rate": 0.01, "bag_of_words": False, **sentiment}
    return config.FinetuneSettings.model_validate(
        {"mode": mode, "sentiment": small, "precision": "fp32", "checkpoint_steps": 5}
    )


@pytest.fixture(scope="module")
def fitted(bert_folder: Path) -> tuple[Encoder, Sentiment]:
    encoder = load_encoder(config.EncoderSettings(model=str(bert_folder), precision="fp32"))
    return encoder, fit_sentiment(encoder, shop(), settings(), seed=0)


def test_a_head_on_frozen_vectors_reads_reviews(fitted: tuple[Encoder, Sentiment]) -> None:
    _, sentiment = fitted
    assert sentiment.test.macro_f1 > sentiment.majority.macro_f1 + 0.3
    assert sentiment.test.accuracy > sentiment.majority.accuracy
    assert sentiment.majority.recall == (0.0, 0.0, 1.0)
    assert not sentiment.tuned


def test_the_best_variant_on_validation_is_kept(fitted: tuple[Encoder, Sentiment]) -> None:
    _, sentiment = fitted
    assert sentiment.validation.keys() == {"weighted", "focal", "oversampled", "with offsets"}
    by_variant = {name: sentiment.validation[name] for name in ("weighted", "focal", "oversampled")}
    assert by_variant[sentiment.head.variant] == max(by_variant.values())
    assert sentiment.validation["with offsets"] >= max(by_variant.values())


def test_the_record_tells_all(fitted: tuple[Encoder, Sentiment]) -> None:
    record = fitted[1].record
    assert (record.stage, record.mode) == ("sentiment", "frozen")
    assert record.after["macro_f1"] == fitted[1].test.macro_f1
    assert record.before["accuracy"] == fitted[1].majority.accuracy
    # The norm's 2 x 32, the hidden layer's 32 x 16 + 16, and the output's 16 x 3 + 3.
    assert record.trainable_parameters == record.parameters == 64 + 528 + 51
    assert np.array(record.details["test"]["confusion"]).sum() == fitted[1].test.n
    assert record.details["variant"] == fitted[1].head.variant


def test_predictions_are_probabilities_and_a_score(fitted: tuple[Encoder, Sentiment]) -> None:
    encoder, sentiment = fitted
    probabilities, feelings = predict_sentiment(encoder, sentiment.head, ["w1 w2 w3", "w21 w22 w23", ""])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert feelings[0] < 0 < feelings[1]
    assert (np.abs(feelings) <= 1).all()
    np.testing.assert_allclose(
        scores(np.array([[1.0, 0, 0], [0, 1.0, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])), [-1, 0, 0, 0.5]
    )
    np.testing.assert_allclose(scores(np.eye(5)), [-1, -0.5, 0, 0.5, 1])


def test_the_temperature_only_changes_how_sure_it_is(fitted: tuple[Encoder, Sentiment]) -> None:
    encoder, sentiment = fitted
    texts = ["w1 w2 w3", "w21 w12 w33"]
    vectors = encoder.encode(texts)
    hot = replace(sentiment.head, temperature=100.0).probabilities(vectors, texts)
    np.testing.assert_allclose(hot, 1 / 3, atol=0.05)
    np.testing.assert_array_equal(hot.argmax(axis=1), sentiment.head.probabilities(vectors, texts).argmax(axis=1))


def test_a_saved_head_says_the_same(fitted: tuple[Encoder, Sentiment], tmp_path: Path) -> None:
    encoder, sentiment = fitted
    sentiment.head.save(tmp_path / "head")
    again = SentimentHead.load(tmp_path / "head")
    texts = ["w1 w2", "w25"]
    for ours, others in zip(
        predict_sentiment(encoder, again, texts), predict_sentiment(encoder, sentiment.head, texts), strict=True
    ):
        np.testing.assert_array_equal(ours, others)
    assert (again.variant, again.encoder_id, again.offsets) == (
        sentiment.head.variant,
        encoder.id,
        sentiment.head.offsets,
    )
    assert len(again.offsets) == 3


def test_a_head_without_a_hidden_layer_is_saved_too(encoder: Encoder, tmp_path: Path) -> None:
    head = fit_sentiment(encoder, shop(), settings(hidden=0, variants=("focal",)), seed=0).head
    head.save(tmp_path)
    vectors = encoder.encode(["w1"])
    again = SentimentHead.load(tmp_path)
    np.testing.assert_array_equal(again.probabilities(vectors, ["w1"]), head.probabilities(vectors, ["w1"]))


def blind(encoder: Encoder) -> Callable[[list[str]], np.ndarray]:
    """Vectors that say nothing of the texts: what an encoder makes of a language that it has never read."""
    return lambda texts: encoder.encode(["w35"] * len(texts))


def test_words_are_read_where_the_vectors_say_nothing(encoder: Encoder, tmp_path: Path) -> None:
    chosen = settings(variants=("weighted",), epochs=2, bag_of_words=True)
    sentiment = fit_sentiment(encoder, shop(), chosen, seed=0, encode=blind(encoder))  # type: ignore[arg-type]
    assert sentiment.validation["with words"] > sentiment.validation["weighted"] + 0.3
    assert sentiment.test.macro_f1 > sentiment.majority.macro_f1 + 0.3
    assert 0 < sentiment.head.words_share <= 1
    assert sentiment.record.details["words_share"] == sentiment.head.words_share
    sentiment.head.save(tmp_path)
    again, texts = SentimentHead.load(tmp_path), ["w1 w2", "w25 w21", ""]
    vectors = encoder.encode(texts)
    np.testing.assert_array_equal(again.probabilities(vectors, texts), sentiment.head.probabilities(vectors, texts))


def test_words_may_be_left_out(encoder: Encoder) -> None:
    sentiment = fit_sentiment(encoder, shop(), settings(variants=("weighted",), bag_of_words=True), seed=0)
    assert (sentiment.head.words is None) == (sentiment.head.words_share == 0.0)
    without = fit_sentiment(encoder, shop(), settings(variants=("weighted",)), seed=0)
    assert without.head.words is None and "with words" not in without.validation


@pytest.mark.parametrize("breakage", ["no folder", "no weights", "torn weights", "torn header", "other sizes"])
def test_a_head_that_cannot_be_read_is_refused(
    breakage: str, fitted: tuple[Encoder, Sentiment], tmp_path: Path
) -> None:
    folder = tmp_path / "head"
    if breakage != "no folder":
        fitted[1].head.save(folder)
    header, weights = folder / "sentiment.json", folder / "sentiment.safetensors"
    match breakage:
        case "no weights":
            weights.unlink()
        case "torn weights":
            weights.write_bytes(b"torn")
        case "torn header":
            header.write_text("{")
        case "other sizes":
            header.write_text(header.read_text().replace('"hidden": 16', '"hidden": 8'))
    with pytest.raises(StoreError, match="run `recsys finetune`"):
        SentimentHead.load(folder)


def test_vectors_of_another_encoder_are_refused(fitted: tuple[Encoder, Sentiment]) -> None:
    encoder, sentiment = fitted
    with pytest.raises(EncoderError, match=r"needs vectors of encoder .*, not of other"):
        predict_sentiment(replace(encoder, id="other"), sentiment.head, ["w1"])


@pytest.mark.parametrize("mode", ["full", "lora", "adapter"])
def test_an_encoder_tuned_along_is_a_copy_and_kept_where_it_is_better(
    mode: str, encoder: Encoder, tmp_path: Path
) -> None:
    before = encoder.encode(["w1 w2"])
    chosen = settings(
        mode,
        variants=("weighted",),
        hidden=0,
        epochs=1,  # a poor head, so that tuning has something to mend
        tune_encoder=True,
        encoder_epochs=8,
        encoder_batch_tokens=200,
        encoder_learning_rate=0.005 if mode == "full" else 0.01,
    )
    sentiment = fit_sentiment(encoder, shop(), chosen, seed=0)
    assert sentiment.tuned
    assert sentiment.validation["tuned"] > sentiment.validation["weighted"]
    assert sentiment.test.macro_f1 > sentiment.majority.macro_f1 + 0.3
    assert sentiment.record.mode == mode
    np.testing.assert_array_equal(encoder.encode(["w1 w2"]), before)
    save_encoder(sentiment.encoder, tmp_path / "tuned")
    saved = load_encoder(config.EncoderSettings(model=str(tmp_path / "tuned"), precision="fp32"))
    head = replace(sentiment.head, encoder_id=saved.id)
    probabilities, _ = predict_sentiment(saved, head, ["w1 w2 w3", "w21 w22 w23"])
    assert probabilities.argmax(axis=1).tolist() == [0, 2]


def test_an_encoder_that_tuning_does_not_better_stays(encoder: Encoder) -> None:
    chosen = settings(variants=("focal",), tune_encoder=True, encoder_learning_rate=1e-12, encoder_epochs=1)
    sentiment = fit_sentiment(encoder, shop(200), chosen, seed=0)
    assert sentiment.validation["tuned"] == sentiment.validation["focal"]
    assert not sentiment.tuned
    assert sentiment.encoder is encoder


def test_five_classes_are_told_apart_too(encoder: Encoder) -> None:
    sentiment = fit_sentiment(encoder, shop(), settings(classes=5, variants=("oversampled",)), seed=0)
    assert sentiment.test.support[1] == sentiment.test.support[3] == 0
    assert sentiment.test.macro_f1 > sentiment.majority.macro_f1 + 0.3


@pytest.mark.parametrize("stage", ["sentiment focal", "sentiment encoder"])
def test_a_killed_run_ends_as_an_undisturbed_one(stage: str, load: Callable[[], Encoder], tmp_path: Path) -> None:
    chosen = settings(variants=("focal",), epochs=2, tune_encoder=True, encoder_batch_tokens=100, dropout=0.3)

    def kill(step: Step) -> None:
        if (step.stage, step.number) == (stage, 7):
            raise KeyboardInterrupt

    expected = fit_sentiment(load(), shop(200), chosen, seed=0)
    with pytest.raises(KeyboardInterrupt):
        fit_sentiment(load(), shop(200), chosen, seed=0, checkpoint=tmp_path, on_step=kill)
    steps: list[Step] = []
    resumed = fit_sentiment(load(), shop(200), chosen, seed=0, checkpoint=tmp_path, on_step=steps.append)
    assert (steps[0].stage, steps[0].number) == (stage, 6)
    assert resumed.test == expected.test
    assert resumed.validation == expected.validation


def test_vectors_that_lie_ready_are_used(encoder: Encoder) -> None:
    encoded: list[int] = []

    def encode(texts: list[str]) -> np.ndarray:
        encoded.append(len(texts))
        return encoder.encode(texts)

    chosen = settings(variants=("focal",), epochs=2)
    ready = fit_sentiment(encoder, shop(200), chosen, seed=0, encode=encode)  # type: ignore[arg-type]
    assert len(encoded) == 1
    assert ready.test == fit_sentiment(encoder, shop(200), chosen, seed=0).test

"""Reviews read by the head of the adopted encoder, or of an encoder of its own."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from features.encoder.encoder import encoder_id, load_encoder
from features.encoder.selection import SENTIMENT_ENCODER, SelectedEncoder
from features.finetune.sentiment_head import HeadNetwork, SentimentHead, predict_sentiment
from features.text.cleaning import text_hash
from jobs.embedding.embed import embed_texts
from jobs.embedding.review_sentiment import review_sentiment
from recsys import config
from recsys.workspace import Workspace

TEXTS = ["w1 w2", "w3", "w9 w9"]
READ = pl.DataFrame({"review_id": list("abc"), "text": TEXTS, "text_hash": [text_hash(text) for text in TEXTS]})
INLINE = config.EmbedSettings(inline_texts=1000)


@pytest.fixture
def encoder(tiny_bert: Path) -> config.EncoderSettings:
    return config.EncoderSettings(model=str(tiny_bert), precision="fp32")


def head_for(identity: str, dim: int) -> SentimentHead:
    torch.manual_seed(0)
    return SentimentHead(identity, 3, "weighted", 1.0, HeadNetwork(dim, 0, 3, 0.0).eval())


def adopted(head: str = "tuned") -> SelectedEncoder:
    return SelectedEncoder("base", "workspace:tuned", "", head, {})


def ignore(*_: int) -> None:
    """Progress that nobody watches."""


def test_the_head_reads_the_stored_vectors(
    workspace: Workspace, encoder: config.EncoderSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_encoder(encoder)
    head = head_for(loaded.id, loaded.dim)
    head.save(workspace.encoders / "tuned")
    embed_texts(workspace, READ, encoder, INLINE)
    monkeypatch.setattr("jobs.embedding.embed.load_encoder", None)  # nothing is encoded a second time
    read = review_sentiment(workspace, adopted(), encoder, READ, INLINE, ignore)
    assert read["review_id"].to_list() == ["a", "b", "c"] and read.schema["sentiment"] == pl.Float32
    np.testing.assert_allclose(read["sentiment"], predict_sentiment(loaded, head, TEXTS)[1], atol=1e-5)
    assert read["sentiment"].n_unique() == 3


def test_a_head_with_an_encoder_of_its_own_reads_by_that(
    workspace: Workspace, encoder: config.EncoderSettings, bert_folder: Path
) -> None:
    folder = workspace.encoders / "tuned"
    shutil.copytree(bert_folder, folder / SENTIMENT_ENCODER)
    own_encoder = encoder.model_copy(update={"model": str(folder / SENTIMENT_ENCODER)})
    head = head_for(encoder_id(own_encoder), 32)
    head.save(folder)
    read = review_sentiment(workspace, adopted(), encoder, READ, INLINE, ignore)
    np.testing.assert_allclose(
        read["sentiment"], predict_sentiment(load_encoder(own_encoder), head, TEXTS)[1], atol=1e-5
    )


def test_without_a_head_or_reviews_there_is_nothing_to_tell(
    workspace: Workspace, encoder: config.EncoderSettings
) -> None:
    for chosen, texts in ((None, READ), (adopted(head=""), READ), (adopted(), READ.clear())):
        read = review_sentiment(workspace, chosen, encoder, texts, INLINE, ignore)
        assert (read.columns, read.height) == (["review_id", "sentiment"], 0)


def test_a_head_of_other_vectors_is_left_out_with_a_warning(
    workspace: Workspace, encoder: config.EncoderSettings, caplog: pytest.LogCaptureFixture
) -> None:
    head = replace(head_for("of another", 16), encoder_id="of another")
    head.save(workspace.encoders / "tuned")
    assert review_sentiment(workspace, adopted(), encoder, READ, INLINE, ignore).is_empty()
    assert "sentiment_skipped head_encoder=of another encoder=" in caplog.text

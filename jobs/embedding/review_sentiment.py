"""Sentiment of each review, by the sentiment head of the selected encoder."""

from __future__ import annotations

import logging
from collections.abc import Callable

import polars as pl

from features.encoder.selection import SENTIMENT_ENCODER, SelectedEncoder
from features.finetune.sentiment_head import SentimentHead, scores
from jobs.embedding.embed import embed_texts, load_vectors
from recsys import config
from recsys.workspace import Workspace

log = logging.getLogger(__name__)


def review_sentiment(
    workspace: Workspace,
    adopted: SelectedEncoder | None,
    encoder: config.EncoderSettings,
    reviews_text: pl.DataFrame,
    settings: config.EmbedSettings,
    progress: Callable[[int, int], None],
) -> pl.DataFrame:
    """review_id, sentiment (Float32, -1 bad to 1 good) of the reviews with a text; no rows without a sentiment head.

    encoder: the encoder of the run, whose stored vectors most heads read; for a head with its own encoder, new reviews
    are encoded by that as well. A head that was fitted with other encoder settings is skipped, with a warning.
    """
    no_rows = pl.DataFrame(schema={"review_id": pl.String, "sentiment": pl.Float32})
    if adopted is None or not adopted.head or reviews_text.is_empty():
        return no_rows
    folder = workspace.encoders / adopted.head
    head = SentimentHead.load(folder)
    if (folder / SENTIMENT_ENCODER).is_dir():
        encoder = encoder.model_copy(update={"model": str(folder / SENTIMENT_ENCODER), "sha256": ""})
    done = embed_texts(workspace, reviews_text, encoder, settings, progress)
    if done.encoder_id != head.encoder_id:
        log.warning(
            "sentiment_skipped head_encoder=%s encoder=%s remedy=run `recsys finetune` with the sentiment stage",
            head.encoder_id,
            done.encoder_id,
        )
        return no_rows
    vectors = load_vectors(workspace, done.encoder_id, reviews_text["text_hash"])
    sentiments = scores(head.probabilities(vectors, reviews_text["text"].to_list()))
    return reviews_text.select("review_id").with_columns(sentiment=pl.Series(sentiments, dtype=pl.Float32))

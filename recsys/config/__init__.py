"""Every setting with its default, unit, limits and meaning, in one frozen tree.

`recsys.toml` and `docs/settings.md` are generated from it (`recsys/config/reference.py`, `make settings`). Settings are
read once, where a process starts (`recsys/settings_file.py`); each function receives its own section, never the tree.
"""

from recsys.config.checks import ChecksSettings, FairnessSettings, GateSettings, LimitSettings
from recsys.config.data import IngestSettings, InteractionsSettings, TextSettings
from recsys.config.encoder import EmbedSettings, EncoderSettings
from recsys.config.finetune import (
    ContrastiveSettings,
    DistillSettings,
    FinetuneSettings,
    MlmSettings,
    PairsSettings,
    ProjectionSettings,
    SentimentSettings,
)
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
from recsys.config.renamed import RENAMED, read_stored
from recsys.config.scenarios import ArmSettings, ExperimentSettings, Name, ScenarioSettings, ScenariosSettings
from recsys.config.serving import ServeSettings
from recsys.config.settings import Settings

__all__ = [
    "RENAMED",
    "ArmSettings",
    "ChecksSettings",
    "ComplementsSettings",
    "ContrastiveSettings",
    "DistillSettings",
    "EmbedSettings",
    "EncoderSettings",
    "EvaluateSettings",
    "EvidenceSettings",
    "ExperimentSettings",
    "FactorsSettings",
    "FairnessSettings",
    "FinetuneSettings",
    "FusionSettings",
    "GateSettings",
    "IngestSettings",
    "InteractionsSettings",
    "LimitSettings",
    "LinearSettings",
    "MlmSettings",
    "Name",
    "NewItemsSettings",
    "NightlySettings",
    "PairsSettings",
    "ProjectionSettings",
    "RankingSettings",
    "RecommendSettings",
    "ReleasesSettings",
    "RepeatsSettings",
    "ScenarioSettings",
    "ScenariosSettings",
    "SentimentSettings",
    "SequenceSettings",
    "ServeSettings",
    "Settings",
    "TextSettings",
    "read_stored",
]

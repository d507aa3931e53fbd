"""Where everything of one shop lies inside its workspace folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Workspace:
    """Paths of one shop's workspace; naming them creates nothing.

    url: where it lies, if `root` is this machine's copy of a workspace on object storage.
    """

    root: Path
    url: str = ""

    @property
    def shown(self) -> str:
        """What a person calls it, and passes as `--workspace`."""
        return self.url or str(self.root)

    @property
    def lake(self) -> Path:
        """Checked input tables, Parquet."""
        return self.root / "lake"

    @property
    def sample(self) -> Path:
        """The simulated storefront's files, where this workspace has one."""
        return self.root / "sample"

    @property
    def quarantine(self) -> Path:
        """Rows that broke a rule, with the rule's name, Parquet."""
        return self.root / "quarantine"

    @property
    def embeddings(self) -> Path:
        """Encoded texts by encoder and hash, Parquet shards."""
        return self.root / "embeddings"

    @property
    def encoders(self) -> Path:
        """One folder a tuned encoder: an ordinary transformers folder, its sentiment head beside it."""
        return self.root / "encoders"

    @property
    def current_encoder(self) -> Path:
        """Which of them was adopted."""
        return self.encoders / "current.json"

    @property
    def store(self) -> Path:
        """The LanceDB database."""
        return self.root / "store"

    @property
    def releases(self) -> Path:
        """One folder a release: manifest and model files."""
        return self.root / "releases"

    @property
    def current(self) -> Path:
        """Which release is served, and which were published."""
        return self.releases / "CURRENT"

    @property
    def live_database(self) -> Path:
        """The live database, where no other is configured: SQLite, with its log beside it."""
        return self.root / "live" / "live.sqlite"

    @property
    def lease(self) -> Path:
        """Who writes to this workspace."""
        return self.root / "lease.json"

    @property
    def runs(self) -> Path:
        """One folder a nightly run, record and log; one a release, report and trial model; one a fine-tuning run."""
        return self.root / "runs"

    @property
    def atlases(self) -> Path:
        """Where the items of a release lie on the map of `/inspect`, a file a release, where it was laid out."""
        return self.root / "atlases"

    @property
    def steps(self) -> Path:
        """What the steps of a nightly run made, by step and by what it was made from."""
        return self.root / "steps"

    @property
    def training(self) -> Path:
        """The state of a training run under way, so that a killed one goes on."""
        return self.root / "training"

    @property
    def tuning(self) -> Path:
        """The state of a fine-tuning run under way."""
        return self.training / "finetune"

    @property
    def tuning_lease(self) -> Path:
        """Who fine-tunes in this workspace; the nightly run may go on meanwhile."""
        return self.root / "finetune-lease.json"

    @property
    def students(self) -> Path:
        """Pruned encoders, a folder each."""
        return self.root / "students"

    @property
    def api_keys(self) -> Path:
        """Who may call the service: digests of keys, their scopes and limits."""
        return self.root / "keys.json"

    @property
    def hidden_reviews(self) -> Path:
        """Ids of reviews that are never quoted."""
        return self.root / "hidden-reviews.json"

    @property
    def erasures(self) -> Path:
        """Receipts of erased shoppers, whom ingest keeps out, and the key that their ids are hashed with."""
        return self.root / "erasures"

    @property
    def settings_file(self) -> Path:
        """This shop's own settings, where it has any."""
        return self.root / "recsys.toml"

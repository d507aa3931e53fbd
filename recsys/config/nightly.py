"""Settings of nightly runs and of the releases that they publish."""

from __future__ import annotations

from pydantic import Field

from recsys.config.section import Section


class NightlySettings(Section):
    free_disk_mb: int = Field(1000, ge=0, description="Disk space that must be free when a run starts, in MiB.")
    free_memory_mb: int = Field(1000, ge=0, description="Memory that must be free when a run starts, in MiB.")
    full_retrain_share: float = Field(
        0.05,
        ge=0,
        lt=1,
        description=(
            "Below this share of new events a run reuses the models of the served release. 0: every run trains "
            "everything from scratch."
        ),
    )
    full_retrain_days: float = Field(
        7.0, gt=0, description="Everything is trained from scratch at the latest after so many days."
    )
    continue_epochs: int = Field(
        0,
        ge=0,
        description=(
            "Epochs for which a run that reuses models continues to train the sequence model. 0 leaves it as it is."
        ),
    )
    continue_lr_factor: float = Field(
        0.5, gt=0, le=1, description="Learning-rate factor of these epochs, on sequence.learning_rate."
    )
    step_memory_gb: float = Field(
        0.0,
        ge=0,
        description=(
            "Memory that a step reserves on a node of the cluster, in GiB. It then runs on a node with so much memory. "
            "0 reserves none."
        ),
    )


class ReleasesSettings(Section):
    keep: int = Field(5, ge=1, description="Number of newest releases that are kept.")
    lease_minutes: float = Field(
        240.0,
        gt=0,
        description="How long other machines wait for a run that does not end before they take over, in minutes.",
    )

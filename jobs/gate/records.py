"""What the data checks and the gate store for the report, for later runs and for `recsys releases show`.

Records of earlier versions are read as well: fields that they lack have defaults, renamed fields have aliases.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Final

from pydantic import AliasChoices, AwareDatetime, Field, TypeAdapter

from features.workspace.record_file import RecordFile
from jobs.gate.findings import Finding
from jobs.gate.quality import SliceChange
from jobs.gate.served_auc import ServedAuc


@dataclass(frozen=True)
class ChecksRecord:
    """Findings of the data checks. window, events: start and end of the new data, and its number of events; None where
    there was nothing to compare with. quarantined: share of bad rows; served_auc: of the served release on the new
    data. lake: digest of the lake; last_ingest: id of its latest ingest; forced: whether findings could stop the
    run."""

    findings: tuple[Finding, ...] = ()
    window: tuple[AwareDatetime, AwareDatetime] | None = None
    events: int | None = None
    quarantined: float | None = None
    served_auc: Annotated[ServedAuc | None, Field(validation_alias=AliasChoices("served_auc", "foresight"))] = None
    lake: str = ""
    last_ingest: int = 0
    forced: bool = False


@dataclass(frozen=True)
class ChangedSlate:
    """A list of a reference shopper that differs from the served release's. churn: share of the items of the list
    before that are no longer in it; before, after: titles."""

    user_id: str
    churn: float
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class GateRecord:
    """The gate's verdict. outcome: published, forced or held back; compared_with: id of the served release, None
    without one; reasons: a line per finding that stops; figures: drift and fairness by name; fit: digest of the fitted
    model; trial_served_auc: of the candidate's trial on its held-out days."""

    outcome: str = ""
    compared_with: str | None = None
    reasons: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    slices: tuple[SliceChange, ...] = ()
    figures: dict[str, float | None] = field(default_factory=dict)
    changed_slates: tuple[ChangedSlate, ...] = ()
    index: str = "none: items are searched exactly"
    fit: str = ""
    trial_served_auc: Annotated[
        ServedAuc | None, Field(validation_alias=AliasChoices("trial_served_auc", "trial_foresight"))
    ] = None


CHECKS: Final = RecordFile("data_checks.json", TypeAdapter(ChecksRecord))
GATE: Final = RecordFile("gate.json", TypeAdapter(GateRecord))
"""In the run's folder, and in the folder of the release that it published."""

CHECKS_FILE: Final = CHECKS.name
GATE_FILE: Final = GATE.name

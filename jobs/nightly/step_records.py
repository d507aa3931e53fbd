"""Small records that the steps of a nightly run write for later steps, for the report and for later runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter

from features.store.manifest import LivePosition
from features.workspace.record_file import RecordFile
from jobs.ingest.report import TableReport
from jobs.nightly.publish import ReleaseInputs


@dataclass(frozen=True)
class IngestedRows:
    """Rows that the step `ingest` read, and how many broke a rule, in all and by table."""

    n_read: int = 0
    n_bad: int = 0
    tables: tuple[TableReport, ...] = ()


@dataclass(frozen=True)
class Moments:
    """as_of: nothing later is known; test_cut: what follows is for measuring; valid_cut: what follows, up to test_cut,
    is for learning the weights of the sources. lake: digest of the data that was read."""

    as_of: datetime
    test_cut: datetime
    valid_cut: datetime
    lake: str


@dataclass(frozen=True)
class EncoderRecord:
    """The encoder that embedded the texts: its id, and the SHA-256 of its weights."""

    id: str
    sha256: str


@dataclass(frozen=True)
class LearnedRecord:
    """made_from: when and from what the parts were learned; taken_from: the release they were taken from, "" where this
    run has learned them."""

    made_from: ReleaseInputs
    taken_from: str = ""


@dataclass(frozen=True)
class ReleaseRecord:
    """The id of the release that the step `publish` made, or that was live already."""

    release_id: str


LIVE: Final = RecordFile("live.json", TypeAdapter(LivePosition))
INGESTED: Final = RecordFile("arrivals.json", TypeAdapter(IngestedRows))
MOMENTS: Final = RecordFile("moments.json", TypeAdapter(Moments))
ENCODER: Final = RecordFile("encoder.json", TypeAdapter(EncoderRecord))
LEARNED: Final = RecordFile("learned.json", TypeAdapter(LearnedRecord))
METRICS: Final = RecordFile("metrics.json", TypeAdapter(dict[str, Any]))
"""By model ("fused", "popularity", each source), slice and metric: what `jobs.training.evaluate` returns."""
RELEASE: Final = RecordFile("release.json", TypeAdapter(ReleaseRecord))

"""Records of checks and gate, and those that earlier versions wrote."""

import json
import math
from datetime import UTC, datetime
from pathlib import Path

from jobs.gate.findings import Finding
from jobs.gate.quality import SliceChange
from jobs.gate.records import CHECKS, GATE, ChangedSlate, ChecksRecord, GateRecord
from jobs.gate.served_auc import ServedAuc

OLD_CHECKS = {
    "findings": [],
    "window": ["2025-06-01T02:00:00+00:00", "2025-06-02T02:00:00+00:00"],
    "events": 1234,
    "quarantined": 0.25,
    "foresight": {"value": 0.8, "error": 0.01, "n": 300},
    "lake": "ab",
    "last_ingest": 3,
    "forced": False,
}
OLD_FINDING = {
    "name": "vector spread",
    "value": 0.28,
    "low": None,
    "high": 0.95,
    "severity": "ok",
    "says": "two items are alike by 0.28 in the mean",
    "remedy": "",
}
OLD_GATE = {
    "outcome": "published",
    "compared_with": "r1",
    "reasons": [],
    "findings": [OLD_FINDING],
    "slices": [
        {"name": "all", "n_users": 9, "candidate": 0.3, "served": 0.2, "low": -0.1, "high": 0.3, "relative": 0.5}
    ],
    "figures": {"neighbour_churn": 0.1},
    "changed_slates": [{"user_id": "ann", "churn": 0.5, "before": ["mug"], "after": ["lamp"]}],
    "index": "none: items are searched exactly",
    "fit": "cd",
    "trial_foresight": {"value": 0.7, "error": 0.02, "n": 40},
}


def test_checks_of_an_earlier_version_are_read(tmp_path: Path) -> None:
    (tmp_path / "data_checks.json").write_text(json.dumps(OLD_CHECKS))
    day = datetime(2025, 6, 1, 2, tzinfo=UTC)
    window = (day, day.replace(day=2))
    auc = ServedAuc(0.8, 0.01, 300)
    assert CHECKS.read(tmp_path) == ChecksRecord((), window, 1234, 0.25, auc, "ab", 3, forced=False)


def test_a_verdict_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    (tmp_path / "gate.json").write_text(json.dumps(OLD_GATE))
    record = GATE.read(tmp_path)
    assert record.findings[0].low == -math.inf and record.findings[0].expected() == "at most 0.95"
    assert record.slices == (SliceChange("all", 9, 0.3, 0.2, -0.1, 0.3),)
    assert record.changed_slates == (ChangedSlate("ann", 0.5, ("mug",), ("lamp",)),)
    assert record.trial_served_auc == ServedAuc(0.7, 0.02, 40)


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    finding = Finding("quality, all", -0.1234567, -0.03, math.inf, "stop", "NDCG 0.1", "look")
    gate = GateRecord("held back", "r1", (finding.line(),), (finding,), fit="ab", trial_served_auc=ServedAuc(0.5, 0, 2))
    GATE.write(tmp_path, gate)
    stored = json.loads((tmp_path / GATE.name).read_text())
    assert (stored["findings"][0]["value"], stored["findings"][0]["high"]) == (-0.123457, None)
    assert stored["trial_served_auc"] == {"value": 0.5, "error": 0.0, "n": 2}
    read = GATE.read(tmp_path)
    assert read.findings[0].high == math.inf and read.reasons == gate.reasons and read.fit == "ab"

"""Limits on what a candidate's lists show and whom they serve, on the tiny storefront."""

import math

import numpy as np
import polars as pl
import pytest
from storefronts import NOON, item_entry, tiny_recommender, users_with

from jobs.gate.fairness import fairness_findings
from jobs.gate.findings import stops
from jobs.gate.quality import group_quality
from recsys.config import FairnessSettings, GateSettings
from recsys.recommend import Recommender
from recsys.split import HeldOut

OWNERS = {f"u{row}": [item_entry("keyboard")] for row in range(30)}


def shop(**changes: object) -> Recommender:
    return tiny_recommender(users=users_with(OWNERS), **changes)  # type: ignore[arg-type]


def test_without_limits_nothing_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.gate.fairness.reach", None)  # would fail where it is called
    assert fairness_findings(shop(), {}, NOON, FairnessSettings(), seed=0) == ([], {})


def test_a_broken_limit_holds_back_and_names_setting_and_remedy() -> None:
    findings, figures = fairness_findings(
        shop(), {}, NOON, FairnessSettings(min_coverage=0.9, max_miscalibration=9.0), seed=0
    )
    coverage, miscalibration = findings
    assert coverage.severity == "stop"
    assert coverage.line().startswith("fairness, coverage: coverage is 0.800, fairness.min_coverage = 0.9 (expected at")
    assert "new_items.share" in coverage.remedy
    assert (miscalibration.severity, miscalibration.remedy, miscalibration.low) == ("ok", "", -math.inf)
    assert figures["fairness_coverage"] == 0.8  # all but the keyboard, which everybody has
    assert set(figures) == {
        f"fairness_{name}" for name in ("gini", "coverage", "tail_ratio", "miscalibration", "worst_group")
    }


def test_the_group_that_is_served_worst_is_named() -> None:
    quality = {"cold_user": 0.01, "history_1_4": 0.2, "history_10_up": 0.3}
    (finding,) = stops(fairness_findings(shop(), quality, NOON, FairnessSettings(min_worst_group=0.5), seed=0)[0])
    assert finding.says == "worst group (cold_user) is 0.059, fairness.min_worst_group = 0.5"
    findings, _ = fairness_findings(shop(), {"history_1_4": 0.2}, NOON, FairnessSettings(min_worst_group=0.5), seed=0)
    assert not stops(findings)


def test_a_release_that_knows_no_shopper_has_nothing_to_limit() -> None:
    nobody = tiny_recommender(users=users_with({}))
    assert fairness_findings(nobody, {}, NOON, FairnessSettings(min_coverage=0.9), seed=0) == ([], {})


def test_quality_is_grouped_by_length_of_history() -> None:
    users = [*OWNERS, *(f"stranger{row}" for row in range(30)), "alone"]
    targets = pl.DataFrame({"user_id": users, "item_id": ["mouse"] * 61, "timestamp": [NOON] * 61})
    columns = ("user_id", "asked_for", "event_type", "timestamp", "item_id", "text_row")
    held_out = HeldOut(targets.clear(), targets, NOON, pl.DataFrame(schema=dict.fromkeys(columns, pl.String)))
    no_text = np.zeros((0, 3), dtype=np.float32)
    popularity = np.array([9, 8, 7, 1, 6], dtype=np.float32)
    quality = group_quality(shop(popularity=popularity), held_out, no_text, GateSettings(min_users=30), seed=0)
    assert list(quality) == ["cold_user", "history_1_4"]
    assert quality["history_1_4"] == 1.0
    assert quality["cold_user"] < 1.0
    assert group_quality(shop(), held_out, no_text, GateSettings(min_users=40), seed=0) == {}

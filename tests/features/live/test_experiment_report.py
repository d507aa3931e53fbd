"""What came of an experiment, by hand."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from features.live.answer_log import AnswerLog, Exposure
from features.live.database import LiveDatabase
from features.live.event_log import EventLog, LoggedEvent
from features.live.experiment_report import experiment_report
from features.workspace.lake_files import scan_events
from jobs.ingest.event_log import ingest_log
from recsys.config import ArmSettings, ExperimentSettings, IngestSettings
from recsys.experiments import Lift
from recsys.workspace import Workspace

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MIX = ExperimentSettings(arms={"as-is": ArmSettings(), "mixed": ArmSettings()})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "shop")


def shown(database: LiveDatabase, user_id: str, arm: str, at: datetime = NOON) -> None:
    AnswerLog(database).record([], [Exposure(f"{user_id} {arm} {at}", at, user_id, "mix", arm)])


def did(database: LiveDatabase, user_id: str, *hours: float, kind: str = "purchase") -> None:
    EventLog(database).append(
        [LoggedEvent(f"{user_id} {kind} {at}", user_id, "boot", kind, NOON + at * HOUR) for at in hours]
    )


def test_outcomes_count_by_shopper_from_their_first_list_on(workspace: Workspace, live_database: LiveDatabase) -> None:
    """Of the control a bought twice, b before and after, c never; of the other d once, e only before, f three times."""
    for user_id in "abc":
        shown(live_database, user_id, "as-is")
    for user_id in "def":
        shown(live_database, user_id, "mixed", NOON + HOUR)
    shown(live_database, "a", "as-is", NOON + 5 * HOUR)
    did(live_database, "a", 0, 9)
    did(live_database, "b", -1, 2)
    did(live_database, "d", 1)
    did(live_database, "e", 0.5)
    did(live_database, "f", 2, 3, 4)
    did(live_database, "c", 3, kind="cart")
    did(live_database, "nobody", 3)
    report = experiment_report("mix", MIX, "purchase", live_database, workspace.lake)
    control, mixed = report.arms
    assert (control.n_users, control.n_exposures, control.n_converted, control.n_outcomes) == (3, 4, 2, 3)
    assert (mixed.n_users, mixed.n_exposures, mixed.n_converted, mixed.n_outcomes) == (3, 3, 2, 4)
    assert (control.rate, control.outcomes_per_user) == (2 / 3, 1.0)
    assert (control.rate_lift, control.outcomes_lift) == (None, None)
    assert isinstance(mixed.rate_lift, Lift) and mixed.rate_lift.lift == 0.0
    assert isinstance(mixed.outcomes_lift, Lift) and mixed.outcomes_lift.lift == pytest.approx(1 / 3)
    assert (report.since, report.n_switched, report.n_other, report.ratio.p_value) == (NOON, 0, 0, 1.0)
    carts = experiment_report("mix", MIX, "cart", live_database, workspace.lake)
    assert [arm.n_outcomes for arm in carts.arms] == [1, 0]


def test_events_that_a_night_took_into_the_lake_count_once(workspace: Workspace, live_database: LiveDatabase) -> None:
    shown(live_database, "a", "as-is")
    did(live_database, "a", 1, 2)
    ingest_log(workspace, EventLog(live_database), IngestSettings(), NOON + 24 * HOUR)
    did(live_database, "a", 30)
    report = experiment_report("mix", MIX, "purchase", live_database, workspace.lake)
    assert report.arms[0].n_outcomes == 3


def test_a_second_arm_and_one_that_is_no_more_are_told(workspace: Workspace, live_database: LiveDatabase) -> None:
    shown(live_database, "a", "mixed", NOON + HOUR)
    shown(live_database, "a", "as-is")
    shown(live_database, "b", "gone")
    report = experiment_report("mix", MIX, "purchase", live_database, workspace.lake)
    assert [arm.n_users for arm in report.arms] == [1, 0]
    assert (report.n_switched, report.n_other) == (1, 1)


def test_events_of_the_lake_are_those_from_the_moment_on(workspace: Workspace, live_database: LiveDatabase) -> None:
    assert scan_events(workspace.lake, NOON).collect().is_empty()
    did(live_database, "a", -30, -1, 0, 1)
    ingest_log(workspace, EventLog(live_database), IngestSettings(), NOON + 24 * HOUR)
    rows = scan_events(workspace.lake, NOON).collect()
    assert sorted(rows["timestamp"]) == [NOON, NOON + HOUR]

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from features.answer_log import AnswerLog, Exposure
from features.event_log import EventLog, LoggedEvent
from features.live_database import LiveDatabase, open_live_database
from jobs.__main__ import main
from jobs.experiment_report import experiment_report
from jobs.lake import Lake
from jobs.log_ingest import ingest_log
from recsys.config import Arm, Experiment, Ingest
from recsys.experiments import Lift
from recsys.workspace import Workspace

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MIX = Experiment(arms={"as-is": Arm(), "mixed": Arm()})
SETTINGS = "[experiments.mix.arms.as-is]\n[experiments.mix.arms.mixed]\n[experiments.trees]\nshare = 0.5\n"
SETTINGS += '[experiments.trees.arms.with]\n[experiments.trees.arms.without]\nranker = "weighted_sum"\nweight = 3\n'


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
    report = experiment_report("mix", MIX, "purchase", live_database, Lake(workspace.lake))
    control, mixed = report.arms
    assert (control.n_users, control.n_exposures, control.n_converted, control.n_outcomes) == (3, 4, 2, 3)
    assert (mixed.n_users, mixed.n_exposures, mixed.n_converted, mixed.n_outcomes) == (3, 3, 2, 4)
    assert (control.rate, control.outcomes_per_user) == (2 / 3, 1.0)
    assert (control.rate_lift, control.outcomes_lift) == (None, None)
    assert isinstance(mixed.rate_lift, Lift) and mixed.rate_lift.lift == 0.0
    assert isinstance(mixed.outcomes_lift, Lift) and mixed.outcomes_lift.lift == pytest.approx(1 / 3)
    assert (report.since, report.n_switched, report.n_other, report.ratio.p_value) == (NOON, 0, 0, 1.0)
    carts = experiment_report("mix", MIX, "cart", live_database, Lake(workspace.lake))
    assert [arm.n_outcomes for arm in carts.arms] == [1, 0]


def test_events_that_a_night_took_into_the_lake_count_once(workspace: Workspace, live_database: LiveDatabase) -> None:
    shown(live_database, "a", "as-is")
    did(live_database, "a", 1, 2)
    ingest_log(workspace, EventLog(live_database), Ingest(), NOON + 24 * HOUR)
    did(live_database, "a", 30)
    report = experiment_report("mix", MIX, "purchase", live_database, Lake(workspace.lake))
    assert report.arms[0].n_outcomes == 3


def test_a_second_arm_and_one_that_is_no_more_are_told(workspace: Workspace, live_database: LiveDatabase) -> None:
    shown(live_database, "a", "mixed", NOON + HOUR)
    shown(live_database, "a", "as-is")
    shown(live_database, "b", "gone")
    report = experiment_report("mix", MIX, "purchase", live_database, Lake(workspace.lake))
    assert [arm.n_users for arm in report.arms] == [1, 0]
    assert (report.n_switched, report.n_other) == (1, 1)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A workspace with settings of two experiments, of which one has run: 300 shoppers against 200."""
    place = Workspace(tmp_path / "shop")
    place.root.mkdir()
    place.settings_file.write_text(SETTINGS)
    database = open_live_database(place, "")
    exposures = [
        Exposure(f"{arm}{n}", NOON, f"{arm}{n}", "mix", arm)
        for arm, n_users in (("as-is", 300), ("mixed", 200))
        for n in range(n_users)
    ]
    AnswerLog(database).record([], exposures)
    bought = [f"as-is{n}" for n in range(30)] + [f"mixed{n}" for n in range(40)]
    EventLog(database).append([LoggedEvent(user, user, "boot", "purchase", NOON) for user in bought])
    database.close()
    monkeypatch.setenv("COLUMNS", "160")
    yield place.root


def test_the_report_shows_lifts_and_warns_of_a_split_that_is_not_as_it_should_be(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """30 of 300 against 40 of 200: twice the rate. 300 against 200 of equal weights: chi-square 20, p 7.7e-6."""
    out = tmp_path / "report.json"
    assert main(["experiments", "report", "mix", "--workspace", str(shop), "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    assert (
        "as-is" in printed
        and "10.00%" in printed
        and "20.00%" in printed
        and "+100.0%" in printed
        and "+29.0% … +210.0%" in printed
    )
    assert "p = 7.7e-06" in printed and "do not trust" in printed
    told = json.loads(out.read_text())
    assert told["since"] == "2026-01-01T12:00:00+00:00"
    assert (told["ratio"]["chi_square"], told["ratio"]["is_trusted"]) == (20.0, False)
    assert told["arms"][1]["rate_lift"]["lift"] == pytest.approx(1.0)
    assert told["arms"][0]["rate_lift"] is None


def test_an_experiment_that_nobody_has_seen_has_an_empty_report(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiments", "report", "trees", "--workspace", str(shop), "--metric", "click"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "nobody has seen one yet" in printed and "as the weights have it" in printed


def test_the_experiments_are_listed_with_their_shoppers(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiments", "list", "--workspace", str(shop)]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert next(line.split() for line in lines if line.startswith("mix")) == [
        *("mix", "100%", "as-is", "1,", "mixed", "1", "500", "2026-01-01", "12:00")
    ]
    assert next(line.split() for line in lines if line.startswith("trees"))[-3:] == ["3", "0", "-"]
    assert main(["experiments", "list", "--workspace", str(shop), "--json"]) == 0
    assert [row["n_users"] for row in json.loads(capsys.readouterr().out)] == [500, 0]


def test_an_unknown_experiment_is_one_line_with_the_nearest(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["experiments", "report", "tree", "--workspace", str(shop)]) == 2
    assert "no experiment 'tree' in the settings; did you mean trees?" in capsys.readouterr().err
    empty = tmp_path / "empty"
    assert main(["experiments", "report", "tree", "--workspace", str(empty)]) == 2
    assert "the settings have none; see [experiments]" in capsys.readouterr().err
    assert main(["experiments", "report", "mix", "--workspace", str(shop), "--metric", "views"]) == 2
    assert not empty.exists()

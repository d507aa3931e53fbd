import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from features.live.answer_log import AnswerLog, Exposure
from features.live.database import open_live_database
from features.live.event_log import EventLog, LoggedEvent
from jobs.__main__ import main
from recsys.workspace import Workspace

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SETTINGS = "[experiments.mix.arms.as-is]\n[experiments.mix.arms.mixed]\n[experiments.trees]\nshare = 0.5\n"
SETTINGS += '[experiments.trees.arms.with]\n[experiments.trees.arms.without]\nranker = "weighted_sum"\nweight = 3\n'


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A workspace with settings of two experiments, one of which has exposures: 300 shoppers against 200."""
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
    assert "sample ratio mismatch (p = 7.7e-06)" in printed and "do not trust" in printed
    content = json.loads(out.read_text())
    assert content["since"] == "2026-01-01T12:00:00+00:00"
    assert (content["ratio"]["chi_square"], content["ratio"]["is_trusted"]) == (20.0, False)
    assert content["arms"][1]["rate_lift"]["lift"] == pytest.approx(1.0)
    assert content["arms"][0]["rate_lift"] is None


def test_an_experiment_that_nobody_has_seen_has_an_empty_report(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiments", "report", "trees", "--workspace", str(shop), "--metric", "click"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "no exposures yet" in printed and "no sample ratio mismatch" in printed


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
    assert "the settings define none; see [experiments]" in capsys.readouterr().err
    assert main(["experiments", "report", "mix", "--workspace", str(shop), "--metric", "views"]) == 2
    assert not empty.exists()

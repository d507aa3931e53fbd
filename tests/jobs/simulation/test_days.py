from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from jobs.simulation.days import Day, Days, SimulatedNight, World
from recsys.errors import DataError

WORLD = World(datetime(2025, 6, 1, tzinfo=UTC), seed=3, shoppers=20, count=10, rest_after=0)
DAY = Day(1, "r1", {"system": {"click_rate": 0.1}}, [{"event_id": "e1"}])


def test_a_world_is_kept_and_another_one_is_refused(tmp_path: Path) -> None:
    days = Days(tmp_path / "new" / "folder")
    assert days.world() is None
    days.begin(WORLD)
    days.begin(WORLD)
    assert Days(days.folder).world() == WORLD
    with pytest.raises(DataError, match=r"--seed 3 --shoppers 20 --count 10 --rest-after 0; choose another --out"):
        days.begin(replace(WORLD, seed=4))


def test_days_begin_at_midnights() -> None:
    assert WORLD.begin(1) == WORLD.start
    assert WORLD.begin(15) == datetime(2025, 6, 15, tzinfo=UTC)


def test_a_day_without_its_night_is_kept_and_is_not_whole(tmp_path: Path) -> None:
    days = Days(tmp_path)
    assert days.day(1) is None and days.played() == []
    days.keep(DAY)
    assert days.day(1) == DAY and days.played() == []
    whole = replace(DAY, night=SimulatedNight("r2", 8.0))
    days.keep(whole)
    assert days.played() == [whole]


def test_days_after_a_gap_do_not_count(tmp_path: Path) -> None:
    days = Days(tmp_path)
    for number in (1, 3):
        days.keep(replace(DAY, number=number, night=SimulatedNight(None, 8.0)))
    assert [day.number for day in days.played()] == [1]


def test_a_damaged_day_is_named(tmp_path: Path) -> None:
    days = Days(tmp_path)
    days.keep(DAY)
    path = tmp_path / "day-001.json"
    path.write_text(path.read_text()[:-5])
    with pytest.raises(DataError, match=r"day-001\.json: damaged .* remove it"):
        days.day(1)


def test_the_first_releases_lists_are_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    days = Days(tmp_path)
    assert days.first_release() is None
    days.keep_first_release(np.array([[1, 2], [3, -1]]))
    rows = Days(tmp_path).first_release()
    assert rows is not None and rows.tolist() == [[1, 2], [3, -1]]
    assert [path.name for path in tmp_path.iterdir()] == ["first-release.npz"]

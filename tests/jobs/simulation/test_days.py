import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from jobs.simulation.days import Day, Days, Figures, SimulatedRun, World
from recsys.errors import DataError

WORLD = World(datetime(2025, 6, 1, tzinfo=UTC), seed=3, shoppers=20, count=10, rest_after=0)
FIGURES = Figures(100, 1000, 50, 10, 5, 0.05, 0.01, 0.05, 0.02, 0.8, 0.7, 0.4)
DAY = Day(1, "r1", {"system": FIGURES}, [{"event_id": "e1"}])


def test_settings_are_saved_and_other_ones_are_refused(tmp_path: Path) -> None:
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


def test_a_day_before_its_nightly_run_is_saved_and_is_not_complete(tmp_path: Path) -> None:
    days = Days(tmp_path)
    assert days.day(1) is None and days.played() == []
    days.save(DAY)
    assert days.day(1) == DAY and days.played() == []
    whole = replace(DAY, run=SimulatedRun("r2", 8.0))
    days.save(whole)
    assert days.played() == [whole]


def test_days_after_a_gap_do_not_count(tmp_path: Path) -> None:
    days = Days(tmp_path)
    for number in (1, 3):
        days.save(replace(DAY, number=number, run=SimulatedRun(None, 8.0)))
    assert [day.number for day in days.played()] == [1]


def test_a_damaged_day_is_named(tmp_path: Path) -> None:
    days = Days(tmp_path)
    days.save(DAY)
    path = tmp_path / "day-001.json"
    path.write_text(path.read_text()[:-5])
    with pytest.raises(DataError, match=r"day-001\.json: damaged .* delete it to simulate the day again"):
        days.day(1)


def test_the_lists_of_the_first_release_are_saved_atomically(tmp_path: Path) -> None:
    days = Days(tmp_path)
    assert days.first_release() is None
    days.save_first_release(np.array([[1, 2], [3, -1]]))
    rows = Days(tmp_path).first_release()
    assert rows is not None and rows.tolist() == [[1, 2], [3, -1]]
    assert [path.name for path in tmp_path.iterdir()] == ["first-release.npz"]


def test_files_of_earlier_versions_are_read(tmp_path: Path) -> None:
    """As json.dumps wrote them, with +00:00 in times and `night` for the nightly run."""
    world = {"start": "2025-06-01T00:00:00+00:00", "seed": 3, "shoppers": 20, "count": 10, "rest_after": 0}
    (tmp_path / "world.json").write_text(json.dumps(world))
    figures = {"n_lists": 100, "n_shown": 1000, "n_clicks": 50, "n_carts": 10, "n_purchases": 5, "click_rate": 0.05}
    figures |= {"click_rate_error": 0.01, "purchase_rate": 0.05, "purchase_rate_error": 0.02, "coverage": 0.8}
    figures |= {"diversity": 0.7, "exposure_gini": 0.4}
    day = {"number": 1, "release_id": "r1", "figures": {"system": figures}, "events": [{"event_id": "e1"}]}
    (tmp_path / "day-001.json").write_text(json.dumps(day | {"night": {"published": "r2", "seconds": 8.0}}))
    days = Days(tmp_path)
    assert days.world() == WORLD
    assert days.played() == [replace(DAY, run=SimulatedRun("r2", 8.0))]
    (tmp_path / "day-001.json").write_text(json.dumps(day | {"night": None}))
    assert days.day(1) == DAY

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from matplotlib.image import imread

from jobs.simulation.arms import ARMS, CEILING, RANDOM, SYSTEM
from jobs.simulation.days import Day, Figures, SimulatedRun, World
from jobs.simulation.report import JSON_FILE, PLOT_FILE, finding, plot, print_report, summary, write_report

WORLD = World(datetime(2025, 6, 1, tzinfo=UTC), 0, 10, 20, 0)
USUAL = Figures(100, 1000, 50, 10, 5, 0.05, 0.01, 0.05, 0.02, 0.8, 0.7, 0.4)


def days(clicks: list[float], coverage: float = 0.8) -> list[Day]:
    """Click rates of the system; random has 0, the ceiling 0.5. coverage: of the last half of the days."""

    def arm(name: str, at: int) -> Figures:
        rate = {SYSTEM: clicks[at], RANDOM: 0.0, CEILING: 0.5}.get(name, 0.05)
        return replace(USUAL, click_rate=rate, coverage=coverage if at >= len(clicks) / 2 else 0.8)

    return [
        Day(at + 1, f"r{at}", {name: arm(name, at) for name in ARMS}, [], SimulatedRun(f"r{at + 1}", 9.0))
        for at in range(len(clicks))
    ]


def test_what_is_reached_of_the_way_from_random_to_the_ceiling() -> None:
    of = summary(days([0.1, 0.1, 0.1, 0.2, 0.25, 0.3]))
    assert of["reached"] == {"first": pytest.approx(0.2), "last": pytest.approx(0.5)}
    assert summary(days([0.1]), RANDOM)["reached"]["last"] == 0.0


@pytest.mark.parametrize(
    ("clicks", "coverage", "text"),
    [
        (
            [0.1] * 3 + [0.2] * 3,
            0.8,
            "rises from 10.0% to 20.0% in 6 days (without retraining 5.0%; ceiling 50% to 50%)",
        ),
        ([0.2] * 3 + [0.1] * 3, 0.8, "falls from 20.0% to 10.0%"),
        ([0.1] * 3 + [0.101] * 3, 0.8, "stays at 10.1% in 6 days"),
        ([0.1] * 3 + [0.2] * 3, 0.5, "coverage falls from 0.80 to 0.50"),
    ],
)
def test_the_finding_says_what_happened(clicks: list[float], coverage: float, text: str) -> None:
    assert text in finding(days(clicks, coverage))
    assert ("coverage and diversity hold" in finding(days(clicks, coverage))) == (coverage == 0.8)


def test_the_files_hold_every_day_and_the_title_is_the_finding(tmp_path: Path) -> None:
    played = days([0.1, 0.12, 0.14, 0.2])
    write_report(tmp_path, WORLD, played)
    content = json.loads((tmp_path / JSON_FILE).read_text())
    assert [day["date"] for day in content["days"]] == ["2025-06-01", "2025-06-02", "2025-06-03", "2025-06-04"]
    assert set(content["days"][0]["arms"]) == set(ARMS) == set(content["summary"])
    assert content["days"][0]["arms"][SYSTEM]["click_rate"] == 0.1
    assert imread(tmp_path / PLOT_FILE).shape[0] > 500
    figure = plot(played)
    assert figure.get_suptitle().replace("\n", " ") == content["finding"]
    assert [axis.get_yscale() for axis in figure.axes[:5]] == ["log", "log", "linear", "linear", "linear"]
    assert [axis.get_ylim()[0] for axis in figure.axes[2:5]] == [0.0] * 3


def test_the_table_fits_a_terminal_and_names_days_without_a_published_release(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    played = days([0.1, 0.2])
    held_back = Day(3, "r2", played[0].figures, [], SimulatedRun(None, 9.0))
    print_report(tmp_path, [*played, held_back])
    shown = capsys.readouterr().out
    assert "13.3%→13.3%" in shown
    assert "no release was published after day 3" in shown
    assert "…" not in shown

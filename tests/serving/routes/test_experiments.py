import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from features.live.answer_log import AnswerLog, Exposure
from features.live.database import LiveDatabase, open_live_database
from features.live.event_log import EventLog, LoggedEvent
from jobs.ingest.event_log import ingest_log
from recsys.config import IngestSettings, Settings
from recsys.errors import DataError, StoreError
from recsys.workspace import Workspace
from serving.api import create_app
from serving.live import experiment_reports
from serving.live.experiment_reports import ExperimentReports
from serving.releases.active import ActiveRelease
from serving.state import ServiceState
from serving.watch.keys import Keys

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SETTINGS = Settings.model_validate(
    {
        "experiments": {
            "mix": {"share": 0.5, "arms": {"as-is": {}, "mixed": {"weight": 1.0}}},
            "later": {"arms": {"one": {}, "two": {"weight": 3.0}}},
        }
    }
)


def bought(database: LiveDatabase, user_id: str, number: int = 0) -> None:
    EventLog(database).append([LoggedEvent(f"{user_id} {number}", user_id, "boot", "purchase", NOON)])


@pytest.fixture
def exposed(live_database: LiveDatabase) -> LiveDatabase:
    """Of 100 shoppers in each arm 10 of the control and 30 of the other have bought."""
    AnswerLog(live_database).record(
        [], [Exposure(f"{arm}{n}", NOON, f"{arm}{n}", "mix", arm) for arm in ("as-is", "mixed") for n in range(100)]
    )
    for arm, n_buyers in (("as-is", 10), ("mixed", 30)):
        for n in range(n_buyers):
            bought(live_database, f"{arm}{n}")
    return live_database


@pytest.fixture
def shop(live: ActiveRelease, exposed: LiveDatabase) -> Iterator[TestClient]:
    with TestClient(create_app(SETTINGS, ServiceState(lambda: live, exposed))) as client:
        yield client


def test_the_experiments_of_the_settings_with_what_has_come_of_them(shop: TestClient) -> None:
    answer = shop.get("/v1/experiments").json()
    assert answer["metric"] == "purchase"
    mix, later = answer["experiments"]
    assert (mix["name"], mix["share"], mix["since"]) == ("mix", 0.5, "2026-01-01T12:00:00Z")
    control, mixed = mix["arms"]
    assert (control["n_users"], control["n_exposures"], control["rate"]) == (100, 100, 0.1)
    assert (control["rate_lift"], control["weight"]) == (None, 1.0)
    assert mixed["rate_lift"]["lift"] == pytest.approx(2.0)
    assert 0 < mixed["rate_lift"]["low"] < 2 < mixed["rate_lift"]["high"]
    assert mix["sample_ratio"] == {"chi_square": 0.0, "p_value": 1.0, "is_trusted": True}
    assert (later["since"], [arm["n_users"] for arm in later["arms"]], later["arms"][1]["weight"]) == (
        None,
        [0, 0],
        3.0,
    )


def test_another_outcome(shop: TestClient) -> None:
    answer = shop.get("/v1/experiments", params={"metric": "cart"}).json()
    assert [arm["n_outcomes"] for arm in answer["experiments"][0]["arms"]] == [0, 0]
    assert shop.get("/v1/experiments", params={"metric": "sales"}).status_code == 422


def test_without_experiments_there_is_nothing_to_tell(live: ActiveRelease, exposed: LiveDatabase) -> None:
    client = TestClient(create_app(Settings(), ServiceState(lambda: live, exposed)))
    assert client.get("/v1/experiments").json()["experiments"] == []


def test_who_may_read_lists_may_read_this(
    live: ActiveRelease, exposed: LiveDatabase, keys_of: Callable[..., Keys]
) -> None:
    keys = keys_of()
    client = TestClient(create_app(SETTINGS, ServiceState(lambda: live, exposed, keys=lambda: keys)))
    assert client.get("/v1/experiments").status_code == 401
    assert client.get("/v1/experiments", headers={"X-API-Key": "writer"}).status_code == 403
    assert client.get("/v1/experiments", headers={"X-API-Key": "reader"}).status_code == 200


def test_events_of_the_lake_count_too(live: ActiveRelease, exposed: LiveDatabase, tmp_path: Path) -> None:
    """The lake holds purchases of the day again, and one that came in by a file."""
    place, files = Workspace(tmp_path / "shop"), tmp_path / "files"
    ingest_log(place, EventLog(exposed), IngestSettings(), datetime(2026, 1, 2, tzinfo=UTC))
    other = open_other(files)
    bought(other, "as-is99")
    ingest_log(place, EventLog(other), IngestSettings(), datetime(2026, 1, 2, tzinfo=UTC))
    other.close()
    client = TestClient(create_app(SETTINGS, ServiceState(lambda: live, exposed, lake=place.lake)))
    assert client.get("/v1/experiments").json()["experiments"][0]["arms"][0]["n_converted"] == 11


def open_other(root: Path) -> LiveDatabase:
    return open_live_database(Workspace(root), "")


class Clock:
    """Seconds that a test sets; each report takes so many."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def reports(database: LiveDatabase, clock: Clock) -> ExperimentReports:
    return ExperimentReports(SETTINGS.experiments, database, Path("no-lake"), clock)


async def n_bought(of: ExperimentReports) -> int:
    return (await of.of("purchase")).reports[0].arms[0].n_outcomes


def test_an_answer_is_given_again_for_a_while(exposed: LiveDatabase) -> None:
    async def run() -> list[int]:
        clock = Clock()
        cached = reports(exposed, clock)
        counts = [await n_bought(cached)]
        bought(exposed, "as-is98", 1)
        clock.now_s = experiment_reports.FRESH_S - 0.1
        counts.append(await n_bought(cached))
        clock.now_s = experiment_reports.FRESH_S
        counts.append(await n_bought(cached))
        return counts

    assert asyncio.run(run()) == [10, 10, 11]


def test_one_computation_serves_all_who_ask_meanwhile(exposed: LiveDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[str] = []
    original = experiment_reports.experiment_report

    def counted(name: str, *rest: Any) -> Any:
        computed.append(name)
        return original(name, *rest)

    monkeypatch.setattr(experiment_reports, "experiment_report", counted)

    async def run() -> None:
        cached = reports(exposed, Clock())
        await asyncio.gather(*(cached.of("purchase") for _ in range(5)))

    asyncio.run(run())
    assert computed == ["mix", "later"]


def test_a_lake_that_changes_while_it_is_read_is_read_again(
    live: ActiveRelease, exposed: LiveDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[Exception] = [DataError("a file of events is missing")]
    original = experiment_reports.experiment_report

    def failing(*given: Any) -> Any:
        if failures:
            raise failures.pop()
        return original(*given)

    monkeypatch.setattr(experiment_reports, "experiment_report", failing)
    client = TestClient(create_app(SETTINGS, ServiceState(lambda: live, exposed)))
    assert client.get("/v1/experiments").status_code == 200
    failures += [DataError("damaged"), DataError("damaged")]
    client = TestClient(create_app(SETTINGS, ServiceState(lambda: live, exposed)))
    response = client.get("/v1/experiments")
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert "the lake cannot be read: damaged; try again" in response.json()["detail"]
    failures += [StoreError("the database is away")]
    client = TestClient(create_app(SETTINGS, ServiceState(lambda: live, exposed)))
    assert client.get("/v1/experiments").status_code == 503

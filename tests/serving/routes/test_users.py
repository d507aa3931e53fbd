from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from features.live.answer_log import AnswerLog
from features.live.database import LiveDatabase
from features.live.erasure_queue import ErasureQueue
from features.live.event_log import EventLog
from features.workspace.api_keys import ApiKey, Scope, digest
from features.workspace.erased_users import LIST_FILE, add_erased
from recsys.config import Settings
from recsys.errors import StoreError
from recsys.workspace import Workspace
from serving.api import create_app
from serving.releases.active import ActiveRelease
from serving.state import ServiceState
from serving.watch.erased_users import ErasedUsersWatch
from serving.watch.keys import Keys

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "shop")


@pytest.fixture
def erased_users(live_database: LiveDatabase, workspace: Workspace) -> list[ErasedUsersWatch]:
    """Of two replicas."""
    return [ErasedUsersWatch(ErasureQueue(live_database), workspace) for _ in range(2)]


@pytest.fixture
def replicas(
    live: ActiveRelease, live_database: LiveDatabase, erased_users: list[ErasedUsersWatch]
) -> Iterator[list[TestClient]]:
    apps = [
        create_app(Settings(), ServiceState(lambda: live, live_database, erased_users=watch)) for watch in erased_users
    ]
    clients = [TestClient(app, raise_server_exceptions=False) for app in apps]
    with clients[0], clients[1]:
        yield clients


def list_of(client: TestClient, user_id: str = "ann") -> dict[str, object]:
    response = client.post("/v1/recommend", json={"user_id": user_id})
    assert response.status_code == 200, response.text
    answer: dict[str, object] = response.json()
    return answer


def test_an_erased_shopper_is_a_guest_at_once_and_with_other_replicas_when_they_look(
    replicas: list[TestClient], erased_users: list[ErasedUsersWatch], live_database: LiveDatabase
) -> None:
    first, second = replicas
    for client in replicas:
        assert list_of(client)["fallback"] is None
    response = first.delete("/v1/users/ann")
    assert response.status_code == 202, response.text
    assert list_of(first)["fallback"] == "unknown_user"
    other_list = list_of(second)
    assert other_list["fallback"] is None
    erased_users[1].poll()
    assert list_of(second)["fallback"] == "unknown_user"
    assert [shopper["user_id"] for shopper in second.get("/v1/shoppers").json()["shoppers"]] == []
    (waiting,) = ErasureQueue(live_database).waiting()
    assert (waiting.user_id, waiting.request_id) == ("ann", response.json()["request_id"])
    assert first.delete("/v1/users/ann").json()["request_id"] == waiting.request_id


def test_lists_of_an_erased_shopper_are_not_made_again(
    replicas: list[TestClient], erased_users: list[ErasedUsersWatch]
) -> None:
    first, second = replicas
    answered = [list_of(client)["recommendation_id"] for client in replicas]
    for client, name in zip(replicas, answered, strict=True):
        assert client.get(f"/v1/explain/{name}").status_code == 200
    first.delete("/v1/users/ann")
    explained = first.get(f"/v1/explain/{answered[0]}")
    assert (explained.status_code, explained.json()["type"]) == (404, "urn:recsys:problem:unknown-recommendation")
    late = list_of(second)["recommendation_id"]  # by a replica that does not know yet
    assert second.get(f"/v1/explain/{late}").status_code == 200
    refused = first.get(f"/v1/explain/{late}")
    assert (refused.status_code, refused.json()["type"]) == (410, "urn:recsys:problem:shopper-erased")


def test_what_is_on_its_way_to_the_record_is_dropped(replicas: list[TestClient], live_database: LiveDatabase) -> None:
    first, _ = replicas
    answered = str(list_of(first)["recommendation_id"])
    first.delete("/v1/users/ann")
    assert first.get("/v1/explain/another").status_code == 404  # after a flush
    assert AnswerLog(live_database).find(answered) is None


def test_events_of_an_erased_shopper_are_refused_and_others_taken(
    replicas: list[TestClient], live_database: LiveDatabase
) -> None:
    first, _ = replicas
    events = [{"user_id": name, "event_type": "view", "item_id": "boot"} for name in ("ann", "bea")]
    assert first.post("/v1/events", json={"events": events}).json()["accepted"] == 2
    first.delete("/v1/users/ann")
    answer = first.post("/v1/events", json={"events": events}).json()
    assert (answer["accepted"], answer["errors"][0]["index"], answer["errors"][0]["field"]) == (1, 0, "user_id")
    assert "this shopper was erased" in answer["errors"][0]["message"]
    assert first.post("/v1/events", json=events[0]).status_code == 422
    assert EventLog(live_database).of_type("view", NOW)["user_id"].to_list() == ["bea", "bea"]


def test_who_was_erased_stays_a_guest_when_the_queue_is_empty(
    replicas: list[TestClient], erased_users: list[ErasedUsersWatch], workspace: Workspace, live_database: LiveDatabase
) -> None:
    first, second = replicas
    first.delete("/v1/users/ann")
    add_erased(workspace, "ann", NOW)
    ErasureQueue(live_database).done("ann")
    for replica in erased_users:
        replica.poll()
    assert [list_of(client)["fallback"] for client in (first, second)] == ["unknown_user"] * 2


def test_what_cannot_be_read_is_logged_once_and_who_is_known_stays_forgotten(
    erased_users: list[ErasedUsersWatch], workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    add_erased(workspace, "ann", NOW)
    erased_users[0].poll()
    (workspace.erasures / LIST_FILE).write_text("damaged")
    for _ in range(3):
        erased_users[0].poll()
    assert "ann" in erased_users[0] and "bea" not in erased_users[0] and None not in erased_users[0]
    assert caplog.text.count("erased users not read") == 1


@pytest.mark.parametrize("user_id", ["", "a" * 10_000, "%00"])
def test_an_id_that_no_shopper_can_have_is_refused(replicas: list[TestClient], user_id: str) -> None:
    response = replicas[0].delete(f"/v1/users/{user_id}")
    assert response.status_code == 422, response.text


def test_ids_may_hold_slashes_and_an_unknown_shopper_is_no_error(
    replicas: list[TestClient], live_database: LiveDatabase
) -> None:
    assert replicas[0].delete("/v1/users/eu/sjø%201").status_code == 202
    assert [pending.user_id for pending in ErasureQueue(live_database).waiting()] == ["eu/sjø 1"]


@pytest.mark.parametrize(("scope", "status"), [(Scope.READ, 403), (Scope.WRITE, 403), (Scope.ADMIN, 202)])
def test_only_an_administrators_key_erases(
    live: ActiveRelease, live_database: LiveDatabase, keys_of: Callable[..., Keys], scope: Scope, status: int
) -> None:
    key = ApiKey(name="k", sha256=digest(b"secret"), scopes=(scope,), created_at=NOW)
    keys = Keys({key.sha256: key}, are_required=True)
    app = create_app(Settings(), ServiceState(lambda: live, live_database, keys=lambda: keys))
    with TestClient(app) as client:
        assert client.delete("/v1/users/ann", headers={"X-API-Key": "secret"}).status_code == status


def test_a_database_that_fails_is_told_with_when_to_come_again(
    replicas: list[TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StoreError("live.sqlite: the live database cannot be written (disk full)")

    monkeypatch.setattr(ErasureQueue, "add", fail)
    response = replicas[0].delete("/v1/users/ann")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
    assert "the erasure was not queued" in response.json()["detail"]
    assert list_of(replicas[0])["fallback"] is None

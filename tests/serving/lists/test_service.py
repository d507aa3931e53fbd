from collections.abc import Callable, Iterator

import numpy as np
import pytest
from list_requests import item_ids, recommend
from starlette.testclient import TestClient

from features.live.answer_log import AnswerLog
from features.live.database import LiveDatabase
from features.store.release import LoadedRelease
from recsys.config import Settings
from recsys.experiments import arm_of
from serving.api import create_app
from serving.releases.active import ActiveRelease
from serving.state import ServiceState

ARMS = {
    "as-is": {},
    "mixed": {"diversity": 1.0, "max_per_category": 1},
    "sum": {"ranker": "weighted_sum"},
    "other": {"release": "r9"},
}
SETTINGS = Settings.model_validate({"experiments": {"mix": {"share": 0.8, "arms": ARMS}}})


def someone_in(arm: str | None) -> str:
    """A shopper whom the release does not know, in that arm."""
    weights = dict.fromkeys(ARMS, 1.0)
    return next(user for n in range(1_000) if arm_of("mix", 0.8, weights, user := f"u{n}") == arm)


class Reversed:
    """Trees that put the rows of the catalogue in their order, the last first."""

    names = ()

    def reads(self, _source: str) -> bool:
        return True

    def scores(self, features: np.ndarray) -> np.ndarray:
        return np.arange(len(features), dtype=np.float32)


@pytest.fixture
def arm_releases(live: ActiveRelease, release_of: Callable[..., LoadedRelease]) -> dict[str, ActiveRelease]:
    """The releases of arms that are loaded."""
    return {"r9": ActiveRelease(release_of("r9"), live.texts)}


@pytest.fixture
def client(
    live: ActiveRelease, arm_releases: dict[str, ActiveRelease], live_database: LiveDatabase
) -> Iterator[TestClient]:
    app = create_app(SETTINGS, ServiceState(lambda: live, live_database, arm_release=arm_releases.get))
    with TestClient(app) as client:
        yield client


def exposures(database: LiveDatabase) -> list[tuple[str, str, int]]:
    rows = AnswerLog(database).exposed("mix").select("user_id", "arm", "n_exposures").rows()
    return [(str(user_id), str(arm), int(n)) for user_id, arm, n in rows]


def test_a_shopper_gets_the_list_of_their_arm_and_is_told_which(client: TestClient) -> None:
    control = recommend(client, user_id=someone_in("as-is"))
    assert (control["experiment"], control["arm"]) == ("mix", "as-is")
    mixed = recommend(client, user_id=someone_in("mixed"))
    assert (mixed["experiment"], mixed["arm"]) == ("mix", "mixed")
    assert (len(item_ids(control)), "relaxed" in control) == (6, False)
    assert mixed["relaxed"] == ["max_per_category"]  # first one of each of four categories, then the others by score
    hard = recommend(client, user_id=someone_in("mixed"), relax=[])
    assert item_ids(hard) == item_ids(mixed)[:4]
    overridden = recommend(client, user_id=someone_in("mixed"), diversity=0, max_per_category=0)
    assert item_ids(overridden) == item_ids(control)


def test_who_is_outside_the_share_and_who_has_no_id_is_in_no_experiment(
    client: TestClient, live_database: LiveDatabase
) -> None:
    outside, guest = recommend(client, user_id=someone_in(None)), recommend(client, text="shoes")
    for answer in (outside, guest):
        assert not {"experiment", "arm"} & answer.keys()
        assert client.get(f"/v1/explain/{answer['recommendation_id']}").json()["reproduced"]
    assert exposures(live_database) == []


def test_every_list_of_an_arm_is_an_exposure(client: TestClient, live_database: LiveDatabase) -> None:
    first, second = someone_in("as-is"), someone_in("mixed")
    for user_id in (first, first, second):
        last = recommend(client, user_id=user_id)
    client.post("/v1/search", json={"text": "rug", "user_id": second})
    client.post("/v1/recommend:batch", json={"requests": [{"user_id": first}, {"user_id": someone_in(None)}]})
    explained = client.get(f"/v1/explain/{last['recommendation_id']}").json()
    assert (explained["experiment"], explained["arm"], explained["reproduced"]) == ("mix", "mixed", True)
    assert sorted(exposures(live_database)) == sorted([(first, "as-is", 3), (second, "mixed", 2)])


def test_an_arm_may_be_another_release_and_the_live_one_stands_in_without_being_counted(
    client: TestClient, arm_releases: dict[str, ActiveRelease], live_database: LiveDatabase
) -> None:
    user_id = someone_in("other")
    assert recommend(client, user_id=user_id)["release_id"] == "r9"
    arm_releases.clear()
    answer = recommend(client, user_id=user_id)
    assert answer["release_id"] == "r1"
    assert "arm" not in answer
    client.get(f"/v1/explain/{answer['recommendation_id']}")
    assert exposures(live_database) == [(user_id, "other", 1)]


def test_an_arm_may_leave_the_order_to_the_weighted_sum(
    live: ActiveRelease, live_database: LiveDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trees know shoppers with a history only, so both have looked at a lamp."""
    monkeypatch.setattr(live.release.recommender, "ranker", Reversed())
    session = [{"item_id": "lamp", "event_type": "view"}]
    with TestClient(create_app(SETTINGS, ServiceState(lambda: live, live_database))) as client:
        by_trees = recommend(client, user_id=someone_in("as-is"), session=session, count=5)
        by_sum = recommend(client, user_id=someone_in("sum"), session=session, count=5)
        assert item_ids(by_trees) == ["vase", "sock", "rug", "coat", "boot"]
        assert item_ids(by_sum) != item_ids(by_trees)
        for answer in (by_trees, by_sum):
            explained = client.get(f"/v1/explain/{answer['recommendation_id']}").json()
            assert explained["reproduced"]
    monkeypatch.setattr(live.release.recommender, "ranker", None)
    with TestClient(create_app(Settings(), ServiceState(lambda: live, live_database))) as client:
        assert item_ids(recommend(client, user_id="nobody", session=session, count=5)) == item_ids(by_sum)

import pytest
from fake_releases import Shelf

from recsys.config import ServeSettings
from serving.releases.active import ActiveRelease
from serving.releases.arms import ArmReleases
from serving.watch.polling import LONGEST_PAUSE_POLLS


def arms_of(shelf: Shelf, live: ActiveRelease | None, *release_ids: str) -> ArmReleases:
    return ArmReleases(release_ids, shelf.source, lambda: live, ServeSettings())


def test_releases_of_arms_are_loaded_once_beside_the_live_one(shelf: Shelf, live: ActiveRelease) -> None:
    for name in ("a", "b"):
        shelf.publish(name)
    arms = arms_of(shelf, live, "a", "b")
    assert arms.get("a") is None
    for _ in range(3):
        arms.poll()
    assert shelf.loads == ["a", "b"]
    for name in ("a", "b"):
        active = arms.get(name)
        assert active is not None and active.release is shelf.releases[name]
        assert active.texts is live.texts
    assert arms.get("r1") is live


def test_one_that_is_missing_is_logged_once_tried_seldomer_and_served_when_it_comes(
    shelf: Shelf, live: ActiveRelease, caplog: pytest.LogCaptureFixture
) -> None:
    shelf.publish("b")
    arms = arms_of(shelf, live, "a", "b")
    for _ in range(20):
        arms.poll()
    assert arms.get("a") is None
    assert arms.get("b") is not None
    assert caplog.text.count("arm release not loaded, active release serves the arm id=a error=release a: damaged") == 1
    assert 2 <= shelf.loads.count("a") < 6
    shelf.publish("a")
    for _ in range(LONGEST_PAUSE_POLLS + 1):
        arms.poll()
    assert arms.get("a") is not None


def test_before_a_first_release_an_arm_may_be_loaded(shelf: Shelf) -> None:
    shelf.publish("a")
    arms = arms_of(shelf, None, "a")
    arms.poll()
    active = arms.get("a")
    assert active is not None
    active.texts.close()


def test_one_that_somebody_was_erased_from_is_reloaded_and_a_deleted_one_stays(
    shelf: Shelf, live: ActiveRelease
) -> None:
    shelf.publish("a")
    arms = arms_of(shelf, live, "a")
    arms.poll()
    shelf.digests["a"] = "rewritten"
    for _ in range(3):
        arms.poll()
    assert shelf.loads == ["a", "a"]
    del shelf.releases["a"]
    arms.poll()
    assert arms.get("a") is not None
    assert shelf.loads == ["a", "a"]

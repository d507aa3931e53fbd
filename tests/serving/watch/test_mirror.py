import logging
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from object_storage import Endpoint

import features.workspace.location
from features.workspace.location import NIGHT, served, working
from features.workspace.mirror import Mirror
from recsys.workspace import Workspace
from serving.watch.mirror import MirrorWatch

Publish = Callable[[str], None]


@pytest.fixture
def publish(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Publish:
    monkeypatch.setattr(features.workspace.location, "SERVICE_PATIENCE_S", 0.3)

    def write(release: str) -> None:
        with working(s3_url, NIGHT, lambda: datetime(2026, 11, 23, tzinfo=UTC)) as workspace:
            for path in (workspace.releases / release / "model", workspace.current):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(release)

    write("a")
    return write


@pytest.fixture
def copy(publish: Publish, s3_url: str) -> tuple[Workspace, Mirror]:
    """What a replica starts with."""
    workspace, mirror = served(s3_url)
    assert mirror is not None
    return workspace, mirror


def test_a_new_release_is_fetched_beside_the_old_one(publish: Publish, copy: tuple[Workspace, Mirror]) -> None:
    workspace, mirror = copy
    watch = MirrorWatch(mirror, 1.0)
    assert not watch.poll()
    publish("b")
    assert watch.poll()
    assert workspace.current.read_text() == "b"
    assert (workspace.releases / "a" / "model").read_text() == "a"


def test_an_outage_changes_nothing_is_logged_once_and_ends(
    publish: Publish, copy: tuple[Workspace, Mirror], s3: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    workspace, mirror = copy
    watch = MirrorWatch(mirror, 1.0)
    publish("b")
    s3.fail = lambda _method, _path: 503
    for _ in range(4):
        assert not watch.poll()
    assert workspace.current.read_text() == "a"
    s3.fail = lambda _method, _path: None
    assert any(watch.poll() for _ in range(10))
    assert workspace.current.read_text() == "b"
    assert caplog.text.count("not up to date") == 1
    assert caplog.text.count("up to date again") == 1


def test_a_damaged_release_leaves_the_old_one(
    publish: Publish, copy: tuple[Workspace, Mirror], caplog: pytest.LogCaptureFixture
) -> None:
    workspace, mirror = copy
    publish("b")
    (key,) = [key for key, _ in mirror.bucket.keys("files/releases/b/")]
    stored = mirror.bucket.get(key)
    assert stored is not None
    assert mirror.bucket.put_if(key, b"flipped", stored.etag)
    assert not MirrorWatch(mirror, 1.0).poll()
    assert workspace.current.read_text() == "a"
    assert "altered: SHA-256" in caplog.text

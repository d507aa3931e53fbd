"""A workspace that version 0.1.0 published is served, replayed and rolled back to.

`tests/data/workspace-0.1.0.tar.xz` holds two releases of a sample storefront of 40 products, a live database with two
events and seven recorded lists, and in `expected.json` what version 0.1.0 answered.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from starlette.testclient import TestClient

from features.live.database import open_live_database
from features.store.store import Store
from jobs.__main__ import main
from recsys.config import Settings
from recsys.source_names import current_source
from recsys.workspace import Workspace
from serving.api import create_app
from serving.releases.active import ReleaseWatch, workspace_source
from serving.releases.replay import PastReleases
from serving.state import ServiceState
from serving.watch.hidden_reviews import HiddenWatch

ARCHIVE: Final = Path(__file__).parents[2] / "data" / "workspace-0.1.0.tar.xz"
OLDER: Final = "20250531T223550Z-5ff123"


@dataclass(frozen=True)
class Served:
    """A service over the workspace of the earlier version, and what that version answered."""

    workspace: Workspace
    watch: ReleaseWatch
    client: TestClient
    expected: dict[str, Any]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    workspace = Workspace(tmp_path_factory.mktemp("earlier"))
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(workspace.root, filter="data")
    settings = Settings.model_validate({"serve": {"replay_days": 365}})
    source = workspace_source(workspace, HiddenWatch(workspace.hidden_reviews, 1.0))
    watch = ReleaseWatch(source, settings.serve)
    watch.poll()
    database = open_live_database(workspace, "")
    past = PastReleases(source, lambda: [] if watch.live is None else [watch.live], settings.serve.text_cache)
    state = ServiceState(lambda: watch.live, database, past_releases=past.get)
    with TestClient(create_app(settings, state)) as client:
        expected = json.loads((workspace.root / "expected.json").read_text())
        yield Served(workspace, watch, client, expected)
    database.close()


def test_its_manifest_is_read_as_format_0(served: Served) -> None:
    assert served.watch.live is not None
    manifest = served.watch.live.release.manifest
    assert (manifest.release_id, manifest.format) == (served.expected["release"], 0)


def test_recorded_lists_are_reproduced(served: Served) -> None:
    for recorded in served.expected["lists"]:
        answer = served.client.get(f"/v1/explain/{recorded['recommendation_id']}").json()
        assert answer["reproduced"], recorded
        assert answer["served_item_ids"] == recorded["item_ids"]
        assert [item["source"] for item in answer["items"]] == list(map(current_source, recorded["sources"]))


def test_the_same_requests_get_the_same_lists(served: Served) -> None:
    repeatable = [recorded for recorded in served.expected["lists"] if recorded["request"] is not None]
    assert len(repeatable) == 6
    for recorded in repeatable:
        answer = served.client.post("/v1/recommend", json=recorded["request"]).json()
        assert [item["item_id"] for item in answer["items"]] == recorded["item_ids"], recorded["request"]


def test_a_rollback_serves_the_older_release(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    newest = served.expected["release"]
    for release_id in (OLDER, newest):
        assert main(["releases", "rollback", release_id, "--workspace", str(served.workspace.root)]) == 0
        assert release_id in capsys.readouterr().out
        served.watch.poll()
        assert served.client.get("/v1/release").json()["release_id"] == release_id
    assert [manifest.format for manifest in Store(served.workspace).releases()] == [0, 0]

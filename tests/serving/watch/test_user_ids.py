"""Shoppers whom a shop knows by their e-mail addresses."""

from pathlib import Path

import pytest

import serving.watch.user_ids
from features.workspace.user_ids import UserIds
from recsys.workspace import Workspace
from serving.watch.user_ids import UserIdsWatch


def test_an_address_is_looked_up_as_it_is_until_an_ingest_hashes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 100.0
    monkeypatch.setattr(serving.watch.user_ids.time, "monotonic", lambda: now_s)
    workspace = Workspace(tmp_path)
    watch = UserIdsWatch(workspace, poll_s=5.0)
    assert watch.stored("ada@example.com") == "ada@example.com"
    pseudonym = UserIds.of(workspace).pseudonym("Ada@Example.com")
    assert watch.stored("ada@example.com") == "ada@example.com"
    now_s = 106.0
    assert watch.stored("ada@example.com") == pseudonym
    assert watch.stored("17") == "17"


def test_without_a_workspace_ids_stay() -> None:
    assert UserIdsWatch().stored("ada@example.com") == "ada@example.com"

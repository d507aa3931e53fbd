"""A sample storefront after two nights, the second three days after the first."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.explore import OpenedRelease, OpenedWorkspace, open_workspace
from recsys.workspace import Workspace


@pytest.fixture(scope="session")
def opened(two_nights: Workspace) -> OpenedWorkspace:
    return open_workspace(two_nights.root)


@pytest.fixture(scope="session")
def latest(opened: OpenedWorkspace) -> OpenedRelease:
    return opened.release("latest")


@pytest.fixture(scope="session")
def previous(opened: OpenedWorkspace) -> OpenedRelease:
    return opened.release("previous")


@pytest.fixture(scope="session")
def shopper(latest: OpenedRelease) -> str:
    """With the longest history."""
    users = latest.recommender.users
    return max(sorted(users.rows), key=lambda user_id: len(users.history(user_id)))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "layouts"

"""Workspaces in which a release is published."""

import shutil
from collections.abc import Container, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from release_drafts import NOW, draft_of

from features.store.store import Manifest, ReleaseDraft, Store
from features.workspace.mirror import Mirror
from features.workspace.object_store import Bucket
from recsys.workspace import Workspace


@pytest.fixture(scope="session")
def published_a(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a workspace where release `a` of 3 items is live; tests copy it."""
    root = tmp_path_factory.mktemp("base")
    Store(Workspace(root / "shop")).publish(draft_of("a", 3, root), NOW)
    return root / "shop"


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, published_a: Path, tmp_path: Path) -> Store:
    """A workspace of its own, where release `a` of 3 items is served: in a folder, or read on a machine that has
    everything from the bucket, while another machine writes."""
    if request.param == "folder":
        return Store(Workspace(Path(shutil.copytree(published_a, tmp_path / "shop"))))
    url = request.getfixturevalue("s3_url")
    writer, reader = (Mirror(Bucket(url, 30), tmp_path / name) for name in ("writer", "reader"))
    shutil.copytree(published_a, writer.root, dirs_exist_ok=True)
    writer.push()
    reader.pull()
    return BucketStore(writer, reader)


class BucketStore(Store):
    """Reads on one machine what writes on another."""

    def __init__(self, writer: Mirror, reader: Mirror) -> None:
        super().__init__(Workspace(reader.root))
        self._writer, self._reader = writer, reader

    @contextmanager
    def _elsewhere(self) -> Iterator[Store]:
        self._writer.pull()
        try:
            yield Store(Workspace(self._writer.root))
        finally:
            self._writer.push()
            self._reader.pull()

    def publish(self, draft: ReleaseDraft, now: datetime) -> Manifest:
        with self._elsewhere() as store:
            return store.publish(draft, now)

    def rollback(self, release_id: str, now: datetime) -> None:
        with self._elsewhere() as store:
            store.rollback(release_id, now)

    def collect(self, keep: int, now: datetime, also: Container[str] = ()) -> list[str]:
        with self._elsewhere() as store:
            return store.collect(keep, now, also)


@pytest.fixture
def workspace(store: Store) -> Workspace:
    """The workspace of `store`."""
    return store._workspace

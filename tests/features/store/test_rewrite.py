import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import lancedb
import numpy as np
import polars as pl
import pytest

import features.store.rewrite as store_rewrite
from features.store.erasure import WithoutShopper
from features.store.rewrite import REWRITE_STEPS, Rewritten, rewrite_releases, words_on_disk
from features.store.store import ReleaseDraft, Store
from features.workspace.lease import hold_lease
from recsys.errors import StoreError
from recsys.workspace import Workspace

NOW = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
HISTORY = pl.List(pl.Struct({"item_id": pl.String, "text_row": pl.Int32}))
CHANGE = WithoutShopper("ann", frozenset({"r-ann"}))


class KilledError(BaseException):
    """Ends a rewrite where a kill -9 would: nothing catches it."""


@pytest.fixture(autouse=True)
def _no_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small gap is enough for these tables."""
    monkeypatch.setattr(store_rewrite, "GAP_S", 0.2)


def tables(*names: str) -> dict[str, pl.DataFrame]:
    """The shoppers, each with a review; ann and bea searched for text 0, ann alone for 1, nobody for 2 any more."""
    histories = {"ann": [0, 1], "bea": [0], "cat": []}
    vector = pl.Array(pl.Float32, 2)
    return {
        "items": pl.DataFrame(
            {"item_id": ["i0"], "vector": [[1.0, 0.0]]}, schema={"item_id": pl.String, "vector": vector}
        ),
        "users": pl.DataFrame(
            {
                "user_id": names,
                "history": [[{"item_id": None, "text_row": row} for row in histories[name]] for name in names],
                "vector": [None] * len(names),
            },
            schema={"user_id": pl.String, "history": HISTORY, "vector": vector},
        ),
        "reviews": pl.DataFrame(
            {
                "review_id": [f"r-{name}" for name in names],
                "user_id": names,
                "text": [f"{name} wrote" for name in names],
            },
            schema={"review_id": pl.String, "user_id": pl.String, "text": pl.String},
            orient="row",
        ),
    }


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Releases a (without ann), b and c (with her); c is served."""
    root = tmp_path_factory.mktemp("releases")
    model = root / "staging"
    (model / "deep").mkdir(parents=True)
    np.save(model / "texts.npy", np.eye(3, dtype=np.float32))
    np.save(model / "quotes.npy", np.eye(2, dtype=np.int8))
    quotes = {
        "review_id": ["r-ann", "r-bea"],
        "rating": [5.0, 4.0],
        "text": ["ann wrote", "bea wrote"],
        "item_row": [0, 0],
    }
    pl.DataFrame(quotes).write_parquet(model / "quotes.parquet")
    (model / "deep" / "weights").write_bytes(b"1234")
    workspace = Workspace(root / "shop")
    for hours, (release_id, names) in enumerate(
        {"a": ("bea",), "b": ("ann", "bea"), "c": ("ann", "bea", "cat")}.items()
    ):
        draft = ReleaseDraft(release_id, NOW, tables(*names), model, "words", "", "", {"all": {"ndcg": 0.5}})
        Store(workspace).publish(draft, NOW + timedelta(hours=hours))
    return workspace.root


@pytest.fixture
def workspace(shop: Path, tmp_path: Path) -> Workspace:
    return Workspace(Path(shutil.copytree(shop, tmp_path / "shop")))


def rewrite(workspace: Workspace, change: WithoutShopper = CHANGE) -> dict[str, Rewritten]:
    with hold_lease(workspace.lease, NOW, 10) as lease:
        return rewrite_releases(workspace, lease, change, lambda: datetime.now(UTC))


def shoppers(workspace: Workspace) -> dict[str, list[list[str]]]:
    """Of each release that opens whole the shoppers, and those whose reviews it has."""
    store = Store(workspace)
    opened = {manifest.release_id: store.open(manifest.release_id) for manifest in store.releases()}
    return {
        release_id: [release.table(name)["user_id"].to_list() for name in ("users", "reviews")]
        for release_id, release in opened.items()
    }


WITH = {"a": [["bea"]] * 2, "b": [["ann", "bea"]] * 2, "c": [["ann", "bea", "cat"]] * 2}
WITHOUT = {"a": [["bea"]] * 2, "b": [["bea"]] * 2, "c": [["bea", "cat"]] * 2}


def leftovers(workspace: Workspace) -> list[Path]:
    """Files that hold the shopper in their bytes or values, or that no release names."""
    named = [path for path in workspace.root.rglob("*") if path.is_file() and b"ann wrote" in path.read_bytes()]
    quotes = [path for path in workspace.releases.rglob("*.parquet") if "r-ann" in pl.read_parquet(path)["review_id"]]
    return [*named, *quotes, *workspace.releases.rglob("*.next.json")]


def assert_gone(workspace: Workspace) -> None:
    assert shoppers(workspace) == WITHOUT
    assert Store(workspace).current_id() == "c"
    assert leftovers(workspace) == []
    assert not any(
        "ann" in rows.get_column("user_id") for _, rows in words_on_disk(workspace) if "user_id" in rows.columns
    )
    assert [path.name for path in sorted((workspace.releases / "c").iterdir())] == ["manifest.json", "model-2"]


def test_a_shopper_leaves_every_release_and_the_disk(workspace: Workspace) -> None:
    assert shoppers(workspace) == WITH
    before = {manifest.release_id: manifest for manifest in Store(workspace).releases()}
    rewritten = rewrite(workspace)
    assert_gone(workspace)
    removed = {"users": 1, "reviews": 1, "sentences to quote": 1, "vectors of searches": 2}
    assert rewritten["c"].removed == rewritten["b"].removed == removed
    # an id in a release that was made without her must go all the same
    assert rewritten["a"].removed == {"users": 0, "reviews": 0, "sentences to quote": 1, "vectors of searches": 2}
    after = {manifest.release_id: manifest for manifest in Store(workspace).releases()}
    assert after["c"].rows == {"items": 1, "users": 2, "reviews": 2}
    assert after["c"].metrics == before["c"].metrics
    assert after["c"].tables["items"] == before["c"].tables["items"]


def test_what_is_others_stays_in_its_place(workspace: Workspace) -> None:
    rewrite(workspace)
    release = Store(workspace).open("c")
    assert np.load(release.model_dir / "texts.npy").tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert pl.read_parquet(release.model_dir / "quotes.parquet")["review_id"].to_list() == ["r-bea"]
    assert np.load(release.model_dir / "quotes.npy").tolist() == [[0, 1]]
    assert (release.model_dir / "deep" / "weights").read_bytes() == b"1234"
    assert release.table("users")["vector"].null_count() == 2


def test_without_anything_to_remove_nothing_is_written(workspace: Workspace) -> None:
    rewrite(workspace)
    content = {path: path.stat().st_mtime_ns for path in workspace.releases.rglob("*") if path.is_file()}
    del content[workspace.current]
    assert not any(count for rewritten in rewrite(workspace).values() for count in rewritten.removed.values())
    assert all(path.stat().st_mtime_ns == changed for path, changed in content.items())
    again = rewrite(workspace, WithoutShopper("cat", frozenset({"r-cat"})))
    assert [name for name, rewritten in again.items() if any(rewritten.removed.values())] == ["c"]
    assert shoppers(workspace)["c"] == [["bea"]] * 2


def test_an_empty_workspace_has_nothing_to_rewrite(tmp_path: Path) -> None:
    assert rewrite(Workspace(tmp_path)) == {}


@pytest.mark.parametrize("done", range(1, len(REWRITE_STEPS)), ids=[f"after {name}" for name, _ in REWRITE_STEPS[:-1]])
def test_a_rewrite_that_is_killed_leaves_every_release_whole_and_a_rerun_finishes(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, done: int
) -> None:
    def kill(_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(store_rewrite, "REWRITE_STEPS", (*REWRITE_STEPS[:done], ("kill", kill)))
        with pytest.raises(KilledError):
            rewrite(workspace)
    names = [name for name, _ in REWRITE_STEPS]
    assert shoppers(workspace) == (WITHOUT if done > names.index("point CURRENT") else WITH)
    rewrite(workspace)
    assert_gone(workspace)


def test_a_release_can_be_published_and_collected_after_a_kill(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = REWRITE_STEPS[: [name for name, _ in REWRITE_STEPS].index("point CURRENT") + 1]
    monkeypatch.setattr(store_rewrite, "REWRITE_STEPS", steps)
    rewrite(workspace)
    store = Store(workspace)
    store.collect(2, datetime.now(UTC))
    assert shoppers(workspace) == {name: WITHOUT[name] for name in ("b", "c")}


def test_a_damaged_release_goes_as_a_whole_unless_it_is_served(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    (workspace.releases / "b" / "model" / "texts.npy").write_bytes(b"damaged")
    rewritten = rewrite(workspace)
    assert "release removed, as it can be neither opened nor rewritten id=b" in caplog.text
    assert set(rewritten) == {"a", "c"}
    assert shoppers(workspace) == {name: WITHOUT[name] for name in ("a", "c")}
    assert not (workspace.releases / "b").exists()
    (workspace.releases / "c" / "model-2" / "texts.npy").write_bytes(b"damaged")
    with pytest.raises(StoreError, match="altered since it was published"):
        rewrite(workspace)


def test_versions_of_a_publish_that_was_cut_off_go_too(workspace: Workspace) -> None:
    rewrite(workspace)
    database = lancedb.connect(str(workspace.store))
    database.create_table("reviews", tables("ann")["reviews"].to_arrow(), mode="overwrite")
    database.create_table("reviews", tables("bea")["reviews"].to_arrow(), mode="overwrite")
    rewrite(workspace)
    assert_gone(workspace)


def test_old_versions_that_stay_are_told(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_rewrite, "_remove_old_versions", lambda *_: None)
    with pytest.raises(StoreError, match=r"old versions of table (users|reviews) are still on the disk"):
        rewrite(workspace)

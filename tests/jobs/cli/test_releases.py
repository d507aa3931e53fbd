"""`recsys releases`, on a workspace with three releases of one model."""

import json
import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from conftest import NIGHT, PublishedShop

from features.item_map.layout import layout_path, load_layout
from features.store.manifest import new_release_id
from features.store.store import Store
from jobs.__main__ import main
from jobs.gate.records import GATE_FILE
from jobs.nightly.publish import publish
from recsys.workspace import Workspace


@dataclass(frozen=True)
class Releases:
    """Oldest first; the last is served."""

    workspace: Workspace
    ids: tuple[str, ...]

    def run(self, *arguments: str) -> int:
        return main(["releases", *arguments, "--workspace", str(self.workspace.root)])

    def copy(self, folder: Path) -> "Releases":
        workspace = Workspace(folder / "shop")
        shutil.copytree(self.workspace.root, workspace.root)
        return Releases(workspace, self.ids)


@pytest.fixture(scope="module")
def three(published_shop: PublishedShop, tmp_path_factory: pytest.TempPathFactory) -> Releases:
    workspace = Workspace(tmp_path_factory.mktemp("three") / "shop")
    shutil.copytree(published_shop.workspace.root, workspace.root, ignore=shutil.ignore_patterns("steps"))
    trained = published_shop.trained
    for hours in (1, 2):
        now = NIGHT + timedelta(hours=hours)
        release_id = new_release_id(trained.as_of, now, published_shop.settings.digest())
        publish(Store(workspace), workspace, release_id, trained, published_shop.settings, now)
    return Releases(workspace, tuple(manifest.release_id for manifest in Store(workspace).releases()))


def test_a_release_is_shown_with_what_it_holds_and_what_the_gate_said(three: Releases, capsys) -> None:
    folder = three.workspace.runs / three.ids[0]
    assert (folder / GATE_FILE).is_file()  # its night wrote it
    assert three.run("show", three.ids[0]) == 0
    shown = capsys.readouterr().out
    for text in (three.ids[0], "items, version", "model/text.npy", "ndcg", "published", "none"):
        assert text in shown
    assert three.run("show", "current", "--json") == 0
    text = json.loads(capsys.readouterr().out)
    assert text["release_id"] == three.ids[-1] and text["current"] and text["parent"] == three.ids[1]
    assert text["gate"] is None
    assert text["file_bytes"]["model/text.npy"] > 0


def test_a_diff_of_equal_releases_finds_nothing(three: Releases, capsys) -> None:
    assert three.run("diff", three.ids[0], "current", "--json", "--shoppers", "5") == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["a"], content["b"]) == (three.ids[0], three.ids[-1])
    assert content["settings"] == content["new_items"] == content["gone_items"] == []
    assert len(content["slates"]) == 5 and sum(slate["churn"] for slate in content["slates"]) == 0
    assert len(content["neighbours"]) == 80 and sum(item["churn"] for item in content["neighbours"]) == 0
    assert three.run("diff", three.ids[0], three.ids[1], "--shoppers", "5") == 0
    shown = capsys.readouterr().out
    assert "Settings: 0" in shown and "80 compared, on average 0% changed" in shown


def test_another_release_is_served_after_a_rollback(three: Releases, tmp_path: Path, capsys) -> None:
    shop = three.copy(tmp_path)
    assert shop.run("rollback", shop.ids[0]) == 0
    assert f"now serving release {shop.ids[0]}, before: {shop.ids[-1]}" in capsys.readouterr().out
    assert Store(shop.workspace).current_id() == shop.ids[0]


def test_old_releases_are_deleted_except_those_of_experiments(three: Releases, tmp_path: Path, capsys) -> None:
    shop = three.copy(tmp_path)
    arms = f'[experiments.one.arms.a]\n[experiments.one.arms.b]\nrelease = "{shop.ids[0]}"\n'
    shop.workspace.settings_file.write_text(arms)
    assert shop.run("gc", "--keep", "1", "--dry-run") == 0
    assert f"would delete 1 releases: {shop.ids[1]}" in capsys.readouterr().out
    assert len(Store(shop.workspace).releases()) == 3
    assert shop.run("gc", "--keep", "1") == 0
    output = capsys.readouterr().out
    assert f"deleted 1 releases: {shop.ids[1]}; " in output
    n_bytes = int(output.partition("; ")[2].split()[0].replace(",", ""))
    assert n_bytes > 0
    assert [manifest.release_id for manifest in Store(shop.workspace).releases()] == [shop.ids[0], shop.ids[2]]
    assert not (shop.workspace.releases / shop.ids[1]).exists()


@pytest.mark.parametrize("command", [("show", "none"), ("diff", "none", "current"), ("rollback", "none")])
def test_an_unknown_release_names_the_nearest(three: Releases, capsys, command: tuple[str, ...]) -> None:
    assert three.run(*command) == 2
    assert "no release none; nearest: 2025" in capsys.readouterr().err


def test_keeping_no_release_is_refused(three: Releases, capsys) -> None:
    assert three.run("gc", "--keep", "0") == 2
    assert "--keep" in capsys.readouterr().err


def test_an_atlas_is_saved_and_those_of_deleted_releases_are_removed(
    three: Releases, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    copied = three.copy(tmp_path)
    copied.workspace.atlases.mkdir()
    (copied.workspace.atlases / "gone.npy").write_bytes(b"")
    assert copied.run("atlas", "current") == 0
    served = copied.ids[-1]
    (file,) = copied.workspace.atlases.iterdir()
    assert file == layout_path(copied.workspace.atlases, served)
    n_items = Store(copied.workspace).open().manifest.rows["items"]
    places = load_layout(file, n_items)
    assert places is not None and places.shape == (n_items, 2)
    assert load_layout(file, n_items - 1) is None
    assert f"computed the map of {n_items} items of release {served}" in capsys.readouterr().out

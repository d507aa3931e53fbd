from pathlib import Path

import polars as pl
import pytest

from features.explore import OpenedWorkspace, open_workspace
from features.explore.charts import NOT_TRAINED, curves_chart
from features.workspace.training_curves import FITS
from recsys.errors import DataError, QueryError, StoreError


def test_releases_are_told_oldest_first_with_what_their_nights_measured(opened: OpenedWorkspace) -> None:
    table = opened.releases()
    assert len(table) == 2
    assert table["as_of"].is_sorted()
    assert table["served"].to_list() == [False, True]
    assert table["ndcg"].null_count() == 0


def test_a_release_is_named_by_its_place_or_its_id(opened: OpenedWorkspace) -> None:
    older, newer = opened.releases()["release_id"]
    assert opened.release().release_id == opened.release("served").release_id == newer
    assert opened.release("previous").release_id == opened.release(older).release_id == older
    assert opened.release(newer) is opened.release("latest")


def test_an_unknown_release_names_the_nearest(opened: OpenedWorkspace) -> None:
    newer = opened.releases()["release_id"][1]
    with pytest.raises(StoreError, match=f"no release '{newer[:-1]}'; nearest: {newer}"):
        opened.release(newer[:-1])


def test_a_collected_release_says_so_and_what_is_kept(opened: OpenedWorkspace, tmp_path: Path) -> None:
    copy = open_workspace(opened.scratch_copy(tmp_path / "copy").root)
    releases = opened.workspace.releases
    (copy.workspace.root / "releases").symlink_to(releases)
    (copy.workspace.root / "store").symlink_to(opened.workspace.store)
    (copy.workspace.runs / "20250101T000000Z-abcdef").mkdir(parents=True)
    with pytest.raises(
        StoreError, match=r"20250101T000000Z-abcdef was deleted; releases.keep retains the newest 2: .*--as-of"
    ):
        copy.release("20250101T000000Z-abcdef")


def test_without_a_release_or_a_folder_the_way_to_one_is_named(opened: OpenedWorkspace, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere: no such folder; `recsys ingest --workspace"):
        open_workspace(tmp_path / "nowhere")
    empty = open_workspace(tmp_path)
    with pytest.raises(StoreError, match="no release published yet; run `recsys nightly"):
        empty.release()
    assert "none yet" in repr(empty)
    assert empty.events.collect().is_empty()


def test_the_epochs_of_a_night_are_told_until_its_record_is_gone(opened: OpenedWorkspace, tmp_path: Path) -> None:
    curves = opened.training_curves()
    assert curves["run"].unique().to_list() == [opened.releases()["release_id"][1]]
    assert curves["stage"].unique(maintain_order=True).to_list() == list(FITS.values())
    first = curves.filter(pl.col("stage") == FITS["first"])
    assert first["step"].to_list() == list(range(1, len(first) + 1))
    assert first["ndcg"].null_count() == 0
    assert not opened.training_curves("previous").equals(curves)
    assert "the loss fell" in curves_chart(curves).finding
    copy = open_workspace(opened.scratch_copy(tmp_path / "copy").root)
    for folder in ("releases", "store"):
        (copy.workspace.root / folder).symlink_to(opened.workspace.root / folder)
    assert copy.training_curves().is_empty()
    assert curves_chart(copy.training_curves()).finding == NOT_TRAINED


def test_the_lake_is_read_through_its_manifest(opened: OpenedWorkspace, tmp_path: Path) -> None:
    assert opened.events.select(pl.len()).collect().item() > 1000
    assert opened.catalog.collect()["item_id"].n_unique() == 120
    assert set(opened.reviews.collect_schema().names()) >= {"review_id", "rating", "text"}
    copy = opened.scratch_copy(tmp_path / "copy")
    next((copy.lake / "reviews").rglob("*.parquet")).unlink()
    with pytest.raises(DataError, match=r"1 of \d+ files of reviews are missing, the first is reviews/"):
        open_workspace(copy.root).reviews.collect()
    (copy.lake / "manifest.json").write_text("{")
    with pytest.raises(DataError, match=r"manifest\.json: damaged lake manifest"):
        open_workspace(copy.root).events.collect()


def test_a_scratch_copy_has_lake_and_texts_and_goes_nowhere_else(opened: OpenedWorkspace, tmp_path: Path) -> None:
    copy = open_workspace(opened.scratch_copy(tmp_path / "copy").root)
    assert copy.catalog.collect().equals(opened.catalog.collect())
    assert copy.workspace.embeddings.is_dir()
    with pytest.raises(StoreError, match="not empty"):
        opened.scratch_copy(tmp_path / "copy")


def test_a_night_is_told_by_what_the_shopper_did_and_how_the_list_moved(opened: OpenedWorkspace, shopper: str) -> None:
    change = opened.what_changed(shopper)
    both = change.slate.drop_nulls(["before", "after"])
    assert change.unchanged_share == len(both) / 10
    assert (both["before"] - both["after"]).to_list() == both["moved"].to_list()
    assert change.events["timestamp"].is_sorted(descending=True)
    assert (change.events["timestamp"] >= opened.release("previous").manifest.as_of).all()
    assert shopper in repr(change)
    assert change._repr_html_().count("<table") == 2


def test_a_release_did_not_change_against_itself(opened: OpenedWorkspace, shopper: str) -> None:
    change = opened.what_changed(shopper, before="latest", after="latest")
    assert change.unchanged_share == 1
    assert change.slate["moved"].to_list() == [0] * 10
    assert change.events.is_empty()


def test_a_change_needs_a_known_shopper_and_an_order_of_time(opened: OpenedWorkspace, shopper: str) -> None:
    with pytest.raises(QueryError, match="user 'nobody' is not in this release; nearest ids: "):
        opened.what_changed("nobody")
    with pytest.raises(QueryError, match="is newer than"):
        opened.what_changed(shopper, before="latest", after="previous")


def test_quality_over_time_has_a_row_a_release_and_slice(opened: OpenedWorkspace) -> None:
    table = opened.quality_over_time().filter(pl.col("slice") == "all")
    assert table["ndcg"].to_list() == opened.releases()["ndcg"].to_list()

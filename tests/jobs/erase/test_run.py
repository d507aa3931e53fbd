"""A shopper is erased from a small shop after its first nightly run; the tests search for leftovers independently."""

import html
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from conftest import NIGHT, PublishedShop

import jobs.erase.run
import jobs.nightly.run
from features.live.answer_log import Answer, AnswerLog
from features.live.database import open_live_database
from features.live.erasure_queue import ErasureQueue
from features.live.event_log import EventLog, LoggedEvent
from features.store import rewrite
from features.store.release import load_release
from features.store.rewrite import words_on_disk
from features.store.store import Store
from features.text.cleaning import clean, text_hash
from features.workspace.erased_users import read_erased
from features.workspace.erasure_receipt import Receipt, receipts, verify_receipt
from features.workspace.hidden_reviews import hide_reviews, read_hidden
from features.workspace.lease import hold_lease
from jobs.erase.run import ERASE_STEPS, erase, erase_before_run, erase_queued
from jobs.ingest.event_log import ingest_log
from jobs.ingest.files import ingest
from jobs.ingest.sources.spec import SourceSpec
from jobs.lake.lake import Lake
from recsys.config import Settings
from recsys.errors import ErasureError, StoreError
from recsys.workspace import Workspace

SEARCH = "a lamp for my grandmother Ottilie's reading corner"
WISH = "socks that never slip, like those of MCMLXXXVII"


class KilledError(BaseException):
    """Ends an erasure like SIGKILL: nothing catches it."""


@pytest.fixture(autouse=True)
def _no_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewrite, "GAP_S", 0.2)


@pytest.fixture(scope="module")
def shopper(published_shop: PublishedShop) -> str:
    """The shopper with the most reviews."""
    reviews = Lake(published_shop.workspace.lake).scan("reviews").collect()
    user_id: str = reviews.group_by("user_id").len().sort("len", "user_id", descending=[True, False])["user_id"][0]
    return user_id


@pytest.fixture
def shop(published_shop: PublishedShop, shopper: str, tmp_path: Path, live_url: str) -> Iterator[PublishedShop]:
    """The published shop, with traces of the shopper in every possible place of a workspace."""
    workspace = Workspace(Path(shutil.copytree(published_shop.workspace.root, tmp_path / "shop")))
    serve = published_shop.settings.serve.model_copy(update={"events_url": live_url})
    settings = published_shop.settings.model_copy(update={"serve": serve})
    database = open_live_database(workspace, live_url)
    log = EventLog(database)
    log.append([LoggedEvent("live-1", shopper, None, "search", NIGHT, text=SEARCH)])
    ingest_log(workspace, log, settings.ingest, NIGHT)  # the search is in the lake, too
    log.append([LoggedEvent("live-2", shopper, None, "search", NIGHT, text=WISH)])
    content = json.dumps({"request": {"user_id": shopper, "text": WISH}})
    AnswerLog(database).record([Answer("list-1", NIGHT, shopper, "r", frozenset(), content)], [])
    database.close()
    write_traces(workspace, shopper)
    yield replace(published_shop, workspace=workspace, settings=settings)


def write_traces(workspace: Workspace, shopper: str) -> None:
    (workspace.quarantine / "events").mkdir(parents=True, exist_ok=True)
    data = [json.dumps({"user": name, "when": "never"}) for name in (shopper, "somebody")]
    columns = {"source_file": ["f"] * 2, "row": [1, 2], "rules": ["x"] * 2, "data": data}
    pl.DataFrame(columns).write_parquet(workspace.quarantine / "events" / "bad.parquet")
    (workspace.quarantine / "events" / "half.tmp").write_text(shopper)
    for folder in ("steps/fit/key", "training/finetune", "lake/staging", "runs/staging-x", "runs/r1"):
        (workspace.root / folder).mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"user_id": [shopper]}).write_parquet(workspace.root / "steps" / "fit" / "key" / "users.parquet")
    for name in (
        "training/first.safetensors",
        "training/finetune/data.json",
        "lake/staging/e.parquet",
        "runs/staging-x/u",
    ):
        (workspace.root / name).write_text(shopper)
    slate = {"examples": [{"user_id": shopper, "said": SEARCH}], "others": f"x{shopper} {shopper}-2", "ndcg": 0.5}
    (workspace.runs / "r1" / "report.json").write_text(json.dumps(slate))
    (workspace.runs / "r1" / "report.html").write_text(f"<b>{shopper}</b> {html.escape(SEARCH)}")
    pl.DataFrame({"shopper": [shopper]}).write_parquet(workspace.runs / "r1" / "slates.parquet")
    (workspace.embeddings / "e-8").mkdir(parents=True)
    vectors = {"text_hash": [text_hash(clean(SEARCH)), "other"], "vector": [[0.0] * 8] * 2}
    pl.DataFrame(vectors).write_parquet(workspace.embeddings / "e-8" / "shard.parquet")
    (workspace.embeddings / "e-8" / ".shard.parquet.1.tmp").write_bytes(b"half")
    review_ids = Lake(workspace.lake).scan("reviews").filter(pl.col("user_id") == shopper).collect()["review_id"]
    hide_reviews(workspace.hidden_reviews, [review_ids[0], "of-others"], NIGHT)


def run(shop: PublishedShop, user_id: str) -> Receipt:
    receipt, path = erase(shop.workspace, shop.settings, user_id, NIGHT, lambda *_: None)
    assert verify_receipt(shop.workspace, path).subject == receipt.subject
    return receipt


def assert_nothing_left(shop: PublishedShop, user_id: str, review_ids: set[str]) -> None:
    """No file but the shop's own has the id as a word or a text in its bytes, and no table among its values."""
    root = shop.workspace.root
    needles = [user_id.encode(), b"grandmother Ottilie", b"never slip", b"MCMLXXXVII"]
    for path in root.rglob("*"):
        if path.is_dir() or path.is_relative_to(shop.workspace.sample):
            continue
        content = path.read_bytes()
        if path.name == "report.json" and path.parent.name == "r1":  # other words that have the id in them
            content = content.replace(f"x{user_id} {user_id}-2".encode(), b"")
        assert not any(needle in content for needle in needles), path
        if path.suffix == ".parquet":
            assert not values(pl.read_parquet(path)) & {user_id, SEARCH, *review_ids}, path
    for where, rows in words_on_disk(shop.workspace):
        assert not values(rows) & {user_id, SEARCH, *review_ids}, where
    database = open_live_database(shop.workspace, shop.settings.serve.events_url)
    assert ErasureQueue(database).waiting() == []
    assert EventLog(database).texts_of(user_id) == []
    assert AnswerLog(database).find("list-1") is None
    database.close()


def values(rows: pl.DataFrame) -> set[str]:
    return {value for name in rows.columns if rows[name].dtype == pl.String for value in rows[name].drop_nulls()}


def reviews_of(shop: PublishedShop, user_id: str) -> set[str]:
    reviews = Lake(shop.workspace.lake).scan("reviews").filter(pl.col("user_id") == user_id).collect()
    return set(reviews["review_id"])


def n_of_others(workspace: Workspace, user_id: str) -> dict[str, int]:
    lake = Lake(workspace.lake)
    return {
        table: lake.scan(table).filter(pl.col("user_id") != user_id).select(pl.len()).collect().item()
        for table in ("events", "reviews")
    }


def test_no_byte_of_an_erased_shopper_is_left_and_others_keep_their_data(shop: PublishedShop, shopper: str) -> None:
    reviews, others = reviews_of(shop, shopper), n_of_others(shop.workspace, shopper)
    n_users = Store(shop.workspace).releases()[0].rows["users"]
    receipt = run(shop, shopper)
    assert_nothing_left(shop, shopper, reviews)
    assert n_of_others(shop.workspace, shopper) == others
    recommender = load_release(shop.workspace).recommender
    assert len(recommender.users.rows) == n_users - 1
    assert shopper not in recommender.users.rows
    assert [review.review_id for review in read_hidden(shop.workspace.hidden_reviews)] == ["of-others"]
    assert pl.read_parquet(shop.workspace.quarantine / "events" / "bad.parquet")["row"].to_list() == [2]
    report = json.loads((shop.workspace.runs / "r1" / "report.json").read_text())
    assert report["ndcg"] == 0.5 and report["others"] == f"x{shopper} {shopper}-2"

    removed = {name: place.removed for name, place in receipt.places.items()}
    release_id = shop.report.release_id
    assert removed[f"release {release_id}"]["reviews"] == removed["lake"]["reviews"] == len(reviews)
    assert removed[f"release {release_id}"]["users"] == 1
    rows = {"events": 2, "answers": 1, "exposures": 0, "user_merges": 0}
    assert removed["live database"] == {**rows, "rows at the request": 0}
    assert removed["quarantine"] == {"rows": 1}
    assert removed["runs"]["files"] == 1 and removed["runs"]["mentions"] == 4
    assert removed["half-done work"]["files"] >= 4
    assert removed["embeddings"]["vectors"] > len(reviews)
    assert receipt.known and receipt.runs == 1 and receipt.trained_with == (release_id,)
    assert (receipt.searched.id_in, receipt.searched.n_texts > 2) == ("bytes", True)
    assert receipt.sources and all("sample" in name for name in receipt.sources)
    assert f"releases/{release_id}/manifest.json" in receipt.places[f"release {release_id}"].files


def test_an_unknown_shopper_has_a_receipt_that_says_so(shop: PublishedShop) -> None:
    before = Lake(shop.workspace.lake).digest()
    receipt = run(shop, "nobody-of-this-shop")
    assert not receipt.known
    assert not any(count for place in receipt.places.values() for count in place.removed.values())
    assert Lake(shop.workspace.lake).digest() == before
    assert (shop.workspace.root / "steps" / "fit").exists()
    assert "nobody-of-this-shop" in read_erased(shop.workspace)


def test_an_empty_id_and_a_missing_workspace_are_refused(shop: PublishedShop, tmp_path: Path) -> None:
    with pytest.raises(ErasureError, match="user id must not be empty"):
        run(shop, "")
    with pytest.raises(ErasureError, match="no such folder"):
        run(replace(shop, workspace=Workspace(tmp_path / "typo")), "ann")
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("name", ["lease", "tuning_lease"])
def test_an_erasure_is_refused_during_a_nightly_or_fine_tuning_run(
    shop: PublishedShop, shopper: str, name: str
) -> None:
    with (
        hold_lease(getattr(shop.workspace, name), NIGHT, 1),
        pytest.raises(StoreError, match="writes to this workspace"),
    ):
        run(shop, shopper)
    assert reviews_of(shop, shopper)


@pytest.mark.parametrize("live_url", [""])
@pytest.mark.parametrize("done", range(1, len(ERASE_STEPS)), ids=[f"after {name}" for name, _ in ERASE_STEPS[:-1]])
def test_a_killed_erasure_is_finished_by_the_next_queued_run(
    shop: PublishedShop, shopper: str, monkeypatch: pytest.MonkeyPatch, done: int
) -> None:
    def kill(_: object) -> None:
        raise KilledError

    reviews = reviews_of(shop, shopper)
    database = open_live_database(shop.workspace, "")
    ErasureQueue(database).add(shopper, "q1", NIGHT)
    database.close()
    with monkeypatch.context() as patch:
        patch.setattr(jobs.erase.run, "ERASE_STEPS", (*ERASE_STEPS[:done], ("kill", kill)))
        with pytest.raises(KilledError):
            erase_queued(shop.workspace, shop.settings, NIGHT, lambda *_: None)
    load_release(shop.workspace)  # serves on, whole
    ((receipt, _),) = erase_queued(shop.workspace, shop.settings, NIGHT, lambda *_: None)
    assert_nothing_left(shop, shopper, reviews)
    assert (receipt.known, receipt.request_id, receipt.requested_at) == (True, "q1", NIGHT)
    assert receipt.places["lake"].removed["reviews"] == len(reviews)
    assert receipt.runs == (1 if done == 1 else 2)
    assert erase_queued(shop.workspace, shop.settings, NIGHT, lambda *_: None) == []


def test_leftovers_are_an_error_and_no_receipt_is_written(shop: PublishedShop, shopper: str) -> None:
    (shop.workspace.root / "notes.txt").write_text(f"call {shopper}, they want {SEARCH}")
    with pytest.raises(ErasureError, match=r"left in 1 places, e\.g\. notes\.txt \(id\)"):
        run(shop, shopper)
    assert list(receipts(shop.workspace)) == []
    (shop.workspace.root / "notes.txt").unlink()
    assert run(shop, shopper).runs == 2


def test_erased_shoppers_do_not_come_back_with_their_files_or_late_events(
    shop: PublishedShop, shopper: str, tmp_path: Path
) -> None:
    run(shop, shopper)
    rows = "event_id,user_id,item_id,event_type,timestamp\n"
    rows += f"e1,{shopper},boot,view,2025-05-01T00:00:00Z\ne2,{shopper},boot,no type,2025-05-01T00:00:00Z\n"
    (tmp_path / "more.csv").write_text(rows + "e3,somebody,boot,view,2025-05-01T00:00:00Z\n")
    spec = SourceSpec("table", {"events": (str(tmp_path / "more.csv"),)}, {}, {})
    (report,) = ingest(shop.workspace, spec, shop.settings.ingest, NIGHT).tables
    assert (report.n_read, report.n_new, report.n_bad, report.n_erased) == (3, 1, 0, 2)
    database = open_live_database(shop.workspace, shop.settings.serve.events_url)
    log = EventLog(database)
    log.append([LoggedEvent(f"late-{name}", name, "boot", "view", NIGHT) for name in (shopper, "somebody")])
    late = ingest_log(shop.workspace, log, shop.settings.ingest, NIGHT).events
    assert (late.n_read, late.n_new, late.n_erased) == (2, 1, 1)
    assert log.recent(shopper, 0, NIGHT - timedelta(days=1), 10) == []
    database.close()
    assert_nothing_left(shop, shopper, set())


@pytest.mark.parametrize("live_url", [""])
def test_a_nightly_run_processes_requests_and_records_the_release_without_the_user(
    shop: PublishedShop, shopper: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = open_live_database(shop.workspace, "")
    ErasureQueue(database).add(shopper, "q1", NIGHT)
    database.close()
    reviews = reviews_of(shop, shopper)
    report = jobs.nightly.run.nightly(shop.workspace, shop.settings, None, NIGHT + timedelta(hours=1), lambda *_: None)
    assert_nothing_left(shop, shopper, reviews)
    (receipt,) = receipts(shop.workspace)
    assert receipt.trained_with == (shop.report.release_id,)
    assert receipt.first_without == report.release_id


@pytest.mark.parametrize("live_url", [""])
def test_a_nightly_run_continues_if_requests_cannot_be_processed(
    shop: PublishedShop, shopper: str, caplog: pytest.LogCaptureFixture
) -> None:
    database = open_live_database(shop.workspace, "")
    ErasureQueue(database).add(shopper, "q1", NIGHT)
    with hold_lease(shop.workspace.tuning_lease, NIGHT, 1):
        assert erase_before_run(shop.workspace, shop.settings, NIGHT, lambda *_: None) == 0
    assert "erasure requests not processed, they stay pending" in caplog.text
    assert [request.user_id for request in ErasureQueue(database).waiting()] == [shopper]
    database.close()


def shop_of(tmp_path: Path, events: str, settings_of: PublishedShop) -> PublishedShop:
    """A workspace with only these events."""
    workspace = Workspace(tmp_path / "other")
    (tmp_path / "events.csv").write_text("event_id,user_id,item_id,event_type,timestamp,text\n" + events)
    spec = SourceSpec("table", {"events": (str(tmp_path / "events.csv"),)}, {}, {})
    ingest(workspace, spec, settings_of.settings.ingest, NIGHT)
    return replace(settings_of, workspace=workspace)


def test_an_id_that_is_also_a_product_id_is_searched_only_in_user_fields(
    published_shop: PublishedShop, tmp_path: Path
) -> None:
    when = "2025-05-01T00:00:00Z"
    events = f"e1,12345,99,view,{when},\ne2,7,12345,view,{when},\ne3,123456,99,search,{when},great lamp\n"
    events += f"e4,12345,,search,{when},great lamp\ne5,12345,,search,{when},great\n"
    shop = shop_of(tmp_path, events, published_shop)
    receipt = run(shop, "12345")
    assert receipt.places["lake"].removed["events"] == 3
    assert (receipt.searched.id_in, receipt.searched.n_texts, receipt.searched.n_shared_texts) == ("values", 0, 2)
    left = Lake(shop.workspace.lake).scan("events").sort("event_id").collect()
    assert left["event_id"].to_list() == ["e2", "e3"]
    assert receipt.sources == (str(tmp_path / "events.csv"),)
    assert run(shop, "7").searched.id_in == "values"


def test_an_erasure_does_not_create_a_live_database(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "bare")
    workspace.root.mkdir()
    receipt, _ = erase(workspace, Settings(), "ann-of-the-shop", NIGHT, lambda *_: None)
    assert not receipt.known
    assert not workspace.live_database.exists()

"""Lists of many shoppers as a file."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from conftest import PublishedShop

import jobs.export.recommendations as under_test
from features.live.database import open_live_database
from features.live.erasure_queue import ErasureQueue
from features.store.release import load_release
from features.workspace.erased_users import add_erased
from features.workspace.user_ids import UserIds
from jobs.export.choices import Format
from jobs.export.lists import LISTS, ListsRequest
from jobs.export.recommendations import ListsReport, export_recommendations
from recsys.errors import DataError, StoreError
from recsys.query import Query
from recsys.recommend import Recommender
from recsys.workspace import Workspace

AT = datetime(2024, 6, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def recommender(published_shop: PublishedShop) -> Recommender:
    return load_release(published_shop.workspace).recommender


@pytest.fixture
def copied(published_shop: PublishedShop, tmp_path: Path) -> Workspace:
    """A copy of the shop that a test may change."""
    shutil.copytree(published_shop.workspace.root, tmp_path / "shop")
    return Workspace(tmp_path / "shop")


def export(
    shop: PublishedShop,
    out: Path,
    users: str = "all",
    form: Format = Format.PARQUET,
    *,
    workspace: Workspace | None = None,
    count: int = 5,
    workers: int = 0,
    overwrite: bool = False,
) -> ListsReport:
    request = ListsRequest(users, count, AT, workers=workers)
    place = workspace or shop.workspace
    return export_recommendations(place, shop.settings, request, form, out, lambda *_: None, overwrite=overwrite)


def expected_lists(recommender: Recommender, users: list[str | None], count: int = 5) -> dict[str | None, list[tuple]]:
    lists = {}
    for user_id in users:
        (slate,) = recommender.recommend([Query(user_id, count=count, asked_at=AT)])
        lists[user_id] = [(item.rank, item.item_id, item.source, near(item.score)) for item in slate.items]
    return lists


def near(score: float) -> object:
    """Sums of a batch round differently from those of one query."""
    return pytest.approx(score, abs=5e-6)


def rows_by_user(rows: pl.DataFrame) -> dict[str | None, list[tuple]]:
    parts = rows.partition_by("user_id", as_dict=True, maintain_order=True)
    return {key[0]: part.select("rank", "item_id", "source", "score").rows() for key, part in parts.items()}


def test_every_shopper_has_the_list_that_a_single_request_gets(
    published_shop: PublishedShop, recommender: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "BATCH_USERS", 7)
    report = export(published_shop, tmp_path / "lists.parquet")
    rows = pl.read_parquet(tmp_path / "lists.parquet")
    users = list(recommender.users.rows)
    assert rows_by_user(rows) == expected_lists(recommender, users)
    assert rows["release_id"].unique().to_list() == [report.release_id] == [published_shop.report.release_id]
    assert (report.n_users, report.n_items, report.n_unknown, report.n_empty) == (len(users), len(rows), 0, 0)


def test_csv_and_json_lines_hold_the_same_lists(
    published_shop: PublishedShop, recommender: Recommender, tmp_path: Path
) -> None:
    users = [*list(recommender.users.rows)[:3], "stranger"]
    expected = expected_lists(recommender, users)
    export(published_shop, tmp_path / "lists.csv", ",".join(users), Format.CSV)
    assert rows_by_user(pl.read_csv(tmp_path / "lists.csv")) == expected
    export(published_shop, tmp_path / "lists.jsonl", ",".join(users), Format.JSONL)
    lists = [json.loads(line) for line in (tmp_path / "lists.jsonl").read_text().splitlines()]
    assert [entry["user_id"] for entry in lists] == users
    for entry in lists:
        assert entry["release_id"] == published_shop.report.release_id
        assert entry["items"] == [
            {"item_id": item_id, "score": score, "source": source}
            for _, item_id, source, score in expected[entry["user_id"]]
        ]
    assert [entry["fallback"] for entry in lists] == [None, None, None, "unknown_user"]


def test_unknown_shoppers_get_the_list_of_guests_and_are_counted(
    published_shop: PublishedShop, recommender: Recommender, tmp_path: Path
) -> None:
    known = next(iter(recommender.users.rows))
    (tmp_path / "ids.txt").write_text(f"stranger\n\n{known}\nstranger\nlost\n")
    report = export(published_shop, tmp_path / "lists.parquet", str(tmp_path / "ids.txt"))
    lists = rows_by_user(pl.read_parquet(tmp_path / "lists.parquet"))
    assert list(lists) == ["stranger", known, "lost"]
    assert lists["stranger"] == lists["lost"] == expected_lists(recommender, [None])[None]
    assert (report.n_users, report.n_unknown, report.n_not_personal) == (3, 2, 2)


def test_the_list_of_guests_alone(published_shop: PublishedShop, recommender: Recommender, tmp_path: Path) -> None:
    report = export(published_shop, tmp_path / "lists.parquet", "cold")
    rows = pl.read_parquet(tmp_path / "lists.parquet")
    assert rows_by_user(rows) == expected_lists(recommender, [None])
    assert (report.n_users, report.n_unknown, report.n_not_personal) == (1, 0, 1)


def test_erased_shoppers_and_those_who_wait_for_it_are_left_out(
    published_shop: PublishedShop, copied: Workspace, recommender: Recommender, tmp_path: Path
) -> None:
    erased, waiting, stays = list(recommender.users.rows)[:3]
    add_erased(copied, erased, AT)
    database = open_live_database(copied, "")
    ErasureQueue(database).add(waiting, "request-1", AT)
    database.close()
    report = export(published_shop, tmp_path / "lists.parquet", f"{erased},{waiting},{stays}", workspace=copied)
    assert list(rows_by_user(pl.read_parquet(tmp_path / "lists.parquet"))) == [stays]
    assert (report.n_users, report.n_erased) == (1, 2)
    report = export(published_shop, tmp_path / "all.parquet", workspace=copied)
    assert not {erased, waiting} & set(pl.read_parquet(tmp_path / "all.parquet")["user_id"])
    assert report.n_erased == 2


def test_an_erasure_during_the_export_leaves_no_file(
    published_shop: PublishedShop, copied: Workspace, recommender: Recommender, tmp_path: Path
) -> None:
    user = next(iter(recommender.users.rows))
    request = ListsRequest(user, 5, AT)
    out = tmp_path / "lists.parquet"
    with pytest.raises(StoreError, match="a shopper was erased while lists were made"):
        export_recommendations(
            copied,
            published_shop.settings,
            request,
            Format.PARQUET,
            out,
            lambda *_: add_erased(copied, user, AT) and None,
        )
    assert list(tmp_path.iterdir()) == [copied.root]


def test_an_address_finds_the_shopper_behind_its_pseudonym(
    published_shop: PublishedShop, copied: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "Ada@example.com"
    pseudonym = UserIds.of(copied).pseudonym(address)
    loaded = load_release(copied)
    rows = loaded.recommender.users.rows
    known = next(iter(rows))
    rows[pseudonym] = rows[known]
    monkeypatch.setattr(under_test, "load_release", lambda *_: loaded)
    report = export(published_shop, tmp_path / "lists.parquet", address, workspace=copied)
    lists = rows_by_user(pl.read_parquet(tmp_path / "lists.parquet"))
    assert lists == {address: expected_lists(loaded.recommender, [known])[known]}
    assert report.n_unknown == 0


def test_ctrl_c_leaves_the_file_of_before_and_no_half_one(
    published_shop: PublishedShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "lists.csv"
    out.write_text("of yesterday")

    def interrupted(*_: object) -> Iterator[pl.DataFrame]:
        yield pl.DataFrame([("u", None, [])], LISTS, orient="row")
        raise KeyboardInterrupt

    monkeypatch.setattr(under_test, "_lists", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(published_shop, out, form=Format.CSV, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["lists.csv"]
    assert out.read_text() == "of yesterday"


def test_a_shopper_to_whom_nothing_may_be_shown_has_an_empty_list() -> None:
    lists = pl.DataFrame(
        [("a", None, []), ("b", None, [{"item_id": "i", "score": 1.0, "source": "linear"}])],
        LISTS,
        orient="row",
    )
    assert under_test._flat(lists).select("user_id", "rank", "item_id").rows() == [("b", 1, "i")]


@pytest.mark.parametrize(
    ("users", "message"),
    [
        ("missing.txt", "no such file"),
        (",", "no ids in it"),
    ],
)
def test_users_that_cannot_be_used(published_shop: PublishedShop, tmp_path: Path, users: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        export(published_shop, tmp_path / "lists.parquet", users)
    assert list(tmp_path.iterdir()) == []


def test_workers_make_the_same_file(
    published_shop: PublishedShop, local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "BATCH_USERS", 30)
    export(published_shop, tmp_path / "here.parquet", workers=1)
    export(published_shop, tmp_path / "workers.parquet", workers=2)
    assert pl.read_parquet(tmp_path / "workers.parquet").equals(pl.read_parquet(tmp_path / "here.parquet"))

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import PublishedShop
from rich.console import Console
from starlette.testclient import TestClient

from features.store.release import load_release
from jobs.bench.peers.als_server import IDS, IDS_FILE, INTERACTIONS_FILE, Ids, create_app
from jobs.bench.serve import Overload, Row, ServeBench, percentiles, shop_of, write_interactions
from jobs.bench.serve_report import print_serve_report
from jobs.bench.serve_requests import AFTER_EVENT, BASELINE, KNOWN_USER, NO_OP, TEXT, Shop, bodies, requests
from jobs.cli.options import write_json

SHOP = Shop(["ann", "bob"], ["boot", "sock"], ["warm", "shoe"], 9.5)


def test_every_target_has_requests_and_only_the_service_gets_the_key() -> None:
    by_target = requests(SHOP, 0, {"X-API-Key": "k"})
    assert list(by_target) == [
        *(NO_OP, KNOWN_USER, AFTER_EVENT, "session", TEXT, "text cached", "filtered", "explained", BASELINE)
    ]
    assert b"X-API-Key: k" in next(by_target[KNOWN_USER])
    assert b"X-API-Key" not in next(by_target[BASELINE])


def test_texts_repeat_only_for_the_cached_target() -> None:
    of = bodies(SHOP, 0)
    assert len({body["text"] for body in islice(of[TEXT], 1000)}) == 1000
    assert len({body["text"] for body in islice(of["text cached"], 1000)}) <= 20


def test_equal_seeds_give_equal_requests() -> None:
    for target in bodies(SHOP, 0):
        assert list(islice(bodies(SHOP, 1)[target], 5)) == list(islice(bodies(SHOP, 1)[target], 5))


def test_the_baseline_answers_from_the_histories_of_the_release(published_shop: PublishedShop, tmp_path: Path) -> None:
    recommender = load_release(published_shop.workspace).recommender
    write_interactions(recommender, tmp_path)
    ids = IDS.validate_json((tmp_path / IDS_FILE).read_bytes())
    interactions = sp.csr_matrix(sp.load_npz(tmp_path / INTERACTIONS_FILE))
    user = shop_of(recommender, published_shop.workspace).users[0]
    client = TestClient(create_app(interactions, ids))
    items = client.post("/recommend", json={"user_id": user, "count": 3}).json()["items"]
    assert len(items) == 3
    assert {item["item_id"] for item in items} <= set(recommender.item_ids)
    assert client.post("/recommend", json={"user_id": "nobody"}).status_code == 404


@pytest.mark.parametrize(("user", "count", "n_items"), [("ann", 10, 2), ("ann", 1, 1), ("bob", 10, 0), ("ann", 0, 0)])
def test_the_baseline_never_answers_more_items_than_are_left(user: str, count: int, n_items: int) -> None:
    bought = sp.csr_matrix(np.array([[1, 1, 0, 0], [1, 1, 1, 1]], dtype=np.float32))
    client = TestClient(create_app(bought, Ids(["ann", "bob"], ["boot", "coat", "lamp", "rug"], [None] * 4)))
    items = [
        item["item_id"] for item in client.post("/recommend", json={"user_id": user, "count": count}).json()["items"]
    ]
    assert len(items) == len(set(items)) == n_items
    assert set(items) <= {"lamp", "rug"}


def test_percentiles_without_latencies_are_nan() -> None:
    assert np.isnan(percentiles(np.array([]))).all()
    assert percentiles(np.arange(101.0)) == (50.0, 95.0, 99.0)


def test_the_table_shows_each_row_beside_the_no_op(capsys: pytest.CaptureFixture[str]) -> None:
    no_op = Row(NO_OP, 1, 1000.0, 0.5, 0.6, 0.7, 0, 0.1)
    overload = Overload(400.0, 1200.0, 390.0, 5.0, 9.0, 3.0, 810.0, 1.0, 2.0, 0, 0.2)
    rows = (no_op, replace(no_op, target=KNOWN_USER, qps=400.0, p50_ms=1.5))
    print_serve_report(ServeBench(rows, 900.0, 9000.0, 2000, 2, overload), Console(width=100))
    shown = " ".join(capsys.readouterr().out.split())
    assert "known user" in shown and "40%" in shown and "3.0" in shown
    assert "390/s admitted" in shown and "810/s refused" in shown


def test_the_json_holds_null_where_nothing_was_measured(tmp_path: Path) -> None:
    row = Row(NO_OP, 1, 0.0, float("nan"), float("nan"), float("nan"), 9, 0.1)
    write_json(tmp_path / "out.json", ServeBench((row,), 900.0, 9000.0, 2000, 2, None))
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["rows"][0]["p50_ms"] is None
    assert content["overload"] is None

"""Nights of shops in a language that the default encoder cannot read: behaviour and words serve them."""

import json
import shutil
from datetime import timedelta
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import NIGHT, SMALL

from features.encoder.encoder import load_encoder
from features.store.release import LoadedRelease, load_release
from jobs.ingest.files import ingest
from jobs.ingest.sources.spec import SourceSpec
from jobs.nightly.run import nightly
from recsys.config import Settings
from recsys.query import Query, Signal
from recsys.workspace import Workspace

PRODUCTS = [
    "蓝牙耳机",
    "保温杯",
    "运动鞋",
    "机械键盘",
    "电动牙刷",
    "智能手表",
    "空气炸锅",
    "羽绒服",
    "防晒霜",
    "折叠雨伞",
]
KINDS = ["新{} 黑色", "无线{}", "儿童{}", "家用{} 大号", "轻便{} 2025款", "高级{} 礼盒装"]
TITLES = [kind.format(name) for name, kind in product(PRODUCTS, KINDS)]


@pytest.fixture(scope="module")
def chinese_shop(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """60 products, of which 40 shoppers view some on 20 days."""
    root = tmp_path_factory.mktemp("chinese")
    workspace = Workspace(root / "shop")
    rng = np.random.default_rng(0)
    items = pl.DataFrame({"item_id": [f"p{row}" for row in range(len(TITLES))], "title": TITLES})
    n_events = 800
    events = pl.DataFrame(
        {
            "user_id": [f"u{row % 40}" for row in range(n_events)],
            "item_id": [f"p{row}" for row in rng.integers(0, len(TITLES), n_events)],
            "event_type": rng.choice(["view", "purchase"], n_events).tolist(),
            "timestamp": [NIGHT - timedelta(days=20) * float(share) for share in np.sort(rng.random(n_events))[::-1]],
        }
    )
    paths = {}
    for name, rows in (("catalog", items), ("events", events)):
        rows.write_parquet(root / f"{name}.parquet")
        paths[name] = (str(root / f"{name}.parquet"),)
    settings = Settings.model_validate(SMALL)
    ingest(workspace, SourceSpec("table", paths), settings.ingest, NIGHT)
    report = nightly(workspace, settings, None, NIGHT, lambda *_: None)
    (root / "messages.json").write_text(json.dumps(report.messages))
    return workspace


@pytest.fixture(scope="module")
def release(chinese_shop: Workspace) -> LoadedRelease:
    return load_release(chinese_shop)


def searched(release: LoadedRelease, text: str, **options: object) -> list[str | None]:
    vector = load_encoder(release.encoder).encode([text])[0]
    query = Query(text=text, text_vector=vector, count=6, **options)
    (slate,) = release.recommender.recommend([query])
    return [item.title for item in slate.items]


@pytest.mark.parametrize("name", PRODUCTS)
def test_searches_find_the_products_by_their_words(release: LoadedRelease, name: str) -> None:
    expected = {kind.format(name) for kind in KINDS}
    assert set(searched(release, name, search=True)) == expected
    assert set(searched(release, name)) == expected
    assert set(searched(release, name, search=True, user_id="u3")) == expected


def test_the_night_warns_and_names_the_setting(chinese_shop: Workspace) -> None:
    messages = json.loads((chinese_shop.root.parent / "messages.json").read_text())
    (message,) = [message for message in messages if "texts read" in message]
    assert "Chinese characters" in message
    assert "encoder.model" in message
    assert "left out" in message


def test_the_release_records_it_and_has_no_text_vectors(release: LoadedRelease) -> None:
    assert release.reading is not None
    assert release.reading.left_out
    assert release.reading.n_texts == 60
    assert release.reading.unknown > 1 / 3
    assert not release.recommender.model.text.any()


def test_lists_come_from_behaviour_and_texts_of_a_session_change_nothing(release: LoadedRelease) -> None:
    vector = load_encoder(release.encoder).encode(["蓝牙耳机"])[0]
    at = release.manifest.as_of
    read = Signal("search", at, text_vector=vector, text="蓝牙耳机")
    with_text, without = release.recommender.recommend(
        [Query(user_id="u3", session=(read,), asked_at=at), Query(user_id="u3", asked_at=at)]
    )
    assert [item.item_id for item in with_text.items] == [item.item_id for item in without.items]
    assert {item.source for item in without.items}.isdisjoint({"text", "browsing", "query_text"})


def test_the_report_of_the_night_says_it(chinese_shop: Workspace) -> None:
    pages = [path.read_text() for path in Path(chinese_shop.runs).glob("*/report.html")]
    assert any("Chinese characters" in page and "encoder.model" in page for page in pages)


def test_a_shop_that_was_served_with_texts_goes_on_without_them(chinese_shop: Workspace, tmp_path: Path) -> None:
    """As after an update, or a limit set lower: the gate may not hold the release back for it."""
    workspace = Workspace(tmp_path / "shop")
    shutil.copytree(chinese_shop.lake, workspace.lake)
    for hours, share in enumerate((1.0, 0.33, 1.0)):
        settings = Settings.model_validate({**SMALL, "embed": {"max_unread_share": share}})
        nightly(workspace, settings, None, NIGHT + timedelta(hours=hours), lambda *_: None)
        release = load_release(workspace)
        assert release.reading is not None
        assert release.reading.left_out == (share < 1.0)
        assert release.recommender.reader.reads_texts == (share == 1.0)

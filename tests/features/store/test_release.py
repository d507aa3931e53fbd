"""Loading a release; that it answers as the night measured is in tests/test_parity.py."""

import hashlib
import json
import pickle
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from conftest import PublishedShop

from features.store.formats import CO_PURCHASE_FILES, QUOTE_FILES
from features.store.release import SETTINGS_FILE, TEXTS_FILE, load_release, read_texts
from features.store.store import ReleaseDraft, Store
from features.workspace.hidden_reviews import hide_reviews
from jobs.lake.lake import Lake
from recsys.errors import StoreError
from recsys.query import Query
from recsys.workspace import Workspace


@pytest.fixture
def copied(published_shop: PublishedShop, tmp_path: Path) -> Workspace:
    """The published shop's store and releases, to be damaged."""
    workspace = Workspace(tmp_path / "shop")
    for part in ("store", "releases"):
        shutil.copytree(published_shop.workspace.root / part, workspace.root / part)
    return workspace


def test_a_release_comes_with_its_shoppers_titles_and_encoder(published_shop: PublishedShop) -> None:
    loaded = load_release(published_shop.workspace)
    assert loaded.release_id == published_shop.report.release_id
    assert loaded.recommender.n_items == 80
    assert loaded.encoder == published_shop.settings.encoder
    (slate,) = loaded.recommender.recommend([Query(user_id=next(iter(loaded.recommender.users.rows)))])
    assert all(item.title for item in slate.items)


def test_a_release_explains_with_sentences_of_its_own_reviews(published_shop: PublishedShop) -> None:
    release = Store(published_shop.workspace).open()
    recommender = load_release(published_shop.workspace).recommender
    table = release.table("reviews", ["review_id", "item_id", "rating", "title", "text"])
    reviews = {row["review_id"]: row for row in table.iter_rows(named=True)}
    quoted = 0
    for user_id in list(recommender.users.rows)[:20]:
        (slate,) = recommender.recommend([Query(user_id=user_id, explain=True)])
        for item in slate.items:
            assert item.explanation is not None
            if quote := item.explanation.quote:
                quoted += 1
                review = reviews[quote.review_id]
                assert quote.text in f"{review['title']}\n{review['text']}"
                assert (review["item_id"], review["rating"]) == (item.item_id, quote.stars)
                assert quote.stars >= published_shop.settings.evidence.min_stars
    assert quoted > 20
    assert recommender.facts.together.shoppers.nnz > 0


def test_a_review_that_is_hidden_now_is_not_quoted_though_the_release_has_it(published_shop: PublishedShop) -> None:
    hidden: set[str] = set()
    recommender = load_release(published_shop.workspace, hidden_reviews=hidden).recommender

    def quoted() -> set[str]:
        (slate,) = recommender.recommend([Query(count=40, explain=True)])
        quotes = [item.explanation.quote for item in slate.items if item.explanation is not None]
        return {quote.review_id for quote in quotes if quote is not None}

    before = quoted()
    assert before
    hidden |= before
    assert not quoted() & before


def test_what_the_workspace_hides_is_not_quoted(copied: Workspace) -> None:
    def quoted() -> set[str]:
        (slate,) = load_release(copied).recommender.recommend([Query(count=40, explain=True)])
        quotes = [item.explanation.quote for item in slate.items if item.explanation is not None]
        return {quote.review_id for quote in quotes if quote is not None}

    before = quoted()
    hide_reviews(copied.hidden_reviews, before, datetime(2026, 1, 1, tzinfo=UTC))
    assert before and not quoted() & before


def test_a_release_knows_the_properties_of_its_items(published_shop: PublishedShop) -> None:
    items = Store(published_shop.workspace).open().table("items")
    properties = load_release(published_shop.workspace).recommender.properties
    for row in (0, 40, 79):
        row_properties = properties.of_row(row)
        for name in ("title", "category", "brand", "price", "available", "updated_at"):
            assert row_properties[name] == items[name][row]
        assert row_properties["attributes"] == json.loads(items["attributes"][row])


def test_a_release_from_before_there_was_sentiment_is_read(copied: Workspace) -> None:
    store = Store(copied)
    now = store.open()
    tables = {name: now.table(name) for name in now.manifest.tables}
    tables |= {name: tables[name].drop("sentiment") for name in ("items", "reviews")}
    manifest = now.manifest
    store.publish(
        ReleaseDraft(
            "old",
            manifest.as_of,
            tables,
            now.model_dir,
            manifest.encoder_id,
            manifest.encoder_sha256,
            manifest.config_sha256,
            {},
        ),
        manifest.created_at,
    )
    assert "sentiment" not in store.open().table("items").columns
    loaded = load_release(copied)
    assert loaded.release_id == "old"
    assert loaded.recommender.recommend([Query(user_id=next(iter(loaded.recommender.users.rows)))])


def with_manifest(workspace: Workspace, release_id: str, content: dict[str, object]) -> None:
    """Put another manifest in the place of the release's, as another version would have published it."""
    data = json.dumps(content).encode()
    (workspace.releases / release_id / "manifest.json").write_bytes(data)
    pointer = json.loads(workspace.current.read_text())
    pointer["published"][release_id] = hashlib.sha256(data).hexdigest()
    workspace.current.write_text(json.dumps(pointer))


def test_a_release_without_a_format_is_served_and_rolled_back_to(copied: Workspace) -> None:
    """As recsys 0.1 published it before it had quotes and co-purchases."""
    store = Store(copied)
    now, query = store.open(), Query(user_id=next(iter(load_release(copied).recommender.users.rows)), explain=True)
    expected = [item.item_id for item in load_release(copied).recommender.recommend([query])[0].items]
    content = json.loads((copied.releases / now.release_id / "manifest.json").read_text())
    assert content.pop("format") == 1
    content["live"] = content.pop("log_offset")
    for name in (*QUOTE_FILES, *CO_PURCHASE_FILES):
        del content["files"][f"model/{name}"]
        (now.model_dir / name).unlink()
    with_manifest(copied, now.release_id, content)

    store.rollback(now.release_id, now.manifest.created_at)
    loaded = load_release(copied)
    items = loaded.recommender.recommend([query])[0].items
    assert [item.item_id for item in items] == expected
    assert all(item.explanation is not None and item.explanation.quote is None for item in items)


def test_a_release_of_today_without_its_quotes_is_damaged(copied: Workspace) -> None:
    release_id = load_release(copied).release_id
    content = json.loads((copied.releases / release_id / "manifest.json").read_text())
    del content["files"][f"model/{QUOTE_FILES[0]}"]
    with_manifest(copied, release_id, content)
    with pytest.raises(StoreError, match=r"damaged: its manifest \(format 1\) lists no quotes\.parquet"):
        load_release(copied)


def test_a_release_of_a_later_version_is_neither_loaded_nor_rolled_back_to(copied: Workspace) -> None:
    release_id = load_release(copied).release_id
    content = json.loads((copied.releases / release_id / "manifest.json").read_text()) | {"format": 2}
    with_manifest(copied, release_id, content)
    for refused in (lambda: load_release(copied), lambda: Store(copied).rollback(release_id, datetime.now(UTC))):
        with pytest.raises(StoreError, match=r"release format 2, this version of recsys reads 0 and 1; update recsys"):
            refused()
    assert Store(copied).releases() == []


def test_settings_of_another_version_do_not_stop_a_rollback(copied: Workspace, monkeypatch) -> None:
    file = copied.releases / load_release(copied).release_id / "model" / SETTINGS_FILE
    changed = json.loads(file.read_text()) | {"gone": {"since": "then"}}
    file.write_text(json.dumps(changed))
    opened = Store(copied).open(verify=False)
    monkeypatch.setattr(Store, "open", lambda *_: opened)
    assert load_release(copied).recommender.n_items == 80


def test_settings_with_keys_of_an_earlier_version_keep_their_values(copied: Workspace, monkeypatch) -> None:
    file = copied.releases / load_release(copied).release_id / "model" / SETTINGS_FILE
    stored = json.loads(file.read_text())
    assert "return_factor" in stored["interactions"] and stored["complements"].pop("max_similarity")
    del stored["interactions"]["return_factor"], stored["recommend"]["query_text_weight"]
    stored["complements"]["max_likeness"] = 0.25
    stored["interactions"]["returned"] = 0.75
    stored["recommend"]["sentence_weight"] = 3.5
    file.write_text(json.dumps(stored))
    opened = Store(copied).open(verify=False)
    monkeypatch.setattr(Store, "open", lambda *_: opened)
    loaded = load_release(copied)
    assert loaded.catalogue is not None
    settings = loaded.catalogue.settings
    assert settings.complements.max_similarity == loaded.recommender.facts.max_likeness == 0.25
    assert settings.interactions.return_factor == 0.75
    assert settings.recommend.query_text_weight == 3.5


def test_an_altered_model_file_is_refused_by_name(copied: Workspace) -> None:
    file = copied.releases / load_release(copied).release_id / "model" / "trend.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(StoreError, match=r"trend\.npy"):
        load_release(copied)


def test_what_shoppers_read_comes_back_as_vectors(published_shop: PublishedShop) -> None:
    users, trained = load_release(published_shop.workspace).recommender.users, published_shop.trained.recommender.users
    np.testing.assert_array_equal(users.texts, trained.texts)
    np.testing.assert_array_equal(users.entries.text_rows, trained.entries.text_rows)
    assert len(trained.texts) == trained.entries.text_rows.max() + 1 > 1
    np.testing.assert_allclose(np.linalg.norm(trained.texts, axis=1), 1.0, atol=1e-3)


def test_the_words_that_shoppers_typed_are_in_no_release(published_shop: PublishedShop) -> None:
    typed = Lake(published_shop.workspace.lake).scan("events").select("text").collect()["text"].drop_nulls().unique()
    long_texts = [text.encode() for text in typed if len(text) > 12]
    assert long_texts
    release = Store(published_shop.workspace).open()
    files = [path for path in release.model_dir.rglob("*") if path.is_file()]
    assert any(path.name == TEXTS_FILE for path in files)
    for path in files:
        content = path.read_bytes()
        assert not any(text in content for text in long_texts), path
    assert "text" not in release.table("users").columns


@pytest.mark.parametrize("content", [None, b"", b"nonsense", pickle.dumps([1.0])])
def test_texts_that_cannot_be_read_are_refused_with_what_to_do(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / TEXTS_FILE).write_bytes(content)
    with pytest.raises(StoreError, match=r"texts\.npy: cannot be read .* run `recsys nightly` again"):
        read_texts(tmp_path)


def test_a_workspace_without_a_release_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="run `recsys nightly"):
        load_release(Workspace(tmp_path))

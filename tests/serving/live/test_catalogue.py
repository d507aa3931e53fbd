import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from features.live.database import LiveDatabase
from features.live.item_changes import ItemChange, ItemChanges
from features.store.manifest import LivePosition
from recsys.batch_scoring import source_scores
from recsys.errors import StoreError
from recsys.filters import PriceBetween
from recsys.new_products import PRICE_COLUMN
from recsys.nonpersonal import complements
from recsys.query import Query
from recsys.recommend import Recommender
from recsys.rules import Rules
from serving.live.catalogue import LiveCatalogue
from serving.releases.active import ActiveRelease

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SHOES = np.array([1, 0, 0], dtype=np.float32)


@pytest.fixture
def changes(live_database: LiveDatabase) -> ItemChanges:
    return ItemChanges(live_database)


@pytest.fixture
def catalogue(live: ActiveRelease, changes: ItemChanges) -> Iterator[LiveCatalogue]:
    yield LiveCatalogue(lambda: live, changes, poll_s=1.0)


def put(changes: ItemChanges, item_id: str, deleted: bool = False, **fields: Any) -> None:
    changes.put([ItemChange(item_id, fields, deleted)], NOON)


def shown(catalogue: LiveCatalogue, **query: Any) -> list[str]:
    assert catalogue.live is not None
    (slate,) = catalogue.live.release.recommender.recommend([Query(**query)])
    return [item.item_id for item in slate.items]


def test_where_nothing_has_changed_the_release_answers(catalogue: LiveCatalogue, live: ActiveRelease) -> None:
    assert not catalogue.poll()
    assert catalogue.live is live


def test_a_new_product_with_only_a_text_is_recommended(
    catalogue: LiveCatalogue, changes: ItemChanges, live: ActiveRelease, encoder: Any
) -> None:
    put(changes, "clog", title="wooden shoes", price=9.0)
    put(changes, "nameless", price=3.0)
    assert catalogue.poll()
    assert "clog" in shown(catalogue, text_vector=SHOES, count=3)
    assert "clog" in shown(catalogue, user_id="ann")
    assert "nameless" not in shown(catalogue, user_id="zoe", count=20)
    assert shown(catalogue, item_ids=("clog",), count=1) == ["boot"]  # what reads like it
    recommender = live.release.recommender
    assert recommender.n_items == 6  # the release itself is as it was
    assert catalogue.live is not None
    extended = catalogue.live.release.recommender
    assert extended.properties.titles[6] == "wooden shoes"
    np.testing.assert_array_equal(extended.vectors[:6], recommender.vectors)
    placed = recommender.model.sequence.place(recommender.model.whitening(SHOES[None, :]))
    np.testing.assert_allclose(extended.vectors[6], placed[0], rtol=1e-5)
    assert extended.model.item_features[6, PRICE_COLUMN] == pytest.approx(np.log1p(9.0))

    put(changes, "clog", price=8.0)
    assert catalogue.poll()
    assert [texts for texts in encoder.calls if "shoes" in texts[0]] == [["wooden shoes"]]  # encoded once


def test_a_new_product_is_filtered_and_explained_as_any_other(catalogue: LiveCatalogue, changes: ItemChanges) -> None:
    put(changes, "clog", title="wooden shoes", price=9.0)
    catalogue.poll()
    assert catalogue.live is not None
    recommender = catalogue.live.release.recommender
    query = Query(text_vector=SHOES, text="shoes", count=20, explain=True, rules=Rules(filter=PriceBetween(8.5, 9.5)))
    (slate,) = recommender.recommend([query])
    assert [item.item_id for item in slate.items] == ["clog"] and slate.n_matched == 1
    assert slate.items[0].explanation is not None and slate.items[0].explanation.quote is None
    assert complements(recommender, ["clog"], None, 5).items == ()


def test_the_old_items_score_as_before(catalogue: LiveCatalogue, changes: ItemChanges, live: ActiveRelease) -> None:
    put(changes, "clog", title="wooden shoes")
    catalogue.poll()
    assert catalogue.live is not None
    before, _, _ = source_scores(live.release.recommender, [Query(user_id="ann")])
    after, _, _ = source_scores(catalogue.live.release.recommender, [Query(user_id="ann")])
    np.testing.assert_allclose(after[:, :, :6], before, atol=1e-6)


def test_price_title_and_stock_of_known_items_change(
    catalogue: LiveCatalogue, changes: ItemChanges, live: ActiveRelease
) -> None:
    put(changes, "lamp", price=3.0, title="Lamp, green")
    put(changes, "vase", available=False)
    put(changes, "rug", deleted=True, available=False)
    assert catalogue.poll()
    assert catalogue.live is not None
    recommender = catalogue.live.release.recommender
    assert recommender.properties.titles[2] == "Lamp, green"
    assert recommender.model.item_features[2, PRICE_COLUMN] == pytest.approx(np.log1p(3.0))
    assert not {"vase", "rug"} & set(shown(catalogue, user_id="zoe", count=20))
    put(changes, "vase", available=True)
    assert catalogue.poll()
    assert "vase" in shown(catalogue, user_id="zoe", count=20)
    assert not catalogue.poll()


def test_a_new_release_answers_at_once_and_knows_the_changes_that_it_holds(
    live: ActiveRelease, changes: ItemChanges
) -> None:
    current = [live]
    catalogue = LiveCatalogue(lambda: current[0], changes, poll_s=1.0)
    put(changes, "clog", title="wooden shoes")
    assert catalogue.poll()
    held = replace(live.release.manifest, log_offset=LivePosition(changes.database.id, 0, changes.version()))
    current[0] = replace(live, release=replace(live.release, manifest=held))
    assert catalogue.live is current[0]
    assert not catalogue.poll()
    assert catalogue.live is current[0]


def test_changes_that_cannot_be_read_leave_the_release_as_it_is(
    catalogue: LiveCatalogue, changes: ItemChanges, live: ActiveRelease, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def broken(*_: object) -> None:
        raise StoreError("gone")

    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(ItemChanges, "version", broken)
        assert not catalogue.poll() and not catalogue.poll()
    assert catalogue.live is live
    assert len(caplog.records) == 1
    put(changes, "vase", available=False)
    assert catalogue.poll()


def test_a_new_product_of_a_shop_without_texts_is_found_by_its_words(live: ActiveRelease, changes: ItemChanges) -> None:
    """Its text vector would be the only one, and of a text that the encoder cannot read."""
    release = live.release
    assert release.catalogue is not None
    model = release.recommender.model
    model = replace(model, text=np.zeros_like(model.text), whitened=np.zeros_like(model.whitened))
    users, items, settings = release.recommender.users, release.catalogue.items, release.catalogue.settings
    recommender = Recommender.of_release(model, users, items, settings)
    base = replace(live, release=replace(release, recommender=recommender))
    catalogue = LiveCatalogue(lambda: base, changes, poll_s=1.0)
    put(changes, "new", title="新蓝牙耳机")
    assert catalogue.poll()
    assert catalogue.live is not None
    changed = catalogue.live.release.recommender
    assert not changed.model.text.any()
    (slate,) = changed.recommend([Query(text="蓝牙耳机", text_vector=SHOES, search=True, count=2)])
    assert slate.items[0].item_id == "new"

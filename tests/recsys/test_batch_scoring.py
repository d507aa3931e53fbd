import numpy as np
import pytest
from storefronts import tiny_recommender

from recsys import batch_scoring
from recsys.batch_scoring import batches, query_batches, shown_rows, slates
from recsys.query import Query

QUERIES = [Query(user_id="ann"), Query(user_id="nobody", count=2), Query(item_ids=("kettle",))]


def test_batches_cover_all_queries_once() -> None:
    assert [row for part in batches(7, 3_000_000) for row in range(7)[part]] == list(range(7))
    assert len(list(batches(7, 3_000_000))) == 4


def test_slates_made_in_batches_are_those_made_together(monkeypatch: pytest.MonkeyPatch) -> None:
    recommender = tiny_recommender()
    together = recommender.recommend(QUERIES)
    monkeypatch.setattr(batch_scoring, "BATCH_CELLS", 1)
    assert len(list(query_batches(recommender, len(QUERIES)))) == len(QUERIES)
    for slate, expected in zip(slates(recommender, QUERIES), together, strict=True):
        assert [item.item_id for item in slate.items] == [item.item_id for item in expected.items]


def test_shown_rows_are_the_items_of_the_slates_padded() -> None:
    recommender = tiny_recommender()
    shown = shown_rows(recommender, QUERIES, 10)
    assert shown.shape == (3, 10)
    for row, slate in zip(shown, recommender.recommend(QUERIES), strict=True):
        expected = [recommender.rows[item.item_id] for item in slate.items]
        np.testing.assert_array_equal(row, expected + [-1] * (10 - len(expected)))

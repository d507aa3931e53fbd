import numpy as np
import polars as pl
from bench_inputs import bench_data, bench_data_with_a_visit

from jobs.bench.scoring import read_past
from jobs.training.held_out_requests import requests


def test_a_past_has_the_users_items_the_newest_with_age_0() -> None:
    data = bench_data()
    past = read_past(data.test, data.items["item_id"], data.settings, False, None)
    assert past.n_before.tolist() == [5] * 30
    newest = data.test.events.sort("timestamp").filter(pl.col("user_id") == past.targets["user_id"][0])
    mine = past.had_by == 0
    assert [f"i{item:02}" for item in past.had_items[mine]] == newest["item_id"].to_list()
    assert past.age[mine].tolist() == [4, 3, 2, 1, 0]
    np.testing.assert_allclose(past.history(0.5)[0].toarray().max(), 1.0)
    np.testing.assert_allclose(past.history(0.5)[0].sum(), 1 + 0.5 + 0.25 + 0.125 + 0.0625)


def test_a_visit_is_history_to_every_model_and_a_session_to_the_product() -> None:
    data, fresh = bench_data_with_a_visit()
    past = read_past(data.test, data.items["item_id"], data.settings, False, None)
    assert past.n_before.tolist() == [5] * 30
    assert (past.had_by == 0).sum() == 6
    assert data.items["item_id"][int(past.had_items[past.had_by == 0][-1])] == fresh
    request, *others = requests(data.test, data.read_text)
    assert [signal.item_id for signal in request.session] == [fresh, None]
    assert request.session[1].text_vector is not None
    assert [query.user_id for query in (request, *others)] == data.test.targets["user_id"].to_list()
    assert not any(query.session for query in others)


def test_known_items_are_hidden_unless_repeats_count() -> None:
    data = bench_data()
    new, any_item = (
        read_past(data.test, data.items["item_id"], data.settings, repeats, None) for repeats in (False, True)
    )
    assert new.hidden().nnz == 30 * 5
    assert any_item.hidden().nnz == 0
    assert any_item.hidden().shape == (30, 40)

"""Rows of items: one by one as in a batch, and both as SciPy works them out."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from recsys.sparse_rows import ItemRows

N_ITEMS = 6
WEIGHTS = sp.csr_matrix(
    np.array(
        [[0, 2, 0, 0], [1, 0, 0, 3], [0, 0, 0, 0], [0, 0, 4, 0], [5, 0, 0, 0], [0, 1, 1, 0]],
        dtype=np.float32,
    )
)
ROWS = st.lists(
    st.dictionaries(st.integers(0, N_ITEMS - 1), st.floats(-4, 4, width=16), max_size=N_ITEMS), min_size=1, max_size=4
)


def rows_of(rows: list[dict[int, float]]) -> ItemRows:
    parts = [(np.array(list(row), dtype=np.int32), np.array(list(row.values()), dtype=np.float32)) for row in rows]
    return ItemRows.of(parts, N_ITEMS)


def test_each_item_brings_its_own_weights() -> None:
    rows = rows_of([{1: 2.0, 0: 0.5}])
    np.testing.assert_array_equal(rows.through(WEIGHTS), [[2.0, 1.0, 0.0, 6.0]])
    np.testing.assert_array_equal(rows.times(WEIGHTS.toarray()), [[2.0, 1.0, 0.0, 6.0]])


@given(ROWS)
def test_equals_the_dense_product_alone_and_in_a_batch(batch: list[dict[int, float]]) -> None:
    rows = rows_of(batch)
    dense = np.zeros((len(batch), N_ITEMS), dtype=np.float32)
    for number, row in enumerate(batch):
        dense[number, list(row)] = list(row.values())
    expected = dense @ WEIGHTS.toarray()
    np.testing.assert_array_equal(rows.toarray(), dense)
    for product in (rows.through(WEIGHTS), rows.times(WEIGHTS.toarray())):
        assert product.dtype == np.float32
        np.testing.assert_allclose(product, expected, rtol=1e-5, atol=1e-5)
    alone = [rows_of([row]).through(WEIGHTS)[0] for row in batch]
    np.testing.assert_allclose(alone, expected, rtol=1e-5, atol=1e-5)


def test_the_rows_of_a_matrix() -> None:
    dense = np.array([[0, 2, 0], [1, 0, 3]], dtype=np.float32)
    rows = ItemRows.of_matrix(sp.csr_matrix(dense))
    np.testing.assert_array_equal(rows.toarray(), dense)
    np.testing.assert_array_equal(rows.row(1)[0], [0, 2])


@pytest.mark.parametrize("n_rows", [1, 2])
def test_rows_without_items_come_to_nothing(n_rows: int) -> None:
    rows = rows_of([{}] * n_rows)
    assert len(rows) == n_rows
    assert rows.through(WEIGHTS).shape == (n_rows, 4)
    assert not rows.through(WEIGHTS).any()
    assert not rows.times(WEIGHTS.toarray()).any()

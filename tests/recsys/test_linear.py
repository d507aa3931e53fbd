import numpy as np
import pytest
import scipy.sparse as sp

from recsys.config import LinearSettings
from recsys.errors import DataError
from recsys.linear import fit_linear

NO_TEXT = np.zeros((3, 2), dtype=np.float32)
# three users: {0, 1}, {0, 1}, {2}
X = sp.csr_matrix(np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=np.float32))


def test_ease_by_hand() -> None:
    """G + I = [[3, 2, 0], [2, 3, 0], [0, 0, 2]]; its inverse is [[.6, -.4, 0], [-.4, .6, 0], [0, 0, .5]];
    B_ij = -P_ij / P_jj gives 2/3 between items 0 and 1 and nothing else."""
    weights = fit_linear(X, NO_TEXT, LinearSettings(regularization=1.0, text_weight=0.0))
    np.testing.assert_allclose(weights.toarray(), [[0, 2 / 3, 0], [2 / 3, 0, 0], [0, 0, 0]], atol=1e-6)


def test_the_text_term_by_hand() -> None:
    """Items 1 and 2 read the same. With text weight 1 the gram gains [[0, 0, 0], [0, 1, 1], [0, 1, 1]]:
    G + I + T = [[3, 2, 0], [2, 4, 1], [0, 1, 3]], whose inverse times 21 is [[11, -6, 2], [-6, 9, -3], [2, -3, 8]]."""
    text = np.array([[0, 0], [1, 0], [1, 0]], dtype=np.float32)
    weights = fit_linear(X, text, LinearSettings(regularization=1.0, text_weight=1.0))
    expected = [[0, 6 / 9, -2 / 8], [6 / 11, 0, 3 / 8], [-2 / 11, 3 / 9, 0]]
    np.testing.assert_allclose(weights.toarray(), expected, atol=1e-6)


def test_an_item_without_interactions_gets_weights_from_its_text() -> None:
    text = np.array([[1, 0], [0, 1], [1, 0]], dtype=np.float32)
    only_first_two = sp.csr_matrix(np.array([[1, 1, 0], [1, 1, 0]], dtype=np.float32))
    weights = fit_linear(only_first_two, text, LinearSettings(regularization=1.0, text_weight=1.0)).toarray()
    assert weights[0, 2] > 0


def test_how_much_and_how_often_do_not_count_only_presence() -> None:
    settings = LinearSettings(regularization=1.0)
    assert (fit_linear(X * 7, NO_TEXT, settings) != fit_linear(X, NO_TEXT, settings)).nnz == 0


def test_only_the_strongest_neighbours_are_kept() -> None:
    rng = np.random.default_rng(0)
    dense = sp.csr_matrix((rng.random((40, 12)) < 0.4).astype(np.float32))
    full = fit_linear(dense, np.zeros((12, 2), np.float32), LinearSettings(regularization=1.0, neighbours=12)).toarray()
    few = fit_linear(dense, np.zeros((12, 2), np.float32), LinearSettings(regularization=1.0, neighbours=3)).toarray()
    for row, pruned in zip(full, few, strict=True):
        strongest = np.sort(np.abs(row))[-3:]
        np.testing.assert_allclose(np.sort(np.abs(pruned))[-3:], strongest)
        assert np.count_nonzero(pruned) <= 3


def test_above_the_size_of_ease_neighbours_are_those_of_co_occurrence() -> None:
    """Counts (2, 2, 1), no shrinkage worth naming: items 0 and 1 always go together."""
    weights = fit_linear(X, NO_TEXT, LinearSettings(regularization=1e-6, text_weight=0.0, max_ease_items=2)).toarray()
    np.testing.assert_allclose(weights, [[0, 1, 0], [1, 0, 0], [0, 0, 0]], atol=1e-4)


def test_the_strongest_co_occurrences_are_kept_whether_or_not_there_is_text() -> None:
    """A text that only the last item has agrees with nothing: the weights are those without any text."""
    rng = np.random.default_rng(1)
    seen = sp.csr_matrix((rng.random((60, 700)) < 0.05).astype(np.float32))  # more than one block of items
    lonely = np.zeros((700, 2), dtype=np.float32)
    lonely[-1, 0] = 1.0
    settings = LinearSettings(regularization=5.0, max_ease_items=1, neighbours=5)
    without, beside = (fit_linear(seen, text, settings).toarray() for text in (lonely * 0, lonely))
    np.testing.assert_allclose(np.sort(without, axis=1)[:, -5:], np.sort(beside, axis=1)[:, -5:], rtol=1e-6)
    assert (np.count_nonzero(without, axis=1) <= 5).all()
    assert not without.diagonal().any()


def test_a_singular_matrix_names_the_remedy() -> None:
    twins = np.array([[1, 0], [1, 0], [1, 0]], dtype=np.float32)
    with pytest.raises(DataError, match=r"raise linear\.regularization"):
        fit_linear(
            sp.csr_matrix((1, 3), dtype=np.float32), twins * 1e6, LinearSettings(regularization=1e-30, text_weight=1e6)
        )

import numpy as np
import pytest
import scipy.sparse as sp

from features.factors import fit_bm25, fit_factors
from recsys.config import FactorsSettings

MODELS = ("als", "bpr", "lmf")


def two_circles(n_users: int = 60) -> sp.csr_matrix:
    """Half of the users like items 0 to 3, the others 4 to 7; nobody touches item 8."""
    rng = np.random.default_rng(0)
    X = np.zeros((n_users, 9), dtype=np.float32)
    for user in range(n_users):
        liked = rng.choice(4, 3, replace=False) + 4 * (user % 2)
        X[user, liked] = 1.0
    return sp.csr_matrix(X)


def settings(model: str) -> FactorsSettings:
    return FactorsSettings(model=model, dim=4, iterations=30)


@pytest.mark.parametrize("model", MODELS)
def test_items_of_one_circle_are_near_each_other(model: str) -> None:
    factors = fit_factors(two_circles(), settings(model), seed=1)
    unit = factors[:8] / np.linalg.norm(factors[:8], axis=1, keepdims=True)
    cosines = unit @ unit.T
    within = (cosines[:4, :4].sum() - 4 + cosines[4:, 4:].sum() - 4) / 24
    assert within > cosines[:4, 4:].mean() + 0.3


@pytest.mark.parametrize("model", MODELS)
def test_an_item_that_nobody_touched_has_no_factors(model: str) -> None:
    factors = fit_factors(two_circles(), settings(model), seed=1)
    assert factors.shape == (9, 4)
    assert factors.dtype == np.float32
    assert not factors[8].any()
    assert factors[:8].any(axis=1).all()


@pytest.mark.parametrize("model", MODELS)
def test_one_seed_gives_one_result(model: str) -> None:
    X = two_circles()
    np.testing.assert_array_equal(fit_factors(X, settings(model), 3), fit_factors(X, settings(model), 3))


@pytest.mark.parametrize("model", MODELS)
def test_a_shop_without_interactions_has_no_factors(model: str) -> None:
    assert not fit_factors(sp.csr_matrix((3, 5), dtype=np.float32), settings(model), 0).any()


def test_bm25_neighbours_are_of_the_same_circle_and_as_many_as_asked_for() -> None:
    weights = fit_bm25(two_circles(), neighbours=4, k1=1.2, b=0.4)
    dense = weights.toarray()
    assert dense.shape == (9, 9) and dense.dtype == np.float32
    assert (dense[:4, :4] > 0).all() and (dense[4:8, 4:8] > 0).all()
    assert not dense[:4, 4:].any() and not dense[4:8, :4].any()
    assert np.diff(fit_bm25(two_circles(), neighbours=2, k1=1.2, b=0.4).indptr).max() == 2


def test_the_larger_b_the_more_a_popular_item_loses() -> None:
    X = sp.csr_matrix(np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 0, 0]], dtype=np.float32))
    plain, levelled = (fit_bm25(X, neighbours=3, k1=1.2, b=b).diagonal() for b in (0.0, 1.0))
    assert levelled[0] / levelled[2] < plain[0] / plain[2]

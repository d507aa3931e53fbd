import numpy as np
import pytest

from recsys.embedding_health import health, nearest, neighbour_agreement, sampled_rows


def spread(n: int = 400, dim: int = 8) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, dim)).astype(np.float32)


def test_directions_that_are_used_alike_are_isotropic_and_use_every_dimension() -> None:
    figures = health(spread())
    assert figures.anisotropy == pytest.approx(0, abs=0.02)
    assert figures.effective_dim == pytest.approx(8, abs=0.3)
    assert (figures.n_vectors, figures.n_zero, figures.dim, figures.dead_dims) == (400, 0, 8, 0)


def test_a_common_direction_is_anisotropy() -> None:
    narrow = spread() + 10 * np.eye(8, dtype=np.float32)[0]
    assert health(narrow).anisotropy > 0.9


def test_anisotropy_is_the_mean_cosine_of_all_pairs() -> None:
    few = spread(5, 3)
    units = few / np.linalg.norm(few, axis=1, keepdims=True)
    cosines = units @ units.T
    assert health(few).anisotropy == pytest.approx(cosines[~np.eye(5, dtype=bool)].mean(), abs=1e-6)


def test_a_dimension_without_variance_is_dead() -> None:
    vectors = spread()
    vectors[:, 3] = 0.5
    assert health(vectors).dead_dims == 1


def test_one_point_that_is_everybodys_neighbour_is_a_hub() -> None:
    dim = 40
    star = np.concatenate([np.eye(dim), np.ones((1, dim))]).astype(np.float32)
    figures = health(star, k=1)
    assert figures.hubness > 5
    assert figures.orphan_share == pytest.approx(39 / 41)


def test_points_without_a_vector_are_counted_and_left_out() -> None:
    vectors = spread(10, 3)
    vectors[:4] = 0
    vectors[4] = np.nan
    figures = health(vectors)
    assert (figures.n_vectors, figures.n_zero) == (5, 5)


def test_too_few_vectors_have_no_health() -> None:
    figures = health(np.eye(2, 4, dtype=np.float32))
    assert (figures.n_vectors, figures.anisotropy, figures.hubness, figures.dead_dims) == (2, 0, 0, 0)


def test_a_rotated_space_has_the_same_neighbours_and_another_one_has_others() -> None:
    vectors = spread()
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0]
    assert neighbour_agreement(vectors, vectors @ rotation) == pytest.approx(1, abs=0.01)
    others = np.random.default_rng(2).normal(size=vectors.shape)
    assert neighbour_agreement(vectors, others) == pytest.approx(10 / 399, abs=0.02)


def test_spaces_without_common_points_agree_on_nothing() -> None:
    first, other = np.eye(4), np.eye(4)
    first[:2], other[2:] = 0, 0
    assert np.isnan(neighbour_agreement(first, other))


def test_nobody_is_its_own_neighbour() -> None:
    neighbours = nearest(np.eye(3, dtype=np.float32), k=10)
    assert neighbours.shape == (3, 2)
    assert all(row not in row_neighbours for row, row_neighbours in enumerate(neighbours.tolist()))


def test_a_sample_is_the_same_each_time() -> None:
    rows = np.arange(100)
    assert sampled_rows(rows, 0, 10).tolist() == sampled_rows(rows, 0, 10).tolist()
    assert sampled_rows(rows, 0, 100) is rows

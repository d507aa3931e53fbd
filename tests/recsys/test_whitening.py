import numpy as np

from recsys.whitening import fit_whitening, unit_rows


def test_whitened_directions_have_equal_variance_and_no_correlation() -> None:
    rng = np.random.default_rng(1)
    vectors = (rng.normal(size=(500, 4)) * [5, 2, 1, 0.1] + 3).astype(np.float32)
    whitening = fit_whitening(vectors, 4)
    centred = (vectors - whitening.mean) @ whitening.projection
    np.testing.assert_allclose(np.cov(centred.T), np.eye(4), atol=0.02)
    np.testing.assert_allclose(np.linalg.norm(whitening(vectors), axis=1), 1, rtol=1e-5)


def test_items_without_text_stay_zero_and_teach_nothing() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(50, 4)).astype(np.float32)
    with_gaps = np.vstack([vectors, np.zeros((10, 4), np.float32)])
    np.testing.assert_allclose(fit_whitening(with_gaps, 2).mean, fit_whitening(vectors, 2).mean)
    assert not fit_whitening(with_gaps, 2)(with_gaps)[50:].any()


def test_one_text_alone_passes_unchanged() -> None:
    vectors = np.array([[0.6, 0.8], [0, 0]], dtype=np.float32)
    np.testing.assert_allclose(fit_whitening(vectors, 2)(vectors), vectors)


def test_fewer_texts_than_dimensions() -> None:
    vectors = np.eye(6, dtype=np.float32)[:3]
    assert fit_whitening(vectors, 5)(vectors).shape == (3, 2)


def test_unit_rows_keeps_zero_rows() -> None:
    np.testing.assert_allclose(unit_rows(np.array([[3.0, 4.0], [0, 0]], dtype=np.float32)), [[0.6, 0.8], [0, 0]])

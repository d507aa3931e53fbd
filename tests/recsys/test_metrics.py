import numpy as np
import pytest

from recsys.metrics import hits, ndcg, quality, reciprocal_rank, target_ranks


def test_ties_count_against_the_target() -> None:
    scores = np.array([[0.5, 0.9, 0.5, 0.1]])
    assert target_ranks(scores, np.array([0])).tolist() == [2]
    assert target_ranks(scores, np.array([1])).tolist() == [0]


def test_a_hidden_target_is_last() -> None:
    assert target_ranks(np.array([[-np.inf, 1.0, -np.inf]]), np.array([0])).tolist() == [2]


def test_metrics_by_hand() -> None:
    ranks = np.array([0, 1, 9, 10])
    assert hits(ranks, 10).tolist() == [1, 1, 1, 0]
    assert ndcg(ranks, 10).tolist() == pytest.approx([1.0, 1 / np.log2(3), 1 / np.log2(11), 0.0])
    assert reciprocal_rank(ranks, 10).tolist() == pytest.approx([1.0, 0.5, 0.1, 0.0])


def test_quality_averages_over_users_and_counts_what_was_shown() -> None:
    measured = quality(np.array([0, 10]), np.array([[0, 1], [1, -1]]), n_items=4, k=10)
    assert (measured.n_users, measured.recall, measured.ndcg, measured.mrr) == (2, 0.5, 0.5, 0.5)
    assert measured.coverage == 0.5


def test_without_users_quality_is_zero_not_an_error() -> None:
    assert quality(np.array([]), np.zeros((0, 10), dtype=np.int64), n_items=4, k=10).n_users == 0

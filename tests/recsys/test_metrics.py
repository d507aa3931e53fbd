import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytrec_eval import RelevanceEvaluator

from recsys import metrics
from recsys.metrics import (
    average_precision,
    bootstrap_difference,
    bootstrap_interval,
    coverage,
    gini,
    hits,
    intra_list_diversity,
    ndcg,
    novelty,
    quality,
    recall,
    reciprocal_rank,
    shown_ranks,
    target_ranks,
)


def test_a_target_that_is_not_shown_or_is_no_item_stands_behind_the_list() -> None:
    shown = np.array([[7, 3, 5], [7, 3, -1], [2, -1, -1], [2, -1, -1]])
    assert shown_ranks(shown, np.array([5, 7, 9, -1])).tolist() == [2, 0, 3, 3]


def test_ties_count_against_the_target() -> None:
    scores = np.array([[0.5, 0.9, 0.5, 0.1]])
    assert target_ranks(scores, np.array([0])).tolist() == [2]
    assert target_ranks(scores, np.array([1])).tolist() == [0]


def test_a_hidden_target_is_last() -> None:
    assert target_ranks(np.array([[-np.inf, 1.0, -np.inf]]), np.array([0])).tolist() == [2]


def test_several_targets_stand_behind_other_items_of_their_score_and_not_behind_each_other() -> None:
    scores = np.array([[0.5, 0.9, 0.5, 0.5, 0.1]])
    assert target_ranks(scores, np.array([[0, 2]])).tolist() == [[2, 3]]  # behind items 1 and 3
    assert target_ranks(scores, np.array([[4, 1]])).tolist() == [[4, 0]]


def test_a_target_that_is_not_there_has_no_rank() -> None:
    scores = np.array([[0.5, 0.9, 0.1], [0.5, 0.9, 0.1]])
    assert target_ranks(scores, np.array([[1, 0], [2, -1]])).tolist() == [[0, 1], [2, -1]]


def test_metrics_of_one_target_by_hand() -> None:
    ranks = np.array([0, 1, 9, 10])
    assert hits(ranks, 10).tolist() == recall(ranks, 10).tolist() == [1, 1, 1, 0]
    assert ndcg(ranks, 10).tolist() == pytest.approx([1.0, 1 / np.log2(3), 1 / np.log2(11), 0.0])
    assert reciprocal_rank(ranks, 10).tolist() == pytest.approx([1.0, 0.5, 0.1, 0.0])
    assert average_precision(ranks, 10).tolist() == pytest.approx([1.0, 0.5, 0.1, 0.0])


def test_metrics_of_several_targets_by_hand() -> None:
    """Three targets at the first, fourth and eleventh place; and a user with one, at the second."""
    ranks = np.array([[10, 0, 3], [1, -1, -1]])
    assert recall(ranks, 10).tolist() == pytest.approx([2 / 3, 1.0])
    assert hits(ranks, 10).tolist() == [1.0, 1.0]
    assert reciprocal_rank(ranks, 10).tolist() == [1.0, 0.5]
    assert average_precision(ranks, 10).tolist() == pytest.approx([(1 / 1 + 2 / 4) / 3, 0.5])
    best = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert ndcg(ranks, 10).tolist() == pytest.approx([(1 + 1 / np.log2(5)) / best, 1 / np.log2(3)])


def test_the_best_list_has_no_more_places_than_are_shown() -> None:
    assert ndcg(np.array([[0, 1, 2]]), 2).tolist() == pytest.approx([1.0])


METRICS = (recall, hits, ndcg, reciprocal_rank, average_precision)


def of_trec(qrels: dict[str, dict[str, int]], run: dict[str, dict[str, float]], k: int) -> dict[str, float]:
    """Means over all users by trec_eval, whose reciprocal rank knows no end: the lists are cut beforehand."""
    top = {user: dict(sorted(scores.items(), key=lambda entry: -entry[1])[:k]) for user, scores in run.items()}
    measures = {f"recall.{k}", f"success.{k}", f"ndcg_cut.{k}", "recip_rank", f"map_cut.{k}"}
    measured = RelevanceEvaluator(qrels, measures).evaluate(top).values()
    return {
        name: float(np.mean([entry[measure] for entry in measured]))
        for name, measure in (
            ("recall", f"recall_{k}"),
            ("hits", f"success_{k}"),
            ("ndcg", f"ndcg_cut_{k}"),
            ("reciprocal_rank", "recip_rank"),
            ("average_precision", f"map_cut_{k}"),
        )
    }


@pytest.mark.parametrize("n_targets", [1, 4])
@pytest.mark.parametrize("k", [1, 5, 10])
def test_metrics_agree_with_trec_eval(n_targets: int, k: int) -> None:
    rng = np.random.default_rng(n_targets)
    n_users, n_items = 40, 30
    scores = rng.permuted(np.tile(np.arange(n_items, dtype=float), (n_users, 1)), axis=1)
    targets = rng.permuted(np.tile(np.arange(n_items), (n_users, 1)), axis=1)[:, :n_targets]
    qrels = {f"u{user}": {f"i{item}": 1 for item in row} for user, row in enumerate(targets)}
    run = {f"u{user}": {f"i{item}": score for item, score in enumerate(row)} for user, row in enumerate(scores)}
    ranks = target_ranks(scores, targets)
    assert {metric.__name__: metric(ranks, k).mean() for metric in METRICS} == pytest.approx(of_trec(qrels, run, k))


@given(
    st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=5, unique=True), min_size=1, max_size=5),
    st.integers(1, 20),
)
def test_every_metric_lies_between_0_and_1_and_does_not_rise_when_all_targets_sink(rows, k) -> None:
    ranks = np.full((len(rows), 5), -1)
    for user, row in enumerate(rows):
        ranks[user, : len(row)] = row
    for metric in METRICS:
        values = metric(ranks, k)
        assert ((values >= 0) & (values <= 1 + 1e-12)).all()
        assert (metric(np.where(ranks >= 0, ranks + 1, -1), k) <= values + 1e-12).all()


def test_coverage_is_the_share_of_items_in_any_list() -> None:
    assert coverage(np.array([[0, 1], [1, -1]]), 4) == 0.5


def test_novelty_is_the_information_in_bits_of_what_is_shown() -> None:
    """Of 7 users, all had item 0, 3 had item 1, none item 2: (1 + 7) / 8, (1 + 3) / 8, 1 / 8."""
    popularity = np.array([7, 3, 0])
    assert novelty(np.array([[0, -1]]), popularity, 7) == 0.0
    assert novelty(np.array([[1, 2]]), popularity, 7) == pytest.approx((1 + 3) / 2)
    assert novelty(np.array([[-1, -1]]), popularity, 7) == 0.0


def test_diversity_is_one_less_the_mean_cosine_of_pairs() -> None:
    vectors = np.array([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0], [0.0, 0.0]])
    assert intra_list_diversity(np.array([[0, 1]]), vectors) == pytest.approx(1.0)
    assert intra_list_diversity(np.array([[0, 0]]), vectors) == pytest.approx(0.0)
    three = 1 - (0 + 2 * np.sqrt(0.5)) / 3
    assert intra_list_diversity(np.array([[0, 1, 2]]), vectors) == pytest.approx(three)
    assert intra_list_diversity(np.array([[0, 1, 2], [0, 3, -1]]), vectors) == pytest.approx(three)
    assert intra_list_diversity(np.array([[3, -1]]), vectors) == 0.0


def test_gini_is_0_for_equal_exposure_and_near_1_for_one_item_in_every_list() -> None:
    assert gini(np.array([[0, 1], [2, 3]]), 4) == pytest.approx(0.0)
    assert gini(np.array([[0], [0], [0]]), 4) == pytest.approx(0.75)
    assert gini(np.array([[0], [1], [1], [1]]), 2) == pytest.approx(0.25)
    assert gini(np.array([[-1]]), 4) == 0.0


def test_an_interval_holds_the_mean_narrows_with_users_and_repeats_with_its_seed() -> None:
    values = np.random.default_rng(0).normal(3.0, 1.0, 1000)
    low, high = bootstrap_interval(values, seed=1)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 / np.sqrt(1000), rel=0.15)  # the normal approximation
    assert (low, high) == bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)
    assert bootstrap_interval(np.zeros(0), seed=1) == (0.0, 0.0)


def test_a_paired_difference_is_clear_where_the_noise_is_shared() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(0.0, 5.0, 200)  # how hard a user is, for both models
    better, worse = hard + 0.1, hard + rng.normal(0.0, 0.1, 200)
    low, high = bootstrap_difference(better, worse, seed=0)
    assert 0 < low < (better - worse).mean() < high
    assert bootstrap_interval(better, 0)[0] < worse.mean()  # which the intervals of both alone do not tell


def test_quality_averages_over_users_and_counts_what_was_shown() -> None:
    measured = quality(np.array([0, 10]), np.array([[0, 1], [1, -1]]), n_items=4, k=10)
    assert (measured.n_users, measured.recall, measured.ndcg, measured.mrr) == (2, 0.5, 0.5, 0.5)
    assert measured.coverage == 0.5


def test_without_users_quality_is_zero_not_an_error() -> None:
    assert quality(np.array([]), np.zeros((0, 10), dtype=np.int64), n_items=4, k=10).n_users == 0
    for metric in METRICS:
        assert metric(np.zeros(0, dtype=np.int64), metrics.RESAMPLES).tolist() == []

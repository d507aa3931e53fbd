from pathlib import Path

import numpy as np
import pytest

from recsys import config
from recsys.errors import StoreError
from recsys.ranking import CUT_RANK, Proposals, Ranker, feature_names, fit_ranker, propose, ranked_ndcg

NOTHING_HIDDEN = np.zeros(0, dtype=np.int64)
LINEAR = [3.0, 2.0, 1.0, 0.0, -1.0]
TEXT = [-1.0, 0.0, 1.0, 2.0, 3.0]
AGES = np.array([[10.0], [11.0], [12.0], [13.0], [14.0]], dtype=np.float32)


def proposed(scores: list[list[float]], hidden: list[int], pool: int) -> Proposals:
    return propose(np.array(scores, dtype=np.float32), np.array(hidden, dtype=np.int64), AGES, pool)


def test_features_are_named_source_by_source_and_then_the_items_own() -> None:
    assert feature_names(["linear", "text"], ["age"]) == [
        "linear_score",
        "linear_place",
        "text_score",
        "text_place",
        "age",
    ]


def test_each_source_proposes_its_best_and_every_source_judges_them_all() -> None:
    proposals = proposed([LINEAR, TEXT], [], pool=1)
    assert proposals.item_rows.tolist() == [0, 4]
    assert proposals.features.dtype == np.float32
    last = np.log1p(4)
    np.testing.assert_allclose(
        proposals.features, [[3.0, 0.0, -1.0, last, 10.0], [-1.0, last, 3.0, 0.0, 14.0]], rtol=1e-6
    )


def test_what_may_not_be_shown_is_not_proposed_and_takes_no_place() -> None:
    proposals = proposed([LINEAR, TEXT], [0, 4, 4], pool=2)
    assert proposals.item_rows.tolist() == [1, 2, 3]
    np.testing.assert_allclose(proposals.features[:, 1], np.log1p([0, 1, 2]), rtol=1e-6)  # places by linear
    np.testing.assert_allclose(proposals.features[:, 3], np.log1p([2, 1, 0]), rtol=1e-6)  # places by text


def test_a_silent_source_proposes_nothing_and_its_place_is_the_last_of_all() -> None:
    proposals = proposed([LINEAR, [0.0] * 5], [], pool=1)
    assert proposals.item_rows.tolist() == [0]
    np.testing.assert_allclose(proposals.features, [[3.0, 0.0, 0.0, np.log1p(CUT_RANK), 10.0]], rtol=1e-6)


def test_places_beyond_the_cut_are_one() -> None:
    n = CUT_RANK + 40
    scores = np.stack([np.arange(n, 0, -1), np.arange(n)]).astype(np.float32)  # opposite orders
    proposals = propose(scores, NOTHING_HIDDEN, np.zeros((n, 0), dtype=np.float32), pool=2)
    assert proposals.item_rows.tolist() == [0, 1, n - 2, n - 1]
    np.testing.assert_allclose(np.expm1(proposals.features[:, 1]), [0, 1, CUT_RANK, CUT_RANK], rtol=1e-5)


@pytest.mark.parametrize(
    ("scores", "hidden"), [([LINEAR, TEXT], [0, 1, 2, 3, 4]), ([[0.0] * 5, [0.0] * 5], [])], ids=["hidden", "silent"]
)
def test_where_nothing_can_be_proposed_nothing_is_ranked(scores: list[list[float]], hidden: list[int]) -> None:
    proposals = proposed(scores, hidden, pool=3)
    assert proposals.item_rows.tolist() == []
    assert proposals.features.shape == (0, 5)
    assert fitted().scores(proposals.features[:, :2]).tolist() == []


def test_the_pool_may_be_larger_than_the_shop_and_scores_stay_as_they_were() -> None:
    scores = np.array([LINEAR, TEXT], dtype=np.float32)
    proposals = propose(scores, np.array([2]), AGES, pool=100)
    assert proposals.item_rows.tolist() == [0, 1, 3, 4]
    np.testing.assert_array_equal(scores, np.array([LINEAR, TEXT], dtype=np.float32))


SMALL = config.RankingSettings(min_leaf=5, trees=20)
NAMES = ["linear_score", "linear_place"]


def choices(n_users: int = 40, seed: int = 0) -> tuple[list[Proposals], np.ndarray]:
    """Each of the shoppers takes the item of largest second feature among ten; the first says nothing."""
    rng = np.random.default_rng(seed)
    proposals, targets = [], []
    for _ in range(n_users):
        rows = np.sort(rng.choice(100, size=10, replace=False))
        features = rng.normal(size=(10, 2)).astype(np.float32)
        proposals.append(Proposals(rows, features))
        targets.append(rows[features[:, 1].argmax()])
    return proposals, np.array(targets)


def fitted() -> Ranker:
    return fit_ranker(*choices(), NAMES, SMALL, seed=0)


def test_the_trees_find_what_the_choices_follow() -> None:
    proposals, targets = choices(seed=1)
    ranker = fitted()
    by_trees = ranked_ndcg([ranker.scores(proposal.features) for proposal in proposals], proposals, targets)
    by_noise = ranked_ndcg([proposal.features[:, 0] for proposal in proposals], proposals, targets)
    assert by_trees.mean() > 0.8 > by_noise.mean() + 0.2
    assert ranker.names == tuple(NAMES)


def test_equal_input_gives_equal_trees() -> None:
    assert fitted() == fitted()
    assert fitted() != fit_ranker(*choices(), NAMES, SMALL, seed=1)


def test_a_shopper_who_chose_what_nobody_proposed_teaches_nothing() -> None:
    proposals, targets = choices()
    missed, _ = choices(seed=2)
    with_missed = fit_ranker([*missed[:3], *proposals], np.array([999, 999, 999, *targets]), NAMES, SMALL, seed=0)
    assert with_missed == fitted()


def test_more_is_asked_of_a_leaf_than_there_is_and_all_rank_alike() -> None:
    ranker = fit_ranker(*choices(), NAMES, SMALL.model_copy(update={"min_leaf": 10_000}), seed=0)
    assert len(set(ranker.scores(choices()[0][0].features))) == 1


def test_what_is_not_known_of_an_item_is_no_obstacle() -> None:
    scores = fitted().scores(np.array([[np.nan, 1.0], [0.0, np.nan]], dtype=np.float32))
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()


def test_comes_back_from_its_file_to_the_bit(tmp_path: Path) -> None:
    ranker, (proposals, _) = fitted(), choices()
    ranker.save(tmp_path / "ranker.txt")
    again = Ranker.load(tmp_path / "ranker.txt")
    assert again == ranker
    np.testing.assert_array_equal(again.scores(proposals[0].features), ranker.scores(proposals[0].features))


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"no trees here",
        lambda content: content[: len(content) // 2],
        lambda content: content[:200],
        lambda content: b"\xff\xfe" + content,
        lambda content: content.replace(b"num_class=1", b"num_class=x"),
        lambda content: content.replace(b"split_feature=", b"split_feature=7 "),
    ],
    ids=["empty", "other", "half", "header", "bytes", "number", "feature"],
)
def test_a_damaged_file_is_refused_with_what_to_do(damage, tmp_path: Path) -> None:
    path = tmp_path / "ranker.txt"
    fitted().save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StoreError, match=r"ranker\.txt: ranker cannot be read .*run `recsys nightly` again"):
        Ranker.load(path)


def test_a_missing_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="run `recsys nightly` again"):
        Ranker.load(tmp_path / "ranker.txt")


def test_a_target_counts_by_its_place_ties_count_against_it_and_one_not_proposed_for_nothing() -> None:
    rows = np.array([2, 5, 7])
    proposals = [Proposals(rows, np.zeros((3, 0), np.float32))] * 4
    scores = [np.array(row, dtype=np.float32) for row in ([3, 2, 1], [3, 2, 1], [1, 1, 1], [3, 2, 1])]
    measured = ranked_ndcg(scores, proposals, np.array([2, 7, 5, 4]))
    np.testing.assert_allclose(measured, [1.0, 1 / np.log2(4), 1 / np.log2(4), 0.0])


def test_what_the_features_add_sums_up_to_the_score() -> None:
    ranker, (proposals, _) = fitted(), choices()
    added = ranker.contributions(proposals[0].features)
    assert added.shape == (10, len(NAMES) + 1)
    np.testing.assert_allclose(added.sum(axis=1), ranker.scores(proposals[0].features), atol=1e-5)
    assert np.abs(added[:, 1]).mean() > np.abs(added[:, 0]).mean()  # choices follow the second feature
    assert ranker.contributions(np.zeros((0, 2), np.float32)).shape == (0, len(NAMES) + 1)

import numpy as np
import pytest
from storefronts import tiny_model

from recsys.fusion import QUERY_TEXT, Fusion, fit_fusion, join_pools, make_pool, z_scores
from recsys.repeats import Repeats

POPULARITY = np.array([0.0, 30.0, 300.0], dtype=np.float32)
NOTHING_ASKED = np.zeros(1, dtype=np.float32)
TWO_ALIKE = z_scores(np.array([[[1.0, 2.0, 3.0]], [[1.0, 2.0, 3.0]]], dtype=np.float32))
"""(2 sources, 1 shopper, 3 items) z-scores."""


def test_z_scores_have_mean_0_and_deviation_1_and_silence_stays_0() -> None:
    standard = z_scores(np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]], dtype=np.float32))
    np.testing.assert_allclose(standard, [[-1.2247449, 0, 1.2247449], [0, 0, 0]], rtol=1e-6)


def test_contributions_add_up_weighted_and_text_fades_with_an_items_own_data() -> None:
    fusion = Fusion(weights={"linear": 4.0, "text": 2.0}, fade_items=30.0)
    (fused,) = fusion.fused(["linear", "text"], TWO_ALIKE, POPULARITY, NOTHING_ASKED)
    z = np.array([-1.2247449, 0, 1.2247449])
    linear, text = fused.added(np.arange(3))
    np.testing.assert_allclose(linear, 2 / 3 * z, rtol=1e-6)
    np.testing.assert_allclose(text, 1 / 3 * z * [1, 1 / 2, 1 / 11], rtol=1e-6)
    np.testing.assert_allclose(fused.totals, linear + text, rtol=1e-6)
    np.testing.assert_array_equal(fused.added(np.array([2, 0])), fused.added(np.arange(3))[:, [2, 0]])


def test_a_silent_source_leaves_its_share_to_those_that_know_the_shopper() -> None:
    fusion = Fusion(weights={"linear": 0.5, "text": 0.3, "trending": 0.2})
    speaks = np.array([[True, False, False], [True, True, False], [True, True, True]])
    shares = fusion.shares(["linear", "text", "trending"], speaks)
    np.testing.assert_allclose(shares.T, [[0.5, 0.3, 0.2], [0.0, 0.8, 0.2], [0.0, 0.0, 0.2]], rtol=1e-6)


def test_a_sentence_counts_as_much_as_it_is_asked_to() -> None:
    text_weight = np.array([2.0], dtype=np.float32)
    fusion, names = Fusion(weights={"linear": 7.0}), ["linear", "query_text"]
    (fused,) = fusion.fused(names, TWO_ALIKE, POPULARITY, text_weight)
    linear, sentence = fused.added(np.arange(3))
    np.testing.assert_allclose(sentence, 2 * linear, rtol=1e-6)
    (unasked,) = fusion.fused(names, TWO_ALIKE, POPULARITY, NOTHING_ASKED)
    assert unasked.speaks.tolist() == [True, False]
    np.testing.assert_allclose(unasked.totals, linear, rtol=1e-6)


def test_each_shopper_has_scores_of_their_own() -> None:
    two = z_scores(np.array([[[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]], dtype=np.float32))
    first, second = Fusion(weights={"linear": 1.0}).fused(["linear"], two, POPULARITY, np.zeros(2, np.float32))
    np.testing.assert_allclose(first.totals, two[0, 0], rtol=1e-6)
    np.testing.assert_allclose(second.totals, two[0, 1], rtol=1e-6)


def test_a_further_source_adds_its_scores_as_they_are() -> None:
    (fused,) = Fusion(weights={"text": 1.0}).fused(["text"], TWO_ALIKE[:1], POPULARITY, NOTHING_ASKED)
    further = fused.with_source(np.array([0.0, 0.5, 0.0], dtype=np.float32))
    np.testing.assert_allclose(further.totals - fused.totals, [0.0, 0.5, 0.0], atol=1e-6)
    np.testing.assert_allclose(further.added(np.arange(3))[1], [0.0, 0.5, 0.0])
    assert len(fused.speaks) == 1


def test_every_source_but_the_sentence_has_a_weight_from_the_start() -> None:
    names = {source.name for source in tiny_model(repeats=Repeats(allowed=True)).sources()}
    assert Fusion().weights.keys() == names - {QUERY_TEXT}


def test_fusion_survives_saving_and_loading_even_without_fading(tmp_path) -> None:
    fusion = Fusion(weights={"linear": 0.5}, fade_items=float("inf"), position_decay=0.9, session_text=0.35)
    fusion.save(tmp_path / "fusion.json")
    assert Fusion.load(tmp_path / "fusion.json") == fusion


def test_the_fusion_of_a_release_from_before_session_texts_were_weighed_is_read(tmp_path) -> None:
    stored = tmp_path / "fusion.json"
    stored.write_text('{"weights": {"linear": 0.5}, "fade_items": "inf", "position_decay": 0.9}')
    assert Fusion.load(stored) == Fusion({"linear": 0.5}, float("inf"), 0.9, session_text=1.0)


def pool_where_only_the_first_source_knows(n_users: int = 60):
    """Source "good" puts each target first; source "noise" draws at random."""
    rng = np.random.default_rng(3)
    targets = rng.integers(0, 40, n_users)
    good = np.zeros((n_users, 40), dtype=np.float32)
    good[np.arange(n_users), targets] = 1.0
    noise = rng.normal(size=(n_users, 40)).astype(np.float32)
    allowed = np.ones((n_users, 40), dtype=bool)
    text_weight, popularity = np.zeros(n_users, dtype=np.float32), np.zeros(40, dtype=np.float32)
    return make_pool(["good", "noise"], np.stack([good, noise]), allowed, text_weight, popularity, targets, 40)


def test_the_source_that_knows_gets_the_weight() -> None:
    start = Fusion(weights={"good": 0.05, "noise": 2.0})
    fusion, reached = fit_fusion(pool_where_only_the_first_source_knows(), start)
    assert fusion.weights["good"] > start.weights["good"]
    assert reached == 1.0


def test_fitting_is_determined_by_its_input() -> None:
    start = Fusion(weights={"good": 0.5, "noise": 0.5})
    pool = pool_where_only_the_first_source_knows()
    assert fit_fusion(pool, start) == fit_fusion(pool, start)


@pytest.mark.parametrize(("follows", "least", "most"), [(True, 0.5, 2.0), (False, 0.02, 0.1)])
def test_how_much_the_session_text_counts_is_learned(follows: bool, least: float, most: float) -> None:
    """Half the shoppers searched. Where they then choose what they searched for, the search gets weight; else none."""
    rng = np.random.default_rng(4)
    n_users, n_items = 60, 40
    history, search = rng.normal(size=(2, n_users, n_items)).astype(np.float32)
    text_weight = np.where(np.arange(n_users) % 2, 2.0, 0.0).astype(np.float32)
    search[text_weight == 0] = 0.0
    followed = np.where((text_weight > 0)[:, None] & follows, search, history)
    allowed, popularity = np.ones((n_users, n_items), dtype=bool), np.zeros(n_items, dtype=np.float32)
    pool = make_pool(
        ["linear", "query_text"],
        np.stack([history, search]),
        allowed,
        text_weight,
        popularity,
        followed.argmax(axis=1),
        40,
    )
    fusion, reached = fit_fusion(pool, Fusion(weights={"linear": 1.0}))
    assert least <= fusion.session_text <= most
    assert fusion.weights.keys() == {"linear"}
    assert reached > 0.9


def test_a_target_that_no_source_proposes_is_a_miss() -> None:
    scores = np.array([[[3.0, 2.0, 1.0, 0.0]]], dtype=np.float32)
    popularity = np.zeros(4, np.float32)
    pool = make_pool(["only"], scores, np.ones((1, 4), bool), NOTHING_ASKED, popularity, np.array([3]), 2)
    assert pool.target.tolist() == [-1]
    assert fit_fusion(pool, Fusion(weights={"only": 1.0}))[1] == 0.0


def test_what_may_not_be_shown_is_not_in_the_pool() -> None:
    scores = np.array([[[3.0, 2.0, 1.0, 0.0]]], dtype=np.float32)
    allowed = np.array([[False, True, True, True]])
    pool = make_pool(["only"], scores, allowed, NOTHING_ASKED, np.zeros(4, np.float32), np.array([1]), 2)
    assert pool.valid.sum() == 2
    assert pool.target.tolist() == [0]


@pytest.mark.parametrize("sizes", [(1, 3), (3, 1), (2, 2)])
def test_pools_of_different_width_join(sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    pools = [
        make_pool(
            ["a", "b"],
            rng.normal(size=(2, 2, 6)).astype(np.float32),
            np.ones((2, 6), bool),
            np.array([0, size], dtype=np.float32),
            np.arange(6, dtype=np.float32),
            np.array([0, 5]),
            size,
        )
        for size in sizes
    ]
    joined = join_pools(pools)
    assert joined.target.tolist() == [*pools[0].target, *pools[1].target]
    assert joined.valid.sum() == sum(pool.valid.sum() for pool in pools)
    assert joined.scores.shape[1:] == joined.valid.shape
    assert joined.text_weight.tolist() == [0, sizes[0], 0, sizes[1]]

"""The contract that every candidate source keeps, and what each of them finds."""

import numpy as np
import pytest
import scipy.sparse as sp
from storefronts import ITEM_IDS, TEXT, tiny_model

from recsys.candidates import Shoppers, Source
from recsys.fusion import IMPERSONAL
from recsys.model import Model

SOURCES = {source.name: source for source in tiny_model().sources()}
PERSONAL = sorted(SOURCES.keys() - IMPERSONAL)


def shoppers(*histories: dict[str, float], browsing: int | None = None, sentence: int | None = None) -> Shoppers:
    """Histories by item id; browsing and sentence point at the item whose text they equal."""
    matrix = np.zeros((len(histories), 5), dtype=np.float32)
    for row, history in enumerate(histories):
        for item_id, weight in history.items():
            matrix[row, ITEM_IDS.index(item_id)] = weight
    nothing = np.zeros((len(histories), 3), dtype=np.float32)
    return Shoppers(
        sp.csr_matrix(matrix),
        nothing if browsing is None else np.repeat(TEXT[[browsing]], len(histories), axis=0),
        nothing if sentence is None else np.repeat(TEXT[[sentence]], len(histories), axis=0),
        np.ones(len(histories), dtype=np.float32),
    )


@pytest.fixture(params=sorted(SOURCES))
def source(request: pytest.FixtureRequest) -> Source:
    return SOURCES[request.param]


def test_scores_every_item_for_every_shopper(source: Source) -> None:
    scores = source.scores(shoppers({"mouse": 1.0}, {}, {"kettle": 0.5, "lamp": 0.1}))
    assert scores.shape == (3, 5)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", PERSONAL)
def test_says_nothing_of_a_shopper_without_evidence(name: str) -> None:
    assert not SOURCES[name].scores(shoppers({})).any()


def test_a_shopper_scores_the_same_alone_and_in_a_batch(source: Source) -> None:
    histories = [{"keyboard": 1.0}, {}, {"teapot": 0.3, "lamp": 1.0}]
    together = source.scores(shoppers(*histories, browsing=1, sentence=2))
    alone = [source.scores(shoppers(history, browsing=1, sentence=2))[0] for history in histories]
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


def test_is_determined_by_its_input(source: Source) -> None:
    batch = shoppers({"keyboard": 1.0, "lamp": 0.2}, browsing=0)
    np.testing.assert_array_equal(source.scores(batch), source.scores(batch))


def test_leaves_its_input_as_it_was(source: Source) -> None:
    batch = shoppers({"keyboard": 1.0}, browsing=0, sentence=1)
    before = (batch.history.toarray(), batch.browsing.copy(), batch.sentence.copy())
    source.scores(batch)
    for was, now in zip(before, (batch.history.toarray(), batch.browsing, batch.sentence), strict=True):
        np.testing.assert_array_equal(was, now)


def test_survives_saving_and_loading(source: Source, tmp_path) -> None:
    tiny_model().save(tmp_path)
    loaded = {again.name: again for again in Model.load(tmp_path).sources()}[source.name]
    batch = shoppers({"mouse": 1.0}, {}, browsing=0, sentence=4)
    np.testing.assert_array_equal(loaded.scores(batch), source.scores(batch))


@pytest.mark.parametrize("name", ["linear", "factors", "text"])
def test_history_sources_find_what_goes_with_the_history(name: str) -> None:
    scores = SOURCES[name].scores(shoppers({"keyboard": 1.0}))[0]
    scores[ITEM_IDS.index("keyboard")] = -np.inf
    assert ITEM_IDS[scores.argmax()] == "mouse"


@pytest.mark.parametrize(("name", "given"), [("browsing", {"browsing": 4}), ("sentence", {"sentence": 4})])
def test_text_sources_find_what_reads_alike(name: str, given: dict[str, int]) -> None:
    scores = SOURCES[name].scores(shoppers({}, **given))[0]
    assert [ITEM_IDS[row] for row in np.argsort(-scores)[:2]] == ["teapot", "kettle"]


@pytest.mark.parametrize("name", sorted(IMPERSONAL))
def test_what_sells_is_the_same_for_everyone(name: str) -> None:
    scores = SOURCES[name].scores(shoppers({"kettle": 1.0}, {}))
    np.testing.assert_array_equal(scores[0], scores[1])
    assert ITEM_IDS[scores[0].argmax()] == "keyboard"


def test_factors_solve_the_users_least_squares() -> None:
    """(Y'Y + reg I + sum (c - 1) y y') x = sum c y, with c = alpha * weight (Hu et al. 2008)."""
    factors = tiny_model().factors
    x = factors.user_factors(shoppers({"mouse": 0.5}).history)[0].astype(np.float64)
    Y = factors.item_factors.astype(np.float64)
    y, c = Y[ITEM_IDS.index("mouse")], 10.0 * 0.5
    A = Y.T @ Y + 0.01 * np.eye(2) + (c - 1) * np.outer(y, y)
    np.testing.assert_allclose(A @ x, c * y, rtol=1e-4)

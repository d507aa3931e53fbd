"""The contract that every candidate source keeps, and what each of them finds."""

from dataclasses import replace

import numpy as np
import pytest
from storefronts import ITEM_IDS, TEXT, tiny_model

from recsys.candidates import Shoppers, Source
from recsys.fusion import IMPERSONAL
from recsys.model import Model
from recsys.repeats import Repeats
from recsys.sparse_rows import ItemRows

MODEL = tiny_model(repeats=Repeats(allowed=True))
SOURCES = {source.name: source for source in MODEL.sources()}
PERSONAL = sorted(SOURCES.keys() - IMPERSONAL)
VECTORS = MODEL.sequence.item_vectors


def shoppers(
    *histories: dict[str, float],
    bought: dict[str, float] | None = None,
    query_vectors: int | None = None,
    browsing: int | None = None,
    query_text: int | None = None,
) -> Shoppers:
    """Histories by item id, what all of them bought too; query_vectors, browsing and query_text
    point at the item whose vector or text they equal."""
    n = len(histories)
    nothing = np.zeros((n, 3), dtype=np.float32)
    return Shoppers(
        history=by_item(*histories),
        query_vectors=np.zeros_like(VECTORS[:n])
        if query_vectors is None
        else np.repeat(VECTORS[[query_vectors]], n, axis=0),
        bought=by_item(*[bought or {}] * n),
        browsing=nothing if browsing is None else np.repeat(TEXT[[browsing]], n, axis=0),
        query_text=nothing if query_text is None else np.repeat(TEXT[[query_text]], n, axis=0),
        text_weight=np.ones(n, dtype=np.float32),
    )


def by_item(*rows: dict[str, float]) -> ItemRows:
    row_parts = [
        (np.array([ITEM_IDS.index(item_id) for item_id in row], dtype=np.int32), list(row.values())) for row in rows
    ]
    return ItemRows.of([(items, np.array(values, dtype=np.float32)) for items, values in row_parts], len(ITEM_IDS))


@pytest.fixture(params=sorted(SOURCES))
def source(request: pytest.FixtureRequest) -> Source:
    return SOURCES[request.param]


def test_all_sources_are_told_apart_by_name() -> None:
    assert len(SOURCES) == len(MODEL.sources()) == 9
    assert SOURCES.keys() - {source.name for source in tiny_model().sources()} == {"buy_again"}  # nothing may come back


def test_scores_every_item_for_every_shopper(source: Source) -> None:
    scores = source.scores(
        shoppers({"mouse": 1.0}, {}, {"kettle": 0.5, "lamp": 0.1}, bought={"mouse": 0.7}, query_vectors=2)
    )
    assert scores.shape == (3, 5)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", PERSONAL)
def test_says_nothing_of_a_shopper_without_evidence(name: str) -> None:
    assert not SOURCES[name].scores(shoppers({})).any()


def test_a_shopper_scores_the_same_alone_and_in_a_batch(source: Source) -> None:
    histories = [{"keyboard": 1.0}, {}, {"teapot": 0.3, "lamp": 1.0}]
    beside = {"bought": {"keyboard": 0.5}, "query_vectors": 3, "browsing": 1, "query_text": 2}
    together = source.scores(shoppers(*histories, **beside))
    alone = [source.scores(shoppers(history, **beside))[0] for history in histories]
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


def test_is_determined_by_its_input(source: Source) -> None:
    batch = shoppers({"keyboard": 1.0, "lamp": 0.2}, bought={"lamp": 0.5}, query_vectors=1, browsing=0)
    np.testing.assert_array_equal(source.scores(batch), source.scores(batch))


def test_leaves_its_input_as_it_was(source: Source) -> None:
    batch = shoppers({"keyboard": 1.0}, bought={"lamp": 0.5}, query_vectors=1, browsing=0, query_text=1)
    copy = replace(
        batch,
        history=replace(batch.history, values=batch.history.values.copy()),
        bought=replace(batch.bought, values=batch.bought.values.copy()),
        query_vectors=batch.query_vectors.copy(),
        browsing=batch.browsing.copy(),
        query_text=batch.query_text.copy(),
    )
    source.scores(batch)
    for name in ("history", "bought"):
        np.testing.assert_array_equal(getattr(batch, name).toarray(), getattr(copy, name).toarray())
    for name in ("query_vectors", "browsing", "query_text"):
        np.testing.assert_array_equal(getattr(batch, name), getattr(copy, name))


def test_survives_saving_and_loading(source: Source, tmp_path) -> None:
    MODEL.save(tmp_path)
    loaded = {again.name: again for again in Model.load(tmp_path).sources()}[source.name]
    batch = shoppers({"mouse": 1.0}, {}, bought={"lamp": 0.5}, query_vectors=1, browsing=0, query_text=4)
    np.testing.assert_array_equal(loaded.scores(batch), source.scores(batch))


@pytest.mark.parametrize("name", ["linear", "factors", "text"])
def test_history_sources_find_what_goes_with_the_history(name: str) -> None:
    scores = SOURCES[name].scores(shoppers({"keyboard": 1.0}))[0]
    scores[ITEM_IDS.index("keyboard")] = -np.inf
    assert ITEM_IDS[scores.argmax()] == "mouse"


@pytest.mark.parametrize(("name", "given"), [("browsing", {"browsing": 4}), ("query_text", {"query_text": 4})])
def test_text_sources_find_what_reads_alike(name: str, given: dict[str, int]) -> None:
    scores = SOURCES[name].scores(shoppers({}, **given))[0]
    assert [ITEM_IDS[row] for row in np.argsort(-scores)[:2]] == ["teapot", "kettle"]


def test_what_is_expected_next_is_what_lies_near_the_query_vector() -> None:
    (scores,) = SOURCES["sequence"].scores(shoppers({}, query_vectors=4))
    assert [ITEM_IDS[row] for row in np.argsort(-scores)[:2]] == ["teapot", "kettle"]
    assert scores[4] == pytest.approx(1.0)  # a unit vector with itself


def test_what_was_bought_is_called_for_as_often_as_its_buyers_return_to_it() -> None:
    (scores,) = SOURCES["buy_again"].scores(shoppers({"teapot": 1.0}, bought={"kettle": 2.0, "keyboard": 0.5}))
    np.testing.assert_allclose(scores, [2.0 * 0.1, 0.5 * 0.3, 0, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("name", sorted(IMPERSONAL))
def test_what_sells_is_the_same_for_everyone(name: str) -> None:
    scores = SOURCES[name].scores(shoppers({"kettle": 1.0}, {}))
    np.testing.assert_array_equal(scores[0], scores[1])
    assert ITEM_IDS[scores[0].argmax()] == "keyboard"


def test_factors_solve_the_users_least_squares() -> None:
    """(Y'Y + reg I + sum (c - 1) y y') x = sum c y, with c = alpha * weight (Hu et al. 2008)."""
    factors = MODEL.factors
    x = factors.user_factors(shoppers({"mouse": 0.5}).history)[0].astype(np.float64)
    Y = factors.item_factors.astype(np.float64)
    y, c = Y[ITEM_IDS.index("mouse")], 10.0 * 0.5
    A = Y.T @ Y + 0.01 * np.eye(2) + (c - 1) * np.outer(y, y)
    np.testing.assert_allclose(A @ x, c * y, rtol=1e-4)

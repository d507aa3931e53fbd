"""A model on disk: what it answers once loaded is in test_candidates.py, source by source."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from storefronts import READER, tiny_model, tiny_recommender

from recsys.config import RankingSettings
from recsys.errors import StoreError
from recsys.fusion import Fusion
from recsys.model import RANKER_FILE, Model
from recsys.ranking import Proposals, Ranker, fit_ranker
from recsys.repeats import Repeats

BUYS = Repeats(allowed=True, after_days=3.0, share=0.25, half_life_days=45.0)


def ranker() -> Ranker:
    rng = np.random.default_rng(0)
    names = tiny_recommender(repeats=BUYS).feature_names
    proposals = [Proposals(np.arange(5), rng.normal(size=(5, len(names))).astype(np.float32)) for _ in range(20)]
    return fit_ranker(proposals, rng.integers(0, 5, 20), names, RankingSettings(min_leaf=2, trees=3), seed=0)


def full_model() -> Model:
    """With all that a model may have."""
    rng = np.random.default_rng(1)
    return tiny_model(
        sequence=READER,
        repeats=BUYS,
        promise=rng.normal(size=5).astype(np.float32),
        item_features=rng.normal(size=tiny_model().item_features.shape).astype(np.float32),
        fusion=Fusion(fade_items=7.0, position_decay=0.9),
        ranker=ranker(),
    )


def test_all_parts_come_back(tmp_path: Path) -> None:
    model = full_model()
    model.save(tmp_path / "model")
    again = Model.load(tmp_path / "model")
    assert again.item_ids.equals(model.item_ids)
    assert (again.repeats, again.fusion, again.ranker) == (model.repeats, model.fusion, model.ranker)
    np.testing.assert_array_equal(again.linear.toarray(), model.linear.toarray())
    np.testing.assert_array_equal(again.sequence.item_vectors, model.sequence.item_vectors)
    np.testing.assert_array_equal(again.factors.item_factors, model.factors.item_factors)
    arrays = [field.name for field in fields(Model) if isinstance(getattr(model, field.name), np.ndarray)]
    assert {"text", "whitened", "popularity", "trend", "repeat_rates", "promise", "item_features"} == set(arrays)
    for name in arrays:
        np.testing.assert_array_equal(getattr(again, name), getattr(model, name), err_msg=name)


def test_a_model_without_a_ranker_comes_back_without_one(tmp_path: Path) -> None:
    tiny_model().save(tmp_path)
    assert not (tmp_path / RANKER_FILE).exists()
    assert Model.load(tmp_path).ranker is None


def is_mapped(array: np.ndarray) -> bool:
    while array.base is not None and not isinstance(array, np.memmap):
        array = array.base
    return isinstance(array, np.memmap)


def test_loaded_arrays_are_mapped_not_read(tmp_path: Path) -> None:
    full_model().save(tmp_path)
    again = Model.load(tmp_path)
    for array in (again.text, again.item_features, again.linear.data, again.factors.item_factors):
        assert is_mapped(array)


@pytest.mark.parametrize(
    "name",
    ["item_ids.parquet", "item_features.npy", "promise.npy", "repeats.json", "fusion.json", "sequence.safetensors"],
)
@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_a_missing_or_damaged_file_is_refused_with_what_to_do(name: str, content: bytes | None, tmp_path: Path) -> None:
    full_model().save(tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(StoreError, match="run `recsys nightly` again"):
        Model.load(tmp_path)


def test_a_damaged_ranker_is_refused_not_left_out(tmp_path: Path) -> None:
    full_model().save(tmp_path)
    (tmp_path / RANKER_FILE).write_text("nonsense")
    with pytest.raises(StoreError, match=RANKER_FILE):
        Model.load(tmp_path)

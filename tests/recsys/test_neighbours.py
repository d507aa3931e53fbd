import numpy as np
import pytest
from storefronts import tiny_recommender

from recsys.errors import QueryError
from recsys.nearest_ids import nearest_ids
from recsys.neighbours import SPACES, nearest_items, space_vectors


def test_neighbours_are_by_angle_whatever_the_length() -> None:
    vectors = np.array([[1, 0], [10, 1], [0, 3], [0, 0], [-1, 0]], dtype=np.float32)
    rows, cosines = nearest_items(vectors, 0, 3)
    assert rows.tolist() == [1, 2, 4]
    assert cosines.tolist() == pytest.approx([10 / np.sqrt(101), 0, -1], abs=1e-6)
    assert nearest_items(vectors, 3, 3)[0].tolist() == []
    assert nearest_items(vectors[:1], 0, 3)[0].tolist() == []


def test_every_space_has_a_row_an_item_and_another_is_refused() -> None:
    recommender = tiny_recommender()
    assert {len(space_vectors(recommender, space)) for space in SPACES} == {recommender.n_items}
    with pytest.raises(QueryError, match="no space 'sound'; there are text, cf, fused"):
        space_vectors(recommender, "sound")  # type: ignore[arg-type]


def test_the_nearest_ids_are_those_beside_an_unknown_one() -> None:
    known = sorted(f"u{i:05d}" for i in range(1000))
    assert nearest_ids("u00421x", known)[0] == "u00421"
    assert nearest_ids("anything", []) == []

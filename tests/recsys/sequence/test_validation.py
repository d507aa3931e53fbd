import numpy as np
import pytest
from sequence_data import histories

from recsys.sequence import Sequences, training


def test_validation_leaves_out_the_history_but_not_a_repeated_target() -> None:
    """Cosines of the query with items 0 to 12 fall in that order; the target is third, or first without 0 and 1."""
    directions = np.arange(13) * 0.1
    vectors = np.stack([np.cos(directions), np.sin(directions)], axis=1).astype(np.float32)

    class Fixed:
        item_vectors = vectors

        def query_vectors(self, sequences: Sequences, browsing_text: None) -> np.ndarray:
            return np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (len(sequences), 1))

    def reached(history: list[int]) -> float:
        return training.validation_ndcg(Fixed(), histories(history), np.array([2]), None)

    assert reached([12]) == pytest.approx(1 / np.log2(4))
    assert reached([0, 1]) == pytest.approx(1.0)
    assert reached([0, 1, 2]) == pytest.approx(1.0)

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.top_k import top_k


@given(st.lists(st.one_of(st.floats(-5, 5, width=16), st.just(-np.inf)), max_size=30), st.integers(0, 40))
def test_top_k_is_the_start_of_a_stable_sort(values: list[float], k: int) -> None:
    scores = np.array(values, dtype=np.float32)
    expected = [row for row in np.argsort(-scores, kind="stable") if scores[row] > -np.inf][:k]
    assert top_k(scores, k).tolist() == expected

from __future__ import annotations

import numpy as np

from features.finetune.held_out import held_out_rows, place


def test_places_are_even_and_depend_on_the_key_alone() -> None:
    keys = [f"user{n}" for n in range(2000)]
    places = place(keys)
    assert ((places >= 0) & (places < 1)).all()
    counts, _ = np.histogram(places, bins=10, range=(0, 1))
    assert counts.min() > 150
    np.testing.assert_array_equal(place(keys[::-1])[::-1], places)
    assert place(["a", "a"]).tolist() == [place(["a"])[0]] * 2
    assert len(place([])) == 0


def test_the_lowest_places_are_measured_on() -> None:
    places = np.array([0.9, 0.04, 0.01, np.nan, 0.03, 0.05, 0.01])
    assert held_out_rows(places, 0.05, most=10).tolist() == [1, 2, 4, 6]
    assert held_out_rows(places, 0.05, most=3).tolist() == [2, 4, 6]
    assert held_out_rows(places, 0.0, most=3).tolist() == []

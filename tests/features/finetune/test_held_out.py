from __future__ import annotations

import numpy as np
import polars as pl

from features.finetune.held_out import held_out_pairs, held_out_rows, place


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


def test_held_out_pairs_are_trained_on_in_neither_direction() -> None:
    words = [f"w{number}" for number in range(200)]
    anchors, positives = [*words, *words[1:], "w0"], [*words[1:], "w0", *words]  # a ring, in both directions
    pairs = pl.DataFrame({"anchor": anchors, "positive": positives})
    held_out = held_out_pairs(pairs, 0.3, 1000)
    trained = set(pairs.filter(place(pairs["anchor"]) >= 0.3).select("anchor", "positive").rows())
    held_out_rows = set(held_out.select("anchor", "positive").rows())
    assert held_out_rows and not held_out_rows & trained and not {(b, a) for a, b in held_out_rows} & trained
    assert held_out_rows == {(b, a) for a, b in held_out_rows}  # both of its texts are held out
    assert held_out_pairs(pairs, 0.3, 5).height <= 5

import base64
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.explore import OpenedRelease
from features.explore.atlas import Atlas, side_by_side
from features.explore.clusters import cluster, distinctive_words
from features.item_map.layout import layout, place_among, principal_plane
from features.item_map.palette import OKABE_ITO, palette
from recsys.errors import QueryError


def blobs(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Two groups of vectors that point another way, and which is which."""
    rng = np.random.default_rng(0)
    which = np.arange(n) % 2
    return (np.eye(8)[which * 4] + 0.1 * rng.normal(size=(n, 8))).astype(np.float32), which


def test_what_points_one_way_lies_together(cache: Path) -> None:
    vectors, which = blobs()
    places = layout(vectors, cache=cache)
    assert places.dtype == np.float32
    assert places.min() >= 0
    assert places.max() <= 1
    centres = np.stack([places[which == group].mean(axis=0) for group in (0, 1)])
    near = np.linalg.norm(places[:, None] - centres, axis=2).argmin(axis=1)
    assert (near == which).all()


def test_a_layout_is_kept_and_taken_up_again(cache: Path) -> None:
    vectors, _ = blobs()
    first = layout(vectors, cache=cache)
    (file,) = cache.iterdir()
    marked = first.copy()
    marked[0] = 0.123
    np.save(file, marked)
    assert layout(vectors, cache=cache)[0].tolist() == pytest.approx([0.123, 0.123])
    assert not np.array_equal(layout(vectors[::-1], cache=cache), marked)
    file.write_bytes(b"half a file")
    assert np.array_equal(layout(vectors, cache=cache), first)


def test_what_has_no_vector_has_no_place(cache: Path) -> None:
    vectors, _ = blobs(12)
    vectors[3] = 0
    places = layout(vectors, cache=cache)
    assert np.isnan(places[3]).all()
    assert np.isfinite(np.delete(places, 3, axis=0)).all()


def test_the_principal_plane_parts_what_differs_most() -> None:
    vectors, which = blobs()
    vectors[3] = 0
    places = principal_plane(vectors)
    assert np.isnan(places[3]).all()
    left = places[:, 0] < 0.5
    others = np.arange(len(which)) != 3
    assert len({bool(side) for side in left[others & (which == 0)]}) == 1
    assert (left[others & (which == 0)][0]) != (left[others & (which == 1)][0])
    assert principal_plane(np.zeros((2, 3))).shape == principal_plane(np.ones((2, 1))).shape == (2, 2)


@pytest.mark.parametrize("n", [0, 1, 2, 4])
def test_a_few_points_have_places_too(n: int, cache: Path) -> None:
    places = layout(np.eye(8, dtype=np.float32)[:n], cache=cache)
    assert places.shape == (n, 2)
    assert np.isfinite(places).all()


def test_a_new_point_lies_among_its_nearest() -> None:
    others = np.eye(3, dtype=np.float32)
    places = np.array([[0, 0], [1, 1], [np.nan, np.nan]], dtype=np.float32)
    point = place_among(np.array([[0.1, 1, 5]], dtype=np.float32), others, places, k=1)
    assert point.tolist() == [[1, 1]]
    assert np.isnan(place_among(others, others[:0], places[:0])).all()


def test_clusters_are_named_by_what_the_others_do_not_say() -> None:
    texts = ["red lamp 40", "red lamp", "red kettle", "red kettle steel"]
    assert distinctive_words(texts, np.array([0, 0, 1, 1]), 1) == ["lamp", "kettle"]
    assert distinctive_words(["", "12"], np.array([0, 1])) == ["", ""]


def test_clusters_are_as_many_as_the_points_allow() -> None:
    assert cluster(np.zeros((0, 2))).tolist() == []
    assert cluster(np.random.default_rng(0).random((10, 2))).tolist() == [0] * 10
    assert len(set(cluster(np.random.default_rng(0).random((800, 2))).tolist())) == 10


def test_ordered_groups_go_from_dark_to_light_and_others_are_told_apart() -> None:
    bands = palette(["negative", "mixed", "positive"])
    lightness = [sum(int(colour[k : k + 2], 16) for k in (1, 3, 5)) for colour in bands]
    assert lightness == sorted(lightness)
    assert palette(["Home", "Garden"]) == list(OKABE_ITO[:2])


def read(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_the_page_holds_every_point_and_needs_no_network(latest: OpenedRelease, cache: Path) -> None:
    atlas = latest.atlas("text", "category", ["a quiet keyboard"], reviews=30, searches=10, cache=cache)
    assert atlas.points["kind"].value_counts(sort=True)["kind"][0] == "item"
    assert set(atlas.points["kind"]) == {"item", "review", "search", "query"}
    page = atlas.html()
    assert not re.findall(r"""(?:src|href)=["']?(?!data:)\w+:""", page)
    data = read(page)
    assert len(data["text"]) == len(atlas.points) == len(base64.b64decode(data["group"]))
    assert len(base64.b64decode(data["xy"])) == 4 * len(atlas.points)
    assert [group["name"] for group in data["legend"]] == list(atlas.legend)
    assert any(cluster["words"] for cluster in data["clusters"])
    assert "largest clusters" in repr(atlas)


@pytest.mark.parametrize("colour", ["price", "popularity", "stars", "cold", "newness", "brand", "cluster", "kind"])
def test_points_are_coloured_by_what_is_asked(colour: str, latest: OpenedRelease, cache: Path) -> None:
    atlas = latest.atlas("fused", colour, cache=cache)
    assert 1 <= len(atlas.legend) <= 8
    assert set(atlas.points["group"].drop_nulls()) == set(atlas.legend)


def test_another_space_or_colour_is_refused_in_words(latest: OpenedRelease, cache: Path) -> None:
    with pytest.raises(QueryError, match="no colour 'size'; there are category"):
        latest.atlas(colour="size", cache=cache)
    with pytest.raises(QueryError, match="have vectors in the space 'text' only, not in 'fused'"):
        latest.atlas("fused", queries=["tent"], cache=cache)


def test_markup_in_a_text_stays_text(tmp_path: Path) -> None:
    points = pl.DataFrame(
        {"kind": ["item"], "id": ["a"], "text": ["</script><b>"], "group": ["<i>"], "x": [0.5], "y": [0.5]}
    )
    clusters = pl.DataFrame({"x": [0.5], "y": [0.5], "n": [1], "words": ["</script>"]})
    atlas = Atlas("1 < 2", points, clusters, ("<i>",))
    page = atlas.save(tmp_path / "atlas.html").read_text()
    assert page.count("</script>") == 2
    assert read(page)["text"] == ["</script><b>"]
    assert "1 &lt; 2" in page
    assert side_by_side([atlas, atlas], "same & same")._repr_html_().count("<iframe") == 2

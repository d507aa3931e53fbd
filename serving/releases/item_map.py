"""The map of all items, computed once for each release and layout."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from features.item_map.layout import layout_path, load_layout, place_among, principal_plane
from features.item_map.palette import palette
from recsys.item_groups import MAX_GROUPS, ORDERED, fewer, item_groups, legend_of
from recsys.recommend import Recommender
from serving.releases.active import ActiveRelease
from serving.schemas.inspect import ItemMap, MapGroup, MapGrouping

GROUPINGS: Final = ("category", "popularity", "cold")
MAX_TITLE_CHARS: Final = 80


class ItemMaps:
    """The map of the active release, as JSON. folder: `Workspace.atlases`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = asyncio.Lock()
        self._key: tuple[str, int, int] | None = None
        """Release id, number of items and time of the layout file of the cached map."""
        self._json = b""

    async def of(self, live: ActiveRelease) -> bytes:
        """Computed in a thread where the release, its number of items or its layout has changed, else cached."""
        release = live.release
        file = layout_path(self._folder, release.release_id)
        async with self._lock:
            key = (release.release_id, release.recommender.n_items, _written_ns(file))
            if self._key != key:
                self._json = await asyncio.to_thread(_json, release.release_id, release.recommender, file)
                self._key = key
            return self._json


def item_map(release_id: str, recommender: Recommender, places: np.ndarray | None) -> ItemMap:
    """The map: a layout's places, or a projection on the first two principal components.

    places: (n, 2) of the first n items, or None without a layout; later items are placed among their neighbours.
    """
    vectors = recommender.vectors
    is_laid_out = places is not None
    if places is None:
        places = principal_plane(vectors)
    elif len(places) < len(vectors):
        added = vectors[len(places) :]
        among = place_among(added, vectors[: len(places)], places)
        among[~added.any(axis=1)] = np.nan
        places = np.concatenate([places, among])
    placed: list[int] = np.flatnonzero(np.isfinite(places).all(axis=1)).tolist()
    xy = np.round(np.clip(places[placed], 0, 1) * 65535).astype(np.int64)
    titles = recommender.properties.titles
    return ItemMap(
        layout="t-SNE" if is_laid_out else "PCA",
        item_ids=[recommender.item_ids[row] for row in placed],
        titles=[(titles[row] or recommender.item_ids[row])[:MAX_TITLE_CHARS] for row in placed],
        x=xy[:, 0].tolist(),
        y=xy[:, 1].tolist(),
        groupings=[_grouping(recommender, by, placed) for by in GROUPINGS],
        release_id=release_id,
    )


def _grouping(recommender: Recommender, by: str, placed: Sequence[int]) -> MapGrouping:
    groups = fewer(item_groups(recommender, by), MAX_GROUPS)
    legend = legend_of(groups, ORDERED.get(by))
    at = {name: code for code, name in enumerate(legend)}
    named = [MapGroup(name=name, colour=colour) for name, colour in zip(legend, palette(legend), strict=True)]
    return MapGrouping(by=by, groups=named, codes=[at.get(groups[row] or "", -1) for row in placed])


def _json(release_id: str, recommender: Recommender, file: Path) -> bytes:
    return item_map(release_id, recommender, load_layout(file, recommender.n_items)).model_dump_json().encode()


def _written_ns(file: Path) -> int:
    """Modification time of the file, 0 where there is none."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0

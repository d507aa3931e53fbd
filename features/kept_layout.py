"""Where the items of a release lie on the map, worked out once and kept in its workspace for the service."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from features.layout import read_places, write_places
from features.manifest import read_pointer
from recsys.workspace import Workspace


def keep_layout(workspace: Workspace, release_id: str, places: np.ndarray) -> Path:
    """Write the (n_items, 2) places of a release's items; files of releases that are published no more go."""
    folder = workspace.atlases
    pointer = read_pointer(workspace.current)
    for file in folder.glob("*.npy"):
        if pointer is not None and file.stem not in pointer.published:
            file.unlink()
    file = layout_file(folder, release_id)
    write_places(file, places)
    return file


def layout_file(folder: Path, release_id: str) -> Path:
    """folder: `Workspace.atlases`."""
    return folder / f"{release_id}.npy"


def kept_layout(file: Path, n_items: int) -> np.ndarray | None:
    """(n, 2) with n at most `n_items`: of a release's own items, which stand before those that were added since. None
    where there is no file, or one that cannot be read or does not fit."""
    places = read_places(file)
    return places if places is not None and len(places) <= n_items else None

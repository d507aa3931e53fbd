"""Where the items of a release lie on the map, worked out once and kept in its workspace for the service."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from features.durable import write_atomically
from features.manifest import read_pointer
from recsys.workspace import Workspace


def keep_layout(workspace: Workspace, release_id: str, places: np.ndarray) -> Path:
    """Write the (n_items, 2) places of a release's items; files of releases that are published no more go."""
    folder = workspace.atlases
    folder.mkdir(parents=True, exist_ok=True)
    pointer = read_pointer(workspace.current)
    for file in folder.glob("*.npy"):
        if pointer is not None and file.stem not in pointer.published:
            file.unlink()
    buffer = io.BytesIO()
    np.save(buffer, places.astype(np.float32), allow_pickle=False)
    write_atomically(layout_file(folder, release_id), buffer.getvalue())
    return layout_file(folder, release_id)


def layout_file(folder: Path, release_id: str) -> Path:
    """folder: `Workspace.atlases`."""
    return folder / f"{release_id}.npy"


def kept_layout(file: Path, n_items: int) -> np.ndarray | None:
    """(n, 2) with n at most `n_items`: of a release's own items, which stand before those that were added since. None
    where there is no file, or one that cannot be read or does not fit."""
    try:
        places: np.ndarray = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return places if places.ndim == 2 and places.shape[1] == 2 and len(places) <= n_items else None

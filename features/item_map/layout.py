"""Vectors become places on a plane: t-SNE, kept on disk by the digest of what it was made of."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Final

import numpy as np

from features.store.manifest import read_pointer
from features.workspace.atomic_files import write_atomically
from features.workspace.user_cache import user_cache
from recsys.errors import ConfigError
from recsys.whitening import unit_rows
from recsys.workspace import Workspace

PERPLEXITY: Final = 30.0
PCA_DIM: Final = 50
"""Directions of largest variance that neighbours are looked for in: as is usual, and a tenth of the time."""

SERIAL_BELOW: Final = 10_000
"""Points below which threads wait for each other longer than they save."""

VERSION: Final = b"t-SNE 2"


def layout(vectors: np.ndarray, seed: int = 0, cache: Path | None = None) -> np.ndarray:
    """(n, 2) float32 between 0 and 1; NaN for zero rows, which have no place.

    Neighbours by cosine are neighbours on the plane (van der Maaten and Hinton 2008, by openTSNE: Policar et al. 2019);
    distances between far groups mean little. cache: a folder, by default of this user's cache, as a workspace is only
    read.
    """
    units = unit_rows(np.nan_to_num(np.asarray(vectors, dtype=np.float32)))
    told = units.any(axis=1)
    digest = hashlib.sha256(VERSION + str((units.shape, seed)).encode() + np.ascontiguousarray(units).tobytes())
    file = (cache or user_cache("layouts")) / f"{digest.hexdigest()[:32]}.npy"
    kept = read_places(file)
    if kept is not None and len(kept) == len(units):
        return kept
    places = np.full((len(units), 2), np.nan, dtype=np.float32)
    places[told] = _within_unit_square(_placed(units[told], seed))
    write_places(file, places)
    return places


def read_places(file: Path) -> np.ndarray | None:
    """(n, 2) places as they were written; None where there is no file, or one that is none of those."""
    try:
        places: np.ndarray = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return places if places.ndim == 2 and places.shape[1] == 2 else None


def write_places(file: Path, places: np.ndarray) -> None:
    """(n, 2), in the place of the file before."""
    file.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.save(buffer, places.astype(np.float32), allow_pickle=False)
    write_atomically(file, buffer.getvalue())


def principal_plane(vectors: np.ndarray) -> np.ndarray:
    """(n, 2) float32 between 0 and 1, the two directions of largest variance; NaN for zero rows. Takes a moment where
    `layout` takes minutes, and shows the largest differences alone."""
    units = unit_rows(np.nan_to_num(np.asarray(vectors, dtype=np.float32)))
    told = units.any(axis=1)
    places = np.full((len(units), 2), np.nan, dtype=np.float32)
    if told.any():
        flat = _reduced(units[told], 2)
        places[told] = _within_unit_square(np.pad(flat, ((0, 0), (0, 2 - flat.shape[1]))))
    return places


def place_among(vectors: np.ndarray, others: np.ndarray, places: np.ndarray, k: int = 5) -> np.ndarray:
    """(n, 2): where new points would lie, the mean place of their `k` nearest by cosine, the nearer weighing more.

    others: (m, dim) with their (m, 2) places; those without a place are left out.
    """
    placed = np.isfinite(places).all(axis=1)
    cosines = unit_rows(vectors) @ unit_rows(others[placed]).T
    k = min(k, cosines.shape[1])
    if k == 0:
        return np.full((len(vectors), 2), np.nan, dtype=np.float32)
    nearest = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
    weights = np.exp(10.0 * np.take_along_axis(cosines, nearest, axis=1))
    weights /= weights.sum(axis=1, keepdims=True)
    return np.einsum("nk,nkd->nd", weights, places[placed][nearest]).astype(np.float32)


def _placed(units: np.ndarray, seed: int) -> np.ndarray:
    n = len(units)
    if n < 5:
        return np.stack([np.arange(n), np.zeros(n)], axis=1)
    try:
        from openTSNE import TSNE  # an extra: the engine and the service do without
    except ImportError:
        raise ConfigError("the atlas needs openTSNE; install it with `pip install 'recsys[notebooks]'`") from None
    reduced = _reduced(units, PCA_DIM)
    threads = 1 if n < SERIAL_BELOW else int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    fitted = TSNE(perplexity=min(PERPLEXITY, (n - 1) / 3), random_state=seed, n_jobs=threads).fit(reduced)
    return np.asarray(fitted)


def _reduced(units: np.ndarray, dim: int) -> np.ndarray:
    """(n, min(dim, vectors' own)): the coordinates along the directions of largest variance."""
    centred = units - units.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    reduced: np.ndarray = centred @ directions[:, ::-1][:, :dim]
    return reduced


def _within_unit_square(places: np.ndarray) -> np.ndarray:
    if len(places) == 0:
        return places
    low = places.min(axis=0)
    return (places - low) / max(float((places - low).max()), 1e-9)


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

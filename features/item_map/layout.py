"""Layouts of vectors on a plane by t-SNE, cached on disk by a digest of the vectors."""

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
"""Number of principal components in which neighbours are searched, as is usual; it takes a tenth of the time."""

SERIAL_BELOW: Final = 10_000
"""Below this number of points one thread is used, because several would be slower."""

VERSION: Final = b"t-SNE 2"


def layout(vectors: np.ndarray, seed: int = 0, cache: Path | None = None) -> np.ndarray:
    """(n, 2) float32 places between 0 and 1; NaN for zero rows.

    Neighbours by cosine are neighbours on the plane (t-SNE: van der Maaten and Hinton 2008; openTSNE: Policar et al.
    2019); distances between far groups have little meaning. cache: a folder; by default one in the user's cache,
    because workspaces are only read. Raises ConfigError if openTSNE is not installed.
    """
    units = unit_rows(np.nan_to_num(np.asarray(vectors, dtype=np.float32)))
    has_vector = units.any(axis=1)
    digest = hashlib.sha256(VERSION + str((units.shape, seed)).encode() + np.ascontiguousarray(units).tobytes())
    file = (cache or user_cache("layouts")) / f"{digest.hexdigest()[:32]}.npy"
    cached = read_places(file)
    if cached is not None and len(cached) == len(units):
        return cached
    places = np.full((len(units), 2), np.nan, dtype=np.float32)
    places[has_vector] = _within_unit_square(_tsne(units[has_vector], seed))
    write_places(file, places)
    return places


def read_places(file: Path) -> np.ndarray | None:
    """The (n, 2) places in the file; None if there is no such file, or it is not valid."""
    try:
        places: np.ndarray = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return places if places.ndim == 2 and places.shape[1] == 2 else None


def write_places(file: Path, places: np.ndarray) -> None:
    """Write (n, 2) places; an existing file is replaced atomically."""
    file.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.save(buffer, places.astype(np.float32), allow_pickle=False)
    write_atomically(file, buffer.getvalue())


def principal_plane(vectors: np.ndarray) -> np.ndarray:
    """(n, 2) float32 places between 0 and 1 along the first two principal components; NaN for zero rows.

    Much faster than `layout`, but it shows only the largest differences.
    """
    units = unit_rows(np.nan_to_num(np.asarray(vectors, dtype=np.float32)))
    has_vector = units.any(axis=1)
    places = np.full((len(units), 2), np.nan, dtype=np.float32)
    if has_vector.any():
        flat = _reduced(units[has_vector], 2)
        places[has_vector] = _within_unit_square(np.pad(flat, ((0, 0), (0, 2 - flat.shape[1]))))
    return places


def place_among(vectors: np.ndarray, others: np.ndarray, places: np.ndarray, k: int = 5) -> np.ndarray:
    """(n, 2) places of new points: the weighted mean place of their `k` nearest neighbours by cosine.

    others: (m, dim) vectors of the other points, with (m, 2) places; those without a place are ignored.
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


def _tsne(units: np.ndarray, seed: int) -> np.ndarray:
    n = len(units)
    if n < 5:
        return np.stack([np.arange(n), np.zeros(n)], axis=1)
    try:
        from openTSNE import TSNE  # optional: engine and service do not need it
    except ImportError:
        raise ConfigError("the atlas needs openTSNE; install it with `pip install 'recsys[notebooks]'`") from None
    reduced = _reduced(units, PCA_DIM)
    threads = 1 if n < SERIAL_BELOW else int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    fitted = TSNE(perplexity=min(PERPLEXITY, (n - 1) / 3), random_state=seed, n_jobs=threads).fit(reduced)
    return np.asarray(fitted)


def _reduced(units: np.ndarray, dim: int) -> np.ndarray:
    """(n, min(dim, n_columns)): the coordinates along the first principal components."""
    centred = units - units.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    reduced: np.ndarray = centred @ directions[:, ::-1][:, :dim]
    return reduced


def _within_unit_square(places: np.ndarray) -> np.ndarray:
    if len(places) == 0:
        return places
    low = places.min(axis=0)
    return (places - low) / max(float((places - low).max()), 1e-9)


def save_layout(workspace: Workspace, release_id: str, places: np.ndarray) -> Path:
    """Write the (n_items, 2) places of a release's items, and delete the files of releases no longer published."""
    folder = workspace.atlases
    pointer = read_pointer(workspace.current)
    for file in folder.glob("*.npy"):
        if pointer is not None and file.stem not in pointer.published:
            file.unlink()
    file = layout_path(folder, release_id)
    write_places(file, places)
    return file


def layout_path(folder: Path, release_id: str) -> Path:
    """The file of a release's layout; folder: `Workspace.atlases`."""
    return folder / f"{release_id}.npy"


def load_layout(file: Path, n_items: int) -> np.ndarray | None:
    """(n, 2) places of a release's items, with n at most `n_items`: items added since come after them, without a place.

    None if there is no such file, or it cannot be read or has too many rows.
    """
    places = read_places(file)
    return places if places is not None and len(places) <= n_items else None

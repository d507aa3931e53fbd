"""Encodes every new text once, into checkpointed Parquet shards, one folder per encoder.

`WORKSPACE/embeddings/ENCODER_ID/DIGEST.parquet` holds text_hash and vector (float32, a list of fixed size). A shard
is written whole or not at all and named after the texts in it, so a run that was killed loses the unfinished shards
only, and the next one encodes these and nothing else.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
import ray
import ray.data
import torch

from features.encoder.encoder import Encoder, encoder_id, load_encoder
from features.text.cleaning import text_hash
from features.workspace.atomic_files import write_atomically
from jobs.cluster.ray_cluster import start_ray
from jobs.embedding.encoder_files import Files, encoder_files, local_encoder
from recsys import config
from recsys.errors import StoreError
from recsys.interactions import positions
from recsys.workspace import Workspace

log = logging.getLogger(__name__)

EMPTY: Final = text_hash("")
"""The hash of an item without any text; it is not embedded, and its vector is zero."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class EmbedReport:
    """What one run did. `n_texts` counts distinct texts that are not empty, `n_new` those encoded now."""

    encoder_id: str
    dim: int
    n_texts: int
    n_new: int
    seconds: float


def embed_texts(
    workspace: Workspace,
    texts: pl.DataFrame,
    encoder: config.EncoderSettings,
    settings: config.EmbedSettings,
    progress: Progress | None = None,
) -> EmbedReport:
    """Encode the texts whose hash this encoder has no vector for, and keep the vectors in the workspace.

    texts: text_hash, text; repeats are welcome. progress: called with the texts done and to do after each shard.
    Few new texts are encoded in this process, many by Ray actors, one for each GPU or free processor. Raises
    EncoderError as `load_encoder` does, StoreError where a stored shard cannot be read.
    """
    started = monotonic()
    identity = encoder_id(encoder)
    folder = workspace.embeddings / identity
    distinct = texts.select("text_hash", "text").filter(pl.col("text_hash") != EMPTY).unique("text_hash")
    # In this order the shards of an interrupted run come out the same again.
    new = distinct.join(_stored_hashes(folder), on="text_hash", how="anti").sort("text_hash")
    if new.height:
        folder.mkdir(parents=True, exist_ok=True)
        shards = [
            pa.table({"text_hash": s["text_hash"].to_arrow(), "text": s["text"].to_arrow()})
            for s in new.iter_slices(settings.shard_texts)
        ]
        encoded = (
            _encode_here(shards, encoder)
            if new.height <= settings.inline_texts
            else _encode_on_ray(shards, encoder, settings.workers)
        )
        _store(folder, encoded, new.height, progress)
    report = EmbedReport(identity, _dim(identity), distinct.height, new.height, monotonic() - started)
    log.info(
        "embed_done encoder=%s texts=%d new=%d seconds=%.1f", identity, report.n_texts, report.n_new, report.seconds
    )
    return report


def load_vectors(workspace: Workspace, encoder_id: str, text_hashes: pl.Series) -> np.ndarray:
    """(n, dim) float32, the vector of each hash in its order; zeros for the hash of the empty text.

    Raises StoreError, with their number and an example, where texts were not embedded by this encoder.
    """
    vectors = np.zeros((len(text_hashes), _dim(encoder_id)), dtype=np.float32)
    missing = pl.DataFrame({"text_hash": text_hashes.cast(pl.String)}).with_row_index("row")
    missing = missing.filter(pl.col("text_hash") != EMPTY)
    shards = _shards(workspace.embeddings / encoder_id)
    if missing.height and shards:
        stored = _collect(pl.scan_parquet(shards).join(missing.lazy(), on="text_hash"), shards)
        vectors[stored["row"].to_numpy()] = stored["vector"].to_numpy()
        missing = missing.join(stored.select("text_hash"), on="text_hash", how="anti")
    if missing.height:
        raise StoreError(
            f"{workspace.root}: {missing['text_hash'].n_unique()} texts have no vector of encoder {encoder_id} "
            f"(for example {missing['text_hash'][0]}); run the embed step again"
        )
    return vectors


def numbered_texts(texts: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    """`texts` with text_row for its text_hash: a position in the distinct hashes, which come second, in their order."""
    distinct = texts["text_hash"].unique().sort()
    rows = positions(texts["text_hash"], distinct).astype(np.int32)
    return texts.with_columns(pl.Series("text_row", rows)), distinct


def forget_vectors(workspace: Workspace, text_hashes: Collection[str]) -> tuple[int, list[Path]]:
    """Remove the vectors of these texts, of every encoder. Returns how many there were, and the rewritten shards.

    A text that others wrote too is embedded again by the next nightly run.
    """
    n_removed, written = 0, []
    for folder in workspace.embeddings.glob("*/"):
        for draft in folder.glob(".*.tmp"):  # of a run that was killed
            draft.unlink()
        for path in _shards(folder):
            shard = pl.read_parquet(path)
            stays = ~shard["text_hash"].is_in(list(text_hashes))
            if stays.all():
                continue
            if stays.any():
                written.append(_write_shard(folder, shard.filter(stays)))
            path.unlink()  # last: a crash before it leaves some vectors twice, which harms nothing
            n_removed += int((~stays).sum())
    return n_removed, written


class _ShardEncoder:
    """The actor: loads the encoder once, then encodes shard after shard. files: a reference to `encoder_files`."""

    def __init__(self, settings: config.EncoderSettings, n_threads: int, files: ray.ObjectRef[Files | None]) -> None:
        torch.set_num_threads(n_threads)
        with local_encoder(settings, ray.get(files)) as local:
            self._encoder = load_encoder(local)

    def __call__(self, shard: pa.Table) -> pa.Table:
        return _encode_shard(self._encoder, shard)


def _encode_here(shards: list[pa.Table], encoder: config.EncoderSettings) -> Iterator[pa.Table]:
    loaded = load_encoder(encoder)
    return (_encode_shard(loaded, shard) for shard in shards)


def _encode_on_ray(shards: list[pa.Table], encoder: config.EncoderSettings, workers: int) -> Iterator[pa.Table]:
    """Encoded shards as they get ready, in any order."""
    start_ray()
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    n_cpus, n_gpus = max(1, int(resources.get("CPU", 1))), int(resources.get("GPU", 0))
    n_actors = min(len(shards), workers or n_gpus or max(1, n_cpus - 1))
    dataset = ray.data.from_arrow(shards).map_batches(
        _ShardEncoder,
        fn_constructor_kwargs={
            "settings": encoder,
            "n_threads": max(1, n_cpus // n_actors),
            "files": ray.put(encoder_files(encoder) if len(ray.nodes()) > 1 else None),  # type: ignore[no-untyped-call]
        },
        batch_size=None,  # a whole shard
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=n_actors),
        # Ray Data can hang when its actors take every processor (ray#44687): one more share stays free in Ray's
        # books, while the threads of the actors use all that there are.
        num_cpus=min(1.0, n_cpus / (n_actors + 1)),
        num_gpus=min(1.0, n_gpus / n_actors) if n_gpus else None,
    )
    log.info("embed_started shards=%d actors=%d gpus=%d cpus=%d", len(shards), n_actors, n_gpus, n_cpus)
    return iter(dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0))


def _encode_shard(encoder: Encoder, shard: pa.Table) -> pa.Table:
    """text_hash, text to text_hash, vector."""
    vectors = encoder.encode(shard["text"].to_pylist())
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), encoder.dim)
    return pa.table({"text_hash": shard["text_hash"], "vector": column})


def _store(folder: Path, encoded: Iterable[pa.Table], n_texts: int, progress: Progress | None) -> None:
    started, done = monotonic(), 0
    for table in encoded:
        shard = pl.DataFrame(table)
        _write_shard(folder, shard)
        done += shard.height
        log.info("embed_shard done=%d of=%d texts_per_s=%.0f", done, n_texts, done / (monotonic() - started))
        if progress is not None:
            progress(done, n_texts)


def _write_shard(folder: Path, shard: pl.DataFrame) -> Path:
    content = io.BytesIO()
    shard.write_parquet(content, compression="lz4")
    digest = hashlib.sha256("".join(shard["text_hash"].sort()).encode()).hexdigest()[:24]
    path = folder / f"{digest}.parquet"
    write_atomically(path, content.getvalue())
    return path


def _stored_hashes(folder: Path) -> pl.DataFrame:
    shards = _shards(folder)
    if not shards:
        return pl.DataFrame(schema={"text_hash": pl.String})
    return _collect(pl.scan_parquet(shards).select("text_hash"), shards)


def _shards(folder: Path) -> list[Path]:
    """Finished shards; unfinished ones of a killed run have other names."""
    return [path for path in sorted(folder.glob("*.parquet")) if not path.name.startswith(".")]


def _collect(frame: pl.LazyFrame, shards: list[Path]) -> pl.DataFrame:
    """The rows of a query over the shards; StoreError names those that cannot be read."""
    try:
        return frame.collect()
    except (pl.exceptions.PolarsError, OSError):
        damaged = [shard for shard in shards if not _readable(shard)]
        if not damaged:
            raise
        raise StoreError(
            f"{len(damaged)} of {len(shards)} embedding shards cannot be read (for example {damaged[0]}); "
            "delete them and run again: only their texts are embedded again"
        ) from None


def _readable(shard: Path) -> bool:
    try:
        pl.read_parquet(shard)
    except (pl.exceptions.PolarsError, OSError):
        return False
    return True


def _dim(encoder_id: str) -> int:
    return int(encoder_id.rpartition("-")[2])

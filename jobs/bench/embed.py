"""`recsys bench embed`: speed and precision of our encoder beside sentence-transformers."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from features.text.documents import review_texts
from jobs.bench.embed_paths import (
    BF16,
    EMBED_INPUT,
    INPUT_FILE,
    OURS,
    PEERS,
    QUERY_MODEL,
    REFERENCE,
    TIMING,
    EmbedInput,
    Timing,
)
from jobs.bench.measured_process import run_measured
from jobs.ingest.files import ingest
from jobs.ingest.sources.spec import SourceSpec
from jobs.lake.lake import Lake
from recsys import config
from recsys.errors import DataError
from recsys.hardware import compute_device, compute_dtype
from recsys.workspace import Workspace

WIDTH: Final = 100

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Measured:
    """One path. Cosines compare each text's vector with that of `REFERENCE`, in full precision."""

    path: str
    texts_per_s: float
    tokens_per_s: float
    padding_share: float
    min_cosine: float
    mean_cosine: float
    peak_mb: float


@dataclass(frozen=True)
class EmbedBench:
    """The results on one device; rows: the paths in the order in which they ran; skipped: why others did not run."""

    model: str
    device: str
    n_texts: int
    n_tokens: int
    rows: tuple[Measured, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)


def read_review_texts(
    spec: SourceSpec, n_texts: int, settings: config.Settings, now: datetime, progress: Progress
) -> list[str]:
    """Title and text of `n_texts` reviews sampled from the files with the seed; of all if there are fewer, or for 0.

    The reviews are read and validated by `ingest`, into a temporary lake. Raises DataError as `ingest` does, and if no
    review has a text.
    """
    with tempfile.TemporaryDirectory(prefix="recsys-bench-") as folder:
        place = Workspace(Path(folder))
        ingest(place, spec, settings.ingest, now, progress)
        reviews = Lake(place.lake).scan("reviews").collect().sort("review_id")
    texts = review_texts(reviews)["text"].to_list()
    if not texts:
        raise DataError(
            f"none of {reviews.height} reviews has a title or a text; map the columns with "
            "--map reviews.text=COLUMN, or pass other files with --reviews FILE"
        )
    if 0 < n_texts < len(texts):
        rows = np.random.default_rng(settings.seed).choice(len(texts), size=n_texts, replace=False)
        texts = [texts[row] for row in np.sort(rows)]
    return texts


def bench_embed(texts: Sequence[str], settings: config.EncoderSettings, n_runs: int, progress: Progress) -> EmbedBench:
    """Run every path on the same texts, one after the other, each in a separate process.

    Raises DataError without texts, and if a path fails, with its last line of stderr.
    """
    if not texts:
        raise DataError("no texts to encode; pass reviews that have texts")
    skipped = _skipped(settings)
    paths = [path for path in dict.fromkeys((REFERENCE, *PEERS, *OURS)) if path not in skipped]
    rows: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="recsys-bench-") as name:
        folder = Path(name)
        (folder / INPUT_FILE).write_bytes(EMBED_INPUT.dump_json(EmbedInput(settings, list(texts), n_runs)))
        for place, path in enumerate(paths):
            progress(f"encode: {path}", place, len(paths))
            command = [sys.executable, "-m", "jobs.bench.embed_paths", str(folder), path]
            arrays, timing = run_measured(command, path, folder / str(place), TIMING)
            if not rows:
                reference, n_tokens = arrays["vectors"], timing.n_tokens
            rows.append(_measured(path, arrays["vectors"], reference, timing))
    return EmbedBench(settings.model, _device(), len(texts), n_tokens, tuple(rows), skipped)


def _skipped(settings: config.EncoderSettings) -> dict[str, str]:
    """The paths that do not run, and why."""
    skipped = {}
    if compute_dtype("auto", compute_device()) != torch.bfloat16:
        reason = f"{_device()} does not multiply bf16, and to emulate it takes minutes"
        skipped = dict.fromkeys((BF16, *(path for path, dtype in PEERS.items() if dtype == torch.bfloat16)), reason)
        if settings.precision == "bf16":
            skipped[QUERY_MODEL] = f"encoder.precision = bf16, but {reason}"
    if not settings.query_model:
        skipped[QUERY_MODEL] = "encoder.query_model is not set"
    return skipped


def cosines(vectors: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(n,) float64: cosine of each row of two (n, dim) arrays; 0 where a vector is zero."""
    a, b = vectors.astype(np.float64), reference.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.divide((a * b).sum(axis=1), norms, out=np.zeros(len(a)), where=norms > 0)


def _measured(path: str, vectors: np.ndarray, reference: np.ndarray, timing: Timing) -> Measured:
    similarities = cosines(vectors, reference)
    return Measured(
        path=path,
        texts_per_s=round(len(vectors) / timing.seconds, 2),
        tokens_per_s=round(timing.n_tokens / timing.seconds, 1),
        padding_share=round(timing.padding_share, 6),
        min_cosine=round(float(similarities.min()), 6),
        mean_cosine=round(float(similarities.mean()), 6),
        peak_mb=round(timing.peak_mb, 1),
    )


def _device() -> str:
    """Name of the GPU, or threads and instruction set of the CPU."""
    if compute_device().type == "cuda":
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"


def print_embed_report(report: EmbedBench, console: Console | None = None) -> None:
    """Print a row per path, at most `WIDTH` columns wide."""
    console = console or Console()
    width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    console = Console(file=console.file, width=width)
    title = f"{report.n_texts:,} texts, {report.n_tokens:,} tokens, {report.model}, {report.device}"
    table = Table(title=title, title_justify="left", caption_justify="left", box=SIMPLE_HEAD)
    table.add_column("path", no_wrap=True)
    for name in ("texts/s", "tokens/s", "padding", "min cosine", "mean cosine", "peak MB"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in report.rows:
        table.add_row(
            row.path,
            f"{row.texts_per_s:,.1f}",
            f"{row.tokens_per_s:,.0f}",
            f"{row.padding_share:.1%}",
            f"{row.min_cosine:.6f}",
            f"{row.mean_cosine:.6f}",
            f"{row.peak_mb:,.0f}",
        )
    table.caption = (
        f"Cosines: with {REFERENCE}. Times include tokenization, not warm-up. Peak MB: GPU memory where a GPU "
        "computes, else memory of the path's process, libraries included."
    )
    console.print(table)
    for path, reason in report.skipped.items():
        console.print(f"skipped: {path} ({reason})", highlight=False)

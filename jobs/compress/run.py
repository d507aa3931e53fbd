"""Quality, size and speed of ways to make the encoder smaller, measured on the shop's texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from features.encoder.adapters import hidden_size, transformer_layers
from features.encoder.encoder import Encoder, load_encoder
from features.encoder.model_files import model_folder
from features.encoder.query_encoder import Distilled, load_query_encoder, save_distilled
from features.encoder.selection import effective_settings, read_selected, resolve_path
from features.finetune.contrastive import matryoshka_dims
from features.finetune.distill import distill, pruned
from features.finetune.export import save_encoder
from features.finetune.tuning import load_trainable
from jobs.bench.embed import cosines
from jobs.bench.embed_paths import measure
from jobs.compress.data import CompressData, HeldOut, read_compress
from jobs.compress.report import FULL, CompressReport, K, Variant
from jobs.lake.lake import Lake
from recsys import config, metrics
from recsys.hardware import compute_device, compute_dtype
from recsys.workspace import Workspace

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class _Encoded:
    """The held-out texts encoded by one model; its size and speed."""

    vectors: np.ndarray
    disk_mb: float
    weights_mb: float
    texts_per_s: float


def compress(workspace: Workspace, settings: config.Settings, n_runs: int, progress: Progress) -> CompressReport:
    """Measure every variant of the current encoder on held-out pairs. First trains a pruned student on the other texts.

    An interrupted training is resumed. Raises DataError as `read_compress` does, EncoderError as `load_encoder` and
    `pruned` do.
    """
    base = settings.encoder.model_copy(update={"query_model": "", "precision": "fp32"})
    base = resolve_path(workspace, effective_settings(base, read_selected(workspace, base.model)))
    full = load_encoder(base)
    data = read_compress(Lake(workspace.lake), full, settings)
    student = workspace.students / f"{full.id}-every-{settings.finetune.distill.keep_every}"
    n_kept, n_layers = _make_student(full, base, student, workspace, data, settings, progress)
    by_student = base.model_copy(update={"query_model": str(student.absolute())})
    models = {FULL: base}
    if compute_dtype("auto", compute_device()) == torch.bfloat16:
        models["bf16"] = base.model_copy(update={"precision": "bf16"})
    models["int8"] = base.model_copy(update={"precision": "int8"})
    name = f"{n_kept} of {n_layers} layers"
    models[name] = by_student
    models[f"{name}, int8"] = by_student.model_copy(update={"precision": "int8"})
    encoded = {}
    for place, (variant, chosen) in enumerate(models.items()):
        progress(f"measure: {variant}", place, len(models))
        encoded[variant] = _encode(load_query_encoder(chosen), _weights_folder(chosen), data.held_out, n_runs)
    dims = [dim for dim in matryoshka_dims(full, settings.finetune.contrastive) if dim < full.dim]
    variants = [
        _variant(name, model, model.vectors, 4, encoded, data, settings.seed) for name, model in encoded.items()
    ]
    for stored, vectors, n_bytes in stored_forms(encoded[FULL].vectors, dims):
        variants.append(_variant(stored, encoded[FULL], vectors, n_bytes, encoded, data, settings.seed))
    return CompressReport(
        base.model, len(data.held_out.texts), len(data.held_out.targets), str(student.absolute()), tuple(variants)
    )


def stored_forms(vectors: np.ndarray, dims: list[int]) -> list[tuple[str, np.ndarray, int]]:
    """Smaller stored forms of (n, dim) vectors: name, (n, dim) float32 as read back, and bytes per number.

    int8: each vector is scaled by its largest absolute value; the scale is not stored, as cosines do not need it.
    """
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    whole = np.round(127.0 * vectors / np.where(largest > 0, largest, 1.0)).astype(np.int8)
    return [
        *((f"first {dim} dimensions", vectors[:, :dim], 4) for dim in dims),
        ("vectors in float16", vectors.astype(np.float16).astype(np.float32), 2),
        ("vectors in int8", whole.astype(np.float32), 1),
    ]


def _make_student(
    full: Encoder,
    base: config.EncoderSettings,
    folder: Path,
    workspace: Workspace,
    data: CompressData,
    settings: config.Settings,
    progress: Progress,
) -> tuple[int, int]:
    """Train the student and save it in `folder`; returns the number of its layers and of the teacher's."""
    teacher = load_trainable(base, settings.finetune)
    student = pruned(teacher, settings.finetune.distill.keep_every)
    distill(
        teacher,
        student,
        data.texts,
        settings.finetune,
        settings.seed,
        checkpoint=workspace.training / "distill.safetensors",
        on_step=lambda step: progress("distil", step.number, step.n_steps),
    )
    digest = save_encoder(student, folder, full.max_tokens)
    hidden = hidden_size(teacher.model)
    save_distilled(Distilled(digest, full.sha256, hidden), folder)
    return len(transformer_layers(student.model)), len(transformer_layers(teacher.model))


def _weights_folder(settings: config.EncoderSettings) -> Path:
    return model_folder(settings.query_model or settings.model)


def _encode(encoder: Encoder, folder: Path, held_out: HeldOut, n_runs: int) -> _Encoded:
    vectors, timing = measure(encoder.encode, encoder.model, held_out.texts, n_runs)
    tensors = [*encoder.model.parameters(), *encoder.model.buffers()]
    n_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    on_disk = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return _Encoded(vectors, on_disk / 2**20, n_bytes / 2**20, len(vectors) / timing.seconds)


def _variant(
    name: str,
    model: _Encoded,
    vectors: np.ndarray,
    number_bytes: int,
    encoded: dict[str, _Encoded],
    data: CompressData,
    seed: int,
) -> Variant:
    whole = encoded[FULL].vectors
    filled = np.zeros_like(whole)
    filled[:, : vectors.shape[1]] = vectors
    similarities = cosines(filled, whole)
    ndcgs, full = (metrics.ndcg(data.held_out.ranks(encoded_by, encoded_by), K) for encoded_by in (vectors, whole))
    as_queries = metrics.ndcg(data.held_out.ranks(filled, whole), K)
    low, high = metrics.bootstrap_difference(ndcgs, full, seed)
    return Variant(
        variant=name,
        disk_mb=round(model.disk_mb, 3),
        weights_mb=round(model.weights_mb, 3),
        vector_bytes=number_bytes * vectors.shape[1],
        texts_per_s=round(model.texts_per_s, 2),
        min_cosine=round(float(similarities.min()), 6),
        mean_cosine=round(float(similarities.mean()), 6),
        ndcg=round(float(ndcgs.mean()), 6),
        query_ndcg=round(float(as_queries.mean()), 6),
        ndcg_change_ci95=(round(low, 6), round(high, 6)),
    )

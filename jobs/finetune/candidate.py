"""Save a fine-tuned encoder in the workspace as a candidate, and compare it with the current encoder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from features.encoder.encoder import encoder_id, load_encoder
from features.encoder.model_files import model_folder, weights_digest
from features.encoder.selection import IN_WORKSPACE, SENTIMENT_ENCODER, SelectedEncoder, resolve_path, workspace_model
from features.finetune.contrastive import MAX_HELD_OUT, retrieval_ranks
from features.finetune.held_out import held_out_pairs
from features.finetune.sentiment_head import SentimentHead
from features.workspace.atomic_files import sha256_of, sync_tree
from jobs.finetune.data import TuningData
from jobs.finetune.stages import HEAD, MODEL, TunedEncoder
from recsys import config
from recsys.config import Settings
from recsys.metrics import bootstrap_difference, ndcg
from recsys.workspace import Workspace

K: Final = 10

MIN_ANCHORS: Final = 20
"""With fewer held-out texts the bootstrap interval is meaningless: two texts that agree would look certain."""


@dataclass(frozen=True)
class Candidate:
    """name: of its folder in `WORKSPACE/encoders`; encoder: the settings that load it, with `workspace:NAME` as the
    model, or the current settings if no stage changed the encoder; has_head: whether the folder has a sentiment head.
    """

    name: str
    encoder: config.EncoderSettings
    changed: bool
    has_head: bool


@dataclass(frozen=True)
class Verdict:
    """Whether the candidate is adopted, and why.

    before, after: mean NDCG@10 over `n_anchors` held-out texts, with the current encoder and with the candidate; low,
    high: the 95 % interval of the mean difference, after minus before. All 0 if nothing was measured.
    """

    adopted: bool
    reason: str
    n_anchors: int = 0
    before: float = 0.0
    after: float = 0.0
    low: float = 0.0
    high: float = 0.0


def save_candidate(
    workspace: Workspace, tuned: TunedEncoder, current: config.EncoderSettings, as_of: datetime, drafts: Path
) -> Candidate:
    """Move the result to `WORKSPACE/encoders/NAME` atomically; the name ends with a hash of the contents.

    current: the current encoder, which the head reads if no stage changed the encoder. drafts: a folder beside NAME.
    """
    contents = [path for part in (MODEL, HEAD) for path in sorted((tuned.folder / part).rglob("*.safetensors"))]
    tail = hashlib.sha256("".join(sha256_of(path) for path in contents).encode()).hexdigest()[:6]
    name = f"finetuned-{as_of.astimezone(UTC):%Y%m%dT%H%M%SZ}-{tail}"
    encoder = current.model_copy(update={"model": workspace_model(name), "sha256": ""}) if tuned.changed else current
    candidate = Candidate(name, encoder, tuned.changed, tuned.has_head)
    final = workspace.encoders / name
    if final.exists() or not (tuned.changed or tuned.has_head):
        return candidate
    draft = drafts / name
    if candidate.changed:
        (tuned.folder / MODEL).rename(draft)
    draft.mkdir(exist_ok=True)
    if candidate.has_head:
        reader = tuned.folder / HEAD / SENTIMENT_ENCODER
        if reader.is_dir():
            reader.rename(draft / SENTIMENT_ENCODER)
        if (draft / SENTIMENT_ENCODER).is_dir():
            read = current.model_copy(update={"model": str(draft / SENTIMENT_ENCODER), "sha256": ""})
        elif candidate.changed:
            read = current.model_copy(update={"model": str(draft), "sha256": ""})
        else:
            read = resolve_path(workspace, current)
        # The folder's name is part of an encoder's id, its parent folders are not.
        replace(SentimentHead.load(tuned.folder / HEAD), encoder_id=encoder_id(read)).save(draft)
    sync_tree(draft)
    draft.rename(final)
    return candidate


def judge(
    workspace: Workspace, candidate: Candidate, current: config.EncoderSettings, data: TuningData, settings: Settings
) -> Verdict:
    """Compare the candidate with the current encoder on the held-out pairs, by a paired bootstrap over texts.

    A text with several pairs counts once, with their mean. If only a sentiment head is new, it is adopted without a
    comparison.
    """
    if not candidate.changed:
        if candidate.has_head:
            return Verdict(True, "new sentiment head, encoder unchanged")
        return Verdict(False, "every stage was skipped")
    if data.pairs is None:
        return Verdict(False, f"no pairs to evaluate on: {data.no_pairs}")
    pairs = held_out_pairs(data.pairs, settings.finetune.contrastive.held_out, MAX_HELD_OUT)
    n_anchors = pairs["anchor"].n_unique()
    if n_anchors < MIN_ANCHORS:
        remedy = "ingest more data or raise finetune.contrastive.held_out"
        return Verdict(False, f"too few held-out texts: {n_anchors}, at least {MIN_ANCHORS} are needed; {remedy}")
    before, after = (_quality(resolve_path(workspace, encoder), pairs) for encoder in (current, candidate.encoder))
    low, high = bootstrap_difference(after, before, settings.seed)
    better = low > 0
    reason = f"{'' if better else 'not '}significantly better at retrieving held-out texts"
    return Verdict(better, reason, n_anchors, float(before.mean()), float(after.mean()), low, high)


def adoption_of(workspace: Workspace, candidate: Candidate, base: str) -> SelectedEncoder:
    """The record of an adoption; base: the model named in the settings."""
    model = candidate.encoder.model
    in_folders = [model.removeprefix(IN_WORKSPACE)] if model.startswith(IN_WORKSPACE) else []
    in_folders += [candidate.name] if candidate.has_head and not candidate.changed else []
    files = {
        path.relative_to(workspace.encoders).as_posix(): sha256_of(path)
        for name in in_folders
        for path in sorted((workspace.encoders / name).rglob("*"))
        if path.is_file()
    }
    folder = resolve_path(workspace, candidate.encoder).model
    head = candidate.name if candidate.has_head else ""
    return SelectedEncoder(base, model, weights_digest(folder, model_folder(folder)), head, files)


def _quality(named: config.EncoderSettings, pairs: pl.DataFrame) -> np.ndarray:
    """(n_anchors,) NDCG@10 of each distinct anchor, in order of first occurrence."""
    of_pairs = ndcg(retrieval_ranks(load_encoder(named), pairs), K)
    by_anchor = pairs.select("anchor").with_columns(ndcg=pl.Series(of_pairs))
    return by_anchor.group_by("anchor", maintain_order=True).agg(pl.col("ndcg").mean())["ndcg"].to_numpy()

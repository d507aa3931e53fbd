"""What fine-tuning made becomes a folder of the workspace, and is measured against the encoder in use."""

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
from features.encoder.selection import IN_WORKSPACE, READER, Adopted, located, named
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
"""Of fewer held-out texts a bootstrap interval says too little: two texts that agree would look certain."""


@dataclass(frozen=True)
class Candidate:
    """name: of its folder below `WORKSPACE/encoders`; encoder: the settings that load it, with `workspace:NAME` for the
    model, or those in use where no stage changed the encoder; has_head: whether the folder has a sentiment head.
    """

    name: str
    encoder: config.EncoderSettings
    changed: bool
    has_head: bool


@dataclass(frozen=True)
class Verdict:
    """Whether the candidate is adopted, and why.

    before, after: mean NDCG@10 over `n_anchors` held-out texts, with the encoder in use and with the candidate; low,
    high: the 95 % interval of the mean difference, after less before. All 0 where nothing was measured.
    """

    adopted: bool
    reason: str
    n_anchors: int = 0
    before: float = 0.0
    after: float = 0.0
    low: float = 0.0
    high: float = 0.0


def keep_candidate(
    workspace: Workspace, made: TunedEncoder, current: config.EncoderSettings, as_of: datetime, drafts: Path
) -> Candidate:
    """Move what was made to `WORKSPACE/encoders/NAME`, whole or not at all; equal contents have equal names.

    current: the encoder in use, which a head reads where no stage changed the encoder. drafts: a folder beside NAME.
    """
    contents = [path for part in (MODEL, HEAD) for path in sorted((made.folder / part).rglob("*.safetensors"))]
    tail = hashlib.sha256("".join(sha256_of(path) for path in contents).encode()).hexdigest()[:6]
    name = f"finetuned-{as_of.astimezone(UTC):%Y%m%dT%H%M%SZ}-{tail}"
    encoder = current.model_copy(update={"model": named(name), "sha256": ""}) if made.changed else current
    candidate = Candidate(name, encoder, made.changed, made.has_head)
    final = workspace.encoders / name
    if final.exists() or not (made.changed or made.has_head):
        return candidate
    draft = drafts / name
    if candidate.changed:
        (made.folder / MODEL).rename(draft)
    draft.mkdir(exist_ok=True)
    if candidate.has_head:
        own = made.folder / HEAD / READER
        if own.is_dir():
            own.rename(draft / READER)
        if (draft / READER).is_dir():
            read = current.model_copy(update={"model": str(draft / READER), "sha256": ""})
        elif candidate.changed:
            read = current.model_copy(update={"model": str(draft), "sha256": ""})
        else:
            read = located(workspace, current)
        # The folder's own name is part of an encoder's id, where it lies is not.
        replace(SentimentHead.load(made.folder / HEAD), encoder_id=encoder_id(read)).save(draft)
    sync_tree(draft)
    draft.rename(final)
    return candidate


def judge(
    workspace: Workspace, candidate: Candidate, current: config.EncoderSettings, data: TuningData, settings: Settings
) -> Verdict:
    """The candidate beside the encoder in use, on the pairs that no stage was trained on, by a paired bootstrap.

    A text with several pairs counts once, with their mean: it is texts that are drawn. Where only a sentiment head is
    new, there is nothing to compare, and it is adopted.
    """
    if not candidate.changed:
        if candidate.has_head:
            return Verdict(True, "a sentiment head on the encoder in use, which stays as it is")
        return Verdict(False, "every stage was skipped")
    if data.pairs is None:
        return Verdict(False, f"there is nothing to measure it on: {data.no_pairs}")
    pairs = held_out_pairs(data.pairs, settings.finetune.contrastive.held_out, MAX_HELD_OUT)
    n_anchors = pairs["anchor"].n_unique()
    if n_anchors < MIN_ANCHORS:
        remedy = "ingest more, or raise finetune.contrastive.held_out"
        return Verdict(False, f"{n_anchors} held-out texts are too few to tell, {MIN_ANCHORS} are needed; {remedy}")
    before, after = (_quality(located(workspace, encoder), pairs) for encoder in (current, candidate.encoder))
    low, high = bootstrap_difference(after, before, settings.seed)
    better = low > 0
    reason = "clearly better at finding held-out texts" if better else "not clearly better at finding held-out texts"
    return Verdict(better, reason, n_anchors, float(before.mean()), float(after.mean()), low, high)


def adoption_of(workspace: Workspace, candidate: Candidate, base: str) -> Adopted:
    """What is to be written where the verdict is to adopt; base: the model that the settings name."""
    model = candidate.encoder.model
    in_folders = [model.removeprefix(IN_WORKSPACE)] if model.startswith(IN_WORKSPACE) else []
    in_folders += [candidate.name] if candidate.has_head and not candidate.changed else []
    files = {
        path.relative_to(workspace.encoders).as_posix(): sha256_of(path)
        for name in in_folders
        for path in sorted((workspace.encoders / name).rglob("*"))
        if path.is_file()
    }
    folder = located(workspace, candidate.encoder).model
    head = candidate.name if candidate.has_head else ""
    return Adopted(base, model, weights_digest(folder, model_folder(folder)), head, files)


def _quality(named: config.EncoderSettings, pairs: pl.DataFrame) -> np.ndarray:
    """(n_anchors,) NDCG@10 of each distinct anchor, in the order in which they first occur."""
    found = ndcg(retrieval_ranks(load_encoder(named), pairs), K)
    by_anchor = pairs.select("anchor").with_columns(ndcg=pl.Series(found))
    return by_anchor.group_by("anchor", maintain_order=True).agg(pl.col("ndcg").mean())["ndcg"].to_numpy()

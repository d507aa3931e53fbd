"""Run the stages of fine-tuning on all GPUs of the cluster, or in this process if there is at most one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import ray
import torch
from ray.util.queue import Queue

from features.encoder.encoder import Encoder
from features.encoder.selection import SENTIMENT_ENCODER
from features.finetune.contrastive import tune_contrastive
from features.finetune.export import save_encoder
from features.finetune.loop import OnStep, Step
from features.finetune.mlm import tune_mlm
from features.finetune.projection import fit_projection
from features.finetune.record import FinetuneRecord, StageRecord, read_record, write_record
from features.finetune.sentiment import Sentiment, fit_sentiment
from features.finetune.tuning import load_trainable
from jobs.cluster.training_workers import check_shared, gather_crew, report_queue, run_workers, workers_to_use
from jobs.finetune.data import TuningData
from recsys import config, parallel
from recsys.errors import DataError

MODEL: Final = "model"
HEAD: Final = "head"

Stage = Literal["mlm", "projection", "contrastive", "sentiment"]
STAGES: Final[tuple[Stage, ...]] = ("mlm", "projection", "contrastive", "sentiment")

_RECORD: Final = "record.json"


@dataclass(frozen=True)
class TunedEncoder:
    """The result of the stages in `folder`: an encoder in `MODEL` if a stage changed it, a sentiment head in `HEAD` if
    one was fitted, with the head's own encoder in `HEAD/SENTIMENT_ENCODER` if it has one."""

    folder: Path
    record: FinetuneRecord

    @property
    def changed(self) -> bool:
        """Whether there is a new encoder."""
        return (self.folder / MODEL).is_dir()

    @property
    def has_head(self) -> bool:
        """Whether there is a sentiment head."""
        return (self.folder / HEAD).is_dir()


@dataclass(frozen=True)
class _Work:
    """Input of one worker. max_tokens: where texts are cut when they are embedded; steps: queue of progress reports."""

    data: ray.ObjectRef[TuningData]
    encoder: config.EncoderSettings
    max_tokens: int
    settings: config.FinetuneSettings
    seed: int
    checkpoints: Path
    folder: Path
    steps: Queue
    n_threads: int


def train_stages(
    data: TuningData,
    encoder: config.EncoderSettings,
    max_tokens: int,
    settings: config.FinetuneSettings,
    seed: int,
    *,
    checkpoints: Path,
    folder: Path,
    on_step: OnStep,
) -> TunedEncoder:
    """Run `settings.stages` on the encoder under Ray Train, with one worker per GPU, or with `settings.workers`.

    Without GPUs, with one in this machine, or with one worker in the settings, the stages run in this process without
    Ray. max_tokens: where texts are cut when the encoder is used; training uses `settings.max_tokens`. checkpoints:
    folder from which an interrupted run is resumed; folder: empty, for the result; on a cluster of several machines
    both must be on a shared disk. on_step: called in this process after every step.
    Raises as the stages do, except DataError: a stage without data is skipped, and its record gives the reason.
    """
    n_workers, on_gpus = workers_to_use(settings.workers)
    if n_workers == 1 and (torch.cuda.is_available() or not on_gpus):
        _run_stages(data, encoder, max_tokens, settings, seed, checkpoints, folder, on_step)
    else:
        crew = gather_crew(n_workers, on_gpus)
        queue = report_queue()
        data_ref = ray.put(data)
        work = _Work(
            data_ref,
            encoder,
            max_tokens,
            settings,
            seed,
            checkpoints.resolve(),
            folder.resolve(),
            queue,
            crew.n_threads,
        )
        run_workers(_run_worker, work, crew, folder.resolve() / "ray", queue, on_step)
    return TunedEncoder(folder, read_record(folder / _RECORD))


def _run_worker(loop_config: dict[str, Any]) -> None:
    """One of the processes that train together; Ray Train has made them torch.distributed's default group."""
    work: _Work = loop_config["work"]
    check_shared(work.folder, "finetune.workers")
    torch.set_num_threads(work.n_threads)
    data = ray.get(work.data)
    _run_stages(
        data,
        work.encoder,
        work.max_tokens,
        work.settings,
        work.seed,
        work.checkpoints,
        work.folder,
        work.steps.put,
    )


def _run_stages(
    data: TuningData,
    named: config.EncoderSettings,
    max_tokens: int,
    settings: config.FinetuneSettings,
    seed: int,
    checkpoints: Path,
    folder: Path,
    on_step: Callable[[Step], None],
) -> None:
    """In one of the processes that train together; the first one writes the result to `folder`."""
    encoder = load_trainable(named, settings)
    records: list[StageRecord] = []
    head: Sentiment | None = None
    for number, stage in enumerate(planned(settings.stages)):
        states = checkpoints / f"{number}-{stage}"
        try:
            match stage:
                case "mlm":
                    records.append(tune_mlm(encoder, data.texts, settings, seed, checkpoint=states, on_step=on_step))
                case "contrastive":
                    if data.pairs is None:
                        raise DataError(data.no_pairs)
                    state = states / "state.safetensors"
                    records.append(
                        tune_contrastive(encoder, data.pairs, settings, seed, checkpoint=state, on_step=on_step)
                    )
                case "projection":
                    if data.pairs is None:
                        raise DataError(data.no_pairs)
                    given = (data.pairs, data.histories)
                    state = states / "state.safetensors"
                    records.append(fit_projection(encoder, *given, settings, seed, checkpoint=state, on_step=on_step))
                case "sentiment":
                    encode = replace(encoder, max_tokens=max_tokens).encode
                    head = fit_sentiment(
                        encoder, data.reviews, settings, seed, encode=encode, checkpoint=states, on_step=on_step
                    )
                    records.append(head.record)
        except DataError as error:
            records.append(StageRecord(stage, skipped=str(error)))
    if parallel.rank() == 0:
        record = FinetuneRecord(encoder.id, "", seed, _device(encoder), tuple(records))
        _save(encoder, head, record, folder, max_tokens)


def planned(stages: Sequence[Stage]) -> list[Stage]:
    """The stages in the order in which they run.

    The sentiment head reads vectors of the finished encoder, so it comes last. The projection is fitted before the
    contrastive stage, which tunes the encoder through it, and again after it.
    """
    order: list[Stage] = []
    for stage in sorted(stages, key=STAGES.index):
        order += [stage, "projection"] if stage == "contrastive" and "projection" in stages else [stage]
    return order


def _save(encoder: Encoder, sentiment: Sentiment | None, record: FinetuneRecord, folder: Path, max_tokens: int) -> None:
    if any(not stage.skipped and stage.stage != "sentiment" for stage in record.stages):
        save_encoder(encoder, folder / MODEL, max_tokens)
    if sentiment is not None:
        sentiment.head.save(folder / HEAD)
        if sentiment.tuned:
            save_encoder(sentiment.encoder, folder / HEAD / SENTIMENT_ENCODER, max_tokens)
    write_record(record, folder / _RECORD)


def _device(encoder: Encoder) -> str:
    device = encoder.device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type

"""Fine-tune the encoder of a workspace: read data, train the stages, save a candidate, adopt it if clearly better."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from pydantic import TypeAdapter

from features.encoder.encoder import encoder_id, load_encoder
from features.encoder.selection import effective_settings, read_selected, resolve_path, select_encoder
from features.finetune.loop import Step
from features.finetune.record import FinetuneRecord, plot_learning_curves, write_record
from features.workspace.atomic_files import write_atomically
from features.workspace.lease import hold_lease
from jobs.finetune.candidate import Verdict, adoption_of, judge, save_candidate
from jobs.finetune.data import read_tuning_data
from jobs.finetune.stages import train_stages
from jobs.lake.lake import Lake
from jobs.lake.snapshot import newest_moment
from recsys.config import Settings
from recsys.workspace import Workspace

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int | None], None]
"""Called with a step's name, the units done and the total."""

_DRAFTS: Final = ".draft-"
_VERDICT: Final = TypeAdapter(Verdict)


@dataclass(frozen=True)
class FinetuneReport:
    """The result of a run. name: of its folder in `runs` (record, curves, verdict) and in `encoders` (the encoder)."""

    name: str
    record: FinetuneRecord
    verdict: Verdict


def finetune(
    workspace: Workspace, settings: Settings, as_of: datetime | None, now: datetime, progress: Progress
) -> FinetuneReport:
    """Fine-tune the current encoder on data from before `as_of`, by default the newest event's time, at most `now`.

    An interrupted run is resumed if this is called again with the same data and settings. If the result is clearly
    better (`judge`), nightly runs use it from then on. Raises DataError if there are no events, EncoderError if the
    current encoder is missing or altered, StoreError if another run fine-tunes this workspace.
    """
    with hold_lease(workspace.tuning_lease, now, settings.releases.lease_minutes):
        return _run(workspace, settings, as_of, now, progress)


def _run(
    workspace: Workspace, settings: Settings, as_of: datetime | None, now: datetime, progress: Progress
) -> FinetuneReport:
    base = settings.encoder.model
    current = effective_settings(settings.encoder, read_selected(workspace, base))
    named = resolve_path(workspace, current)
    as_of = as_of or min(newest_moment(Lake(workspace.lake)), now)
    encoder = load_encoder(named)
    max_tokens = encoder.max_tokens
    data = read_tuning_data(
        workspace, encoder, named, settings, as_of, lambda done, total: progress("embed", done, total)
    )
    del encoder  # the stages load it again, for training

    def on_step(step: Step) -> None:
        progress(f"train {step.stage}", step.number, step.n_steps)

    workspace.encoders.mkdir(parents=True, exist_ok=True)
    for left in workspace.encoders.glob(f"{_DRAFTS}*"):  # by a killed run
        shutil.rmtree(left)
    with TemporaryDirectory(prefix=_DRAFTS, dir=workspace.encoders, ignore_cleanup_errors=True) as drafts:
        folder = Path(drafts) / "tuned"
        folder.mkdir()
        result = train_stages(
            data,
            named,
            max_tokens,
            settings.finetune,
            settings.seed,
            checkpoints=workspace.tuning,
            folder=folder,
            on_step=on_step,
        )
        candidate = save_candidate(workspace, result, current, as_of, Path(drafts))
    verdict = judge(workspace, candidate, current, data, settings)
    tuned = encoder_id(resolve_path(workspace, candidate.encoder)) if candidate.changed else ""
    report = FinetuneReport(candidate.name, replace(result.record, tuned=tuned), verdict)
    _write(report, workspace.runs / candidate.name)
    if verdict.adopted:
        select_encoder(workspace, adoption_of(workspace, candidate, base))
    shutil.rmtree(workspace.tuning, ignore_errors=True)
    log.info("finetune done run=%s adopted=%s reason=%s", report.name, verdict.adopted, verdict.reason)
    return report


def _write(report: FinetuneReport, folder: Path) -> None:
    write_record(report.record, folder / "record.json")
    plot_learning_curves(report.record, folder / "learning-curves.png")
    write_atomically(folder / "verdict.json", _VERDICT.dump_json(report.verdict, indent=2) + b"\n")

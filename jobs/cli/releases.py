"""`recsys releases`: list, show, compare, serve and delete releases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from features.workspace.location import NIGHT, reading, working
from jobs.cli.options import ConfigOption, JsonOption, WorkspaceOption, clock, print_json, settings_of
from recsys.workspace import Workspace

if TYPE_CHECKING:
    import polars as pl

    from features.store.diff import ReleaseDiff
    from features.store.manifest import Manifest
    from jobs.gate.records import GateRecord

# Imports inside the functions: lancedb and torch take seconds to import, and `recsys --help` must be fast.

releases_app = typer.Typer(help="List, show, compare, roll back to and delete releases.", no_args_is_help=True)

ReleaseArgument = Annotated[str, typer.Argument(metavar="ID", help="Release id, or `current`.")]

MAX_SHOWN = 10
MAX_SLATES = 5
MAX_TITLES = 2
"""Most rows of a diff's tables, and titles in a row; --json has all."""


@releases_app.command("list")
def list_command(workspace: WorkspaceOption, as_json: JsonOption = False) -> None:
    """List the published releases, oldest first, with the quality of their lists and the NDCG of popularity."""
    from features.store.store import Store

    with reading(workspace) as place:
        store = Store(place)
        current, manifests = store.current_id(), store.releases()
    if as_json:
        print_json([asdict(manifest) | {"current": manifest.release_id == current} for manifest in manifests])
        return
    if not manifests:
        store.open()  # raises the error that says what to do
    table = _table("", "release", "items", "users", "recall", "ndcg", "popular", "")
    for manifest in manifests:
        rows = [f"{manifest.rows[name]:,}" for name in ("items", "users")]
        served = "served" if manifest.release_id == current else ""
        table.add_row(manifest.release_id, *rows, *_headline(manifest.metrics), served)
    Console().print(table)


@releases_app.command("show")
def show_command(release: ReleaseArgument, workspace: WorkspaceOption, as_json: JsonOption = False) -> None:
    """Show one release: inputs, tables and files, quality of its lists, and the verdict of the release gate."""
    from features.store.store import Store
    from jobs.gate.records import GATE

    with reading(workspace, "runs") as place:
        store = Store(place)
        manifest = store.open(_named(release), verify=False).manifest
    folder = place.releases / manifest.release_id
    sizes = {name: (folder / name).stat().st_size for name in manifest.files if (folder / name).is_file()}
    verdict = GATE.find(place.runs / manifest.release_id)
    if as_json:
        served = manifest.release_id == store.current_id()
        gate = GATE.adapter.dump_python(verdict, mode="json") if verdict else None
        print_json(asdict(manifest) | {"current": served, "file_bytes": sizes, "gate": gate})
        return
    console = Console()
    is_served = manifest.release_id == store.current_id()
    console.print(_details(manifest, sum(sizes.values()), verdict, is_served=is_served))
    if page := _report(place, manifest.release_id):
        console.print(f"report of the nightly run: {page}\n", highlight=False, soft_wrap=True, markup=False)
    table = _table("Tables and files", "", "rows", "bytes")
    for name, n_rows in manifest.rows.items():
        table.add_row(f"{name}, version {manifest.tables[name]}", f"{n_rows:,}", "")
    for name, n_bytes in sorted(sizes.items(), key=lambda size: -size[1]):
        table.add_row(name, "", f"{n_bytes:,}")
    console.print(table)
    table = _table("Quality of lists of 10 on held-out days", "slice", "shoppers", "recall", "ndcg", "mrr", "coverage")
    for name, metrics in manifest.metrics.get("fused", {}).items():
        if metrics["n_users"]:
            figures = (f"{metrics[figure]:.4f}" for figure in ("recall", "ndcg", "mrr", "coverage"))
            table.add_row(name, f"{metrics['n_users']:,}", *figures)
    console.print(table)


@releases_app.command("diff")
def diff_command(
    a: Annotated[str, typer.Argument(metavar="A", help="Release id, or `current`.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Release id, or `current`.")],
    workspace: WorkspaceOption,
    shoppers: Annotated[int, typer.Option(min=0, help="Number of shoppers whose lists are compared.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Compare two releases: quality, settings, items, nearest neighbours, and the lists of some shoppers."""
    from features.store.diff import diff_releases
    from features.store.release import load_release

    with reading(workspace) as place:
        diff = diff_releases(load_release(place, _named(a)), load_release(place, _named(b)), shoppers)
    if as_json:
        parts = asdict(diff).items()
        print_json({name: part.to_dicts() if hasattr(part, "to_dicts") else part for name, part in parts})
        return
    _print_diff(diff)


@releases_app.command("atlas")
def atlas_command(release: ReleaseArgument, workspace: WorkspaceOption) -> None:
    """Compute the item map of a release for /inspect, similar items close together. Minutes for 100,000 items."""
    from features.item_map.layout import layout, save_layout
    from features.store.release import load_release

    with working(workspace, NIGHT, clock) as place:
        loaded = load_release(place, _named(release))
        seed = loaded.catalogue.settings.seed if loaded.catalogue else 0
        places = layout(loaded.recommender.vectors, seed)
        save_layout(place, loaded.release_id, places)
    text = f"computed the map of {len(places):,} items of release {loaded.release_id}; /inspect shows it from now on"
    Console().print(text, highlight=False, soft_wrap=True)


@releases_app.command("rollback")
def rollback_command(release: ReleaseArgument, workspace: WorkspaceOption) -> None:
    """Serve another published release, after verifying its files."""
    from features.store.store import Store

    with working(workspace, NIGHT, clock) as place:
        store = Store(place)
        before = store.current_id()
        store.rollback(store.open(_named(release)).release_id, datetime.now(UTC))
    Console().print(f"now serving release {store.current_id()}, before: {before}", highlight=False, soft_wrap=True)


@releases_app.command("gc")
def gc_command(
    workspace: WorkspaceOption,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Number of newest releases to keep. Default: setting releases.keep.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be deleted; delete nothing.")] = False,
    config: ConfigOption = None,
) -> None:
    """Delete all releases except the newest, the served one, and those used by experiments."""
    from features.store.store import Store

    console = Console()
    with reading(workspace) if dry_run else working(workspace, NIGHT, clock) as place:
        settings = settings_of(place, config)
        store, n_kept, used = Store(place), keep or settings.releases.keep, settings.experiment_releases()
        if dry_run:
            collectable = store.collectable(n_kept, used)
            console.print(f"would delete {_counted(collectable)}", highlight=False, soft_wrap=True)
            return
        before = _bytes_of(place)
        removed = store.collect(n_kept, datetime.now(UTC), used)
        freed = max(before - _bytes_of(place), 0)
    console.print(f"deleted {_counted(removed)}; {freed:,} bytes freed", highlight=False, soft_wrap=True)


def _counted(release_ids: list[str]) -> str:
    return f"{len(release_ids)} releases" + (f": {', '.join(release_ids)}" if release_ids else "")


def _bytes_of(place: Workspace) -> int:
    """Size on disk of the store and the releases' files."""
    files = (path for root in (place.store, place.releases) for path in root.rglob("*"))
    return sum(path.stat().st_size for path in files if path.is_file())


def _named(release: str) -> str | None:
    return None if release == "current" else release


def _report(place: Workspace, release_id: str) -> str:
    """Path of the report of the nightly run that published the release; "" if there is none."""
    from jobs.nightly.record import REPORT_FILE, read_runs

    runs = (run for run in read_runs(place) if run.release_id == release_id and run.status == "published")
    pages = [place.runs / run.run_id / REPORT_FILE for run in runs]
    return next((str(page) for page in reversed(pages) if page.is_file()), "")


def _details(manifest: Manifest, n_bytes: int, verdict: GateRecord | None, *, is_served: bool) -> Table:
    table = _table(f"Release {manifest.release_id}" + (", served" if is_served else ""), "", "")
    outcome = "no verdict" if verdict is None else verdict.outcome
    against = f", compared with {verdict.compared_with}" if verdict and verdict.compared_with else ""
    details = {
        "as of": f"{manifest.as_of:%Y-%m-%d %H:%M:%S} UTC",
        "created": f"{manifest.created_at:%Y-%m-%d %H:%M:%S} UTC",
        "parent": manifest.parent or "none",
        "encoder": f"{manifest.encoder_id} ({manifest.encoder_sha256[:12]})",
        "settings": manifest.config_sha256[:12],
        "model files": f"{len(manifest.files)}, {n_bytes:,} bytes",
        "gate": f"{outcome}{against}",
    }
    for name, value in details.items():
        table.add_row(name, value)
    for reason in verdict.reasons if verdict else ():
        table.add_row("", reason)
    return table


def _print_diff(diff: ReleaseDiff) -> None:
    console = Console()
    console.print(f"A = {diff.a}\nB = {diff.b}", highlight=False)
    if diff.encoder[0] != diff.encoder[1]:
        console.print(f"encoder {diff.encoder[0]} -> {diff.encoder[1]}", highlight=False, soft_wrap=True)
    table = _table(
        "Quality of lists of 10, each on its own held-out days", "slice", "recall A", "recall B", "ndcg A", "ndcg B"
    )
    for row in diff.metrics.iter_rows(named=True):
        if row["n_users_a"] or row["n_users_b"]:
            figures = (row[name] for name in ("recall_a", "recall_b", "ndcg_a", "ndcg_b"))
            table.add_row(row["slice"], *("-" if figure is None else f"{figure:.4f}" for figure in figures))
    console.print(table)
    for title, frame, columns in (
        ("Settings", diff.settings, ("key", "a", "b")),
        ("New items", diff.new_items, ("item_id", "title")),
        ("Removed items", diff.gone_items, ("item_id", "title")),
        ("Items with the most changed neighbours", diff.neighbours, ("item_id", "title", "churn")),
    ):
        _print_rows(console, f"{title}: {_summary(frame)}", frame.head(MAX_SHOWN).select(columns).iter_rows(), columns)
    changed = (
        (slate["user_id"], slate["churn"], *_swapped(slate["before"], slate["after"]))
        for slate in diff.slates.head(MAX_SLATES).iter_rows(named=True)
    )
    shown = ("user_id", "churn", "removed", "added")
    _print_rows(console, f"Most changed lists: {_summary(diff.slates)}", changed, shown)


def _swapped(before: list[str], after: list[str]) -> tuple[str, str]:
    """The first titles that only `before` has, and those that only `after` has."""
    removed = [title for title in before if title not in after]
    added = [title for title in after if title not in before]
    return "; ".join(removed[:MAX_TITLES]), "; ".join(added[:MAX_TITLES])


def _summary(frame: pl.DataFrame) -> str:
    if "churn" in frame.columns and len(frame):
        mean = sum(frame["churn"].to_list()) / len(frame)
        return f"{len(frame):,} compared, on average {mean:.0%} changed"
    return f"{len(frame):,}"


def _print_rows(console: Console, title: str, rows: Iterable[Sequence[Any]], columns: Sequence[str]) -> None:
    """Print the table, or only its title if there are no rows."""
    table = _table(title, *columns)
    for row in rows:
        table.add_row(*(f"{value:.0%}" if isinstance(value, float) else value or "" for value in row))
    console.print(table if table.rows else f"{title}\n", highlight=False)


def _headline(metrics: Mapping[str, Any]) -> list[str]:
    if not metrics.get("fused", {}).get("all", {}).get("n_users"):
        return ["-", "-", "-"]
    fused, popular = metrics["fused"]["all"], metrics["popularity"]["all"]
    return [f"{fused['recall']:.4f}", f"{fused['ndcg']:.4f}", f"{popular['ndcg']:.4f}"]


_TEXT_COLUMNS = ("release", "", "slice", "title", "item_id", "user_id", "key", "a", "b", "removed", "added")
"""Left-aligned columns; numbers are right-aligned."""


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title or None, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        wraps = name in ("title", "removed", "added", "a", "b")
        table.add_column(name, justify="left" if name in _TEXT_COLUMNS else "right", no_wrap=not wraps)
    return table

"""`recsys releases`: what was published, what differs, which one is served, and what may go."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from features.workspace.location import NIGHT, reading, working
from jobs.cli.options import ConfigOption, JsonOption, WorkspaceOption, clock, settings_of
from jobs.gate.records import GATE, GateRecord
from recsys.workspace import Workspace

if TYPE_CHECKING:
    import polars as pl

    from features.store.diff import ReleaseDiff
    from features.store.manifest import Manifest

# Commands import what they run: `recsys --help` shall not wait for it.

releases_app = typer.Typer(
    help="Look at the published releases, serve another one, remove old ones.", no_args_is_help=True
)

ReleaseArgument = Annotated[str, typer.Argument(metavar="ID", help="A release's id, or `current`.")]

MAX_SHOWN = 10
MAX_SLATES = 5
MAX_TITLES = 2
"""Rows of a diff's tables, and titles in a row; --json has them all."""


@releases_app.command("list")
def list_command(workspace: WorkspaceOption, as_json: JsonOption = False) -> None:
    """The published releases, oldest first, with the quality of their lists and the NDCG of popularity beside it."""
    from features.store.store import Store

    with reading(workspace) as place:
        store = Store(place)
        current, manifests = store.current_id(), store.releases()
    if as_json:
        _print_json([asdict(manifest) | {"current": manifest.release_id == current} for manifest in manifests])
        return
    if not manifests:
        store.open()  # says what to do
    table = _table("", "release", "items", "users", "recall", "ndcg", "popular", "")
    for manifest in manifests:
        rows = [f"{manifest.rows[name]:,}" for name in ("items", "users")]
        served = "served" if manifest.release_id == current else ""
        table.add_row(manifest.release_id, *rows, *_headline(manifest.metrics), served)
    Console().print(table)


@releases_app.command("show")
def show_command(release: ReleaseArgument, workspace: WorkspaceOption, as_json: JsonOption = False) -> None:
    """One release: how it was made, what it holds, how good its lists are, and what the gate said."""
    from features.store.store import Store

    with reading(workspace, "runs") as place:
        store = Store(place)
        manifest = store.open(_named(release), verify=False).manifest
    folder = place.releases / manifest.release_id
    sizes = {name: (folder / name).stat().st_size for name in manifest.files if (folder / name).is_file()}
    verdict = _verdict(place, manifest.release_id)
    if as_json:
        served = manifest.release_id == store.current_id()
        _print_json(
            asdict(manifest)
            | {
                "current": served,
                "file_bytes": sizes,
                "gate": GATE.adapter.dump_python(verdict, mode="json") if verdict else None,
            }
        )
        return
    console = Console()
    is_served = manifest.release_id == store.current_id()
    console.print(_facts(manifest, sum(sizes.values()), verdict, is_served=is_served))
    if page := _report(place, manifest.release_id):
        console.print(f"report of its night: {page}\n", highlight=False, soft_wrap=True, markup=False)
    table = _table("Tables and files", "", "rows", "bytes")
    for name, n_rows in manifest.rows.items():
        table.add_row(f"{name}, version {manifest.tables[name]}", f"{n_rows:,}", "")
    for name, n_bytes in sorted(sizes.items(), key=lambda one: -one[1]):
        table.add_row(name, "", f"{n_bytes:,}")
    console.print(table)
    table = _table("Lists of 10 on the held-out days", "slice", "shoppers", "recall", "ndcg", "mrr", "coverage")
    for name, told in manifest.metrics.get("fused", {}).items():
        if told["n_users"]:
            figures = (f"{told[figure]:.4f}" for figure in ("recall", "ndcg", "mrr", "coverage"))
            table.add_row(name, f"{told['n_users']:,}", *figures)
    console.print(table)


@releases_app.command("diff")
def diff_command(
    a: Annotated[str, typer.Argument(metavar="A", help="A release's id, or `current`.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    workspace: WorkspaceOption,
    shoppers: Annotated[int, typer.Option(min=0, help="So many fixed shoppers' lists are compared.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """What B has that A has not: quality, settings, items, neighbourhoods, and the lists of some shoppers."""
    from features.store.diff import diff_releases
    from features.store.release import load_release

    with reading(workspace) as place:
        diff = diff_releases(load_release(place, _named(a)), load_release(place, _named(b)), shoppers)
    if as_json:
        told = asdict(diff)
        _print_json({name: one.to_dicts() if hasattr(one, "to_dicts") else one for name, one in told.items()})
        return
    _print_diff(diff)


@releases_app.command("atlas")
def atlas_command(release: ReleaseArgument, workspace: WorkspaceOption) -> None:
    """Lay out the items of a release for the map of /inspect, alike ones together: minutes for 100,000 items."""
    from features.item_map.layout import keep_layout, layout
    from features.store.release import load_release

    with working(workspace, NIGHT, clock) as place:
        loaded = load_release(place, _named(release))
        seed = loaded.catalogue.settings.seed if loaded.catalogue else 0
        places = layout(loaded.recommender.vectors, seed)
        keep_layout(place, loaded.release_id, places)
    said = f"{len(places):,} items of release {loaded.release_id} are laid out; /inspect shows them so from now on"
    Console().print(said, highlight=False, soft_wrap=True)


@releases_app.command("rollback")
def rollback_command(release: ReleaseArgument, workspace: WorkspaceOption) -> None:
    """Serve another published release from now on, after checking that it is whole."""
    from features.store.store import Store

    with working(workspace, NIGHT, clock) as place:
        store = Store(place)
        before = store.current_id()
        store.rollback(store.open(_named(release)).release_id, datetime.now(UTC))
    Console().print(f"release {store.current_id()} is served, before {before}", highlight=False, soft_wrap=True)


@releases_app.command("gc")
def gc_command(
    workspace: WorkspaceOption,
    keep: Annotated[int | None, typer.Option(min=1, help="By default releases.keep.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; remove nothing.")] = False,
    config: ConfigOption = None,
) -> None:
    """Remove all but the newest releases, the served one, and those that experiments are served from."""
    from features.store.store import Store

    console = Console()
    with reading(workspace) if dry_run else working(workspace, NIGHT, clock) as place:
        settings = settings_of(place, config)
        store, n_kept, used = Store(place), keep or settings.releases.keep, settings.experiment_releases()
        if dry_run:
            going = store.collectable(n_kept, used)
            console.print(f"would remove {_counted(going)}", highlight=False, soft_wrap=True)
            return
        before = _bytes_of(place)
        gone = store.collect(n_kept, datetime.now(UTC), used)
        freed = max(before - _bytes_of(place), 0)
    console.print(f"removed {_counted(gone)}; {freed:,} bytes freed", highlight=False, soft_wrap=True)


def _counted(release_ids: list[str]) -> str:
    return f"{len(release_ids)} releases" + (f": {', '.join(release_ids)}" if release_ids else "")


def _bytes_of(place: Workspace) -> int:
    """Of the store and the releases' files, as they lie on the disk."""
    files = (path for root in (place.store, place.releases) for path in root.rglob("*"))
    return sum(path.stat().st_size for path in files if path.is_file())


def _named(release: str) -> str | None:
    return None if release == "current" else release


def _verdict(place: Workspace, release_id: str) -> GateRecord | None:
    return GATE.find(place.runs / release_id)


def _report(place: Workspace, release_id: str) -> str:
    """The page of the night that published it; "" where there is none."""
    from jobs.nightly.record import REPORT_FILE, read_runs

    nights = (run for run in read_runs(place) if run.release_id == release_id and run.status == "published")
    pages = [place.runs / run.run_id / REPORT_FILE for run in nights]
    return next((str(page) for page in reversed(pages) if page.is_file()), "")


def _facts(manifest: Manifest, n_bytes: int, verdict: GateRecord | None, *, is_served: bool) -> Table:
    table = _table(f"Release {manifest.release_id}" + (", served" if is_served else ""), "", "")
    outcome = "no gate has judged it" if verdict is None else verdict.outcome
    against = f", against {verdict.compared_with}" if verdict and verdict.compared_with else ""
    facts = {
        "as of": f"{manifest.as_of:%Y-%m-%d %H:%M:%S} UTC",
        "made": f"{manifest.created_at:%Y-%m-%d %H:%M:%S} UTC",
        "parent": manifest.parent or "none",
        "encoder": f"{manifest.encoder_id} ({manifest.encoder_sha256[:12]})",
        "settings": manifest.config_sha256[:12],
        "model files": f"{len(manifest.files)}, {n_bytes:,} bytes",
        "gate": f"{outcome}{against}",
    }
    for name, value in facts.items():
        table.add_row(name, value)
    for reason in verdict.reasons if verdict else ():
        table.add_row("", reason)
    return table


def _print_diff(diff: ReleaseDiff) -> None:
    console = Console()
    console.print(f"A = {diff.a}\nB = {diff.b}", highlight=False)
    if diff.encoder[0] != diff.encoder[1]:
        console.print(f"encoder {diff.encoder[0]} -> {diff.encoder[1]}", highlight=False, soft_wrap=True)
    table = _table("Lists of 10 on each one's own held-out days", "slice", "recall A", "recall B", "ndcg A", "ndcg B")
    for row in diff.metrics.iter_rows(named=True):
        if row["n_users_a"] or row["n_users_b"]:
            figures = (row[name] for name in ("recall_a", "recall_b", "ndcg_a", "ndcg_b"))
            table.add_row(row["slice"], *("-" if figure is None else f"{figure:.4f}" for figure in figures))
    console.print(table)
    for title, frame, columns in (
        ("Settings", diff.settings, ("key", "a", "b")),
        ("New items", diff.new_items, ("item_id", "title")),
        ("Gone items", diff.gone_items, ("item_id", "title")),
        ("Items whose neighbours changed most", diff.neighbours, ("item_id", "title", "churn")),
    ):
        _print_rows(console, f"{title}: {_sum_of(frame)}", frame.head(MAX_SHOWN).select(columns).iter_rows(), columns)
    changed = (
        (slate["user_id"], slate["churn"], *_swapped(slate["before"], slate["after"]))
        for slate in diff.slates.head(MAX_SLATES).iter_rows(named=True)
    )
    shown = ("user_id", "churn", "no longer", "now")
    _print_rows(console, f"Lists that changed most: {_sum_of(diff.slates)}", changed, shown)


def _swapped(before: list[str], after: list[str]) -> tuple[str, str]:
    """The first titles that are in one list and not in the other."""
    gone, come = ([title for title in one if title not in other] for one, other in ((before, after), (after, before)))
    return "; ".join(gone[:MAX_TITLES]), "; ".join(come[:MAX_TITLES])


def _sum_of(frame: pl.DataFrame) -> str:
    if "churn" in frame.columns and len(frame):
        mean = sum(frame["churn"].to_list()) / len(frame)
        return f"{len(frame):,} compared, {mean:.0%} changed in the mean"
    return f"{len(frame):,}"


def _print_rows(console: Console, title: str, rows: Iterable[Sequence[Any]], columns: Sequence[str]) -> None:
    """A table, or its title alone where it has no rows."""
    table = _table(title, *columns)
    for row in rows:
        table.add_row(*(f"{value:.0%}" if isinstance(value, float) else value or "" for value in row))
    console.print(table if table.rows else f"{title}\n", highlight=False)


def _headline(metrics: Mapping[str, Any]) -> list[str]:
    if not metrics.get("fused", {}).get("all", {}).get("n_users"):
        return ["-", "-", "-"]
    fused, popular = metrics["fused"]["all"], metrics["popularity"]["all"]
    return [f"{fused['recall']:.4f}", f"{fused['ndcg']:.4f}", f"{popular['ndcg']:.4f}"]


_WORDS = ("release", "", "slice", "title", "item_id", "user_id", "key", "a", "b", "no longer", "now")
"""Columns of words stand at the left, figures at the right."""


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title or None, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        wraps = name in ("title", "no longer", "now", "a", "b")
        table.add_column(name, justify="left" if name in _WORDS else "right", no_wrap=not wraps)
    return table


def _print_json(content: object) -> None:
    sys.stdout.write(json.dumps(content, indent=2, default=_as_text, ensure_ascii=False) + "\n")


def _as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)

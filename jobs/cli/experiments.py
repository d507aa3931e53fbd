"""`recsys experiments …`: list A/B experiments and report their results."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from features.workspace.location import reading
from jobs.cli.options import ConfigOption, JsonOption, WorkspaceOption, print_json, settings_of, write_json
from recsys import config
from recsys.errors import ConfigError
from recsys.workspace import Workspace

if TYPE_CHECKING:
    from features.live.database import LiveDatabase
    from features.live.experiment_report import ExperimentReport
    from recsys.experiments import Lift

# Imports inside the commands: polars and the lake take a second to import, and `recsys --help` must be fast.

experiments_app = typer.Typer(help="List A/B experiments and report results.", no_args_is_help=True)


class Metric(StrEnum):
    """The values of `--metric`: the event type that counts as an outcome."""

    CLICK = "click"
    CART = "cart"
    PURCHASE = "purchase"


@experiments_app.command("list")
def list_command(workspace: WorkspaceOption, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the experiments in the settings, with the number of shoppers exposed to an arm."""
    with reading(workspace) as place:
        settings = settings_of(place, config)
    with _live_database(place, settings) as database:
        listed = [_listed(name, experiment, database) for name, experiment in settings.experiments.items()]
    if as_json:
        print_json([asdict(row) for row in listed])
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("experiment", "share", "arms", "shoppers", "since"):
        table.add_column(column, justify="right" if column in ("share", "shoppers") else "left", no_wrap=True)
    for row in listed:
        arms = ", ".join(f"{arm} {weight:g}" for arm, weight in row.arms.items())
        since = "-" if row.since is None else f"{row.since:%Y-%m-%d %H:%M}"
        table.add_row(row.name, f"{row.share:.0%}", arms, f"{row.n_users:,}", since)
    Console().print(table)


@dataclass(frozen=True)
class _Listed:
    """arms: weight by arm; n_users: shoppers exposed to any arm; since: time of the first exposure."""

    name: str
    share: float
    arms: Mapping[str, float]
    n_users: int
    since: datetime | None


def _listed(name: str, experiment: config.ExperimentSettings, database: LiveDatabase) -> _Listed:
    from features.live.answer_log import AnswerLog

    weights = {arm: settings.weight for arm, settings in experiment.arms.items()}
    exposed = AnswerLog(database).exposed(name)
    return _Listed(
        name, experiment.share, weights, exposed["user_id"].n_unique(), min(exposed["first_at"], default=None)
    )


@experiments_app.command("report")
def report_command(
    name: Annotated[str, typer.Argument(help="Name of the experiment: NAME in the settings section experiments.NAME.")],
    workspace: WorkspaceOption,
    metric: Annotated[Metric, typer.Option(help="Event type that counts as an outcome.")] = Metric.PURCHASE,
    json_path: Annotated[
        Path | None, typer.Option("--json", dir_okay=False, help="Write the results to this JSON file.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Report shoppers, outcomes and lift of each arm against the first, and check for sample ratio mismatch."""
    from features.live.experiment_report import experiment_report

    with reading(workspace, "lake") as place:
        settings = settings_of(place, config)
    experiment = _named(settings.experiments, name)
    with _live_database(place, settings) as database:
        report = experiment_report(name, experiment, metric.value, database, place.lake)
    if json_path is not None:
        write_json(json_path, report.to_json())
    _print(report)


@contextmanager
def _live_database(place: Workspace, settings: config.Settings) -> Iterator[LiveDatabase]:
    from features.live.database import open_live_database

    database = open_live_database(place, settings.serve.events_url)
    try:
        yield database
    finally:
        database.close()


def _named(experiments: Mapping[str, config.ExperimentSettings], name: str) -> config.ExperimentSettings:
    if name in experiments:
        return experiments[name]
    if not experiments:
        raise ConfigError(f"no experiment {name!r}: the settings define none; see [experiments] in recsys.toml")
    nearest = difflib.get_close_matches(name, experiments, n=1, cutoff=0.0)
    raise ConfigError(f"no experiment {name!r} in the settings; did you mean {nearest[0]}?")


def _print(report: ExperimentReport) -> None:
    since = "no exposures yet" if report.since is None else f"since {report.since:%Y-%m-%d %H:%M} UTC"
    title = f"{report.experiment}: {report.metric}s after first exposure, {since}"
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("arm", "shoppers", "lists", f"{report.metric}s", "lift", "95 %"):
        table.add_column(column, justify="left" if column == "arm" else "right", no_wrap=column != "arm")
    for arm in report.arms:
        with_any = f"{arm.rate:.2%} of shoppers"
        table.add_row(arm.arm, f"{arm.n_users:,}", f"{arm.n_exposures:,}", with_any, *_shown(arm.rate_lift))
        table.add_row("", "", "", f"{arm.outcomes_per_user:.4f} per shopper", *_shown(arm.outcomes_lift))
    console = Console()
    console.print(title, soft_wrap=True, highlight=False)
    console.print(table)
    for line in _remarks(report):
        console.print(line, soft_wrap=True, highlight=False)


def _shown(lift: Lift | None) -> list[str]:
    return ["-", ""] if lift is None else [f"{lift.lift:+.1%}", f"{lift.low:+.1%} … {lift.high:+.1%}"]


def _remarks(report: ExperimentReport) -> Iterator[str]:
    if report.ratio.is_trusted:
        yield f"no sample ratio mismatch (p = {report.ratio.p_value:.3g})"
    else:
        yield (
            f"sample ratio mismatch (p = {report.ratio.p_value:.1e}): do not trust these lifts; exposures of an arm "
            "were lost, or its release is missing"
        )
    if report.n_switched:
        yield f"{report.n_switched:,} shoppers were exposed to a second arm; they count in their first arm"
    if report.n_other:
        yield f"{report.n_other:,} shoppers were exposed to an arm that is no longer in the settings; not counted"

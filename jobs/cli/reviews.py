"""`recsys reviews …`: which reviews the lists of a workspace never quote."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import polars as pl
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from features.workspace.hidden_reviews import hide_reviews, read_hidden, show_reviews
from features.workspace.location import editing
from jobs.cli.options import JsonOption, WorkspaceOption
from jobs.lake.lake import Lake
from recsys.workspace import Workspace

reviews_app = typer.Typer(help="Hide reviews from being quoted, and show them again.", no_args_is_help=True)

IdsArgument = Annotated[list[str], typer.Argument(metavar="ID…", help="Review ids, as `evidence.review_id` of a list.")]


@reviews_app.command("hide")
def hide_command(review_ids: IdsArgument, workspace: WorkspaceOption) -> None:
    """Never quote these reviews; a running service stops within seconds."""
    with editing(workspace) as place:
        place.root.mkdir(parents=True, exist_ok=True)
        hide_reviews(place.hidden_reviews, review_ids, datetime.now(UTC))
        # The lake of a workspace on object storage is not fetched for this.
        unknown = [] if place.url else _unknown(place, review_ids)
    if unknown:
        # Hidden all the same: it may be that the review has yet to be taken in.
        sys.stderr.write(f"No review in the lake has the id {', '.join(map(repr, unknown))}; see that it is right.\n")


@reviews_app.command("show")
def show_command(review_ids: IdsArgument, workspace: WorkspaceOption) -> None:
    """Quote these reviews again where the release has them, else from the next one on."""
    with editing(workspace) as place:
        show_reviews(place.hidden_reviews, review_ids, datetime.now(UTC))


@reviews_app.command("list")
def list_command(workspace: WorkspaceOption, as_json: JsonOption = False) -> None:
    """The reviews that are hidden, the first hidden first."""
    with editing(workspace) as place:
        hidden = read_hidden(place.hidden_reviews)
    if as_json:
        told = [{"review_id": one.review_id, "hidden_at": one.hidden_at.isoformat()} for one in hidden]
        sys.stdout.write(json.dumps(told, indent=2, ensure_ascii=False) + "\n")
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("review", "hidden"):
        table.add_column(column, no_wrap=True)
    for one in hidden:
        table.add_row(one.review_id, f"{one.hidden_at:%Y-%m-%d %H:%M}")
    Console().print(table)


def _unknown(workspace: Workspace, review_ids: Sequence[str]) -> list[str]:
    """The ids that no review of the lake has."""
    reviews = Lake(workspace.lake).scan("reviews")
    known = reviews.filter(pl.col("review_id").is_in(review_ids)).select("review_id").collect()["review_id"]
    return [one for one in review_ids if one not in set(known)]

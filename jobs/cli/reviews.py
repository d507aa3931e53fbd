"""`recsys reviews …`: hide reviews from being quoted in recommendations."""

from __future__ import annotations

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
from jobs.cli.options import JsonOption, WorkspaceOption, print_json
from jobs.lake.lake import Lake
from recsys.workspace import Workspace

reviews_app = typer.Typer(help="Hide reviews from being quoted, or show them again.", no_args_is_help=True)

IdsArgument = Annotated[
    list[str], typer.Argument(metavar="ID…", help="Review ids, from `evidence.review_id` in a response.")
]


@reviews_app.command("hide")
def hide_command(review_ids: IdsArgument, workspace: WorkspaceOption) -> None:
    """Do not quote these reviews; takes effect in a running service within seconds."""
    with editing(workspace) as place:
        place.root.mkdir(parents=True, exist_ok=True)
        hide_reviews(place.hidden_reviews, review_ids, datetime.now(UTC))
        # On object storage this would download the lake.
        unknown = [] if place.url else _unknown(place, review_ids)
    if unknown:
        # Hidden nevertheless: the review may be ingested later.
        sys.stderr.write(f"Hidden, but no review in the lake has the id {', '.join(map(repr, unknown))}; check it.\n")


@reviews_app.command("show")
def show_command(review_ids: IdsArgument, workspace: WorkspaceOption) -> None:
    """Allow these reviews to be quoted again: at once if the release contains them, else from the next release."""
    with editing(workspace) as place:
        show_reviews(place.hidden_reviews, review_ids, datetime.now(UTC))


@reviews_app.command("list")
def list_command(workspace: WorkspaceOption, as_json: JsonOption = False) -> None:
    """List the hidden reviews, oldest first."""
    with editing(workspace) as place:
        hidden = read_hidden(place.hidden_reviews)
    if as_json:
        print_json([{"review_id": review.review_id, "hidden_at": review.hidden_at} for review in hidden])
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("review", "hidden"):
        table.add_column(column, no_wrap=True)
    for review in hidden:
        table.add_row(review.review_id, f"{review.hidden_at:%Y-%m-%d %H:%M}")
    Console().print(table)


def _unknown(workspace: Workspace, review_ids: Sequence[str]) -> list[str]:
    """The ids that no review in the lake has."""
    reviews = Lake(workspace.lake).scan("reviews")
    known = reviews.filter(pl.col("review_id").is_in(review_ids)).select("review_id").collect()["review_id"]
    return [review_id for review_id in review_ids if review_id not in set(known)]

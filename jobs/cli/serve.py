"""`recsys recommend` and `recsys serve`."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from features.workspace.location import reading
from jobs.cli.options import ConfigOption, JsonOption, WorkspaceOption, print_json
from recsys.errors import QueryError

if TYPE_CHECKING:
    from recsys.slate import RankedItem

# Imports inside the commands: torch and ray take seconds to import, and `recsys --help` must be fast.


def serve_command(
    workspace: WorkspaceOption,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port to listen on. Default: setting serve.port, 8000.")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. Default: setting serve.host, this machine only.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Start the HTTP service on the newest release; stop it with Ctrl-C."""
    given = {"--port": port, "--host": host, "--config": config}
    options = [part for name, value in given.items() if value is not None for part in (name, str(value))]
    sys.stdout.flush()
    # A separate program: jobs and serving share the store, never code.
    os.execv(sys.executable, [sys.executable, "-m", "serving", "--workspace", workspace, *options])


def recommend_command(
    workspace: WorkspaceOption,
    user: Annotated[str | None, typer.Option(help="user_id of a shopper.")] = None,
    text: Annotated[str | None, typer.Option(help="Text, as typed into a search box.")] = None,
    items: Annotated[str | None, typer.Option(help="Comma-separated item_ids of the current page or cart.")] = None,
    count: Annotated[int, typer.Option(min=1, max=1000, help="Number of items.")] = 10,
    release: Annotated[str | None, typer.Option(help="Release id. Default: the served release.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the recommendations that the service would return."""
    from features.encoder.query_encoder import load_query_encoder
    from features.store.release import load_release
    from features.text.cleaning import clean
    from features.workspace.user_ids import UserIds
    from recsys.query import Query

    sentence = clean(text) if text is not None else None
    item_ids = tuple(part.strip() for part in (items or "").split(",") if part.strip())
    if not (user or sentence or item_ids):
        raise QueryError("no input; pass at least one of --user, --text, --items")
    with reading(workspace) as place:
        loaded = load_release(place, release)
        user_ids = UserIds.find(place)
        stored_id = user_ids.pseudonym(user) if user and user_ids else user
    vector = load_query_encoder(loaded.encoder).encode([sentence])[0] if sentence else None
    query = Query(stored_id, item_ids=item_ids, text_vector=vector, count=count, asked_at=datetime.now(UTC))
    (slate,) = loaded.recommender.recommend([query])
    if as_json:
        answer = {"items": [_as_json(item) for item in slate.items], "fallback": slate.fallback}
        print_json(answer | {"release_id": loaded.release_id})
        return
    reason = f"; not personalized: {slate.fallback.replace('_', ' ')}" if slate.fallback else ""
    table = Table(title=f"release {loaded.release_id}{reason}", title_justify="left", box=SIMPLE_HEAD)
    for name in ("rank", "item", "title", "score", "source"):
        table.add_column(name, justify="right" if name in ("rank", "score") else "left", no_wrap=name != "title")
    for item in slate.items:
        table.add_row(str(item.rank), item.item_id, item.title or "", f"{item.score:.3f}", item.source)
    Console().print(table)


def _as_json(item: RankedItem) -> dict[str, Any]:
    """As in a response of the service without the optional fields."""
    return {name: value for name, value in asdict(item).items() if name != "explanation"}

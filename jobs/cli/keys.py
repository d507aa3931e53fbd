"""`recsys keys …`: who may call the service of a workspace."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from features.workspace.api_keys import ApiKey, Limits, Scope, create_key, read_keys, revoke_key
from features.workspace.location import editing
from jobs.cli.options import JsonOption, WorkspaceOption, moment

keys_app = typer.Typer(help="Make, list and end the API keys of a workspace.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="What the key is for, e.g. storefront.")]


@keys_app.command("create")
def create_command(
    name: NameArgument,
    workspace: WorkspaceOption,
    scope: Annotated[list[Scope] | None, typer.Option(help="What it may do, by default read; repeat for more.")] = None,
    expires: Annotated[str | None, typer.Option(help="When it ends (ISO time, UTC); by default never.")] = None,
    requests_per_s: Annotated[
        float | None, typer.Option(min=0.001, help="By default serve.key_requests_per_s.")
    ] = None,
    max_concurrent: Annotated[int | None, typer.Option(min=1, help="By default serve.key_max_concurrent.")] = None,
) -> None:
    """Make a key and print it, this once: the workspace keeps only its SHA-256."""
    limits = Limits(requests_per_s, max_concurrent)
    scopes = tuple(dict.fromkeys(scope or [Scope.READ]))
    with editing(workspace) as place:
        place.root.mkdir(parents=True, exist_ok=True)
        secret = create_key(place.api_keys, name, scopes, datetime.now(UTC), moment(expires, "--expires"), limits)
    sys.stdout.write(f"{secret}\n")
    # Beside the key, which alone goes to where standard output is led.
    sys.stderr.write("Keep it now: it cannot be shown again. A running service takes it within seconds.\n")


@keys_app.command("list")
def list_command(workspace: WorkspaceOption, as_json: JsonOption = False) -> None:
    """Every key ever made, oldest first; never the keys themselves."""
    with editing(workspace) as place:
        keys, now = read_keys(place.api_keys), datetime.now(UTC)
    if as_json:
        sys.stdout.write(json.dumps([_described(key, now) for key in keys], indent=2) + "\n")
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("name", "scopes", "created", "expires", "state"):
        table.add_column(column, no_wrap=True)
    for key in keys:
        ends = "never" if key.expires_at is None else f"{key.expires_at:%Y-%m-%d %H:%M}"
        table.add_row(key.name, " ".join(key.scopes), f"{key.created_at:%Y-%m-%d %H:%M}", ends, _state(key, now))
    Console().print(table)


@keys_app.command("revoke")
def revoke_command(name: NameArgument, workspace: WorkspaceOption) -> None:
    """End a key; a running service refuses it within seconds."""
    with editing(workspace) as place:
        revoke_key(place.api_keys, name, datetime.now(UTC))


def _described(key: ApiKey, now: datetime) -> dict[str, object]:
    times = {"created_at": key.created_at, "expires_at": key.expires_at, "revoked_at": key.revoked_at}
    return {
        "name": key.name,
        "scopes": list(key.scopes),
        **{name: time and time.isoformat() for name, time in times.items()},
        "requests_per_s": key.requests_per_s,
        "max_concurrent": key.max_concurrent,
        "state": _state(key, now),
    }


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "valid" if key.is_valid(now) else "expired"

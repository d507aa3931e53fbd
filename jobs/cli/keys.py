"""`recsys keys …`: create, list and revoke the API keys of a workspace."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from features.workspace.api_keys import ApiKey, Limits, Scope, create_key, read_keys, revoke_key
from features.workspace.location import editing
from jobs.cli.options import JsonOption, WorkspaceOption, moment, print_json

keys_app = typer.Typer(help="Create, list and revoke the API keys of a workspace.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="Name of the key, e.g. storefront.")]


@keys_app.command("create")
def create_command(
    name: NameArgument,
    workspace: WorkspaceOption,
    scope: Annotated[list[Scope] | None, typer.Option(help="Allowed scope; repeat for several. Default: read.")] = None,
    expires: Annotated[str | None, typer.Option(help="Expiry time (ISO 8601, UTC). Default: never.")] = None,
    requests_per_s: Annotated[
        float | None, typer.Option(min=0.001, help="Rate limit. Default: setting serve.key_requests_per_s.")
    ] = None,
    max_concurrent: Annotated[
        int | None, typer.Option(min=1, help="Limit of concurrent requests. Default: setting serve.key_max_concurrent.")
    ] = None,
) -> None:
    """Create an API key and print it once; the workspace stores only its SHA-256."""
    limits = Limits(requests_per_s, max_concurrent)
    scopes = tuple(dict.fromkeys(scope or [Scope.READ]))
    with editing(workspace) as place:
        place.root.mkdir(parents=True, exist_ok=True)
        secret = create_key(place.api_keys, name, scopes, datetime.now(UTC), moment(expires, "--expires"), limits)
    sys.stdout.write(f"{secret}\n")
    # On standard error, so that standard output, which may be piped to a file, holds the key alone.
    sys.stderr.write("Save this key: it cannot be shown again. A running service accepts it within seconds.\n")


@keys_app.command("list")
def list_command(workspace: WorkspaceOption, as_json: JsonOption = False) -> None:
    """List all keys, including revoked and expired ones, oldest first. Secrets are never shown."""
    with editing(workspace) as place:
        keys, now = read_keys(place.api_keys), datetime.now(UTC)
    if as_json:
        print_json([_as_json(key, now) for key in keys])
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
    """Revoke a key; a running service rejects it within seconds."""
    with editing(workspace) as place:
        revoke_key(place.api_keys, name, datetime.now(UTC))


def _as_json(key: ApiKey, now: datetime) -> dict[str, object]:
    return {
        "name": key.name,
        "scopes": list(key.scopes),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "requests_per_s": key.requests_per_s,
        "max_concurrent": key.max_concurrent,
        "state": _state(key, now),
    }


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "valid" if key.is_valid(now) else "expired"

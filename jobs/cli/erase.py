"""`recsys erase`: erase a shopper's data from the workspace and write a signed receipt."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from features.workspace.erased_users import readmit
from features.workspace.erasure_receipt import Receipt, verify_receipt
from features.workspace.location import NIGHT, reading, working
from features.workspace.user_ids import stored_ids
from jobs.cli.options import ConfigOption, WorkspaceOption, clock, settings_of, shown_progress
from recsys.errors import ErasureError
from recsys.workspace import Workspace

UserArgument = Annotated[str | None, typer.Argument(metavar="USER", help="The shopper's user_id.")]


def erase_command(
    workspace: WorkspaceOption,
    user: UserArgument = None,
    queued: Annotated[
        bool,
        typer.Option("--queued", help="Process all pending erasure requests (sent to DELETE /v1/users/{user_id})."),
    ] = False,
    verify: Annotated[Path | None, typer.Option(help="Verify a receipt's signature and show the receipt.")] = None,
    readmit_user: Annotated[
        str | None,
        typer.Option("--readmit", metavar="USER", help="Accept new data of a previously erased shopper."),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Erase a shopper from live database, lake, store and releases, verify that nothing is left, write a receipt."""
    if [user is not None, queued, verify is not None, readmit_user is not None].count(True) != 1:
        raise ErasureError("give exactly one of: USER, --queued, --verify RECEIPT, --readmit USER")
    now = datetime.now(UTC)
    if verify is not None:
        with reading(workspace, "erasures") as place:
            _print(verify_receipt(place, verify), verify)
        return
    with working(workspace, NIGHT, clock) as place:
        if readmit_user is None:
            _erase(place, user, now, config)
        elif sum(readmit(place, user_id, now) for user_id in stored_ids(place, readmit_user)):
            _say(f"New data of {readmit_user!r} is accepted from now on. Erased data is not restored.")
        else:
            raise ErasureError(f"user {readmit_user!r} is not on the list of erased users of {place.shown}")


def _erase(place: Workspace, user: str | None, now: datetime, config: Path | None) -> None:
    from jobs.erase.run import erase, erase_queued

    settings = settings_of(place, config)
    with shown_progress() as progress:
        if user is None:
            done = erase_queued(place, settings, now, progress)
        else:
            done = [erase(place, settings, user, now, progress)]
    if not done:
        _say("No pending erasure requests.")
    for receipt, path in done:
        _print(receipt, path)


def _print(receipt: Receipt, path: Path) -> None:
    table = Table(title=f"Erased {receipt.erased_at:%Y-%m-%d %H:%M} UTC", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("place")
    table.add_column("removed", justify="right")
    table.add_column("kind")
    for name, place in receipt.places.items():
        for kind, count in place.removed.items():
            if count:
                table.add_row(name, f"{count:,}", kind)
    if receipt.known:
        Console().print(table)
    else:
        _say("No data of this user was stored. New data of this user will be rejected.")
    searched = receipt.searched
    _say(
        f"Searched {searched.files:,} files ({searched.bytes:,} bytes) and {searched.values:,} values for the user id "
        f"(in {searched.id_in}) and {searched.n_texts:,} texts: no matches."
    )
    if receipt.known:
        without = receipt.first_without or "the next release"
        learned = ", ".join(receipt.trained_with) or "none"
        _say(f"Releases trained with this user's data: {learned}. First release without it: {without}.")
    if receipt.encoders:
        _say(
            f"Encoders fine-tuned before the erasure: {', '.join(receipt.encoders)}. Their weights do not change until "
            "the next fine-tuning."
        )
    if receipt.sources:
        _say(
            f"{len(receipt.sources)} source files still contain this user, e.g. {receipt.sources[0]}. Ingest skips "
            "their rows; delete them from the files yourself."
        )
    _say(f"Receipt: {path}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")

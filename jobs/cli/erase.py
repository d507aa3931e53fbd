"""`recsys erase`: a shopper leaves the workspace, with a receipt."""

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
from jobs.cli.options import ConfigOption, WorkspaceOption, clock, settings_of, shown_progress
from recsys.errors import ErasureError
from recsys.workspace import Workspace

UserArgument = Annotated[str | None, typer.Argument(metavar="USER", help="The shopper's id, as in user_id.")]


def erase_command(
    workspace: WorkspaceOption,
    user: UserArgument = None,
    queued: Annotated[bool, typer.Option("--queued", help="Everyone who waits: DELETE /v1/users/{id}.")] = False,
    verify: Annotated[Path | None, typer.Option(help="Check a receipt's signature and show it.")] = None,
    readmit_user: Annotated[
        str | None, typer.Option("--readmit", metavar="USER", help="Take an erased shopper's data again from now on.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Erase a shopper: live database, lake, store, releases, everything; search for what is left; sign a receipt."""
    if [user is not None, queued, verify is not None, readmit_user is not None].count(True) != 1:
        raise ErasureError("whom to erase? give one id, or --queued, or --verify RECEIPT, or --readmit USER")
    now = datetime.now(UTC)
    if verify is not None:
        with reading(workspace, "erasures") as place:
            _print(verify_receipt(place, verify), verify)
        return
    with working(workspace, NIGHT, clock) as place:
        if readmit_user is None:
            _erase(place, user, now, config)
        elif readmit(place, readmit_user, now):
            _say("Their data is taken again from now on; what was erased stays so.")
        else:
            raise ErasureError(f"{readmit_user!r} was not erased from {place.shown}; nothing changed")


def _erase(place: Workspace, user: str | None, now: datetime, config: Path | None) -> None:
    from jobs.erase.run import erase, erase_queued

    settings = settings_of(place, config)
    with shown_progress() as progress:
        if user is None:
            done = erase_queued(place, settings, now, progress)
        else:
            done = [erase(place, settings, user, now, progress)]
    if not done:
        _say("Nobody waits to be erased.")
    for receipt, path in done:
        _print(receipt, path)


def _print(receipt: Receipt, path: Path) -> None:
    table = Table(title=f"Erased {receipt.erased_at:%Y-%m-%d %H:%M} UTC", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("place")
    table.add_column("removed", justify="right")
    table.add_column("of what")
    for name, found in receipt.places.items():
        for kind, count in found.removed.items():
            if count:
                table.add_row(name, f"{count:,}", kind)
    if receipt.known:
        Console().print(table)
    else:
        _say("Nobody of this id was known; they are kept out from now on.")
    searched = receipt.searched
    _say(
        f"Searched {searched.files:,} files ({searched.bytes:,} bytes) and {searched.values:,} values for the id "
        f"(in {searched.id_in}) and {searched.n_texts:,} texts: nothing left."
    )
    if receipt.known:
        without = receipt.first_without or "the next one made"
        learned = ", ".join(receipt.trained_with) or "none"
        _say(f"Releases whose models learned from them: {learned}; the first without: {without}.")
    if receipt.encoders:
        _say(f"Encoders tuned before: {', '.join(receipt.encoders)}; their weights stay until they are tuned anew.")
    if receipt.sources:
        _say(
            f"{len(receipt.sources)} of your own files still name them, the first is {receipt.sources[0]}: ingest "
            "leaves their rows out, but the files are yours to clean."
        )
    _say(f"Receipt: {path}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")

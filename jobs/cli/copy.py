"""`recsys copy FROM TO`: copy a workspace between folders and object storage."""

from __future__ import annotations

import shutil
import sys
from typing import Annotated

import typer

from features.workspace.lease import hold_lease
from features.workspace.location import NIGHT, checked_place, working
from features.workspace.mirror_index import stays_here
from jobs.cli.options import clock
from recsys.errors import StoreError

LEASE_MINUTES = 60.0


def copy_command(
    source: Annotated[str, typer.Argument(metavar="FROM", parser=checked_place, help="Folder or s3://bucket/prefix.")],
    target: Annotated[
        str,
        typer.Argument(
            metavar="TO", parser=checked_place, help="Destination folder or s3://bucket/prefix; must be empty."
        ),
    ],
) -> None:
    """Copy a workspace with all its releases. Files of one machine, such as the SQLite database, are not copied."""
    with (
        working(source, NIGHT, clock) as origin,
        hold_lease(origin.lease, clock(), LEASE_MINUTES),
        working(target, NIGHT, clock) as place,
    ):
        if place.root.exists() and any(place.root.iterdir()):
            raise StoreError(f"{target}: not empty; choose an empty destination")
        names = sorted(path.relative_to(origin.root).as_posix() for path in origin.root.rglob("*") if path.is_file())
        names = [name for name in names if not stays_here(name)]
        if not names:
            raise StoreError(f"{source}: no workspace; run `recsys ingest` first")
        for name in names:
            (place.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(origin.root / name, place.root / name)
    sys.stdout.write(f"copied {len(names):,} files to {target}\n")

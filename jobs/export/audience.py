"""Whose lists are exported: every shopper of the release, those of a file, or those named."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from features.live.database import open_live_database
from features.live.erasure_queue import ErasureQueue
from features.workspace.atomic_files import mark_of
from features.workspace.erased_users import LIST_FILE, ErasedUsers, read_erased
from recsys.config import Settings
from recsys.errors import DataError
from recsys.workspace import Workspace

ALL: Final = "all"
COLD: Final = "cold"
"""The list of whoever is not known yet."""

ID_NAMES: Final = ("user_id", "userId", "USER_ID", "UserId")
"""Names of the column or key with the id; the second is that of Amazon Personalize."""

_FILE_ENDINGS: Final = (".txt", ".csv", ".json", ".jsonl", ".parquet")


@dataclass(frozen=True)
class ErasedShoppers:
    """A container of the ids of those who were erased, and of those who wait for it in the live database.

    mark: of the list's file, which changes with every erasure.
    """

    erased: ErasedUsers = field(compare=False)
    waiting: frozenset[str]
    mark: tuple[int, int, int] | None

    def __contains__(self, user_id: object) -> bool:
        return user_id in self.waiting or user_id in self.erased

    def __bool__(self) -> bool:
        return bool(self.waiting) or len(self.erased) > 0


def erased_shoppers(workspace: Workspace, settings: Settings) -> ErasedShoppers:
    """As of now. Raises StoreError where the live database cannot be read, ErasureError for a damaged list."""
    database = open_live_database(workspace, settings.serve.events_url)
    try:
        # The queue first: a user who leaves it is on the list by then.
        waiting = frozenset(request.user_id for request in ErasureQueue(database).waiting())
        mark = mark_of(workspace.erasures / LIST_FILE)
        return ErasedShoppers(read_erased(workspace), waiting, mark)
    finally:
        database.close()


def audience(users: str, known: Iterable[str]) -> list[str | None]:
    """The ids, each once and in their order; None stands for an unknown shopper.

    users: "all", "cold", the path of a file, or ids separated by commas; known: the shoppers of the release.
    Raises DataError where the file does not exist, cannot be read or holds no ids.
    """
    if users == ALL:
        return list(known)
    if users == COLD:
        return [None]
    path = Path(users)
    if path.is_file():
        ids = list(dict.fromkeys(_ids_of(path)))
    elif "/" in users or users.endswith(_FILE_ENDINGS):
        raise DataError(
            f"--users {users}: no such file; name a file with an id a line, ids separated by commas, or all"
        )
    else:
        ids = list(dict.fromkeys(part.strip() for part in users.split(",") if part.strip()))
    if not ids:
        raise DataError(f"--users {users or repr('')}: no ids in it; write an id a line")
    return list(ids)


def _ids_of(path: Path) -> Iterator[str]:
    try:
        if path.suffix == ".parquet":
            yield from _column(path)
        else:
            with path.open(encoding="utf-8-sig", newline="") as file:
                yield from _lines(path, file)
    except (OSError, UnicodeDecodeError, pl.exceptions.PolarsError) as error:
        raise DataError(f"--users {path}: cannot be read ({error}); write an id a line, as UTF-8") from None


def _column(path: Path) -> list[str]:
    names = pl.read_parquet_schema(path)
    name = next((name for name in ID_NAMES if name in names), None)
    if name is None:
        raise DataError(f"--users {path}: no column user_id; it has {', '.join(names)}")
    ids: list[str] = pl.scan_parquet(path).select(pl.col(name).cast(pl.String)).drop_nulls().collect()[name].to_list()
    return ids


def _lines(path: Path, lines: Iterable[str]) -> Iterator[str]:
    """An id a line; the column user_id where the first line has it; or JSON objects with user_id or userId."""
    column: int | None = None
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text:
            continue
        if text.startswith("{"):
            yield _id_in(path, number, text)
            continue
        cells = next(csv.reader([text]))
        names = [name for name in ID_NAMES if name in cells]
        if number == 1 and names:
            column = cells.index(names[0])
        elif column is None:
            yield text
        elif column < len(cells) and cells[column].strip():
            yield cells[column].strip()


def _id_in(path: Path, number: int, text: str) -> str:
    try:
        content = json.loads(text)
    except ValueError:
        raise DataError(f'--users {path}, line {number}: not JSON; write an id a line, or {{"user_id": …}}') from None
    user_id = next((content[name] for name in ID_NAMES if content.get(name) not in (None, "")), None)
    if user_id is None:
        raise DataError(f"--users {path}, line {number}: no user_id in it; it has {', '.join(content)}")
    return str(user_id)

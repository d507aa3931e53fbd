"""What a connector is: a format of a shop's system, how its files are recognised, and how they become rows.

One module a format. `jobs/ingest/sources/connectors.py` lists them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.ingest.column_aliases import plain_name
from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import FileHead
from jobs.ingest.readers.raw import RawFile
from jobs.ingest.sources.spec import SourceSpec

OpenFiles = Callable[[Sequence[DataFile], SourceSpec], list[RawFile]]


@dataclass(frozen=True)
class Connector:
    """One format. platform: the command, `recsys ingest shopify`, "" where it has one with other arguments; label: the
    format, as shown to the user.

    recognises: whether a file is of this format, by its header, first rows or root element. open_files: gets all files
    of the format in one ingest, and returns one RawFile each (or one for several that belong together).
    """

    platform: str
    label: str
    recognises: Callable[[FileHead], bool]
    open_files: OpenFiles


def one_by_one(open_file: Callable[[DataFile, SourceSpec], RawFile]) -> OpenFiles:
    """`open_files` of a format whose files stand alone."""
    return lambda files, spec: [open_file(file, spec) for file in files]


def has_columns(head: FileHead, *names: str) -> bool:
    """Whether the header has all of these columns, compared by `plain_name`."""
    return {plain_name(name) for name in names} <= {plain_name(column) for column in head.columns}


class ByName:
    """A row whose values are read by `plain_name`, several names in order of preference: `row("SKU", "Variant SKU")`.

    Made once a file, and pointed at one row after the other with `at`.
    """

    def __init__(self) -> None:
        self._columns: dict[str, str] = {}
        self._n_columns = 0
        self._row: Mapping[str, Any] = {}

    def columns(self) -> Iterable[str]:
        """The columns as the file names them."""
        return self._columns.values()

    def at(self, row: Mapping[str, Any]) -> ByName:
        if len(row) != self._n_columns:  # rows of one batch have the same columns
            self._n_columns = len(row)
            self._columns = {plain_name(column): column for column in reversed(list(row))}
        self._row = row
        return self

    def __call__(self, *names: str) -> str:
        """The first value that is not blank, stripped; "" where there is none."""
        for name in names:
            column = self._columns.get(plain_name(name))
            value = "" if column is None else self._row.get(column)
            text = "" if value is None else str(value).strip()
            if text:
                return text
        return ""

    def starting(self, *prefixes: str) -> str:
        """The first value that is not blank among the columns whose plain name starts with one of the prefixes."""
        columns = [name for name in self._columns if name.startswith(prefixes)]
        return self(*columns)

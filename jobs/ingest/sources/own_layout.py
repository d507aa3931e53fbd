"""Tables of no known system whose columns tell by their names what they are: products, events or reviews."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from jobs.ingest.column_mapping import fitting_table
from jobs.ingest.readers.data_file import DataFile
from jobs.ingest.readers.head import FileHead, read_head
from jobs.ingest.readers.raw import RawFile
from jobs.ingest.readers.rows import open_file
from jobs.ingest.sources.connector import Connector
from jobs.ingest.sources.spec import SourceSpec

LABEL: Final = "table"


def recognises(head: FileHead) -> bool:
    """Whether the columns fit one of our tables, and only one."""
    return head.kind != "xml" and fitting_table(head) is not None


def open_tables(files: Sequence[DataFile], spec: SourceSpec) -> list[RawFile]:
    """Each file as the table that its columns fit; the columns are mapped by their names (`column_mapping.py`)."""
    opened = []
    for file in files:
        table = fitting_table(read_head(file, columns=spec.options.columns))
        opened.append(open_file(table or "events", file, spec.options.columns or None, spec.options.sheet or None))
    return opened


OWN_LAYOUT: Final = Connector("", LABEL, recognises, open_tables)

"""`recsys ingest table`: a shop's own files, columns named by `--map` or by their meaning, constants by `--set`."""

from __future__ import annotations

from jobs.ingest.readers.data_file import data_files
from jobs.ingest.readers.paths import expand
from jobs.ingest.readers.raw import RawFile
from jobs.ingest.readers.rows import open_file
from jobs.ingest.sources.spec import SourceSpec


def open_table(spec: SourceSpec) -> list[RawFile]:
    """Every file that the spec's patterns name, by table. Raises DataError as `expand` and the readers do."""
    options = spec.options
    return [
        open_file(table, file, options.columns or None, options.sheet or None)
        for table, patterns in spec.paths.items()
        for path in expand(patterns)
        for file in data_files(path)
    ]

"""`recsys ingest table`: a shop's own files, columns named by `--map`, constants filled by `--set`."""

from __future__ import annotations

from jobs.ingest.sources.files import RawFile, expand, open_file
from jobs.ingest.sources.spec import SourceSpec


def open_table(spec: SourceSpec) -> list[RawFile]:
    """Every file that the spec's patterns name, by table. Raises DataError as `expand` and `open_file` do."""
    return [open_file(table, path) for table, patterns in spec.paths.items() for path in expand(patterns)]

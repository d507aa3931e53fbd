"""Checked rows on their way into the lake: spilled to disk batch by batch, read back partition by partition.

Memory holds one batch while rows come in, and one group of partitions while they are merged, however large the
files are; only a single partition has to fit.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

import polars as pl

from jobs.lake.lake import TABLES

ROW_GROUP_ROWS: Final = 16_384


@dataclass(frozen=True)
class _Slice:
    path: Path
    offset: int
    rows: int


class Staging:
    """Rows of every table, with `partition` (folder in the lake) and `arrival` (order of arrival) added."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._slices: dict[str, dict[str, list[_Slice]]] = defaultdict(lambda: defaultdict(list))
        self._n_files = 0
        self._n_rows = 0

    def __enter__(self) -> Staging:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, table: str, rows: pl.DataFrame) -> None:
        """Spill rows that keep the schema of `table`."""
        if rows.is_empty():
            return
        arrival = pl.int_range(self._n_rows, self._n_rows + rows.height).alias("arrival")
        rows = rows.with_columns(TABLES[table].partition().alias("partition"), arrival)
        rows = rows.sort("partition", maintain_order=True)
        path = self._folder / f"{table}-{self._n_files:06}.parquet"
        rows.write_parquet(path, compression="lz4", row_group_size=ROW_GROUP_ROWS)
        offset = 0
        for partition, count in rows.group_by("partition", maintain_order=True).len().iter_rows():
            self._slices[table][partition].append(_Slice(path, offset, count))
            offset += count
        self._n_files += 1
        self._n_rows += rows.height

    def tables(self) -> list[str]:
        """Tables that have rows, in the order of `TABLES`."""
        return [table for table in TABLES if table in self._slices]

    def scan(self, table: str) -> pl.LazyFrame:
        """Every staged row of `table`."""
        paths = {piece.path for pieces in self._slices[table].values() for piece in pieces}
        return pl.scan_parquet(sorted(paths))

    def n_rows(self, table: str) -> dict[str, int]:
        """Partition -> staged rows."""
        return {name: sum(piece.rows for piece in pieces) for name, pieces in self._slices[table].items()}

    def read(self, table: str, partitions: list[str]) -> pl.DataFrame:
        """The staged rows of neighbouring partitions, in no promised order."""
        runs: list[_Slice] = []
        pieces = [piece for name in sorted(partitions) for piece in self._slices[table].get(name, [])]
        for piece in sorted(pieces, key=lambda p: (p.path, p.offset)):
            last = runs[-1] if runs else None
            if last and last.path == piece.path and last.offset + last.rows == piece.offset:
                runs[-1] = _Slice(last.path, last.offset, last.rows + piece.rows)
            else:
                runs.append(piece)
        if not runs:
            added = {"partition": pl.String(), "arrival": pl.Int64()}
            return pl.DataFrame(schema={**TABLES[table].polars_schema(), **added})
        return pl.concat(pl.scan_parquet(run.path).slice(run.offset, run.rows) for run in runs).collect()


def groups(sizes: Mapping[str, int], max_rows: int) -> Iterator[list[str]]:
    """Neighbouring partitions together, `max_rows` or one partition at a time."""
    group: list[str] = []
    n_rows = 0
    for partition in sorted(sizes):
        if group and n_rows + sizes[partition] > max_rows:
            yield group
            group, n_rows = [], 0
        group.append(partition)
        n_rows += sizes[partition]
    if group:
        yield group

"""Staged rows meet the rows of the lake: new ones are added, changed ones replaced, known ones left alone.

What arrives later wins: staged rows go before those of the lake, whatever either is dated, as the clocks of two senders
cannot be compared. The dates of one ingest order only its own rows. Rows of one item become one row field by field: a
blank never replaces a value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import polars as pl

from features.workspace.lake_files import LakeFile
from jobs.lake.fields import merge_fields
from jobs.lake.lake import TABLES, Lake, TableLayout
from jobs.lake.staging import Staging, groups
from recsys.values.event_ids import CONTENT, with_distinct_ids


@dataclass(frozen=True)
class Merged:
    """The partitions that a table's staged rows changed, written but not committed, and how many rows did what.

    n_same_item: staged rows of the catalogue beyond the first of their item; n_older: staged rows of items and reviews
    that are dated before another staged row of the same key; n_shared_ids: staged events whose id another event has.
    """

    files: tuple[LakeFile, ...]
    n_new: int
    n_updated: int
    n_same_item: int = 0
    n_older: int = 0
    n_shared_ids: int = 0


def merge_table(
    lake: Lake,
    staging: Staging,
    table: str,
    max_rows: int,
    progress: Callable[[str, int, int | None], None] | None = None,
    *,
    whole_rows: bool = False,
) -> Merged:
    """Merge the staged rows of `table` with the lake, about `max_rows` rows at a time, and write what changed.

    The winner among rows with one key is as `TableLayout` says, within a partition; a review that comes with a date in
    another month than before leaves its old partition.

    whole_rows: the staged rows of the catalogue replace those of the lake as they are, instead of field by field.
    """
    layout = replace(TABLES[table], merge="last", version=None) if whole_rows else TABLES[table]
    moved, newest = _redated(lake, staging, table)
    live = {file.partition: file.rows for file in lake.files if file.table == table}
    staged = staging.n_rows(table)
    touched = set(staged).union(moved["partition"])
    sizes = {name: staged.get(name, 0) + live.get(name, 0) for name in touched}
    files: list[LakeFile] = []
    n_new = n_updated = n_same_item = n_shared_ids = n_done = 0
    for names in groups(sizes, max_rows):
        group = _merge_group(lake, staging, table, layout, names, moved, newest)
        n_new += group.n_new
        n_updated += group.n_updated
        n_same_item += group.n_same_item
        n_shared_ids += group.n_shared_ids
        files += lake.write(table, group.rows, group.changed)
        n_done += sum(sizes[name] for name in names)
        if progress:
            progress(f"merge {table}", n_done, sum(sizes.values()))
    n_older = _n_older(layout, staging, table)
    return Merged(tuple(files), n_new, n_updated, max(0, n_same_item - n_older), n_older, n_shared_ids)


def _n_older(layout: TableLayout, staging: Staging, table: str) -> int:
    if layout.version is None:
        return 0
    dated = staging.scan(table).select(layout.key, layout.version)
    older = dated.filter(pl.col(layout.version) < pl.col(layout.version).max().over(layout.key))
    return int(older.select(pl.len()).collect().item())


@dataclass(frozen=True)
class _Group:
    """rows: what the changed partitions of a group shall hold."""

    rows: pl.DataFrame
    changed: list[str]
    n_new: int
    n_updated: int
    n_same_item: int
    n_shared_ids: int = 0


def _merge_group(
    lake: Lake,
    staging: Staging,
    table: str,
    layout: TableLayout,
    names: list[str],
    moved: pl.DataFrame,
    newest: pl.DataFrame,
) -> _Group:
    """Merge the rows of some partitions. moved, newest: as `_redated` returns them."""
    known = lake.partitions(table, names).with_columns(layout.partition().alias("partition")).collect()
    incoming = staging.read(table, names)
    n_same_item = incoming.height - incoming[layout.key].n_unique() if layout.merge == "fields" else 0
    n_shared_ids = 0
    if table == "events":
        incoming, n_shared_ids = _with_distinct_ids(known, incoming)
    current = known.join(moved, on=[layout.key, "partition"], how="anti")
    left = _newest_of(layout, incoming, newest)
    if known.is_empty():
        is_settled = layout.merge != "fields" and left[layout.key].n_unique() == left.height
        rows = left if is_settled else _winners(layout, known, left)
        return _Group(rows, rows["partition"].unique().to_list(), rows.height, 0, n_same_item, n_shared_ids)
    rows = _winners(layout, current, left)
    n_gone = known.height - current.height
    fresh = rows.filter(pl.col("arrival") >= 0).join(known, on=["partition", layout.key], how="anti")
    updated = _differing(layout, rows.filter(pl.col("arrival") >= 0), current)
    removed = known.join(current, on=["partition", layout.key], how="anti")
    changed = pl.concat([frame.select("partition") for frame in (fresh, updated, removed)]).to_series().unique()
    to_write = rows.filter(pl.col("partition").is_in(changed.to_list()))
    n_updated = updated.height + n_gone
    return _Group(to_write, changed.to_list(), fresh.height - n_gone, n_updated, n_same_item, n_shared_ids)


def _with_distinct_ids(known: pl.DataFrame, incoming: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """The staged events, those that are others than the event of their id under an id of their own, and how many."""
    columns = ["partition", "event_id", *CONTENT, "arrival"]
    same_ids = known.join(incoming, on=["partition", "event_id"], how="semi")
    stored = same_ids.with_columns(pl.lit(-1, pl.Int64).alias("arrival")).select(columns)
    incoming = incoming.sort("arrival")
    both, renamed = with_distinct_ids(pl.concat([stored, incoming.select(columns)]), ["partition", "event_id"])
    event_ids = both["event_id"].slice(stored.height)
    return incoming.with_columns(event_ids), int(renamed.slice(stored.height).sum())


def _winners(layout: TableLayout, known: pl.DataFrame, incoming: pl.DataFrame) -> pl.DataFrame:
    """One row a key and partition; `arrival` is -1 where no staged row has a part in it."""
    both = pl.concat(
        [known.with_columns(pl.lit(-1, pl.Int64).alias("arrival")), incoming.select(*known.columns, "arrival")]
    ).with_columns(is_staged=pl.col("arrival") >= 0)
    if layout.version:  # a row without a date counts as new as the newest of its ingest
        newest = pl.col(layout.version).max().over("partition", layout.key, "is_staged")
        both = both.with_columns(pl.col(layout.version).fill_null(newest).alias("dated"))
    key = ["partition", layout.key]
    if layout.merge == "first":
        return both.sort("arrival").unique(key, keep="first", maintain_order=True)
    both = both.sort("is_staged", *(["dated"] if layout.version else []), "arrival")
    if layout.merge == "fields":
        return merge_fields(both.drop("is_staged", "dated"), key)
    return both.drop("is_staged", "dated", strict=False).unique(key, keep="last", maintain_order=True)


def _differing(layout: TableLayout, rows: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """The rows of which `known` has the key in the same partition, but other values."""
    columns: Sequence[str] = [name for name in layout.polars_schema() if name != layout.key]
    both = rows.join(known, on=["partition", layout.key], how="inner", suffix="_known")
    return both.filter(pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_known")) for name in columns))


def _redated(lake: Lake, staging: Staging, table: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Keys and partitions in which the lake holds reviews that are staged with another month; and key and `newest`
    version of those that are staged with several dates. No row for a table that is not partitioned by its version."""
    layout = TABLES[table]
    partition = layout.partition().alias("partition")
    if layout.day_format is None or layout.version is None:
        nothing = pl.DataFrame(schema={layout.key: pl.String, "partition": pl.String})
        return nothing, nothing.clear()
    version = pl.col(layout.version)
    staged = staging.scan(table).group_by(layout.key).agg(version.max(), oldest=version.min()).collect()
    homes = staged.lazy().select(layout.key, partition.alias("home"))
    live = lake.scan(table).select(layout.key, partition)
    moved = live.join(homes, on=layout.key).filter(pl.col("partition") != pl.col("home"))
    newest = staged.filter(version > pl.col("oldest")).select(layout.key, version.alias("newest"))
    return moved.select(layout.key, "partition").unique().collect(), newest


def _newest_of(layout: TableLayout, rows: pl.DataFrame, newest: pl.DataFrame) -> pl.DataFrame:
    """Staged rows of a table that is partitioned by its version, without those that are dated before another."""
    if newest.is_empty():
        return rows
    joined = rows.join(newest, on=layout.key, how="left")
    is_older = (pl.col(str(layout.version)) < pl.col("newest")).fill_null(value=False)
    return joined.filter(~is_older).drop("newest")

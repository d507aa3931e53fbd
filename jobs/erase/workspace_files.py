"""Erase a shopper from the folders of a workspace: rows of lake and quarantine, unfinished work, texts in runs."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Final

import polars as pl

from features.workspace.atomic_files import write_atomically
from jobs.erase.leak_search import Needles, field_pattern, holds_any, word_pattern
from jobs.lake.history import History
from jobs.lake.lake import TABLES, Lake
from jobs.lake.staging import groups
from recsys.workspace import Workspace

ROWS_AT_ONCE: Final = 1_000_000
PLAIN: Final = frozenset({".json", ".jsonl", ".html", ".txt", ".log", ".md", ".csv", ".toml", ".svg"})
INSTEAD: Final = b"(erased)"


def erase_from_lake(
    workspace: Workspace, user_id: str, review_ids: Collection[str]
) -> tuple[dict[str, int], list[Path]]:
    """Remove the shopper's rows in one commit, and incomplete files of killed runs; needs the lease of the lake.

    Returns the number of removed rows by table, and the files that were written.
    """
    lake = Lake(workspace.lake)
    removed, written = {}, []
    for table in ("events", "reviews"):
        is_of_user = pl.col("user_id") == user_id
        if table == "reviews":
            is_of_user = is_of_user | pl.col("review_id").is_in(list(review_ids))
        place = TABLES[table].partition().alias("partition")
        touched = lake.scan(table).filter(is_of_user).select(place).unique().collect()["partition"].to_list()
        sizes = {file.partition: file.rows for file in lake.files if file.table == table and file.partition in touched}
        removed[table] = 0
        for partitions in groups(sizes, ROWS_AT_ONCE):
            rows = lake.partitions(table, partitions).collect()
            stays = rows.filter(~is_of_user)
            removed[table] += len(rows) - len(stays)
            written += lake.write(table, stays, partitions)
    # An undo could bring back rows of the shopper, so earlier ingests cannot be undone from now on.
    lake = lake.commit(written, History(lake.history.last_id))
    shutil.rmtree(workspace.lake / "staging", ignore_errors=True)
    files = [workspace.lake / file.path for file in written if file.rows]
    return removed, [*files, *([lake.manifest] if written else [])]


def erase_from_quarantine(workspace: Workspace, user_id: str, texts: Collection[str]) -> tuple[int, list[Path]]:
    """Remove rows with the id or a text of the shopper in any field, as the columns of rejected rows are arbitrary.

    Returns the number of removed rows, and the files that were written.
    """
    n_rows, written = 0, []
    values = {user_id, *texts}
    for path in workspace.quarantine.rglob("*"):
        if path.suffix == ".tmp" or path.name.startswith("."):
            path.unlink()
        elif path.suffix == ".parquet":
            rows = pl.read_parquet(path)
            stays = pl.Series([not _is_of_user(data, user_id, values) for data in rows["data"]], dtype=pl.Boolean)
            if stays.all():
                continue
            n_rows += int((~stays).sum())
            if stays.any():
                content = io.BytesIO()
                rows.filter(stays).write_parquet(content)
                write_atomically(path, content.getvalue())
                written.append(path)
            else:
                path.unlink()
    return n_rows, written


def _is_of_user(data: str, user_id: str, values: Collection[str]) -> bool:
    """data: a rejected row, with whatever fields the shop's file had, or a line that could not be parsed."""
    try:
        fields = json.loads(data)
    except ValueError:
        return re.search(rf"(?<![\w-]){re.escape(user_id)}(?![\w-])", data) is not None
    return any(str(value) in values for value in fields.values()) if isinstance(fields, dict) else data in values


def remove_half_done(workspace: Workspace) -> dict[str, int]:
    """Remove files of unfinished work; returns their number. Needs the leases of nightly run and fine-tuning."""
    left = [*workspace.training.glob("*"), *workspace.steps.glob("*"), *workspace.runs.glob("staging-*")]
    left += workspace.encoders.glob(".draft-*")
    n_files = 0
    for path in left:
        n_files += sum(1 for file in path.rglob("*") if file.is_file()) if path.is_dir() else 1
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return {"files": n_files}


def erase_from_runs(workspace: Workspace, needles: Needles) -> tuple[dict[str, int], list[Path]]:
    """Overwrite the id and texts of the shopper in reports and logs; delete files of other kinds that contain them.

    Returns the number of overwritten places and of deleted files, and the files that were written.
    """
    n_places, n_files, written = 0, 0, []
    for path in workspace.runs.rglob("*"):
        if not path.is_file() or not holds_any(path, needles):
            continue
        if path.suffix not in PLAIN:
            path.unlink()
            n_files += 1
            continue
        content = path.read_bytes()
        pattern = word_pattern(needles.user_id) if needles.in_bytes else field_pattern(needles.user_id)
        content, n_ids = pattern.subn(INSTEAD, content)
        n_places += n_ids
        for text in sorted(needles.texts, key=len, reverse=True):
            encoded = text.encode("utf-8", "replace")
            n_places += content.count(encoded)
            content = content.replace(encoded, INSTEAD)
        write_atomically(path, content)
        written.append(path)
    return {"mentions": n_places, "files": n_files}, written

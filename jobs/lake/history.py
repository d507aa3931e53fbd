"""What each ingest has changed in the lake, so that it can be undone: a part of the lake's manifest.

An entry names the files that the changed partitions held before; the lake keeps these files as long as the entry. The
entry and the change are written in one rename, so there is never one without the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final

from pydantic import AwareDatetime, ConfigDict, TypeAdapter, ValidationError

from features.workspace.lake_files import LakeFile
from recsys.errors import DataError

Partition = tuple[str, str]
"""A table's name and its partition's."""


@dataclass(frozen=True)
class Change:
    """One ingest. source: what was taken, in JSON (`jobs/ingest/commit.py`); rows: by table, how many were new and how
    many were updated; before: the files that the changed partitions held, without rows where there was none; known: the
    other partitions of the ingested rows, all of which the lake had already."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    id: int
    at: AwareDatetime
    source: dict[str, Any]
    rows: dict[str, tuple[int, int]] = field(default_factory=dict)
    before: tuple[LakeFile, ...] = ()
    known: tuple[Partition, ...] = ()
    undone_at: AwareDatetime | None = None

    @property
    def changed(self) -> set[Partition]:
        return {(file.table, file.partition) for file in self.before}

    @property
    def touched(self) -> set[Partition]:
        """Every partition of the ingested rows."""
        return self.changed.union(self.known)


@dataclass(frozen=True)
class History:
    """changes: the latest ingests that can be undone, oldest first; undone: the latest that were undone, by id;
    last_id: the highest id ever given, so that none is given twice."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    last_id: int = 0
    changes: tuple[Change, ...] = ()
    undone: tuple[Change, ...] = ()

    def files(self) -> set[str]:
        """Paths of the files that it needs."""
        return {file.path for change in self.changes for file in change.before if file.rows}

    def since(self, last_id: int) -> list[int]:
        """Ids of the changes that came after that one, newest first."""
        return sorted((change.id for change in self.changes if change.id > last_id), reverse=True)

    def with_change(self, change: Change, keep: int) -> History:
        return replace(self, last_id=change.id, changes=(*self.changes, change)[-keep:])

    def without_changes(self, ids: Collection[int], now: datetime, keep: int) -> History:
        """These move from `changes` to `undone`, without the files."""
        undone_now = [
            replace(change, before=(), known=(), undone_at=now) for change in self.changes if change.id in ids
        ]
        undone = sorted((*self.undone, *undone_now), key=lambda change: change.id)[-keep:] if keep else ()
        return replace(
            self,
            changes=tuple(remaining for remaining in self.changes if remaining.id not in ids),
            undone=tuple(undone),
        )

    def with_later(self, ids: Iterable[int]) -> set[int]:
        """These ids, and those of later changes that depend on them: that have rows of a partition which they
        changed."""
        selected = set(ids)
        for change in self.changes:  # oldest first, so that dependents of dependents are selected as well
            depends = any(
                earlier.id in selected and earlier.changed.intersection(change.touched)
                for earlier in self._before(change)
            )
            selected |= {change.id} if depends else set()
        return selected

    def _before(self, change: Change) -> list[Change]:
        return [other for other in self.changes if other.id < change.id]


@dataclass(frozen=True)
class _Manifest:
    """The part of the lake's manifest that is read here; the other fields are ignored."""

    history: History = History()


_MANIFEST: Final = TypeAdapter(_Manifest)


def read_history(path: Path) -> History:
    """Of the manifest at `path`; empty where it has none. Raises DataError where it cannot be read."""
    try:
        return _MANIFEST.validate_json(path.read_bytes()).history
    except FileNotFoundError:
        return History()
    except ValueError as error:
        reason = error.errors(include_url=False)[0]["msg"] if isinstance(error, ValidationError) else error
        raise DataError(
            f"{path}: damaged history of ingests ({reason}); remove its field `history`; no earlier "
            "ingest can be undone then"
        ) from None

"""What each ingest has changed in the lake, so that it can be taken back: a part of the lake's manifest.

An entry names the files that the changed partitions held before; the lake keeps these files as long as the entry. As
the entry and the change are written in one rename, there is never one without the other.
"""

from __future__ import annotations

import json
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
    """One ingest. source: what was taken, as whoever took it tells it in JSON; rows: by table those that were new and
    those that were updated; before: what the changed partitions held, without rows where there was nothing; known:
    the other partitions that rows came in for, all of which were known."""

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
        """Every partition that rows came in for."""
        return self.changed.union(self.known)


@dataclass(frozen=True)
class History:
    """changes: the last ones that can be taken back, oldest first; undone: the last ones that were, in the order in
    which they had come in; last_id: of all that ever were, so that no number is given twice."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    last_id: int = 0
    changes: tuple[Change, ...] = ()
    undone: tuple[Change, ...] = ()

    def files(self) -> set[str]:
        """Paths of the files that are kept for it."""
        return {file.path for change in self.changes for file in change.before if file.rows}

    def since(self, last_id: int) -> list[int]:
        """Ids of the changes that came after that one, newest first."""
        return sorted((change.id for change in self.changes if change.id > last_id), reverse=True)

    def with_change(self, change: Change, keep: int) -> History:
        return replace(self, last_id=change.id, changes=(*self.changes, change)[-keep:])

    def without_changes(self, ids: Collection[int], now: datetime, keep: int) -> History:
        """These move from `changes` to `undone`, without the files."""
        gone = [replace(change, before=(), known=(), undone_at=now) for change in self.changes if change.id in ids]
        undone = sorted((*self.undone, *gone), key=lambda change: change.id)[-keep:] if keep else ()
        return replace(self, changes=tuple(one for one in self.changes if one.id not in ids), undone=tuple(undone))

    def with_later(self, ids: Iterable[int]) -> set[int]:
        """These, and the later ones that rest on them: that have rows of a partition which one of them changed."""
        wanted = set(ids)
        for change in self.changes:  # from the oldest on, so that what rests on a later one is found as well
            resting = any(one.id in wanted and one.changed.intersection(change.touched) for one in self._before(change))
            wanted |= {change.id} if resting else set()
        return wanted

    def _before(self, change: Change) -> list[Change]:
        return [one for one in self.changes if one.id < change.id]


_JSON: Final = TypeAdapter(History)


def read_history(path: Path) -> History:
    """Of the manifest at `path`; empty where it has none. Raises DataError where it cannot be read."""
    try:
        return _JSON.validate_python(json.loads(path.read_bytes()).get("history", {}))
    except FileNotFoundError:
        return History()
    except (ValueError, AttributeError) as error:
        said = error.errors(include_url=False)[0]["msg"] if isinstance(error, ValidationError) else error
        raise DataError(
            f"{path}: damaged history of ingests ({said}); remove the field `history`, and none can be undone"
        ) from None


def as_json(history: History) -> dict[str, Any]:
    told: dict[str, Any] = _JSON.dump_python(history, mode="json")
    return told

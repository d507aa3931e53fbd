"""Joined ids of shoppers as the lake knows them: `lake/user_merges.json`.

The lake keeps events under the ids by which they came; readers resolve them. The nightly run copies the joined ids from
the live database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl
from pydantic import TypeAdapter

from features.workspace.record_file import RecordFile
from recsys.errors import DataError


@dataclass(frozen=True)
class MergedUsers:
    """into: joined id -> the shopper's own."""

    into: dict[str, str] = field(default_factory=dict)
    version: int = 1

    def resolve(self, user_ids: pl.Expr) -> pl.Expr:
        """The shopper's own id for each."""
        return user_ids.replace(self.into) if self.into else user_ids

    def group(self, user_id: str) -> list[str]:
        """All ids of the shopper who has this one, their own last."""
        own_id = self.into.get(user_id, user_id)
        return [*sorted(other for other, into_id in self.into.items() if into_id == own_id), own_id]


_FILE: Final = RecordFile("user_merges.json", TypeAdapter(MergedUsers))


def read_merged_users(lake: Path) -> MergedUsers:
    """Nobody where there is no file. Raises DataError where it is damaged."""
    try:
        return _FILE.read(lake)
    except FileNotFoundError:
        return MergedUsers()
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{lake / _FILE.name}: damaged list of joined user ids ({reason}); remove it, and the next nightly run "
            "writes it again from the live database"
        ) from None


def add_merged_users(lake: Path, into: Mapping[str, str]) -> None:
    """Add joined ids to the lake's."""
    known = read_merged_users(lake)
    merged = {user_id: into.get(own_id, own_id) for user_id, own_id in {**known.into, **into}.items()}
    if merged != known.into:
        lake.mkdir(parents=True, exist_ok=True)
        _FILE.write(lake, MergedUsers(merged))


def forget_merged_user(lake: Path, user_id: str) -> int:
    """Remove an id from the lake's list; returns how many entries named it."""
    known = read_merged_users(lake)
    left = {other: own_id for other, own_id in known.into.items() if user_id not in (other, own_id)}
    if len(left) < len(known.into):
        _FILE.write(lake, MergedUsers(left))
    return len(known.into) - len(left)

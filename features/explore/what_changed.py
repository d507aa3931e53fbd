"""What a night changed for one shopper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from features.explore.showing import as_html, as_text
from recsys.errors import QueryError

if TYPE_CHECKING:
    from features.explore.opened_release import OpenedRelease


@dataclass(frozen=True)
class SlateChange:
    """Of one shopper, between two releases.

    slate: item_id, title, before, after, moved: places in both lists, null where an item is in one alone; moved: places
    won (positive) or lost. events: what the shopper did meanwhile, newest first. kept: share of the list that stayed.
    """

    user_id: str
    before: str
    after: str
    slate: pl.DataFrame
    events: pl.DataFrame
    kept: float

    def __repr__(self) -> str:
        return f"{self._title()}\n{as_text(self.slate)}\n{as_text(self.events)}"

    def _repr_html_(self) -> str:
        return as_html(self.slate, self._title()) + as_html(self.events, "What the shopper did meanwhile")

    def _title(self) -> str:
        return f"{self.user_id}: {self.kept:.0%} of the list stayed from {self.before} to {self.after}"


def slate_change(before: OpenedRelease, after: OpenedRelease, user_id: str, count: int) -> SlateChange:
    """Raises QueryError for a shopper whom neither release knows; one of them may not, as a newcomer."""
    before_knows, after_knows = (user_id in release.recommender.users.rows for release in (before, after))
    if not after_knows and not before_knows:
        after.check_user(user_id)
    if before.manifest.as_of > after.manifest.as_of:
        raise QueryError(f"{before.release_id} is newer than {after.release_id}: name them the other way round")
    old = before.slate(user_id if before_knows else None, count=count)
    new = after.slate(user_id if after_knows else None, count=count)
    both = (
        new.versus(old)
        .select("item_id", "title", before="was", after="place", moved="moved")
        .sort("after", "before", nulls_last=True)
    )
    did = (
        after.events.filter((pl.col("user_id") == user_id) & (pl.col("timestamp") >= before.manifest.as_of))
        .select("timestamp", "event_type", "item_id", "text")
        .sort("timestamp", descending=True)
        .collect()
    )
    stayed = both.select((pl.col("before").is_not_null() & pl.col("after").is_not_null()).sum()).item()
    return SlateChange(user_id, before.release_id, after.release_id, both, did, stayed / max(1, len(new.items)))

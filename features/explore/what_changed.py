"""How the list of one shopper changed between two releases."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from features.explore.display import as_html, as_text
from features.explore.release import OpenedRelease
from recsys.errors import QueryError


@dataclass(frozen=True)
class SlateChange:
    """The lists of one shopper from two releases.

    slate: item_id, title, before, after, moved; before, after: places in the two lists, null where the item is not in
    it; moved: places gained (positive) or lost. events: what the shopper did between the releases, newest first.
    unchanged_share: share of the items that are in both lists.
    """

    user_id: str
    before: str
    after: str
    slate: pl.DataFrame
    events: pl.DataFrame
    unchanged_share: float

    def __repr__(self) -> str:
        return f"{self._title()}\n{as_text(self.slate)}\n{as_text(self.events)}"

    def _repr_html_(self) -> str:
        return as_html(self.slate, self._title()) + as_html(self.events, "Events between the two releases")

    def _title(self) -> str:
        return f"{self.user_id}: {self.unchanged_share:.0%} of the list unchanged from {self.before} to {self.after}"


def slate_change(before: OpenedRelease, after: OpenedRelease, user_id: str, count: int) -> SlateChange:
    """The change of a shopper's list of `count` items between two releases.

    A shopper whom only one release knows gets a guest's list from the other one. Raises QueryError if neither release
    knows the shopper, or if `before` is the newer release.
    """
    before_knows, after_knows = (user_id in release.recommender.users.rows for release in (before, after))
    if not after_knows and not before_knows:
        after.check_user(user_id)
    if before.manifest.as_of > after.manifest.as_of:
        raise QueryError(f"{before.release_id} is newer than {after.release_id}: swap before and after")
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

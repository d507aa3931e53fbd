"""Hidden reviews, read again when their file changes, so that hiding one needs no restart."""

from __future__ import annotations

from pathlib import Path

from features.workspace.atomic_files import mark_of
from features.workspace.hidden_reviews import hidden_ids
from serving.watch.polling import Watch, WatchedFile


class HiddenWatch(Watch):
    """A container of the ids of hidden reviews, checked for every review before it is quoted.

    While the file is damaged or missing, the reviews last read stay hidden. A file that could never be read hides every
    review, because a review that the shop has hidden must not be shown again.
    """

    def __init__(self, path: Path, poll_s: float) -> None:
        super().__init__(poll_s, "hidden-watch")
        self._file = WatchedFile(path, hidden_ids, "hidden reviews")
        self._hidden: frozenset[str] | None = None
        """None hides every review."""
        if mark_of(path) is None:
            self._hidden = frozenset()

    def __contains__(self, review_id: object) -> bool:
        hidden = self._hidden
        return hidden is None or review_id in hidden

    def poll(self) -> bool:
        """Check once; True where other reviews are hidden from now on."""
        hidden = self._file.read("no review is quoted" if self._hidden is None else "last known ones stay hidden")
        if hidden is None:
            return False
        self._hidden = hidden
        return True

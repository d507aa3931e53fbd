"""The reviews that are hidden now: read again when their file changes, so that one is hidden without a restart."""

from __future__ import annotations

from pathlib import Path

from features.workspace.atomic_files import mark_of
from features.workspace.hidden_reviews import hidden_ids
from serving.watch.polling import Watch, WatchedFile


class HiddenWatch(Watch):
    """Holds the ids of hidden reviews, as a container: lists ask it for each review that they would quote.

    While the file is damaged or gone, what was read last stays hidden; a file that could never be read hides all, for
    what a shop has taken back must not come up again.
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
        """Look once; True where other reviews are hidden from now on."""
        hidden = self._file.look("no review is quoted" if self._hidden is None else "what is hidden stays so")
        if hidden is None:
            return False
        self._hidden = hidden
        return True

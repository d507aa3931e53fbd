"""The reviews that are hidden now: read again when their file changes, so that one is hidden without a restart."""

from __future__ import annotations

import logging
from pathlib import Path

from features.durable import mark_of
from features.hidden_reviews import hidden_ids
from recsys.errors import DataError
from serving.poller import Poller

log = logging.getLogger(__name__)


class HiddenWatch:
    """Holds the ids of hidden reviews, as a container: lists ask it for each review that they would quote.

    While the file is damaged or gone, what was read last stays hidden; a file that could never be read hides all, for
    what a shop has taken back must not come up again.
    """

    def __init__(self, path: Path, poll_s: float) -> None:
        self._path = path
        self._hidden: frozenset[str] | None = None
        """None hides every review."""
        self._seen: tuple[int, int, int] | None = None
        self._poller = Poller(self.poll, poll_s, "hidden-watch")
        if mark_of(path) is None:
            self._hidden = frozenset()

    def __contains__(self, review_id: object) -> bool:
        hidden = self._hidden
        return hidden is None or review_id in hidden

    def start(self) -> None:
        """Look every `poll_s` seconds, in a thread of its own."""
        self._poller.start()

    def close(self) -> None:
        """Stop looking; what is hidden stays so."""
        self._poller.close()

    def poll(self) -> bool:
        """Look once; True where other reviews are hidden from now on."""
        seen = mark_of(self._path)
        if seen == self._seen:
            return False
        self._seen = seen
        if seen is None:
            log.error("file of hidden reviews gone path=%s what is hidden stays so", self._path)
            return False
        try:
            self._hidden = hidden_ids(self._path)
        except DataError as error:
            said = "no review is quoted" if self._hidden is None else "what is hidden stays so"
            log.error("hidden reviews not read error=%s %s", error, said)
            return False
        log.info("hidden reviews read path=%s reviews=%d", self._path, len(self._hidden))
        return True

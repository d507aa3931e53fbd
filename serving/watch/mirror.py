"""Keeps this machine's copy of a workspace on object storage up to date.

Whatever watches files of the workspace (releases, keys, hidden reviews) then sees them change as in a local folder.
"""

from __future__ import annotations

import logging

from features.workspace.location import follow
from features.workspace.mirror import Mirror
from recsys.errors import RecsysError
from serving.watch.polling import Pauses, Watch

log = logging.getLogger(__name__)


class MirrorWatch(Watch):
    """Follows the bucket. Where it cannot be reached, or its content is damaged, the copy stays unchanged: that is
    logged once, and tried again after pauses that double."""

    def __init__(self, mirror: Mirror, poll_s: float) -> None:
        super().__init__(poll_s, "mirror-watch")
        self._mirror = mirror
        self._failing = False
        self._pauses = Pauses()

    def poll(self) -> bool:
        """Check once; True where the copy has changed."""
        if self._pauses.skip():
            return False
        try:
            changed = follow(self._mirror)
        except Exception as error:
            # The network or the disk may raise anything; the thread must survive.
            self._pauses.failed()
            if not self._failing:
                trace = None if isinstance(error, RecsysError) else error
                log.error("workspace copy not up to date error=%s", error, exc_info=trace)
            self._failing = True
            return False
        if self._failing:
            log.info("workspace copy up to date again url=%s", self._mirror.bucket.url)
        self._failing = False
        self._pauses.succeeded()
        return changed

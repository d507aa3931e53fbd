"""This machine's copy of a workspace on object storage, brought up to date again and again.

What watches the files of a workspace (releases, keys, hidden reviews) then sees them change as in a folder.
"""

from __future__ import annotations

import logging

from features.workspace.location import follow
from features.workspace.mirror import Mirror
from recsys.errors import RecsysError
from serving.watch.polling import Pauses, Watch

log = logging.getLogger(__name__)


class MirrorWatch(Watch):
    """Follows the bucket. Where it cannot be reached, or what it holds is damaged, the copy stays as it was: that is
    logged once, and tried again after pauses that double."""

    def __init__(self, mirror: Mirror, poll_s: float) -> None:
        super().__init__(poll_s, "mirror-watch")
        self._mirror = mirror
        self._failing = False
        self._pauses = Pauses()

    def poll(self) -> bool:
        """Look once; True where the copy has been brought up to date."""
        if self._pauses.skip():
            return False
        try:
            changed = follow(self._mirror)
        except Exception as error:
            # Whatever the network or the disk raises, the thread must live on.
            self._pauses.failed()
            if not self._failing:
                trace = None if isinstance(error, RecsysError) else error
                log.error("copy of the workspace not up to date error=%s", error, exc_info=trace)
            self._failing = True
            return False
        if self._failing:
            log.info("copy of the workspace up to date again url=%s", self._mirror.bucket.url)
        self._failing = False
        self._pauses.succeeded()
        return changed

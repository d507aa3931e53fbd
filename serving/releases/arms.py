"""The releases of experiment arms, loaded beside the active release."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from recsys import config
from recsys.errors import RecsysError
from serving.releases.active import ActiveRelease, Source, activate
from serving.watch.polling import Pauses, Watch

log = logging.getLogger(__name__)


class ArmReleases(Watch):
    """Loads the releases of arms. One that is missing or does not load is logged once, and tried again after pauses
    that double.

    live: returns the active release, from which all other requests are answered.
    """

    def __init__(
        self,
        release_ids: Iterable[str],
        source: Source,
        live: Callable[[], ActiveRelease | None],
        settings: config.ServeSettings,
    ) -> None:
        super().__init__(settings.release_poll_s, "arm-releases")
        self._source = source
        self._live = live
        self._text_cache = settings.text_cache
        self._loaded: dict[str, ActiveRelease] = {}
        self._digests: dict[str, str | None] = {}
        self._pauses = {release_id: Pauses() for release_id in sorted(release_ids)}
        self._reported_ids: set[str] = set()
        """Releases whose failure has been logged."""

    def get(self, release_id: str) -> ActiveRelease | None:
        """The release, None while it is not loaded."""
        live = self._live()
        return live if live is not None and live.release.release_id == release_id else self._loaded.get(release_id)

    def start(self) -> None:
        """Check every `serve.release_poll_s` seconds, in a separate thread, unless there are no arms with a release."""
        if self._pauses:
            super().start()

    def poll(self) -> None:
        """Load releases that are missing, and those from which a user has been erased."""
        for release_id, pauses in self._pauses.items():
            if pauses.skip():
                continue
            try:
                digest = self._source.digest(release_id)
                if release_id in self._loaded and digest in (None, self._digests[release_id]):
                    continue
                self._load(release_id)
                self._digests[release_id] = digest
                pauses.succeeded()
            except Exception as error:
                # A damaged release may raise anything; shoppers of its arm get the active one.
                pauses.failed()
                if release_id not in self._reported_ids:
                    trace = None if isinstance(error, RecsysError) else error
                    log.error(
                        "arm release not loaded, active release serves the arm id=%s error=%s",
                        release_id,
                        error,
                        exc_info=trace,
                    )
                self._reported_ids.add(release_id)

    def _load(self, release_id: str) -> None:
        before = self._live()
        known = [*([before] if before else []), *self._loaded.values()]
        active = activate(self._source.load(release_id), self._source, known, self._text_cache)
        self._loaded = {**self._loaded, release_id: active}
        log.info("arm release loaded id=%s", release_id)

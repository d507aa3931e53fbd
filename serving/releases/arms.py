"""The releases that arms of experiments are served from, loaded beside the one that answers everyone else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from recsys import config
from recsys.errors import RecsysError
from serving.releases.active import ActiveRelease, Source, to_live
from serving.watch.polling import Pauses, Watch

log = logging.getLogger(__name__)


class ArmReleases(Watch):
    """One that is missing or does not load is logged once and tried again after pauses that double.

    live: the release that answers everyone else.
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
        self._told: set[str] = set()

    def get(self, release_id: str) -> ActiveRelease | None:
        """The release, None while it is not loaded."""
        live = self._live()
        return live if live is not None and live.release.release_id == release_id else self._loaded.get(release_id)

    def start(self) -> None:
        """Look every `serve.release_poll_s` seconds, in a thread of its own, where there are any."""
        if self._pauses:
            super().start()

    def poll(self) -> None:
        """Load what is missing, and what somebody was erased from."""
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
                # Whatever a damaged release raises, shoppers of its arm get the live one.
                pauses.failed()
                if release_id not in self._told:
                    trace = None if isinstance(error, RecsysError) else error
                    log.error("arm served by the live release id=%s error=%s", release_id, error, exc_info=trace)
                self._told.add(release_id)

    def _load(self, release_id: str) -> None:
        before = self._live()
        known = [*([before] if before else []), *self._loaded.values()]
        live = to_live(self._source.load(release_id), self._source, known, self._text_cache)
        self._loaded = {**self._loaded, release_id: live}
        log.info("arm release loaded id=%s", release_id)

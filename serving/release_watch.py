"""The release that answers now: loaded beside the one before, swapped by reference, never mended in place."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from recsys import config
from recsys.errors import EncoderError, RecsysError
from recsys.workspace import Workspace
from serving.metrics import REPLICAS
from serving.poller import Poller
from serving.text_cache import TextEncoder, TextVectors

if TYPE_CHECKING:
    from features.release import LoadedRelease

log = logging.getLogger(__name__)

LONGEST_PAUSE_POLLS: Final = 64


@dataclass(frozen=True)
class Live:
    """A release and the text vectors of its encoder: a request takes both at once, so they always fit."""

    release: LoadedRelease
    texts: TextVectors


@dataclass(frozen=True)
class Source:
    """Where releases come from; the workspace, or a test's own."""

    current_id: Callable[[], str | None]
    load: Callable[[str], LoadedRelease]
    load_encoder: Callable[[config.Encoder], TextEncoder]


def workspace_source(workspace: Workspace, hidden_reviews: Container[str]) -> Source:
    """The releases published in `workspace`; hidden_reviews: ids of reviews that must not be quoted, asked for each."""
    # Only here, in the replica: lancedb restarts its threads, with a warning, in every process that its importer
    # forks, and the process that starts Ray forks many.
    from features.release import load_release
    from features.store import Store

    return Source(
        current_id=Store(workspace).current_id,
        load=lambda release_id: load_release(workspace, release_id, hidden_reviews),
        load_encoder=_load_encoder,
    )


def _load_encoder(settings: config.Encoder) -> TextEncoder:
    # Only here, in the replica: the process that starts Ray encodes nothing.
    from features.query_encoder import load_query_encoder

    return load_query_encoder(settings)


class ReleaseWatch:
    """Follows the workspace's current release.

    A release that does not load is logged once and the one before keeps answering; it is tried again after pauses
    that double, since a copy that is still arriving mends itself and a damaged one must not eat the machine.
    """

    def __init__(self, source: Source, settings: config.Serve) -> None:
        self._source = source
        self._settings = settings
        self._live: Live | None = None
        self._failed_id: str | None = None
        self._pause_polls = 0
        self._polls_left = 0
        self._poller = Poller(self.poll, settings.release_poll_s, "release-watch")

    @property
    def live(self) -> Live | None:
        """What to answer from, None before the first release is loaded. Take it once for each request."""
        return self._live

    def start(self) -> None:
        """Look every `serve.release_poll_s` seconds, in a thread of its own."""
        self._poller.start()

    def close(self) -> None:
        """Stop looking; what is loaded stays."""
        self._poller.close()

    def poll(self) -> bool:
        """Look once; True where another release answers from now on."""
        if self._polls_left > 0:
            self._polls_left -= 1
            return False
        release_id: str | None = None
        try:
            release_id = self._source.current_id()
            if release_id is None or (self._live and self._live.release.release_id == release_id):
                return False
            self._swap(self._source.load(release_id))
        except Exception as error:
            # Whatever a half-copied release raises, the thread and the release before must live on.
            self._note_failure(release_id, error)
            return False
        self._failed_id, self._pause_polls = None, 0
        return True

    def _swap(self, release: LoadedRelease) -> None:
        before = self._live
        if before is not None and before.release.encoder == release.encoder:
            texts = before.texts
        else:
            texts = TextVectors(lambda: self._encoder(release), self._settings.text_cache)
            texts.wait_until_loaded()
        # Requests under way still hold the one before, which goes when the last of them has been answered.
        self._live = Live(release, texts)
        if before is not None:
            REPLICAS.labels(before.release.release_id).set(0)
        REPLICAS.labels(release.release_id).set(1)
        log.info("release loaded id=%s before=%s", release.release_id, before.release.release_id if before else None)

    def _encoder(self, release: LoadedRelease) -> TextEncoder:
        encoder = self._source.load_encoder(release.encoder)
        if encoder.id != release.manifest.encoder_id:
            raise EncoderError(
                f"release {release.release_id} was made with encoder {release.manifest.encoder_id}, and its settings "
                f"now load {encoder.id}; run `recsys nightly` again"
            )
        encoder.encode(["ready"])  # the first call is many times slower than any later one
        return encoder

    def _note_failure(self, release_id: str | None, error: Exception) -> None:
        self._pause_polls = min(max(1, 2 * self._pause_polls), LONGEST_PAUSE_POLLS)
        self._polls_left = self._pause_polls
        if release_id is not None and release_id == self._failed_id:
            return
        self._failed_id = release_id
        trace = None if isinstance(error, RecsysError) else error
        log.error("release not loaded id=%s error=%s", release_id, error, exc_info=trace)

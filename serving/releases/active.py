"""The active release: a new one is loaded beside the old one and swapped in by reference, never changed in place."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from features.store.manifest import read_pointer
from recsys import config
from recsys.errors import EncoderError, RecsysError
from recsys.workspace import Workspace
from serving.ingress.problems import ProblemError
from serving.releases.text_vectors import TextEncoder, TextVectors
from serving.telemetry.metrics import REPLICAS
from serving.watch.polling import Pauses, Watch

if TYPE_CHECKING:
    from features.store.release import LoadedRelease

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ActiveRelease:
    """A release and the text vectors of its encoder. A request takes both together, so they always match."""

    release: LoadedRelease
    texts: TextVectors


@dataclass(frozen=True)
class Source:
    """Where releases come from: the workspace, or a stand-in of a test.

    digest: SHA-256 of a published release's manifest, None for one that is not published. It changes when a user is
    erased from the release.
    """

    current_id: Callable[[], str | None]
    digest: Callable[[str], str | None]
    load: Callable[[str], LoadedRelease]
    load_encoder: Callable[[config.EncoderSettings], TextEncoder]


def workspace_source(workspace: Workspace, hidden_reviews: Container[str]) -> Source:
    """The releases published in `workspace`. hidden_reviews: ids of reviews that must not be quoted, checked before
    each quote."""
    # Imported only here, in the replica: lancedb restarts its threads, with a warning, in every process that its
    # importer forks, and the process that starts Ray forks many.
    from features.store.release import load_release
    from features.store.store import Store

    def digest(release_id: str) -> str | None:
        pointer = read_pointer(workspace.current)
        return None if pointer is None else pointer.published.get(release_id)

    return Source(
        current_id=Store(workspace).current_id,
        digest=digest,
        load=lambda release_id: load_release(workspace, release_id, hidden_reviews),
        load_encoder=_load_encoder,
    )


def _load_encoder(settings: config.EncoderSettings) -> TextEncoder:
    # Imported only here, in the replica: the process that starts Ray encodes nothing.
    from features.encoder.query_encoder import load_query_encoder

    return load_query_encoder(settings)


def activate(release: LoadedRelease, source: Source, known: Iterable[ActiveRelease], text_cache: int) -> ActiveRelease:
    """The release with the text vectors of a known release that has the same encoder, else with its own encoder,
    loaded. text_cache: maximum number of cached texts."""
    texts = next((other.texts for other in known if other.release.encoder == release.encoder), None)
    if texts is None:
        texts = TextVectors(lambda: _encoder(release, source), text_cache)
        texts.wait_until_loaded()
    return ActiveRelease(release, texts)


def _encoder(release: LoadedRelease, source: Source) -> TextEncoder:
    encoder = source.load_encoder(release.encoder)
    if encoder.id != release.manifest.encoder_id:
        raise EncoderError(
            f"release {release.release_id} was built with encoder {release.manifest.encoder_id}, but its settings "
            f"now load {encoder.id}; run `recsys nightly` again"
        )
    encoder.encode(["ready"])  # the first call is many times slower than any later one
    return encoder


class ReleaseWatch(Watch):
    """Follows the workspace's current release.

    A release that does not load is logged once, and the one before keeps answering. Loading is tried again after
    pauses that double.
    """

    def __init__(self, source: Source, settings: config.ServeSettings) -> None:
        super().__init__(settings.release_poll_s, "release-watch")
        self._source = source
        self._settings = settings
        self._live: ActiveRelease | None = None
        self._digest: str | None = None
        """Of the active release, when it was loaded."""
        self._failed_id: str | None = None
        self._pauses = Pauses()

    @property
    def live(self) -> ActiveRelease | None:
        """The active release, None before the first one is loaded. Take it once per request."""
        return self._live

    def poll(self) -> bool:
        """Check once; True where another release is active from now on."""
        if self._pauses.skip():
            return False
        release_id: str | None = None
        try:
            release_id = self._source.current_id()
            digest = None if release_id is None else self._source.digest(release_id)
            is_live = self._live is not None and self._live.release.release_id == release_id
            if release_id is None or (is_live and digest == self._digest):
                return False
            self._swap(self._source.load(release_id))
            self._digest = digest
        except Exception as error:
            # A half-copied release may raise anything; the thread must survive, and the release before stays active.
            self._note_failure(release_id, error)
            return False
        self._failed_id = None
        self._pauses.succeeded()
        return True

    def _swap(self, release: LoadedRelease) -> None:
        before = self._live
        live = activate(release, self._source, [before] if before else [], self._settings.text_cache)
        # Requests in progress still hold the release before; it is freed when the last of them has been answered.
        self._live = live
        if before is not None:
            REPLICAS.labels(before.release.release_id).set(0)
        REPLICAS.labels(release.release_id).set(1)
        log.info("release loaded id=%s before=%s", release.release_id, before.release.release_id if before else None)

    def _note_failure(self, release_id: str | None, error: Exception) -> None:
        self._pauses.failed()
        if release_id is not None and release_id == self._failed_id:
            return
        self._failed_id = release_id
        trace = None if isinstance(error, RecsysError) else error
        log.error("release not loaded id=%s error=%s", release_id, error, exc_info=trace)


def ready_release(live: Callable[[], ActiveRelease | None]) -> ActiveRelease:
    current = live()
    if current is None:
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "not-ready",
            "no release is loaded yet; run `recsys nightly` to publish one",
            retry_s=2,
        )
    return current

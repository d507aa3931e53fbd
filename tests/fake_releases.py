"""Releases in memory, in place of a workspace, for tests of code that watches, loads and replays releases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from features.store.release import LoadedRelease
from recsys import config
from recsys.errors import StoreError
from serving.releases.active import Source
from serving.releases.text_vectors import TextEncoder


@dataclass
class Shelf:
    """Releases by id. A missing release does not load; releases in `damaged` are published but do not load, either. The
    `digests` of a release change when a user is erased from it."""

    make_release: Callable[..., LoadedRelease]
    encoder: TextEncoder
    current: str | None = None
    releases: dict[str, LoadedRelease] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)
    digests: dict[str, str] = field(default_factory=dict)
    loads: list[str] = field(default_factory=list)
    encoders: list[config.EncoderSettings] = field(default_factory=list)

    @property
    def source(self) -> Source:
        return Source(lambda: self.current, self._digest, self._load, self._load_encoder)

    def publish(self, release_id: str, **encoder: Any) -> None:
        self.releases[release_id] = self.make_release(release_id, config.EncoderSettings(**encoder))
        self.current = release_id

    def _digest(self, release_id: str) -> str | None:
        is_published = release_id in self.releases or release_id in self.damaged
        return self.digests.get(release_id, "as published") if is_published else None

    def _load(self, release_id: str) -> LoadedRelease:
        self.loads.append(release_id)
        if release_id not in self.releases:
            raise StoreError(f"release {release_id}: damaged")
        return self.releases[release_id]

    def _load_encoder(self, settings: config.EncoderSettings) -> TextEncoder:
        self.encoders.append(settings)
        return self.encoder

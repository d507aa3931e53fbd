"""What a process hands to the HTTP app that it serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from features.live.database import LiveDatabase
from serving.releases.active import ActiveRelease
from serving.telemetry.access_log import AccessLog
from serving.watch.erased_users import ErasedUsersWatch
from serving.watch.keys import NO_KEYS, Keys
from serving.watch.user_ids import UserIdsWatch

NO_LAKE: Final = Path("no-lake")
"""A folder that does not exist reads as an empty lake."""

NO_ATLASES: Final = Path("no-atlases")


@dataclass(frozen=True)
class ServiceState:
    """The data and connections of one replica.

    active: the release that answers now, None before the first one is loaded; called once a request, so that no
    response mixes two releases.
    database: the live database, which stores events and item changes; without one the service takes neither, and
    explains no past list.
    keys: the API keys that are valid now.
    access_log: None writes none.
    arm_release: the release that an arm of an experiment is served from, None while it is not loaded.
    past_releases: loads any published release, as `PastReleases.get`; by default the active one alone.
    erased_users: shoppers of whom nothing may be used.
    user_ids: the ids under which shoppers are stored who are known by an e-mail address.
    lake: the lake's folder; reports of experiments read its events.
    atlases: the folder of item map layouts.
    echo_request_id: whether responses carry the request id; False where the server in front adds it.
    """

    active: Callable[[], ActiveRelease | None]
    database: LiveDatabase | None = None
    keys: Callable[[], Keys] = lambda: NO_KEYS
    access_log: AccessLog | None = None
    arm_release: Callable[[str], ActiveRelease | None] = lambda _: None
    past_releases: Callable[[str], Awaitable[Sequence[ActiveRelease]]] | None = None
    erased_users: ErasedUsersWatch = field(default_factory=ErasedUsersWatch)
    user_ids: UserIdsWatch = field(default_factory=UserIdsWatch)
    lake: Path = NO_LAKE
    atlases: Path = NO_ATLASES
    echo_request_id: bool = True

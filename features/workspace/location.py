"""Where a workspace lies: a folder, or `s3://bucket/prefix`, which is worked on in a folder of this machine.

A folder is used as it is. A workspace on object storage is mirrored below `RECSYS_CACHE` (by default the user's cache
folder): once for commands that change it, one at a time, and once for those that read it and for the service.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from features.workspace.user_cache import user_cache
from recsys.errors import ConfigError, RecsysError, StoreError
from recsys.workspace import Workspace

if TYPE_CHECKING:
    from features.workspace.mirror import Mirror
    from features.workspace.object_store import Bucket

log = logging.getLogger(__name__)

CACHE_VARIABLE: Final = "RECSYS_CACHE"
SCHEME: Final = "s3://"

SMALL_FILES: Final = ("keys.json", "hidden-reviews.json", "recsys.toml")
SERVED: Final = (*SMALL_FILES, "erasures", "releases", "store", "encoders", "atlases")
"""What the service and `recsys recommend` read."""

NIGHT: Final = "lease.json"
TUNING: Final = "finetune-lease.json"

COMMAND_PATIENCE_S: Final = 60.0
SERVICE_PATIENCE_S: Final = 5.0

_URL: Final = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^/\s]+)*/?")


def is_remote(place: str) -> bool:
    """Whether it is a URL of object storage."""
    return place.startswith(SCHEME)


def checked_place(text: str) -> str:
    """A workspace as it was given. Raises ConfigError for what looks like a URL and is none that can be used."""
    if "://" in text or text.startswith("s3:"):
        if not _URL.fullmatch(text):
            raise ConfigError(f"--workspace {text}: not a folder and not of the form s3://bucket/prefix")
        return text.rstrip("/")
    if Path(text).is_file():
        raise ConfigError(f"--workspace {text}: a file; name a folder or s3://bucket/prefix")
    return text


def local_workspace(place: str) -> Workspace:
    """The folder. Raises ConfigError where it is on object storage: this command has no use for it."""
    if is_remote(place):
        raise ConfigError(f"--workspace {place}: this command works on a folder of this machine; name one")
    return Workspace(Path(place))


@contextmanager
def working(place: str, lease: str, clock: Callable[[], datetime]) -> Iterator[Workspace]:
    """The workspace, to change it: on object storage under its lease, brought up to date before and sent after.

    What a block that ends with a RecsysError has written is sent too, as in a folder it would stay. Raises StoreError
    where another run writes, or has changed the same files.
    """
    if not is_remote(place):
        yield Workspace(Path(place))
        return
    folder = cache_folder(place) / "work"
    with _locked(folder, wait=False):
        mirror = _mirror(place, folder, None, COMMAND_PATIENCE_S)
        from features.workspace.bucket_lease import hold_bucket_lease

        with hold_bucket_lease(mirror.bucket, lease, _name_of(folder), clock) as held:
            _catch_up(mirror)
            try:
                yield Workspace(mirror.root, place)
            except RecsysError:
                _send_after_error(mirror, held.check)
                raise
            if mirror.push(held.check):
                mirror.sweep(clock())


@contextmanager
def editing(place: str) -> Iterator[Workspace]:
    """The workspace's small files (`SMALL_FILES`), to change them at any time, also during a nightly run: nothing else
    of a workspace on object storage is fetched, and no lease is needed. Raises StoreError where two change one at
    once."""
    if not is_remote(place):
        yield Workspace(Path(place))
        return
    with tempfile.TemporaryDirectory(prefix="recsys-") as folder:
        mirror = _mirror(place, Path(folder), SMALL_FILES, COMMAND_PATIENCE_S)
        mirror.pull()
        yield Workspace(mirror.root, place)
        mirror.push()


@contextmanager
def reading(place: str, *also: str) -> Iterator[Workspace]:
    """The workspace as it stands, to read `SERVED` of it and the folders named `also`."""
    if not is_remote(place):
        yield Workspace(Path(place))
        return
    folder = _reading_folder(place, also)
    with _locked(folder, wait=True):
        mirror = _mirror(place, folder, (*SERVED, *also), COMMAND_PATIENCE_S)
        mirror.pull()
    yield Workspace(mirror.root, place)


def served(place: str) -> tuple[Workspace, Mirror | None]:
    """The workspace to serve from, and what keeps it up to date (`follow`); None for a folder.

    Where the bucket cannot be reached, or an object in it is damaged, what this machine has of it serves on, and the
    log says so; raises StoreError where it has nothing.
    """
    if not is_remote(place):
        return Workspace(Path(place).absolute()), None
    folder = _reading_folder(place, ())
    with _locked(folder, wait=True):
        mirror = _mirror(place, folder, SERVED, SERVICE_PATIENCE_S)
        workspace = Workspace(mirror.root, place)
        try:
            mirror.pull()
        except StoreError as error:
            if not workspace.current.is_file():
                raise
            log.error("served from this machine's copy folder=%s error=%s", mirror.root, error)
    return workspace, mirror


def follow(mirror: Mirror) -> bool:
    """Bring a mirror that several processes of this machine share up to date; whether the bucket had changed."""
    if not mirror.has_changed():
        return False
    with _locked(mirror.root.parent, wait=True):
        mirror.reload()
        mirror.pull()
    return True


def cache_folder(place: str) -> Path:
    """Where this machine keeps its copies of a workspace on object storage."""
    chosen = os.environ.get(CACHE_VARIABLE)
    copies = Path(chosen).absolute() / "workspaces" if chosen else user_cache("workspaces")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    digest = hashlib.sha256(f"{endpoint} {place}".encode()).hexdigest()[:12]
    return copies / f"{re.sub(r'[^a-z0-9]+', '-', place.removeprefix(SCHEME).lower())[:60]}-{digest}"


def _reading_folder(place: str, also: Collection[str]) -> Path:
    return cache_folder(place) / "-".join(("read", *also))


def _catch_up(mirror: Mirror) -> None:
    """Send what an earlier command could not, then fetch."""
    if mirror.has_unsent:
        try:
            mirror.push()
        except StoreError as error:
            log.warning("what an earlier command made is dropped error=%s", error)
    mirror.pull()


def _send_after_error(mirror: Mirror, check: Callable[[], None]) -> None:
    try:
        mirror.push(check)
    except StoreError as error:
        log.warning("not sent error=%s", error)


def _mirror(place: str, folder: Path, parts: Collection[str] | None, patience_s: float) -> Mirror:
    bucket = _bucket(place, patience_s)
    # Only here: what needs obstore is imported where a workspace needs it.
    from features.workspace.mirror import Mirror

    return Mirror(bucket, folder, parts)


def _bucket(place: str, patience_s: float) -> Bucket:
    try:
        from features.workspace.object_store import Bucket
    except ModuleNotFoundError as error:
        raise ConfigError(f"{place}: needs the package {error.name}; pip install 'recsys[s3]'") from None
    return Bucket(place, patience_s)


@contextmanager
def _locked(folder: Path, *, wait: bool) -> Iterator[None]:
    """Hold the folder against other processes of this machine; the lock ends with the process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written ({error.strerror}); set {CACHE_VARIABLE} to a folder") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                f"{folder}: another command of this machine works on this workspace; try again when it has ended"
            ) from None
        yield
    finally:
        os.close(descriptor)


def _name_of(folder: Path) -> str:
    """A name drawn for the cache folder when it was made."""
    path = folder / "name"
    if not path.exists():
        path.write_text(secrets.token_hex(8))
    return path.read_text()

"""One writer at a time in a workspace on object storage.

An object that is written only where there is none, or over the version that was read: two machines cannot both succeed.
Its holder renews it while it lives, so that a lease whose machine is gone is free again after minutes. A holder that
was killed on this machine is known by the cache folder, whose lock the new one already holds.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from features.workspace.object_store import Bucket, Stored
from recsys.errors import StoreError

log = logging.getLogger(__name__)

LEASE_MINUTES: Final = 5.0
RENEW_S: Final = 60.0


@dataclass(frozen=True)
class BucketLease:
    """Who may write, and until when others respect it. cache: of the folder it works in, on its host."""

    pid: int
    host: str
    cache: str
    token: str
    since: AwareDatetime
    until: AwareDatetime


_JSON: Final = TypeAdapter(BucketLease)


class HeldLease:
    """A lease that this process holds."""

    def __init__(self, bucket: Bucket, key: str, lease: BucketLease, clock: Callable[[], datetime]) -> None:
        self._bucket = bucket
        self._key = key
        self._lease = lease
        self._clock = clock

    def check(self) -> None:
        """Raise StoreError where another run has taken the lease: the last check before a change is seen."""
        holder = _parse(self._bucket.get(self._key))
        if holder is None or holder.token != self._lease.token:
            taken = "it is gone" if holder is None else f"process {holder.pid} on {holder.host} took it"
            raise StoreError(
                f"{self._bucket.url}/{self._key}: the lease of this run ended and {taken}; nothing changed"
            )

    def renew(self) -> None:
        """Hold it for longer; one that is lost stays lost, as `check` then tells."""
        self._write(self._clock() + timedelta(minutes=LEASE_MINUTES))

    def end(self) -> None:
        """Leave it to others; the object stays, as to delete it could hit another's."""
        self._write(self._lease.since)

    def _write(self, until: datetime) -> None:
        lease = replace(self._lease, until=until)
        try:
            stored = self._bucket.get(self._key)
            holder = _parse(stored)
            # read again: the answer to our last write may have been lost
            if stored is not None and holder is not None and holder.token == lease.token:
                self._bucket.put_if(self._key, _JSON.dump_json(lease), stored.etag)
        except StoreError as error:
            log.warning("lease not renewed error=%s", error)


@contextmanager
def hold_bucket_lease(bucket: Bucket, key: str, cache: str, clock: Callable[[], datetime]) -> Iterator[HeldLease]:
    """Hold the lease while the block runs. Raises StoreError naming the holder where another run has it."""
    held = _take(bucket, key, cache, clock)
    done = threading.Event()
    renewing = threading.Thread(target=_renew, args=(held, done), name="bucket-lease", daemon=True)
    renewing.start()
    try:
        yield held
    finally:
        done.set()
        renewing.join()
        held.end()


def _take(bucket: Bucket, key: str, cache: str, clock: Callable[[], datetime]) -> HeldLease:
    now = clock()
    until = now + timedelta(minutes=LEASE_MINUTES)
    lease = BucketLease(os.getpid(), socket.gethostname(), cache, secrets.token_hex(8), now, until)
    stored = bucket.get(key)
    holder = _parse(stored)
    if holder is not None and now < holder.until and (holder.host, holder.cache) != (lease.host, cache):
        raise StoreError(_held(bucket, holder))
    if bucket.put_if(key, _JSON.dump_json(lease), stored.etag if stored else "") is None:
        holder = _parse(bucket.get(key))
        if holder is None or holder.token != lease.token:  # else the answer to our write was lost
            raise StoreError(_held(bucket, holder))
    return HeldLease(bucket, key, lease, clock)


def _renew(held: HeldLease, done: threading.Event) -> None:
    while not done.wait(RENEW_S):
        held.renew()


def _parse(stored: Stored | None) -> BucketLease | None:
    try:
        return None if stored is None else _JSON.validate_json(stored.content)
    except ValidationError:
        return None


def _held(bucket: Bucket, holder: BucketLease | None) -> str:
    if holder is None:
        return f"{bucket.url}: another run is writing to this workspace; try again when it has ended"
    since, until = (f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC" for time in (holder.since, holder.until))
    return (
        f"{bucket.url}: process {holder.pid} on {holder.host} writes to this workspace since {since} "
        f"(lease until {until}, renewed while it runs); try again when it has ended"
    )

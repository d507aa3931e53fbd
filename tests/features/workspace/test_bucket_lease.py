import os
import socket
from datetime import UTC, datetime, timedelta

import pytest

from features.workspace.bucket_lease import LEASE_MINUTES, HeldLease, hold_bucket_lease
from features.workspace.object_store import Bucket
from recsys.errors import StoreError

NOW = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
KEY = "lease.json"


@pytest.fixture
def bucket(s3_url: str) -> Bucket:
    return Bucket(s3_url, patience_s=30)


def at_now() -> datetime:
    return NOW


def later() -> datetime:
    return NOW + timedelta(minutes=LEASE_MINUTES, seconds=1)


def test_the_second_of_two_nights_is_refused_and_the_first_named(bucket: Bucket) -> None:
    with hold_bucket_lease(bucket, KEY, "one", at_now):
        holder = rf"process {os.getpid()} on {socket.gethostname()} writes to this workspace since 2026-11-23 03:00 UTC"
        with pytest.raises(StoreError, match=holder), hold_bucket_lease(bucket, KEY, "two", at_now):
            pass
        with hold_bucket_lease(bucket, "finetune-lease.json", "two", at_now):
            pass
    with hold_bucket_lease(bucket, KEY, "two", at_now):
        pass


def test_an_error_inside_ends_the_lease(bucket: Bucket) -> None:
    with pytest.raises(ValueError, match="inside"), hold_bucket_lease(bucket, KEY, "one", at_now):
        raise ValueError("inside")
    with hold_bucket_lease(bucket, KEY, "two", at_now):
        pass


def left_behind(bucket: Bucket) -> HeldLease:
    """The lease of a run that was killed."""
    lease = hold_bucket_lease(bucket, KEY, "one", at_now)
    held = lease.__enter__()
    stored = bucket.get(KEY)
    assert stored is not None
    lease.__exit__(None, None, None)
    ended = bucket.get(KEY)
    assert ended is not None
    assert bucket.put_if(KEY, stored.content, ended.etag)
    return held


def test_a_killed_run_is_waited_for_on_another_machine_and_not_in_its_own_folder(bucket: Bucket) -> None:
    held = left_behind(bucket)
    with pytest.raises(StoreError, match="writes to this workspace"), hold_bucket_lease(bucket, KEY, "two", at_now):
        pass
    with hold_bucket_lease(bucket, KEY, "one", at_now), pytest.raises(StoreError, match="took it; nothing changed"):
        held.check()


def test_a_lease_that_is_not_renewed_is_taken_over_and_that_is_noticed(bucket: Bucket) -> None:
    held = left_behind(bucket)
    held.check()
    with hold_bucket_lease(bucket, KEY, "two", later) as taken:
        held.renew()  # it comes back to life too late
        with pytest.raises(StoreError, match=r"took it; nothing changed"):
            held.check()
        taken.check()


def test_a_renewed_lease_is_respected_for_longer(bucket: Bucket) -> None:
    now = NOW
    with hold_bucket_lease(bucket, KEY, "one", lambda: now) as held:
        now = later()
        held.renew()
        with pytest.raises(StoreError, match="writes to this workspace"), hold_bucket_lease(bucket, KEY, "two", later):
            pass


def test_a_damaged_lease_is_taken_over(bucket: Bucket) -> None:
    bucket.put_if(KEY, b"{", "")
    with hold_bucket_lease(bucket, KEY, "one", at_now):
        pass

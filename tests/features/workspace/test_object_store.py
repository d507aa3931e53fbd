from pathlib import Path

import pytest
from object_storage import Endpoint

from features.workspace.object_store import Bucket, UnreachableError
from recsys.errors import StoreError


@pytest.fixture
def bucket(s3_url: str) -> Bucket:
    return Bucket(s3_url, patience_s=30)


def test_an_object_is_written_only_where_there_is_none_or_over_the_one_that_was_read(bucket: Bucket) -> None:
    assert bucket.get("pointer") is None
    first = bucket.put_if("pointer", b"one", "")
    assert first
    assert bucket.put_if("pointer", b"another's", "") is None
    stored = bucket.get("pointer")
    assert stored is not None
    assert (stored.content, stored.etag) == (b"one", first)
    assert bucket.get("pointer", unless=first) is None
    second = bucket.put_if("pointer", b"two", first)
    assert second
    assert bucket.put_if("pointer", b"late", first) is None
    changed = bucket.get("pointer", unless=first)
    assert changed is not None
    assert changed.content == b"two"


def test_a_file_of_many_parts_comes_back_as_it_was(bucket: Bucket, tmp_path: Path) -> None:
    sent, fetched = tmp_path / "sent", tmp_path / "fetched"
    sent.write_bytes(bytes(range(256)) * 50_000)  # 12.8 MB, sent in three parts
    bucket.send(sent, "files/day=2026-11-23/odd name %.parquet.1")
    assert bucket.fetch("files/day=2026-11-23/odd name %.parquet.1", fetched) is not None
    assert fetched.read_bytes() == sent.read_bytes()
    assert [key for key, _ in bucket.keys("files/")] == ["files/day=2026-11-23/odd name %.parquet.1"]
    bucket.delete(["files/day=2026-11-23/odd name %.parquet.1", "files/never-there"])
    assert list(bucket.keys("files/")) == []
    assert bucket.fetch("files/never-there", fetched) is None


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_that_fails_is_asked_again(bucket: Bucket, s3: Endpoint, status: int) -> None:
    failures = iter([status] * 4)
    s3.fail = lambda _method, _path: next(failures, None)
    assert bucket.put_if("pointer", b"one", "")
    assert len(s3.requests) == 5


def test_a_server_that_never_answers_is_told_with_the_remedy(s3_url: str, s3: Endpoint) -> None:
    s3.fail = lambda _method, _path: 503
    with pytest.raises(UnreachableError, match=r"s3://shops/\w+: cannot be reached .*503.*AWS_ENDPOINT_URL"):
        Bucket(s3_url, patience_s=0.5).get("pointer")
    assert len(s3.requests) > 1


def test_wrong_credentials_are_told_and_not_shown(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    with pytest.raises(StoreError, match=r"access refused.*AWS_SECRET_ACCESS_KEY") as raised:
        Bucket(s3_url, patience_s=0.5).put_if("pointer", b"one", "")
    assert "not-the-secret" not in str(raised.value)

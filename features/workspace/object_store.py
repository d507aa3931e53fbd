"""A bucket that speaks the S3 protocol: whole objects, conditional writes, retries. The only home of obstore.

Credentials, region and endpoint are those of the environment (`AWS_ACCESS_KEY_ID`, `AWS_REGION`, `AWS_ENDPOINT_URL` …)
or of the machine's role; nothing here takes them as an argument, stores or logs them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotModifiedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from recsys.errors import StoreError

MOST_RETRIES: Final = 1000
"""Never reached: patience ends first."""
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 15.0
CONNECT_TIMEOUT_S: Final = 5
REQUEST_TIMEOUT_S: Final = 120


class UnreachableError(StoreError):
    """The endpoint did not answer, or only with errors of its own, for as long as it was asked again."""


@dataclass(frozen=True)
class Stored:
    """An object's content and its ETag, by which a later write can be made conditional."""

    content: bytes
    etag: str


class Bucket:
    """What lies below `s3://bucket/prefix`; keys are relative to it. Safe to use from several threads.

    patience_s: for how long a request that the server fails or does not answer is sent again, after pauses that
    double. Raises UnreachableError after that, and StoreError where the server refuses, each with the remedy.
    """

    def __init__(self, url: str, patience_s: float) -> None:
        self.url = url.rstrip("/")
        name, _, prefix = self.url.removeprefix("s3://").partition("/")
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
        self._store = S3Store(
            name,
            prefix=prefix or None,
            client_options={
                "allow_http": endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT_S),
                "timeout": timedelta(seconds=REQUEST_TIMEOUT_S),
            },
            retry_config={
                "max_retries": MOST_RETRIES,
                "retry_timeout": timedelta(seconds=patience_s),
                "backoff": {
                    "base": 2,
                    "init_backoff": timedelta(seconds=FIRST_PAUSE_S),
                    "max_backoff": timedelta(seconds=LONGEST_PAUSE_S),
                },
            },
        )

    def get(self, key: str, unless: str = "") -> Stored | None:
        """The object; None where there is none, or where its ETag is still `unless`."""
        with self._store_errors():
            try:
                response = obstore.get(self._store, key, options={"if_none_match": unless} if unless else {})
                content = bytes(response.bytes())
            except (FileNotFoundError, NotModifiedError):
                return None
        return Stored(content, response.meta["e_tag"] or "")

    def fetch(self, key: str, path: Path) -> str | None:
        """Write the object to `path`, streamed; its SHA-256, hex, None where there is none."""
        digest = hashlib.sha256()
        with self._store_errors():
            try:
                response = obstore.get(self._store, key)
            except FileNotFoundError:
                return None
            with path.open("wb") as file:
                for chunk in response.stream():
                    digest.update(chunk)
                    file.write(chunk)
        return digest.hexdigest()

    def send(self, path: Path, key: str) -> None:
        """Store the file, streamed, in parts where it is large."""
        with self._store_errors():
            obstore.put(self._store, key, path)

    def put_if(self, key: str, content: bytes, etag: str) -> str | None:
        """Store only over the object of this ETag, "" only where there is none; the new ETag, None where refused."""
        with self._store_errors():
            try:
                stored = obstore.put(self._store, key, content, mode={"e_tag": etag} if etag else "create")
            except (AlreadyExistsError, PreconditionError):
                return None
        return stored["e_tag"] or ""

    def delete(self, keys: Iterable[str]) -> None:
        """Remove these; one that is not there is as good as removed."""
        doomed = list(keys)
        if doomed:
            with self._store_errors():
                obstore.delete(self._store, doomed)

    def keys(self, prefix: str) -> Iterator[tuple[str, datetime]]:
        """Every key below the prefix, with when it was stored."""
        with self._store_errors():
            for page in obstore.list(self._store, prefix):
                for entry in page:
                    yield entry["path"], entry["last_modified"]

    @contextmanager
    def _store_errors(self) -> Iterator[None]:
        try:
            yield
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise StoreError(
                f"{self.url}: access refused ({_brief(error)}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
                "give this machine's role the right to read, write, list and delete"
            ) from None
        except FileNotFoundError:
            raise StoreError(f"{self.url}: no such bucket; create it, or correct the name") from None
        except BaseError as error:
            raise UnreachableError(
                f"{self.url}: cannot be reached ({_brief(error)}); see that it answers, and that AWS_ENDPOINT_URL "
                "and AWS_REGION are right"
            ) from None


def _brief(error: Exception) -> str:
    """The last sentence of what may be a chain of them: the cause."""
    line = str(error).partition("\n")[0]
    return line.rpartition("Error performing ")[2][:200].rstrip(": ") or type(error).__name__

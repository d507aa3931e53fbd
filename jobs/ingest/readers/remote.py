"""Files behind a URL: fetched once a change, by ETag or date."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urlsplit

import httpx
from pydantic import TypeAdapter

from features.workspace.record_file import RecordFile
from jobs.ingest.sources.spec import SourceSpec
from recsys.errors import DataError

FOLDER: Final = "downloads"
"""In the lake's folder."""

TIMEOUT_S: Final = 30.0
MAX_TOTAL_S: Final = 3600.0
"""Of a whole transfer; TIMEOUT_S is of one wait, which a server that drips bytes never reaches."""

MAX_BYTES: Final = 8 << 30


@dataclass(frozen=True)
class Fetched:
    """What a server said of a file when it was fetched."""

    url: str
    etag: str | None = None
    last_modified: str | None = None


_RECORD: Final = RecordFile("fetched.json", TypeAdapter(Fetched))


def is_url(text: str) -> bool:
    """Whether a path is a web address."""
    return text.startswith(("https://", "http://"))


def localised(spec: SourceSpec, lake: Path) -> SourceSpec:
    """The spec with fetched copies in place of URLs. Raises DataError as `fetch` does."""
    paths = {
        key: tuple(str(fetch(path, lake / FOLDER)) if is_url(path) else path for path in patterns)
        for key, patterns in spec.paths.items()
    }
    return replace(spec, paths=paths)


def fetch(
    url: str,
    folder: Path,
    *,
    timeout_s: float = TIMEOUT_S,
    total_s: float = MAX_TOTAL_S,
    max_bytes: int = MAX_BYTES,
) -> Path:
    """The file behind `url`, in a folder of its own below `folder`. An unchanged one is not sent again.

    Raises DataError, in one line, where the server does not answer in time, refuses, or sends a web page.
    """
    place = folder / hashlib.sha256(url.encode()).hexdigest()[:16]
    path = place / (PurePosixPath(urlsplit(url).path).name or "download")
    known = _RECORD.find(place) if path.exists() else None
    headers = {}
    if known and known.etag:
        headers["If-None-Match"] = known.etag
    elif known and known.last_modified:
        headers["If-Modified-Since"] = known.last_modified
    try:
        with httpx.stream("GET", url, headers=headers, timeout=timeout_s, follow_redirects=True) as answer:
            if answer.status_code == httpx.codes.NOT_MODIFIED:
                return path
            _check(url, answer)
            place.mkdir(parents=True, exist_ok=True)
            _write(url, answer, path, max_bytes, time.monotonic() + total_s)
            fetched = Fetched(url, answer.headers.get("etag"), answer.headers.get("last-modified"))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = (
            "no answer in time" if isinstance(error, httpx.TimeoutException) else str(error) or type(error).__name__
        )
        raise DataError(f"{url}: cannot be fetched: {reason}; nothing was ingested") from None
    _RECORD.write(place, fetched)
    return path


def _check(url: str, answer: httpx.Response) -> None:
    if answer.status_code != httpx.codes.OK:
        raise DataError(f"{url}: the server answers {answer.status_code} {answer.reason_phrase}; nothing was ingested")
    if answer.headers.get("content-type", "").startswith("text/html"):
        raise DataError(f"{url}: a web page, not a file; use the address of the feed itself")


def _write(url: str, answer: httpx.Response, path: Path, max_bytes: int, deadline: float) -> None:
    """Write the content under a temporary name, and rename it when it is whole. Equal content leaves the file alone."""
    unfinished = path.with_name(f"{path.name}.part")
    n_bytes, digest = 0, hashlib.sha256()
    try:
        with unfinished.open("wb") as file:
            for block in answer.iter_bytes():
                n_bytes += len(block)
                if n_bytes > max_bytes:
                    raise DataError(f"{url}: larger than {max_bytes >> 20:,} MiB; nothing was ingested")
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("the transfer takes too long")
                digest.update(block)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        if not path.exists() or _digest(path) != digest.digest():
            unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()

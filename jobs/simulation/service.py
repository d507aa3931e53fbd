"""The requests that a shop sends to the running service."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx

from recsys.errors import ConfigError, ServeError

MAX_REQUESTS: Final = 200
"""Lists per batch request. The service accepts more, but this many take about a second."""

MAX_EVENTS: Final = 1_000
MAX_EXCLUDE_IDS: Final = 5_000
TRIES: Final = 5
PAUSE_S: Final = 1.0
"""Between two attempts."""

TIMEOUT_S: Final = 30.0
SWAP_S: Final = 120.0
"""Longest wait until the service uses a new release; it checks every `serve.release_poll_s`."""

_RETRIED: Final = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}


def service_url(url: str) -> str:
    """The URL without a trailing slash. Raises ConfigError unless it is http://HOST or http://HOST:PORT."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or parts.scheme != "http" or parts.path.strip("/"):
        raise ConfigError(f"--against {url}: not the URL of a service; write it like http://127.0.0.1:8000")
    return f"http://{parts.netloc}"


class ShopService:
    """A running service. Requests are retried a few times if it is busy or unreachable, then ServeError is raised."""

    def __init__(self, url: str, api_key: str | None) -> None:
        self._url = url
        headers = {"X-API-Key": api_key} if api_key else {}
        # trust_env=False: a proxy from the environment cannot reach a service on this machine.
        self._client = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.close()

    def release_id(self) -> str:
        """Id of the release that the service uses."""
        return str(self._call("GET", "/readyz")["release_id"])

    def recommend(self, user_id: str, count: int, exclude_ids: Sequence[str] = ()) -> Mapping[str, Any]:
        """The response of `/v1/recommend` for a shopper. Only the first `MAX_EXCLUDE_IDS` ids are sent."""
        request: dict[str, Any] = {"user_id": user_id, "count": count}
        if exclude_ids:
            request["exclude_ids"] = list(exclude_ids[:MAX_EXCLUDE_IDS])
        return self._call("POST", "/v1/recommend", request)

    def recommend_many(self, user_ids: Sequence[str], count: int) -> list[Mapping[str, Any]]:
        """`recommend` for at most `MAX_REQUESTS` shoppers, in one batch request."""
        requests = [{"user_id": user_id, "count": count} for user_id in user_ids]
        results = self._call("POST", "/v1/recommend:batch", {"requests": requests})["results"]
        refused = next((result["problem"] for result in results if result.get("problem")), None)
        if refused is not None:
            raise ServeError(f"{self._url}: a request of the batch failed: {refused['detail']}")
        return [result["slate"] for result in results]

    def send(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Store events. Events whose id is known already change nothing. Raises ServeError if one is rejected."""
        for at in range(0, len(events), MAX_EVENTS):
            answer = self._call("POST", "/v1/events", {"events": list(events[at : at + MAX_EVENTS])})
            if answer["errors"]:
                raise ServeError(f"{self._url}: an event was rejected: {answer['errors'][0]}")

    def wait_for(self, release_id: str) -> None:
        """Return once the service uses the release. Raises ServeError if it still uses another after `SWAP_S`."""
        deadline = time.monotonic() + SWAP_S
        while (served := self.release_id()) != release_id:
            if time.monotonic() > deadline:
                raise ServeError(
                    f"{self._url}: serves release {served}, but the release of the workspace is {release_id}; start "
                    "the service on this workspace"
                )
            time.sleep(PAUSE_S / 5)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        response, failure = None, ""
        for attempt in range(TRIES):
            if attempt:
                time.sleep(PAUSE_S)
            try:
                response, failure = self._client.request(method, path, json=body), ""
            except httpx.TransportError as error:
                response, failure = None, str(error)
            if response is not None and response.status_code not in _RETRIED:
                break
        if response is None:
            raise ServeError(f"{self._url}{path}: no answer ({failure}); check the output of the service")
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            raise ServeError("the workspace has API keys; pass one with the read and write scopes as --api-key KEY")
        if response.status_code not in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
            raise ServeError(
                f"{self._url}{path}: answered {response.status_code} {response.text[:200]}; check the output of the "
                "service"
            )
        answer: dict[str, Any] = response.json()
        return answer

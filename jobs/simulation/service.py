"""What a shop's page asks of the running service."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from jobs.services.load_generator import BROKEN, Address, ask, request_bytes
from recsys.errors import ConfigError, ServeError

MAX_REQUESTS: Final = 200
"""Lists of one batch; the service takes more, but answers so many in about a second."""

MAX_EVENTS: Final = 1_000
MAX_EXCLUDE_IDS: Final = 5_000
TRIES: Final = 5
PAUSE_S: Final = 1.0
SWAP_S: Final = 120.0
"""The longest wait for the service to take a new release; it looks every `serve.release_poll_s`."""

_AGAIN: Final = {BROKEN, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}


def address_of(url: str) -> Address:
    """Host and port. Raises ConfigError for what is no plain http:// address."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host, port = None, 0
    if host is None or parts.scheme != "http" or parts.path.strip("/"):
        raise ConfigError(f"--against {url}: no address of a service; write it like http://127.0.0.1:8000")
    return host, port


class ShopService:
    """The running service. A request that finds it busy or away is sent again a few times; ServeError after that."""

    def __init__(self, address: Address, api_key: str | None) -> None:
        self._address = address
        self._headers = {"X-API-Key": api_key} if api_key else {}

    def release_id(self) -> str:
        """Of the release that answers."""
        return str(self._call("GET", "/readyz")["release_id"])

    def recommend(self, user_id: str, count: int, exclude_ids: Sequence[str] = ()) -> Mapping[str, Any]:
        """A list for a shopper, as `/v1/recommend` answers it. Of more ids than it takes the last ones are left out."""
        request: dict[str, Any] = {"user_id": user_id, "count": count}
        if exclude_ids:
            request["exclude_ids"] = list(exclude_ids[:MAX_EXCLUDE_IDS])
        return self._call("POST", "/v1/recommend", request)

    def recommend_many(self, user_ids: Sequence[str], count: int) -> list[Mapping[str, Any]]:
        """The same for at most `MAX_REQUESTS` shoppers in one call."""
        requests = [{"user_id": user_id, "count": count} for user_id in user_ids]
        results = self._call("POST", "/v1/recommend:batch", {"requests": requests})["results"]
        refused = next((result["problem"] for result in results if result.get("problem")), None)
        if refused is not None:
            raise ServeError(f"{self._shown}: no list for a shopper: {refused['detail']}")
        return [result["slate"] for result in results]

    def send(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Store events. Events that are known by their id change nothing. Raises ServeError where any is refused."""
        for at in range(0, len(events), MAX_EVENTS):
            answer = self._call("POST", "/v1/events", {"events": list(events[at : at + MAX_EVENTS])})
            if answer["errors"]:
                raise ServeError(f"{self._shown}: an event was refused: {answer['errors'][0]}")

    def wait_for(self, release_id: str) -> None:
        """Return when the release answers. Raises ServeError where another one still does after `SWAP_S`."""
        deadline = time.monotonic() + SWAP_S
        while (served := self.release_id()) != release_id:
            if time.monotonic() > deadline:
                raise ServeError(
                    f"{self._shown}: answers from release {served}, and the workspace's is {release_id}; start the "
                    "service on this workspace"
                )
            time.sleep(PAUSE_S / 5)

    @property
    def _shown(self) -> str:
        return f"http://{self._address[0]}:{self._address[1]}"

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        content = json.dumps(body).encode() if body is not None else b""
        request = request_bytes(method, path, content, self._headers)
        status, answer = BROKEN, b""
        for attempt in range(TRIES):
            if attempt:
                time.sleep(PAUSE_S)
            try:
                status, answer = ask(self._address, request)
            except OSError as error:
                status, answer = BROKEN, str(error).encode()
            if status not in _AGAIN:
                break
        if status == HTTPStatus.UNAUTHORIZED:
            raise ServeError("the workspace has API keys; pass one that may read and write with --api-key KEY")
        if status not in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
            said = answer[:200].decode(errors="replace")
            raise ServeError(
                f"{self._shown}{path}: answered {status or 'nothing'} {said}; see what the service printed"
            )
        told: dict[str, Any] = json.loads(answer)
        return told

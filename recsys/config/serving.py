"""Settings of the HTTP service."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from recsys.config.section import Section

_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-fA-F:]+\](:[0-9]{1,5})?")


def _origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ValueError(f"{origin!r} is no origin; write scheme, host and port only, such as https://shop.example")
    return tuple(_as_sent(origin) for origin in origins)


def _as_sent(origin: str) -> str:
    """As browsers send it: in lower case, and without the port that the scheme has anyway."""
    origin = origin.lower()
    port = ":443" if origin.startswith("https") else ":80"
    return origin.removesuffix(port)


def _root_path(path: str) -> str:
    if path and not _PATH.fullmatch(path):
        raise ValueError(f"{path!r} is no root path; begin it with a slash and end it without one, such as /recommend")
    return path


class ServeSettings(Section):
    host: str = Field(
        "127.0.0.1",
        description=(
            "Address to listen on: 127.0.0.1 for this machine alone, 0.0.0.0 for every interface (with API keys), :: "
            "for the same with IPv6."
        ),
    )
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on.")
    replicas: int = Field(1, ge=1, description="Number of copies (processes) of the recommender.")
    haproxy: bool = Field(True, description="Use the fast HAProxy-based proxy of Ray Serve (Linux only).")
    cors_origins: Annotated[tuple[str, ...], AfterValidator(_origins)] = Field(
        (),
        description=(
            "Origins whose pages may call the service from a browser, such as https://shop.example. *: every origin. "
            "Empty: none."
        ),
    )
    trusted_proxies: int = Field(
        0,
        ge=0,
        description=(
            "Number of the shop's own proxies in front, each of which adds an address to X-Forwarded-For. 0: callers "
            "connect directly, and the header is ignored."
        ),
    )
    browser_requests_per_s: float = Field(
        5.0, gt=0, description="Rate limit of each address that calls with a key of the scope browser."
    )
    root_path: Annotated[str, AfterValidator(_root_path)] = Field(
        "",
        description=(
            "Path below which a proxy in front serves the service, such as /recommend; whether the proxy strips it or "
            "not. Empty: none."
        ),
    )
    max_concurrent_lists: int = Field(
        16,
        ge=1,
        description="Lists that a replica works on at once. A request beyond that gets 429 with Retry-After.",
    )
    key_requests_per_s: float = Field(
        200.0, gt=0, description="Rate limit of an API key that has none of its own, in requests per second."
    )
    key_max_concurrent: int = Field(
        64, ge=1, description="Maximum number of concurrent requests of an API key that has no limit of its own."
    )
    access_log: str = Field(
        "", description="File to which replicas append one line of JSON per request. Empty: no access log."
    )
    release_poll_s: float = Field(
        2.0,
        gt=0,
        description=("How often replicas look for a new release, changed API keys and hidden reviews, in seconds."),
    )
    text_cache: int = Field(10_000, ge=0, description="Number of texts whose vectors each replica caches.")
    events_url: str = Field(
        "",
        description=(
            "Database of events and item changes, as postgresql://user:password@host/name. Empty: SQLite in the "
            "workspace."
        ),
    )
    recent_events: int = Field(
        100, ge=0, le=1000, description="Number of a shopper's newest logged events that a list reads. 0 reads none."
    )
    items_poll_s: float = Field(
        0.5, gt=0, description="How often replicas look for new and changed products, in seconds."
    )
    keep_events_days: float = Field(
        30.0,
        ge=1,
        description=(
            "How long the live database keeps events and item changes that the lake has, in days. The nightly run "
            "deletes older ones that no kept release and no ingest that can be undone or repeated needs."
        ),
    )
    replay_days: float = Field(
        7.0,
        ge=0,
        description="How long served lists are kept so that /v1/explain can replay them, in days. 0 keeps none.",
    )
    exposure_days: float = Field(
        90.0, ge=0, description="How long it is kept which arm of an experiment each shopper was shown, in days."
    )

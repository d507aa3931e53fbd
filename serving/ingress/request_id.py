"""Request ids: the caller's X-Request-ID where it is valid, else a new one, so that logs of both sides can be joined.

HAProxy's rules use the same pattern (`serving/ingress/haproxy.py`), so this imports the standard library alone.
"""

from __future__ import annotations

import logging
import re
import secrets
from contextvars import ContextVar
from typing import Final

HEADER: Final = b"x-request-id"
SANE: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
"""Ids that are safe to log unescaped."""

REQUEST_ID: Final[ContextVar[str]] = ContextVar("request_id", default="")
"""The id of the request being answered; empty outside of a request."""


def request_id_of(header: bytes | None) -> str:
    """The caller's id, or a new one where it is missing or not valid."""
    if header is not None and SANE.fullmatch(header):
        return header.decode("ascii")
    return secrets.token_hex(16)


class RequestIdFilter(logging.Filter):
    """Adds `%(request)s` to every log record: ` request_id=…` while a request is being answered, else empty."""

    def filter(self, record: logging.LogRecord) -> bool:
        request_id = REQUEST_ID.get()
        record.request = f" request_id={request_id}" if request_id else ""
        return True

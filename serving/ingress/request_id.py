"""One id for each request: the caller's own where it is sane, so that logs of both sides can be laid side by side."""

from __future__ import annotations

import logging
import re
import secrets
from contextvars import ContextVar
from typing import Final

HEADER: Final = b"x-request-id"
SANE: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
"""What may go into logs as it is."""

REQUEST_ID: Final[ContextVar[str]] = ContextVar("request_id", default="")
"""Of the request that is being answered; empty outside of one."""


def request_id_of(header: bytes | None) -> str:
    """The caller's id, or a new one where there is none or it is not sane."""
    if header is not None and SANE.fullmatch(header):
        return header.decode("ascii")
    return secrets.token_hex(16)


class RequestIdFilter(logging.Filter):
    """Gives every record `%(request)s`: ` request_id=…` while a request is being answered, else nothing."""

    def filter(self, record: logging.LogRecord) -> bool:
        request_id = REQUEST_ID.get()
        record.request = f" request_id={request_id}" if request_id else ""
        return True

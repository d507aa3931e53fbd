"""Access log: one line of JSON per request, without anything that identifies a shopper.

It holds the route's template instead of the path, and no query string, body or address.
"""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

REOPEN_S: Final = 1.0


class AccessLog:
    """Appends to a file that all replicas share: each line is a single write, which the system does not split.

    The file may be moved away at any time (logrotate); within `REOPEN_S` seconds lines go to a new file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pid = os.getpid()
        self._descriptor = -1
        self._inode = -1
        self._checked_s = -REOPEN_S
        self._open()

    def write(
        self, method: str, route: str, status: int, took_ms: float, request_id: str, key_name: str | None
    ) -> None:
        """Append a line for one request. key_name: the name of the API key, not the key itself."""
        now_s = time.monotonic()
        if now_s - self._checked_s >= REOPEN_S:
            self._checked_s = now_s
            self._follow()
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "request_id": request_id,
            "method": method,
            "route": route,
            "status": status,
            "took_ms": round(took_ms, 3),
            "key": key_name,
            "pid": self._pid,
        }
        os.write(self._descriptor, json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        """Close the file; nothing may be written afterwards."""
        os.close(self._descriptor)

    def _open(self) -> None:
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        self._inode = os.fstat(self._descriptor).st_ino

    def _follow(self) -> None:
        try:
            inode = self._path.stat().st_ino
        except FileNotFoundError:
            inode = -1
        if inode != self._inode:
            os.close(self._descriptor)
            self._open()

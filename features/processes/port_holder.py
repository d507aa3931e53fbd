"""Which process listens on a port, as /proc tells it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

LISTENING: Final = "0A"


def port_holder(port: int) -> str | None:
    """Name and id of a process that listens on the TCP port, as "haproxy (pid 123)"; None where that cannot be seen:
    it belongs to another user, or there is no /proc."""
    inodes = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _listening(Path("/proc/net", table), port)}
    for place in Path("/proc").glob("[0-9]*") if inodes else ():
        with suppress(OSError):
            for descriptor in (place / "fd").iterdir():
                if str(descriptor.readlink()) in inodes:
                    return f"{(place / 'comm').read_text().strip()} (pid {place.name})"
    return None


def _listening(table: Path, port: int) -> list[str]:
    """Inodes of the sockets that listen on the port."""
    try:
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
    except OSError:
        return []
    return [row[9] for row in rows if row[3] == LISTENING and int(row[1].rpartition(":")[2], 16) == port]

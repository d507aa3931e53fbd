"""`watcher.py FOLDER`: a small process that outlives a run to end what the run has left, also when it was killed.

It waits until its standard input ends, which only the run holds open, then kills every process whose environment names
the run's folder, and removes the folder. The standard library alone, so that it costs 8 MB and no time.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

MARK: Final = "RECSYS_RUN"
"""Environment variable of every process of a run: the run's folder."""

FAILED_FILE: Final = "failed"
"""In a folder that is to stay, as an error message names the logs in it."""

RAY_TITLE: Final = "ray::"

PATIENCE_S: Final = 30.0
PAUSE_S: Final = 0.05


def processes_of(folder: str) -> dict[int, str]:
    """The living processes of a run, this one aside: their names by process id. Empty where there is no /proc."""
    names = {}
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or belongs to another user
            name = (place / "comm").read_text().strip()
            if int(place.name) != os.getpid() and _is_of(place, name, folder):
                names[int(place.name)] = name
    return names


def _is_of(place: Path, name: str, folder: str) -> bool:
    if f"{MARK}={folder}".encode() in (place / "environ").read_bytes().split(b"\0"):
        return True
    # A process that has set its title has overwritten a part of its environment; its logs lie in the folder.
    if not name.startswith(RAY_TITLE):
        return False
    return any(file.readlink().is_relative_to(folder) for file in (place / "fd").iterdir())


def end_processes(folder: str) -> dict[int, str]:
    """Kill all processes of the run, and those that they start meanwhile. Returns those that were killed."""
    killed: dict[int, str] = {}
    until_s = time.monotonic() + PATIENCE_S
    while (left := processes_of(folder)) and time.monotonic() < until_s:
        for process_id in left:
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)
        killed |= left
        time.sleep(PAUSE_S)
    return killed


def main() -> None:
    folder = sys.argv[1]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the run may take a while to end
    while os.read(0, 1):
        pass
    end_processes(folder)
    if not Path(folder, FAILED_FILE).exists():
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

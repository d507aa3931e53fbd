"""The folder of a run that starts Ray, `/tmp/rs-…`: sockets, logs and Ray's session, for as long as the run lives.

A process beside the run (`watcher.py`) ends what is left of it and removes the folder. Where that was killed as well,
the next start does so.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from pydantic import TypeAdapter

from features.processes import watcher
from features.processes.watcher import FAILED_FILE, MARK, end_processes, processes_of
from recsys.errors import ResourceError

PREFIX: Final = "rs-"
OWNER_FILE: Final = "owner.json"
TOKEN_FILE: Final = "auth_token"
RAY_FOLDER: Final = "ray"
TOKEN_VARIABLES: Final = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")

_TOKEN: Final = secrets.token_hex(32)
"""One for each process: Ray reads its token once and keeps it for clusters that the process starts later."""

MAX_BASE_CHARS: Final = 17
"""Paths of Unix sockets may have 107 characters, HAProxy's 97; this is what the run's folder and Ray's part leave."""

FAILED_DAYS: Final = 1.0
"""How long the logs of a start that failed stay."""

CLOSE_S: Final = 60.0


@dataclass(frozen=True)
class Owner:
    """`OWNER_FILE`: what runs. workspace and port: of a service, else empty and 0."""

    pid: int
    workspace: str = ""
    port: int = 0


@dataclass(frozen=True)
class Orphans:
    """Processes that a killed service has left: their names by process id."""

    owner: Owner
    folder: Path
    names: dict[int, str]

    def __str__(self) -> str:
        shown = ", ".join(f"{name} {process_id}" for process_id, name in sorted(self.names.items())[:3])
        more = f" and {len(self.names) - 3} more" if len(self.names) > 3 else ""
        what = f"service on port {self.owner.port}" if self.owner.port else "run"
        return (
            f"ended what a killed {what} had left (its pid {self.owner.pid}, its folder {self.folder}): {shown}{more}"
        )


_OWNER: Final = TypeAdapter(Owner)


class RunFolder:
    """A new folder that no other user can enter, with its watcher. The run closes it at the end."""

    def __init__(self, workspace: str = "", port: int = 0) -> None:
        """Raises ResourceError where no folder can be made."""
        base = temp_base()
        try:
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        except OSError as error:
            raise ResourceError(f"{base}: no folder can be made ({error.strerror}); set TMPDIR to another") from None
        self._lock = _locked_owner(self.path, Owner(os.getpid(), workspace, port))
        self._watcher = subprocess.Popen(
            [sys.executable, "-I", "-S", watcher.__file__, str(self.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a signal to the terminal's group is not for it
        )
        (self.path / TOKEN_FILE).write_text(_TOKEN, encoding="ascii")

    @property
    def ray(self) -> Path:
        """Ray's own folder, as Ray opens it to every user of the machine."""
        return self.path / RAY_FOLDER

    @contextmanager
    def marked(self) -> Iterator[None]:
        """What is started inside the block belongs to the run. Ray's access token lies in the folder where the
        environment names none and Ray cannot keep it in its own place, the home folder: that may be read-only."""
        before = dict(os.environ)
        os.environ[MARK] = str(self.path)
        if not any(os.environ.get(name) for name in TOKEN_VARIABLES) and not _keeps_token_at_home():
            os.environ[TOKEN_VARIABLES[1]] = str(self.path / TOKEN_FILE)
        try:
            yield
        finally:
            for name in (MARK, *TOKEN_VARIABLES):
                os.environ.pop(name, None)
                if name in before:
                    os.environ[name] = before[name]

    def close(self, *, failed: bool = False) -> None:
        """End what is left of the run and remove the folder. failed: it stays for a day, with its logs."""
        if failed:
            (self.path / FAILED_FILE).touch()
        if self._watcher.stdin is not None:
            self._watcher.stdin.close()
        try:
            self._watcher.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._watcher.kill()
            self._watcher.wait()
        self._lock.close()


def _keeps_token_at_home() -> bool:
    """Whether Ray can read, or make, `~/.ray/auth_token`."""
    with suppress(OSError, RuntimeError):  # RuntimeError: the user has no home
        place = Path("~/.ray/auth_token").expanduser()
        if place.is_file():
            return os.access(place, os.R_OK)
        nearest = next(folder for folder in place.parents if folder.exists())
        return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
    return False


def clear_dead_runs(workspace: str = "", port: int = 0) -> list[Orphans]:
    """Remove the folders of killed runs of this user; those with living processes only where they are of a service of
    this workspace or port, whose processes end. Returns these."""
    ended = []
    for folder in sorted(temp_base().glob(f"{PREFIX}*")):
        lock = _free_lock(folder)
        if lock is None:
            continue
        with lock:
            owner = _read_owner(lock)
            if processes_of(str(folder)):
                if owner is None or not (owner.workspace == workspace or owner.port == port):
                    continue
                if names := end_processes(str(folder)):
                    ended.append(Orphans(owner, folder, names))
            if not _is_recent_failure(folder):
                shutil.rmtree(folder, ignore_errors=True)
    return ended


def temp_base() -> Path:
    """Where run folders lie: RAY_TMPDIR, the system's folder for temporary files, or /tmp; the first that can be
    written and has a short path. Raises ResourceError where there is none."""
    with suppress(FileNotFoundError):  # none can be written
        for base in (os.environ.get("RAY_TMPDIR", ""), tempfile.gettempdir(), "/tmp"):
            if base and len(base) <= MAX_BASE_CHARS and os.access(base, os.W_OK | os.X_OK):
                return Path(base)
    raise ResourceError(
        f"no folder for temporary files: /tmp cannot be written; mount one there, or set TMPDIR to a folder that can "
        f"be written and whose path has at most {MAX_BASE_CHARS} characters"
    )


def _locked_owner(folder: Path, owner: Owner) -> TextIO:
    """The owner's file, locked until this process ends: whoever gets the lock knows that the run is dead."""
    draft = folder / f"{OWNER_FILE}.new"
    file = draft.open("w+", encoding="utf-8")
    fcntl.flock(file, fcntl.LOCK_EX)
    file.write(_OWNER.dump_json(owner).decode())
    file.flush()
    draft.rename(folder / OWNER_FILE)  # nobody sees it without the lock
    return file


def _free_lock(folder: Path) -> TextIO | None:
    """The owner's file of a dead run of this user, locked; None for a living one and for other folders."""
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return None
        file = (folder / OWNER_FILE).open(encoding="utf-8")
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def _read_owner(file: TextIO) -> Owner | None:
    try:
        return _OWNER.validate_json(file.read())
    except ValueError:
        return None


def _is_recent_failure(folder: Path) -> bool:
    try:
        age_s = time.time() - (folder / FAILED_FILE).stat().st_mtime
    except OSError:
        return False
    return age_s < FAILED_DAYS * 86_400

"""Small files of a workspace that commands change and a running service follows: JSON of one version, checked when
read, written whole, by one command at a time."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

from features.workspace.atomic_files import write_atomically
from features.workspace.lease import hold_lease
from recsys.errors import RecsysError

LEASE_MINUTES: Final = 1.0


class Versioned(Protocol):
    """What such a file holds; `version`: of its form."""

    @property
    def version(self) -> int: ...


F = TypeVar("F", bound=Versioned)


def read_checked(
    path: Path, adapter: TypeAdapter[F], version: int, kind: str, remedy: str, error: type[RecsysError]
) -> F | None:
    """What the file says, None without one. kind, remedy: in the words of the `error` that is raised where it cannot be
    read."""
    try:
        file = adapter.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as failure:
        reason = str(failure.errors()[0]["msg"]) if isinstance(failure, ValidationError) else str(failure)
        raise error(f"{path}: not a file of {kind} ({reason}); {remedy}") from None
    if file.version != version:
        raise error(f"{path}: version {file.version} of the file, {version} can be read; update recsys")
    return file


def write_checked(path: Path, adapter: TypeAdapter[F], file: F) -> None:
    """Replace the file as a whole."""
    write_atomically(path, adapter.dump_json(file, indent=1))


def one_writer(path: Path, now: datetime) -> AbstractContextManager[object]:
    """Two commands at once must not each write what the other has not seen."""
    return hold_lease(path.with_name(f"{path.stem}-lease.json"), now, LEASE_MINUTES)

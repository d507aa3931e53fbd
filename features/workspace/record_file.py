"""Records that one step writes and another reads: a dataclass as JSON, in a file whose name never changes.

Unknown fields are ignored, so that an older version can read what a newer one wrote. A field that was renamed lists
its earlier names as validation aliases.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import TypeAdapter

from features.workspace.atomic_files import write_atomically

log = logging.getLogger(__name__)

R = TypeVar("R")


@dataclass(frozen=True)
class RecordFile(Generic[R]):
    """name: of the file in the folder of whoever writes it; adapter: of the record."""

    name: str
    adapter: TypeAdapter[R]

    def write(self, folder: Path, record: R) -> None:
        """Replace the file in one step; the folder must exist. Infinite and undefined numbers become null."""
        write_atomically(folder / self.name, self.adapter.dump_json(record, indent=2))

    def read(self, folder: Path) -> R:
        """Raises OSError where the file cannot be opened, ValueError where it does not hold such a record."""
        return self.adapter.validate_json((folder / self.name).read_bytes())

    def find(self, *folders: Path) -> R | None:
        """The record of the first folder that has a readable one; None without any. Damaged files are logged."""
        for folder in folders:
            try:
                return self.read(folder)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (OSError, ValueError) as error:
                log.warning("record_unreadable path=%s error=%s", folder / self.name, str(error).partition("\n")[0])
        return None

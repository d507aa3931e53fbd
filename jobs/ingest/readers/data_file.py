"""One logical file: a path, or one member of a zip archive, read without its compression and within limits."""

from __future__ import annotations

import gzip
import io
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

from recsys.errors import DataError

MAX_BYTES: Final = 8 << 30
MAX_RATIO: Final = 200
RATIO_COUNTS_FROM: Final = 100 << 20
"""Files that unpack to more than MAX_BYTES, or from this size on to more than MAX_RATIO times their packed size, are
refused: archives made to fill a disk or memory do, exports do not."""

_GZIP: Final = b"\x1f\x8b"
_ENCRYPTED: Final = 0x1


@dataclass(frozen=True)
class DataFile:
    """A file on disk, or the member of a zip archive with this name."""

    path: Path
    member: str = ""

    @property
    def name(self) -> str:
        """The file's own name, without .gz."""
        return Path(self.member or self.path.name).name.removesuffix(".gz")

    def __str__(self) -> str:
        return f"{self.path}/{self.member}" if self.member else str(self.path)

    def open(self) -> io.BufferedReader:
        """The content, decompressed. Raises DataError where it cannot be read; reading raises it beyond the limits."""
        try:
            stream, packed = self._open_packed()
            head = stream.read(2)
            stream.seek(0)
        except (OSError, zipfile.BadZipFile, NotImplementedError, zlib.error, EOFError) as error:
            raise DataError(f"{self}: cannot be read: {_reason(error)}") from None
        if head == _GZIP:
            unzipped = cast(IO[bytes], gzip.GzipFile(fileobj=stream))
            return io.BufferedReader(_Limited(self, unzipped, packed, stream), 1 << 20)
        if self.member:
            return io.BufferedReader(_Limited(self, stream, packed), 1 << 20)
        return cast(io.BufferedReader, stream)

    @property
    def is_plain(self) -> bool:
        """Whether the bytes on disk are the content."""
        if self.member:
            return False
        with self.path.open("rb") as stream:
            return stream.read(2) != _GZIP

    @contextmanager
    def local(self) -> Iterator[Path]:
        """A path with the content, for readers that need one: the file itself, or an unpacked temporary copy."""
        if self.is_plain:
            yield self.path
            return
        with tempfile.NamedTemporaryFile(suffix=Path(self.name).suffix) as copy:
            with self.open() as content:
                shutil.copyfileobj(content, copy, 1 << 20)
            copy.flush()
            yield Path(copy.name)

    def _open_packed(self) -> tuple[IO[bytes], int]:
        """The stream before gzip, and how many bytes it takes on disk."""
        if not self.member:
            return self.path.open("rb"), self.path.stat().st_size
        with zipfile.ZipFile(self.path) as archive:
            info = archive.getinfo(self.member)
        if info.flag_bits & _ENCRYPTED:
            raise DataError(f"{self}: is encrypted; unpack the archive and give its files")
        return zipfile.ZipFile(self.path).open(info), info.compress_size


class _Limited(io.RawIOBase):
    """A decompressing stream that stops at the limits."""

    def __init__(self, file: DataFile, stream: IO[bytes], packed: int, below: IO[bytes] | None = None) -> None:
        self._file = file
        self._stream = stream
        self._below = below
        self._allowed = min(MAX_BYTES, max(RATIO_COUNTS_FROM, MAX_RATIO * packed))
        self._n_read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            content = self._stream.read(len(buffer))
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise DataError(f"{self._file}: damaged gzip file or archive: {_reason(error)}") from None
        self._n_read += len(content)
        if self._n_read > self._allowed:
            raise DataError(
                f"{self._file}: unpacks to more than {self._allowed >> 20:,} MiB, too much for its size; nothing was "
                "ingested; unpack it yourself if you trust it"
            )
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        self._stream.close()
        if self._below:
            self._below.close()
        super().close()


def data_files(path: Path) -> list[DataFile]:
    """The members of a zip archive, without folders and what systems add to archives; else the file itself.

    Raises DataError for an empty or damaged archive, and where `path` is empty or cannot be read.
    """
    require_content(path)
    if is_workbook(path) or not zipfile.is_zipfile(path):
        return [DataFile(path)]
    with zipfile.ZipFile(path) as archive:
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
    members = [name for name in names if not name.startswith("__MACOSX/") and not Path(name).name.startswith(".")]
    if not members:
        raise DataError(f"{path}: the archive has no files")
    return [DataFile(path, name) for name in sorted(members)]


def is_workbook(path: Path) -> bool:
    """Whether a zip archive is an Excel or OpenDocument workbook."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
    return "xl/workbook.xml" in names or "xl/workbook.bin" in names or {"content.xml", "mimetype"} <= names


def require_content(path: Path) -> None:
    """Raise DataError where `path` has no bytes or cannot be opened."""
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty")
        path.open("rb").close()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).split("\n")[0].rstrip(".")[:200]

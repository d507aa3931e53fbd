"""Which encoding a text file has."""

from __future__ import annotations

import codecs
from typing import Final

from charset_normalizer import from_bytes

from jobs.ingest.readers.data_file import DataFile

SAMPLE_BYTES: Final = 64 << 10

OTHER_SCRIPT_SHARE: Final = 0.3
"""Of the letters; German and French texts have a tenth of this, Cyrillic and Greek ones nearly all."""

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WESTERN: Final = "cp1252"


def encoding_of(file: DataFile) -> str:
    """By the byte order mark; UTF-8 where all bytes are; else the best guess of charset-normalizer, or Windows-1252."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with file.open() as content:
        sample = content.read(SAMPLE_BYTES)
        for mark, name in _BOMS:
            if sample.startswith(mark):
                return name
        if b"\x00" in sample[:200]:
            return "utf-16-le" if sample[1:2] == b"\x00" else "utf-16-be"
        block = sample
        try:
            while block:
                decoder.decode(block)
                block = content.read(4 << 20)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return _guess(block)
    return "utf-8-sig"


def _guess(block: bytes) -> str:
    """Western European, unless so many letters are not ASCII that the text must be in another script."""
    start = next(position for position, byte in enumerate(block) if byte > 127)
    sample = block[max(start - 2000, 0) : start + 20_000]
    n_other = sum(byte > 127 for byte in sample)
    n_letters = n_other + sum(chr(byte).isalpha() for byte in sample if byte < 128)
    if n_other < OTHER_SCRIPT_SHARE * n_letters:
        return _WESTERN
    best = from_bytes(sample).best()
    return best.encoding if best else _WESTERN

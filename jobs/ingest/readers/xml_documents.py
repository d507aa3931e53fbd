"""XML: the elements of a feed one after the other, without entities, DTDs or network.

Feeds of shops are often not well formed: an `&` that begins no entity is repaired and counted, and names of HTML's
entities (`&nbsp;`), which XML does not know, become their letters. Both are left alone in CDATA.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Collection, Iterator
from typing import Any, Final

from lxml import etree

from jobs.ingest.readers.data_file import DataFile
from recsys.errors import DataError

BLOCK_BYTES: Final = 1 << 20

_AMPERSAND: Final = re.compile(rb"&(#\d{1,7};|#[xX][0-9a-fA-F]{1,6};|[a-zA-Z][a-zA-Z0-9]{1,31};)?")
_XML_ENTITIES: Final = frozenset({b"amp;", b"lt;", b"gt;", b"quot;", b"apos;"})
_LONGEST_ENTITY: Final = 34
_CDATA, _CDATA_END = b"<![CDATA[", b"]]>"


class XmlReader:
    """Iterates (number, element) over the elements with these local names; each is freed after its turn.

    n_repaired: bare ampersands so far. Raises DataError, while it is read, for a document that declares entities, is
    damaged, or breaks off.
    """

    def __init__(self, file: DataFile, names: Collection[str]) -> None:
        self._file = file
        self._names = tuple(names)
        self._source: _Repaired | None = None

    @property
    def n_repaired(self) -> int:
        return self._source.n_repaired if self._source else 0

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        with self._file.open() as content:
            self._source = _Repaired(self._file, content)
            elements = etree.iterparse(
                self._source,
                events=("end",),
                tag=tuple(f"{{*}}{name}" for name in self._names),
                resolve_entities=False,
                no_network=True,
                load_dtd=False,
                huge_tree=False,
            )
            try:
                for number, (_, element) in enumerate(elements, start=1):
                    if number == 1:
                        _require_no_entities(self._file, element)
                    yield number, element
                    element.clear()
                    while element.getprevious() is not None:
                        del element.getparent()[0]
            except etree.XMLSyntaxError as error:
                raise DataError(f"{self._file}: damaged XML: {_reason(error)}; nothing was ingested") from None


def read_elements(file: DataFile, names: Collection[str]) -> XmlReader:
    """The elements of `file` with these local names."""
    return XmlReader(file, names)


def _require_no_entities(file: DataFile, element: Any) -> None:
    """Also those that a long comment hides from the look at the first bytes."""
    declared = element.getroottree().docinfo.internalDTD
    if declared is not None and next(declared.iterentities(), None) is not None:
        raise DataError(f"{file}: declares entities; remove the document type from the XML")


def root_name(file: DataFile) -> str:
    """The local name of the root element. Raises DataError where there is none."""
    with file.open() as content:
        try:
            source = _Repaired(file, content)
            for _, element in etree.iterparse(source, events=("start",), resolve_entities=False, no_network=True):
                return local_name(element)
        except etree.XMLSyntaxError as error:
            raise DataError(f"{file}: damaged XML: {_reason(error)}") from None
    raise DataError(f"{file}: damaged XML: no element in it")


def local_name(element: Any) -> str:
    """Without its namespace or prefix; "" of a comment."""
    tag = element.tag
    return tag.rpartition("}")[2].rpartition(":")[2] if isinstance(tag, str) else ""


class _Repaired(io.RawIOBase):
    """The bytes of a document with repaired ampersands. UTF-16 is handed on as it is."""

    def __init__(self, file: DataFile, content: Any) -> None:
        self.n_repaired = 0
        self._file = file
        self._content = content
        self._rest = b""
        self._in_cdata = False
        self._is_first = True
        self._is_wide = False

    def read(self, _: int = -1) -> bytes:
        block = self._content.read(BLOCK_BYTES)
        if self._is_first:
            self._is_first = False
            block = self._checked_start(block)
        if self._is_wide:
            return bytes(block)
        data = self._rest + block
        if block:
            data, self._rest = _split(data)
            if not data:
                return self.read()
        else:
            self._rest = b""
        return self._repaired(data)

    def _checked_start(self, block: bytes) -> bytes:
        """Without blanks before the declaration. Raises DataError for a document type that declares something."""
        self._is_wide = block[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\x00" in block[:4]
        start = block[: 64 << 10].replace(b"\x00", b"")
        doctype = start.find(b"<!DOCTYPE")
        if b"<!ENTITY" in start or (doctype >= 0 and b"[" in start[doctype : start.find(b">", doctype)]):
            raise DataError(f"{self._file}: declares entities; remove the document type from the XML")
        return block if self._is_wide else block.removeprefix(b"\xef\xbb\xbf").lstrip()

    def _repaired(self, data: bytes) -> bytes:
        parts = []
        while data:
            mark = _CDATA_END if self._in_cdata else _CDATA
            before, mark_read, data = data.partition(mark)
            parts.append(before if self._in_cdata else _AMPERSAND.sub(self._repair, before))
            parts.append(mark_read)
            if mark_read:
                self._in_cdata = not self._in_cdata
        return b"".join(parts)

    def _repair(self, match: re.Match[bytes]) -> bytes:
        name = match[1]
        if name is None:
            self.n_repaired += 1
            return b"&amp;"
        if name in _XML_ENTITIES or name.startswith(b"#"):
            return match[0]
        letters = html.unescape(match[0].decode("ascii"))
        if letters.startswith("&"):
            self.n_repaired += 1
            return b"&amp;" + name
        return "".join(f"&#{ord(letter)};" for letter in letters).encode()


def _split(data: bytes) -> tuple[bytes, bytes]:
    """What is whole, and an end that may be the beginning of an entity or of a CDATA mark."""
    ampersand = data.rfind(b"&", max(len(data) - _LONGEST_ENTITY, 0))
    if ampersand >= 0 and b";" not in data[ampersand:]:
        return data[:ampersand], data[ampersand:]
    for length in range(len(_CDATA) - 1, 0, -1):
        if data.endswith((_CDATA[:length], _CDATA_END[:length])):
            return data[:-length], data[-length:]
    return data, b""


def _reason(error: etree.XMLSyntaxError) -> str:
    line = error.position[0] if error.position else 0
    return f"{str(error.msg).split(', line')[0].strip()} (line {line:,})"

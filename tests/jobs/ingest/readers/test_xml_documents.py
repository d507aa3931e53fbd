from pathlib import Path

import pytest

from jobs.ingest.readers import xml_documents
from jobs.ingest.readers.data_file import DataFile
from recsys.errors import DataError


def texts(path: Path) -> tuple[list[str], int]:
    reader = xml_documents.read_elements(DataFile(path), ("item", "entry"))
    return ["".join(element.itertext()) for _, element in reader], reader.n_repaired


@pytest.mark.parametrize("block_bytes", [*range(1, 40), 1 << 20])
def test_bare_ampersands_are_repaired_across_blocks_and_left_alone_in_cdata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(xml_documents, "BLOCK_BYTES", block_bytes)
    path = tmp_path / "feed.xml"
    path.write_bytes(b"<rss><item>a & b &amp; c&nbsp;d <![CDATA[x & y &amp; ]] &]]> T&T <![CDATA[]]>&lt;</item></rss>")
    assert texts(path) == (["a & b & c\xa0d x & y &amp; ]] & T&T <"], 2)


def test_entries_of_atom_are_read_whatever_their_namespace(tmp_path: Path) -> None:
    path = tmp_path / "feed.xml"
    path.write_bytes(
        b'<feed xmlns="http://www.w3.org/2005/Atom"><entry><id>1</id></entry><entry><id>2</id></entry></feed>'
    )
    assert texts(path) == (["1", "2"], 0)


ENTITY = '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/hostname">]><rss><item>&x;</item></rss>'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ENTITY.encode(), "declares entities"),
        (ENTITY.encode("utf-16"), "declares entities"),
        (f"<!--{'p' * 70_000}-->{ENTITY}".encode(), "declares entities"),
        (b"<rss><item>1</item>\n<item>", r"damaged XML: .* \(line 2\)"),
    ],
)
def test_entities_and_files_that_break_off_are_refused_in_one_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "feed.xml"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as refused:
        texts(path)
    assert "\n" not in str(refused.value)

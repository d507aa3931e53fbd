import gzip
from pathlib import Path

import polars as pl
import pytest

from jobs.ingest.readers.data_file import data_files
from jobs.ingest.readers.paths import expand
from jobs.ingest.readers.raw import RawBatch, RawFile
from jobs.ingest.readers.rows import open_file as open_data_file
from recsys.errors import DataError


def open_file(table: str, path: Path) -> RawFile:
    (file,) = data_files(path)
    return open_data_file(table, file)


def read(path: Path, batch_rows: int = 100) -> list[RawBatch]:
    return list(open_file("events", path).batches(batch_rows))


def rows_of(batches: list[RawBatch]) -> list[dict[str, object]]:
    return [row for batch in batches for row in batch.rows.to_dicts()]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "a,b\n1,x\n2,\n"),
        ("bom.csv", "\ufeffa,b\n1,x\n2,\n"),
        ("semicolon.csv", "a;b\n1;x\n2;\n"),
        ("a.tsv", "a\tb\n1\tx\n2\t\n"),
        ("quoted.csv", '"a","b"\r\n"1","x"\r\n2,\r\n'),
        ("a.jsonl", '{"a": 1, "b": "x"}\n\n{"a": 2, "b": ""}\n'),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_text_files_give_text_rows_plain_and_gzipped(tmp_path: Path, name: str, text: str, zipped: bool) -> None:
    path = tmp_path / (name + ".gz" if zipped else name)
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    raw = open_file("events", path)
    assert raw.columns == ("a", "b")
    assert rows_of(list(raw.batches(1))) == [{"a": "1", "b": "x"}, {"a": "2", "b": ""}]


def test_parquet_keeps_its_types_and_tells_its_rows(tmp_path: Path) -> None:
    rows = pl.DataFrame({"a": [1, 2, 3], "b": [["x"], [], None]})
    rows.write_parquet(tmp_path / "a.parquet")
    raw = open_file("events", tmp_path / "a.parquet")
    batches = list(raw.batches(2))
    assert (raw.n_rows, [batch.rows.height for batch in batches]) == (3, [2, 1])
    assert pl.concat(batch.rows for batch in batches).equals(rows)
    assert [batch.numbers.to_list() for batch in batches] == [[1, 2], [3]]


def test_csv_rows_with_wrong_fields_are_broken_and_the_others_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('a,b\n1,2\n3\n5,"two\nlines"\n7,8,9\n10,11\n12\n')
    batches = read(path, batch_rows=2)
    assert [batch.numbers.to_list() for batch in batches if batch.rows.height] == [[1, 3], [5]]
    broken = [row for batch in batches for row in batch.broken]
    assert sorted((row.number, row.rule) for row in broken) == [(2, "csv"), (4, "csv"), (6, "csv")]
    assert next(row.text for row in broken if row.number == 4) == "3 fields instead of 2: 7,8,9"


def test_broken_json_lines_are_kept_with_their_number_and_rule(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n{oops\n[1]\n\xff\xfe{"a"}\n{"a": 2}\n')
    (batch,) = read(path)
    assert batch.numbers.to_list() == [1, 5]
    assert [(row.number, row.rule) for row in batch.broken] == [(2, "json"), (3, "json"), (4, "json")]
    assert batch.broken[0].text == "{oops"


def test_a_broken_first_line_leaves_the_json_lines_behind_it(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{oops\n{"a": 1}\n')
    (batch,) = read(tmp_path / "a.jsonl")
    assert (batch.numbers.to_list(), [row.number for row in batch.broken]) == ([2], [1])


def test_json_values_become_text_and_missing_keys_null(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1.0, "b": true, "c": ["x", {"y": null}]}\n{"a": 1.5, "d": "\\ud800"}\n')
    first, second = rows_of(read(path, batch_rows=1))
    assert first == {"a": "1", "b": "true", "c": '["x", {"y": null}]', "d": None}
    assert (second["a"], second["b"], second["d"]) == ("1.5", None, "?")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "the file is empty"),
        ("a.parquet", b"hello, this is text", "not a Parquet file"),
        ("a.xlsx", b"PK", "not an Excel workbook"),
        ("a.bin", b"\x7fELF\x00\x00\x01", "unknown kind of file"),
        ("a.csv", b"<!DOCTYPE html><html></html>", "a web page"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 5000)[:-20], "damaged gzip file"),
        ("a.json", b"[" * 3000, "nested more than 100 levels deep"),
        ("a.json", b'{"orders": ' * 3000, "nested more than 100 levels deep"),
        ("a.json", b"{}", "none of its first 1 lines is a JSON object with fields"),
        ("a.zip", b"PK\x03\x04 cut off", "a damaged archive"),
        ("a.csv", b"%PDF-1.4\n", "a PDF document"),
        ("a.jsonl", b"no json\nat all\n", "none of its first 2 lines"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as refused:
        read(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("excel.csv", "n;p\nCafé;5\n".encode("cp1252"), [{"n": "Café", "p": "5"}]),
        ("excel.csv", "n;p\nCafé;5\n".encode("utf-16"), [{"n": "Café", "p": "5"}]),
        ("twice.csv", b"a,a\n1,2\n", [{"a": "1", "a 2": "2"}]),
        ("comment.csv", b"# required,# optional\na,b\n1,2\n", [{"a": "1", "b": "2"}]),
        ("titled.csv", b"My products\na,b\n1,2\n", [{"a": "1", "b": "2"}]),
        ("padded.csv", b"My products;;\na;b;c\n1;2;3\n", [{"a": "1", "b": "2", "c": "3"}]),
        ("separator.csv", b"sep=;\na;b\n1;2\n", [{"a": "1", "b": "2"}]),
        ("marked.csv", b"#id,name\n1,x\n2,y\n", [{"#id": "1", "name": "x"}, {"#id": "2", "name": "y"}]),
        ("long.csv", b"a,b\n1," + b"x" * 200_000 + b"\n", [{"a": "1", "b": "x" * 200_000}]),
        ("numbers.json", b'[{"a": 123456789012345678901, "b": 1.5}]', [{"a": "123456789012345678901", "b": "1.5"}]),
        ("trailing.csv", b"a;b\n1;2;\n3;4;\n", [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]),
        ("no_suffix", b"a\tb\n1\t2\n", [{"a": "1", "b": "2"}]),
        ("plain.csv.gz", b"a,b\n1,2\n", [{"a": "1", "b": "2"}]),
        ("list.json", b'[{"a": 1}, {"a": 2}]', [{"a": "1"}, {"a": "2"}]),
        ("wrapped.json", b'{"count": 2, "orders": [{"a": 1}, {"a": 2}]}', [{"a": "1"}, {"a": "2"}]),
        ("deep.json", b'{"data": {"products": {"edges": [{"node": {"a": 1}}]}}}', [{"a": "1"}]),
        ("indented.json", b'{\n "a": 1,\n "line_items": [{"x": 1}]\n}', [{"a": "1", "line_items": '[{"x": 1}]'}]),
        ("lines.json", b'\xef\xbb\xbf{"a": 1}\n{"a": 2}\n', [{"a": "1"}, {"a": "2"}]),
    ],
)
def test_files_are_read_as_systems_write_them(
    tmp_path: Path, name: str, content: bytes, rows: list[dict[str, str]]
) -> None:
    (tmp_path / name).write_bytes(content)
    assert rows_of(read(tmp_path / name)) == rows


def test_globs_name_each_file_once_in_order(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "sub/c.csv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("a\n1\n")
    files = expand([str(tmp_path / "*.csv"), str(tmp_path / "a.csv"), str(tmp_path / "**/c.csv")])
    assert [path.name for path in files] == ["a.csv", "b.csv", "c.csv"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("no*.csv", "no file matches this pattern"), ("no.csv", "no such file"), (".", "is a folder")],
)
def test_a_pattern_without_files_is_refused(tmp_path: Path, pattern: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        expand([str(tmp_path / pattern)])

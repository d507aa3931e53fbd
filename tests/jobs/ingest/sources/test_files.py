import gzip
from pathlib import Path

import polars as pl
import pytest

from jobs.ingest.sources.files import RawBatch, expand, open_file
from recsys.errors import DataError


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
        ("a.xlsx", b"PK", "unknown kind of file"),
        ("a.csv.gz", b"plain text", "damaged gzip file"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 5000)[:-20], "damaged gzip file"),
        ("a.csv", "a,b\n1,\xe9\n".encode("latin-1"), "damaged file"),
        ("a.csv", b"a,a\n1,2\n", "in the header twice"),
        ("a.json", b'[{"a": 1}]', "one JSON list"),
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

"""Ids of shoppers from an option or a file."""

from pathlib import Path

import polars as pl
import pytest

from jobs.export.audience import audience
from recsys.errors import DataError


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain.txt", "u1\nu, 2\n\nu1\n"),
        ("windows.txt", "\ufeffu1\r\nu, 2\r\n"),
        ("table.csv", 'name,user_id\nx,u1\ny,"u, 2"\n'),
        ("other.csv", 'USER_ID\nu1\n"u, 2"\n'),
        ("personalize.jsonl", '{"userId": "u1"}\n{"userId": "u, 2"}\n'),
        ("lines.jsonl", '{"user_id": "u1", "more": 1}\n{"user_id": "u, 2"}\n'),
    ],
)
def test_a_file_gives_each_id_once_in_its_order(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode())
    assert audience(str(path), ["other"]) == ["u1", "u, 2"]


def test_a_parquet_file_with_the_column_user_id(tmp_path: Path) -> None:
    path = tmp_path / "ids.parquet"
    pl.DataFrame({"user_id": [7, None, 8, 7]}).write_parquet(path)
    assert audience(str(path), []) == ["7", "8"]


def test_ids_all_and_guests() -> None:
    assert audience(" u1, u2,u1", ["other"]) == ["u1", "u2"]
    assert audience("all", ["a", "b"]) == ["a", "b"]
    assert audience("cold", ["a", "b"]) == [None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\n \n", "no ids in it"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b'{"user_id": "u1"}\n{"id": "u2"}\n', "line 2: no user_id in it; it has id"),
        (b'{"user_id": \n', "line 1: not JSON"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "ids.txt"
    path.write_bytes(text)
    with pytest.raises(DataError, match=message):
        audience(str(path), [])


def test_a_parquet_file_without_ids(tmp_path: Path) -> None:
    path = tmp_path / "ids.parquet"
    pl.DataFrame({"shopper": ["a"]}).write_parquet(path)
    with pytest.raises(DataError, match="no column user_id; it has shopper"):
        audience(str(path), [])

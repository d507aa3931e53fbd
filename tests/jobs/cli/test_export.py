"""`recsys export` on the command line."""

import json
from pathlib import Path

import polars as pl
import pytest
from conftest import PublishedShop

from jobs.__main__ import main


def run(shop: PublishedShop, *arguments: str) -> int:
    return main(("export", *arguments, "--workspace", str(shop.workspace.root)))


def test_lists_of_all_shoppers(published_shop: PublishedShop, tmp_path: Path, capsys) -> None:
    out = tmp_path / "lists.parquet"
    assert run(published_shop, "recommendations", "--count", "3", "--out", str(out)) == 0
    rows = pl.read_parquet(out)
    shown = capsys.readouterr().out
    assert f"{rows['user_id'].n_unique()} lists, {len(rows)} items, release {published_shop.report.release_id}" in shown


def test_lists_of_given_shoppers(published_shop: PublishedShop, tmp_path: Path, capsys) -> None:
    out = tmp_path / "lists.jsonl"
    command = ("recommendations", "--users", "x,y", "--format", "jsonl", "--out", str(out))
    assert run(published_shop, *command) == 0
    assert [json.loads(line)["user_id"] for line in out.read_text().splitlines()] == ["x", "y"]
    assert "Lists that are not personal: 2; users unknown to this release: 2." in capsys.readouterr().out


def test_vectors(published_shop: PublishedShop, tmp_path: Path, capsys) -> None:
    out = tmp_path / "items.parquet"
    assert run(published_shop, "vectors", "--what", "items", "--vector", "cf", "--out", str(out)) == 0
    assert "80 cf vectors of items, 8 numbers each" in capsys.readouterr().out
    assert pl.read_parquet(out).height == 80


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("recommendations", "--out", "DIR/taken.csv"), "exists already; pass --overwrite"),
        (("recommendations", "--out", "DIR"), "a folder; name a file"),
        (("recommendations", "--out", "DIR/no/lists.csv"), "does not exist; create it first"),
        (("recommendations", "--out", "DIR/a.xlsx", "--format", "xlsx"), "'parquet', 'csv', 'jsonl'"),
        (("recommendations", "--out", "DIR/a", "--users", "DIR/ids.txt"), "no such file"),
        (("recommendations", "--out", "DIR/a", "--release", "none"), "no release none; nearest"),
        (("vectors", "--out", "DIR/taken.csv"), "exists already; pass --overwrite"),
        (("vectors", "--out", "DIR/a", "--format", "csv"), "choose parquet or jsonl"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    published_shop: PublishedShop, tmp_path: Path, capsys, command: tuple[str, ...], message: str
) -> None:
    (tmp_path / "taken.csv").write_text("of yesterday")
    assert run(published_shop, *(part.replace("DIR", str(tmp_path)) for part in command)) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert message in line
    assert [path.name for path in tmp_path.iterdir()] == ["taken.csv"]


@pytest.mark.parametrize("what", ["recommendations", "vectors"])
def test_a_workspace_without_a_release(tmp_path: Path, capsys, what: str) -> None:
    assert main(("export", what, "--out", str(tmp_path / "a"), "--workspace", str(tmp_path))) == 2
    assert "no release published yet; run `recsys nightly" in capsys.readouterr().err


def test_an_existing_file_is_replaced_where_that_is_allowed(published_shop: PublishedShop, tmp_path: Path) -> None:
    out = tmp_path / "lists.csv"
    out.write_text("of yesterday")
    options = ("--users", "cold", "--format", "csv", "--overwrite", "--out", str(out))
    assert run(published_shop, "recommendations", *options) == 0
    assert out.read_text().startswith("user_id,rank,item_id,score,source,fallback,release_id\n")

"""Search a workspace for leftovers of an erased shopper: every byte of its files, and every value of its tables.

Tables are compressed, so searching their bytes is not enough. A text counts as the shopper's only if no other row of
the lake or the live database, and no product, contains it. An id that is short, or that occurs as a word in the data of
others (e.g. if shoppers and products are both numbered), is searched only as a whole value of columns and fields named
`user_id`.
"""

from __future__ import annotations

import html
import json
import mmap
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from features.live.database import LiveDatabase
from features.live.erasure_queue import rows_of, strings_of_others
from features.store.rewrite import words_on_disk
from features.workspace.erasure_receipt import Searched
from jobs.lake.lake import TABLES, Lake
from recsys.workspace import Workspace

MIN_ID_BYTES: Final = 5
"""A shorter id occurs by chance in a hundred megabytes of numbers."""

FIELDS: Final = (".json", ".html")
"""Kinds of files in which user ids are marked as such."""

CHUNK_BYTES: Final = 1 << 26
_WORD = rb"[0-9A-Za-z_\x80-\xff-]"


@dataclass(frozen=True)
class Needles:
    """What to search for. texts: those that only the shopper wrote, in every spelling that files use; in_bytes: whether
    the id is searched in the bytes of files; n_texts, n_shared: number of texts that only the shopper wrote, and of
    those that others wrote, too."""

    user_id: str
    in_bytes: bool
    texts: tuple[str, ...]
    n_texts: int
    n_shared: int

    def pattern(self) -> str:
        """The id as a word, for values of tables."""
        return rf"(?:^|[^\w-]){re.escape(self.user_id)}(?:[^\w-]|$)"


@dataclass
class _Counts:
    files: int = 0
    bytes: int = 0
    values: int = 0


def needles_of(workspace: Workspace, database: LiveDatabase, user_id: str, texts: Collection[str]) -> Needles:
    """What to search for, once the shopper's rows have been removed from lake and live database."""
    texts_to_find = sorted(text for text in texts if text.strip())
    shared: set[str] = set()
    is_word = re.compile(rf"(?<![\w-]){re.escape(user_id)}(?![\w-])")
    is_others = False
    for strings in (*_lake_strings(workspace), *strings_of_others(database)):
        if texts_to_find:
            shared.update(strings.str.extract_many(texts_to_find, overlapping=True).explode().drop_nulls())
        likely = strings.filter(strings.str.contains(user_id, literal=True))
        is_others = is_others or any(is_word.search(string) for string in likely)
    alone = [text for text in texts_to_find if text not in shared]
    in_bytes = len(user_id.encode("utf-8", "replace")) >= MIN_ID_BYTES and not is_others
    return Needles(user_id, in_bytes, tuple(_spellings(alone)), len(alone), len(shared))


def search(
    workspace: Workspace, database: LiveDatabase, needles: Needles, left_out: Iterable[Path]
) -> tuple[Searched, list[str]]:
    """What was searched, and every place with a match. left_out: files and folders that are not searched."""
    counts, places = _Counts(), []
    skipped = [path.absolute() for path in left_out]
    for path in sorted(workspace.root.absolute().rglob("*")):
        if path.is_file() and not any(path == skip or path.is_relative_to(skip) for skip in skipped):
            counts.files += 1
            counts.bytes += path.stat().st_size
            if match := _in_bytes(path, needles):
                places.append(f"{path.relative_to(workspace.root.absolute())} ({match})")
            if path.suffix == ".parquet" and (match := _in_values(_strings_of(path), needles, counts)):
                places.append(f"{path.relative_to(workspace.root.absolute())} ({match} among its values)")
    for where, rows in words_on_disk(workspace):
        if match := _in_values(rows, needles, counts):
            places.append(f"{where} ({match} among its values)")
    if n_rows := rows_of(database, needles.user_id):
        places.append(f"live database ({n_rows} rows)")
    id_in = "bytes" if needles.in_bytes else "values"
    searched = Searched(counts.files, counts.bytes, counts.values, id_in, needles.n_texts, needles.n_shared)
    return searched, places


def holds_shopper(path: Path, needles: Needles) -> bool:
    """Whether a source file of the shop, Parquet or plain text, contains the id as a value or a word."""
    if path.suffix == ".parquet":
        rows = _strings_of(path)
        return any(_flat(rows[name]).eq(needles.user_id).any() for name in rows.columns)
    return path.stat().st_size > 0 and _matches(path, word_pattern(needles.user_id))


def _lake_strings(workspace: Workspace) -> Iterator[pl.Series]:
    lake = Lake(workspace.lake)
    for table, layout in TABLES.items():
        for name, dtype in layout.polars_schema().items():
            if dtype == pl.String:
                yield lake.scan(table).select(pl.col(name).drop_nulls().unique()).collect()[name]


def _spellings(texts: Iterable[str]) -> Iterator[str]:
    """Each text as it is, in JSON, and in HTML, where pages escape quotes in two ways."""
    for text in texts:
        in_html = html.escape(text)
        forms = (text, json.dumps(text, ensure_ascii=False)[1:-1], json.dumps(text)[1:-1], in_html, _by_number(in_html))
        yield from dict.fromkeys(forms)


def _by_number(in_html: str) -> str:
    """Escaped as in the templates of reports, with numeric references for quotes."""
    return in_html.replace("&quot;", "&#34;").replace("&#x27;", "&#39;")


def holds_any(path: Path, needles: Needles) -> bool:
    """Whether a file contains the id or a text in its bytes or, for Parquet, among its values."""
    values = path.suffix == ".parquet" and _in_values(_strings_of(path), needles, _Counts())
    return bool(_in_bytes(path, needles) or values)


def word_pattern(word: str) -> re.Pattern[bytes]:
    """Matches the word in UTF-8, JSON or HTML, but not as part of a longer word."""
    spelled = b"|".join(re.escape(spelling.encode("utf-8", "replace")) for spelling in _spellings([word]))
    return re.compile(rb"(?<!%s)(?:%s)(?!%s)" % (_WORD, spelled, _WORD))


def field_pattern(user_id: str) -> re.Pattern[bytes]:
    """Matches the id as the whole value of a field `user_id` in JSON, or as reports of nightly runs mark it."""
    spelled = b"|".join(re.escape(spelling.encode("utf-8", "replace")) for spelling in _spellings([user_id]))
    return re.compile(rb'(?:(?<="user_id": ")|(?<="user_id":")|(?<=<b class="user-id">))(?:%s)(?="|</b>)' % spelled)


def _in_bytes(path: Path, needles: Needles) -> str:
    """The kind of match: "id" or "a text", "" for none."""
    if path.stat().st_size == 0:
        return ""
    if needles.in_bytes and _matches(path, word_pattern(needles.user_id)):
        return "id"
    if not needles.in_bytes and path.suffix in FIELDS and _matches(path, field_pattern(needles.user_id)):
        return "id"
    return "a text" if needles.texts and _any_in(path, needles.texts) else ""


def _matches(path: Path, pattern: re.Pattern[bytes]) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return pattern.search(content) is not None


def _any_in(path: Path, texts: tuple[str, ...]) -> bool:
    """Search all texts at once; bytes are decoded as Latin-1, which maps each to the character of the same number."""
    patterns = [text.encode("utf-8", "replace").decode("latin-1") for text in texts]
    overlap = max(map(len, patterns))
    with path.open("rb") as file:
        tail = b""
        while chunk := file.read(CHUNK_BYTES):
            content = pl.Series([(tail + chunk).decode("latin-1")])
            if content.str.contains_any(patterns).any():
                return True
            tail = chunk[-overlap:]
    return False


def _strings_of(path: Path) -> pl.DataFrame:
    rows = pl.scan_parquet(path, hive_partitioning=False)
    columns = [name for name, dtype in rows.collect_schema().items() if "String" in str(dtype)]
    return rows.select(columns).collect()


def _in_values(rows: pl.DataFrame, needles: Needles, counts: _Counts) -> str:
    for name in rows.columns:
        for field, values in _fields(name, rows[name]):
            counts.values += len(values)
            if needles.in_bytes and values.str.contains(needles.pattern()).any():
                return "id"
            if field == "user_id" and values.eq(needles.user_id).any():
                return "id"
            if needles.texts and values.str.contains_any(list(needles.texts)).any():
                return "a text"
    return ""


def _fields(name: str, column: pl.Series) -> Iterator[tuple[str, pl.Series]]:
    """The strings of a column; inside lists and structs, by the name of the field."""
    if isinstance(column.dtype, (pl.List, pl.Array)):
        yield from _fields(name, column.explode(empty_as_null=True).drop_nulls())
    elif isinstance(column.dtype, pl.Struct):
        for field in column.struct.fields:
            yield from _fields(field, column.struct.field(field))
    elif column.dtype == pl.String or isinstance(column.dtype, (pl.Categorical, pl.Enum)):
        yield name, column.cast(pl.String).drop_nulls()


def _flat(column: pl.Series) -> pl.Series:
    return pl.concat([values for _, values in _fields(column.name, column)] or [pl.Series([], dtype=pl.String)])

"""Whether anything of a shopper is left in a workspace: every byte of its files, and every value of its tables.

Tables are compressed, so their bytes alone tell nothing. A text counts as the shopper's alone where no other row of the
lake or the live database, and no product, holds it. An id that is short, or that others' data hold as a word (as where
shoppers and products are both numbered), is looked for as a whole value of columns and fields named `user_id` alone.
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
"""A shorter one stands somewhere in a hundred megabytes of numbers by chance."""

FIELDS: Final = (".json", ".html")
"""Files in which an id is marked as one."""

CHUNK_BYTES: Final = 1 << 26
_WORD = rb"[0-9A-Za-z_\x80-\xff-]"


@dataclass(frozen=True)
class Needles:
    """What is looked for. texts: those that are the shopper's alone, in every spelling that files have them in."""

    user_id: str
    in_bytes: bool
    texts: tuple[str, ...]
    n_texts: int
    n_shared: int

    def pattern(self) -> str:
        """The id as a word, for values of tables."""
        return rf"(?:^|[^\w-]){re.escape(self.user_id)}(?:[^\w-]|$)"


@dataclass
class _Found:
    files: int = 0
    bytes: int = 0
    values: int = 0


def needles_of(workspace: Workspace, database: LiveDatabase, user_id: str, texts: Collection[str]) -> Needles:
    """What can be looked for, once the shopper's own rows have left lake and live database."""
    wanted = sorted(text for text in texts if text.strip())
    shared: set[str] = set()
    is_word = re.compile(rf"(?<![\w-]){re.escape(user_id)}(?![\w-])")
    is_others = False
    for strings in (*_lake_strings(workspace), *strings_of_others(database)):
        if wanted:
            shared.update(strings.str.extract_many(wanted, overlapping=True).explode().drop_nulls())
        likely = strings.filter(strings.str.contains(user_id, literal=True))
        is_others = is_others or any(is_word.search(one) for one in likely)
    alone = [text for text in wanted if text not in shared]
    in_bytes = len(user_id.encode("utf-8", "replace")) >= MIN_ID_BYTES and not is_others
    return Needles(user_id, in_bytes, tuple(_spellings(alone)), len(alone), len(shared))


def search(
    workspace: Workspace, database: LiveDatabase, needles: Needles, left_out: Iterable[Path]
) -> tuple[Searched, list[str]]:
    """What was searched, and every place where something was found. left_out: files and folders that are not
    searched."""
    found, places = _Found(), []
    skipped = [path.absolute() for path in left_out]
    for path in sorted(workspace.root.absolute().rglob("*")):
        if path.is_file() and not any(path == one or path.is_relative_to(one) for one in skipped):
            found.files += 1
            found.bytes += path.stat().st_size
            if said := _in_bytes(path, needles):
                places.append(f"{path.relative_to(workspace.root.absolute())} ({said})")
            if path.suffix == ".parquet" and (said := _in_values(_strings_of(path), needles, found)):
                places.append(f"{path.relative_to(workspace.root.absolute())} ({said} among its values)")
    for where, rows in words_on_disk(workspace):
        if said := _in_values(rows, needles, found):
            places.append(f"{where} ({said} among its values)")
    if n_rows := rows_of(database, needles.user_id):
        places.append(f"live database ({n_rows} rows)")
    id_in = "bytes" if needles.in_bytes else "values"
    told = Searched(found.files, found.bytes, found.values, id_in, needles.n_texts, needles.n_shared)
    return told, places


def holds_shopper(path: Path, needles: Needles) -> bool:
    """Whether a file of the shop's own, Parquet or anything plain, has the id as a value or a word."""
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
    """As they are, in JSON, and in HTML, whose pages spell a quote in two ways."""
    for text in texts:
        in_html = html.escape(text)
        forms = (text, json.dumps(text, ensure_ascii=False)[1:-1], json.dumps(text)[1:-1], in_html, _by_number(in_html))
        yield from dict.fromkeys(forms)


def _by_number(in_html: str) -> str:
    """As the templates of reports write it."""
    return in_html.replace("&quot;", "&#34;").replace("&#x27;", "&#39;")


def holds_any(path: Path, needles: Needles) -> bool:
    """Whether a file has the id or a text in its bytes, or, Parquet, among its values."""
    values = path.suffix == ".parquet" and _in_values(_strings_of(path), needles, _Found())
    return bool(_in_bytes(path, needles) or values)


def word_pattern(word: str) -> re.Pattern[bytes]:
    """The word in UTF-8, in JSON or in HTML, not as a part of another."""
    spelled = b"|".join(re.escape(one.encode("utf-8", "replace")) for one in _spellings([word]))
    return re.compile(rb"(?<!%s)(?:%s)(?!%s)" % (_WORD, spelled, _WORD))


def field_pattern(user_id: str) -> re.Pattern[bytes]:
    """The id as the whole value of the field `user_id` of JSON, or as the reports of nights mark one."""
    spelled = b"|".join(re.escape(one.encode("utf-8", "replace")) for one in _spellings([user_id]))
    return re.compile(rb'(?:(?<="user_id": ")|(?<="user_id":")|(?<=<b class="user-id">))(?:%s)(?="|</b>)' % spelled)


def _in_bytes(path: Path, needles: Needles) -> str:
    """What was found: "id" or "a text", "" for neither."""
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
    """All texts are looked for at once; bytes become the characters of the same numbers for that."""
    wanted = [text.encode("utf-8", "replace").decode("latin-1") for text in texts]
    overlap = max(map(len, wanted))
    with path.open("rb") as file:
        tail = b""
        while chunk := file.read(CHUNK_BYTES):
            said = pl.Series([(tail + chunk).decode("latin-1")])
            if said.str.contains_any(wanted).any():
                return True
            tail = chunk[-overlap:]
    return False


def _strings_of(path: Path) -> pl.DataFrame:
    rows = pl.scan_parquet(path, hive_partitioning=False)
    columns = [name for name, dtype in rows.collect_schema().items() if "String" in str(dtype)]
    return rows.select(columns).collect()


def _in_values(rows: pl.DataFrame, needles: Needles, found: _Found) -> str:
    for name in rows.columns:
        for field, values in _fields(name, rows[name]):
            found.values += len(values)
            if needles.in_bytes and values.str.contains(needles.pattern()).any():
                return "id"
            if field == "user_id" and values.eq(needles.user_id).any():
                return "id"
            if needles.texts and values.str.contains_any(list(needles.texts)).any():
                return "a text"
    return ""


def _fields(name: str, column: pl.Series) -> Iterator[tuple[str, pl.Series]]:
    """The strings of a column, those inside lists and structures by the names of their fields."""
    if isinstance(column.dtype, (pl.List, pl.Array)):
        yield from _fields(name, column.explode(empty_as_null=True).drop_nulls())
    elif isinstance(column.dtype, pl.Struct):
        for field in column.struct.fields:
            yield from _fields(field, column.struct.field(field))
    elif column.dtype == pl.String or isinstance(column.dtype, (pl.Categorical, pl.Enum)):
        yield name, column.cast(pl.String).drop_nulls()


def _flat(column: pl.Series) -> pl.Series:
    return pl.concat([values for _, values in _fields(column.name, column)] or [pl.Series([], dtype=pl.String)])

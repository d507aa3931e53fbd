"""`recsys ingest movielens`: a MovieLens folder, with CSV files (ml-latest, ml-32m) or .dat (ml-1m, ml-10m).

Ratings become events of type `rating`. MovieLens stars start at a half: 0.5 is raised to 1, the least that the scale
of the other sources has, rather than thrown away. A movie's genres and most frequent tags become its attributes and
its first genre its category (genres are a set, not a path).

Source: https://grouplens.org/datasets/movielens/
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import polars as pl

from jobs.ingest.readers import delimited
from jobs.ingest.readers.data_file import DataFile, require_content
from jobs.ingest.readers.head import FileHead
from jobs.ingest.readers.raw import BrokenRow, RawBatch, RawFile, row_numbers
from jobs.ingest.sources.connector import Connector
from jobs.ingest.sources.spec import SourceSpec
from recsys.errors import DataError

LABEL: Final = "MovieLens"

MAX_TAGS: Final = 10
_RATINGS: Final = ("userId", "movieId", "rating", "timestamp")
_MOVIES: Final = ("movieId", "title", "genres")
_TAGS: Final = ("userId", "movieId", "tag", "timestamp")
_EVENTS: Final = ("user_id", "item_id", "event_type", "value", "timestamp")
_CATALOG: Final = ("item_id", "title", "category", "attributes")


def open_movielens(spec: SourceSpec) -> list[RawFile]:
    """The ratings and movies of `spec.paths["folder"]`, its tags where it has any.

    Raises DataError where the folder, or the ratings or movies in it, are missing.
    """
    folder = Path(spec.paths["folder"][0])
    extension = ".csv" if (folder / "ratings.csv").exists() else ".dat"
    paths = {name: folder / f"{name}{extension}" for name in ("ratings", "movies", "tags")}
    for name in ("ratings", "movies"):
        if not paths[name].is_file():
            raise DataError(
                f"{folder}: no {name}.csv or {name}.dat in it; give the unpacked folder of a MovieLens release"
            )
        require_content(paths[name])
    ratings = _open("events", paths["ratings"], _RATINGS)
    movies = _open("catalog", paths["movies"], _MOVIES)
    has_tags = paths["tags"].is_file()
    tags = _open("catalog", paths["tags"], _TAGS) if has_tags else None

    def events(batch_rows: int) -> Iterator[RawBatch]:
        for batch in ratings.batches(batch_rows):
            yield RawBatch(_as_events(batch.rows), batch.numbers, batch.broken)

    def catalog(batch_rows: int) -> Iterator[RawBatch]:
        tagged = _frequent_tags(tags, batch_rows) if tags else {}
        for batch in movies.batches(batch_rows):
            yield RawBatch(_as_catalog(batch.rows, tagged), batch.numbers, batch.broken)

    inputs = (paths["movies"], paths["tags"]) if has_tags else (paths["movies"],)
    return [
        RawFile("events", ratings.path, _EVENTS, events, ratings.inputs, format=LABEL),
        RawFile("catalog", movies.path, _CATALOG, catalog, inputs, format=LABEL),
    ]


def recognises(head: FileHead) -> bool:
    return any(set(layout) <= set(head.columns) for layout in (_RATINGS, _MOVIES, _TAGS))


def open_recognised(files: Sequence[DataFile], _: SourceSpec) -> list[RawFile]:
    """The whole folder in which the files lie."""
    return open_movielens(SourceSpec("movielens", {"folder": (str(files[0].path.parent),)}))


CONNECTOR: Final = Connector("", LABEL, recognises, open_recognised)


def _open(table: str, path: Path, columns: tuple[str, ...]) -> RawFile:
    raw = _open_csv(table, path) if path.suffix == ".csv" else _open_dat(table, path, columns)
    missing = [name for name in columns if name not in raw.columns]
    if missing:
        raise DataError(f"{path}: no column {missing[0]!r}, it has {', '.join(raw.columns)}; is it a MovieLens file?")
    return raw


def _open_csv(table: str, path: Path) -> RawFile:
    rows = delimited.open_rows(DataFile(path))
    return RawFile(table, path, rows.columns, rows.batches, (path,))


def _open_dat(table: str, path: Path, columns: tuple[str, ...]) -> RawFile:
    """`1::1193::5::978300760` without a header, Latin-1. A line with more or fewer fields breaks the rule `dat`."""

    def batches(batch_rows: int) -> Iterator[RawBatch]:
        with io.TextIOWrapper(DataFile(path).open(), encoding="latin-1", newline="") as lines:
            numbered = enumerate((line.rstrip("\r\n") for line in lines), start=1)
            while batch := list(islice(numbered, batch_rows)):
                fields = {number: line.split("::") for number, line in batch}
                whole = {number: row for number, row in fields.items() if len(row) == len(columns)}
                rows = pl.DataFrame(list(whole.values()), schema=dict.fromkeys(columns, pl.String), orient="row")
                broken = tuple(BrokenRow(number, "dat", line) for number, line in batch if number not in whole)
                yield RawBatch(rows, row_numbers(whole), broken)

    return RawFile(table, path, columns, batches, (path,))


def _as_events(ratings: pl.DataFrame) -> pl.DataFrame:
    stars = pl.col("rating").str.strip_chars()
    return ratings.select(
        pl.col("userId").alias("user_id"),
        pl.col("movieId").alias("item_id"),
        pl.lit("rating").alias("event_type"),
        pl.when(stars.is_in(["0.5", ".5"])).then(pl.lit("1")).otherwise(stars).alias("value"),
        "timestamp",
    )


def _as_catalog(movies: pl.DataFrame, tags: dict[str, list[str]]) -> pl.DataFrame:
    rows = [_movie(item, title, genres, tags) for item, title, genres in movies.select(_MOVIES).iter_rows()]
    return pl.DataFrame(rows, schema=dict.fromkeys(_CATALOG, pl.String), orient="row")


def _movie(
    item_id: str, title: str | None, genres: str | None, tags: dict[str, list[str]]
) -> tuple[str, str | None, str | None, str]:
    known = [genre for genre in (genres or "").split("|") if genre and not genre.startswith("(")]
    year = re.search(r"\((\d{4})\)\s*$", title or "")
    attributes = {"genres": known, "tags": tags.get(item_id, []), "year": year.group(1) if year else None}
    return item_id, title, known[0] if known else None, json.dumps(attributes, ensure_ascii=False)


def _frequent_tags(tags: RawFile, batch_rows: int) -> dict[str, list[str]]:
    """Movie id -> its most frequent tags, lower case, most frequent first."""
    counted = pl.DataFrame(schema={"movieId": pl.String, "tag": pl.String, "n": pl.UInt32})
    for batch in tags.batches(batch_rows):
        counts = batch.rows.select(
            "movieId", pl.col("tag").str.strip_chars().str.to_lowercase(), n=pl.lit(1, pl.UInt32)
        )
        counted = pl.concat([counted, counts]).group_by("movieId", "tag").agg(pl.col("n").sum())
    best = counted.drop_nulls().sort(["n", "tag"], descending=[True, False]).group_by("movieId", maintain_order=True)
    return dict(best.agg(pl.col("tag").head(MAX_TAGS)).iter_rows())

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from jobs.ingest.files import ingest
from jobs.ingest.sources.movielens import open_movielens
from jobs.ingest.sources.spec import SourceSpec
from jobs.lake.lake import Lake
from recsys.config import IngestSettings
from recsys.errors import DataError
from recsys.workspace import Workspace

NOW = datetime(2024, 6, 1, tzinfo=UTC)


def take(workspace: Workspace, folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    ingest(workspace, SourceSpec("movielens", {"folder": (str(folder),)}), IngestSettings(batch_rows=2), NOW)
    lake = Lake(workspace.lake)
    return lake.scan("events").sort("timestamp").collect(), lake.scan("catalog").sort("item_id").collect()


def test_csv_releases_give_ratings_and_movies_with_genres_and_tags(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n7,1,0.5,978300760\n7,2,4.5,978300761\n")
    (tmp_path / "movies.csv").write_text(
        'movieId,title,genres\n1,Toy Story (1995),Adventure|Animation\n2,"Net, The (1995)",(no genres listed)\n'
    )
    (tmp_path / "tags.csv").write_text("userId,movieId,tag,timestamp\n1,1,Pixar,1\n2,1,pixar,2\n3,1,fun,3\n")
    events, catalog = take(workspace, tmp_path)
    assert events.select("user_id", "item_id", "event_type", "value").rows() == [
        ("7", "1", "rating", 1.0),
        ("7", "2", "rating", 4.5),
    ]
    assert catalog["title"].to_list() == ["Toy Story (1995)", "Net, The (1995)"]
    assert catalog["category"].to_list() == ["Adventure", None]
    first, second = map(json.loads, catalog["attributes"])
    assert first == {"genres": ["Adventure", "Animation"], "tags": ["pixar", "fun"], "year": "1995"}
    assert second == {"year": "1995"}


def test_dat_releases_are_read_as_latin_1(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text("1::1193::5::978300760\n1::661::3::978302109\n1::914::3::978301968\n")
    (tmp_path / "movies.dat").write_bytes("661::Les Misérables (1995)::Drama|Musical\n".encode("latin-1"))
    events, catalog = take(workspace, tmp_path)
    assert events["item_id"].to_list() == ["1193", "914", "661"]
    assert events["timestamp"][0] == datetime(2000, 12, 31, 22, 12, 40, tzinfo=UTC)
    assert catalog.select("item_id", "title", "category").rows() == [("661", "Les Misérables (1995)", "Drama")]


def test_a_dat_line_with_a_field_missing_is_broken_and_the_others_keep_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text("1::2::5::978300760\n1::2::5\n1::3::4::978300761\n")
    (tmp_path / "movies.dat").write_text("1::A (1995)::Drama\n")
    ratings, _ = open_movielens(SourceSpec("movielens", {"folder": (str(tmp_path),)}))
    (batch,) = ratings.batches(10)
    assert batch.numbers.to_list() == [1, 3]
    assert [(row.number, row.rule, row.text) for row in batch.broken] == [(2, "dat", "1::2::5")]


def test_a_folder_without_ratings_is_named(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no ratings\.csv or ratings\.dat in it"):
        take(workspace, tmp_path)


def test_a_file_with_other_columns_is_named(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("user,movie,stars\n1,2,3\n")
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n1,a,b\n")
    with pytest.raises(DataError, match=r"ratings\.csv: no column 'userId', it has user, movie, stars"):
        take(workspace, tmp_path)

"""Small releases to publish, and what must be true of them afterwards, for tests of the release store."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import lancedb
import polars as pl
import pytest

from features.store.store import ReleaseDraft, Store
from recsys.workspace import Workspace

NOW = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
TABLES = ("items", "users", "reviews")
DIM = 2
LONG = 12  # from 10 numbers on LanceDB takes a column for vectors whatever its name
HISTORY = pl.List(
    pl.Struct(
        {"item_id": pl.String, "event_type": pl.String, "weight": pl.Float32, "timestamp": pl.Datetime("us", "UTC")}
    )
)
SCHEMAS: dict[str, dict[str, Any]] = {
    "items": {
        "item_id": pl.String,
        "vector": pl.Array(pl.Float32, DIM),
        "is_cold": pl.Boolean,
        "price": pl.Float64,
        "department": pl.Enum(["garden", "kitchen"]),
        "text_hash": pl.String,
    },
    "users": {
        "user_id": pl.String,
        "vector": pl.Array(pl.Float32, DIM),
        "text_vector": pl.Array(pl.Float32, LONG),
        "history": HISTORY,
    },
    "reviews": {"review_id": pl.String, "vector": pl.Array(pl.Float32, DIM), "rating": pl.Float64},
}


def tables_of(size: int) -> dict[str, pl.DataFrame]:
    """Tables of `size` items, two users (one without history) and one review; item i has the vector [i, size]."""
    view = {"item_id": "i0", "event_type": "view", "weight": 0.5, "timestamp": NOW - timedelta(microseconds=1)}
    rows = {
        "items": [
            (f"i{i}", [float(i), float(size)], i == 0, None if i == 0 else 9.5, "kitchen", "é" * 64)
            for i in range(size)
        ],
        "users": [("u0", [1.0, 0.0], [0.5] * LONG, [view, view]), ("u1", None, None, [])],
        "reviews": [("r0", [0.0, 1.0], 5.0)],
    }
    return {name: pl.DataFrame(rows[name], schema=SCHEMAS[name], orient="row") for name in TABLES}


def draft_of(release_id: str, size: int, staging: Path, tables: dict[str, pl.DataFrame] | None = None) -> ReleaseDraft:
    """A release of `tables_of(size)`, or of `tables`, with two model files below `staging`."""
    model_dir = staging / f"model-{release_id}"
    (model_dir / "deep").mkdir(parents=True, exist_ok=True)
    (model_dir / "linear.npz").write_bytes(b"weights of " + release_id.encode())
    (model_dir / "deep" / "whitening.npz").write_bytes(b"1234")
    return ReleaseDraft(
        release_id=release_id,
        as_of=NOW,
        tables=tables_of(size) if tables is None else tables,
        model_dir=model_dir,
        encoder_id="minilm",
        encoder_sha256="ab",
        config_sha256="cd",
        metrics={"all": {"recall@10": 0.125}},
    )


in_one_folder = pytest.mark.parametrize("store", ["folder"], indirect=True)
"""For tests of a moment inside a write, or of a lock, within one folder; for a bucket see test_mirror and
test_bucket_lease."""


def assert_whole(store: Store, release_id: str, size: int) -> None:
    """Every table of the release reads back as published from `tables_of(size)`."""
    release = store.open(release_id)
    for name, expected in tables_of(size).items():
        assert release.table(name).equals(expected)


def tags_of(workspace: Workspace) -> dict[str, set[str]]:
    """The tags of each LanceDB table."""
    database = lancedb.connect(str(workspace.store))
    return {name: set(database.open_table(name).tags.list()) for name in TABLES}


def bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

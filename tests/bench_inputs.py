"""Small data for the benchmark of quality."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from jobs.bench.data import BenchData, read_bench
from jobs.ingest.sources.spec import SourceSpec
from recsys.config import Settings
from recsys.split import Protocol, split
from recsys.tables import EVENT_TYPES
from recsys.workspace import Workspace

NOW = datetime(2024, 6, 1, tzinfo=UTC)
START = datetime(2024, 1, 1, tzinfo=UTC)
SMALL = {
    "linear": {"regularization": 5.0},
    "factors": {"iterations": 3},
    "sequence": {"dim": 16, "layers": 1, "epochs": 6, "dropout": 0.0, "learning_rate": 0.01, "batch_events": 128},
    "ranking": {"min_targets": 15, "min_leaf": 5, "trees": 10},
    "fusion": {"min_targets": 15},
}

NEEDS_TRUTH = "true taste"
"""The model that needs a sample with known preferences."""


def bench_data(n_users: int = 30, seed: int = 0) -> BenchData:
    """Two tastes of 20 items each, distinguishable by behaviour and by text: each user buys 6 items of one of them."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        bought = rng.choice(20, size=6, replace=False) + 20 * (user % 2)
        rows += [(f"u{user}", f"i{item:02}", START + timedelta(days=float(rng.random() * 100))) for item in bought]
    events = pl.DataFrame(
        rows,
        schema={"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Datetime("us", "UTC")},
        orient="row",
    ).with_columns(
        event_type=pl.lit("purchase").cast(pl.Enum(EVENT_TYPES)),
        value=pl.lit(None, dtype=pl.Float64),
        text_row=pl.lit(None, dtype=pl.Int32),
    )
    parts = split(events, "leave-one-out")
    item_ids = [f"i{item:02}" for item in range(40)]
    items = pl.DataFrame({"item_id": item_ids, "title": item_ids, "category": ["a > x"] * 20 + ["a > y"] * 20})
    text = rng.normal(size=(40, 8)) * 0.1
    text[:20, 0] = text[20:, 1] = 1.0
    text = (text / np.linalg.norm(text, axis=1, keepdims=True)).astype(np.float32)
    return BenchData(
        protocol="leave-one-out",
        repeats=False,
        items=items.with_columns(available=pl.lit(value=True)),
        text=text,
        read_text=np.zeros((0, 8), dtype=np.float32),
        validation=parts.validation,
        test=parts.test,
        settings=Settings.model_validate(SMALL),
    )


def bench_data_with_a_visit() -> tuple[BenchData, str]:
    """The first user looked at an item, which is given too, and searched, a minute after the models were made."""
    data = bench_data()
    first = data.test.targets["user_id"][0]
    seen_before = set(data.test.events.filter(pl.col("user_id") == first)["item_id"])
    fresh = min(set(data.items["item_id"]) - seen_before - set(data.test.targets["item_id"][:1]))
    since = data.test.events.head(2).with_columns(
        user_id=pl.lit(first),
        item_id=pl.Series([fresh, None], dtype=pl.String),
        event_type=pl.Series(["view", "search"], dtype=pl.Enum(EVENT_TYPES)),
        timestamp=pl.lit(data.test.as_of + timedelta(minutes=1)),
        text_row=pl.Series([None, 0], dtype=pl.Int32),
        asked_for=pl.lit(data.test.targets["item_id"][0]),
    )
    searched = np.eye(data.text.shape[1], dtype=np.float32)[:1]
    return replace(data, test=replace(data.test, since=since), read_text=searched), fresh


def spec_of(tmp_path: Path, text: str) -> SourceSpec:
    """A source of the events in `text`, a CSV file that is written below `tmp_path`."""
    (tmp_path / "events.csv").write_text(text)
    return SourceSpec("table", {"events": (str(tmp_path / "events.csv"),)})


FIVE_USERS = "".join(f"u{user},p{(user + n) % 6},2024-01-{1 + n + user:02}\n" for user in range(5) for n in range(4))


def favourites(protocol: Protocol, tmp_path: Path, tiny_bert: Path) -> BenchData:
    """Each of six users repeatedly buys one item that no one else buys, and in between items that all like."""
    rows = []
    for user in range(6):
        days = [*range(0, 40, 4), *range(41, 101, 10)]
        rows += [f"u{user},own{user},{START + timedelta(days=day, hours=user):%Y-%m-%dT%H:%M}" for day in days]
        rows += [f"u{user},all{n},{START + timedelta(days=n, hours=6 + user):%Y-%m-%dT%H:%M}" for n in range(12)]
    spec = spec_of(tmp_path, "user_id,item_id,timestamp\n" + "\n".join(rows))
    settings = Settings.model_validate({"encoder": {"model": str(tiny_bert)}, **SMALL})
    return read_bench(spec, protocol, Workspace(tmp_path / "kept"), settings, NOW, lambda *_: None)

"""A tiny shop whose words an encoder learns in seconds: word w2k of a title stands for w2k+1 of its description."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from jobs.ingest.files import ingest
from jobs.ingest.sources.spec import SourceSpec
from recsys.config import Settings
from recsys.workspace import Workspace

NOW = datetime(2025, 6, 1, tzinfo=UTC)
START = datetime(2025, 5, 1, tzinfo=UTC)
FEELINGS = {1.0: "w24", 3.0: "w25", 5.0: "w26"}
N_USERS = 60


def items() -> pl.DataFrame:
    """120 products: each of twelve pairs of words in ten dressings."""
    rows = [(f"i{k:02}{d}", f"w{2 * k} w{30 + d}", f"w{2 * k + 1}") for k, d in itertools.product(range(12), range(10))]
    return pl.DataFrame(rows, schema=["item_id", "title", "description"], orient="row")


def reviews() -> pl.DataFrame:
    """240 reviews of half of the products, one word of each, said three times, telling how it feels."""
    rng = np.random.default_rng(0)
    stars = rng.choice(list(FEELINGS), 240, p=[0.2, 0.1, 0.7])
    words = [f"{FEELINGS[star]} " * 3 + f"w{27 + number % 3} w{30 + number % 10}" for number, star in enumerate(stars)]
    return pl.DataFrame(
        {
            "review_id": [f"r{number}" for number in range(240)],
            "user_id": [f"u{number % N_USERS}" for number in range(240)],
            "item_id": items()["item_id"].gather([number % 60 for number in range(240)]),
            "rating": stars,
            "text": [f"{word} w{number % 24}" for number, word in enumerate(words)],
            "timestamp": [START + timedelta(hours=number) for number in range(240)],
        }
    )


def events() -> pl.DataFrame:
    """Each shopper buys eight products of one pair of words, a day apart."""
    bought = [
        (
            f"e{user}-{step}",
            f"u{user}",
            f"i{user % 12:02}{(user + step) % 10}",
            START + timedelta(days=step, hours=user),
        )
        for user, step in itertools.product(range(N_USERS), range(8))
    ]
    named = pl.DataFrame(bought, schema=["event_id", "user_id", "item_id", "timestamp"], orient="row")
    return named.with_columns(event_type=pl.lit("purchase"))


def make_shop(folder: Path, *, with_reviews: bool = True) -> Workspace:
    """A workspace whose lake holds the shop."""
    workspace = Workspace(folder / "shop")
    tables = {"events": events(), "catalog": items()} | ({"reviews": reviews()} if with_reviews else {})
    for name, table in tables.items():
        table.write_parquet(folder / f"{name}.parquet")
    spec = SourceSpec("table", {name: (str(folder / f"{name}.parquet"),) for name in tables}, {}, {})
    ingest(workspace, spec, Settings().ingest, NOW)
    return workspace


def settings(model: Path, **finetune: object) -> Settings:
    """A run of seconds, by titles and descriptions alone, of which about a third is held out."""
    contrastive = {
        "epochs": 12,
        "batch_pairs": 8,
        "mini_batch_pairs": 8,
        "learning_rate": 0.003,
        "matryoshka_dims": [16],
        "held_out": 0.3,
    }
    small = {
        "precision": "fp32",
        "checkpoint_steps": 4,
        "workers": 1,
        "pairs": {"adjacent": 0, "query": 0, "review": 0},
        "mlm": {"head_learning_rate": 0.01},
        "contrastive": contrastive,
        "sentiment": {"hidden": 0, "epochs": 60, "batch_reviews": 128, "learning_rate": 0.05},
    }
    return Settings.model_validate(
        {
            "encoder": {"model": str(model), "precision": "fp32"},
            "embed": {"inline_texts": 100_000},
            "factors": {"dim": 4, "iterations": 3},
            "sequence": {"dim": 8, "layers": 1, "epochs": 2},
            "evaluate": {"min_users": 10},
            "fusion": {"min_targets": 5},
            "ranking": {"min_targets": 10_000},
            "repeats": {"mode": "always"},
            "finetune": small | finetune,
        }
    )

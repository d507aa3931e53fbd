"""Searches answered by text alone: BM25, the encoder as it is, and the encoder tuned on other searches.

`python tests/benchmarks/query_search.py --sessions F --products F [--folds 4] [--sample 10000] [--config F]
--workspace W --json OUT` reads sessions (sess_id, query, rank, clicked, upc_key) and products (upc_key, name,
manufacturer, short_description). Queries are dealt into folds; for each fold the encoder is tuned by `recsys finetune`
on the products and the sessions of the other folds' queries, so that it has seen no query that it is asked. A product
is as relevant as it was clicked: its clicks over those of the query's most clicked one. Two lists of candidates: those
that any session showed, and these with a random sample of all others. NDCG@10 of each query, and paired bootstrap
intervals over queries.
"""

from __future__ import annotations

import argparse
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from implicit.nearest_neighbours import bm25_weight
from rich.console import Console
from rich.table import Table
from sklearn.feature_extraction.text import CountVectorizer

from features.adoption import located
from features.encoder import Encoder, load_encoder
from features.text import item_texts
from jobs.command_line import configure_logging, shown_progress
from jobs.embed import embed_texts
from jobs.finetune import finetune
from jobs.finetune_command import print_report
from jobs.ingest import ingest
from jobs.nightly import Progress
from jobs.sources.spec import SourceSpec
from recsys.config import Settings
from recsys.metrics import bootstrap_difference
from recsys.settings_file import load_settings
from recsys.workspace import Workspace

K = 10
START = datetime(2024, 1, 1, tzinfo=UTC)
"""Sessions have no times: they follow each other by the minute from here on."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=Path, required=True)
    parser.add_argument("--products", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--sample", type=int, default=10_000)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    asked = parser.parse_args()
    configure_logging(verbose=False)
    settings = load_settings(asked.config, {})
    keys = pl.col("query").cast(pl.String), pl.col("upc_key").cast(pl.String)
    sessions = pl.read_parquet(asked.sessions).with_columns(*keys)
    shown = sessions["upc_key"].unique()
    catalog = products(pl.read_parquet(asked.products), shown, asked.sample, settings.seed)
    relevant = relevance(sessions, catalog["item_id"])
    queries = sorted(relevant)
    order = np.random.default_rng(settings.seed).permutation(len(queries))
    folds = {queries[row]: place % asked.folds for place, row in enumerate(order)}
    encoder = load_encoder(settings.encoder)
    texts = item_texts(catalog, no_reviews(), settings.text, encoder.count_tokens)["text"].to_list()
    scores = {"BM25": bm25(texts, queries), "encoder": by_encoder(encoder, texts, queries)}
    tuned = np.zeros_like(scores["encoder"])
    with shown_progress() as progress:
        for fold in range(asked.folds):
            others = sessions.filter(pl.col("query").replace_strict(folds, default=-1) != fold)
            tuned_encoder = tune(asked.workspace, fold, catalog, others, settings, progress)
            rows = [row for row, query in enumerate(queries) if folds[query] == fold]
            tuned[rows] = by_encoder(tuned_encoder, texts, [queries[row] for row in rows])
    scores["tuned encoder"] = tuned
    is_shown = catalog["item_id"].is_in(shown.implode()).to_numpy()
    report = {}
    for name, candidates in (("shown products", is_shown), ("with others", np.ones(len(catalog), dtype=bool))):
        found = {
            method: np.array(
                [ndcg_of(own[row][candidates], relevant[query][candidates]) for row, query in enumerate(queries)]
            )
            for method, own in scores.items()
        }
        report[name] = {"n_candidates": int(candidates.sum())} | show(name, queries, folds, found, settings.seed)
    asked.json.write_text(json.dumps(report, indent=1))


def products(table: pl.DataFrame, shown: pl.Series, sample: int, seed: int) -> pl.DataFrame:
    """item_id, title, brand, description: all that were shown, and a sample of the others, by item_id."""
    table = table.select(item_id="upc_key", title="name", brand="manufacturer", description="short_description").unique(
        "item_id", keep="first", maintain_order=True
    )
    known = table["item_id"].is_in(shown.implode())
    others = table.filter(~known)
    return pl.concat([table.filter(known), others.sample(min(sample, len(others)), seed=seed)]).sort("item_id")


def no_reviews() -> pl.DataFrame:
    columns = ("item_id", "review_id", "title", "text")
    return pl.DataFrame(schema=dict.fromkeys(columns, pl.String) | {"timestamp": pl.Datetime("us", "UTC")})


def relevance(sessions: pl.DataFrame, item_ids: pl.Series) -> dict[str, np.ndarray]:
    """By query, (n_items,): 1 for its most clicked product."""
    clicks = sessions.filter("clicked").group_by("query", "upc_key").len()
    found = {}
    for (query,), own in clicks.group_by("query"):
        counted = dict(own.select("upc_key", "len").iter_rows())
        gains = np.array([counted.get(item_id, 0) for item_id in item_ids], dtype=np.float64)
        if gains.any():
            found[str(query)] = gains / gains.max()
    return found


def bm25(texts: list[str], queries: list[str]) -> np.ndarray:
    """(n_queries, n_items)"""
    words = CountVectorizer().fit(texts)
    weights = bm25_weight(words.transform(texts).tocoo(), K1=1.2, B=0.75).tocsr()
    return np.asarray((words.transform(queries) @ weights.T).todense())


def by_encoder(encoder: Encoder, texts: list[str], queries: list[str]) -> np.ndarray:
    """(n_queries, n_items)"""
    products_of = encoder.encode(queries) @ encoder.encode(texts).T
    return np.asarray(products_of)


def tune(
    folder: Path, fold: int, catalog: pl.DataFrame, sessions: pl.DataFrame, settings: Settings, progress: Progress
) -> Encoder:
    """The encoder tuned on the products and these sessions, in a workspace of its own."""
    workspace = Workspace(folder / f"fold-{fold}")
    if not workspace.lake.exists():
        base = Workspace(folder / "base")
        if not base.root.exists():
            base.root.mkdir(parents=True)
            encoder = load_encoder(settings.encoder)
            composed = item_texts(catalog, no_reviews(), settings.text, encoder.count_tokens)
            embed_texts(base, composed, settings.encoder, settings.embed, lambda done, n: progress("embed", done, n))
        shutil.copytree(base.root, workspace.root)
        catalog.write_parquet(workspace.root / "catalog.parquet")
        events(sessions).write_parquet(workspace.root / "events.parquet")
        paths = {name: (str((workspace.root / f"{name}.parquet").absolute()),) for name in ("catalog", "events")}
        ingest(workspace, SourceSpec("table", paths), settings.ingest, datetime.now(UTC), progress)
    report = finetune(workspace, settings, None, datetime.now(UTC), progress)
    print_report(report, workspace)
    named = settings.encoder.model_copy(update={"model": f"workspace:{report.name}", "sha256": ""})
    return load_encoder(located(workspace, named))


def events(sessions: pl.DataFrame) -> pl.DataFrame:
    """A search a session, and its clicks after it."""
    at = pl.lit(START) + pl.col("sess_id").cast(pl.Int64) * timedelta(minutes=1)
    told = sessions.select(
        user_id=pl.col("sess_id").cast(pl.String),
        session_id=pl.col("sess_id").cast(pl.String),
        item_id="upc_key",
        text="query",
        rank=pl.col("rank").cast(pl.Int64),
        clicked="clicked",
        timestamp=at,
    )
    searches = told.unique("session_id", keep="first", maintain_order=True).with_columns(
        item_id=pl.lit(None, dtype=pl.String), event_type=pl.lit("search")
    )
    clicks = told.filter("clicked").with_columns(
        text=pl.lit(None, dtype=pl.String),
        event_type=pl.lit("click"),
        timestamp=pl.col("timestamp") + (pl.col("rank") + 1) * timedelta(seconds=1),
    )
    return pl.concat([searches, clicks]).drop("rank", "clicked")


def ndcg_of(scores: np.ndarray, gains: np.ndarray) -> float:
    best = np.argsort(-scores, kind="stable")[:K]
    discount = 1.0 / np.log2(np.arange(2, K + 2))
    ideal = np.sort(gains)[::-1][:K]
    return float((gains[best] * discount[: len(best)]).sum() / (ideal * discount[: len(ideal)]).sum())


def show(
    name: str, queries: list[str], folds: dict[str, int], found: dict[str, np.ndarray], seed: int
) -> dict[str, object]:
    table = Table(title=f"NDCG@10, candidates: {name}", title_justify="left")
    table.add_column("query", no_wrap=True)
    for column in ("fold", *found):
        table.add_column(column, justify="right", no_wrap=True)
    for row, query in enumerate(queries):
        table.add_row(query, str(folds[query]), *(f"{own[row]:.4f}" for own in found.values()))
    table.add_row("mean", "", *(f"{own.mean():.4f}" for own in found.values()))
    console = Console()
    console.print(table)
    tuned, intervals = found["tuned encoder"], {}
    for other in ("BM25", "encoder"):
        intervals[other] = bootstrap_difference(tuned, found[other], seed)
        low, high = intervals[other]
        console.print(f"tuned encoder less {other}, 95 %: {low:+.4f} to {high:+.4f}", highlight=False)
    by_query = {method: dict(zip(queries, own.tolist(), strict=True)) for method, own in found.items()}
    return {"by_query": by_query, "less_ci95": intervals}


if __name__ == "__main__":
    main()

"""Search by text only: BM25, the encoder before fine-tuning, and the encoder fine-tuned on other searches.

`python tests/benchmarks/query_search.py --sessions F --products F [--folds 4] [--runs 1] [--sample 10000] [--config F]
--workspace W --json OUT` reads sessions (sess_id, query, rank, clicked, upc_key) and products (upc_key, name,
manufacturer, short_description). Queries are split into folds; for each fold, `recsys finetune` tunes the encoder on
the products and the sessions of the other folds' queries, so that it has seen none of the test queries. Each further
run uses another seed; the NDCG of each query is averaged over the runs. Every method reads the products' composed
texts, which fine-tuning also uses, and then their titles only.

The relevance of a product is its click rate when examined (`attraction`) or, alternatively, its number of clicks, which
depends on its position, too (`clicks`). There are two sets of candidates: the products shown in any session, and these
plus a random sample of all others, which are unjudged. Reports NDCG@10 of each query, with paired bootstrap intervals.
"""

from __future__ import annotations

import argparse
import json
import shutil
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
from implicit.nearest_neighbours import bm25_weight
from rich.console import Console
from rich.table import Table
from sklearn.feature_extraction.text import CountVectorizer

from features.encoder.encoder import Encoder, load_encoder
from features.encoder.selection import resolve_path
from features.text.documents import item_texts
from jobs.cli.finetune import print_report
from jobs.cli.options import configure_logging, shown_progress
from jobs.embedding.embed import embed_texts
from jobs.finetune.run import finetune
from jobs.ingest.files import ingest
from jobs.ingest.sources.spec import SourceSpec
from jobs.nightly.run import Progress
from recsys.config import Settings
from recsys.metrics import bootstrap_difference
from recsys.settings_file import load_settings
from recsys.workspace import Workspace

K = 10
PRIOR_GRADE, PRIOR_WEIGHT = 0.3, 100
START = datetime(2024, 1, 1, tzinfo=UTC)
"""Sessions have no times: they get one minute each, starting here."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=Path, required=True)
    parser.add_argument("--products", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--sample", type=int, default=10_000)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    configure_logging(verbose=False)
    settings = load_settings(options.config, {})
    keys = pl.col("query").cast(pl.String), pl.col("upc_key").cast(pl.String)
    sessions = pl.read_parquet(options.sessions).with_columns(*keys)
    shown = sessions["upc_key"].unique()
    catalog = products(pl.read_parquet(options.products), shown, options.sample, settings.seed)
    relevant = {name: by_query(gained(sessions), catalog["item_id"]) for name, gained in RELEVANCE.items()}
    queries = sorted(relevant["clicks"])
    order = np.random.default_rng(settings.seed).permutation(len(queries))
    folds = {queries[row]: place % options.folds for place, row in enumerate(order)}
    encoder = load_encoder(settings.encoder)
    read = {
        name: item_texts(table, no_reviews(), settings.text, encoder.count_tokens)["text"].to_list()
        for name, table in (("texts", catalog), ("titles", catalog.select("item_id", "title")))
    }
    scores = {}
    for name, texts in read.items():
        scores["BM25", name] = bm25(texts, queries)[None]
        scores["encoder", name] = by_encoder(encoder, texts, queries)[None]
        scores["tuned", name] = np.zeros((options.runs, len(queries), len(texts)), dtype=np.float32)
    with shown_progress() as progress:
        for run, fold in product(range(options.runs), range(options.folds)):
            others = sessions.filter(pl.col("query").replace_strict(folds, default=-1) != fold)
            seeded = settings.model_copy(update={"seed": settings.seed + run})
            tuned_encoder = tune(options.workspace, f"run-{run}-fold-{fold}", catalog, others, seeded, progress)
            rows = [row for row, query in enumerate(queries) if folds[query] == fold]
            for name, texts in read.items():
                scores["tuned", name][run, rows] = by_encoder(tuned_encoder, texts, [queries[row] for row in rows])
    is_shown = catalog["item_id"].is_in(shown.implode()).to_numpy()
    report = {}
    for name, candidates in (("shown", is_shown), ("all", np.ones(len(catalog), dtype=bool))):
        for measure, gains in relevant.items():
            judged = np.stack([gains[query][candidates] for query in queries])
            by_method = {method: mean_ndcg(runs[:, :, candidates], judged) for method, runs in scores.items()}
            results = show(f"{name}, by {measure}", queries, folds, by_method, settings.seed)
            report[f"{name}, by {measure}"] = {"n_candidates": int(candidates.sum())} | results
    options.json.write_text(json.dumps(report, indent=1))


def products(table: pl.DataFrame, shown: pl.Series, sample: int, seed: int) -> pl.DataFrame:
    """item_id, title, brand, description: all shown products and a sample of the others, sorted by item_id."""
    table = table.select(item_id="upc_key", title="name", brand="manufacturer", description="short_description").unique(
        "item_id", keep="first", maintain_order=True
    )
    known = table["item_id"].is_in(shown.implode())
    others = table.filter(~known)
    return pl.concat([table.filter(known), others.sample(min(sample, len(others)), seed=seed)]).sort("item_id")


def no_reviews() -> pl.DataFrame:
    columns = ("item_id", "review_id", "title", "text")
    return pl.DataFrame(schema=dict.fromkeys(columns, pl.String) | {"timestamp": pl.Datetime("us", "UTC")})


def attraction(sessions: pl.DataFrame) -> pl.DataFrame:
    """query, upc_key, gain: clicks by examinations, with a prior of `PRIOR_WEIGHT` examinations.

    All products down to the last click count as examined (the simplified dynamic Bayesian network of Chapelle and Zhang
    2009, "A dynamic Bayesian network click model for web search ranking"). The prior is that of the source of the
    sessions (Grainger, Turnbull and Irwin, "AI-Powered Search", chapter 11).
    """
    last = sessions.filter("clicked").group_by("sess_id").agg(last=pl.col("rank").max())
    examined = sessions.join(last, on="sess_id").filter(pl.col("rank") <= pl.col("last"))
    clicked = pl.col("clicked").sum() + PRIOR_GRADE * PRIOR_WEIGHT
    return examined.group_by("query", "upc_key").agg(gain=clicked / (pl.len() + PRIOR_WEIGHT))


def clicks(sessions: pl.DataFrame) -> pl.DataFrame:
    """query, upc_key, gain: number of clicks."""
    return sessions.filter("clicked").group_by("query", "upc_key").agg(gain=pl.len().cast(pl.Float64))


RELEVANCE = {"attraction": attraction, "clicks": clicks}


def by_query(gains: pl.DataFrame, item_ids: pl.Series) -> dict[str, np.ndarray]:
    """By query, (n_items,): the gain of each product, 1 for the query's best, 0 for products that were never shown."""
    gains_by_query = {}
    for (query,), of_query in gains.group_by("query"):
        counted = dict(of_query.select("upc_key", "gain").iter_rows())
        of_items = np.array([counted.get(item_id, 0.0) for item_id in item_ids])
        if of_items.any():
            gains_by_query[str(query)] = of_items / of_items.max()
    return gains_by_query


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
    folder: Path, name: str, catalog: pl.DataFrame, sessions: pl.DataFrame, settings: Settings, progress: Progress
) -> Encoder:
    """The encoder fine-tuned on the products and these sessions, in a temporary workspace."""
    workspace = Workspace(folder / name)
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
    return load_encoder(resolve_path(workspace, named))


def events(sessions: pl.DataFrame) -> pl.DataFrame:
    """A search per session, followed by its clicks."""
    at = pl.lit(START) + pl.col("sess_id").cast(pl.Int64) * timedelta(minutes=1)
    shown = sessions.select(
        user_id=pl.col("sess_id").cast(pl.String),
        session_id=pl.col("sess_id").cast(pl.String),
        item_id="upc_key",
        text="query",
        rank=pl.col("rank").cast(pl.Int64),
        clicked="clicked",
        timestamp=at,
    )
    searches = shown.unique("session_id", keep="first", maintain_order=True).with_columns(
        item_id=pl.lit(None, dtype=pl.String), event_type=pl.lit("search")
    )
    clicks = shown.filter("clicked").with_columns(
        text=pl.lit(None, dtype=pl.String),
        event_type=pl.lit("click"),
        timestamp=pl.col("timestamp") + (pl.col("rank") + 1) * timedelta(seconds=1),
    )
    return pl.concat([searches, clicks]).drop("rank", "clicked")


def mean_ndcg(runs: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """(n_queries,) over the runs. runs: (n_runs, n_queries, n_items) scores; gains: (n_queries, n_items)."""
    return np.array([[ndcg_of(*pair) for pair in zip(scores, gains, strict=True)] for scores in runs]).mean(axis=0)


def ndcg_of(scores: np.ndarray, gains: np.ndarray) -> float:
    best = np.argsort(-scores, kind="stable")[:K]
    discount = 1.0 / np.log2(np.arange(2, K + 2))
    ideal = np.sort(gains)[::-1][:K]
    return float((gains[best] * discount[: len(best)]).sum() / (ideal * discount[: len(ideal)]).sum())


def show(
    name: str, queries: list[str], folds: dict[str, int], ndcgs: dict[tuple[str, str], np.ndarray], seed: int
) -> dict[str, object]:
    """ndcgs: by method and text, the NDCG of each query."""
    table = Table(title=f"NDCG@10, candidates: {name}", title_justify="left")
    table.add_column("query", no_wrap=True)
    table.add_column("fold", justify="right")
    for method, read in ndcgs:
        table.add_column(f"{method}\n{read}", justify="right", no_wrap=True)
    for row, query in enumerate(queries):
        table.add_row(query, str(folds[query]), *(f"{figures[row]:.3f}" for figures in ndcgs.values()))
    table.add_row("mean", "", *(f"{figures.mean():.4f}" for figures in ndcgs.values()))
    console = Console(width=110)
    console.print(table)
    intervals = {}
    for read in dict.fromkeys(read for _, read in ndcgs):
        for other, others_read in ndcgs:
            if other == "tuned":
                continue
            low, high = bootstrap_difference(ndcgs["tuned", read], ndcgs[other, others_read], seed)
            intervals[f"tuned, {read} less {other}, {others_read}"] = [low, high]
            text = f"tuned on {read} less {other} on {others_read}"
            console.print(f"{text}, 95 %: {low:+.4f} to {high:+.4f}", highlight=False)
    by_method = {
        f"{method}, {read}": dict(zip(queries, figures.tolist(), strict=True))
        for (method, read), figures in ndcgs.items()
    }
    return {"by_query": by_method, "ci95": intervals}


if __name__ == "__main__":
    main()

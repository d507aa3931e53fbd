"""Time and memory of one list by size of the catalogue, with exact search and with an approximate index.

python tests/benchmarks/catalogue_size.py [--sizes 12000,200000,1000000] [--index] [--json OUT]

Items are drawn around 200 centres, with arrays of the shapes that a release has: 128 dimensions of the item space, 384
of text, 256 whitened, 64 factors, 50 neighbours an item. Shoppers have histories of 20 items; half have searched.
"""

import argparse
import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import polars as pl
import pyarrow as pa
import scipy.sparse as sp
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from storefronts import NOON, no_item_features, sequence_model
from threadpoolctl import threadpool_limits

import recsys.scorer
from recsys.candidates import Factors
from recsys.config import InteractionsSettings, NewItemsSettings, RecommendSettings
from recsys.fusion import Fusion
from recsys.hardware import peak_memory_mb
from recsys.model import Model
from recsys.properties import Properties
from recsys.query import Query, Signal
from recsys.recommend import Recommender
from recsys.repeats import Repeats
from recsys.top_k import top_k
from recsys.users import HISTORY, users_from_table
from recsys.whitening import Whitening, unit_rows

N_CENTRES, N_NEIGHBOURS, N_HISTORY, N_LISTS, DEPTH = 200, 50, 20, 60, 100
DIM, TEXT_DIM, WHITENED_DIM, FACTORS_DIM = 128, 384, 256, 64


ENOUGH, MAX_EF, REFINED = 0.98, 6_400, 2
"""The recall@100 that an index must reach, the largest `ef` that is tried for it, and the refine factor: how many times
the requested number is compared by exact vectors."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="12000,200000")
    parser.add_argument("--index", action="store_true", help="also LanceDB's IVF_HNSW_SQ on the item space")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for size in map(int, options.sizes.split(",")):
        rows.append(measured(size, options.index))
        gc.collect()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(
        title="One list of 10 in ms, one thread; the nearest 100 of the item space exactly and by an index",
        box=SIMPLE_HEAD,
    )
    for name in columns:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*(f"{row[name]:,.3g}" if row[name] < 100 else f"{row[name]:,.0f}" for name in columns))
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps({"rows": rows}, indent=2))
    return 0


def measured(n_items: int, index: bool) -> dict[str, float]:
    rng = np.random.default_rng(0)
    model = drawn_model(n_items, rng)
    recsys.scorer.CACHED_BYTES = 0  # type: ignore[misc]  # every list is computed: practically no scores of recent shoppers are cached
    recommender = recommender_of(model)
    n_bytes = sum(array.nbytes for array in model._arrays().values()) + model.sequence.item_vectors.nbytes
    row: dict[str, float] = {"items": n_items, "B/item": n_bytes / n_items}
    queries = [drawn_query(model, rng, searched=number % 2 == 0) for number in range(N_LISTS)]
    with threadpool_limits(limits=1, user_api="blas"):
        row["p50"], row["p99"] = timed([lambda query=query: recommender.recommend([query]) for query in queries])
        vectors = model.sequence.item_vectors
        sought = unit_rows(vectors[rng.integers(0, n_items, N_LISTS)] + noise(rng, (N_LISTS, DIM)))
        row["space"], _ = timed([lambda query=query: top_k(vectors @ query, DEPTH) for query in sought])
        if index:
            row |= measured_index(vectors, sought)
    row["peak MB"] = peak_memory_mb()
    return row


def measured_index(vectors: np.ndarray, queries: np.ndarray) -> dict[str, float]:
    """Time and recall of a search for the nearest 100 with an index, at the smallest `ef`, by doubling, that reaches
    `ENOUGH` recall."""
    with tempfile.TemporaryDirectory() as folder:
        array = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        rows = pa.array(np.arange(len(vectors)))
        table = lancedb.connect(folder).create_table("items", pa.table({"row": rows, "vector": array}))
        start = time.perf_counter()
        partitions = max(1, len(vectors) // 50_000)
        table.create_index(metric="dot", index_type="IVF_HNSW_SQ", num_partitions=partitions)
        built_s = time.perf_counter() - start

        def search(query: np.ndarray, ef: int) -> np.ndarray:
            request: Any = table.search(query)  # declared as more general than it is
            request = request.distance_type("dot").nprobes(partitions).ef(ef).limit(DEPTH)
            # The index stores int8 vectors: refine compares the best matches by exact vectors.
            request = request.refine_factor(REFINED)
            rows: np.ndarray = request.select(["row", "_distance"]).to_arrow()["row"].to_numpy()
            return rows

        recall, ef = 0.0, DEPTH
        while recall < ENOUGH and ef < MAX_EF:
            ef *= 2
            of_query = [np.intersect1d(search(query, ef), top_k(vectors @ query, DEPTH)) for query in queries]
            recall = float(np.mean([len(matches) for matches in of_query])) / DEPTH
        p50_ms, _ = timed([lambda query=query: search(query, ef) for query in queries])
    return {"index": p50_ms, "recall": recall, "ef": ef, "build s": built_s}


def timed(calls: list[Callable[[], object]]) -> tuple[float, float]:
    """p50 and p99, ms, of the calls, after one untimed round."""
    taken_ms = []
    for number, call in enumerate([*calls, *calls]):
        start = time.perf_counter()
        call()
        if number >= len(calls):
            taken_ms.append(1000 * (time.perf_counter() - start))
    return float(np.percentile(taken_ms, 50)), float(np.percentile(taken_ms, 99))


def noise(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    drawn: np.ndarray = 0.7 * rng.standard_normal(shape, dtype=np.float32) / np.sqrt(shape[1])
    return drawn.astype(np.float32)


def drawn_model(n_items: int, rng: np.random.Generator) -> Model:
    centre = rng.integers(0, N_CENTRES, n_items)

    def around(dim: int) -> np.ndarray:
        centres = unit_rows(rng.standard_normal((N_CENTRES, dim), dtype=np.float32))
        return unit_rows(centres[centre] + noise(rng, (n_items, dim)))

    neighbours = rng.integers(0, n_items, n_items * N_NEIGHBOURS).astype(np.int32)
    weights = rng.random(n_items * N_NEIGHBOURS, dtype=np.float32)
    indptr = np.arange(0, n_items * N_NEIGHBOURS + 1, N_NEIGHBOURS)
    popularity = rng.pareto(1.2, n_items).astype(np.float32)
    return Model(
        item_ids=pl.Series("item_id", [f"i{row:08d}" for row in range(n_items)]),
        sequence=sequence_model(around(DIM), text_dim=WHITENED_DIM),
        linear=sp.csr_matrix((weights, neighbours, indptr), shape=(n_items, n_items)),
        factors=Factors(around(FACTORS_DIM), regularization=0.05, alpha=10.0),
        text=around(TEXT_DIM),
        whitened=around(WHITENED_DIM),
        whitening=Whitening(np.zeros(TEXT_DIM, np.float32), np.eye(TEXT_DIM, WHITENED_DIM, dtype=np.float32)),
        popularity=popularity,
        trend=popularity,
        repeats=Repeats(),
        repeat_rates=np.zeros(n_items, dtype=np.float32),
        promise=np.zeros(n_items, dtype=np.float32),
        item_features=no_item_features(n_items),
        fusion=Fusion(),
        ranker=None,
    )


def recommender_of(model: Model) -> Recommender:
    n_items = len(model.item_ids)
    nobody = pl.DataFrame(schema={"user_id": pl.String, "history": HISTORY})
    nothing = np.zeros((0, TEXT_DIM), dtype=np.float32)
    items = pl.DataFrame(
        {"title": [None] * n_items, "available": [True] * n_items}, schema_overrides={"title": pl.String}
    )
    users = users_from_table(nobody, nothing, nothing, model.item_ids)
    return Recommender(
        model, users, Properties.of_table(items), RecommendSettings(), NewItemsSettings(), InteractionsSettings()
    )


def drawn_query(model: Model, rng: np.random.Generator, *, searched: bool) -> Query:
    rows = rng.integers(0, len(model.item_ids), N_HISTORY)
    session = [Signal("view", NOON, item_id=model.item_ids[int(row)]) for row in rows]
    if searched:
        session.append(Signal("search", NOON, text_vector=model.text[rows[0]], text="words"))
    return Query(session=tuple(session))


if __name__ == "__main__":
    sys.exit(main())

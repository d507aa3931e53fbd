"""CPU time that each rule adds to one list, and the CPU time of a filter's mask alone.

Measures CPU time of the calling thread, so that other activity on the machine does not count.

python tests/benchmarks/slate_rules.py --workspace out/demo [--times 6] [--json OUT]

--times repeats the catalogue: with 6, 2,000 items become 12,000, each with its own vectors, reviews and purchases.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import scipy.sparse as sp
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from features.store.release import ITEM_COLUMNS, SETTINGS_FILE, load_release
from features.store.store import Store
from recsys import config
from recsys.cooccurrence import CoPurchases
from recsys.explain import ExplanationData
from recsys.filters import And, Filter, HasAttribute, InCategory, Not, OfBrand, Or, PriceBetween, matching
from recsys.model import Model
from recsys.properties import Properties
from recsys.query import Query
from recsys.recommend import Recommender
from recsys.release_files import QUOTES_FILE, VECTORS_FILE
from recsys.review_quotes import Evidence
from recsys.rules import Boost, Pin, Rules
from recsys.workspace import Workspace

N_CALLS = 300


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    workspace = Workspace(options.workspace)
    with threadpool_limits(limits=1, user_api="blas"):
        recommender = shop(workspace, options.times)
        users = [user for user in recommender.users.rows if recommender.users.history(user).weights.any()][:N_CALLS]
        rows = interleaved(recommender, users)
        masks = [
            timed_mask(name, item_filter, recommender.properties) for name, item_filter in filters(recommender).items()
        ]
    model_dir = Store(workspace).open().model_dir
    sizes = {path.name: path.stat().st_size for path in model_dir.iterdir() if path.is_file()}
    explanation_bytes = sum(
        size for name, size in sizes.items() if name in (QUOTES_FILE, VECTORS_FILE) or "together" in name
    )
    title = f"One list of 10 from {recommender.n_items:,} items, one thread"
    show(title, ("call", "p50 ms", "p99 ms"), rows)
    show("A filter's mask alone", ("filter", "p50 ms", "p99 ms"), masks)
    Console().print(
        f"data of explanations: {explanation_bytes / 2**20:.1f} of {sum(sizes.values()) / 2**20:.1f} MiB of model files"
    )
    if options.json:
        content = {"n_items": recommender.n_items, "rows": rows, "masks": masks, "explanation_bytes": explanation_bytes}
        options.json.write_text(json.dumps(content, indent=2))
    return 0


def filters(recommender: Recommender) -> dict[str, Filter]:
    category = recommender.properties.category.names[0].split(" > ")[0]
    brands = recommender.properties.brand.names
    two = And((InCategory((category,)), PriceBetween(most=80.0)))
    pairs = (And((OfBrand((brands[n % len(brands)],)), PriceBetween(n, 10.0 + n))) for n in range(24))
    fifty = Or((*pairs, HasAttribute("colour", ("red",)), Not(HasAttribute("size", ("M",)))))
    return {"2 conditions": two, "50 conditions": fifty}


def interleaved(recommender: Recommender, users: Sequence[str]) -> list[dict[str, object]]:
    """All kinds of calls in turns, so that other activity on the machine affects all of them alike."""
    by_name = filters(recommender)
    pins = (Pin(recommender.item_ids[0], 3),)
    mixed = Rules(
        by_name["2 conditions"], (Boost(by_name["50 conditions"], 2.0),), pins, 0.3, 3, 2, collapse_variants=True
    )
    calls: dict[str, Callable[[str], Query]] = {
        "plain": lambda user: Query(user),
        "filter, 2 conditions": lambda user: Query(user, rules=Rules(by_name["2 conditions"])),
        "filter, 50 conditions": lambda user: Query(user, rules=Rules(by_name["50 conditions"])),
        "boost": lambda user: Query(user, rules=Rules(boosts=(Boost(by_name["2 conditions"], 2.0),))),
        "diversity": lambda user: Query(user, rules=Rules(diversity=0.3)),
        "limits, variants": lambda user: Query(
            user, rules=Rules(max_per_category=3, max_per_brand=2, collapse_variants=True)
        ),
        "explain": lambda user: Query(user, explain=True),
        "all rules": lambda user: Query(user, rules=mixed, explain=True),
        "plain, 1,000 items": lambda user: Query(user, count=1000),
        "diversity, limits, 1,000 items": lambda user: Query(
            user, count=1000, rules=Rules(diversity=0.3, max_per_category=40, collapse_variants=True)
        ),
    }
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for place, user in enumerate(users):
        for name, query in calls.items():
            if "1,000" in name and place % 10:
                continue
            request = query(user)
            start = time.thread_time()
            recommender.recommend([request])
            taken[name].append(1000 * (time.thread_time() - start))
    return [summary(name, times_ms[1:]) for name, times_ms in taken.items()]


def timed_mask(name: str, item_filter: Filter, properties: Properties) -> dict[str, object]:
    taken = []
    for _ in range(100):
        start = time.thread_time()
        matching(item_filter, properties)
        taken.append(1000 * (time.thread_time() - start))
    return summary(name, taken[1:])


def summary(name: str, taken_ms: Sequence[float]) -> dict[str, object]:
    p50, p99 = np.percentile(taken_ms, [50, 99])
    return {"call": name, "p50_ms": float(p50), "p99_ms": float(p99)}


def show(title: str, columns: Sequence[str], rows: Sequence[dict[str, object]]) -> None:
    table = Table(title=title, box=SIMPLE_HEAD)
    for place, name in enumerate(columns):
        table.add_column(name, justify="right" if place else "left")
    for row in rows:
        table.add_row(str(row["call"]), f"{row['p50_ms']:.2f}", f"{row['p99_ms']:.2f}")
    Console().print(table)


def shop(workspace: Workspace, times: int) -> Recommender:
    """The recommender of the current release, its catalogue repeated `times` times."""
    loaded = load_release(workspace).recommender
    if times == 1:
        return loaded
    table = Store(workspace).open().table("items", list(ITEM_COLUMNS))
    settings_json = (Store(workspace).open().model_dir / SETTINGS_FILE).read_text()
    settings = config.read_stored(settings_json)
    properties = Properties.of_table(pl.concat([table] * times))
    properties.prepare()
    return Recommender(
        repeated_model(loaded, times),
        loaded.users,
        properties,
        settings.recommend,
        settings.new_items,
        settings.interactions,
        settings.embed.browsing_decay,
        settings.ranking.pool,
        repeated_explanations(loaded.facts, times),
    )


def repeated_model(loaded: Recommender, times: int) -> Model:
    """The model for a catalogue repeated `times` times, with some noise on the vectors."""
    model = loaded.model
    rng = np.random.default_rng(0)

    def tiled(array: np.ndarray) -> np.ndarray:
        copies = np.concatenate([array] * times)
        noise = rng.normal(scale=0.02, size=copies.shape) if copies.ndim == 2 else 0.0
        return (copies + noise).astype(array.dtype)

    item_ids = [f"{item_id}-{copy}" if copy else item_id for copy in range(times) for item_id in loaded.item_ids]
    assert len(item_ids) == times * loaded.n_items
    return replace(
        model,
        item_ids=pl.Series("item_id", item_ids),
        sequence=replace(model.sequence, item_vectors=tiled(model.sequence.item_vectors)),
        linear=blocks(model.linear, times),
        factors=replace(model.factors, item_factors=tiled(model.factors.item_factors)),
        **{name: tiled(getattr(model, name)) for name in ("text", "whitened", "item_features")},
        **{name: tiled(getattr(model, name)) for name in ("popularity", "trend", "repeat_rates", "promise")},
    )


def repeated_explanations(facts: ExplanationData, times: int) -> ExplanationData:
    evidence = facts.evidence
    indptr = np.concatenate([evidence.indptr[:-1] + copy * evidence.indptr[-1] for copy in range(times)])
    repeated = Evidence(
        np.append(indptr, times * evidence.indptr[-1]),
        pl.concat([evidence.quotes] * times),
        np.concatenate([evidence.vectors] * times),
    )
    together = CoPurchases(blocks(facts.together.shoppers, times), blocks(facts.together.strength, times))
    return ExplanationData(together, repeated)


def blocks(matrix: sp.csr_matrix, times: int) -> sp.csr_matrix:
    """Block-diagonal: `matrix`, `times` times."""
    return sp.csr_matrix(sp.block_diag([matrix] * times, format="csr"))


if __name__ == "__main__":
    sys.exit(main())

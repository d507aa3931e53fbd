"""Latency of one list inside the serving process, beside `recommend` of implicit on the same shop.

python tests/benchmarks/recommend_latency.py --workspace out/demo [--json OUT]
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from implicit.als import AlternatingLeastSquares
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from features.store.release import load_release
from recsys.query import Query
from recsys.recommend import Recommender
from recsys.workspace import Workspace

N_USERS = 500


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    recommender = load_release(Workspace(options.workspace)).recommender
    users = [user for user in recommender.users.rows if recommender.users.history(user).weights.any()][:N_USERS]
    item_id = recommender.item_ids[0]
    sentence = recommender.model.text[0]
    with threadpool_limits(limits=1, user_api="blas"):
        peer = als_peer(recommender)
        rows = [
            timed("recsys, known shopper", users, lambda user: recommender.recommend([Query(user_id=user)])),
            timed("recsys, item page", users, lambda user: recommender.recommend([Query(user, item_ids=(item_id,))])),
            timed("recsys, sentence", users, lambda _: recommender.recommend([Query(text_vector=sentence)])),
            timed("recsys, similar items", users, lambda _: recommender.similar(item_id, 10)),
            timed("implicit ALS, known shopper", users, peer),
        ]
    table = Table(title=f"One list of 10 from {recommender.n_items:,} items, one thread", box=SIMPLE_HEAD)
    for name in ("call", "p50 ms", "p99 ms"):
        table.add_column(name, justify="left" if name == "call" else "right")
    for row in rows:
        table.add_row(str(row["call"]), f"{row['p50_ms']:.2f}", f"{row['p99_ms']:.2f}")
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps({"n_items": recommender.n_items, "rows": rows}, indent=2))
    return 0


def timed(name: str, users: list[str], call: Callable[[str], object]) -> dict[str, object]:
    call(users[0])
    taken_ms = []
    for user in users:
        start = time.perf_counter()
        call(user)
        taken_ms.append(1000 * (time.perf_counter() - start))
    return {"call": name, "p50_ms": float(np.percentile(taken_ms, 50)), "p99_ms": float(np.percentile(taken_ms, 99))}


def als_peer(recommender: Recommender) -> Callable[[str], object]:
    """`recommend` of implicit, with fold-in of the same history and the same number of factors."""
    users, entries = recommender.users, recommender.users.entries
    liked = entries.weights > 0
    owners = np.repeat(np.arange(len(users.rows)), np.diff(users.indptr))
    histories = sp.csr_matrix(
        (entries.weights[liked], (owners[liked], entries.item_rows[liked])),
        shape=(len(users.rows), recommender.n_items),
    )
    model = AlternatingLeastSquares(factors=recommender.model.factors.item_factors.shape[1], iterations=3)
    model.fit(histories, show_progress=False)

    def recommend(user: str) -> object:
        row = users.rows[user]
        return model.recommend(0, histories[row], N=10, recalculate_user=True)

    return recommend


if __name__ == "__main__":
    sys.exit(main())

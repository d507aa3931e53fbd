"""Models of other libraries, each tuned on validation and refitted on all events before the test.

`python -I models.py FOLDER MODEL SEED OUT` runs one of them in the environment of `requirements.txt`, whose versions
differ from ours (NumPy 1), so nothing of the project is imported here. FOLDER is written by `BenchData.save`, with the
users to tune on in `validation_users.parquet`; OUT.npz and OUT.json are as `jobs.bench.models` writes them.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

# A peer's library is imported by the function that fits it, so that the rest can be tested without the peers.

K: Final = 10
LISTED: Final = 20
"""Length of the lists: longer than `K`, to see which items tie with the target."""

MOST_EVENTS: Final = 50
"""Maximum length of a history, as in our own sequence model."""

Chosen = Mapping[str, Any]

PeerLists = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Recommendations in any order, (n,) each: user, item, score."""

Recommend = Callable[[np.ndarray], PeerLists]
"""Users to at most `LISTED` recommendations for each."""


@dataclass(frozen=True)
class Side:
    """One side of the split, users and items by number.

    users, items, times: (n_pairs,), each pair once at its last event, oldest first; times in microseconds.
    target_users: (n_targets,) the users to rank for, -1 for one without a pair; target_items: (n_targets,) their
    targets. hide: whether known items are excluded from the lists.
    """

    users: np.ndarray
    items: np.ndarray
    times: np.ndarray
    target_users: np.ndarray
    target_items: np.ndarray
    hide: bool


@dataclass(frozen=True)
class Lists:
    """items: (n_targets, LISTED), best first, padded with -1; scores: likewise, padded with -inf."""

    items: np.ndarray
    scores: np.ndarray

    def ranks(self, targets: np.ndarray) -> np.ndarray:
        """(n_targets,) 0-based, ties against the target; `LISTED` if the target is not in the list."""
        is_target = (self.items == targets[:, None]) & (self.items >= 0)
        target_scores = np.where(is_target, self.scores, np.inf).min(axis=1)
        at_least = (self.scores >= target_scores[:, None]).sum(axis=1)
        ranks: np.ndarray = np.where(is_target.any(axis=1), at_least - 1, LISTED)
        return ranks


@dataclass(frozen=True)
class Peer:
    """`fit` learns from a side, with one entry of `grid` and a seed."""

    fit: Callable[[Side, Chosen, int], Recommend]
    grid: Sequence[Chosen]


def read_side(folder: Path, name: str, targets: str) -> Side:
    """name: validation or test; targets: file of the targets. Searches do not count as interactions."""
    item_ids = pq.read_table(folder / "items.parquet", columns=["item_id"])["item_id"].cast("string").combine_chunks()
    events = pq.read_table(folder / f"{name}_events.parquet", columns=["user_id", "item_id", "timestamp", "event_type"])
    events = events.filter(pc.not_equal(events["event_type"].cast("string"), "search"))
    event_items = _positions(events["item_id"], item_ids)
    user_ids = pc.unique(events["user_id"].cast("string"))
    event_users = _positions(events["user_id"], user_ids)
    times = events["timestamp"].cast("int64").to_numpy()
    newest = last_of_pairs(event_users, event_items, times)
    pairs = pq.read_table(folder / targets, columns=["user_id", "item_id"])
    return Side(
        event_users[newest],
        event_items[newest],
        times[newest],
        _positions(pairs["user_id"], user_ids),
        _positions(pairs["item_id"], item_ids),
        hide=not json.loads((folder / "meta.json").read_text()).get("repeats", False),
    )


def _positions(ids: Any, universe: Any) -> np.ndarray:
    """(n,) int64 positions in `universe`, -1 for null and for unknown ids."""
    places = pc.index_in(ids.cast("string"), value_set=universe, skip_nulls=True)
    return places.fill_null(-1).to_numpy().astype(np.int64)


def last_of_pairs(users: np.ndarray, items: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Positions of the last event of each pair, oldest first, without events that have no item (-1)."""
    order = np.lexsort((times, items, users))
    order = order[items[order] >= 0]
    pairs = np.stack((users[order], items[order]), axis=1)
    is_last = np.append((pairs[1:] != pairs[:-1]).any(axis=1), True)[: len(order)]
    newest = order[is_last]
    return newest[np.lexsort((items[newest], users[newest], times[newest]))]


def lists_of(recommended: PeerLists, users_to_rank: np.ndarray) -> Lists:
    """A list for each of `users_to_rank`, best first; empty for a user without recommendations."""
    users, items, scores = (column[np.isfinite(recommended[2])] for column in recommended)
    order = np.lexsort((-scores, users))
    users, items, scores = users[order], items[order], scores[order]
    starts = np.searchsorted(users, users_to_rank, side="left")
    lengths = np.where(users_to_rank >= 0, np.searchsorted(users, users_to_rank, side="right") - starts, 0)
    places = starts[:, None] + np.arange(LISTED)
    is_listed = np.arange(LISTED) < lengths[:, None]
    places = np.where(is_listed, places, 0)
    padded_items, padded_scores = np.append(items, -1), np.append(scores, -np.inf)
    return Lists(np.where(is_listed, padded_items[places], -1), np.where(is_listed, padded_scores[places], -np.inf))


def ndcg(ranks: np.ndarray) -> float:
    """Mean NDCG@K of one target per user."""
    return float(np.where(ranks < K, 1.0 / np.log2(ranks + 2.0), 0.0).mean())


def fit_sasrec(side: Side, chosen: Chosen, seed: int) -> Recommend:
    import pytorch_lightning
    from rectools.models import SASRecModel

    pytorch_lightning.seed_everything(seed, verbose=False)
    lengths = np.bincount(side.users)
    # every history is padded to this length, and padding costs as much time as events do
    longest = int(np.clip(np.quantile(lengths[lengths > 1], 0.95), 2, MOST_EVENTS)) if (lengths > 1).any() else 2
    model = SASRecModel(**chosen, session_max_len=longest, deterministic=True)
    dataset = _rectools_dataset(side)
    model.fit(dataset)
    return partial(_rectools_lists, model, dataset, side.hide)


def fit_als(side: Side, chosen: Chosen, seed: int) -> Recommend:
    from rectools.models import ImplicitALSWrapperModel
    from threadpoolctl import threadpool_limits

    model = ImplicitALSWrapperModel.from_config({"model": {**chosen, "random_state": seed}})
    dataset = _rectools_dataset(side)
    with threadpool_limits(limits=1, user_api="blas"):  # implicit has threads of its own; a busy pool stalls them
        model.fit(dataset)
    return partial(_rectools_lists, model, dataset, side.hide)


def _rectools_dataset(side: Side) -> Any:
    import pandas as pd
    from rectools.dataset import Dataset

    columns = {"user_id": side.users, "item_id": side.items, "weight": 1.0}
    return Dataset.construct(pd.DataFrame({**columns, "datetime": side.times.astype("datetime64[us]")}))


def _rectools_lists(model: Any, dataset: Any, hide: bool, users: np.ndarray) -> PeerLists:
    # SASRec drops users with one item, and items that only such users have; these users get no list.
    recommended = model.recommend(users, dataset, LISTED, filter_viewed=hide, on_unsupported_targets="ignore")
    return recommended["user_id"].to_numpy(), recommended["item_id"].to_numpy(), recommended["score"].to_numpy()


def fit_item_item(side: Side, chosen: Chosen, seed: int) -> Recommend:  # noqa: ARG001 - nothing is drawn
    import pandas as pd
    from lenskit.basic import TrainingItemsCandidateSelector
    from lenskit.batch import recommend
    from lenskit.data import from_interactions_df
    from lenskit.knn import ItemKNNScorer
    from lenskit.pipeline import RecPipelineBuilder

    builder = RecPipelineBuilder()
    builder.scorer(ItemKNNScorer(feedback="implicit", **chosen))
    builder.candidate_selector(TrainingItemsCandidateSelector, {"exclude": "query" if side.hide else None})
    builder.ranker(n=LISTED)
    pipeline = builder.build()
    pipeline.train(from_interactions_df(pd.DataFrame({"user_id": side.users, "item_id": side.items})))

    def lists(users: np.ndarray) -> PeerLists:
        recommended = [
            (key.user_id, listed.ids(), listed.scores()) for key, listed in recommend(pipeline, users, n_jobs=1)
        ]
        owners = np.repeat([user for user, _, _ in recommended], [len(items) for _, items, _ in recommended])
        return (
            owners,
            np.concatenate([items for _, items, _ in recommended]),
            np.concatenate([scores for _, _, scores in recommended]),
        )

    return lists


PEERS: Final[Mapping[str, Peer]] = {
    "RecTools SASRec": Peer(
        fit_sasrec,
        [
            {"loss": loss, "n_negatives": 64, "n_factors": 64, "batch_size": 32, "lr": 0.002, "epochs": 15}
            for loss in ("gBCE", "sampled_softmax")
        ],
    ),
    "RecTools ALS": Peer(
        fit_als,
        [
            {"factors": factors, "alpha": alpha, "regularization": strength}
            for factors in (64, 128)
            for alpha in (10.0, 40.0)
            for strength in (0.01, 10.0)
        ],
    ),
    "LensKit item-item": Peer(
        fit_item_item, [{"max_nbrs": most, "min_sim": least} for most in (5, 20, 100) for least in (1e-6, 0.05)]
    ),
}
"""Name -> peer, in the order of the table."""


def run(peer: Peer, folder: Path, seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """ranks and shown, as in `jobs.bench.models.Answer`, and the figures to write."""
    before = read_side(folder, "validation", "validation_users.parquet")
    reached = [ndcg(_listed(peer.fit(before, chosen, seed), before).ranks(before.target_items)) for chosen in peer.grid]
    best = int(np.argmax(reached))  # the first of equal ones
    side = read_side(folder, "test", "test_targets.parquet")
    started = monotonic()
    recommend = peer.fit(side, peer.grid[best], seed)
    fit_s = monotonic() - started
    lists = _listed(recommend, side)
    chosen = {**peer.grid[best], "validation": round(reached[best], 4)}
    figures = {"fit_s": fit_s, "peak_mb": _peak_mb(), "chosen": chosen}
    return lists.ranks(side.target_items), lists.items[:, :K], figures


def _listed(recommend: Recommend, side: Side) -> Lists:
    known = side.target_users[side.target_users >= 0]
    nothing = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0)
    return lists_of(recommend(known) if len(known) else nothing, side.target_users)


def _peak_mb() -> float:
    """Peak resident memory of this process, MiB. Not `ru_maxrss`, which may be that of the parent process."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if "VmHWM" in line) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)


def main(arguments: Sequence[str]) -> int:
    folder, name, seed, out = arguments
    ranks, shown, figures = run(PEERS[name], Path(folder), int(seed))
    np.savez(f"{out}.npz", ranks=ranks, shown=shown)
    Path(f"{out}.json").write_text(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

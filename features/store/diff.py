"""What differs between two releases: figures, settings, items, neighbourhoods of the item space, and lists.

Two spaces that were trained apart are turned against each other, so vectors are compared by who is near whom, never by
their coordinates. Nothing here prints.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from pydantic import TypeAdapter
from pydantic_core import to_json

from features.store.release import LoadedRelease
from recsys.batch_scoring import slates
from recsys.config import Settings
from recsys.embedding_health import nearest, sampled_rows
from recsys.errors import StoreError
from recsys.interactions import positions
from recsys.query import Query
from recsys.recommend import Recommender
from recsys.whitening import unit_rows

NEIGHBOURS: Final = 10
SAMPLE: Final = 2000
"""So many items are asked for their neighbours among all."""


@dataclass(frozen=True)
class ReleaseDiff:
    """What release b has that a has not, and the other way round.

    encoder: the two encoder ids; metrics: slice, n_users, and recall and NDCG of the lists in a and b; settings:
    key, a, b as JSON, where they differ; new_items, gone_items: item_id, title; neighbours: as `neighbour_churn`;
    slates: as `slate_churn`, with titles.
    """

    a: str
    b: str
    encoder: tuple[str, str]
    metrics: pl.DataFrame
    settings: pl.DataFrame
    new_items: pl.DataFrame
    gone_items: pl.DataFrame
    neighbours: pl.DataFrame
    slates: pl.DataFrame


def diff_releases(a: LoadedRelease, b: LoadedRelease, n_shoppers: int = 50, seed: int = 0) -> ReleaseDiff:
    """Of two loaded releases; the lists of `n_shoppers` fixed shoppers are compared."""
    before, after = a.recommender, b.recommender
    shoppers = fixed_shoppers([before, after], n_shoppers)
    return ReleaseDiff(
        a=a.release_id,
        b=b.release_id,
        encoder=(a.manifest.encoder_id, b.manifest.encoder_id),
        metrics=_metrics(a.manifest.metrics, b.manifest.metrics),
        settings=_settings(a, b),
        new_items=_items_without(after, before),
        gone_items=_items_without(before, after),
        neighbours=neighbour_churn(before, after, seed=seed).join(_titles(after), on="item_id", how="left"),
        slates=slate_churn(before, after, shoppers),
    )


def neighbour_churn(before: Recommender, after: Recommender, seed: int = 0) -> pl.DataFrame:
    """item_id, churn: the share of the item's nearest `NEIGHBOURS` in `before` that are others in `after`, among the
    items of both, most moved first. At most `SAMPLE` items that have a vector in both are asked, drawn with `seed`."""
    ids = before.model.item_ids
    ids = ids.filter(ids.is_in(after.model.item_ids.implode()))
    old = unit_rows(before.vectors[positions(ids, before.model.item_ids)])
    new = unit_rows(after.vectors[positions(ids, after.model.item_ids)])
    rows = np.flatnonzero(old.any(axis=1) & new.any(axis=1))
    rows = sampled_rows(rows, seed, SAMPLE)
    k = min(NEIGHBOURS, len(ids) - 1)
    if k < 1 or not len(rows):
        return pl.DataFrame(schema={"item_id": pl.String, "churn": pl.Float64})
    same = nearest(old, k, rows)[:, :, None] == nearest(new, k, rows)[:, None, :]
    staying = same.any(axis=2).mean(axis=1)
    moved = pl.DataFrame({"item_id": ids[rows.tolist()], "churn": 1.0 - staying})
    return moved.sort("churn", "item_id", descending=[True, False])


def fixed_shoppers(recommenders: Sequence[Recommender], n: int) -> list[str]:
    """Ids of at most `n` shoppers that all know something of: those whose ids have the lowest digests, so that the next
    release is asked for the same ones."""
    first, *others = recommenders
    known = [user_id for user_id in first.users.rows if all(user_id in other.users.rows for other in others)]
    known.sort(key=lambda user_id: hashlib.sha256(user_id.encode()).digest())
    chosen: list[str] = []
    for user_id in known:
        if len(chosen) == n:
            break
        if all(len(recommender.users.history(user_id)) for recommender in recommenders):
            chosen.append(user_id)
    return chosen


def slate_churn(before: Recommender, after: Recommender, user_ids: Sequence[str], count: int = 10) -> pl.DataFrame:
    """user_id, churn, before, after: the `count` titles (ids where there is none) that each would be shown, and the
    share of the first list that is not in the second; most changed first."""
    lists = [_lists(recommender, user_ids, count) for recommender in (before, after)]
    rows = [
        {
            "user_id": user_id,
            "churn": len({*old} - {*new}) / max(len(old), 1),
            "before": [_title(before, item_id) for item_id in old],
            "after": [_title(after, item_id) for item_id in new],
        }
        for user_id, old, new in zip(user_ids, *lists, strict=True)
    ]
    titles = pl.List(pl.String)
    schema: dict[str, pl.DataType] = {"user_id": pl.String(), "churn": pl.Float64(), "before": titles, "after": titles}
    return pl.DataFrame(rows, schema=schema).sort("churn", "user_id", descending=[True, False])


def _lists(recommender: Recommender, user_ids: Sequence[str], count: int) -> list[list[str]]:
    queries = [Query(user_id=user_id, count=count) for user_id in user_ids]
    return [[item.item_id for item in slate.items] for slate in slates(recommender, queries)]


def _title(recommender: Recommender, item_id: str) -> str:
    return recommender.properties.titles[recommender.rows[item_id]] or item_id


def _titles(recommender: Recommender) -> pl.DataFrame:
    titles = pl.Series("title", list(recommender.properties.titles), dtype=pl.String)
    return pl.DataFrame({"item_id": recommender.model.item_ids, "title": titles})


def _items_without(of: Recommender, other: Recommender) -> pl.DataFrame:
    return _titles(of).join(_titles(other), on="item_id", how="anti", maintain_order="left")


def _metrics(a: Mapping[str, Any], b: Mapping[str, Any]) -> pl.DataFrame:
    """Of the lists as served; a slice that one of them did not measure has nulls there."""
    lists_a, lists_b = a.get("fused", {}), b.get("fused", {})
    names = list(dict.fromkeys([*lists_a, *lists_b]))
    rows = [
        {
            "slice": name,
            **{
                f"{figure}_{which}": lists.get(name, {}).get(figure)
                for figure in ("n_users", "recall", "ndcg")
                for which, lists in (("a", lists_a), ("b", lists_b))
            },
        }
        for name in names
    ]
    counts, shares = pl.Int64(), pl.Float64()
    schema: dict[str, pl.DataType] = {"slice": pl.String(), "n_users_a": counts, "n_users_b": counts}
    schema |= dict.fromkeys(("recall_a", "recall_b", "ndcg_a", "ndcg_b"), shares)
    return pl.DataFrame(rows, schema=schema)


def _settings(a: LoadedRelease, b: LoadedRelease) -> pl.DataFrame:
    if a.catalogue is None or b.catalogue is None:
        raise StoreError(f"releases {a.release_id} and {b.release_id}: load them with their catalogue to compare them")
    of_a, of_b = _flat(a.catalogue.settings), _flat(b.catalogue.settings)
    rows = [
        {"key": key, "a": of_a.get(key, "null"), "b": of_b.get(key, "null")}
        for key in sorted({*of_a, *of_b})
        if of_a.get(key) != of_b.get(key)
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys(("key", "a", "b"), pl.String))


def _flat(settings: Settings) -> dict[str, str]:
    """The settings of a release by their dotted key, as JSON."""
    return {name: to_json(value).decode() for name, value in _leaves(_TREE.validate_json(settings.release_json()))}


def _leaves(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


_TREE: Final = TypeAdapter(dict[str, Any])

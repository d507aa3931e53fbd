"""What each step on the way to a list did: the ranker, the filter, boosts, kept places, pins, limits, diversity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from recsys.query import Query
from recsys.recommend import Recommender
from recsys.rules import Rules


def rule_steps(recommender: Recommender, query: Query) -> pl.DataFrame:
    """step, did, entered, left, moved: one row for each step that this query takes, in the order in which they apply.

    entered, left: titles; moved: how many items have another place than before the step.
    """
    steps = list(_steps(recommender, query))
    lists = [
        [(item.item_id, item.title or item.item_id, item.source) for item in slate.items]
        for slate in recommender.recommend([asked for _, _, asked in steps])
    ]
    rows, before = [], lists[0]
    for (name, did, _), now in zip(steps, lists, strict=True):
        old = {item_id: place for place, (item_id, *_) in enumerate(before)}
        new = {item_id: place for place, (item_id, *_) in enumerate(now)}
        rows.append(
            {
                "step": name,
                "did": did,
                "entered": [title for item_id, title, _ in now if item_id not in old],
                "left": [title for item_id, title, _ in before if item_id not in new],
                "moved": sum(old[item_id] != place for item_id, place in new.items() if item_id in old),
            }
        )
        before = now
    titles = pl.List(pl.String)
    return pl.DataFrame(
        rows, schema={"step": pl.String, "did": pl.String, "entered": titles, "left": titles, "moved": pl.Int64}
    )


def _steps(recommender: Recommender, query: Query) -> Iterator[tuple[str, str, Query]]:
    """Name, what it does in words, and the query with all steps so far."""
    wanted = query.rules
    so_far = Rules(new_items=0.0)
    n_hidden = len(set(recommender.profile(replace(query, rules=so_far)).hidden_rows.tolist()))
    asked = replace(query, rules=so_far, by_ranker=False, explain=False)
    yield "weighted sum", f"{n_hidden:,} items hidden: seen, bought, unavailable, on the page or excluded", asked
    if recommender.is_ranked(query):
        asked = replace(asked, by_ranker=True)
        yield "ranker", "the trees order the best anew", asked
    if wanted.filter is not None:
        so_far = replace(so_far, filter=wanted.filter)
        yield (
            "filter",
            f"{int(recommender.matching(wanted.filter).sum()):,} items fulfil it",
            replace(asked, rules=so_far),
        )
    for boost in wanted.boosts:
        so_far = replace(so_far, boosts=(*so_far.boosts, boost))
        told = f"{int(recommender.matching(boost.filter).sum()):,} items times {boost.factor:g}"
        yield "boost", told, replace(asked, rules=so_far)
    share = recommender.new_item_share if wanted.new_items is None else wanted.new_items
    if share > 0:
        so_far = replace(so_far, new_items=wanted.new_items)
        told = f"{share:.0%} of the places are kept for {len(recommender.new_rows):,} new items"
        yield "new items", told, replace(asked, rules=so_far)
    if wanted.pins:
        so_far = replace(so_far, pins=wanted.pins)
        yield "pins", f"{len(wanted.pins)} items have a place of their own", replace(asked, rules=so_far)
    if wanted.max_per_category or wanted.max_per_brand or wanted.collapse_variants:
        so_far = replace(
            so_far,
            max_per_category=wanted.max_per_category,
            max_per_brand=wanted.max_per_brand,
            collapse_variants=wanted.collapse_variants,
        )
        most = [(wanted.max_per_category, "category"), (wanted.max_per_brand, "brand")]
        limits = [f"at most {n} of a {of}" for n, of in most if n] + ["one of a product"] * wanted.collapse_variants
        yield "limits", ", ".join(limits), replace(asked, rules=so_far)
    if wanted.diversity:
        so_far = replace(so_far, diversity=wanted.diversity)
        yield "diversity", f"unlikeness counts {wanted.diversity:.0%}", replace(asked, rules=so_far)
